"""Gradient descent, plain, with momentum, or with Nesterov's look ahead.

    v <- mu v + g        p <- p - lr g                  (mu = 0)
                         p <- p - lr v                  (momentum)
                         p <- p - lr (g + mu v)         (Nesterov)

The update formulas are PyTorch's: the rate multiplies the velocity when it is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._jit import CONTRACT, driver, kernel, prange
from .._validation import Array, check_bool, check_real
from .base import Optimizer

#: Elements that one thread takes at a time in the drivers of optimizers.
BLOCK = 16384


@kernel(fastmath=CONTRACT)
def sgd_update(p, g, v, rate, hyper):
    """One piece of the parameters; ``v`` is not touched without momentum."""
    lr, mu = p.dtype.type(rate), p.dtype.type(hyper[0])
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


@driver
def sgd_update_all(p, g, slots, rate, hyper):
    for block in prange((p.size + BLOCK - 1) // BLOCK):
        part = slice(block * BLOCK, min((block + 1) * BLOCK, p.size))
        sgd_update(p[part], g[part], slots[part], rate, hyper)


class SGD(Optimizer):
    """Stochastic gradient descent.

    Parameters
    ----------
    learning_rate : float
        Above 0.
    momentum : float
        mu in [0, 1); 0 keeps no state.
    nesterov : bool
        Look ahead along the velocity; needs momentum.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges, or ``nesterov`` without momentum.
    """

    kind = 1

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0,
                 nesterov: bool = False) -> None:
        super().__init__(learning_rate)
        self.momentum = check_real(momentum, "momentum", 0.0, 1.0)
        self.nesterov = check_bool(nesterov, "nesterov")
        if self.nesterov and self.momentum == 0:
            raise ValueError(f"nesterov=True needs momentum above 0, got momentum={momentum!r}")
        self.n_slots = int(self.momentum > 0)

    def hyper(self) -> Array:
        """(momentum, nesterov, 0, 0)."""
        return np.array([self.momentum, self.nesterov, 0.0, 0.0])

    def update(self, params: Array, grads: Array, slots: Array, step: int,
               learning_rate: float) -> None:
        """Correct ``params`` in place by the formula above."""
        sgd_update_all(params, grads, slots[0] if self.n_slots else params, learning_rate,
                       self.hyper())

    def config(self) -> dict[str, Any]:
        """Rate, momentum, nesterov."""
        return {"learning_rate": self.learning_rate, "momentum": self.momentum,
                "nesterov": self.nesterov}
