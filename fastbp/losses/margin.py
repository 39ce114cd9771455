"""Hinge loss: each output is a yes or no by itself, correct by a margin of 1; s = 2 t - 1.

    E = 1/n sum_i max(0, 1 - s_i x_i)      dx = -s / n where s x < 1, else 0

per row of n outputs. Source: C. Cortes and V. Vapnik, Support-vector networks, Machine
Learning 20, 1995; several classes as one against the rest.
"""

from __future__ import annotations

from .._jit import kernel
from ..kernels.arrays import row_of
from ..kernels.vmath import select
from .base import Loss


@kernel
def hinge(h, x, t, weight, error, dx):
    """One block."""
    n, ld = h["n"], h["ld"]
    zero, one, two = x.dtype.type(0), x.dtype.type(1), x.dtype.type(2)
    for r in range(weight.size):
        w, total = weight[r] / x.dtype.type(n), zero
        a, b = row_of(x, r, ld), row_of(t, r, ld)
        for i in range(n):
            lack = one - (two * b[i] - one) * a[i]
            total += select(lack < zero, zero, lack)
        out = row_of(dx, r, ld)
        for i in range(ld):
            s = two * b[i] - one
            lack = one - s * a[i]
            g = select(lack > zero, -s, select(lack <= zero, zero, lack))  # NaN passes
            out[i] = select(i < n, w * g, zero)
        error[r] = w * total


class HingeLoss(Loss):
    """E = mean_i max(0, 1 - s_i x_i) per row, s = -1 for a target 0 and +1 for 1.

    Targets are rows (b, n) of 0 and 1, with any number of ones, or class indices (b,), which
    stand for rows with a single one: each class against the rest. A target between 0 and 1
    gives an s = 2 t - 1 between -1 and 1. The predicted class is that of the largest output, or,
    for a single output, whether it is above 0; there are no probabilities.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows of a batch.

    Raises
    ------
    TypeError, ValueError
        For another reduction.
    """

    labels = True
    fractions = True
    threshold = 0.0
    kernel = hinge
