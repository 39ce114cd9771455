"""Rows of few outputs, transposed: a row by itself fills few lanes of a vector, and its sums run
across them. Never chosen by the number of rows, as the two ways may add in different orders."""

from __future__ import annotations

from .._jit import kernel
from ..kernels.arrays import lanes_of, span
from ..kernels.columns import ZERO
from ..kernels.copy import copy_row
from ..kernels.transpose import transpose

#: Rows at a time, and bytes for one number of each.
LANES, COLUMN = 64, 64 * 8


@kernel
def to_columns(x, t, weight, lo, n, ld, table, targets, w, total):
    """Transpose rows of ``n`` numbers of x and t, from ``lo`` on, into ``table`` and ``targets``;
    copy their weights to ``w``, and set ``total``, for their errors, to 0.

    The stride ``ld`` is whole vectors. Returns the number of rows, and of lanes: those beyond the
    rows hold zeros.
    """
    lanes, count = lanes_of(x), min(LANES, weight.size - lo)
    m = (count + lanes - 1) // lanes * lanes
    transpose(count, n, span(x, lo * ld, x.size), ld, table, m)
    transpose(count, n, span(t, lo * ld, t.size), ld, targets, m)
    for r in range(m):
        w[r] = total[r] = 0
    copy_row(w, ZERO, weight, lo, count)
    return count, m


@kernel
def from_columns(table, total, lo, n, count, m, ld, error, dx):
    """Transpose ``table`` into the rows of dx from ``lo`` on, with padding 0, and copy ``total``
    to the errors of those rows."""
    copy_row(error, lo, total, ZERO, count)
    transpose(n, count, table, m, span(dx, lo * ld, dx.size), ld)
