"""Normalisation: numbers of mean 0 and variance 1, then a learnt scale and shift.

    xhat = (x - mean) / sqrt(var + epsilon)        y = weight * xhat + bias

With g = dy * weight and means taken over the same numbers as mean and var,

    dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(var + epsilon)
    dweight = sum over rows of dy * xhat           dbias = sum over rows of dy

and dx = g / sqrt(var + epsilon) where mean and var are constants.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .._jit import kernel
from .._validation import Array, as_vector, check_real, checked
from ..kernels.vectors import row_length
from .base import Layer, Tensor


def difference(x: Any, first: Any) -> Any:
    """Formula of a pass: sums of the differences from ``first``."""
    return (), (x - first,)


def slopes(x: Any, dy: Any, mean: Any, rest: Any, inverse: Any) -> Any:
    """Formula of a pass: sums of dy * xhat and of dy."""
    return (), (dy * (((x - mean) - rest) * inverse), dy)


@kernel
def clear(grad, count, columns, n, ld):
    """Zero ``columns`` columns of ``count`` rows; if these are all n, the padding too."""
    for k in range(count):
        for j in range(ld if columns == n else columns):
            grad[k * ld + j] = 0


def row(name: str, doc: str, least: float = -np.inf) -> Any:
    """Property of the parameters ``name``, of which none may be set below ``least``."""
    def get(layer: Norm) -> Array:
        return _bound(layer, name).parameters()[name]

    def put(layer: Norm, value: Any) -> None:
        own = get(layer)
        given = as_vector(value, name, own.size, own.dtype)
        if (given < least).any():
            raise ValueError(f"{name} must be at least {least:g}, got {given.min()}")
        own[...] = given

    return property(get, put, doc=doc)


def grad_row(name: str, doc: str) -> Any:
    """Property of the gradient of the parameters ``name``."""
    return property(lambda layer: _bound(layer, f"{name}_grad").gradients()[name], doc=doc)


def _bound(layer: Norm, name: str) -> Norm:
    if layer._flat is None:
        raise AttributeError(f"{layer!r} has no {name} yet: a network or the first input gives it "
                             "its size")
    return layer


class Norm(Layer):
    """A weight and a bias for each unit, one row each, and what a subclass adds."""

    _initial: ClassVar[dict[str, float]] = {"weight": 1.0, "bias": 0.0}

    epsilon: float = checked(check_real, open_low=True)
    _config_names: ClassVar[tuple[str, ...]] = ("epsilon",)

    def __init__(self, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = epsilon

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """One number per unit for each tensor."""
        return {name: (int(self.n_in or 0),) for name in self._initial}

    def layout(self, dtype: np.dtype[Any]) -> tuple[tuple[Tensor, ...], int]:
        """One padded row for each tensor."""
        ld = row_length(self.n_in or 0, dtype)
        return tuple(Tensor(name, shape, k * ld, (1,))
                     for k, (name, shape) in enumerate(self.shapes().items())), (
                         ld * len(self._initial))

    def trained_rows(self) -> tuple[int, int]:
        """Weight and bias; no penalties."""
        return 2, 0

    def initialize(self, rng: np.random.Generator) -> None:
        """Nothing is drawn: the layer starts as plain normalisation."""
        for name, value in self.parameters().items():
            value[...] = self._initial[name]

    weight = row("weight", "The scale (n,), a writable view; there is none before the layer has "
                 "its size.")
    bias = row("bias", "The shift (n,), a writable view.")
    weight_grad = grad_row("weight", "dweight (n,), a writable view.")
    bias_grad = grad_row("bias", "dbias (n,), a writable view.")

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Array:
        """Normalised rows (b, n), scaled and shifted; see ``Layer.forward``."""
        if self._flat is None:  # a layer by itself takes its size from its first input
            X = self._take_input(X, allow_nonfinite)
            self.connect(X.shape[1])
            size = self.layout(X.dtype)[1]
            self.bind(np.zeros(size, X.dtype), np.zeros(size, X.dtype))
            self.initialize(np.random.default_rng(0))
        return super().forward(X, allow_nonfinite=allow_nonfinite)

    def constants(self) -> tuple[float, float]:
        """(epsilon, 0)."""
        return self.epsilon, 0.0
