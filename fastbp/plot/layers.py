"""Plots of parameters and gradients, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..layer_statistics import (
    GradientStatistics,
    WeightStatistics,
    gradient_statistics,
    weight_statistics,
)
from ..network import Network
from .canvas import SIZE, axes, few, finish, legend, log_axis, say, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_Kind = TypeVar("_Kind", WeightStatistics, GradientStatistics)
#: Lines (tensors) that fit in a plot of the usual height, and most names.
_LINES, _NAMES = 12, 32


def weights(network: Network | Sequence[WeightStatistics], initial_params: Any = None, *,
            ax: Axes | None = None) -> Axes:
    """Distribution of the parameters, a line for each tensor, from the input down.

    The box holds the middle half, the thick line nine tenths, the thin line all; the tick is
    the median.

    Parameters
    ----------
    network : Network, or what ``fastbp.layer_statistics.weight_statistics`` found
    initial_params : array_like, optional
        A copy of ``network.params`` from before training, for a grey box under each.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError
        If ``initial_params`` do not fit the network, or ``network`` is something else.
    ImportError
        Without matplotlib (extra ``plot``).
    """
    found = weight_statistics(network, initial_params) if isinstance(network, Network) else (
        _given(network, WeightStatistics))
    ax = _lines(ax, [w.name for w in found], "Weights", "value")
    finite = [(i, w) for i, w in enumerate(found) if np.isfinite(w.norm)]
    if not finite:
        say(ax, "no parameters" if not found else "no finite value")
        return ax
    at = [i for i, _ in finite]
    q = np.array([w.quantiles for _, w in finite])
    ax.hlines(at, [w.minimum for _, w in finite], [w.maximum for _, w in finite], color="C0",
              linewidth=0.8)
    ax.hlines(at, q[:, 0], q[:, 4], color="C0", linewidth=2.5)
    ax.barh(at, q[:, 3] - q[:, 1], 0.55, q[:, 1], color="C0", linewidth=0)
    for i, w in finite:
        if w.quantiles_before is not None:
            low, high = w.quantiles_before[1], w.quantiles_before[3]
            ax.barh(i + 0.36, high - low, 0.12, low, color="0.55", linewidth=0)
    ax.plot(q[:, 2], at, "|", color="C1", markersize=8, markeredgewidth=1.8)
    return ax


def gradients(network: Network | Sequence[GradientStatistics], X: Any = None, T: Any = None, *,
              ax: Axes | None = None) -> Axes:
    """Norm of the gradient of each tensor, and its ratio to the norm of the weights.

    Parameters
    ----------
    network : Network, or what ``fastbp.layer_statistics.gradient_statistics`` found
    X, T : array_like
        Rows and targets for the gradient, if ``network`` is a network.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError
        For invalid X or T, or if ``network`` is something else.
    ImportError
        Without matplotlib (extra ``plot``).
    """
    found = gradient_statistics(network, X, T) if isinstance(network, Network) else (
        _given(network, GradientStatistics))
    ax = _lines(ax, [g.name for g in found], "Gradients", "norm")
    drawn = False
    for values, colour, marker, label in (
            ([g.norm for g in found], "C0", "o", "gradient"),
            ([g.ratio for g in found], "C1", "D", "gradient / weights")):
        own = np.array(values)
        at = np.flatnonzero(np.isfinite(own) & (own > 0))
        if len(at):
            ax.plot(own[at], at, marker, color=colour, markersize=5, label=label)
            drawn = True
    if not drawn:
        say(ax, "no parameters" if not found else "all zero or not finite")
        return ax
    log_axis(ax, "x")
    count = len(found)
    ax.set_ylim(top=-0.6 - max(0.5, 20 * count / (72 * _height(count) - 50)))  # for the legend
    legend(ax, loc="upper center", ncols=2, columnspacing=1.0)
    return ax


def _given(found: Any, kind: type[_Kind]) -> list[_Kind]:
    """Statistics of one kind that are given in place of a network, checked."""
    known = list(found) if isinstance(found, Iterable) else [found]
    if not all(isinstance(own, kind) for own in known):
        raise TypeError(f"network must be a Network or a sequence of {kind.__name__}, got "
                        f"{found!r}")
    return known


def _height(count: int) -> float:
    """Inches for ``count`` lines."""
    return SIZE[1] + 0.18 * max(0, min(count, 3 * _LINES) - _LINES)


def _lines(ax: Axes | None, labels: list[str], title: str, xlabel: str) -> Axes:
    count = len(labels)
    ax = finish(axes(ax, (SIZE[0], _height(count))), title, xlabel, "")
    at = few(count, _NAMES)
    ax.set_yticks(at, labels=[short(labels[i], 20) for i in at], parse_math=False)
    ax.set_ylim(max(count, 1) - 0.4, -0.6)
    ax.grid(False, axis="y")
    return ax
