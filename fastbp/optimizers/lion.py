"""Lion: steps of one size in the direction of a running gradient.

    p <- p - lr sign(m + (1 - b1) (g - m))      m <- m + (1 - b2) (g - m)

Source: Chen et al., Symbolic discovery of optimization algorithms, 2023, algorithm 2.
"""

from __future__ import annotations

import numpy as np

from .._jit import CONTRACT, kernel
from .._validation import Array, check_real
from ..kernels.vmath import select
from ..schedules import Schedule
from .base import Optimizer


@kernel(fastmath=CONTRACT)
def lion_update(p, g, m, s1, s2, size, spread, hyper):
    """One piece of the parameters and of the running gradient."""
    lr, zero, one = p.dtype.type(size), p.dtype.type(0), p.dtype.type(1)
    c1, c2 = p.dtype.type(1.0 - hyper[0]), p.dtype.type(1.0 - hyper[1])
    for i in range(p.size):
        old, towards = m[i], g[i] - m[i]
        way = old + c1 * towards
        m[i] = old + c2 * towards
        way = select(way > zero, one, select(way < zero, -one, way))  # 0 and NaN stay
        p[i] -= lr * way


class Lion(Optimizer):
    """Lion, with decoupled weight decay.

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0; a tenth of what suits Adam.
    beta1, beta2 : float
        Weight of the past in the direction and in the running gradient, in [0, 1).
    weight_decay : float
        Parameters shrink by the factor 1 - lr weight_decay before each step.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    kernel = lion_update
    n_slots = 1
    decoupled = True
    _config_names = ("learning_rate", "beta1", "beta2", "weight_decay")

    def __init__(self, learning_rate: float | Schedule = 1e-4, beta1: float = 0.9,
                 beta2: float = 0.99, weight_decay: float = 0.0) -> None:
        super().__init__(learning_rate, weight_decay)
        self.beta1 = check_real(beta1, "beta1", 0.0, 1.0)
        self.beta2 = check_real(beta2, "beta2", 0.0, 1.0)

    def hyper(self) -> Array:
        """(beta1, beta2)."""
        return np.array([self.beta1, self.beta2], np.float64)
