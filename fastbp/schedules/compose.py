"""Schedules made from other schedules, or from a function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._validation import Array, check_real
from .base import Constant, Schedule, check_rate, rates_of, share_of


class Warmup(Schedule):
    """A linear rise to the first rate of another schedule, which then begins.

    Parameters
    ----------
    schedule : Schedule or float
        What follows; its position counts from the end of the rise, its length is the rest of the
        run.
    epochs : float
        Length of the rise, above 0.
    start : float
        Fraction of the first rate to begin with, in [0, 1].

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    _config_names = ("schedule", "epochs", "start")

    def __init__(self, schedule: float | Schedule, epochs: float = 5, start: float = 0.0) -> None:
        self.schedule = check_rate(schedule, "schedule")
        self.epochs = check_real(epochs, "epochs", open_low=True)
        self.start = check_real(start, "start", 0.0, 1.0, open_high=False)

    def rates(self, epoch: Array, epochs: float) -> Array:
        """The rise, then the schedule."""
        rest = np.maximum(np.asarray(epoch, np.float64) - self.epochs, 0.0)
        then = self.schedule if isinstance(self.schedule, Schedule) else Constant(self.schedule)
        after = rates_of(then, rest, max(epochs - self.epochs, 0.0))
        # During the rise ``rest`` is 0, and ``after`` the first rate of what follows.
        return after * (self.start + (1 - self.start) * share_of(epoch, self.epochs))


class Function(Schedule):
    """Any function of the position.

    Parameters
    ----------
    function : callable
        From the position of a step in epochs (float) to its rate, at least 0. It must
        depend on nothing else, or a resumed run would differ. A lambda cannot be pickled: a
        network that was trained by one leaves it out of its pickle.

    Raises
    ------
    TypeError
        If ``function`` cannot be called. A rate that is not a finite number of at least 0 is
        refused during training.
    """

    _config_names = ("function",)

    def __init__(self, function: Callable[[float], float]) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable, got {function!r}")
        self.function = function

    def rates(self, epoch: Array, epochs: float) -> Array:
        """The function at each position."""
        return np.array([check_real(self.function(float(e)), f"function({float(e)!r})")
                         for e in np.atleast_1d(epoch)], np.float64)

    def __repr__(self) -> str:
        """With the function's name, not its address: resuming in another process compares this."""
        name = getattr(self.function, "__qualname__", None)
        return f"Function({repr(self.function) if name is None else name})"
