"""Learning curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .._validation import Array
from ..callbacks.base import more_is_better
from .canvas import axes, finish, legend, log_axis, say, thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Ratio of largest to smallest value above which an axis is logarithmic.
_LOG_SPREAD = 30.0
#: Most epochs for which each has a marker.
_MARKED = 30
_WORDS = {"samples_per_s": "rows a second", "roc_auc": "area under ROC", "f1": "F1", "r2": "R²",
          "mse": "mean squared error", "rmse": "root mean squared error",
          "mae": "mean absolute error"}


def series(history: Any) -> dict[str, Array]:
    """The figures of a history by name, as float64 with NaN for what is not finite.

    Raises
    ------
    TypeError
        If neither it nor its attribute ``history`` is a dict of numbers.
    """
    found = history if isinstance(history, Mapping) else getattr(history, "history", None)
    if not isinstance(found, Mapping):
        raise TypeError(f"history must be a History or a dict of lists, got {history!r}")
    named = {}
    for name, values in found.items():
        try:
            own = np.array(values, np.float64).reshape(-1)
        except (TypeError, ValueError):
            raise TypeError(f"history[{name!r}] must hold numbers, got {values!r}") from None
        own[~np.isfinite(own)] = np.nan
        named[str(name)] = own
    return named


def history(history: Any, metric: str = "loss", *, ax: Axes | None = None) -> Axes:
    """One figure of a training run by epoch, on training and validation data.

    Parameters
    ----------
    history : History or dict of str to list of float
        What ``fit`` returned; Keras' History works too.
    metric : str
        A name in it; "val_" + ``metric`` is drawn too, with its best epoch marked.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError
        If the history has neither ``metric`` nor "val_" + ``metric``, or is something else.
    ImportError
        Without matplotlib (extra ``plot``).
    """
    known = series(history)
    if not isinstance(metric, str):
        raise TypeError(f"metric must be the name of a figure, got {metric!r}")
    found = {label: known[name] for label, name in (("training", metric),
                                                    ("validation", f"val_{metric}"))
             if name in known}
    if not found:
        raise ValueError(f"history has no {metric!r}, only {sorted(known)}")
    ax = axes(ax)
    name = words(metric)
    finish(ax, name[:1].upper() + name[1:], "epoch", name)
    for label, values in found.items():
        _curve(ax, values, "C0" if label == "training" else "C1", label)
    if not _scale(ax, list(found.values())):
        return ax
    best = best_epoch(known, metric)
    if best is not None:
        values = found["validation"]
        ax.plot([best + 1], [values[best]], "o", color="C1", markersize=6, markeredgewidth=1.6,
                markerfacecolor="none", label=f"best, epoch {best + 1:,}")
    if "validation" in found:
        legend(ax)
    return ax


def learning_rate(history: Any, *, ax: Axes | None = None) -> Axes:
    """The learning rate by epoch.

    Parameters
    ----------
    history : History or dict of str to list of float
        With "learning_rate", as ``fit`` returned it.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the history has no learning rate.
    ImportError
        Without matplotlib (extra ``plot``).
    """
    known = series(history)
    if "learning_rate" not in known:
        raise ValueError(f"history has no 'learning_rate', only {sorted(known)}")
    ax = finish(axes(ax), "Learning rate", "epoch", "learning rate")
    values = known["learning_rate"]
    _curve(ax, values, "C2", "learning rate")
    _scale(ax, [values])
    return ax


def words(name: str) -> str:
    """A name of the history as words."""
    return _WORDS.get(name, name.replace("_", " "))


def best_epoch(known: dict[str, Array], metric: str) -> int | None:
    """Index of the best validation figure; None without any, or if best is undefined."""
    values = known.get(f"val_{metric}", np.empty(0))
    if not np.isfinite(values).any():
        return None
    more = more_is_better(metric)
    return None if more is None else int(np.nanargmax(values) if more else np.nanargmin(values))


def _curve(ax: Axes, values: Array, colour: str, label: str) -> None:
    x, y = thin(np.arange(1, len(values) + 1), values)
    marker = "o" if len(values) <= _MARKED else "None"
    ax.plot(x, y, color=colour, label=label, marker=marker, markersize=3)


def _scale(ax: Axes, curves: list[Array]) -> bool:
    """Fit the axes to the curves; if nothing in them is finite, say so and return False."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    finite = np.concatenate(curves)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        say(ax, "no finite value")
        return False
    low, high = finite.min(), finite.max()
    if low > 0 and high / low > _LOG_SPREAD:
        log_axis(ax, "y")
    elif low == high:  # a constant in the middle, of an axis from zero
        ax.set_ylim(*sorted((0.0, 2.0 * low)) if low else (-1, 1))
    if high >= 1e4:
        ax.yaxis.set_major_formatter(FuncFormatter(_thousands))
    epochs = max(map(len, curves))  # those without a number count too
    ax.set_xlim(0.5, epochs + max(0.5, 0.03 * epochs))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    return True


def _thousands(value: float, _: int) -> str:
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
