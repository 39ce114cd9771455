"""RMSprop: steps scaled by the running size of the gradient.

    v <- v + (1 - a) (g^2 - v)      p <- p - lr g / (sqrt(v) + eps)

    centered: m <- m + (1 - a) (g - m), and v - m^2 replaces v under the root
    momentum: b <- mu b + g / (sqrt(v) + eps), and p <- p - lr b

Source: Tieleman & Hinton, Lecture 6.5, 2012; Graves, Generating sequences, 2013 (centered).
Epsilon and rate are where PyTorch puts them.
"""

from __future__ import annotations

import numpy as np

from .._jit import CONTRACT, kernel
from .._validation import Array, check_bool, check_real
from ..kernels.vmath import select
from ..schedules import Schedule
from .base import Optimizer


@kernel(fastmath=CONTRACT)
def spread_about(v, m, zero):
    """sqrt(v - m^2); rounding may take it below 0, where PyTorch gives NaN."""
    square = v - m * m
    return np.sqrt(select(square < zero, zero, square))


@kernel(fastmath=CONTRACT)
def rmsprop_update(p, g, v, s1, s2, size, spread, hyper):
    """One piece; state is v, then m if centered, then b with momentum."""
    lr, c, mu = p.dtype.type(size), p.dtype.type(1.0 - hyper[0]), p.dtype.type(hyper[2])
    epsilon, zero = p.dtype.type(hyper[1]), p.dtype.type(0)
    centered, momentum = hyper[3] != 0, hyper[2] != 0
    if centered and momentum:
        for i in range(p.size):
            square, mean = v[i] + c * (g[i] * g[i] - v[i]), s1[i] + c * (g[i] - s1[i])
            velocity = mu * s2[i] + g[i] / (spread_about(square, mean, zero) + epsilon)
            v[i], s1[i], s2[i] = square, mean, velocity
            p[i] -= lr * velocity
    elif centered:
        for i in range(p.size):
            square, mean = v[i] + c * (g[i] * g[i] - v[i]), s1[i] + c * (g[i] - s1[i])
            v[i], s1[i] = square, mean
            p[i] -= lr * (g[i] / (spread_about(square, mean, zero) + epsilon))
    elif momentum:
        for i in range(p.size):
            square = v[i] + c * (g[i] * g[i] - v[i])
            velocity = mu * s1[i] + g[i] / (np.sqrt(square) + epsilon)
            v[i], s1[i] = square, velocity
            p[i] -= lr * velocity
    else:
        for i in range(p.size):
            square = v[i] + c * (g[i] * g[i] - v[i])
            v[i] = square
            p[i] -= lr * (g[i] / (np.sqrt(square) + epsilon))


class RMSprop(Optimizer):
    """RMSprop, plain, centered, with momentum.

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0.
    alpha : float
        Decay of the running squares, in [0, 1).
    epsilon : float
        Added to the root, above 0.
    momentum : float
        mu in [0, 1).
    centered : bool
        Scale by the spread about the mean, not by the size.
    weight_decay : float
        Multiplied by the parameters and added to the gradient.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    kernel = rmsprop_update
    _config_names = ("learning_rate", "alpha", "epsilon", "momentum", "centered", "weight_decay")

    def __init__(self, learning_rate: float | Schedule = 0.01, alpha: float = 0.99,
                 epsilon: float = 1e-8, momentum: float = 0.0, centered: bool = False,
                 weight_decay: float = 0.0) -> None:
        super().__init__(learning_rate, weight_decay)
        self.alpha = check_real(alpha, "alpha", 0.0, 1.0)
        self.epsilon = check_real(epsilon, "epsilon", open_low=True)
        self.momentum = check_real(momentum, "momentum", 0.0, 1.0)
        self.centered = check_bool(centered, "centered")

    @property
    def n_slots(self) -> int:  # type: ignore[override]
        """One for each of ``slot_names``."""
        return len(self.slot_names)

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Squares, then means if centered, then velocities with momentum."""
        names = ["square", *["mean"][:self.centered], *["velocity"][:bool(self.momentum != 0)]]
        return tuple(names)

    def hyper(self) -> Array:
        """(alpha, epsilon, momentum, centered)."""
        return np.array([self.alpha, self.epsilon, self.momentum, self.centered], np.float64)
