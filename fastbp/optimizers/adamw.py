"""AdamW: Adam whose weight decay acts on the parameters, not through the moments.

    p <- p (1 - lr wd), then Adam's step

Source: Loshchilov & Hutter, Decoupled weight decay regularization, 2019; PyTorch's form.
"""

from __future__ import annotations

from ..schedules import Schedule
from .adam import Adam


class AdamW(Adam):
    """Adam with decoupled weight decay.

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0.
    beta1, beta2 : float
        Decay of the first and second moment, in [0, 1).
    epsilon : float
        Added to the root of the second moment, above 0.
    weight_decay : float
        Parameters shrink by the factor 1 - lr weight_decay before each step.
    amsgrad : bool
        Divide by the largest second moment so far.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    decoupled = True

    def __init__(self, learning_rate: float | Schedule = 1e-3, beta1: float = 0.9,
                 beta2: float = 0.999, epsilon: float = 1e-8, weight_decay: float = 0.01,
                 amsgrad: bool = False) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, amsgrad)
