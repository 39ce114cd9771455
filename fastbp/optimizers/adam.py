"""Adam: steps scaled by running moments of the gradient.

    m <- m + (1 - b1) (g - m)       v <- v + (1 - b2) (g^2 - v)
    p <- p - lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)

Source: Kingma & Ba, Adam, 2015, algorithm 1; epsilon stands where PyTorch puts it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._jit import CONTRACT, driver, kernel, prange
from .._validation import Array, check_real
from .base import Optimizer
from .sgd import BLOCK


@kernel
def adam_step_sizes(rate, step, hyper):
    """lr / (1 - b1^t) and 1 / sqrt(1 - b2^t); ``step`` t counts from 1."""
    return rate / (1.0 - hyper[0] ** step), 1.0 / math.sqrt(1.0 - hyper[1] ** step)


@kernel(fastmath=CONTRACT)
def adam_update(p, g, m, v, size, spread, hyper):
    """One piece of the parameters and of both moments.

    No sum of two products: which of them is fused could differ between the vector loop
    and its tail, and with it the result by where a piece ends.
    """
    c1, c2 = p.dtype.type(1.0 - hyper[0]), p.dtype.type(1.0 - hyper[1])
    epsilon = p.dtype.type(hyper[2])
    size, spread = p.dtype.type(size), p.dtype.type(spread)
    for i in range(p.size):
        first, second = m[i] + c1 * (g[i] - m[i]), v[i] + c2 * (g[i] * g[i] - v[i])
        m[i], v[i] = first, second  # no look back at what is on its way to memory
        p[i] -= size * first / (np.sqrt(second) * spread + epsilon)


@driver
def adam_update_all(p, g, m, v, rate, step, hyper):
    size, spread = adam_step_sizes(rate, step, hyper)
    for block in prange((p.size + BLOCK - 1) // BLOCK):
        part = slice(block * BLOCK, min((block + 1) * BLOCK, p.size))
        adam_update(p[part], g[part], m[part], v[part], size, spread, hyper)


class Adam(Optimizer):
    """Adam with bias-corrected moments.

    Parameters
    ----------
    learning_rate : float
        Above 0.
    beta1, beta2 : float
        Decay of the first and second moment, in [0, 1).
    epsilon : float
        Added to the root of the second moment, above 0.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    kind = 2
    n_slots = 2

    def __init__(self, learning_rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999,
                 epsilon: float = 1e-8) -> None:
        super().__init__(learning_rate)
        self.beta1 = check_real(beta1, "beta1", 0.0, 1.0)
        self.beta2 = check_real(beta2, "beta2", 0.0, 1.0)
        self.epsilon = check_real(epsilon, "epsilon", open_low=True)

    def hyper(self) -> Array:
        """(beta1, beta2, epsilon, 0)."""
        return np.array([self.beta1, self.beta2, self.epsilon, 0.0])

    def update(self, params: Array, grads: Array, slots: Array, step: int,
               learning_rate: float) -> None:
        """Correct ``params`` in place by the formula above."""
        adam_update_all(params, grads, slots[0], slots[1], learning_rate, step, self.hyper())

    def config(self) -> dict[str, Any]:
        """Rate, decays, epsilon."""
        return {"learning_rate": self.learning_rate, "beta1": self.beta1, "beta2": self.beta2,
                "epsilon": self.epsilon}
