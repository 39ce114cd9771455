"""Plots for regression: predicted against true numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._validation import Array
from .canvas import axes, finish, legend, say, short
from .classes import tint
from .targets import numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Most rows that are drawn one by one; more are counted in hexagons.
_DOTS = 600
#: Opacity of a hexagon with one row: outliers must be visible.
_SINGLE = 0.25
#: Largest number that is drawn: the length of an axis, with margins, must be finite.
_MOST = 1e307
#: Groups of rows, by prediction, whose mean is drawn.
_GROUPS = 10


def residuals(T: Any, output: Any, *, name: str | None = None, ax: Axes | None = None) -> Axes:
    """True minus predicted, against predicted; for many rows their density.

    Parameters
    ----------
    T, output : array_like, shape (n,) or (n, 1)
        Rows with a value that is not finite, or beyond 1e307 as no axis is, are left out.
    name : str, optional
        What is predicted, for the title.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError
        If they are not a column of numbers each, of the same length.
    ImportError
        Without matplotlib (extra ``plot``).
    """
    t, y = _columns(T, output)
    ax = finish(axes(ax), f"Residuals{_of(name)}", "predicted", "true − predicted")
    if not len(t):
        say(ax, "no finite value")
        return ax
    ax.axhline(0, linestyle="--", color="0.55", linewidth=1)
    _cloud(ax, y, t - y)
    return ax


def prediction(T: Any, output: Any, *, name: str | None = None, ax: Axes | None = None) -> Axes:
    """True against predicted: calibration of a regression.

    The line joins the mean true values of ten groups of rows, from lowest to highest
    prediction; on the diagonal, predictions are right on average.

    Parameters
    ----------
    T, output, name, ax
        As in ``residuals``.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError, ImportError
        As ``residuals``.
    """
    t, y = _columns(T, output)
    ax = finish(axes(ax), f"Predictions{_of(name)}", "predicted", "true")
    if not len(t):
        say(ax, "no finite value")
        return ax
    _cloud(ax, y, t)
    ax.axline((float(y.mean()),) * 2, slope=1, linestyle="--", color="0.55", linewidth=1,
              label="as told")
    groups = np.array_split(np.argsort(y, kind="stable"), min(_GROUPS, len(y)))
    ax.plot([y[g].mean() for g in groups], [t[g].mean() for g in groups], "o-", color="C1",
            markersize=4, label="mean of a tenth of the rows")
    legend(ax, loc="upper left")
    return ax


def _of(name: str | None) -> str:
    return "" if name is None else f": {short(name, 18)}"


def _columns(T: Any, output: Any) -> tuple[Array, Array]:
    rows, Y = numbers(T, output)
    if Y.shape[1] != 1:
        raise ValueError(f"one output a plot: output has {Y.shape[1]} columns")
    t, y = rows[:, 0], Y[:, 0]
    finite = (np.abs(t) <= _MOST) & (np.abs(y) <= _MOST)
    return t[finite], y[finite]


def _cloud(ax: Axes, x: Array, y: Array) -> None:
    if len(x) <= _DOTS:
        ax.plot(x, y, "o", color="C0", alpha=0.5, markersize=3.5, markeredgewidth=0)
    else:
        ax.hexbin(x, y, gridsize=28, mincnt=1, bins="log", cmap=tint("C0", _SINGLE), linewidths=0)
