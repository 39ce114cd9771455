"""What a loss makes of a network's outputs: probabilities and classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._validation import Array

if TYPE_CHECKING:
    from .losses import Loss


class Outputs:
    """Base of ``Network``."""

    if TYPE_CHECKING:
        loss_function: Loss
        n_out: int

        def predict(self, X: Any) -> Array: ...

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (b, n_out) of a network whose loss is a cross-entropy.

        Raises
        ------
        ValueError
            If the loss makes no probabilities of the output, or X is unfit.
        """
        loss = self.loss_function
        if loss.probabilities is None:
            raise ValueError(f"predict_proba needs a cross-entropy loss, not {loss!r}")
        return loss.expected(self.predict(X))

    def predict_classes(self, X: Any) -> Array:
        """Class indices (b,): the largest output, or output > ``threshold`` where there is one.

        Under a binary cross-entropy of several outputs each is a label of its own: then rows
        of 0 and 1 (b, n_out).

        Raises
        ------
        ValueError
            If the loss takes no classes, or X is unfit.
        """
        loss = self.loss_function
        if not loss.classes:
            raise ValueError(f"predict_classes needs a loss of classes, not {loss!r}")
        Y = self.predict(X) if loss.probabilities is None else self.predict_proba(X)
        if self.n_out > 1 and loss.labels:
            return Y.argmax(axis=1)
        yes = (loss.threshold < Y).astype(np.int64)
        return yes if self.n_out > 1 else yes[:, 0]
