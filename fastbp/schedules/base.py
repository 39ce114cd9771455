"""The generic schedule: learning rates as a function of the position in the run."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .._configured import Configured
from .._validation import Array, as_array, check_real

#: Positions are quotients and may be rounded: this close below a boundary, it is reached.
NEAR = 1e-10


class Schedule(Configured):
    """Base of all schedules: override ``rates`` and ``config``.

    Examples
    --------
    >>> import fastbp, numpy
    >>> class Hyperbola(fastbp.schedules.Schedule):
    ...     def __init__(self, initial):
    ...         self.initial = initial
    ...     def rates(self, epoch, epochs):
    ...         return self.initial / (1 + epoch)
    ...     def config(self):
    ...         return {"initial": self.initial}
    >>> optimizer = fastbp.SGD(Hyperbola(0.1))
    >>> optimizer.learning_rate.rates(numpy.array([0.0, 1.0, 3.0]), epochs=4).tolist()
    [0.1, 0.05, 0.025]
    """

    def rates(self, epoch: Array, epochs: float) -> Array:
        """Learning rates of steps.

        Parameters
        ----------
        epoch : ndarray of float64, shape (s,)
            Positions of the steps in epochs from 0: step / steps_per_epoch.
        epochs : float
            Length of the whole run.

        Returns
        -------
        ndarray of float64, shape (s,)
        """
        raise NotImplementedError(f"{type(self).__name__}.rates")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.config() == self.config()

    def __hash__(self) -> int:
        return hash((type(self), tuple(self.config().items())))


def check_rate(value: Any, name: str) -> float | Schedule:
    """A Schedule, or a number above 0."""
    if isinstance(value, Schedule):
        return value
    try:
        return check_real(value, name, open_low=True)
    except TypeError:
        raise TypeError(f"{name} must be a number or a Schedule, got {value!r}") from None


def rates_of(schedule: Schedule, epoch: Array, epochs: float) -> Array:
    """Rates of ``schedule``, which may be a user's own, as float64.

    Raises
    ------
    ValueError, TypeError
        If it is anything but one finite number of at least 0 for each position.
    """
    given = schedule.rates(epoch, epochs)
    if type(given) is not np.ndarray or given.dtype != np.float64:
        given = as_array(given, f"rates of {schedule!r}").astype(np.float64)
    if given.shape != epoch.shape:
        raise ValueError(f"{schedule!r} must give rates of shape {epoch.shape}, got shape "
                         f"{given.shape}")
    if given.size and not (given.min() >= 0 and given.max() < np.inf):  # false with NaN, too
        at = int(np.argmin((given >= 0) & (given < np.inf)))
        raise ValueError(f"{schedule!r} must give rates in [0, inf), got {given.flat[at]} at "
                         f"epoch {epoch.flat[at]:g}")
    return given


def share_of(epoch: Array, length: float) -> Array:
    """The fraction of ``length`` that is over at each position, 0 to 1."""
    if length <= 0:
        return np.where(epoch > 0, 1.0, 0.0)
    return np.clip(epoch / length, 0.0, 1.0)


class _OfRate(Schedule):
    """Base of schedules that begin with a given rate."""

    _config_names: ClassVar[tuple[str, ...]] = ("learning_rate",)

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = check_real(learning_rate, "learning_rate", open_low=True)


class Constant(_OfRate):
    """One rate throughout.

    Parameters
    ----------
    learning_rate : float
        Above 0.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    def rates(self, epoch: Array, epochs: float) -> Array:
        """lr."""
        return np.full(np.shape(epoch), self.learning_rate)
