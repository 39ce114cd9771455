"""The generic optimizer: corrects parameters from their gradient, element by element.

State lies in ``slots``, an array of (n_slots, n): one row the size of the parameters for
each quantity that is remembered. The engine calls the same update kernel on the piece of
parameters whose gradient it has just finished.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .._validation import Array, check_real


class Optimizer:
    """Base of all optimizers. A subclass over NumPy alone trains through the textbook loop.

    Override ``update``; an optimizer that the compiled engine knows sets ``kind`` and
    gives its constants in ``hyper``.

    Parameters
    ----------
    learning_rate : float
        Step size, above 0.

    Attributes
    ----------
    kind : int
        Number in the engine's table; 0 for optimizers that only Python knows.
    n_slots : int
        State vectors.
    """

    kind: ClassVar[int] = 0
    n_slots: int = 0

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = check_real(learning_rate, "learning_rate", open_low=True)

    def hyper(self) -> Array:
        """Constants for the update kernel, float64, shape (4,)."""
        return np.zeros(4)

    def update(self, params: Array, grads: Array, slots: Array, step: int,
               learning_rate: float) -> None:
        """Correct ``params`` in place; ``step`` counts from 1.

        Parameters
        ----------
        params, grads : ndarray, shape (n,)
        slots : ndarray, shape (n_slots, n)
        """
        raise NotImplementedError(f"{type(self).__name__}.update")

    def config(self) -> dict[str, Any]:
        """Arguments that make an optimizer like this one."""
        return {"learning_rate": self.learning_rate}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.config().items())
        return f"{type(self).__name__}({arguments})"
