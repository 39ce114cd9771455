"""Weights of rows from weights of classes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._validation import Array, check_real, flushed


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
        For targets that are not classes, unknown classes, weights below 0 or beyond ``dtype``.
    """
    labels, n_classes = labels_of(T, n_out)
    own = np.ones(len(labels)) if sample_weight is None else sample_weight.astype(np.float64)
    if isinstance(class_weight, str) and class_weight == "balanced":
        by_class = balanced(np.bincount(labels, own, n_classes))
    elif isinstance(class_weight, Mapping):
        by_class = np.ones(n_classes)
        for label, weight in class_weight.items():
            if not isinstance(label, (int, np.integer, np.bool_)) or not 0 <= label < n_classes:
                raise ValueError(f"class_weight names class {label!r}, outside [0, {n_classes})")
            by_class[int(label)] = check_real(weight, f"class_weight[{label!r}]")
    else:
        raise TypeError(f"class_weight must be a dict or 'balanced', got {class_weight!r}")
    with np.errstate(over="ignore"):
        weights = flushed(by_class[labels] * own, dtype)
    if not np.isfinite(weights).all():
        raise ValueError(f"class_weight={class_weight!r} gives rows weights beyond {dtype}")
    return weights


def labels_of(T: Array, n_out: int) -> tuple[Array, int]:
    """(class index of each row, number of classes).

    Raises
    ------
    ValueError
        For targets that are not classes.
    """
    if T.ndim == 1:
        return T, n_out
    if not np.isin(T, (0, 1)).all() or (T.shape[1] > 1 and (T.sum(axis=1) != 1).any()):
        raise ValueError("class_weight needs one class for each row, got targets of shape "
                         f"{T.shape} that are not 0 and 1 with one 1 a row")
    return (T[:, 0].astype(np.int64), 2) if T.shape[1] == 1 else (T.argmax(axis=1), n_out)


def balanced(counts: Array) -> Array:
    """Weight of each class by its weighted count: n / (k * count), 0 for a count of 0."""
    present = counts > 0
    return np.where(present, counts.sum() / (present.sum() * np.where(present, counts, 1)), 0.0)


def checksum(weights: Array) -> str:
    """Weights in few words: if these differ, so do the weights. The same on every platform, but
    for rounding beyond float32."""
    if not weights.size:
        return "none"
    with np.errstate(over="ignore"):
        return f"with checksum {zlib.crc32(weights.astype('<f4').tobytes()):08x}"
