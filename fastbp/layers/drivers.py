"""A layer by itself, outside of the engine: all rows, by blocks, over threads if that is safe."""

from __future__ import annotations

import numpy as np

from .._jit import driver, prange
from ..kernels.tile import WRITE
from ..table import call_backward, call_couple, call_forward, call_gradient

#: Rows that one thread takes at a time in the drivers. Fixed: it never depends on threads.
ROW_BLOCK = 64


@driver
def forward_rows(ops, key, params, ws, x, y):
    m, n = ops[0]["ld_in"], ops[0]["ld_out"]
    rows = y.size // n
    for block in prange((rows + ROW_BLOCK - 1) // ROW_BLOCK):
        lo, hi = block * ROW_BLOCK, min((block + 1) * ROW_BLOCK, rows)
        call_forward(ops[0]["forward"], (ops[0], (key, np.uint64(lo)), params, ws,
                                         x[lo * m:hi * m], y[lo * n:hi * n]))


@driver
def backward_rows(ops, key, params, ws, x, y, dy, dx):
    m, n = ops[0]["ld_in"], ops[0]["ld_out"]
    rows = dy.size // n
    for block in prange((rows + ROW_BLOCK - 1) // ROW_BLOCK):
        lo, hi = block * ROW_BLOCK, min((block + 1) * ROW_BLOCK, rows)
        call_backward(ops[0]["backward"], (ops[0], (key, np.uint64(lo)), params, ws,
                                           x[lo * m:hi * m], y[lo * n:hi * n],
                                           dy[lo * n:hi * n], dx[lo * m:hi * m]))


@driver
def gradient_rows(ops, key, params, ws, x, dy, grads):
    ld, count = ops[0]["ld_param"], ops[0]["n_rows"]
    for block in prange((count + ROW_BLOCK - 1) // ROW_BLOCK):
        first, last = block * ROW_BLOCK, min((block + 1) * ROW_BLOCK, count)
        call_gradient(ops[0]["gradient"], (ops[0], (key, np.uint64(0)), params, ws, x, dy,
                                           dy.size // ops[0]["ld_out"], first, last, 0,
                                           ops[0]["n_out"],
                                           grads[first * ld:last * ld], ld, WRITE,
                                           x.dtype.type(0)))


@driver
def couple_columns(kernel, ops, key, params, ws, x, dy):
    rows, n = x.size // ops[0]["ld_out"], ops[0]["n_out"]
    for block in prange((n + ROW_BLOCK - 1) // ROW_BLOCK):
        left, right = block * ROW_BLOCK, min((block + 1) * ROW_BLOCK, n)
        call_couple(kernel, (ops[0], (key, np.uint64(0)), params, ws, x, dy, rows, left, right))
