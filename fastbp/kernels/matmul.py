"""Matrix products on the register tile. One routine serves all three:

    forward            Y  = X W' + bias    A = X  (by rows),     B = W', a row for each input
    input gradient     dX = dY W           A = dY (by rows),     B = W, a row for each output
    weight gradient    dW' = X' dY         A = X  (by columns),  B = dY

Only B, C and I need rows padded to whole vectors; the padding of C is computed like the rest,
from that of B and I.

Operands larger than the caches are packed on the stack, a panel at a time; the others are read
in place, with a row stride that is no multiple of a page (``vectors.row_length``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._jit import kernel
from ..table import call_product
from .arrays import address_of, array_at, lanes_of, stack_array
from .columns import ONE, ZERO, columns
from .packed import DEPTH, PANELS_SIZE, STRIP_DEPTH, STRIPS_SIZE, by_panels, by_strips
from .tile import ADD, CLIP, FEW, SCALE, few_1, row_tile_1, row_tile_4, row_tile_8, tile_1
from .vectors import row_length

#: Largest number of terms k per pass over C: so much of A and B stays in the L2 cache.
_DEPTH = 256
#: Largest K of which every sum is computed in one pass; the same for SCALE, where a sum must be
#: complete before it is scaled.
WHOLE, SCALED = min(_DEPTH, STRIP_DEPTH), DEPTH
#: Operands are packed if C has enough rows to pay for the copies and either, with A read along
#: its rows, B exceeds the L2 cache or, with A read down its columns, rows of B are a page apart
#: or more. In bytes.
_PACKED_ROWS, _PACKED_BYTES, PACKED_STRIDE = 96, 1024 * 1024, 4096


@kernel
def is_packed(rows, K, a_k, stride):
    """Whether packing pays; ``stride`` is the row stride of B in bytes."""
    far = K * stride > _PACKED_BYTES if a_k == 1 else stride >= PACKED_STRIDE
    return far and rows >= _PACKED_ROWS


@kernel(inline=True)
def unpacked(rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, clip, scale):  # noqa: E741
    """``matmul`` without packing: operands are read in place."""
    depth, k = K, ZERO
    # Small products are spared the divisions, including the one that a range would need.
    if K > _DEPTH and mode != SCALE:
        pieces = (K + _DEPTH - 1) // _DEPTH
        depth = (K + pieces - 1) // pieces
    while k < K:
        terms = min(K - k, depth)
        columns(rows, cols, terms, A, k * a_k, a_row, a_k, B, k * b_k, b_k, C, ZERO, c_row, I,
                ZERO, i_row, mode + clip if k + terms == K else mode, scale)
        I, i_row, mode = C, c_row, ADD  # noqa: E741
        k += terms


@kernel(inline=True)
def matmul(rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale):  # noqa: E741
    """C from S[r, j] = sum over k < K of A[r * a_row + k * a_k] * B[k * b_k + j], as in ``mode``.

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
        WRITE: C = S; ADD: C = I + S; either + CLIP: negative results become 0. For K up to
        ``WHOLE`` also MASK: C = S, 0 where I is 0; up to ``SCALED`` SCALE: C = I + scale S.
    scale : float of that dtype
    """
    strips, panels = stack_array(A, STRIPS_SIZE), stack_array(A, PANELS_SIZE)
    clip = CLIP if mode >= CLIP else ZERO
    mode -= clip
    if is_packed(rows, K, a_k, b_k * A.itemsize):
        if a_k == 1:
            by_panels(rows, cols, K, A, a_row, B, b_k, C, c_row, I, i_row, mode, clip, scale,
                      panels)
        else:
            by_strips(rows, cols, K, A, a_k, B, b_k, C, c_row, I, i_row, mode, clip, scale,
                      strips, panels)
    else:
        unpacked(rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, clip, scale)


@kernel
def product(rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale):  # noqa: E741
    """``matmul`` of operands given by address: one compiled copy for all callers."""
    matmul(rows, cols, K, array_at(A, scale), a_row, a_k, array_at(B, scale), b_k,
           array_at(C, scale), c_row, array_at(I, scale), i_row, mode, scale)


@kernel
def small_product(rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale):  # noqa: E741
    """``product`` without packing, which compiles in half the time."""
    A, B, C, I = (array_at(A, scale), array_at(B, scale), array_at(C, scale),  # noqa: E741
                  array_at(I, scale))
    if K <= _DEPTH and cols <= lanes_of(A):
        # Two calls fewer, and no surplus rows: a third of a step of a network with few units.
        if rows <= FEW:
            few_1(rows, K, A, ZERO, a_row, a_k, B, ZERO, b_k, C, ZERO, c_row, I, ZERO, i_row,
                  mode, scale)
        else:
            tile_1(rows, K, A, ZERO, a_row, a_k, B, ZERO, b_k, C, ZERO, c_row, I, ZERO, i_row,
                   mode, scale)
        return
    clip = CLIP if mode >= CLIP else ZERO
    unpacked(rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode - clip, clip, scale)


def product_for(n_in: int, n_out: int, dtype: np.dtype[Any]) -> Any:
    """The kernel for the three products of a layer: ``product`` if ``is_packed`` may hold for one
    of them, given a large enough batch. A test checks that the two conditions agree."""
    ld_in, ld_out = (row_length(n, dtype) * dtype.itemsize for n in (n_in, n_out))
    packs = max(n_in * ld_out, n_out * ld_in) > _PACKED_BYTES or ld_out >= PACKED_STRIDE
    return product if packs else small_product


@kernel(inline=True)
def multiply(op, rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale):  # noqa: E741
    """``matmul`` through the compiled kernel whose address is in ``op``."""
    call_product(op["product"], (
        rows, cols, K, address_of(A), a_row, a_k, address_of(B), b_k, address_of(C), c_row,
        address_of(I), i_row, mode, scale))


@kernel
def row_product(K, x, B, b_k, y, I):  # noqa: E741
    """y = I + sum over k < K of x[k] * B[k * b_k:], for one row of whole vectors.

    Order and rounding are those of the tiles of many rows, which would compute all of theirs. If
    columns are left over, the last tile overlaps the one before.
    """
    lanes, n, zero = lanes_of(x), y.size, x.dtype.type(0)
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
