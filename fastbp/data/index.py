"""An index that was written with a table, which would be a feature: in sorted rows it tells the
target, and in rows that were mixed after they had been sorted as well."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._validation import Array
from .._warning import warn
from .columns import column, numbers

#: Names that an index without one gets where pandas writes it or reads it again, ...
_MADE = re.compile(r"(Unnamed: \d+(\.\d+)?|__index_level_\d+__)?")
#: ... and where it turns it into a column: people give these names too.
_USED = re.compile(r"index|level_\d+")
#: Numbers below it are compared with those of all rows before, others with those of their piece.
MOST = 2**23


class _Index:
    """A column that may be an index: its numbers are whole and rise or, if ``mixed``, no two are
    the same, none is negative, and some may be missing."""

    def __init__(self, mixed: bool) -> None:
        self.mixed, self.rising = mixed, True
        self.low, self.high, self.last = np.inf, -np.inf, -np.inf
        self.seen = np.zeros(0, bool)  # by number, as far as there are such

    def add(self, found: Array) -> bool:
        """Look at the next numbers; whether it may still be one."""
        if self.mixed:
            found = found[~np.isnan(found)]
        if not len(found):
            return True
        self.rising &= bool((np.diff(found, prepend=self.last) > 0).all())
        self.low, self.high = min(self.low, found.min()), max(self.high, found.max())
        self.last = found[-1]
        whole = bool((found == np.floor(found)).all())
        if not self.mixed:
            return whole and self.rising
        return whole and (self.rising or self.low >= 0) and not self._again(found)

    def _again(self, found: Array) -> bool:
        """Whether a number has been there."""
        near = found[(found >= 0) & (found < MOST)].astype(np.int64)
        if (size := int(near.max(initial=-1)) + 1) > len(self.seen):
            more = min(MOST, 2 * size) - len(self.seen)
            self.seen = np.append(self.seen, np.zeros(more, bool))
        again = bool(self.seen[near].any()) or len(np.unique(found)) < len(found)
        self.seen[near] = True
        return again

    def __str__(self) -> str:
        if self.rising:
            return f"counts rows from {self.low:.0f} on"
        return f"numbers rows from {self.low:.0f} to {self.high:.0f} in another order"


class Indices:
    """Which of these columns have the name of an index and count rows, from any number on: some
    numbers may be left out, as by a filter. Under a name that only pandas makes they may be in any
    order, as in rows that were mixed; whether two are the same is checked within each piece, and
    below ``MOST`` among all."""

    def __init__(self, names: Iterable[str]) -> None:
        found = {name: bool(_MADE.fullmatch(str(name))) for name in names
                 if _MADE.fullmatch(str(name)) or _USED.fullmatch(str(name))}
        self.found = {name: _Index(mixed) for name, mixed in found.items()}

    def add(self, piece: Mapping[str, Any], first_row: int) -> None:
        """Look at the next rows."""
        for name, index in list(self.found.items()):
            if not index.add(numbers(column(piece, name), name, first_row)):
                del self.found[name]

    def warn(self) -> None:
        """Warn of those that are left; a single number counts nothing."""
        for name, index in self.found.items():
            if index.low < index.high:
                warn(f"column {name!r} {index}, as an index that was written with the table: "
                     f"leave it out (drop=[{name!r}]), or it becomes a feature")
