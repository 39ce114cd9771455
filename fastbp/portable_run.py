"""Runs that can be pickled and copied, and what a run must know for another to go on with it."""

from __future__ import annotations

import copy
import functools
import pickle
import weakref
from typing import Any

from ._validation import Array
from .engine import STEP
from .history import History
from .weights import checksum


class PortableRun:
    """Base of runs: copies have what goes on in another process or network.

    Attributes
    ----------
    network : Network or None
        What is trained; None once it is gone, which a run that is its ``last_run`` lets happen.
    begun_by : tuple
        The kind of state that the run's optimizer keeps, and how the optimizer is written.
        ``__init__`` sets it; a run pickled by an earlier version has its optimizer alone.
    """

    optimizer: Any
    weights: Array
    raw: Array
    average: Array
    history: History
    cursor: Array
    first_step: int
    _strong: Any = None
    _weak: Any = None

    @property
    def network(self) -> Any:
        """See above."""
        return self._strong or (self._weak and self._weak())

    @network.setter
    def network(self, network: Any) -> None:
        self._strong, self._weak = network, network and weakref.ref(network)

    def let_go(self) -> None:
        """Do not keep the network, which keeps this run: only the garbage collector would free
        them, and it counts objects, not bytes."""
        self._strong = None

    @functools.cached_property
    def begun_by(self) -> tuple[tuple[Any, ...] | None, str]:
        """See above."""
        return self._kind(self.optimizer), repr(self.optimizer)

    def _kind(self, optimizer: Any) -> tuple[Any, ...]:
        return optimizer.family, optimizer.slot_names, optimizer.n_slots, self.network.params.size

    def keeps(self, optimizer: Any) -> bool:
        """Whether ``optimizer`` can go on with this run's state: it is of the same kind."""
        return self.begun_by[0] == self._kind(optimizer)

    def can_follow(self, earlier: PortableRun) -> bool:
        """Whether ``earlier`` has the same kind of state, of as many parameters."""
        return self.begun_by[0] == earlier.begun_by[0]

    def _check_kind(self) -> None:
        if not self.keeps(self.optimizer):  # with fewer slots a kernel would write out of bounds
            raise ValueError(f"{self.optimizer!r} keeps another number of state vectors, or of "
                             f"another meaning, than {self.begun_by[1]}, as which the run began")

    @property
    def stepped(self) -> bool:
        """Whether a step was taken, perhaps before the run was resumed."""
        return bool(self.cursor[STEP] > self.first_step)

    def weighing(self) -> str:
        """Which weights the rows have, in few words."""
        return checksum(self.weights)

    def _bare(self) -> dict[str, Any]:
        state = self.__dict__ | {"_panels": None, "_lasting": (None,), "given": None,
                                 "network": self.network}
        del state["_strong"], state["_weak"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.network = state["network"]
        vars(self).update({name: value for name, value in state.items() if name != "network"})

    def as_ended(self) -> Any:
        """This run, which goes on, as if it had ended here: for copies of its network."""
        other = object.__new__(type(self))
        other.__setstate__(self._bare() | {"history": copy.deepcopy(self.history)} | {
            name: own.copy() for name, own in self._changing().items() if name != "params"})
        other.raw = other.average
        if other.average.size:
            inside = self.raw is not self.average  # the network has the averages at present
            other.raw = (self.raw if inside else self.network.params).copy()
        other.release()
        return other

    def _changing(self) -> dict[str, Array]:
        raise NotImplementedError

    def release(self) -> None:
        """Drop the references to the rows."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """Without an optimizer that cannot be pickled, of a ``Function(lambda ...)`` say: whoever
        goes on brings one of the same kind."""
        state = self._bare()
        if not _can_be_pickled(self.optimizer):
            state["optimizer"] = None
        if not _can_be_pickled(self.begun_by):  # its class
            state["begun_by"] = None, f"{self.begun_by[1]}, which could not be pickled"
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        memo[id(self)] = other = object.__new__(type(self))
        other.__setstate__(copy.deepcopy(self._bare(), memo))
        return other


def _can_be_pickled(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # of a user's class, of any kind
        return False
    return True
