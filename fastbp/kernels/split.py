"""Numbers of 24 bits as sums of three of 8, packed for matrix tiles (AMX, see ``squares``).

    x = high + middle + low      each rounded to bfloat16, the upper half of a float32

Products of less precision leave out ``low``, or ``middle`` too.

A tile has 16 rows of 16 pairs. In a stretch of 32 terms, pair q holds terms q and 16 + q, alike
in both operands of a product. A line of an operand is a row of A or a column of B.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._jit import kernel
from .arrays import span
from .columns import ZERO
from .lanes import Lanes
from .transpose import transpose

#: Rows of a tile and pairs in a row; terms of a stretch; most parts of a number; size of a tile in
#: float32 elements.
SQUARE, STRETCH, PARTS, TILE = 16, 32, 3, 256
#: Bytes of scratch in which ``lay`` transposes a stretch.
TURNED_SIZE = 4 * SQUARE * STRETCH


@intrinsic
def split_lines(tyctx, parts, first, second, near, far, S, s, s_row, gap, T, t):
    """Split 16 rows of S from ``s`` on, with stride ``s_row``, into tiles at T[t:], one for each
    of 1 to 3 ``parts``.

    The halves of a stretch are ``gap`` elements apart. The first has ``first`` rows of ``near``
    elements, the other ``second`` rows of ``far``; what is beyond them counts as 0. All are
    float32, and T[t:] is aligned to a vector.
    """

    def codegen(context, bld, sig, args):
        parts, first, second, near, far, S, s, s_row, gap, T, t = args
        int64, lanes = ir.IntType(64), Lanes(context, bld, sig.args[5])
        floats, words = lanes.vector, ir.VectorType(ir.IntType(32), SQUARE)
        none = ir.Constant(ir.VectorType(ir.IntType(1), SQUARE), None)
        half, upper, sixteen, most, one_bit = (
            ir.Constant(words, [value] * SQUARE)
            for value in (0x8000, 0xFFFF0000, 16, 2 * 0x7F7F8000, 1))
        source, to = (bld.gep(context.make_array(sig.args[p])(context, bld, array).data, [at])
                      for p, array, at in ((5, S, s), (9, T, t)))

        def part(p, x):
            """Part ``p`` of a number, of which ``x`` is left, as the upper half of a word."""
            bits = bld.bitcast(x, words)
            rounded = bits if p == PARTS - 1 else bld.add(bits, half)
            if p == 0:  # what would round up to infinity is truncated: other parts make up for it
                full = bld.icmp_unsigned(">=", bld.shl(bits, one_bit), most)
                rounded = bld.select(full, bits, rounded)
            return bld.and_(rounded, upper)

        def lay_parts(p, pair, line):
            """Store part ``p`` of both halves, of which ``pair`` is left, and the parts after."""
            one, other = own = [part(p, x) for x in pair]
            place = bld.bitcast(bld.gep(line, [int64(p * TILE)]), words.as_pointer())
            bld.store(bld.or_(bld.lshr(one, sixteen), other), place, align=64)
            if p < PARTS - 1:
                with bld.if_then(bld.icmp_signed(">", parts, int64(p + 1))):
                    lay_parts(p + 1, [bld.fsub(x, bld.bitcast(found, floats))
                                      for x, found in zip(pair, own, strict=True)], line)

        halves = ((first, lanes.first(near), source),
                  (second, lanes.first(far), bld.gep(source, [gap])))
        with cgutils.for_range(bld, int64(SQUARE), intp=int64) as loop:
            pair = []
            for count, mask, start in halves:
                inside = bld.icmp_signed("<", loop.index, count)
                pair.append(lanes.load(start, bld.mul(loop.index, s_row),
                                       bld.select(inside, mask, none), lanes.zero))
            lay_parts(0, pair, bld.gep(to, [bld.mul(loop.index, int64(SQUARE))]))
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, n, n, n, n, S, n, n, n, T, n), codegen


@kernel
def lay_along(parts, lines, left, X, x, x_line, x_term, T, t, scratch):
    """Pack one stretch of 16 lines, with terms along the rows of the tiles."""
    count = min(lines, np.int64(SQUARE))
    if x_term == 1:
        split_lines(parts, count, count, left, left - SQUARE, X, x, x_line, SQUARE, T, t)
    else:
        transpose(min(left, np.int64(STRETCH)), count, span(X, x, X.size), x_term, scratch,
                  np.int64(STRETCH))
        split_lines(parts, count, count, left, left - SQUARE, scratch, ZERO, STRETCH, SQUARE, T, t)


@kernel
def lay_across(parts, lines, left, X, x, x_line, x_term, T, t, scratch):
    """Pack one stretch of 16 lines, with terms down the columns of the tiles."""
    count = min(lines, np.int64(SQUARE))
    if x_line == 1:
        split_lines(parts, left, left - SQUARE, count, count, X, x, x_term, SQUARE * x_term, T, t)
    else:
        transpose(count, min(left, np.int64(STRETCH)), span(X, x, X.size), x_line, scratch,
                  np.int64(SQUARE))
        split_lines(parts, left, left - SQUARE, count, count, scratch, ZERO, SQUARE,
                    SQUARE * SQUARE, T, t)


@kernel
def lay(parts, across, lines, terms, X, x, x_line, x_term, T, scratch):
    """Pack ``parts`` of all lines into tiles; term k of line q is X[x + q * x_line + k * x_term].

    One of the strides is 1; X is read in the order of memory. The other separates rows with room
    for whole vectors. Tiles of a stretch follow those of the one before.
    """
    lots, stretches = (lines + SQUARE - 1) // SQUARE, (terms + STRETCH - 1) // STRETCH
    for n in range(lots * stretches):
        lot, step = (n // stretches, n % stretches) if x_term == 1 else (n % lots, n // lots)
        at = x + lot * SQUARE * x_line + step * STRETCH * x_term
        to, own, left = (lot * stretches + step) * parts * TILE, lines - lot * SQUARE, (
            terms - step * STRETCH)
        if across:
            lay_across(parts, own, left, X, at, x_line, x_term, T, to, scratch)
        else:
            lay_along(parts, own, left, X, at, x_line, x_term, T, to, scratch)
