"""A table without the rows that have no value in some columns, such as the target."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from .._validation import Array
from .columns import Columns, Matrix, column, missing, packed, rows_at, rows_of, some
from .table import ROWS, Table


class Present(Table):
    """The rows of a table that have a value in each of some columns.

    Its parts come in the same pieces as those of a table that never had the other rows, so that
    what is learnt and trained has the same bits.

    Parameters
    ----------
    table : Table
    needed : sequence of names of columns

    Raises
    ------
    ValueError
        For a column that the table does not have; when read whole, if no row is left.
    """

    def __init__(self, table: Table, needed: Sequence[str]) -> None:
        table.check(needed)
        self.table, self.needed = table, list(needed)
        self.label, self.kinds, self.n_parts = table.label, table.kinds, table.n_parts
        self.part_bytes, self.target = table.part_bytes, table.target
        self.looked_at, self.na_values = table.looked_at, table.na_values
        self.orders = table.orders
        self.any_row = f"{table.any_row} that has one in {some(needed)}"
        self._gone: dict[int, int] = {}  # by part, in the order in which they were read

    @property
    def dropped(self) -> int:  # type: ignore[override]
        """Rows left out, of the parts that have been read so far."""
        return sum(self._gone.values())

    def typed(self, text: Sequence[str] = (), numbers: Sequence[str] = (),
              na_values: Sequence[str] = ()) -> Table:
        """The same rows of the table typed so."""
        other = Present(self.table.typed(text, numbers, na_values), self.needed)
        other._gone = self._gone  # one count for the source
        return other

    def _kept(self, piece: Columns) -> Array:
        """Which rows of a piece have all values."""
        gone = np.zeros(rows_of(piece), bool)
        for name in self.needed:
            gone |= missing(column(piece, name))
        return ~gone

    def part(self, index: int, columns: Sequence[str] | None = None,
             rows: int = ROWS) -> Iterator[Columns]:
        """The rows of a part that have all values."""
        names = list(columns or self.names)

        def pieces() -> Iterator[Columns]:
            gone = 0
            for piece in self.table.part(index, list(dict.fromkeys([*names, *self.needed])), rows):
                kept = self._kept(piece)
                if not kept.all():
                    gone += int((~kept).sum())
                    piece = rows_at(piece, kept)
                yield piece if isinstance(piece, Matrix) else {n: piece[n] for n in names}
            self._gone[index] = gone

        yield from packed(pieces(), names, rows)

    def batches(self, columns: Sequence[str] | None = None,
                rows: int | None = None) -> Iterator[Columns]:
        """As of any table."""
        empty = True
        for piece in super().batches(columns, rows):
            empty = False
            yield piece
        if empty:
            raise ValueError(f"{self.label} has no row with a value in {some(self.needed)}")

    def told(self, message: str, part: int | None = None) -> str:
        """A message about a row, with its number in the source."""
        found = re.search(r"(?<=row )\d+(?= \(counted from 0\))", message)
        if not found:
            return message
        left, at = int(found[0]), 0
        for index in range(self.n_parts) if part is None else [part]:
            for piece in self.table.part(index, self.needed, ROWS):
                kept = np.flatnonzero(self._kept(piece))
                if left < len(kept):
                    said = f"{message[:found.start()]}{at + kept[left]}{message[found.end():]}"
                    return self.table.told(said, part)
                left, at = left - len(kept), at + rows_of(piece)
        return message
