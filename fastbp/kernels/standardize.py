"""Numbers of a table to features: shift, scale and look for what is not finite, in one pass."""

from __future__ import annotations

import numpy as np

from .._jit import kernel


@kernel
def standardize(values, mean, scale, out):
    """out = (values - mean) / scale, in float64 up to the last rounding; whether all is finite."""
    finite = 0
    for i in range(values.size):
        feature = out.dtype.type((np.float64(values[i]) - mean) / scale)
        out[i] = feature
        finite += feature - feature == 0
    return finite == values.size
