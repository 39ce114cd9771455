"""What a step does beside the update: penalties, clips, largest norms, moving average.

    E + l1 sum|w| + l2/2 sum w^2     over the weights of dense layers, biases left out
    g <- min(max(g, -c), c)          clip_value
    g <- g c / |g|  where |g| > c    clip_norm, |g| over all parameters
    w_j <- w_j c / |w_j|             max_norm: the weights into a unit, after the update
    a <- d a + (1 - d) p             average: d the decay

The engine does all of it in compiled code (``updates``); here are the arguments, and the
same in NumPy for the textbook loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ._validation import Array, check_real
from .table import RULES

if TYPE_CHECKING:
    from .network import Network


@dataclass(frozen=True)
class Rules:
    """Figures of the rules; 0 where one is off.

    Parameters
    ----------
    l1, l2 : float
        Penalties on weights, at least 0; part of the loss that is reported.
    clip_value, clip_norm : float
        Largest element and largest global norm of the gradient.
    max_norm : float
        Largest norm of the weights into one unit.
    average : float
        Decay of the moving average of the parameters, in [0, 1).
    weight_decay, decoupled : float, bool
        The optimizer's, on all parameters.
    by_rows : bool
        Divide penalties by the rows of the batch, or the sum of their weights, as
        scikit-learn does.
    """

    l1: float = 0.0
    l2: float = 0.0
    clip_value: float = 0.0
    clip_norm: float = 0.0
    max_norm: float = 0.0
    average: float = 0.0
    weight_decay: float = 0.0
    decoupled: bool = False
    by_rows: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name not in ("decoupled", "by_rows"):
                high = 1.0 if field.name == "average" else np.inf
                check_real(getattr(self, field.name), field.name, 0.0, high)

    @property
    def leave_gradients(self) -> bool:
        """Whether nothing is done to gradients."""
        return not (self.l1 or self.l2 or self.clip_value or self.clip_norm or self.weight_decay)

    def row(self) -> Array:
        """As the engine takes them; ``plain`` and ``apart`` are for the run to say."""
        row = np.zeros(1, RULES)
        for field in fields(self):
            row[field.name] = getattr(self, field.name)
        return row

    def prepare(self, network: Network, rows: float) -> float:
        """Add the penalties to ``network.grads`` and clip them; returns the penalties.

        ``rows`` is the number of rows, or the sum of their weights.
        """
        share, penalty = 1.0, 0.0
        if self.by_rows:
            share = 1.0 / rows if rows > 0 else 0.0
        if self.l1 or self.l2:
            for weight, grad in _weights(network):
                penalty += share * float(self.l1 * np.abs(weight).sum(dtype=np.float64)
                                         + self.l2 / 2 * np.square(weight, dtype=np.float64).sum())
                grad += grad.dtype.type(share * self.l1) * np.sign(weight)
                grad += grad.dtype.type(share * self.l2) * weight
        if self.clip_value:
            np.clip(network.grads, -self.clip_value, self.clip_value, out=network.grads)
        if self.clip_norm:
            norm = float(np.sqrt(np.square(network.grads, dtype=np.float64).sum()))
            if norm > self.clip_norm:
                network.grads *= network.dtype.type(self.clip_norm / (norm + 1e-6))
        return penalty

    def finish(self, network: Network, average: Array) -> None:
        """Largest norms and moving average, after the update."""
        if self.max_norm:
            for weight, _ in _weights(network):
                norms = np.sqrt(np.square(weight, dtype=np.float64).sum(axis=1, keepdims=True))
                most = np.where(norms > self.max_norm, norms, self.max_norm)
                weight *= (self.max_norm / most).astype(weight.dtype)
        if self.average:
            average += network.dtype.type(1 - self.average) * (network.params - average)


def _weights(network: Network) -> Iterator[tuple[Any, Any]]:
    for layer in network.layers:
        if layer.trained_rows()[1]:
            yield layer.parameters()["weight"], layer.gradients()["weight"]
