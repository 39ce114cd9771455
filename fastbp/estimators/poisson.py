"""The Poisson deviance of rates e^z, half of it, as scikit-learn counts it.

    E = sum_i e^z_i - t_i z_i + (t_i log t_i - t_i)        dz = e^z - t
"""

from __future__ import annotations

import math

from .._jit import kernel
from ..kernels.vmath import exp
from ..losses import Loss


@kernel
def log_poisson(h, x, t, weight, error, dx):
    """One block on logarithms of rates; what does not depend on z is 0 at t = 0."""
    n, ld = h["n"], h["ld"]
    for r in range(weight.size):
        w, total = weight[r], x.dtype.type(0)
        for i in range(r * ld, r * ld + n):
            rate = exp(x[i])
            total += rate - t[i] * x[i]
            if t[i] > 0:
                total += t[i] * (x.dtype.type(math.log(t[i])) - x.dtype.type(1))
            dx[i] = w * (rate - t[i])
        for i in range(r * ld + n, r * ld + ld):
            dx[i] = 0
        error[r] = w * total


class LogPoissonLoss(Loss):
    """Half the Poisson deviance of targets at least 0, given logarithms of rates."""

    kernel = log_poisson
