"""What dense layers run whose weights are beyond the caches.

Their way back needs no mirror. Where a team is so large that few rows are left for each
thread, the layer is shared out by columns instead: each thread copies its own columns of the
weights, once, for all rows. All give the bits of ``dense``.
"""

from __future__ import annotations

from .._jit import kernel
from ..kernels.arrays import span
from ..kernels.matmul import ONE, ZERO, matmul_by_rows, multiply
from ..kernels.tile import ADD

#: Bytes of weights from which a layer is wide: they and a mirror leave the L2 cache no room.
WIDE = 1024 * 1024


@kernel
def wide_backward(op, now, params, ws, x, y, dy, dx):
    """dx = dy W from W' itself: to keep a mirror up with it takes longer than to transpose it
    once more."""
    ldx, ldy = op["ld_in"], op["ld_out"]
    matmul_by_rows(dx.size // ldx, op["n_in"], op["n_out"], dy, ldy,
                   span(params, op["param"], params.size), ldy, dx, ldx)


@kernel
def columns_forward(op, now, params, ws, x, dy, rows, left, right):
    """Columns of y = x W' + bias, for all rows of the batch."""
    m, ldy, at, y = op["n_in"], op["ld_out"], op["param"] + left, op["y"] + left
    weight, bias = span(params, at, params.size), span(params, at + m * ldy, params.size)
    multiply(op, rows, right - left, m, x, op["ld_in"], ONE, weight, ldy, span(ws, y, ws.size),
             ldy, bias, ZERO, ADD + op["clip"], x.dtype.type(0))


@kernel
def columns_backward(op, now, params, ws, x, dy, rows, left, right):
    """Columns of dx = dy W, for all rows of the batch."""
    ldx, ldy, at = op["ld_in"], op["ld_out"], op["dx"] + left
    matmul_by_rows(rows, right - left, op["n_out"], dy, ldy,
                   span(params, op["param"] + left * ldy, params.size), ldy,
                   span(ws, at, ws.size), ldx)
