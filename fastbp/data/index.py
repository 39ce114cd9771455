"""An index that was written with a table, which would be a feature: in sorted rows it tells the
target."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .columns import column, numbers

#: Names that an index without one gets where pandas writes it, or reads it again.
_NAMES = re.compile(r"(Unnamed: \d+|__index_level_\d+__)?")


class Indices:
    """Which of these columns have the name of an index and count the rows, from any number on."""

    def __init__(self, names: Iterable[str]) -> None:
        self.first: dict[str, float | None] = dict.fromkeys(
            name for name in names if _NAMES.fullmatch(str(name)))

    def add(self, piece: Mapping[str, Any], first_row: int) -> None:
        """Look at the next rows."""
        for name, first in list(self.first.items()):
            found = numbers(column(piece, name), name, first_row)
            steps = found - np.arange(first_row, first_row + len(found))
            if len(steps):
                self.first[name] = first = steps[0] if first is None else first
            if (steps != first).any():
                del self.first[name]

    def warn(self, n_rows: int) -> None:
        """Warn the caller's caller; a single row counts nothing."""
        for name, first in self.first.items() if n_rows > 1 else ():
            warnings.warn(f"column {name!r} counts the rows from {first:g} on, as an index that "
                          f"was written with the table: leave it out (drop=[{name!r}]), or it "
                          "becomes a feature", stacklevel=3)
