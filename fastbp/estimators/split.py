"""Rows that early stopping holds out, as scikit-learn draws them."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import train_test_split

from .._validation import Array, as_weights
from ..arguments import Validation


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
    given, left = (None if some is None else as_weights(
        some[rows], len(rows), X.dtype, f"sample_weight of the rows {what} by early_stopping")
        for some, rows, what in ((weights, kept, "not held out"), (own, held, "held out")))
    return (X[kept], T[kept], given), Validation(X[held], T[held], left)
