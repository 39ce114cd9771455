"""Matrix products on matrix tiles (AMX, ``squares``), with operands split and packed on the stack.

Packing both takes a tenth as long as the product of 256 of their lines, so a call should have
many rows and columns. Sums accumulate onto their start values: pieces of whole stretches of 32
terms give the bits of all terms at once.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._jit import kernel
from .._validation import PRECISIONS
from .arrays import array_at, stack_array
from .columns import ONE, ZERO
from .copy import copy_row
from .lanes import Lanes
from .split import PARTS, SQUARE, STRETCH, TILE, TURNED_SIZE, lay
from .squares import (
    give_tiles_back,
    square_11,
    square_12,
    square_21,
    square_22,
    take_tiles,
)
from .tile import ADD, CLIP, MASK, SCALE, WRITE

#: Terms per pass, many as storing sums from the tiles stalls; rows and columns per pass (more if
#: there are fewer terms) whose tiles fit in the L2 cache; rows and columns of a block of sums.
DEPTH, _ROWS, _COLUMNS, _PAIR = 512, 256, 128, 2 * SQUARE
#: Bytes of the tiles of these rows and columns, and of a block of sums.
_ROWS_SIZE, _COLUMNS_SIZE = (2 * PARTS * DEPTH * lines for lines in (_ROWS, _COLUMNS))
_SUMS_SIZE = 4 * _PAIR * _PAIR


@intrinsic
def finish(tyctx, rows, vectors, S, C, c, c_row, I, i, i_row, mode, scale):  # noqa: E741
    """C from the sums S, rows of two vectors, by ``mode`` (see ``tile``); ADD is done before."""

    def codegen(context, bld, sig, args):
        rows, vectors, S, C, c, c_row, I, i, i_row, mode, scale = args  # noqa: E741
        int64, lanes = ir.IntType(64), Lanes(context, bld, sig.args[2])
        vec, factor = lanes.vector, lanes.splat(scale)
        zero, lowest = (ir.Constant(vec, [value] * SQUARE) for value in (0.0, float("-inf")))
        fma = cgutils.get_or_insert_function(
            bld.module, ir.FunctionType(vec, [vec] * 3), "llvm.fma.v16f32")
        bases = [bld.gep(context.make_array(sig.args[p])(context, bld, array).data, [at])
                 for p, array, at in ((2, S, int64(0)), (3, C, c), (6, I, i))]
        kind = bld.and_(mode, int64(CLIP - 1))
        floor = bld.select(bld.icmp_signed(">=", mode, int64(CLIP)), zero, lowest)
        changes = {
            WRITE: lambda s, own: s,
            SCALE: lambda s, own: bld.call(fma, [factor, s, bld.load(own, align=4)]),
            MASK: lambda s, own: bld.select(
                bld.fcmp_ordered("==", bld.load(own, align=4), zero), zero, s)}

        def all_rows(change, count):
            """Apply ``change`` to each vector, ``count`` to a row."""
            with cgutils.for_range(bld, rows, intp=int64) as loop:
                lines = [bld.gep(base, [bld.mul(loop.index, step)]) for base, step in zip(
                    bases, (int64(_PAIR), c_row, i_row), strict=True)]
                for v in range(count):
                    sums, to, own = (bld.bitcast(bld.gep(line, [int64(v * SQUARE)]),
                                                 vec.as_pointer()) for line in lines)
                    new = change(bld.load(sums, align=64), own)
                    new = bld.select(bld.fcmp_ordered("<", new, floor), floor, new)
                    bld.store(new, to, align=4)

        for one, change in changes.items():
            with bld.if_then(bld.icmp_signed("==", kind, int64(int(one)))), bld.if_else(
                    bld.icmp_signed(">", vectors, int64(1))) as (then, other):
                with then:
                    all_rows(change, 2)
                with other:
                    all_rows(change, 1)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, n, S, C, n, n, I, n, n, n, S.dtype), codegen


@kernel
def square(parts, stretches, rows, cols, tiles_a, a, tiles_b, b, I, i, i_row, start, C, c, c_row):  # noqa: E741,E501
    """Up to 32 x 32 sums, in whole tiles."""
    if rows > SQUARE:
        if cols > SQUARE:
            square_22(parts, stretches, tiles_a, a, tiles_b, b, I, i, i_row, start, C, c, c_row)
        else:
            square_21(parts, stretches, tiles_a, a, tiles_b, b, I, i, i_row, start, C, c, c_row)
    elif cols > SQUARE:
        square_12(parts, stretches, tiles_a, a, tiles_b, b, I, i, i_row, start, C, c, c_row)
    else:
        square_11(parts, stretches, tiles_a, a, tiles_b, b, I, i, i_row, start, C, c, c_row)


@kernel
def square_at(parts, stretches, rows, cols, tiles_a, a, tiles_b, b, C, c, c_row, I, i, i_row,  # noqa: E741
              mode, scale, sums):
    """The same for any number of rows and any ``mode``; ``sums`` is scratch for sums that cannot
    go to C at once."""
    whole, start, line = rows % SQUARE == 0, ONE if mode % CLIP == ADD else ZERO, np.int64(_PAIR)
    vectors = (cols + SQUARE - 1) // SQUARE
    if whole and mode <= ADD:
        square(parts, stretches, rows, cols, tiles_a, a, tiles_b, b, I, i, i_row, start, C, c,
               c_row)
        return
    if whole:
        square(parts, stretches, rows, cols, tiles_a, a, tiles_b, b, I, i, i_row, start, sums,
               ZERO, line)
    else:
        if start != 0:
            for r in range(rows):
                copy_row(sums, r * line, I, i + r * i_row, vectors * SQUARE)
        square(parts, stretches, rows, cols, tiles_a, a, tiles_b, b, sums, ZERO, line, start, sums,
               ZERO, line)
    finish(rows, vectors, sums, C, c, c_row, I, i, i_row,
           mode - ADD if start != 0 else mode, scale)


@kernel
def product(parts, rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale):  # noqa: E741
    """``square_product`` of ``parts`` of each number."""
    A, B, C, I = (array_at(A, scale), array_at(B, scale), array_at(C, scale),  # noqa: E741
                  array_at(I, scale))
    tiles_a, tiles_b = stack_array(A, _ROWS_SIZE), stack_array(A, _COLUMNS_SIZE)
    sums, scratch = stack_array(A, _SUMS_SIZE), stack_array(A, TURNED_SIZE)
    pair, clip = np.int64(_PAIR), CLIP if mode >= CLIP else ZERO
    b_col = -b_k if b_k < 0 else ONE
    b_k = max(b_k, ONE)
    pieces = (K + DEPTH - 1) // DEPTH
    depth = ((K + pieces - 1) // pieces + STRETCH - 1) // STRETCH * STRETCH
    more = PARTS * DEPTH // (parts * depth)
    down, across, k, mode = more * _ROWS, more * _COLUMNS, ZERO, mode - clip
    take_tiles()
    while k < K:
        terms = min(K - k, depth)
        stretches = (terms + STRETCH - 1) // STRETCH
        own, lot = mode + clip if k + terms == K else mode, stretches * parts * TILE
        for top in range(0, rows, down):
            height = min(down, rows - top)
            lay(parts, False, height, terms, A, top * a_row + k * a_k, a_row, a_k, tiles_a,
                scratch)
            for left in range(0, cols, across):
                width = min(across, cols - left)
                lay(parts, True, width, terms, B, k * b_k + left * b_col, b_col, b_k, tiles_b,
                    scratch)
                for r in range(0, height, pair):
                    for j in range(0, width, pair):
                        square_at(parts, stretches, min(height - r, pair), min(width - j, pair),
                                  tiles_a, r // SQUARE * lot, tiles_b, j // SQUARE * lot,
                                  C, (top + r) * c_row + left + j, c_row,
                                  I, (top + r) * i_row + left + j, i_row, own, scale, sums)
        I, i_row, mode = C, c_row, ADD  # noqa: E741
        k += terms
    give_tiles_back()


@kernel
def square_product(rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale):  # noqa: E741
    """``matmul`` of float32 at these addresses; a negative ``b_k`` means that B is stored by
    columns, with stride ``-b_k``.

    For K up to ``DEPTH`` ``mode`` may be MASK or SCALE. The padding of C becomes that of I, or 0.
    """
    product(np.int64(PARTS), rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale)


@kernel
def square_product_high(rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale):  # noqa: E741,E501
    """The same of numbers rounded to 16 bits."""
    product(np.int64(2), rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale)


@kernel
def square_product_medium(rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale):  # noqa: E741,E501
    """The same of numbers rounded to 8 bits (bfloat16)."""
    product(ONE, rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale)


#: Products by ``matmul_precision``.
PRODUCTS = dict(zip(PRECISIONS, (square_product, square_product_high, square_product_medium),
                    strict=True))

__all__ = ["DEPTH", "PRODUCTS", "square_product"]
