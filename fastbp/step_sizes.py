"""Step sizes: what an update has in common for all parameters, by the optimizer's settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._validation import Array
from .optimizers import OPTIMIZERS, Optimizer

#: Number of steps whose sizes are computed at once; the optimizers, and the types of settings,
#: for which this is safe: a user's optimizer is unknown, and an array may change in place.
_AHEAD, _KNOWN, _NUMBERS = 64, frozenset(OPTIMIZERS.values()), frozenset((float, int, bool))


def plain_settings(optimizer: Optimizer) -> dict[str, Any] | None:
    """All that a built-in optimizer depends on, as long as it is plain numbers; else None."""
    own = vars(optimizer)
    known = type(optimizer) in _KNOWN and _NUMBERS.issuperset(map(type, own.values()))
    return own if known else None


class StepSizes:
    """Sizes of a run's steps. If a call has the settings of the last one, all plain numbers, sizes
    of some later steps are computed too: calls of single steps follow each other."""

    def __init__(self) -> None:
        # Settings, first step, sizes, constants: one tuple, so an interrupt leaves no mixture.
        self._made: tuple[Any, int, Array, Array] = None, 0, np.empty((0, 3)), np.empty(0)

    def of(self, optimizer: Optimizer, first: int, n_steps: int, scale: float,
           rates: Callable[[int], Array]) -> tuple[Array, Array]:
        """(size, spread, rate) of ``n_steps`` steps from number ``first`` on; and the optimizer's
        constants, the same array as long as its settings are known to be the same.

        Parameters
        ----------
        scale : float
            Factor by which ``rates`` multiplies the optimizer's learning rate.
        rates : callable
            Number of steps -> their learning rates, from ``first`` on.
        """
        count, (settings, begun, made, hyper) = n_steps, self._made
        own = plain_settings(optimizer) if n_steps < _AHEAD else None
        same = own is not None and (type(optimizer), own, scale) == settings
        if same:
            begin = first - begun
            if 0 <= begin <= len(made) - n_steps:
                return made[begin:begin + n_steps], hyper
            count = _AHEAD
        elif own is not None:
            settings = type(optimizer), own.copy(), scale  # they may be changed in place
        sizes = np.empty((count, 3))
        sizes[:, 2] = rates(count)
        sizes[:, :2] = optimizer.sizes(sizes[:, 2], np.arange(first, first + count))
        if own is None:  # a user's optimizer may return one array, with changed values
            return sizes, optimizer.hyper().copy()
        if not same:
            hyper = optimizer.hyper()
        self._made = settings, first, sizes, hyper
        return sizes[:n_steps], hyper
