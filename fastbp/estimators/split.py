"""Held-out rows: those that a fit is given, or that early stopping draws as scikit-learn does."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from .._validation import Array, as_weights
from ..arguments import Validation


class Given(NamedTuple):
    """Held-out rows as a fit is given them, and what its caller calls them in errors."""

    X: Any
    y: Any
    sample_weight: Any
    names: tuple[str, str, str] = ("validation_data", "validation_data[1]", "validation_data[2]")


def given(data: Any, X: Any, y: Any, sample_weight: Any) -> Given | None:
    """The one form of ``validation_data`` and of ``X_val, y_val, sample_weight_val``.

    Raises
    ------
    TypeError, ValueError
        For both, for one of X_val and y_val, or for anything but a pair or triple.
    """
    apart = {"X_val": X, "y_val": y, "sample_weight_val": sample_weight}
    names = [name for name, value in apart.items() if value is not None]
    if names and data is not None:
        raise ValueError(f"give validation_data or X_val and y_val, not both: got {names} with it")
    if names:
        if X is None or y is None:
            raise ValueError(f"X_val and y_val go together, got {names} alone")
        return Given(X, y, sample_weight, ("X_val, y_val", "y_val", "sample_weight_val"))
    if data is None:
        return None
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise TypeError("validation_data must be a pair (X, y) or (X, y, sample_weight), "
                        f"got {type(data).__name__}")
    return Given(data[0], data[1], data[2] if len(data) == 3 else None)


def split(X: Array, T: Array, weights: Array | None, own: Array | None, labels: Array | None,
          fraction: float, random_state: np.random.RandomState
          ) -> tuple[tuple[Array, Array, Array | None], Validation]:
    """Rows to train on, and rows held out for the score, stratified by ``labels`` if possible;
    these with their ``own`` weights: class weights are for training only.

    Raises
    ------
    ValueError
        If fewer than two rows would be held out, or one of the two parts has no weight.
    """
    if labels is not None:
        counts = np.unique(labels, return_counts=True)[1]
        count = np.ceil(fraction * len(X))
        if counts.min() < 2 or not len(counts) <= count <= len(X) - len(counts):
            labels = None
    kept, held = train_test_split(np.arange(len(X)), stratify=labels, test_size=fraction,
                                  random_state=random_state)
    if len(held) < 2:
        raise ValueError(f"the validation set is too small: raise validation_fraction={fraction!r}"
                         f" or give more rows than {len(X)}")
    kept_weights, left = (None if some is None else as_weights(
        some[rows], len(rows), X.dtype, f"sample_weight of the rows {what} by early_stopping")
        for some, rows, what in ((weights, kept, "not held out"), (own, held, "held out")))
    return (X[kept], T[kept], kept_weights), Validation(X[held], T[held], left)
