"""Networks and runs that can be pickled and copied: for processes, by joblib, by ``deepcopy``.

Views into the flat buffers and plans, with their addresses, are left out. The parameters and
layers are kept; on loading, new buffers are allocated and the layers bound to them.
"""

from __future__ import annotations

import copy
import functools
import pickle
from typing import Any

import numpy as np

from ._validation import (
    PRECISIONS,
    Array,
    as_array,
    check_bool,
    check_choice,
    check_dtype,
    check_seed,
    checked,
)
from .engine import STEP
from .history import History
from .kernels.vectors import aligned_zeros
from .layers import Layer
from .losses import Loss
from .table import has_kernels
from .weights import checksum


class Buffer:
    """A flat array that layers have views of: a later assignment copies into it.

    There is no ``__get__``: reading it costs no more than any attribute.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, network: Any, value: Any) -> None:
        own = network.__dict__.setdefault(self.name, value)
        if own is not value:
            given = as_array(value, self.name)
            if given.shape != own.shape:
                raise ValueError(f"{self.name} must have shape {own.shape}, got {given.shape}")
            own[...] = given


class Fixed:
    """An attribute that cannot be replaced once there are parameters: plans, offsets and files
    derive from it. It is read as a ``Buffer`` is."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, network: Any, value: Any) -> None:
        if "params" in network.__dict__:
            raise AttributeError(f"{self.name} of a network cannot be replaced: make a new one, "
                                 "of copy.copy(layer) where a layer is to stay as it is")
        network.__dict__[self.name] = value


class Portable:
    """Base of classes that own layers with one flat buffer of parameters."""

    layers: tuple[Layer, ...] = Fixed()  # type: ignore[assignment]
    dtype: np.dtype[Any]
    params: Array = Buffer()  # type: ignore[assignment]
    grads: Array = Buffer()  # type: ignore[assignment]
    loss_function: Loss = Fixed()  # type: ignore[assignment]
    seed: int = checked(check_seed)
    allow_nonfinite: bool = checked(check_bool)
    matmul_precision: str = checked(check_choice, PRECISIONS)
    _offsets: list[int]
    #: The run that trains the network at present.
    _running: PortableRun | None = None

    def _fuse(self) -> None:
        """Let the loss do the work of the last layer, if it can."""
        loss = self.loss_function
        # A user's subclass that overrides these does not compute what its base fuses.
        own = not has_kernels(type(loss), "fuse", "forward", "backward", "constants")
        fused = None if own or len(self.layers) == 1 else loss.fuse(self.layers[-1])
        self._head_loss = fused or loss
        self._n_train = len(self.layers) - (fused is not None)

    def __getstate__(self) -> dict[str, Any]:
        if (run := self.__dict__.get("last_run")) is not None:
            run.given = None  # copy.copy shares the run: no ``partial_fit`` may change it now
        state = {name: value for name, value in self.__dict__.items()
                 if name not in ("grads", "_plans", "_row_plan", "_running")}
        if self._running is not None and self._running.stepped:  # else any fit may follow
            state["last_run"] = self._running.as_ended()
        bare = tuple(copy.copy(layer) for layer in self.layers)
        for layer in bare:
            layer._flat = layer._flat_grad = None
        return state | {"layers": bare, "params": np.array(self.params)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.dtype = check_dtype(self.dtype)  # NumPy's own object
        given = self.__dict__.pop("params")
        self.params = aligned_zeros(given.size, self.dtype)
        self.grads = aligned_zeros(self.params.size, self.dtype)
        self.__dict__ |= {"_plans": {}, "_row_plan": None}
        self._fuse()  # again: the state may be from within an estimator's fit, with another loss
        for layer, at in zip(self.layers, self._offsets, strict=True):
            part = slice(at, at + layer.layout(self.dtype)[1])
            layer.bind(self.params[part], self.grads[part])
            layer._owner = self
        self.params[...] = given


class PortableRun:
    """Base of runs: copies have what goes on in another process or network.

    Attributes
    ----------
    begun_by : tuple
        The kind of state that the run's optimizer keeps, and how the optimizer is written.
        ``__init__`` sets it; a run pickled by an earlier version has its optimizer alone.
    """

    network: Any
    optimizer: Any
    weights: Array
    raw: Array
    average: Array
    history: History
    cursor: Array
    first_step: int

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
        return self.__dict__ | {"_panels": None, "_lasting": (None,), "given": None}

    def as_ended(self) -> Any:
        """This run, which goes on, as if it had ended here: for copies of its network."""
        other = object.__new__(type(self))
        vars(other).update(self._bare() | {"history": copy.deepcopy(self.history)} | {
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
        vars(other).update(copy.deepcopy(self._bare(), memo))
        return other


def _can_be_pickled(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # of a user's class, of any kind
        return False
    return True
