"""The generic layer: y = f(x; w).

Forward keeps what backward needs. Backward takes dY, the gradient of the error with
respect to the output, and gives dX for the layer below and the gradient of the layer's
own parameters, if it has any. Each row is one example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .._validation import Array, as_matrix, check_dtype
from ..kernels.tile import pad

#: Rows that one thread takes at a time in the drivers. Fixed: it never depends on threads.
ROW_BLOCK = 64


@dataclass(frozen=True)
class Tensor:
    """Where a named parameter lies in its layer's flat buffer, in elements."""

    name: str
    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...]

    def view(self, flat: Array) -> Array:
        """The tensor as a writable view of ``flat``."""
        strides = tuple(s * flat.itemsize for s in self.strides)
        return np.lib.stride_tricks.as_strided(flat[self.offset:], self.shape, strides)


class Layer:
    """Base of all layers. A subclass over NumPy alone trains through the textbook loop.

    Override ``forward`` and ``backward``; layers with parameters also ``shapes`` and
    ``initialize``. A layer that the compiled engine knows sets ``kind``.

    Attributes
    ----------
    kind : int
        Number in the engine's op table; 0 for layers that only Python knows.
    in_place : bool
        Whether the kernels turn x into y and dy into dx in one place; half the memory.
    n_in, n_out : int or None
        Length of a row of input and output; None until the layer is in a network.
    """

    kind: ClassVar[int] = 0
    in_place: ClassVar[bool] = False
    n_in: int | None = None
    n_out: int | None = None

    def __init__(self) -> None:
        self._flat: Array | None = None
        self._flat_grad: Array | None = None
        self._tensors: tuple[Tensor, ...] = ()
        self._owner: Any = None
        self._x: Array | None = None
        self._y: Array | None = None

    # -- sizes and parameters ---------------------------------------------------------

    def connect(self, n_in: int) -> int:
        """Accept rows of length ``n_in`` from below; return the length of the output."""
        if self.n_in is not None and self.n_in != n_in:
            raise ValueError(f"{self!r} takes {self.n_in} inputs, the layer below gives {n_in}")
        self.n_in, self.n_out = n_in, n_in
        return n_in

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters, in order."""
        return {}

    def layout(self, dtype: np.dtype[Any]) -> tuple[tuple[Tensor, ...], int]:
        """Place of each parameter in a flat buffer, and the buffer's length."""
        tensors, at = [], 0
        for name, shape in self.shapes().items():
            strides = tuple(int(np.prod(shape[i + 1:])) for i in range(len(shape)))
            tensors.append(Tensor(name, shape, at, strides))
            at += pad(int(np.prod(shape)), dtype)
        return tuple(tensors), at

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw initial parameters into the bound views."""

    def bind(self, flat: Array, flat_grad: Array) -> None:
        """Use these buffers from now on; parameters drawn before are carried over."""
        tensors, size = self.layout(flat.dtype)
        if flat.shape != (size,) or flat_grad.shape != (size,):
            raise ValueError(f"{self!r} needs buffers of {size} elements, got {flat.shape}")
        old = self.parameters() if self._flat is not None else {}
        self._flat, self._flat_grad, self._tensors = flat, flat_grad, tensors
        for name, value in old.items():
            self.parameters()[name][...] = value

    @property
    def initialized(self) -> bool:
        """Whether parameters have been drawn or set."""
        return self._flat is not None

    def parameters(self) -> dict[str, Array]:
        """Parameters by name, as writable views."""
        flat = self._flat
        return {} if flat is None else {t.name: t.view(flat) for t in self._tensors}

    def gradients(self) -> dict[str, Array]:
        """Gradients by parameter name, as writable views."""
        flat = self._flat_grad
        return {} if flat is None else {t.name: t.view(flat) for t in self._tensors}

    @property
    def n_params(self) -> int:
        """Number of parameters, padding not counted."""
        return sum(int(np.prod(shape)) for shape in self.shapes().values())

    # -- forward and backward ---------------------------------------------------------

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Array:
        """Y of shape (b, n_out) for X of shape (b, n_in); keeps what ``backward`` needs."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, dY: Any) -> Array:
        """dX of shape (b, n_in) for dY of shape (b, n_out); sets the gradients."""
        raise NotImplementedError(f"{type(self).__name__}.backward")

    def _take_input(self, X: Any, allow_nonfinite: bool) -> Array:
        dtype = self._flat.dtype if self._flat is not None else _float_dtype(X)
        return as_matrix(X, "X", dtype, self.n_in, allow_nonfinite=allow_nonfinite)

    def _take_gradient(self, dY: Any) -> Array:
        if self._x is None or self._y is None:
            raise ValueError(f"{type(self).__name__}.backward needs a forward before it")
        dY = as_matrix(dY, "dY", self._y.dtype, self._y.shape[1], allow_nonfinite=True)
        if len(dY) != len(self._y):
            raise ValueError(f"dY has {len(dY)} rows, the forward before it had {len(self._y)}")
        return dY

    def config(self) -> dict[str, Any]:
        """Arguments that make a layer like this one."""
        return {}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.config().items())
        return f"{type(self).__name__}({arguments})"


def _float_dtype(X: Any) -> np.dtype[Any]:
    """float32 stays; everything else computes in float64."""
    found = getattr(X, "dtype", None)
    single = isinstance(found, np.dtype) and found.newbyteorder("=") == np.float32
    return check_dtype("float32" if single else "float64")
