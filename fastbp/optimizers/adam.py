"""Adam: steps scaled by running moments of the gradient.

    m <- m + (1 - b1) (g - m)       v <- v + (1 - b2) (g^2 - v)
    p <- p - lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)

    amsgrad: u <- max(u, v), and u replaces v under the root

Source: Kingma & Ba, Adam, 2015, algorithm 1; Reddi, Kale & Kumar, On the convergence of Adam,
2018 (amsgrad). Epsilon, and the maximum before the bias correction, are PyTorch's.
"""

from __future__ import annotations

import numpy as np

from .._jit import CONTRACT, kernel
from .._validation import Array, check_bool, check_real
from ..kernels.vmath import select
from ..schedules import Schedule
from .base import Optimizer


@kernel(fastmath=CONTRACT)
def adam_update(p, g, m, v, u, size, spread, hyper):
    """One piece of the parameters and of both moments.

    No sum of two products: which of them is fused could differ between the vector loop
    and its tail, so that the result would depend on where a piece ends.
    """
    c1, c2 = p.dtype.type(1.0 - hyper[0]), p.dtype.type(1.0 - hyper[1])
    epsilon = p.dtype.type(hyper[2])
    size, spread = p.dtype.type(size), p.dtype.type(spread)
    if hyper[3] == 0:
        for i in range(p.size):
            first, second = m[i] + c1 * (g[i] - m[i]), v[i] + c2 * (g[i] * g[i] - v[i])
            m[i], v[i] = first, second  # not loaded again while being stored
            p[i] -= size * first / (np.sqrt(second) * spread + epsilon)
    else:
        for i in range(p.size):
            first, second = m[i] + c1 * (g[i] - m[i]), v[i] + c2 * (g[i] * g[i] - v[i])
            m[i], v[i] = first, second
            most = select(u[i] > second, u[i], second)  # in this order NaN stays
            u[i] = most
            p[i] -= size * first / (np.sqrt(most) * spread + epsilon)


class Adam(Optimizer):
    """Adam with bias-corrected moments.

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0.
    beta1, beta2 : float
        Decay of the first and second moment, in [0, 1).
    epsilon : float
        Added to the root of the second moment, above 0.
    weight_decay : float
        Multiplied by the parameters and added to the gradient.
    amsgrad : bool
        Divide by the largest second moment so far.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    kernel = adam_update
    _config_names = ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay", "amsgrad")

    def __init__(self, learning_rate: float | Schedule = 1e-3, beta1: float = 0.9,
                 beta2: float = 0.999, epsilon: float = 1e-8, weight_decay: float = 0.0,
                 amsgrad: bool = False) -> None:
        super().__init__(learning_rate, weight_decay)
        self.beta1 = check_real(beta1, "beta1", 0.0, 1.0)
        self.beta2 = check_real(beta2, "beta2", 0.0, 1.0)
        self.epsilon = check_real(epsilon, "epsilon", open_low=True)
        self.amsgrad = check_bool(amsgrad, "amsgrad")

    @property
    def n_slots(self) -> int:  # type: ignore[override]
        """Two moments, and the largest second one for AMSGrad."""
        return 2 + self.amsgrad

    def hyper(self) -> Array:
        """(beta1, beta2, epsilon, amsgrad)."""
        return np.array([self.beta1, self.beta2, self.epsilon, self.amsgrad], np.float64)

    def sizes(self, rates: Array, steps: Array) -> Array:
        """lr / (1 - b1^t) and 1 / sqrt(1 - b2^t)."""
        found = np.empty((len(steps), 2))
        found[:, 0] = rates / (1 - self.beta1 ** steps)
        found[:, 1] = 1 / np.sqrt(1 - self.beta2 ** steps)
        return found
