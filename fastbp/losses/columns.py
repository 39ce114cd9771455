"""Rows of few outputs as columns: a row fills few lanes of a vector by itself, and its sums go
across them. Never chosen by the number of rows: the two ways may add in another order."""

from __future__ import annotations

from .._jit import kernel
from ..kernels.arrays import span
from ..kernels.columns import ZERO
from ..kernels.copy import copy_row
from ..kernels.transpose import transpose
from ..kernels.vectors import VECTOR_BYTES

#: Rows at a time, and bytes for a number of each.
LANES, COLUMN = 64, 64 * 8


@kernel
def to_columns(x, t, weight, lo, n, ld, table, targets, w, total):
    """``n`` numbers each of the rows of x and t from ``lo`` on, and their weights, by columns; and
    a column of zeros for their errors.

    Rows are ``ld`` apart, whole vectors. Returns how many rows there are, and lanes: those beyond
    the rows hold zeros.
    """
    lanes, count = VECTOR_BYTES // x.itemsize, min(LANES, weight.size - lo)
    m = (count + lanes - 1) // lanes * lanes
    transpose(count, n, span(x, lo * ld, x.size), ld, table, m)
    transpose(count, n, span(t, lo * ld, t.size), ld, targets, m)
    for r in range(m):
        w[r] = total[r] = 0
    copy_row(w, ZERO, weight, lo, count)
    return count, m


@kernel
def from_columns(table, total, lo, n, count, m, ld, error, dx):
    """Columns as the rows of dx from ``lo`` on, pads 0, and the errors of those rows."""
    copy_row(error, lo, total, ZERO, count)
    transpose(n, count, table, m, span(dx, lo * ld, dx.size), ld)
