"""Absolute error, symmetric and tilted.

    MAELoss        E = 1/n sum_i |x_i - t_i|                      dx = sign(x - t) / n
    QuantileLoss   E = 1/n sum_i max(q (t - x), (q - 1) (t - x))  dx = -q / n below the
                                                                  target, (1 - q) / n above

per row of n outputs; the gradient at x = t is 0. The second is smallest where x is the quantile
q of the targets (Koenker and Bassett, Regression quantiles, Econometrica 46, 1978); with q = 1/2
it is half of the first.
"""

from __future__ import annotations

from .._jit import kernel
from .._validation import check_real, checked
from ..kernels.arrays import row_of
from ..kernels.vmath import select
from .base import Loss


@kernel
def tilted(x, t, weight, error, dx, n, ld, below, above):
    """One block, where ``below`` and ``above`` are the weights of |x - t| on either side of t."""
    zero = x.dtype.type(0)
    for r in range(weight.size):
        w, total = weight[r] / x.dtype.type(n), zero
        a, b = row_of(x, r, ld), row_of(t, r, ld)
        for i in range(n):
            d = a[i] - b[i]
            total += select(d < zero, -below, above) * d
        out = row_of(dx, r, ld)
        for i in range(ld):
            d = a[i] - b[i]
            g = select(d > zero, above, select(d < zero, -below, d))  # 0 and NaN stay
            out[i] = select(i < n, w * g, zero)
        error[r] = w * total


@kernel
def mae(h, x, t, weight, error, dx):
    """One block."""
    one = x.dtype.type(1)
    tilted(x, t, weight, error, dx, h["n"], h["ld"], one, one)


@kernel
def quantile(h, x, t, weight, error, dx):
    """One block; ``a`` is the quantile."""
    q, one = x.dtype.type(h["a"]), x.dtype.type(1)
    tilted(x, t, weight, error, dx, h["n"], h["ld"], q, one - q)


class MAELoss(Loss):
    """E = mean_i |x_i - t_i| per row, mean over rows; dX = sign(X - T) / (n b), 0 at 0.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows of a batch.

    Raises
    ------
    TypeError, ValueError
        For another reduction.
    """

    kernel = mae


class QuantileLoss(Loss):
    """Pinball loss: mean over outputs, smallest where X is a quantile of the targets.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows of a batch.
    quantile : float
        In (0, 1); 0.9 predicts what nine targets in ten stay below.

    Raises
    ------
    TypeError, ValueError
        For another reduction, or a quantile that is no number in (0, 1).
    """

    _config_defaults = {**Loss._config_defaults, "quantile": 0.5}
    kernel = quantile

    quantile: float = checked(check_real, 0.0, 1.0, open_low=True)

    def __init__(self, reduction: str = "mean", *, quantile: float = 0.5) -> None:
        super().__init__(reduction)
        self.quantile = quantile

    def constants(self) -> tuple[float, float]:
        """The quantile."""
        return self.quantile, 0.0
