"""Rates that fall: in drops, exponentially, or as a power."""

from __future__ import annotations

import numpy as np

from .._validation import Array, check_real
from .base import NEAR, _OfRate


class Step(_OfRate):
    """lr drop^floor(epoch / every).

    Parameters
    ----------
    learning_rate : float
        At the start, above 0.
    drop : float
        Factor at each drop, in (0, 1].
    every : float
        Epochs between drops, above 0.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    _config_names = ("learning_rate", "drop", "every")

    def __init__(self, learning_rate: float, drop: float = 0.1, every: float = 10) -> None:
        super().__init__(learning_rate)
        self.drop = check_real(drop, "drop", 0.0, 1.0, open_low=True, open_high=False)
        self.every = check_real(every, "every", open_low=True)

    def rates(self, epoch: Array, epochs: float) -> Array:
        """lr drop^floor(epoch / every)."""
        return self.learning_rate * self.drop ** np.floor(epoch / self.every + NEAR)


class Exponential(_OfRate):
    """lr decay^epoch, step by step.

    Parameters
    ----------
    learning_rate : float
        At the start, above 0.
    decay : float
        Factor over an epoch, in (0, 1].

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    _config_names = ("learning_rate", "decay")

    def __init__(self, learning_rate: float, decay: float = 0.95) -> None:
        super().__init__(learning_rate)
        self.decay = check_real(decay, "decay", 0.0, 1.0, open_low=True, open_high=False)

    def rates(self, epoch: Array, epochs: float) -> Array:
        """lr decay^epoch."""
        return self.learning_rate * self.decay ** np.asarray(epoch, np.float64)


class InverseScaling(_OfRate):
    """lr / (1 + epoch)^power, step by step.

    Parameters
    ----------
    learning_rate : float
        At the start, above 0.
    power : float
        Above 0. scikit-learn's "invscaling" counts samples, this epochs.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    _config_names = ("learning_rate", "power")

    def __init__(self, learning_rate: float, power: float = 0.5) -> None:
        super().__init__(learning_rate)
        self.power = check_real(power, "power", open_low=True)

    def rates(self, epoch: Array, epochs: float) -> Array:
        """lr / (1 + epoch)^power."""
        return self.learning_rate / (1.0 + epoch) ** self.power
