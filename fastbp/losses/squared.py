"""L2 loss: E = 1/2 sum_i (x_i - t_i)^2 per row, dx = x - t.

Source: seed text, section "Loss layer for continuous values".
"""

from __future__ import annotations

from .._jit import driver, kernel, prange
from ..kernels.vmath import select
from ..layers.base import ROW_BLOCK
from .base import Loss


@kernel
def l2(x, t, weight, n, ld, error, dx):
    """One block: error[r] = weight[r] * E_r, dx = weight[r] * (x - t), pads of dx 0."""
    half, zero = x.dtype.type(0.5), x.dtype.type(0)
    for r in range(weight.size):
        w, total = weight[r], zero
        a, b = x[r * ld:(r + 1) * ld], t[r * ld:(r + 1) * ld]
        for i in range(n):
            d = a[i] - b[i]
            total += d * d
        out = dx[r * ld:(r + 1) * ld]
        for i in range(ld):
            out[i] = select(i < n, w * (a[i] - b[i]), zero)
        error[r] = w * (half * total)


@driver
def l2_rows(x, t, weight, n, error, dx):
    for block in prange((weight.size + ROW_BLOCK - 1) // ROW_BLOCK):
        lo, hi = block * ROW_BLOCK, min((block + 1) * ROW_BLOCK, weight.size)
        l2(x[lo * n:hi * n], t[lo * n:hi * n], weight[lo:hi], n, n, error[lo:hi],
           dx[lo * n:hi * n])


class L2Loss(Loss):
    """E = 1/2 sum_i (x_i - t_i)^2 per row, mean over rows; dX = (X - T) / b.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        "sum" gives the text's bare formulas.
    """

    kind = 1
    _rows = l2_rows
