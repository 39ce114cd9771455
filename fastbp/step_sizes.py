"""What of a step is the same for all parameters: how large it is, by the optimizer's settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._validation import Array
from .optimizers import OPTIMIZERS, Optimizer

#: Steps whose sizes are made at once, where settings are known and no array, which may change.
_AHEAD, _KNOWN, _NUMBERS = 64, frozenset(OPTIMIZERS.values()), frozenset((float, int, bool))


class StepSizes:
    """Sizes of a run's steps; where settings are as in the call before, and the rate one number,
    of some more than asked for: calls of single steps come one after the other."""

    def __init__(self) -> None:
        # Settings, first step, sizes, constants; in one, so that an interrupt leaves no mixture.
        self._made: tuple[Any, int, Array, Array] = None, 0, np.empty((0, 3)), np.empty(0)

    def of(self, optimizer: Optimizer, first: int, n_steps: int, scale: float,
           rates: Callable[[int], Array]) -> tuple[Array, Array]:
        """(size, spread, rate) of so many steps from number ``first`` on; the optimizer's
        constants, the same array as long as its settings are known to be the same.

        Parameters
        ----------
        scale : float
            What ``rates`` multiplies the optimizer's by.
        rates : callable
            Learning rates of so many steps from there on.
        """
        count, settings = n_steps, None
        known, begun, made, hyper = self._made
        if n_steps < _AHEAD and type(optimizer) in _KNOWN and _NUMBERS.issuperset(
                map(type, (config := optimizer.config()).values())):
            settings = type(optimizer), config, scale
            if settings == known:
                begin = first - begun
                if 0 <= begin <= len(made) - n_steps:
                    return made[begin:begin + n_steps], hyper
                count = _AHEAD
        sizes = np.empty((count, 3))
        sizes[:, 2] = rates(count)
        sizes[:, :2] = optimizer.sizes(sizes[:, 2], np.arange(first, first + count))
        if settings is None:  # a user's own may always give the same array, whatever has changed
            return sizes, optimizer.hyper().copy()
        if settings != known:
            hyper = optimizer.hyper()
        self._made = settings, first, sizes, hyper
        return sizes[:n_steps], hyper
