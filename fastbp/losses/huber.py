"""Huber's loss: squared near the target, absolute far from it; d = x - t.

    E = 1/n sum_i  d_i^2 / 2                    where |d_i| <= delta
                   delta (|d_i| - delta / 2)    elsewhere
    dx = clip(d, -delta, delta) / n

per row of n outputs. Source: P. J. Huber, Robust estimation of a location parameter, Annals
of Mathematical Statistics 35, 1964.
"""

from __future__ import annotations

from .._jit import kernel
from .._validation import check_real, checked
from ..kernels.arrays import row_of
from ..kernels.vmath import select
from .base import Loss


@kernel
def huber(h, x, t, weight, error, dx):
    """One block; ``a`` is delta."""
    n, ld = h["n"], h["ld"]
    delta, half, zero = x.dtype.type(h["a"]), x.dtype.type(0.5), x.dtype.type(0)
    for r in range(weight.size):
        w, total = weight[r] / x.dtype.type(n), zero
        a, b = row_of(x, r, ld), row_of(t, r, ld)
        for i in range(n):
            d = abs(a[i] - b[i])
            total += select(d > delta, delta * (d - half * delta), half * d * d)
        out = row_of(dx, r, ld)
        for i in range(ld):
            d = a[i] - b[i]
            g = select(d > delta, delta, select(d < -delta, -delta, d))  # NaN passes
            out[i] = select(i < n, w * g, zero)
        error[r] = w * total


class HuberLoss(Loss):
    """Squared up to ``delta`` from the target, linear beyond; mean over outputs.

    dX = clip(X - T, -delta, delta) / (n b), so no outlier pulls harder than delta.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows of a batch.
    delta : float
        Where the square ends; above 0.

    Raises
    ------
    TypeError, ValueError
        For another reduction, or a delta that is no number above 0.
    """

    _config_defaults = {**Loss._config_defaults, "delta": 1.0}
    kernel = huber

    delta: float = checked(check_real, open_low=True)

    def __init__(self, reduction: str = "mean", *, delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def constants(self) -> tuple[float, float]:
        """Delta."""
        return self.delta, 0.0
