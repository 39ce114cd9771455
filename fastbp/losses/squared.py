"""Squared error: half the sum over outputs, as the text has it, and the mean.

    L2Loss    E = 1/2 sum_i (x_i - t_i)^2       dx = x - t
    MSELoss   E = 1/n sum_i (x_i - t_i)^2       dx = 2 (x - t) / n

per row of n outputs. Source: seed text, section "Loss layer for continuous values".
"""

from __future__ import annotations

from .._jit import kernel
from ..kernels.arrays import lanes_of, row_of, stack_array
from ..kernels.copy import clear_row
from ..kernels.reduce import squares
from ..kernels.vectors import VECTOR_BYTES
from ..kernels.vmath import select
from .base import Loss
from .columns import COLUMN, LANES, from_columns, to_columns

#: Bytes of ``LANES`` rows of up to a fourth of a vector.
_TABLE = LANES * VECTOR_BYTES // 4


@kernel
def across(x, t, n, ld, weight, error, dx, part, slope):
    """As ``squared``, for outputs that fill up to a fourth of a vector."""
    table, targets = stack_array(x, _TABLE), stack_array(x, _TABLE)
    total, w = stack_array(x, COLUMN), stack_array(x, COLUMN)
    for lo in range(0, weight.size, LANES):
        count, m = to_columns(x, t, weight, lo, n, ld, table, targets, w, total)
        for k in range(n):
            z, target = row_of(table, k, m), row_of(targets, k, m)
            for r in range(m):
                gap = z[r] - target[r]
                total[r] += gap * gap
                z[r] = (w[r] * slope) * gap
        for r in range(m):
            total[r] = w[r] * (part * total[r])
        from_columns(table, total, lo, n, count, m, ld, error, dx)


@kernel
def squared(h, x, t, weight, error, dx, part, slope):
    """One block: error[r] = weight[r] * part * sum (x - t)^2, dx = weight[r] * slope * (x - t),
    padding of dx 0."""
    n, ld, zero, lanes = h["n"], h["ld"], x.dtype.type(0), lanes_of(x)
    if n == 1:
        for r in range(weight.size):
            gap = x[r * ld] - t[r * ld]
            clear_row(dx, r * ld, ld)
            dx[r * ld] = (weight[r] * slope) * gap
            error[r] = weight[r] * (part * (gap * gap))
        return
    if 4 * n <= lanes and ld % lanes == 0:
        across(x, t, n, ld, weight, error, dx, part, slope)
        return
    for r in range(weight.size):
        a, b, out = row_of(x, r, ld), row_of(t, r, ld), row_of(dx, r, ld)
        error[r] = weight[r] * (part * squares(a, b, n))
        w = weight[r] * slope
        for i in range(ld):
            out[i] = select(i < n, w * (a[i] - b[i]), zero)


@kernel
def l2(h, x, t, weight, error, dx):
    """``squared`` with part 1/2, the ``a`` of the head, and slope 1."""
    squared(h, x, t, weight, error, dx, x.dtype.type(h["a"]), x.dtype.type(1))


@kernel
def mse(h, x, t, weight, error, dx):
    """``squared`` with part 1/n and slope 2/n."""
    n = x.dtype.type(h["n"])
    squared(h, x, t, weight, error, dx, x.dtype.type(1) / n, x.dtype.type(2) / n)


class L2Loss(Loss):
    """E = 1/2 sum_i (x_i - t_i)^2 per row, mean over rows; dX = (X - T) / b.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows of a batch.

    Raises
    ------
    TypeError, ValueError
        For another reduction.
    """

    kernel = l2

    def constants(self) -> tuple[float, float]:
        """(factor of the sum of squares, 0)."""
        return 0.5, 0.0


class MSELoss(Loss):
    """E = mean_i (x_i - t_i)^2 per row, mean over rows; dX = 2 (X - T) / (n b).

    What other libraries call mean squared error: 2 / n times ``L2Loss``.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows of a batch.

    Raises
    ------
    TypeError, ValueError
        For another reduction.
    """

    kernel = mse
