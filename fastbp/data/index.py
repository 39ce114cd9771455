"""An index that was written with a table, which would be a feature: in sorted rows it tells the
target."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .columns import column, numbers

#: Names that an index without one gets where pandas writes it, reads it again, or turns it into a
#: column.
_NAMES = re.compile(r"(Unnamed: \d+(\.\d+)?|__index_level_\d+__|index|level_\d+)?")


class Indices:
    """Which of these columns have the name of an index and count rows, from any number on: some
    numbers may be left out, as by a filter."""

    def __init__(self, names: Iterable[str]) -> None:
        #: First and last number so far.
        self.ends: dict[str, tuple[float, float]] = {
            name: (np.inf, -np.inf) for name in names if _NAMES.fullmatch(str(name))}

    def add(self, piece: Mapping[str, Any], first_row: int) -> None:
        """Look at the next rows."""
        for name, (first, last) in list(self.ends.items()):
            found = numbers(column(piece, name), name, first_row)
            if (np.diff(found, prepend=last) > 0).all() and (found == np.floor(found)).all():
                if len(found):
                    self.ends[name] = min(first, found[0]), found[-1]
            else:
                del self.ends[name]

    def warn(self, n_rows: int) -> None:
        """Warn the caller's caller; a single row counts nothing."""
        for name, (first, _) in self.ends.items() if n_rows > 1 else ():
            warnings.warn(f"column {name!r} counts rows from {first:.0f} on, as an index that was "
                          f"written with the table: leave it out (drop=[{name!r}]), or it becomes "
                          "a feature", stacklevel=3)
