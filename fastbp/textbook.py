"""A network as the text writes it: layer by layer, in Python.

The oracle of the compiled engine, and the way that networks with layers of the user's own run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._validation import Array, as_matrix
from .layers import Layer
from .losses import Loss
from .losses.base import error_of


class Textbook:
    """Base of ``Network``: forward and backward through whole layers."""

    layers: tuple[Layer, ...]
    dtype: np.dtype[Any]
    _head_loss: Loss
    _n_train: int

    def textbook(self, X: Any, T: Any, *, sample_weight: Array | None = None,
                 key: int = 0) -> float:
        """The same step as the text writes it: layer by layer, in Python.

        Returns E and leaves the gradients in the layers. The engine's oracle, and the way
        that networks with layers of the user's own run. ``key`` above 0 makes it a step of
        training, from which dropout draws.
        """
        X, T = self._check_pair(X, T)  # type: ignore[attr-defined]
        try:
            error = error_of(self._head_loss, self.forward(X, self._n_train, key), T,
                             sample_weight)
            self.backward(self._head_loss.backward())
        finally:
            for layer in self.layers:
                layer.key = 0
        return error

    def forward(self, X: Array, n_layers: int | None = None, key: int = 0) -> Array:
        """Through the first ``n_layers`` layers, all by default, as the text writes it."""
        for layer in self.layers[:n_layers]:
            layer.key = 0 if layer._steady else key
            X = self._of_own(layer, "forward(X)", layer.forward(X), len(X), layer.n_out)
        return X

    def backward(self, delta: Array, n_layers: int | None = None) -> Array:
        """Back through the first ``n_layers`` layers, by default those under the loss, to the
        input; leaves the layers' gradients."""
        for layer in reversed(self.layers[:self._n_train if n_layers is None else n_layers]):
            n_rows, delta = len(delta), layer.backward(delta)
            if delta is None:
                raise TypeError(f"{layer!r}.backward returned None, not the gradient of its input")
            delta = self._of_own(layer, "backward(dY)", delta, n_rows, layer.n_in)
        return delta

    def _of_own(self, layer: Layer, call: str, made: Any, n_rows: int, n_columns: Any) -> Array:
        """What a layer made; one of the user's own may return anything, and is named."""
        if layer.kernels is not None:
            return made
        made = as_matrix(made, f"{layer!r}.{call}", self.dtype, n_columns, allow_nonfinite=True)
        if len(made) != n_rows:
            raise ValueError(f"{layer!r}.{call} must have {n_rows} rows, got shape {made.shape}")
        return made
