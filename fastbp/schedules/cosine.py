"""Rates along half periods of the cosine."""

from __future__ import annotations

import numpy as np

from .._validation import Array, check_real
from .base import NEAR, Schedule, _OfRate, share_of


def between(start: float, end: float, share: Array) -> Array:
    """From ``start`` to ``end`` along half a cosine period, ``share`` of the way."""
    return end + (start - end) * (1 + np.cos(np.pi * share)) / 2


class _Falling(_OfRate):
    """A schedule that falls from a rate to a minimum."""

    def __init__(self, learning_rate: float, minimum: float) -> None:
        super().__init__(learning_rate)
        self.minimum = check_real(minimum, "minimum", 0.0, self.learning_rate, open_high=False)


class Cosine(_Falling):
    """Half a period of the cosine from lr to the minimum, which then stays.

        minimum + (lr - minimum) (1 + cos(pi epoch / epochs)) / 2

    Parameters
    ----------
    learning_rate : float
        At the start, above 0.
    minimum : float
        At the end, in [0, learning_rate].
    epochs : float, optional
        Length of the fall, above 0; by default the whole run.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.

    Notes
    -----
    Source: Loshchilov & Hutter, SGDR, 2017, eq. 5.
    """

    _config_names = ("learning_rate", "minimum", "epochs")

    def __init__(self, learning_rate: float, minimum: float = 0.0,
                 epochs: float | None = None) -> None:
        super().__init__(learning_rate, minimum)
        self.epochs = None if epochs is None else check_real(epochs, "epochs", open_low=True)

    def rates(self, epoch: Array, epochs: float) -> Array:
        """Half a period of the cosine."""
        length = epochs if self.epochs is None else self.epochs
        return between(self.learning_rate, self.minimum, share_of(epoch, length))


class CosineRestarts(_Falling):
    """A sequence of cosine falls, each ``factor`` times as long as the one before.

    Parameters
    ----------
    learning_rate : float
        At the start of each fall, above 0.
    period : float
        Epochs of the first fall, above 0.
    factor : float
        At least 1.
    minimum : float
        In [0, learning_rate].

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.

    Notes
    -----
    Source: Loshchilov & Hutter, SGDR, 2017, section 3.
    """

    _config_names = ("learning_rate", "period", "factor", "minimum")

    def __init__(self, learning_rate: float, period: float = 10, factor: float = 2,
                 minimum: float = 0.0) -> None:
        super().__init__(learning_rate, minimum)
        self.period = check_real(period, "period", open_low=True)
        self.factor = check_real(factor, "factor", 1.0)

    def rates(self, epoch: Array, epochs: float) -> Array:
        """Half a period of the cosine from the last restart on."""
        at, factor = epoch / self.period, self.factor  # in periods
        if factor == 1:
            start, length = np.floor(at + NEAR), np.ones_like(at)
        else:  # falls 0 to k - 1 take 1 + f + ... + f^(k-1) = (f^k - 1) / (f - 1)
            k = np.floor(np.log1p(at * (factor - 1)) / np.log(factor) + NEAR)
            length = factor ** k
            start = (length - 1) / (factor - 1)
        share = np.clip((at - start) / length, 0.0, 1.0)
        return between(self.learning_rate, self.minimum, share)


class OneCycle(Schedule):
    """Up along a cosine for the first part of the run, then down to nearly 0.

    From max / start_factor to max, then to max / (start_factor final_factor).

    Parameters
    ----------
    max_learning_rate : float
        Above 0.
    warm : float
        Fraction of the run in which the rate rises, in (0, 1).
    start_factor, final_factor : float
        At least 1.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.

    Notes
    -----
    As PyTorch's OneCycleLR (anneal "cos"), but that makes each way one step shorter, so that the
    last step has the last rate. Source: Smith & Topin, Super-Convergence, 2018.
    """

    _config_names = ("max_learning_rate", "warm", "start_factor", "final_factor")

    def __init__(self, max_learning_rate: float, warm: float = 0.3, start_factor: float = 25,
                 final_factor: float = 1e4) -> None:
        self.max_learning_rate = check_real(max_learning_rate, "max_learning_rate",
                                            open_low=True)
        self.warm = check_real(warm, "warm", 0.0, 1.0, open_low=True)
        self.start_factor = check_real(start_factor, "start_factor", 1.0)
        self.final_factor = check_real(final_factor, "final_factor", 1.0)

    def rates(self, epoch: Array, epochs: float) -> Array:
        """Up, then down."""
        top, share = self.max_learning_rate, share_of(epoch, epochs)
        first = top / self.start_factor
        up = between(first, top, np.minimum(share / self.warm, 1.0))
        down = between(top, first / self.final_factor, (share - self.warm) / (1 - self.warm))
        return np.where(share < self.warm, up, down)
