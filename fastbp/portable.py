"""Networks that can be pickled and copied: to other processes, by joblib, by ``deepcopy``.

Views into the flat buffers and plans, with their addresses, are left out. The parameters and
layers are kept; on loading, new buffers are allocated and the layers bound to them.
"""

from __future__ import annotations

import copy
import weakref
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
from .kernels.vectors import aligned_zeros
from .layers import Layer
from .losses import Loss
from .portable_run import PortableRun
from .table import has_kernels


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
    n_in: int = Fixed()  # type: ignore[assignment]
    n_out: int = Fixed()  # type: ignore[assignment]
    dtype: np.dtype[Any] = Fixed()  # type: ignore[assignment]
    params: Array = Buffer()  # type: ignore[assignment]
    grads: Array = Buffer()  # type: ignore[assignment]
    loss_function: Loss = Fixed()  # type: ignore[assignment]
    seed: int = checked(check_seed)
    allow_nonfinite: bool = checked(check_bool)
    matmul_precision: str = checked(check_choice, PRECISIONS)
    _offsets: list[int]
    #: How often a setting of a layer has changed.
    _changes: int = 0
    #: The run that trains the network at present.
    _running: PortableRun | None = None

    @property
    def _tile_precision(self) -> str | None:
        """Of products by matrix tiles; None for none: where they take a number in several parts,
        the second of infinity is NaN."""
        several = self.matmul_precision != "medium"
        return None if several and self.allow_nonfinite else self.matmul_precision

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
            layer._flat = layer._flat_grad = layer._owner = None
        return state | {"layers": bare, "params": np.array(self.params)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        given = self.__dict__.pop("params")
        self.dtype = check_dtype(self.dtype)  # NumPy's own object
        self.params = aligned_zeros(given.size, self.dtype)
        self.grads = aligned_zeros(self.params.size, self.dtype)
        self.__dict__ |= {"_plans": {}, "_row_plan": None}
        if (run := self.__dict__.get("last_run")) is not None:
            run.let_go()
        self._fuse()  # again: the state may be from within an estimator's fit, with another loss
        for layer, at in zip(self.layers, self._offsets, strict=True):
            part = slice(at, at + layer.layout(self.dtype)[1])
            layer.bind(self.params[part], self.grads[part])
            layer._owner = weakref.ref(self)
        self.params[...] = given
