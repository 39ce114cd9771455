"""What a model is trained towards and judged by: targets of a table, with weights of its rows."""

from __future__ import annotations

from .._validation import Array
from .columns import Columns, column
from .target import Target
from .weights import row_weights


def truth_names(target: Target, weight: str | None = None) -> list[str]:
    """The columns that ``truth`` reads."""
    return [target.name] if weight is None else [target.name, weight]


def truth(piece: Columns, target: Target, weight: str | None = None,
          first_row: int = 0) -> tuple[Array, ...]:
    """(T,), or (T, weights) if ``weight`` names a column, of rows that begin with ``first_row``.

    Raises
    ------
    ValueError
        For a value unfit for training: names column and row.
    """
    T = target.encode(column(piece, target.name), first_row=first_row)
    if weight is None:
        return (T,)
    return T, row_weights(column(piece, weight), weight, first_row=first_row)
