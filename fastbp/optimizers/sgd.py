"""Gradient descent, plain, with momentum, or with Nesterov's look ahead.

    v <- mu v + g        p <- p - lr g                  (mu = 0)
                         p <- p - lr v                  (momentum)
                         p <- p - lr (g + mu v)         (Nesterov)

The update formulas are PyTorch's: the rate multiplies the velocity when it is used.
"""

from __future__ import annotations

import numpy as np

from .._jit import CONTRACT, kernel
from .._validation import Array, check_bool, check_real
from ..schedules import Schedule
from .base import Optimizer


@kernel(fastmath=CONTRACT)
def sgd_update(p, g, v, s1, s2, size, spread, hyper):
    """One piece of the parameters; ``v`` is not touched without momentum."""
    lr, mu = p.dtype.type(size), p.dtype.type(hyper[0])
    if hyper[0] == 0:
        for i in range(p.size):
            p[i] -= lr * g[i]
    elif hyper[1] == 0:
        for i in range(p.size):
            velocity = mu * v[i] + g[i]
            v[i] = velocity
            p[i] -= lr * velocity
    else:
        for i in range(p.size):
            velocity = mu * v[i] + g[i]
            v[i] = velocity
            p[i] -= lr * (g[i] + mu * velocity)


class SGD(Optimizer):
    """Stochastic gradient descent.

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0.
    momentum : float
        mu in [0, 1); 0 keeps no state.
    nesterov : bool
        Look ahead along the velocity; needs momentum.
    weight_decay : float
        Multiplied by the parameters and added to the gradient.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges, or ``nesterov`` without momentum.
    """

    kernel = sgd_update
    _config_names = ("learning_rate", "momentum", "nesterov", "weight_decay")

    def __init__(self, learning_rate: float | Schedule = 0.01, momentum: float = 0.0,
                 nesterov: bool = False, weight_decay: float = 0.0) -> None:
        super().__init__(learning_rate, weight_decay)
        self.momentum = check_real(momentum, "momentum", 0.0, 1.0)
        self.nesterov = check_bool(nesterov, "nesterov")
        if self.nesterov and self.momentum == 0:
            raise ValueError(f"nesterov=True needs momentum above 0, got momentum={momentum!r}")

    @property
    def n_slots(self) -> int:  # type: ignore[override]
        """A velocity, where there is momentum."""
        return int(self.momentum != 0)  # the test that the kernel makes

    def hyper(self) -> Array:
        """(momentum, nesterov)."""
        return np.array([self.momentum, self.nesterov], np.float64)

    @property
    def plain(self) -> bool:
        """Without momentum, and not in a subclass that does more."""
        return type(self).kernel is sgd_update and self.hyper()[0] == 0
