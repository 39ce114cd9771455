"""Register-tile micro-kernels: a few rows of vector accumulators, kept in registers over k.

    C[r, j] = S                       S = sum over k of A[r, k] * B[k, j]
    C[r, j] = I[r, j] + S             S starts at I
    C[r, j] = I[r, j] + scale * S     S starts at 0          for all j of the tile's vectors
    C[r, j] = S where I[r, j] is not 0, else 0

and the first two with 0 for what is below.

A is read one scalar at a time (broadcast), B and C by vectors of 64 bytes whatever the
host: LLVM splits them on narrower machines, so memory layouts never depend on the CPU.
Every variant adds the products in the order of k with fused multiply-add, so all tile
shapes give the same bits.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._jit import DISABLED
from .moves import Blocks, Lines, prefetch_line
from .vectors import REGISTER, SHAPES, VECTOR_BYTES, host_isa

#: What becomes of the sums S of products, the four lines above; CLIP is added to the first two.
WRITE, ADD, SCALE, MASK, CLIP = (np.int64(n) for n in range(5))

#: Terms of the sums a turn of the loop in wide tiles: its own instructions are a tenth of one
#: term's, and count where another thread has the other half of the core.
UNROLL = 4


def _build(tile_rows: int, vectors: int, pick: str = "", moves: Any = None) -> Any:
    """Make the micro-kernel with ``tile_rows`` x ``vectors`` accumulators.

    The result takes (rows, K, A, a, a_row, a_k, B, b, b_k, C, c, c_row, I, i, i_row, mode,
    scale): flat arrays, offsets and strides in elements. It goes down all ``rows``; where
    fewer are left than the tile has, the surplus repeats the last, into the same place.
    Where ``mode`` is WRITE, ``I`` does not count.

    With ``pick`` A is lines of memory picked by number: (lines, line) stand in place of (a_row,
    a_k), an array of numbers and elements from one line to the next. "rows" of A, each along its
    terms, or "terms", each along the rows: these take ``coming`` too, and meanwhile ask for what
    is picked by the numbers so many places further on.

    With ``moves``, a class of that module, it takes (to, t, t_row, source, s, s_row, width, count)
    too, and returns how many it has had time to copy.
    """

    def codegen(context, bld, sig, args):
        (rows, K, A, a, a_row, a_k, B, b, b_k, C, c, c_row, I, i, i_row,  # noqa: E741
         mode, scale) = args[:17]
        element = context.get_data_type(sig.args[2].dtype)
        bits = sig.args[2].dtype.bitwidth
        lanes = VECTOR_BYTES * 8 // bits
        size = bits // 8
        int64, int32 = ir.IntType(64), ir.IntType(32)
        vec = ir.VectorType(element, lanes)
        zero, undef = ir.Constant(vec, None), ir.Constant(vec, ir.Undefined)
        splat = ir.Constant(ir.VectorType(int32, lanes), None)
        # Empty instructions: LLVM cannot see that their results are what went in. Else it loads
        # A and B for all terms of a turn first, more than there are registers, and sums go to the
        # stack. With picked terms it takes but one, which seems to need a sum.
        tie = REGISTER if pick == "terms" else ""
        unknown = ir.FunctionType(int64, [int64, *([element] if tie else [])])
        fma = cgutils.get_or_insert_function(
            bld.module, ir.FunctionType(vec, [vec] * 3), f"llvm.fma.v{lanes}f{bits}")

        def base(position, array, offset):
            data = context.make_array(sig.args[position])(context, bld, array).data
            return bld.gep(data, [offset])

        def line_at(number):
            """Where line ``number`` of those picked begins."""
            return bld.mul(bld.load(bld.gep(lines, [number])), line)

        def vector_at(pointer, v):
            moved = bld.gep(pointer, [int64(v * lanes)])
            return bld.bitcast(moved, vec.as_pointer())

        def either(first, other, before, detour):
            """``first`` if control comes from the block ``before``, ``other`` if from
            ``detour``."""
            value = bld.phi(first.type)
            value.add_incoming(first, before)
            value.add_incoming(other, detour)
            return value

        def changed(asked, total, i_rows, change):
            """The sums after ``change``, which knows I, where that is ``asked`` for."""
            straight = bld.block
            with bld.if_then(asked):  # all are read before one is written
                given = [[bld.load(vector_at(p, v), align=size) for v in range(vectors)]
                         for p in i_rows]
                moved = [[change(*pair) for pair in zip(*rows, strict=True)]
                         for rows in zip(total, given, strict=True)]
                detour = bld.block
            return [[either(*pair, straight, detour) for pair in zip(*rows, strict=True)]
                    for rows in zip(total, moved, strict=True)]

        def one_tile(first, places):
            """The tile from row ``first`` on, its rows at ``places`` of each operand."""
            a_rows, c_rows, i_rows = (
                [bld.gep(bld.gep(base, [bld.mul(stride, first)]), [place]) for place in own]
                for base, stride, own in zip((a_base, c_base, i_base), strides, places,
                                             strict=True))
            if pick == "rows":
                a_rows = [bld.gep(a_base, [line_at(bld.add(first, r))]) for r in places[0]]
            for place in c_rows if moves else ():  # ask for those of the next tile
                below = bld.gep(place, [bld.mul(c_row, int64(tile_rows))])
                for v in range(vectors):
                    prefetch_line(bld, vector_at(below, v), True)
            straight = bld.block
            with bld.if_then(added):
                given = [[bld.load(vector_at(p, v), align=size) for v in range(vectors)]
                         for p in i_rows]
                detour = bld.block
            start = [[either(zero, one, straight, detour) for one in row] for row in given]

            def terms(at, acc, count):
                """The sums with ``count`` more terms each, and where the next one starts."""
                a_at, b_at = at
                for _ in range(count):
                    b_row = bld.gep(b_base, [b_at])
                    b_vec = [bld.load(vector_at(b_row, v), align=size)
                             for v in range(vectors)]
                    term = a_at
                    if pick == "terms":
                        term, later = (bld.mul(bld.load(bld.inttoptr(
                            bld.add(a_at, far), int64.as_pointer())), line) for far in steps)
                        prefetch_line(bld, bld.gep(a_rows[0], [later]), near=2)
                    for r in range(tile_rows):
                        scalar = bld.load(bld.gep(a_rows[r], [term]))
                        one = bld.insert_element(undef, scalar, int32(0))
                        wide = bld.shuffle_vector(one, undef, splat)
                        acc[r] = [bld.call(fma, [wide, b_vec[v], acc[r][v]])
                                  for v in range(vectors)]
                    a_at = bld.asm(unknown, "", "=r,0" + tie, [bld.add(a_at, a_k), *(
                        [bld.extract_element(acc[-1][-1], int32(0))] if tie else [])], False)
                    b_at = bld.add(b_at, b_k)
                    if count > 1 and not tie:
                        b_at = bld.asm(ir.FunctionType(int64, [int64]), "", "=r,0", [b_at], False)
                return (a_at, b_at), acc

            def loop(times, count, at, acc):
                """``terms`` of ``count`` so many times, at least once."""
                entry, body = bld.block, bld.append_basic_block()
                bld.branch(body)
                bld.position_at_end(body)
                left, held = bld.phi(int64), [bld.phi(int64), bld.phi(int64)]
                sums = [[bld.phi(vec) for _ in row] for row in acc]
                after, new = terms(held, [list(row) for row in sums], count)
                if moves and count == UNROLL:
                    meanwhile.move_at_times(left, itertools.chain(*new), REGISTER)
                last_block = bld.block
                fewer = bld.sub(left, int64(1))
                for phi, first, last in zip((left, *held, *itertools.chain(*sums)),
                                            (times, *at, *itertools.chain(*acc)),
                                            (fewer, *after, *itertools.chain(*new)),
                                            strict=True):
                    phi.add_incoming(first, entry)
                    phi.add_incoming(last, last_block)
                done = bld.append_basic_block()
                bld.cbranch(bld.icmp_signed(">", fewer, int64(0)), body, done)
                bld.position_at_end(done)
                return after, new

            def loop_if(times, count, at, acc):
                """The same, which may be not at all."""
                entry = bld.block
                some, done = bld.append_basic_block(), bld.append_basic_block()
                bld.cbranch(bld.icmp_signed(">", times, int64(0)), some, done)
                bld.position_at_end(some)
                after, new = loop(times, count, at, acc)
                last = bld.block
                bld.branch(done)
                bld.position_at_end(done)

                return ([either(*pair, entry, last) for pair in zip(at, after, strict=True)],
                        [[either(*pair, entry, last) for pair in zip(*rows, strict=True)]
                         for rows in zip(acc, new, strict=True)])

            at, total = (a_start, int64(0)), start
            if vectors > 2:
                at, total = loop_if(bld.udiv(K, int64(UNROLL)), UNROLL, at, total)
                at, total = loop_if(bld.urem(K, int64(UNROLL)), 1, at, total)
            else:
                at, total = loop(K, 1, at, total)
            total = changed(scaled, total, i_rows, lambda s, i: bld.call(fma, [factor, s, i]))
            total = changed(masked, total, i_rows, lambda s, i: bld.select(
                bld.fcmp_ordered("==", i, zero), zero, s))
            total = changed(clipped, total, i_rows, lambda s, i: bld.select(
                bld.fcmp_ordered("<", s, zero), zero, s))
            for r in range(tile_rows):
                for v in range(vectors):
                    bld.store(total[r][v], vector_at(c_rows[r], v), align=size)

        def all_tiles():
            """All whole tiles, whose rows lie at the same places from the first, then one of
            fewer rows."""
            start, segment, end = bld.block, bld.append_basic_block(), bld.append_basic_block()
            bld.cbranch(bld.icmp_signed(">", rows, int64(0)), segment, end)
            bld.position_at_end(segment)
            first = bld.phi(int64)
            left = bld.sub(rows, first)
            few = bld.icmp_unsigned("<", left, int64(tile_rows))
            stop = bld.select(few, rows, bld.sub(rows, bld.urem(left, int64(tile_rows))))
            last = bld.sub(left, int64(1))
            row = [int64(0), *(bld.select(bld.icmp_signed("<", int64(r), last), int64(r), last)
                               for r in range(1, tile_rows))]
            places = [[bld.mul(stride, r) for r in row] for stride in strides]
            with cgutils.for_range_slice(bld, first, stop, int64(tile_rows), int64) as (at, _):
                one_tile(at, places)
            first.add_incoming(int64(0), start)
            first.add_incoming(stop, bld.block)
            bld.cbranch(bld.icmp_signed("<", stop, rows), segment, end)
            bld.position_at_end(end)

        if pick:
            lines, line = context.make_array(sig.args[4])(context, bld, a_row).data, a_k
            a_k = int64(1 if pick == "rows" else 8)
        a_start = int64(0)
        if pick == "terms":
            a_start, steps = bld.ptrtoint(lines, int64), (int64(0), bld.mul(args[17], int64(8)))
        a_base, b_base, c_base, i_base = (
            base(2, A, a), base(6, B, b), base(9, C, c), base(12, I, i))
        kind = bld.and_(mode, int64(CLIP - 1))
        added, scaled, masked = (bld.icmp_signed("==", kind, int64(one))
                                 for one in (ADD, SCALE, MASK))
        clipped = bld.icmp_signed(">=", mode, int64(CLIP))
        one = bld.insert_element(undef, scale, int32(0))
        factor = bld.shuffle_vector(one, undef, splat)
        strides = int64(1) if pick else a_row, c_row, i_row
        if moves:
            to, t, t_row, source, first, s_row, *sizes = args[17:]
            meanwhile = moves(bld, vec, base(17, to, t), t_row, base(20, source, first), s_row,
                              *sizes)
            all_tiles()
            return meanwhile.moved()
        all_tiles()
        return context.get_dummy_value()

    n = types.intp

    @intrinsic
    def tile(tyctx, rows, K, A, a, a_row, a_k, B, b, b_k, C, c, c_row, I, i, i_row, mode, scale):  # noqa: E741,E501
        return types.void(n, n, A, n, a_row if pick else n, n, B, n, n, C, n, n, I, n, n, n,
                          A.dtype), codegen

    @intrinsic
    def picking(tyctx, rows, K, A, a, lines, line, B, b, b_k, C, c, c_row, I, i, i_row, mode, scale,  # noqa: E741,E501
                coming):
        return types.void(n, n, A, n, lines, n, B, n, n, C, n, n, I, n, n, n, A.dtype, n), codegen

    @intrinsic
    def moving(tyctx, rows, K, A, a, a_row, a_k, B, b, b_k, C, c, c_row, I, i, i_row, mode, scale,  # noqa: E741,E501
               to, t, t_row, source, s, s_row, width, count):
        return n(n, n, A, n, n, n, B, n, n, C, n, n, I, n, n, n, A.dtype, to, n, n, source, n, n,
                 n, n), codegen

    return moving if moves else picking if pick == "terms" else tile


def _build_python(tile_rows: int, vectors: int, pick: str = "", moves: Any = None) -> Any:
    """The same contract in plain Python, for ``NUMBA_DISABLE_JIT=1``."""

    def tile(rows, K, A, a, a_row, a_k, B, b, b_k, C, c, c_row, I, i, i_row, mode, scale):  # noqa: E741,E501
        width, A = vectors * VECTOR_BYTES // A.itemsize, A.reshape(-1)
        if pick:
            lines = a_row[:rows if pick == "rows" else K] * a_k
            A = A[a + (lines[:, None] + np.arange(K) if pick == "rows" else
                       np.arange(rows)[:, None] + lines)].reshape(-1)
            a, a_row, a_k = 0, K, 1
        for r in range(rows):
            given, kind = I[i + r * i_row:i + r * i_row + width], mode % CLIP
            total = given.copy() if kind == ADD else np.zeros(width, A.dtype)
            for k in range(K):
                at = b + k * b_k
                total += A[a + r * a_row + k * a_k] * B[at:at + width]
            if kind == SCALE:
                total = given + scale * total
            elif kind == MASK:
                total[given == 0] = 0
            if mode >= CLIP:
                total[total < 0] = 0
            C[c + r * c_row:c + r * c_row + width] = total
        return 0  # pieces moved

    return lambda *args: tile(*args[:17])


TILE_ROWS = SHAPES[host_isa()]
_make = _build_python if DISABLED else _build
#: Vectors of the widest tile, and the tiles by vectors; those too wide for the host stand unused.
TILE_VECTORS = len(TILE_ROWS)
tile_1, tile_2, tile_3, tile_4 = (_make(rows, vectors) for vectors, rows
                                  in enumerate((*TILE_ROWS, 1, 1, 1)[:4], 1))
#: The same of few rows, as which others would compute twice as many.
FEW = 4
few_1, few_2 = (_make(min(FEW, *TILE_ROWS), vectors) for vectors in (1, 2))
#: The same of picked lines of A, by rows and by terms.
picked_rows, picked_terms = ([_make(rows, vectors, pick) for vectors, rows
                              in enumerate((*TILE_ROWS, 1, 1, 1)[:4], 1)]
                             for pick in ("rows", "terms"))
#: One row by 1, 4 or 8 vectors: sums enough in flight to hide what a multiply-add takes.
row_tile_1, row_tile_4, row_tile_8 = (_make(1, vectors) for vectors in (1, 4, 8))
#: The widest tile, which copies lines or transposes blocks of other memory meanwhile.
copying_tile, transposing_tile = (_make(TILE_ROWS[-1], TILE_VECTORS, moves=kind)
                                  for kind in (Lines, Blocks))
