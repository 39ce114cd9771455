"""Poisson loss: counts t whose rate is e^x.

    E = 1/n sum_i e^x_i - t_i x_i          dx = (e^x - t) / n

per row of n outputs: the negative log-likelihood without log t!, which no weight affects.
Half the deviance, which is 0 where e^x = t, is a sum and counts one term more:

    E = sum_i e^x_i - t_i x_i + t_i log t_i - t_i          dx = e^x - t

Source: P. McCullagh and J. A. Nelder, Generalized Linear Models, 2nd ed., ch. 6.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._jit import kernel
from .._validation import Array, check_bool, checked
from ..kernels.arrays import row_of
from ..kernels.vmath import exp, select
from .base import Loss


@kernel
def poisson(h, x, t, weight, error, dx):
    """One block; dx holds the rates at first. A term with t = 0 counts e^x even at x = -inf.

    ``a`` is 1 for half the deviance.
    """
    n, ld, deviance = h["n"], h["ld"], h["a"] != 0
    outputs = x.dtype.type(1 if deviance else n)
    zero, infinite = x.dtype.type(0), x.dtype.type(math.inf)
    for i in range(x.size):
        dx[i] = exp(x[i])
    for r in range(weight.size):
        w, total = weight[r] / outputs, zero
        a, b, out = row_of(x, r, ld), row_of(t, r, ld), row_of(dx, r, ld)
        for i in range(n):
            silent = (b[i] == zero) | (a[i] == infinite)  # only e^x counts there
            total += out[i] - select(silent, zero, b[i] * a[i])
        for i in range(n if deviance else 0):
            if b[i] > zero:
                total += b[i] * (x.dtype.type(math.log(b[i])) - x.dtype.type(1))
        for i in range(ld):
            out[i] = select(i < n, w * (out[i] - b[i]), zero)
        error[r] = w * total


class PoissonLoss(Loss):
    """E = mean_i e^x_i - t_i x_i per row: X is the log of the rate of counts T.

    dX = (e^X - T) / (n b). The rates themselves are ``numpy.exp(network.predict(X))``;
    ``expected`` computes them from outputs.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows of a batch.
    deviance : bool
        Half the deviance, a sum over outputs, which is 0 where e^X = T.

    Raises
    ------
    TypeError
        For another reduction, or a deviance that is no bool.
    """

    _config_defaults = {**Loss._config_defaults, "deviance": False}
    kernel = poisson

    deviance: bool = checked(check_bool)

    def __init__(self, reduction: str = "mean", *, deviance: bool = False) -> None:
        super().__init__(reduction)
        self.deviance = deviance

    def expected(self, Y: Array) -> Array:
        """Rates of counts."""
        with np.errstate(over="ignore"):
            rates: Array = np.exp(Y)
        return rates

    def constants(self) -> tuple[float, float]:
        """(1 for half the deviance, else 0; 0)."""
        return float(self.deviance), 0.0

    def check_target(self, T: Any, n_out: int, dtype: np.dtype[Any], name: str = "T", *,
                     allow_nonfinite: bool = False) -> Array:
        """Rows (b, n_out) of numbers of at least 0."""
        T = super().check_target(T, n_out, dtype, name, allow_nonfinite=allow_nonfinite)
        if (bad := T < 0).any():
            raise ValueError(f"{name} must be at least 0, got {T[bad][0]}")
        return T
