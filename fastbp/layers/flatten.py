"""Flatten: rows of any shape as flat rows; y = x and dx = dy, in other shapes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .._validation import Array, as_array, check_size
from .activations import identity_backward, identity_forward
from .base import Kernels, Layer


class Flatten(Layer):
    """(b, d1, d2, ...) to (b, d1 d2 ...), in C order; flat rows pass unchanged.

    As the first layer of a network it lets ``fit``, ``predict`` and all else take rows of that
    shape. Further up rows are flat, and it does nothing.

    Parameters
    ----------
    shape : sequence of int, optional
        Shape of a row, for instance (28, 28). Without it, any shape with the right number of
        elements is accepted.

    Raises
    ------
    TypeError, ValueError
        For sizes that are no integers of at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import Flatten
    >>> Flatten().forward(np.zeros((5, 8, 8))).shape
    (5, 64)
    """

    kernels = Kernels(identity_forward, identity_backward)
    in_place = True

    def __init__(self, shape: Sequence[int] | None = None) -> None:
        super().__init__()
        if shape is not None and (isinstance(shape, str) or not isinstance(shape, Iterable)):
            raise TypeError(f"shape must be a sequence of integers, got {shape!r}")
        self.shape = None if shape is None else tuple(check_size(n, "shape") for n in shape)
        self._given: tuple[int, ...] | None = None
        if self.shape is not None:
            self.n_in = self.n_out = math.prod(self.shape)

    def as_rows(self, X: Any, name: str = "X") -> Array:
        """X as (b, n).

        Raises
        ------
        ValueError, TypeError
            If rows of X have another shape, or X is no array of numbers.
        """
        array = as_array(X, name)
        if array.ndim < 2 or (array.ndim > 2 and self.shape not in (None, array.shape[1:])):
            wanted = "..." if self.shape is None else ", ".join(map(str, self.shape))
            raise ValueError(f"{name} must have shape (rows, {wanted}), got {array.shape}")
        return array.reshape(len(array), math.prod(array.shape[1:]))

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Array:
        """X as (b, n)."""
        Y = super().forward(self.as_rows(X), allow_nonfinite=allow_nonfinite)
        self._given = np.shape(X)
        return Y

    def backward(self, dY: Any) -> Array:
        """dY in the shape that X had."""
        dX = super().backward(dY)
        assert self._given is not None
        return dX.reshape(self._given)

    def config(self) -> dict[str, Any]:
        """The shape, if it is given."""
        return {} if self.shape is None else {"shape": list(self.shape)}
