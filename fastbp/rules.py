"""What a step does beside the update: penalties, gradient clipping, max norm, moving average.

    E + l1 sum|w| + l2/2 sum w^2            over the weights of dense layers, biases left out
    g <- min(max(g, -c), c)                 clip_value
    g <- g c / (|g| + 1e-6)  where |g| > c  clip_norm, |g| over all parameters; as in PyTorch
    w_j <- w_j c / |w_j|                    max_norm: the weights into a unit, after the update
    a <- d a + (1 - d) p                    average: d the decay

Here are the arguments, the kernels of the rules that few runs use, which the engine calls by
address (``updates``), and the same in NumPy for the textbook loop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ._jit import kernel
from ._validation import Array, check_range, check_real
from .kernels.arrays import lanes_of, span
from .kernels.columns import ONE, ZERO
from .kernels.reduce import block_magnitudes
from .table import RULES, address, place
from .updates import refresh_mirror

if TYPE_CHECKING:
    from .network import Network


@kernel
def rule_out(p, g, decayed, l1, l2, clip_value):
    """Add the gradients of the penalties on p, if it is ``decayed``, then clip g by value."""
    zero = p.dtype.type(0)
    if decayed and l2 != 0:
        b = p.dtype.type(l2)
        for i in range(g.size):
            g[i] += b * p[i]
    if decayed and l1 != 0:
        a = p.dtype.type(l1)
        for i in range(g.size):
            g[i] += a if p[i] > zero else (-a if p[i] < zero else zero)
    if clip_value > 0:
        high = p.dtype.type(clip_value)
        for i in range(g.size):
            g[i] = min(max(g[i], -high), high)


@kernel
def rule_block(p, ld, g, step, rows, columns, run, decayed, rule, share, sums, to):
    """The rules for the gradient g of ``rows`` x ``columns`` parameters p: the first ``decayed``
    rows are penalised, times ``share``. Writes (penalty, sum of g^2) for each vector of columns to
    sums[to:].

    With ``run`` the rows are contiguous and are treated as one, padding included.
    """
    l1, l2, lanes = rule["l1"] * share, rule["l2"] * share, lanes_of(p)
    length, count = columns, rows
    if run and decayed == rows:
        length, count = columns + (rows - 1) * ld, ONE
    for i in range(count):
        rule_out(span(p, i * ld, i * ld + length), span(g, i * step, i * step + length),
                 i < decayed, l1, l2, rule["clip_value"])
    for j in range(0, columns, lanes):
        n = min(lanes, columns - j)
        if decayed > 0 and (rule["l1"] != 0 or rule["l2"] != 0):  # writes 0 if share is 0
            size, square = block_magnitudes(span(p, j, p.size), decayed, ld, n)
            sums[to, 0] = l1 * size + 0.5 * l2 * square
        if rule["clip_norm"] > 0:
            sums[to, 1] = block_magnitudes(span(g, j, g.size), rows, step, n)[1]
        to += 1


@kernel
def limit_norms(op, task, params, ws, most, norms):
    """Scale down the weights of each unit (column) of a tile whose norm is above ``most``."""
    ld, left = op["ld_param"], place(op, ZERO, task["left"])
    norms = norms[task["left"]:task["right"]]
    for j in range(norms.size):
        norms[j] = 0
    for i in range(op["n_decayed"]):
        row = params[left + i * ld:left + i * ld + norms.size]
        for j in range(norms.size):
            w = np.float64(row[j])  # squares of float32 under- and overflow
            norms[j] += w * w
    high = 0.0
    for j in range(norms.size):
        norm = math.sqrt(norms[j])
        high = max(high, norm)
        norms[j] = most / norm if norm > most else 1.0
    if high <= most:
        return
    for i in range(op["n_decayed"]):
        row = params[left + i * ld:left + i * ld + norms.size]
        for j in range(norms.size):
            row[j] = row[j] * params.dtype.type(norms[j])
    refresh_mirror(op, ZERO, op["n_in"], task["left"], task["right"], params, ws)


@dataclass(frozen=True)
class Rules:
    """Settings of the rules; 0 where one is off.

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

    def check(self, dtype: np.dtype[Any]) -> None:
        """Refuse penalties and limits that ``dtype`` would make 0 or infinite.

        Raises
        ------
        ValueError
            Names the setting.
        """
        for name in ("l1", "l2", "clip_value", "clip_norm", "max_norm", "weight_decay"):
            check_range(getattr(self, name), name, dtype)

    @property
    def leave_gradients(self) -> bool:
        """Whether nothing is done to gradients."""
        return not (self.l1 or self.l2 or self.clip_value or self.clip_norm or self.weight_decay)

    def row(self) -> Array:
        """The rules as the engine takes them; ``plain``, ``apart`` and the kernels' addresses are
        set by the run."""
        row = np.zeros(1, RULES)
        for field in fields(self):
            row[field.name] = getattr(self, field.name)
        return row

    def kernels(self, dtype: np.dtype[Any]) -> dict[str, int]:
        """Addresses of the kernels that these rules need, by field of ``RULES``; 0 for none."""
        ruled = self.l1 or self.l2 or self.clip_value or self.clip_norm
        return {"rule": address("rule", rule_block if ruled else None, dtype),
                "limit": address("limit", limit_norms if self.max_norm else None, dtype)}

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
        """Apply ``max_norm`` and the moving average, after the update."""
        if self.max_norm:
            for weight, _ in _weights(network):
                norms = np.sqrt(np.square(weight, dtype=np.float64).sum(axis=1, keepdims=True))
                most = np.where(norms > self.max_norm, norms, self.max_norm)
                weight *= (self.max_norm / most).astype(weight.dtype)
        if self.average:
            average += network.dtype.type(1 - self.average) * (network.params - average)


def _weights(network: Network) -> Iterator[tuple[Any, Any]]:
    for layer in network.layers:
        if layer.trainable and layer.trained_rows()[1]:
            yield layer.parameters()["weight"], layer.gradients()["weight"]
