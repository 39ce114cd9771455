"""Squared error: half the sum over outputs, as the text has it, and the mean.

    L2Loss    E = 1/2 sum_i (x_i - t_i)^2       dx = x - t
    MSELoss   E = 1/n sum_i (x_i - t_i)^2       dx = 2 (x - t) / n

per row of n outputs. Source: seed text, section "Loss layer for continuous values".
"""

from __future__ import annotations

from .._jit import kernel
from ..kernels.arrays import row_of
from ..kernels.reduce import squares
from ..kernels.vmath import select
from .base import Loss


@kernel
def l2(h, x, t, weight, error, dx):
    """One block: error[r] = weight[r] * E_r, dx = weight[r] * (x - t), pads of dx 0.

    ``a`` is the 1/2 of E.
    """
    n, ld = h["n"], h["ld"]
    half, zero = x.dtype.type(h["a"]), x.dtype.type(0)
    for r in range(weight.size):
        w = weight[r]
        a, b, out = row_of(x, r, ld), row_of(t, r, ld), row_of(dx, r, ld)
        error[r] = w * (half * squares(a, b, n))
        for i in range(ld):
            out[i] = select(i < n, w * (a[i] - b[i]), zero)


@kernel
def mse(h, x, t, weight, error, dx):
    """One block: error[r] = weight[r] * E_r, dx = weight[r] * 2 (x - t) / n, pads of dx 0."""
    n, ld = h["n"], h["ld"]
    zero = x.dtype.type(0)
    for r in range(weight.size):
        w = weight[r] / x.dtype.type(n)
        a, b, out = row_of(x, r, ld), row_of(t, r, ld), row_of(dx, r, ld)
        error[r] = w * squares(a, b, n)
        for i in range(ld):
            out[i] = select(i < n, (w + w) * (a[i] - b[i]), zero)


class L2Loss(Loss):
    """E = 1/2 sum_i (x_i - t_i)^2 per row, mean over rows; dX = (X - T) / b.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        "sum" gives the text's bare formulas.
    """

    kernel = l2

    def constants(self) -> tuple[float, float]:
        """What the sum of squares is times."""
        return 0.5, 0.0


class MSELoss(Loss):
    """E = mean_i (x_i - t_i)^2 per row, mean over rows; dX = 2 (X - T) / (n b).

    What other libraries call mean squared error: 2 / n times ``L2Loss``.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows of a batch.
    """

    kernel = mse
