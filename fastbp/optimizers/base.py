"""The generic optimizer: updates parameters from their gradient, element by element.

State is in ``slots``, an array of shape (n_slots, n): a row the size of the parameters for
each quantity kept between steps. The engine calls the same update kernel on the piece of
parameters whose gradient it has just finished.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from .._configured import Configured
from .._jit import driver, prange
from .._validation import Array, check_range, check_real
from ..schedules.base import Schedule, check_rate, rates_of
from ..table import address, call_update

#: Elements that one thread takes at a time in ``update_all``.
BLOCK = 16384


@driver
def update_all(kernel, p, g, s0, s1, s2, size, spread, hyper):
    for block in prange((p.size + BLOCK - 1) // BLOCK):
        part = slice(block * BLOCK, min((block + 1) * BLOCK, p.size))
        call_update(kernel, (p[part], g[part], s0[part], s1[part], s2[part], size, spread, hyper))


class Optimizer(Configured):
    """Base of all optimizers. A subclass in NumPy alone trains in the textbook loop.

    Override ``update``, or give a ``kernel`` for the compiled engine with its constants in
    ``hyper``. Add settings of your own to ``config``: a continued run must have the same ones.

    Parameters
    ----------
    learning_rate : float or Schedule
        Step size, above 0.
    weight_decay : float
        At least 0. An ``update`` of your own applies it itself, by ``decayed``.

    Attributes
    ----------
    decoupled : bool
        Whether weight decay shrinks the parameters, p <- p (1 - lr weight_decay), or goes
        through the gradient, g + weight_decay p.
    kernel : compiled function or None
        Of role "update" (see ``table``); None for optimizers in Python only.
    n_slots : int
        State vectors, at most 3 for the engine.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    _config_names: ClassVar[tuple[str, ...]] = ("learning_rate",)
    _config_defaults: ClassVar[Mapping[str, Any]] = {"weight_decay": 0.0}
    kernel: ClassVar[Any] = None
    decoupled: ClassVar[bool] = False
    weight_decay: float = 0.0
    n_slots: int = 0

    def __init__(self, learning_rate: float | Schedule, weight_decay: float = 0.0) -> None:
        self.learning_rate = check_rate(learning_rate, "learning_rate")
        self.weight_decay = check_real(weight_decay, "weight_decay")

    def initial_slots(self, slots: Array) -> None:
        """Fill the state before the first step, shape (n_slots, n): with zeros."""
        slots[...] = 0

    def check(self, dtype: np.dtype[Any]) -> None:
        """Refuse settings that ``dtype`` would make 0 or infinite, and an invalid learning rate.

        Raises
        ------
        ValueError
            Names the setting.
        TypeError
            If a subclass has never called ``Optimizer.__init__``.
        """
        if not hasattr(self, "learning_rate"):
            raise TypeError(f"{type(self).__name__}.__init__ must call "
                            "super().__init__(learning_rate)")
        if not isinstance(self.learning_rate, Schedule):  # may have been set after __init__
            check_real(self.learning_rate, "learning_rate")
        for name, zero in (("epsilon", False), ("initial_accumulator_value", True)):
            check_range(getattr(self, name, 1.0), name, dtype, zero=zero)

    @property
    def family(self) -> type[Optimizer]:
        """Class to which the state belongs: a fit continues only from one of the same family."""
        return type(self)

    @property
    def slot_names(self) -> tuple[str, ...]:
        """What each state vector means: a fit continues only from vectors of the same meaning."""
        return tuple(f"slot{i}" for i in range(self.n_slots))

    def rates(self, epoch: Array, epochs: float) -> Array:
        """Learning rates of steps at the positions ``epoch`` of a run of ``epochs``.

        Raises
        ------
        ValueError, TypeError
            If a schedule gives anything but one rate a step, finite and at least 0; for a
            learning rate that is no such number, as it may have been set amid a run.
        """
        if not isinstance(self.learning_rate, Schedule):
            rates = np.empty(epoch.shape)
            rates.fill(check_real(self.learning_rate, "learning_rate"))
            return rates
        return rates_of(self.learning_rate, epoch, epochs)

    def hyper(self) -> Array:
        """Constants for the update kernel, float64."""
        return np.zeros(1)

    @property
    def plain(self) -> bool:
        """Whether the kernel does p <- p - size g and nothing else: the engine may then update
        parameters while it sums their gradient."""
        return False

    def sizes(self, rates: Array, steps: Array) -> Array:
        """(size, spread) for each step, the factors that are the same for all parameters.

        Parameters
        ----------
        rates : ndarray, shape (s,)
            Learning rates.
        steps : ndarray, shape (s,)
            Numbers of the steps, from 1.
        """
        return np.stack([rates, np.zeros_like(rates)], axis=1)

    def update(self, params: Array, grads: Array, slots: Array, step: int,
               learning_rate: float) -> None:
        """Update ``params`` in place, and return None; ``step`` counts from 1. ``grads`` are not
        changed.

        Parameters
        ----------
        params, grads : ndarray, shape (n,)
        slots : ndarray, shape (n_slots, n)
        """
        if type(self).kernel is None:
            raise NotImplementedError(f"{type(self).__name__}.update")
        grads = self.decayed(params, grads, learning_rate)
        size, spread = self.sizes(np.array([learning_rate]), np.array([step]))[0]
        state = [slots[i] if i < self.n_slots else params for i in range(3)]
        update_all(address("update", type(self).kernel, params.dtype), params, grads, *state,
                   size, spread, self.hyper())

    def decayed(self, params: Array, grads: Array, learning_rate: float) -> Array:
        """The gradient with weight decay; where it is ``decoupled``, ``params`` shrink instead."""
        if self.weight_decay and self.decoupled:
            params *= params.dtype.type(1 - learning_rate * self.weight_decay)
        elif self.weight_decay:
            return grads + params.dtype.type(self.weight_decay) * params
        return grads
