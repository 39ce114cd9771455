"""Kernels of dense layers whose weights outweigh the rows of a batch.

With weights larger than the caches the backward pass uses no mirror. Where each thread of a team
would get few rows, layers are shared out by columns instead: each thread reads its own columns of
the weights, once, for all rows. All give the bits of ``dense``.
"""

from __future__ import annotations

from .._jit import kernel
from ..kernels.arrays import span
from ..kernels.columns import ONE, ZERO
from ..kernels.matmul import multiply
from ..kernels.packed import matmul_by_rows
from ..kernels.tile import ADD, WRITE
from ..table import place

#: Bytes of weights from which a layer is wide: with a mirror they leave no room in the L2 cache.
WIDE = 1024 * 1024


@kernel
def wide_backward(op, now, params, ws, x, y, dy, dx):
    """dx = dy W from W' itself: keeping a mirror up to date takes longer than transposing W'
    again."""
    ldx, ldy = op["ld_in"], op["ld_out"]
    matmul_by_rows(dx.size // ldx, op["n_in"], op["n_out"], dy, ldy,
                   span(params, op["param"], params.size), ldy, dx, ldx, WRITE)


@kernel
def columns_forward(op, now, params, ws, x, dy, rows, left, right):
    """Columns of y = x W' + bias, for all rows of the batch."""
    m, ldy, y = op["n_in"], op["ld_out"], op["y"] + left
    weight = span(params, place(op, ZERO, left), params.size)
    bias = span(params, place(op, m, left), params.size)
    multiply(op, rows, right - left, m, x, op["ld_in"], ONE, weight, op["ld_param"],
             span(ws, y, ws.size), ldy, bias, ZERO, ADD + op["clip"], x.dtype.type(0))


@kernel
def columns_backward(op, now, params, ws, x, dy, rows, left, right):
    """Columns of dx = dy W, for all rows of the batch."""
    ldx, n, dx, mode = op["ld_in"], op["n_out"], span(ws, op["dx"] + left, ws.size), WRITE
    width = op["width"] if op["width"] > 0 else n
    for k in range(0, n, width):  # panels of W'
        matmul_by_rows(rows, right - left, min(width, n - k), span(dy, k, dy.size), op["ld_out"],
                       span(params, place(op, left, k), params.size), op["ld_param"], dx, ldx,
                       mode)
        mode = ADD
