"""Matrix products on the register tile. One routine serves all three:

    forward            Y  = X W' + bias    A = X  (by rows),     B = W' stored by inputs
    input gradient     dX = dY W           A = dY (by rows),     B = W stored by outputs
    weight gradient    dW' = X' dY         A = X  (by columns),  B = dY

Only B, C and I need rows padded to whole vectors; pads of C receive what pads of B hold.

No operand is packed: with rows that are not whole pages apart (``tile.row_length``) the
tile reads B in place faster than a copy of it pays, up to 2048 x 2048.
"""

from __future__ import annotations

import numpy as np

from .._jit import kernel
from .tile import (
    TILE_ROWS,
    TILE_VECTORS,
    VECTOR_BYTES,
    narrow_tile,
    row_tile_1,
    row_tile_4,
    row_tile_8,
    wide_tile,
)

#: Of type int64 where Numba would take a literal for a type of its own, and compile what
#: it is passed to once more.
ZERO, ONE = np.int64(0), np.int64(1)


#: Most terms of each sum at a time: so much of the rows of A stays in the L2 cache.
_DEPTH = 512


@kernel
def matmul(rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row):  # noqa: E741,E501
    """C[r, j] = I[r, j] + sum over k < K of A[r * a_row + k * a_k] * B[k * b_k + j].

    Parameters
    ----------
    rows, cols, K : int
        Sizes; ``cols`` is rounded up to whole vectors, ``K`` at least 1.
    A, B, C : 1-D arrays of one dtype
        Operands; strides ``a_row``, ``a_k``, ``b_k``, ``c_row`` are in elements.
    I : 1-D array or None
        Where the sums start, with row stride ``i_row`` (0 for a bias row). May be ``C``.
    """
    columns(rows, cols, min(K, _DEPTH), A, ZERO, a_row, a_k, B, ZERO, b_k, C, c_row, I, i_row)
    for k in range(_DEPTH, K, _DEPTH):
        columns(rows, cols, min(K - k, _DEPTH), A, k * a_k, a_row, a_k, B, k * b_k, b_k, C,
                c_row, C, c_row)


@kernel
def columns(rows, cols, K, A, a, a_row, a_k, B, b, b_k, C, c_row, I, i_row):  # noqa: E741,E501
    """A product of the depth that the cache holds, tile by tile, down the columns of C."""
    lanes = VECTOR_BYTES // A.itemsize
    width = TILE_VECTORS * lanes
    j = 0
    while j + width <= cols:
        for r in range(0, rows, TILE_ROWS):
            wide_tile(min(TILE_ROWS, rows - r), K, A, a + r * a_row, a_row, a_k, B, b + j, b_k,
                      C, r * c_row + j, c_row, I, r * i_row + j, i_row)
        j += width
    while j < cols:
        for r in range(0, rows, TILE_ROWS):
            narrow_tile(min(TILE_ROWS, rows - r), K, A, a + r * a_row, a_row, a_k, B, b + j, b_k,
                        C, r * c_row + j, c_row, I, r * i_row + j, i_row)
        j += lanes


@kernel
def row_product(K, x, B, b_k, y, I):  # noqa: E741
    """y = I + sum over k < K of x[k] * B[k * b_k:], for one row of whole vectors.

    The same order and roundings as the tile of many rows, which would do the work of all of
    them. The last tile reaches back over the one before where columns are left over.
    """
    lanes = VECTOR_BYTES // x.itemsize
    n = y.size
    if n >= 8 * lanes:
        for j in range(0, n, 8 * lanes):
            at = min(j, n - 8 * lanes)
            row_tile_8(ONE, K, x, ZERO, ZERO, ONE, B, at, b_k, y, at, ZERO, I, at, ZERO)
    elif n >= 4 * lanes:
        for j in range(0, n, 4 * lanes):
            at = min(j, n - 4 * lanes)
            row_tile_4(ONE, K, x, ZERO, ZERO, ONE, B, at, b_k, y, at, ZERO, I, at, ZERO)
    else:
        for at in range(0, n, lanes):
            row_tile_1(ONE, K, x, ZERO, ZERO, ONE, B, at, b_k, y, at, ZERO, I, at, ZERO)
