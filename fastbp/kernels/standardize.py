"""Numbers of a table to features: shift, scale and check for non-finite ones, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from .._jit import DISABLED, kernel
from .arrays import lanes_of
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


def _view(typingctx, like, address, size):
    """``size`` elements of the dtype of ``like`` at an address."""

    def codegen(context, builder, signature, args):
        kind, bytes_each = signature.return_type, signature.return_type.dtype.bitwidth // 8
        array, step = context.make_array(kind)(context, builder), ir.IntType(64)(bytes_each)
        populate_array(array, builder.inttoptr(args[1], array.data.type), [args[2]], [step], step,
                       None)
        return array._getvalue()

    return types.Array(like.dtype, 1, "C")(like, types.int64, types.int64), codegen


view: Any = (lambda like, address, size: like) if DISABLED else intrinsic(_view)


@kernel
def standardize_columns(like, addresses, mean, scale, turned, ld, X, columns):
    """X[i, j] = (column j [i] - mean[j]) / scale[j]; False at the first that is not finite.

    Columns are contiguous, of the dtype of ``like``, at ``addresses``. ``turned`` is scratch for
    ``ld`` rows of each, a whole number of vectors that fits the cache.
    """
    lanes = lanes_of(X)
    whole, n = columns // lanes * lanes, X.size // columns
    for at in range(0, n, ld):
        rows = min(ld, n - at)
        for j in range(columns):
            values = view(like, addresses[j] + at * like.itemsize, rows)
            if not standardize(values, mean[j], scale[j], turned[j * ld:j * ld + rows]):
                return False
        transpose(whole, rows, turned, ld, X[at * columns:], columns)
        for j in range(whole, columns):
            for i in range(rows):
                X[(at + i) * columns + j] = turned[j * ld + i]
    return True
