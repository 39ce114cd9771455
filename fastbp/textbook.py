"""The textbook loop: a network run layer by layer, in Python.

It is the reference for tests of the compiled engine, and runs networks with a user's own layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._validation import Array, as_matrix
from .layers import Layer
from .losses import Loss
from .losses.base import error_of
from .table import has_kernels


class Textbook:
    """Base of ``Network``: forward and backward through whole layers."""

    layers: tuple[Layer, ...]
    dtype: np.dtype[Any]
    _head_loss: Loss
    _n_train: int

    def textbook(self, X: Any, T: Any, *, sample_weight: Array | None = None,
                 key: int = 0) -> float:
        """Error and gradients by the textbook loop: layer by layer, in Python.

        Returns E and leaves the gradients in the layers. It is the reference for tests of the
        engine, and runs networks with a user's own layers. A ``key`` above 0 makes it a step of
        training, for which dropout draws by that key.
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
        """Output of the first ``n_layers`` layers, all by default, by the textbook loop."""
        if _is_own(self.layers[0]):
            X = X.copy()  # of the caller: a user's layer may write into its input
        for layer in self.layers[:n_layers]:
            layer.key = 0 if layer._steady else key
            X = self._of_own(layer, "forward(X)", layer.forward(X), len(X), layer.n_out)
        return X

    def backward(self, delta: Array, n_layers: int | None = None) -> Array:
        """Gradient of the input, back through the first ``n_layers`` layers, by default those
        below the loss; leaves the gradients in the layers."""
        for layer in reversed(self.layers[:self._n_train if n_layers is None else n_layers]):
            n_rows, delta = len(delta), layer.backward(delta)
            if delta is None:
                raise TypeError(f"{layer!r}.backward returned None, not the gradient of its input")
            delta = self._of_own(layer, "backward(dY)", delta, n_rows, layer.n_in)
        return delta

    def _of_own(self, layer: Layer, call: str, made: Any, n_rows: int, n_columns: Any) -> Array:
        """The result of a layer; what a user's own layer returned is checked, and named if bad."""
        if not _is_own(layer):
            return made
        made = as_matrix(made, f"{layer!r}.{call}", self.dtype, n_columns, allow_nonfinite=True)
        if len(made) != n_rows:
            raise ValueError(f"{layer!r}.{call} must have {n_rows} rows, got shape {made.shape}")
        return made


def _is_own(layer: Layer) -> bool:
    """Whether code of the user's passes rows through it: compiled kernels do not do it all."""
    return not has_kernels(type(layer), "kernels", "forward", "backward")
