"""What is drawn on axes."""

from __future__ import annotations

from typing import Any


def curve(ax: Any, label: str) -> Any:
    """The line with this label."""
    return next(line for line in ax.lines if line.get_label() == label)


def texts(ax: Any) -> list[str]:
    """What is written between the axes, in order."""
    return [t.get_text() for t in ax.texts]
