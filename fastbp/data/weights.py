"""A column with the weights of the rows."""

from __future__ import annotations

import numpy as np

from .._validation import Array, as_weights
from .columns import first, numbers


def row_weights(values: Array, name: str, *, first_row: int = 0) -> Array:
    """The column ``name`` as weights of rows.

    Parameters
    ----------
    values : ndarray, shape (n,)
    name : str
    first_row : int
        Number of the first row, for messages.

    Returns
    -------
    ndarray, shape (n,), float32

    Raises
    ------
    ValueError
        For what is not a number, not finite, negative or missing: names column, row and value.
    """
    given = numbers(values, name, first_row)
    if (gone := np.isnan(given)).any():
        raise ValueError(f"column {name!r} has no value in {first(gone, first_row)}, where a "
                         "weight is needed")
    if (below := given < 0).any():
        raise ValueError(f"column {name!r} must hold weights of at least 0, got "
                         f"{given[np.argmax(below)]:g} in {first(below, first_row)}")
    return np.asarray(as_weights(given, len(given), np.dtype("f4"), f"column {name!r}",
                                 zeros=True))


def check_any(weights: Array, name: str, where: str) -> None:
    """Refuse weights of which none counts, naming the column and ``where`` that is.

    Raises
    ------
    ValueError
        If all are zero.
    """
    if not weights.any():
        raise ValueError(f"column {name!r} is zero in every row{where}: no row would have a "
                         "weight")
