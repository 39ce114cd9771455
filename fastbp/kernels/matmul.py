"""Matrix products on the register tile. One routine serves all three:

    forward            Y  = X W' + bias    A = X  (by rows),     B = W' stored by inputs
    input gradient     dX = dY W           A = dY (by rows),     B = W stored by outputs
    weight gradient    dW' = X' dY         A = X  (by columns),  B = dY

Only B, C and I need rows padded to whole vectors; pads of C receive what pads of B hold.

Operands beyond the caches are packed into the stack, a panel at a time; the others are read
in place, their rows not whole pages apart (``tile.row_length``).
"""

from __future__ import annotations

import numpy as np

from .._jit import kernel
from ..table import call_product
from .arrays import address_of, array_at, span, stack_array
from .copy import copy_row
from .tile import (
    ADD,
    CLIP,
    TILE_ROWS,
    TILE_VECTORS,
    VECTOR_BYTES,
    row_tile_1,
    row_tile_4,
    row_tile_8,
    tile_1,
    tile_2,
    tile_3,
    tile_4,
)
from .transpose import transpose

#: Of type int64 where Numba would take a literal for a type of its own, and compile what
#: it is passed to once more.
ZERO, ONE, TWO, THREE, FOUR = (np.int64(n) for n in range(5))


#: Most terms of each sum at a time: so much of A and B stays in the L2 cache.
_DEPTH = 256
#: The same where B alone is packed, longer since each time C is read and written, and where A
#: is too; bytes of a row of a panel of B, panels kept for several strips of A (room for one of
#: the longer depth), bytes of a row of a strip: whole tiles of four vectors, and their rows.
_PACKED_DEPTH, _STRIP_DEPTH, _PANEL, _PANELS, _STRIP = 512, 256, 4 * VECTOR_BYTES, 4, 384
_PANELS_SIZE, _STRIP_SIZE = _STRIP_DEPTH * _PANELS * _PANEL, _STRIP_DEPTH * _STRIP
_PANEL_SIZE = _PACKED_DEPTH * _PANEL
#: Terms up to which no sum is cut.
WHOLE = min(_DEPTH, _STRIP_DEPTH)
#: Packed where rows of C are enough to pay for the copies, and either B is beyond the L2
#: cache or, with A read down its columns, rows of B are a page apart or more. In bytes.
_PACKED_ROWS, _PACKED_BYTES, PACKED_STRIDE = 96, 1024 * 1024, 4096


@kernel
def is_packed(rows, K, a_k, stride):
    """Whether copies pay; rows of B are ``stride`` bytes apart."""
    far = K * stride > _PACKED_BYTES if a_k == 1 else stride >= PACKED_STRIDE
    return far and rows >= _PACKED_ROWS


@kernel(inline=True)
def matmul(rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale):  # noqa: E741
    """C from S[r, j], the sum over k < K of A[r * a_row + k * a_k] * B[k * b_k + j], by ``mode``.

    Parameters
    ----------
    rows, cols, K : int
        Sizes; ``cols`` is rounded up to whole vectors, ``K`` at least 1.
    A, B, C : 1-D arrays of one dtype
        Operands; strides ``a_row``, ``a_k``, ``b_k``, ``c_row`` are in elements, and one of
        ``a_row`` and ``a_k`` is 1.
    I : 1-D array
        What the sums are added to, with row stride ``i_row`` (0 for a bias row). May be
        ``C``, and is ``C`` where ``mode`` is WRITE.
    mode : int
        WRITE: C = S; ADD: C = I + S; either + CLIP: 0 for what is below. For K up to ``WHOLE``
        also SCALE: C = I + scale S, and MASK: C = S, 0 where I is 0.
    scale : float of that dtype
    """
    strip, panels, pack = stack_array(A, _STRIP_SIZE), stack_array(A, _PANELS_SIZE), ZERO
    depth, k = K, ZERO
    if is_packed(rows, K, a_k, b_k * A.itemsize):
        pack, depth = ONE, np.int64(_PACKED_DEPTH if a_k == 1 else _STRIP_DEPTH)
    elif K > _DEPTH:  # small products are spared the divisions, that of a range among them
        pieces = (K + _DEPTH - 1) // _DEPTH
        depth = (K + pieces - 1) // pieces
    clip = CLIP if mode >= CLIP else ZERO
    mode -= clip
    while k < K:
        terms = min(K - k, depth)
        own = mode + clip if k + terms == K else mode
        if pack == 0:
            columns(rows, cols, terms, A, k * a_k, a_row, a_k, B, k * b_k, b_k, C, ZERO, c_row,
                    I, ZERO, i_row, own, scale)
        else:
            columns_packed(rows, cols, terms, A, k * a_k, a_row, a_k, B, k * b_k, b_k, C, c_row,
                           I, i_row, own, scale, strip, panels)
        I, i_row, mode = C, c_row, ADD  # noqa: E741
        k += terms


@kernel
def product(rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale):  # noqa: E741
    """``matmul`` of what lies at these addresses: one copy of its code for all who call it."""
    matmul(rows, cols, K, array_at(A, scale), a_row, a_k, array_at(B, scale), b_k,
           array_at(C, scale), c_row, array_at(I, scale), i_row, mode, scale)


@kernel(inline=True)
def multiply(op, rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale):  # noqa: E741
    """``matmul`` by the copy that ``op`` knows."""
    call_product(op["product"], (
        rows, cols, K, address_of(A), a_row, a_k, address_of(B), b_k, address_of(C), c_row,
        address_of(I), i_row, mode, scale))


@kernel
def tiled(rows, vectors):
    """Rows that tiles of so many vectors compute for these, the surplus of the last included."""
    height = TILE_ROWS[vectors - 1]
    return (rows + height - 1) // height * height


@kernel
def next_tile(left, widest):
    """Vectors of the next tile where ``left`` are to do: four are two pairs if three is most."""
    if left <= widest:
        return left
    return TWO if widest == 3 and left == 4 else widest


@kernel
def widest_tile(rows, cols, lanes):
    """Vectors of the widest tile to use: three where four would compute 4 % more rows."""
    widest = np.int64(TILE_VECTORS)
    if widest == 4 and cols > 3 * lanes and 25 * tiled(rows, THREE) < 24 * tiled(rows, FOUR):
        widest = THREE
    return widest


@kernel
def columns(rows, cols, K, A, a, a_row, a_k, B, b, b_k, C, c, c_row, I, i, i_row, mode, scale):  # noqa: E741,E501
    """A product of the depth that the cache holds, tile by tile, down the columns of C."""
    lanes, j = VECTOR_BYTES // A.itemsize, ZERO
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
def columns_packed(rows, cols, K, A, a, a_row, a_k, B, b, b_k, C, c_row, I, i_row, mode, scale,  # noqa: E741,E501
                   strip, panels):
    """The same by copies without gaps of B, by panels, and of A if read down its columns, a
    strip at a time, for which panels are kept.

    Rows far apart are each on a page of their own, where no hardware looks ahead.
    """
    lanes, width, across = VECTOR_BYTES // A.itemsize, _PANEL // A.itemsize, _STRIP // A.itemsize
    cols = (cols + lanes - 1) // lanes * lanes
    height, group = (rows, width) if a_k == 1 else (across, _PANELS * width)
    for left in range(0, cols, group):
        for r in range(0, rows, height):
            count, source, at, row, step = min(height, rows - r), A, a + r * a_row, a_row, a_k
            if a_k != 1:
                for k in range(K):
                    copy_row(strip, k * across, A, at + k * a_k, count)
                source, at, row, step = strip, ZERO, ONE, np.int64(across)
            for j in range(left, min(left + group, cols), width):
                place = (j - left) * K
                if r == 0:
                    for k in range(K):
                        copy_row(panels, place + k * width, B, b + k * b_k + j,
                                 min(width, cols - j))
                columns(count, min(width, cols - j), K, source, at, row, step, panels, place,
                        width, C, r * c_row + j, c_row, I, r * i_row + j, i_row, mode,
                        scale)


@kernel
def matmul_by_rows(rows, cols, K, A, a_row, B, b_row, C, c_row, mode):
    """C[r, j] = sum over k < K of A[r * a_row + k] * B[j * b_row + k], the same sums to the bit;
    on top of what C has where ``mode`` is ADD, not WRITE.

    B lies by columns of the product: it is packed by transposing, a panel at a time. Where B is
    beyond the caches that costs no more than a copy, and no second B in the other layout has to
    be kept up with the first.
    """
    panel, width = stack_array(A, _PANEL_SIZE), np.int64(_PANEL // A.itemsize)
    zero = A.dtype.type(0)
    for k in range(0, K, _PACKED_DEPTH):
        terms = min(K - k, _PACKED_DEPTH)
        for left in range(0, cols, width):
            count = min(width, cols - left)
            transpose(count, terms, span(B, left * b_row + k, B.size), b_row, panel, width)
            columns(rows, count, terms, A, k, a_row, ONE, panel, ZERO, width, C, left, c_row, C,
                    left, c_row, mode, zero)
        mode = ADD


@kernel
def row_product(K, x, B, b_k, y, I):  # noqa: E741
    """y = I + sum over k < K of x[k] * B[k * b_k:], for one row of whole vectors.

    The same order and roundings as the tile of many rows, which would do the work of all of
    them. The last tile reaches back over the one before where columns are left over.
    """
    lanes, n, zero = VECTOR_BYTES // x.itemsize, y.size, x.dtype.type(0)
    if n >= 8 * lanes:
        for j in range(0, n, 8 * lanes):
            at = min(j, n - 8 * lanes)
            row_tile_8(ONE, K, x, ZERO, ZERO, ONE, B, at, b_k, y, at, ZERO, I, at, ZERO, ADD, zero)
    elif n >= 4 * lanes:
        for j in range(0, n, 4 * lanes):
            at = min(j, n - 4 * lanes)
            row_tile_4(ONE, K, x, ZERO, ZERO, ONE, B, at, b_k, y, at, ZERO, I, at, ZERO, ADD, zero)
    else:
        for at in range(0, n, lanes):
            row_tile_1(ONE, K, x, ZERO, ZERO, ONE, B, at, b_k, y, at, ZERO, I, at, ZERO, ADD, zero)
