"""Elementwise sums: of rows, and of one array and a multiple of another."""

from __future__ import annotations

from .._jit import CONTRACT, kernel
from .arrays import span


@kernel
def add_rows(x, ld, rows, total):
    """Add the rows of x, as long as ``total``, to it in order, four in each pass.

    The four are not summed first: threads may cut the rows anywhere, and bits must not depend on
    where.
    """
    n, fours = total.size, rows - rows % 4
    for r in range(0, fours, 4):
        at = r * ld
        a, b = span(x, at, at + n), span(x, at + ld, at + ld + n)
        c, d = span(x, at + 2 * ld, at + 2 * ld + n), span(x, at + 3 * ld, at + 3 * ld + n)
        for j in range(n):
            total[j] = (((total[j] + a[j]) + b[j]) + c[j]) + d[j]
    for r in range(fours, rows):
        row = span(x, r * ld, r * ld + n)
        for j in range(n):
            total[j] += row[j]


@kernel(fastmath=CONTRACT)
def add_scaled(y, scale, x):
    """y += scale * x, rounded once, as in the tile."""
    for j in range(y.size):
        y[j] += scale * x[j]
