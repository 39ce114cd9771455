"""Transpose by square blocks of vectors, held in registers: B[j, i] = A[i, j].

An element at a time costs 1 ns, as much as 100 multiply-adds; a block of 16 x 16, through
four stages of shuffles, costs an eighth of that for each. A block of few columns or few rows is
four small ones side by side, in a fourth of the vectors.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from .._jit import DISABLED, kernel
from .arrays import lanes_of
from .moves import side_by_side, turned
from .parts import Rows, alone


def _build(few_columns: bool = False, few_rows: bool = False) -> Any:
    """Make the kernel that transposes one block; few means up to a fourth of a vector.

    It takes (rows, cols, A, a, a_row, B, b, b_row): B[j, i] = A[i, j] for j < cols and all lanes
    i, zero from i = rows on. Both sizes are 1 to one vector; rows of A and B have room for whole
    vectors.
    """

    def codegen(context, bld, sig, args):
        rows, cols, A, a, a_row, B, b, b_row = args
        source = Rows(context, bld, sig.args[2], A, a, a_row, rows)
        to = Rows(context, bld, sig.args[5], B, b, b_row, cols)
        lanes, few = source.lanes, source.few
        if few_columns:  # rows ``few`` apart, side by side
            vectors = [side_by_side(bld, [source.load(i, few) for i in range(r, lanes, few)])
                       for r in range(few)]
        else:
            vectors = [source.load(i, lanes) for i in range(few if few_rows else lanes)]
        vectors = turned(bld, vectors)
        # Surplus rows are stored in row cols - 1 first, which then overwrites them.
        for j in reversed(range(few if few_columns else lanes)):
            to.store(alone(bld, vectors[j % few], j // few) if few_rows else vectors[j], j)
        return context.get_dummy_value()

    n = types.intp

    @intrinsic
    def block(tyctx, rows, cols, A, a, a_row, B, b, b_row):
        return types.void(n, n, A, n, n, B, n, n), codegen

    return block


def _block_python(rows, cols, A, a, a_row, B, b, b_row):
    """The same contract in plain Python, for ``NUMBA_DISABLE_JIT=1``."""
    lanes = lanes_of(A)
    for j in range(cols):
        B[b + j * b_row:b + j * b_row + lanes] = 0
        for i in range(rows):
            B[b + j * b_row + i] = A[a + i * a_row + j]


transpose_block, transpose_columns, transpose_rows = (
    _block_python if DISABLED else _build(*few)
    for few in ((False, False), (True, False), (False, True)))


@kernel
def transpose(rows, cols, A, a_row, B, b_row):
    """B[j, i] = A[i, j] for i < rows, j < cols; both have rows of whole vectors.

    The rest of the last vector in each row of B becomes zero.
    """
    lanes = lanes_of(A)
    if 0 < 4 * cols <= lanes:
        for i in range(0, rows, lanes):
            transpose_columns(min(lanes, rows - i), cols, A, i * a_row, a_row, B, i, b_row)
        return
    if 0 < 4 * rows <= lanes:
        for j in range(0, cols, lanes):
            transpose_rows(rows, min(lanes, cols - j), A, j, a_row, B, j * b_row, b_row)
        return
    for i in range(0, rows, lanes):
        for j in range(0, cols, lanes):
            transpose_block(min(lanes, rows - i), min(lanes, cols - j), A, i * a_row + j, a_row,
                            B, j * b_row + i, b_row)
