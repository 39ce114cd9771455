"""The LLVM code of a register tile (see ``tile`` for what it computes).

A tile keeps ``tile_rows`` x ``vectors`` accumulators in registers while a loop runs over the
terms. The code branches on the mode before the loop (where sums start) and after it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from .moves import prefetch_line
from .vectors import REGISTER, VECTOR_BYTES

#: Terms per iteration of the k loop in wide tiles. The loop's own instructions are a tenth of one
#: term's, and matter where another hardware thread shares the core.
UNROLL = 4

_INT, _LANE = ir.IntType(64), ir.IntType(32)
_Rows = list[list[Any]]  # vectors of each row of the tile


class TileCode:
    """Writes the code of a tile where ``bld`` stands.

    Parameters
    ----------
    context, bld, sig, args
        As Numba gives them to the code generator of an intrinsic.
    tile_rows, vectors : int
        Accumulators.
    pick : {"", "rows", "terms"}
        Whether A is lines of memory picked by number, and what these are.
    moves : class of ``moves``, optional
        What is copied meanwhile.
    modes : tuple
        ADD, SCALE, MASK and CLIP, of ``tile``.
    """

    def __init__(self, context: Any, bld: Any, sig: Any, args: Any, tile_rows: int, vectors: int,
                 pick: str, moves: Any, modes: tuple[Any, ...]) -> None:
        self.bld, self.tile_rows, self.vectors, self.pick = bld, tile_rows, vectors, pick
        (self.rows, self.n_terms, A, a, a_row, self.a_k, B, b, self.b_k, C, c, self.c_row, I, i,  # noqa: E741
         i_row, mode, scale) = args[:17]
        dtype = sig.args[2].dtype
        self.element = context.get_data_type(dtype)
        self.size, self.lanes = dtype.bitwidth // 8, VECTOR_BYTES * 8 // dtype.bitwidth
        self.vec = ir.VectorType(self.element, self.lanes)
        self.zero = ir.Constant(self.vec, None)
        self.fma = cgutils.get_or_insert_function(
            bld.module, ir.FunctionType(self.vec, [self.vec] * 3),
            f"llvm.fma.v{self.lanes}f{dtype.bitwidth}")

        def base(position: int, array: Any, offset: Any) -> Any:
            data = context.make_array(sig.args[position])(context, bld, array).data
            return bld.gep(data, [offset])

        self.a_start = _INT(0)
        if pick:
            self.lines = context.make_array(sig.args[4])(context, bld, a_row).data
            self.line, self.a_k = self.a_k, _INT(1 if pick == "rows" else 8)
        if pick == "terms":
            self.a_start = bld.ptrtoint(self.lines, _INT)
            self.steps = _INT(0), bld.mul(args[17], _INT(8))
        a_base, self.b_base, c_base, i_base = (
            base(2, A, a), base(6, B, b), base(9, C, c), base(12, I, i))
        self.bases = a_base, c_base, i_base
        self.strides = _INT(1) if pick else a_row, self.c_row, i_row
        add, scaled, mask, clip = modes
        kind = bld.and_(mode, _INT(clip - 1))
        self.added, self.scaled, self.masked = (bld.icmp_signed("==", kind, _INT(one))
                                                for one in (add, scaled, mask))
        self.clipped = bld.icmp_signed(">=", mode, _INT(clip))
        self.factor = self.wide(scale)
        self.meanwhile = None
        if moves:
            to, t, t_row, source, first, s_row, *sizes = args[17:]
            self.meanwhile = moves(bld, self.vec, base(17, to, t), t_row,
                                   base(20, source, first), s_row, *sizes)

    def write(self) -> Any:
        """All tiles; returns how many pieces were moved meanwhile, or None.

        Rows of whole tiles lie at the same places from the first; then comes one of fewer rows.
        """
        bld, height = self.bld, _INT(self.tile_rows)
        start, segment, end = bld.block, bld.append_basic_block(), bld.append_basic_block()
        bld.cbranch(bld.icmp_signed(">", self.rows, _INT(0)), segment, end)
        bld.position_at_end(segment)
        first = bld.phi(_INT)
        left = bld.sub(self.rows, first)
        few = bld.icmp_unsigned("<", left, height)
        stop = bld.select(few, self.rows, bld.sub(self.rows, bld.urem(left, height)))
        last = bld.sub(left, _INT(1))
        row = [_INT(0), *(bld.select(bld.icmp_signed("<", _INT(r), last), _INT(r), last)
                          for r in range(1, self.tile_rows))]
        places = [[bld.mul(stride, r) for r in row] for stride in self.strides]
        with cgutils.for_range_slice(bld, first, stop, height, _INT) as (at, _):
            self.one_tile(at, places)
        first.add_incoming(_INT(0), start)
        first.add_incoming(stop, bld.block)
        bld.cbranch(bld.icmp_signed("<", stop, self.rows), segment, end)
        bld.position_at_end(end)
        return self.meanwhile.moved() if self.meanwhile else None

    def one_tile(self, first: Any, places: _Rows) -> None:
        """The tile from row ``first`` on, its rows at offsets ``places`` in A, C and I."""
        bld = self.bld
        a_rows, c_rows, i_rows = (
            [bld.gep(bld.gep(base, [bld.mul(stride, first)]), [place]) for place in own]
            for base, stride, own in zip(self.bases, self.strides, places, strict=True))
        if self.pick == "rows":
            a_rows = [bld.gep(self.bases[0], [self.line_at(bld.add(first, r))])
                      for r in places[0]]
        for place in c_rows if self.meanwhile else ():  # prefetch those of the next tile
            below = bld.gep(place, [bld.mul(self.c_row, _INT(self.tile_rows))])
            for v in range(self.vectors):
                prefetch_line(bld, self.vector_at(below, v), True)
        straight = bld.block
        with bld.if_then(self.added):
            given = self.load_all(i_rows)
            detour = bld.block
        total = [[self.either(self.zero, one, straight, detour) for one in row] for row in given]
        at = self.a_start, _INT(0)
        if self.vectors > 2:
            at, total = self.loop_if(bld.udiv(self.n_terms, _INT(UNROLL)), UNROLL, a_rows, at,
                                     total)
            at, total = self.loop_if(bld.urem(self.n_terms, _INT(UNROLL)), 1, a_rows, at, total)
        else:
            at, total = self.loop(self.n_terms, 1, a_rows, at, total)
        zero = self.zero
        total = self.changed(self.scaled, total, i_rows,
                             lambda s, i: bld.call(self.fma, [self.factor, s, i]))
        total = self.changed(self.masked, total, i_rows, lambda s, i: bld.select(
            bld.fcmp_ordered("==", i, zero), zero, s))
        total = self.changed(self.clipped, total, i_rows, lambda s, i: bld.select(
            bld.fcmp_ordered("<", s, zero), zero, s))
        for row, place in zip(total, c_rows, strict=True):
            for v, vector in enumerate(row):
                bld.store(vector, self.vector_at(place, v), align=self.size)

    def loop(self, times: Any, count: int, a_rows: list[Any], at: Any, acc: _Rows) -> Any:
        """``terms`` of ``count``, ``times`` times but at least once; returns what it returns."""
        bld, entry, body = self.bld, self.bld.block, self.bld.append_basic_block()
        bld.branch(body)
        bld.position_at_end(body)
        left, held = bld.phi(_INT), [bld.phi(_INT), bld.phi(_INT)]
        sums = [[bld.phi(self.vec) for _ in row] for row in acc]
        after, new = self.terms(count, a_rows, held, sums)
        if self.meanwhile and count == UNROLL:
            self.meanwhile.move_at_times(left, itertools.chain(*new), REGISTER)
        last_block = bld.block
        fewer = bld.sub(left, _INT(1))
        for phi, first, last in zip((left, *held, *itertools.chain(*sums)),
                                    (times, *at, *itertools.chain(*acc)),
                                    (fewer, *after, *itertools.chain(*new)), strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(last, last_block)
        done = bld.append_basic_block()
        bld.cbranch(bld.icmp_signed(">", fewer, _INT(0)), body, done)
        bld.position_at_end(done)
        return after, new

    def loop_if(self, times: Any, count: int, a_rows: list[Any], at: Any, acc: _Rows) -> Any:
        """The same, if ``times`` is not 0."""
        bld, entry = self.bld, self.bld.block
        some, done = bld.append_basic_block(), bld.append_basic_block()
        bld.cbranch(bld.icmp_signed(">", times, _INT(0)), some, done)
        bld.position_at_end(some)
        after, new = self.loop(times, count, a_rows, at, acc)
        last = bld.block
        bld.branch(done)
        bld.position_at_end(done)
        either = partial(self.either, before=entry, detour=last)
        return ([either(*pair) for pair in zip(at, after, strict=True)],
                [[either(*pair) for pair in zip(*rows, strict=True)]
                 for rows in zip(acc, new, strict=True)])

    def terms(self, count: int, a_rows: list[Any], at: Any, sums: _Rows) -> Any:
        """The position after ``count`` more terms, and the sums including them."""
        bld, tie = self.bld, REGISTER if self.pick == "terms" else ""
        # Empty inline assembly: LLVM cannot see that its result equals its operand. Otherwise it
        # loads A and B for all terms of an iteration first, runs out of registers and spills
        # sums. With picked terms one suffices, but it seems to need a sum as an operand.
        unknown = ir.FunctionType(_INT, [_INT, *([self.element] if tie else [])])
        (a_at, b_at), acc = at, [list(row) for row in sums]
        for _ in range(count):
            b_row = bld.gep(self.b_base, [b_at])
            b_vec = [bld.load(self.vector_at(b_row, v), align=self.size)
                     for v in range(self.vectors)]
            term = self.picked_term(a_at, a_rows[0]) if self.pick == "terms" else a_at
            for r, a_row in enumerate(a_rows):
                wide = self.wide(bld.load(bld.gep(a_row, [term])))
                acc[r] = [bld.call(self.fma, [wide, *pair])
                          for pair in zip(b_vec, acc[r], strict=True)]
            a_at = bld.asm(unknown, "", "=r,0" + tie, [bld.add(a_at, self.a_k), *(
                [bld.extract_element(acc[-1][-1], _LANE(0))] if tie else [])], False)
            b_at = bld.add(b_at, self.b_k)
            if count > 1 and not tie:
                b_at = bld.asm(ir.FunctionType(_INT, [_INT]), "", "=r,0", [b_at], False)
        return (a_at, b_at), acc

    def picked_term(self, a_at: Any, a_row: Any) -> Any:
        """The place of the term whose number is at address ``a_at``; prefetches a later one."""
        bld = self.bld
        term, later = (bld.mul(bld.load(bld.inttoptr(
            bld.add(a_at, far), _INT.as_pointer())), self.line) for far in self.steps)
        prefetch_line(bld, bld.gep(a_row, [later]), near=2)
        return term

    def changed(self, asked: Any, total: _Rows, i_rows: list[Any],
                change: Callable[[Any, Any], Any]) -> _Rows:
        """The sums, or ``change(sum, I)`` of each if ``asked``."""
        bld, straight = self.bld, self.bld.block
        with bld.if_then(asked):  # all are loaded before the first store
            given = self.load_all(i_rows)
            moved = [[change(*pair) for pair in zip(*rows, strict=True)]
                     for rows in zip(total, given, strict=True)]
            detour = bld.block
        return [[self.either(*pair, straight, detour) for pair in zip(*rows, strict=True)]
                for rows in zip(total, moved, strict=True)]

    def either(self, first: Any, other: Any, before: Any, detour: Any) -> Any:
        """``first`` if control comes from the block ``before``, ``other`` if from ``detour``."""
        value = self.bld.phi(first.type)
        value.add_incoming(first, before)
        value.add_incoming(other, detour)
        return value

    def line_at(self, number: Any) -> Any:
        """Offset of picked line ``number``."""
        return self.bld.mul(self.bld.load(self.bld.gep(self.lines, [number])), self.line)

    def vector_at(self, pointer: Any, v: int) -> Any:
        """Pointer to vector ``v`` of the row at ``pointer``."""
        moved = self.bld.gep(pointer, [_INT(v * self.lanes)])
        return self.bld.bitcast(moved, self.vec.as_pointer())

    def load_all(self, pointers: list[Any]) -> _Rows:
        """The vectors of the tile at each of ``pointers``."""
        return [[self.bld.load(self.vector_at(p, v), align=self.size)
                 for v in range(self.vectors)] for p in pointers]

    def wide(self, scalar: Any) -> Any:
        """``scalar`` in every lane of a vector."""
        undef = ir.Constant(self.vec, ir.Undefined)
        one = self.bld.insert_element(undef, scalar, _LANE(0))
        return self.bld.shuffle_vector(one, undef, ir.Constant(
            ir.VectorType(_LANE, self.lanes), None))
