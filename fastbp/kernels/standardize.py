"""Numbers of a table to features: shift, scale and check for non-finite ones, in one pass."""

from __future__ import annotations

import numpy as np

from .._jit import kernel
from .arrays import array_at, lanes_of, span
from .transpose import transpose


@kernel
def standardize(values, mean, scale, out):
    """out = (values - mean) / scale, in float64 until the last rounding; whether all is finite."""
    finite = 0
    for i in range(values.size):
        feature = out.dtype.type((np.float64(values[i]) - mean) / scale)
        out[i] = feature
        finite += feature - feature == 0
    return finite == values.size


@kernel
def standardize_columns(like, addresses, mean, scale, turned, ld, X, columns):
    """X[i, j] = (column j [i] - mean[j]) / scale[j]; False at the first that is not finite.

    Columns are contiguous, of the dtype of the number ``like``, at ``addresses``. ``turned`` is
    scratch for ``ld`` rows of each, a whole number of vectors that fits the cache.
    """
    lanes = lanes_of(X)
    whole, n = columns // lanes * lanes, X.size // columns
    for at in range(0, n, ld):
        rows = min(ld, n - at)
        for j in range(columns):
            values = span(array_at(addresses[j], like), at, at + rows)
            if not standardize(values, mean[j], scale[j], turned[j * ld:j * ld + rows]):
                return False
        transpose(whole, rows, turned, ld, X[at * columns:], columns)
        for j in range(whole, columns):
            for i in range(rows):
                X[(at + i) * columns + j] = turned[j * ld + i]
    return True
