"""Adagrad: steps scaled by all past gradients.

    v <- v + g^2        p <- p - lr / (1 + (t - 1) lr_decay) * g / (sqrt(v) + eps)

Source: Duchi, Hazan & Singer, Adaptive subgradient methods, 2011; the decay of the rate and
the position of epsilon are PyTorch's.
"""

from __future__ import annotations

import numpy as np

from .._jit import CONTRACT, kernel
from .._validation import Array, check_real
from ..schedules import Schedule
from .base import Optimizer


@kernel(fastmath=CONTRACT)
def adagrad_update(p, g, v, s1, s2, size, spread, hyper):
    """One piece of the parameters and of the sums of squares."""
    lr, epsilon = p.dtype.type(size), p.dtype.type(hyper[0])
    for i in range(p.size):
        total = v[i] + g[i] * g[i]
        v[i] = total
        p[i] -= lr * (g[i] / (np.sqrt(total) + epsilon))


class Adagrad(Optimizer):
    """Adagrad.

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0.
    lr_decay : float
        The rate falls as 1 / (1 + (t - 1) lr_decay) at step t; at least 0.
    initial_accumulator_value : float
        Initial value of the sums of squares, at least 0.
    epsilon : float
        Added to the root, above 0.
    weight_decay : float
        Multiplied by the parameters and added to the gradient.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    kernel = adagrad_update
    n_slots = 1
    _config_names = ("learning_rate", "lr_decay", "initial_accumulator_value", "epsilon",
                     "weight_decay")

    def __init__(self, learning_rate: float | Schedule = 0.01, lr_decay: float = 0.0,
                 initial_accumulator_value: float = 0.0, epsilon: float = 1e-10,
                 weight_decay: float = 0.0) -> None:
        super().__init__(learning_rate, weight_decay)
        self.lr_decay = check_real(lr_decay, "lr_decay")
        self.initial_accumulator_value = check_real(initial_accumulator_value,
                                                    "initial_accumulator_value")
        self.epsilon = check_real(epsilon, "epsilon", open_low=True)

    def initial_slots(self, slots: Array) -> None:
        """All sums at ``initial_accumulator_value``."""
        slots[...] = self.initial_accumulator_value

    def hyper(self) -> Array:
        """(epsilon,)."""
        return np.array([self.epsilon], np.float64)

    def sizes(self, rates: Array, steps: Array) -> Array:
        """lr / (1 + (t - 1) lr_decay)."""
        return super().sizes(rates / (1 + (steps - 1) * self.lr_decay), steps)
