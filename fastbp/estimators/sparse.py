"""Sparse matrices become dense: whole to train on, block by block to predict from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._validation import Array

#: Numbers of a block.
BLOCK = 1 << 22


def dense(X: Any) -> Array:
    """All of X."""
    return X.toarray() if hasattr(X, "toarray") else X


def dense_blocks(X: Any) -> Iterator[Array]:
    """X itself if it is dense, else its rows, some at a time."""
    if not hasattr(X, "toarray"):
        yield X
        return
    rows, size = X.tocsr(), max(1, BLOCK // X.shape[1])
    for i in range(0, X.shape[0], size):
        yield rows[i:i + size].toarray()
