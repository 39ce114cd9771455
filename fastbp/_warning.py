"""Warnings that show the line of the user's program from which they come."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Packages whose lines say nothing to the user: this one, and those that call it.
_BETWEEN = frozenset(("fastbp", "sklearn", "joblib", "numba"))
#: What ``collected`` collects.
_KEPT = ContextVar[list[tuple[str, type[Warning]]] | None]("kept", default=None)


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn, at the user's line that has called, through whatever functions."""
    kept = _KEPT.get()
    if kept is not None:
        kept.append((text, category))
        return
    level, frame = 2, sys._getframe(1)
    while frame.f_back and str(frame.f_globals.get("__name__")).split(".")[0] in _BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


@contextmanager
def collected() -> Iterator[list[tuple[str, type[Warning]]]]:
    """Warnings of the calling thread, which it has no user's line for, as a list."""
    found: list[tuple[str, type[Warning]]] = []
    token = _KEPT.set(found)
    try:
        yield found
    finally:
        _KEPT.reset(token)
