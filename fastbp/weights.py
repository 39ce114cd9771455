"""Weights of rows from weights of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._validation import Array, check_real


def class_weights(T: Array, class_weight: Any, n_out: int, sample_weight: Array | None,
                  dtype: np.dtype[Any]) -> Array:
    """Weight of each row by its class, times ``sample_weight``.

    Parameters
    ----------
    T : ndarray
        Class indices (n,), one column of 0 and 1, or rows with one 1.
    class_weight : dict or "balanced"
        From class index to weight, 1 for those not named; "balanced" is n / (k * count),
        with counts weighted by ``sample_weight``.

    Raises
    ------
    ValueError, TypeError
        For targets that are no classes, unknown classes or weights below 0.
    """
    if T.ndim == 1:
        labels, n_classes = T, n_out
    elif not np.isin(T, (0, 1)).all() or (T.shape[1] > 1 and (T.sum(axis=1) != 1).any()):
        raise ValueError("class_weight needs one class for each row, got targets of shape "
                         f"{T.shape} that are not 0 and 1 with one 1 a row")
    elif T.shape[1] == 1:
        labels, n_classes = T[:, 0].astype(np.int64), 2
    else:
        labels, n_classes = T.argmax(axis=1), n_out
    own = np.ones(len(labels)) if sample_weight is None else sample_weight.astype(np.float64)
    if isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(labels, own, n_classes)
        present = counts > 0
        by_class = np.where(present, own.sum() / (present.sum() * np.where(present, counts, 1)),
                            0.0)
    elif isinstance(class_weight, Mapping):
        by_class = np.ones(n_classes)
        for label, weight in class_weight.items():
            if not isinstance(label, (int, np.integer)) or not 0 <= label < n_classes:
                raise ValueError(f"class_weight names class {label!r}, outside [0, {n_classes})")
            by_class[label] = check_real(weight, f"class_weight[{label!r}]")
    else:
        raise TypeError(f"class_weight must be a dict or 'balanced', got {class_weight!r}")
    return (by_class[labels] * own).astype(dtype)
