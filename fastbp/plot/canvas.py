"""What all plots share: axes, and curves and labels that fit on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._extras import needs
from .._validation import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches: readable on a phone, and several side by side on a large screen.
SIZE = (4.5, 3.0)
#: Most points of a curve; a longer one keeps the minimum and maximum of each stretch.
MAX_POINTS = 600
#: Most characters of a label on an axis.
MAX_LABEL = 16


def axes(ax: Axes | None, size: tuple[float, float] = SIZE) -> Axes:
    """``ax``, or the axes of a new figure of ``size`` inches.

    Raises
    ------
    ImportError
        Without matplotlib.
    TypeError
        If ``ax`` is something else.
    """
    if ax is not None:
        if not hasattr(ax, "set_title"):  # matplotlib's axes have it, and wrappers of them
            raise TypeError(f"ax must be axes of matplotlib, got {ax!r}")
        return ax
    with needs("plots need matplotlib", "plot"):
        from matplotlib.figure import Figure
    return Figure(figsize=size, layout="constrained").subplots()


def finish(ax: Axes, title: str, xlabel: str, ylabel: str) -> Axes:
    """Set title and labels of the axes, as plain text: "$" is not mathematics."""
    ax.set_title(short(title, 32), parse_math=False)
    ax.set_xlabel(short(xlabel, 40), parse_math=False)
    ax.set_ylabel(short(ylabel, 28), parse_math=False)
    return ax


def legend(ax: Axes, **options: Any) -> None:
    """Add a legend in plain text, if anything has a label."""
    handles, names = ax.get_legend_handles_labels()
    if handles:
        for text in ax.legend(handles, names, **options).get_texts():
            text.set_parse_math(False)


def say(ax: Axes, text: str) -> None:
    """Write ``text`` in the middle of axes that have nothing else to show."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", parse_math=False)
    ax.set(xticks=[], yticks=[])


def log_axis(ax: Axes, which: str) -> None:
    """Make axis "x" or "y" logarithmic, with plain numbers as labels."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    getattr(ax, f"set_{which}scale")("log")
    axis = getattr(ax, f"{which}axis")
    low, high = sorted(getattr(ax, f"get_{which}lim")())
    decades = np.log10(high / low)
    subs = (1.0,) if decades > 2 else (1.0, 2.0, 5.0) if decades > 0.7 else range(1, 10)
    axis.set_major_locator(LogLocator(subs=subs, numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def plain(text: Any) -> str:
    """``text`` on one line, without characters that a page or drawing cannot show."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" if not c.isspace()
                   else " " for c in str(text))


def short(text: Any, length: int = MAX_LABEL) -> str:
    """``text`` for an axis: plain, and cut with an ellipsis."""
    whole = plain(text)
    return whole if len(whole) <= length else whole[:length - 1].rstrip() + "…"


def few(count: int, most: int) -> range:
    """At most ``most`` of ``count`` places, evenly spaced, from the first on."""
    return range(0, count, max(1, -(-count // most)))


def thin(x: Array, y: Array) -> tuple[Array, Array]:
    """A curve of at most ``MAX_POINTS`` points that looks the same.

    Of each stretch its minimum and maximum are kept, in their order; a stretch without any
    number remains a gap.
    """
    if len(x) <= MAX_POINTS:
        return x, y
    keep: list[int] = []
    for part in np.array_split(np.arange(len(x)), MAX_POINTS // 2):
        own = y[part]
        if np.isnan(own).all():
            keep.append(int(part[0]))
        else:
            keep += sorted({int(part[np.nanargmin(own)]), int(part[np.nanargmax(own)])})
    chosen = np.array(sorted({0, *keep, len(x) - 1}))
    return x[chosen], y[chosen]
