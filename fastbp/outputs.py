"""What a loss makes of a network's outputs: probabilities and classes."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from . import engine
from ._validation import Array
from .losses.base import error_of

if TYPE_CHECKING:
    from .layers import Layer
    from .losses import Loss
    from .plan import Plan


def by_class(P: Array) -> Array:
    """Probabilities (n, classes): a single output's are those of the second of two classes."""
    return np.concatenate([1 - P, P], axis=1) if P.shape[1] == 1 else P


class Outputs:
    """Base of ``Network``."""

    if TYPE_CHECKING:
        loss_function: Loss
        n_out: int
        dtype: np.dtype[Any]
        layers: tuple[Layer, ...]
        _head_loss: Loss
        _n_train: int

        @cached_property
        def compiled(self) -> bool: ...
        def predict(self, X: Any) -> Array: ...
        def _predict(self, X: Any, n_threads: int | None = None) -> Array: ...
        def forward(self, X: Array, n_layers: int | None = None, key: int = 0) -> Array: ...
        def _chunks(self, n: int, n_threads: int | None = None) -> list[tuple[slice, Plan]]: ...
        def _scale(self, rows: int, weights: Array | None = None) -> float: ...
        def _evaluate(self, mode: np.int64, plan: Plan, X: Array, T: Array, rows: slice,
                      scale: float, weights: Array | None = None) -> float: ...

    def _judge(self, X: Array, T: Array, weights: Array | None,
               n_threads: int | None = None) -> tuple[float, Array, bool]:
        """``loss`` and outputs of checked rows, in one pass; and whether the outputs are those
        below a last layer that is fused with the loss."""
        fused = self._n_train < len(self.layers)
        if not self.compiled:
            Y = self.forward(X, self._n_train)
            return error_of(self._head_loss, Y, T, weights), Y, fused
        total, scale = 0.0, self._scale(len(X), weights)
        Y = np.empty((len(X), self.n_out), self.dtype)
        for rows, plan in self._chunks(len(X), n_threads):
            total += self._evaluate(engine.ERROR, plan, X, T, rows, scale, weights)
            Y[rows] = plan.output(rows.stop - rows.start, self._n_train - 1)
        return total, Y, fused

    def _expected(self, X: Any, n_threads: int | None = None) -> Array:
        """The targets that the outputs predict: probabilities, rates of counts, else the outputs
        as they are."""
        return self.loss_function.expected(self._predict(X, n_threads))

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (b, n_out) of a network whose loss is a cross-entropy.

        Raises
        ------
        ValueError, TypeError
            If the loss does not give probabilities, or X is invalid.
        """
        loss = self.loss_function
        if loss.probabilities is None:
            raise ValueError(f"predict_proba needs a cross-entropy loss, not {loss!r}")
        return self._expected(X)

    def predict_classes(self, X: Any) -> Array:
        """Class indices (b,): the largest output, or whether a single one exceeds the
        ``threshold`` of the loss.

        With a binary cross-entropy of several outputs each output is a label of its own: then
        rows of 0 and 1 (b, n_out).

        Raises
        ------
        ValueError, TypeError
            If the loss is not one of classes, or X is invalid.
        """
        loss = self.loss_function
        if not loss.classes:
            raise ValueError(f"predict_classes needs a loss of classes, not {loss!r}")
        Y = self.predict(X)
        if self.n_out > 1 and loss.labels:  # the largest output has the largest probability
            return Y.argmax(axis=1)
        yes = (loss.threshold < loss.expected(Y)).astype(np.int64)
        return yes if self.n_out > 1 else yes[:, 0]
