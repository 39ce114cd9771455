"""Register tiles down the columns of a product."""

from __future__ import annotations

import numpy as np

from .._jit import kernel
from .arrays import lanes_of
from .tile import TILE_ROWS, TILE_VECTORS, few_1, few_2, tile_1, tile_2, tile_3, tile_4

#: Typed int64: for Numba a literal has a type of its own, and what it is passed to is compiled
#: once more.
ZERO, ONE, TWO, THREE, FOUR = (np.int64(n) for n in range(5))


@kernel
def tiled(rows, vectors):
    """Rows that tiles of ``vectors`` vectors compute for ``rows``, including surplus ones."""
    height = TILE_ROWS[vectors - 1]
    return (rows + height - 1) // height * height


@kernel
def next_tile(left, widest):
    """Vectors of the next tile if ``left`` remain: four are two pairs if ``widest`` is three."""
    if left <= widest:
        return left
    return TWO if widest == 3 and left == 4 else widest


@kernel
def widest_tile(rows, cols, lanes):
    """Vectors of the widest tile to use: three if tiles of four would compute 4 % more rows."""
    widest = np.int64(TILE_VECTORS)
    if widest == 4 and cols > 3 * lanes and 25 * tiled(rows, THREE) < 24 * tiled(rows, FOUR):
        widest = THREE
    return widest


@kernel
def columns(rows, cols, K, A, a, a_row, a_k, B, b, b_k, C, c, c_row, I, i, i_row, mode, scale):  # noqa: E741,E501
    """A product with a K small enough for the cache, tile by tile, down the columns of C."""
    lanes, j = lanes_of(A), ZERO
    widest = widest_tile(rows, cols, lanes)
    while j < cols:
        vectors = next_tile((cols - j + lanes - 1) // lanes, widest)
        if vectors == 4:
            tile_4(rows, K, A, a, a_row, a_k, B, b + j, b_k, C, c + j, c_row, I, i + j, i_row,
                   mode, scale)
        elif vectors == 3:
            tile_3(rows, K, A, a, a_row, a_k, B, b + j, b_k, C, c + j, c_row, I, i + j, i_row,
                   mode, scale)
        elif vectors == 2:
            tile_2(rows, K, A, a, a_row, a_k, B, b + j, b_k, C, c + j, c_row, I, i + j, i_row,
                   mode, scale)
        else:
            tile_1(rows, K, A, a, a_row, a_k, B, b + j, b_k, C, c + j, c_row, I, i + j, i_row,
                   mode, scale)
        j += vectors * lanes


@kernel
def few_rows(rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, mode, scale):
    """A product of few rows, where I is C; slow for more than ``tile.FEW`` rows."""
    lanes, j = lanes_of(A), ZERO
    while j < cols:
        if TILE_VECTORS > 1 and cols - j > lanes:
            few_2(rows, K, A, ZERO, a_row, a_k, B, j, b_k, C, j, c_row, C, j, c_row, mode, scale)
            j += 2 * lanes
        else:
            few_1(rows, K, A, ZERO, a_row, a_k, B, j, b_k, C, j, c_row, C, j, c_row, mode, scale)
            j += lanes
