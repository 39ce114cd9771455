"""Some rows of a table, such as those that have a value in the target."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from .._validation import Array
from .columns import Columns, Matrix, column, missing, packed, rows_at, rows_of, some
from .table import ROWS, Table


class Chosen(Table):
    """Base of tables of some rows of another, whose numbers messages give.

    Parameters
    ----------
    table : Table
    counted_by : sequence of names of columns
        What is read to find the rows.
    """

    def __init__(self, table: Table, counted_by: Sequence[str]) -> None:
        self.table, self.counted_by = table, list(counted_by)
        self.label, self.kinds, self.n_parts = table.label, table.kinds, table.n_parts
        self.part_bytes, self.na_values = table.part_bytes, table.na_values
        self.orders = table.orders

    def chosen(self, index: int, columns: Sequence[str] | None,
               rows: int) -> Iterator[tuple[Columns, Array]]:
        """Each piece of a part of the other table, and which of its rows are here."""
        raise NotImplementedError

    def told(self, message: str, part: int | None = None) -> str:
        """A message about a row, with its number in the source."""
        found = re.search(r"(?<=row )\d+(?= \(counted from 0\))", message)
        if not found:
            return message
        left, at = int(found[0]), 0
        for index in range(self.n_parts) if part is None else [part]:
            for piece, here in self.chosen(index, self.counted_by, ROWS):
                kept = np.flatnonzero(here)
                if left < len(kept):
                    said = f"{message[:found.start()]}{at + kept[left]}{message[found.end():]}"
                    return self.table.told(said, part)
                left, at = left - len(kept), at + rows_of(piece)
        return message


class Present(Chosen):
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
        super().__init__(table, needed)
        self.needed, self.target, self.looked_at = self.counted_by, table.target, table.looked_at
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

    def chosen(self, index: int, columns: Sequence[str] | None,
               rows: int) -> Iterator[tuple[Columns, Array]]:
        """Each piece of a part with all rows, and which of them have all values."""
        names = list(dict.fromkeys([*(columns or self.names), *self.needed]))
        for piece in self.table.part(index, names, rows):
            gone = np.zeros(rows_of(piece), bool)
            for name in self.needed:
                gone |= missing(column(piece, name))
            yield piece, ~gone

    def part(self, index: int, columns: Sequence[str] | None = None,
             rows: int = ROWS) -> Iterator[Columns]:
        """The rows of a part that have all values."""
        names = list(columns or self.names)

        def pieces() -> Iterator[Columns]:
            gone = 0
            for piece, kept in self.chosen(index, names, rows):
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
