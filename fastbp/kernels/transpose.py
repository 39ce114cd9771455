"""Transpose by square blocks of vectors, held in registers: B[j, i] = A[i, j].

An element at a time costs 1 ns, as much as 100 multiply-adds; a block of 16 x 16 through
four stages of shuffles an eighth of that. A block of few columns or few rows is four small ones
side by side, in a fourth of the vectors.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .._jit import DISABLED, kernel
from .moves import turned
from .parts import Rows, alone, side_by_side
from .vectors import VECTOR_BYTES


def _block(tyctx, rows, cols, A, a, a_row, B, b, b_row):
    """B[j, i] = A[i, j] for j < cols and all lanes i, zero from i = rows on.

    Both sizes are 1 to one vector; rows of A and B have room for whole vectors.
    """
    n = types.intp

    def codegen(context, bld, sig, args):
        rows, cols, A, a, a_row, B, b, b_row = args
        element = context.get_data_type(sig.args[2].dtype)
        size = sig.args[2].dtype.bitwidth // 8
        lanes = VECTOR_BYTES // size
        int64 = ir.IntType(64)
        vec = ir.VectorType(element, lanes)
        zero = ir.Constant(vec, None)

        def base(position, array, offset):
            data = context.make_array(sig.args[position])(context, bld, array).data
            return bld.gep(data, [offset])

        def row(start, stride, r):
            return bld.bitcast(bld.gep(start, [bld.mul(stride, r)]), vec.as_pointer())

        a_base, b_base = base(2, A, a), base(5, B, b)
        last, vectors = bld.sub(rows, int64(1)), []
        for i in range(lanes):
            inside = bld.icmp_signed("<", int64(i), rows)
            given = bld.load(row(a_base, a_row, bld.select(inside, int64(i), last)), align=size)
            vectors.append(bld.select(inside, given, zero))
        vectors = turned(bld, vectors)
        last = bld.sub(cols, int64(1))
        for j in reversed(range(lanes)):  # what is beyond cols lands in row cols - 1, before it
            inside = bld.icmp_signed("<", int64(j), cols)
            bld.store(vectors[j], row(b_base, b_row, bld.select(inside, int64(j), last)),
                      align=size)
        return context.get_dummy_value()

    return types.void(n, n, A, n, n, B, n, n), codegen


def _columns(tyctx, rows, cols, A, a, a_row, B, b, b_row):
    """The same where ``cols`` are up to a fourth of a vector."""
    n = types.intp

    def codegen(context, bld, sig, args):
        rows, cols, A, a, a_row, B, b, b_row = args
        source = Rows(context, bld, sig.args[2], A, a, a_row, rows)
        to = Rows(context, bld, sig.args[5], B, b, b_row, cols)
        vectors = [side_by_side(bld, [source.load(i, source.few)
                                      for i in range(r, source.lanes, source.few)])
                   for r in range(source.few)]
        for j, vector in reversed(list(enumerate(turned(bld, vectors)))):
            to.store(vector, j)
        return context.get_dummy_value()

    return types.void(n, n, A, n, n, B, n, n), codegen


def _rows(tyctx, rows, cols, A, a, a_row, B, b, b_row):
    """The same where ``rows`` are up to a fourth of a vector."""
    n = types.intp

    def codegen(context, bld, sig, args):
        rows, cols, A, a, a_row, B, b, b_row = args
        source = Rows(context, bld, sig.args[2], A, a, a_row, rows)
        to = Rows(context, bld, sig.args[5], B, b, b_row, cols)
        vectors = turned(bld, [source.load(i, source.lanes) for i in range(source.few)])
        for j in reversed(range(source.lanes)):
            to.store(alone(bld, vectors[j % source.few], j // source.few), j)
        return context.get_dummy_value()

    return types.void(n, n, A, n, n, B, n, n), codegen


def _block_python(rows, cols, A, a, a_row, B, b, b_row):
    """The same contract in plain Python, for ``NUMBA_DISABLE_JIT=1``."""
    lanes = VECTOR_BYTES // A.itemsize
    for j in range(cols):
        B[b + j * b_row:b + j * b_row + lanes] = 0
        for i in range(rows):
            B[b + j * b_row + i] = A[a + i * a_row + j]


transpose_block, transpose_columns, transpose_rows = (
    _block_python if DISABLED else intrinsic(make) for make in (_block, _columns, _rows))


@kernel
def transpose(rows, cols, A, a_row, B, b_row):
    """B[j, i] = A[i, j] for i < rows, j < cols; both have rows of whole vectors.

    The rest of the last vector in each row of B becomes zero.
    """
    lanes = VECTOR_BYTES // A.itemsize
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
