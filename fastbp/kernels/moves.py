"""Copies that a register tile makes while it multiplies.

A separate copy waits for memory while the multipliers idle: 8 to 15 % of a product with weights
larger than the L2 cache. Interleaved with the multiply-adds it takes 1 to 3 %.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from .lanes import call_llvm

#: Iterations of the tile's loop for each piece copied, a power of 2.
_TURNS = 4
#: Prefetch distances: lines ahead of the copy, and cache lines of a row ahead of the block.
_LINES_AHEAD, _BLOCKS_AHEAD = 4, 2
_INT = ir.IntType(64)


def prefetch_line(builder: Any, pointer: Any, write: bool = False, near: int = 3) -> None:
    """Prefetch the cache line at ``pointer``, valid or not, into the L1 cache, or with ``near`` 2
    into the L2 cache."""
    i8p, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
    call_llvm(builder, "llvm.prefetch.p0", ir.VoidType(), builder.bitcast(pointer, i8p),
              i32(int(write)), i32(near), i32(1))


def chosen(builder: Any, first: Any, second: Any, order: Iterable[int]) -> Any:
    """A shuffle: lanes of two vectors, numbered consecutively, in this order."""
    i32 = ir.IntType(32)
    mask = [i32(n) for n in order]
    return builder.shuffle_vector(first, second,
                                  ir.Constant(ir.VectorType(i32, len(mask)), mask))


def side_by_side(builder: Any, parts: list[Any]) -> Any:
    """Four parts as one vector."""
    few = parts[0].type.count
    low, high = (chosen(builder, *pair, range(2 * few))
                 for pair in ((parts[0], parts[1]), (parts[2], parts[3])))
    return chosen(builder, low, high, range(4 * few))


def turned(builder: Any, vectors: list[Any]) -> list[Any]:
    """The vectors, as rows of square blocks side by side, with each block transposed."""
    lanes, vectors, apart = vectors[0].type.count, list(vectors), 1
    while apart < len(vectors):  # swap the off-diagonal quarters of squares of 2 x apart
        low = [t if not t & apart else lanes + t - apart for t in range(lanes)]
        high = [t + apart if not t & apart else lanes + t for t in range(lanes)]
        for i in range(len(vectors)):
            if not i & apart:
                pair = vectors[i], vectors[i + apart]
                vectors[i], vectors[i + apart] = (
                    chosen(builder, *pair, order) for order in (low, high))
        apart *= 2
    return vectors


class Lines:
    """Code that copies lines of ``width`` vectors each.

    Parameters
    ----------
    builder : IRBuilder
        Where the tile begins.
    vector : llvmlite type
    to, to_row, source, source_row : llvmlite values
        Pointers to elements, and strides of the lines in elements.
    width, count : llvmlite integers
        Number of vectors in a line, and of lines.
    """

    def __init__(self, builder: Any, vector: Any, to: Any, to_row: Any, source: Any,
                 source_row: Any, width: Any, count: Any) -> None:
        self._builder, self._width, self._count = builder, width, count
        self._to, self._to_row, self._source, self._source_row = to, to_row, source, source_row
        self._element, self._lanes = vector.element, vector.count
        self._size = 4 if vector.element == ir.FloatType() else 8
        self._moved = cgutils.alloca_once_value(builder, _INT(0))

    def moved(self) -> Any:
        """How many lines or blocks have been copied."""
        return self._builder.load(self._moved)

    def move_at_times(self, left: Any, sums: Iterable[Any], register: str) -> None:
        """Copy one more, if any, in every ``_TURNS``-th iteration; ``left`` iterations remain. It
        comes after all ``sums``, or LLVM would defer multiply-adds and spill their operands."""
        builder = self._builder
        first = [builder.extract_element(one, ir.IntType(32)(0)) for one in sums if register]
        known = ir.FunctionType(_INT, [_INT, *[self._element] * len(first)])
        left = builder.asm(known, "", "=r,0" + register * len(first), [left, *first], False)
        due = builder.icmp_signed("==", builder.and_(left, _INT(_TURNS - 1)), _INT(0))
        with builder.if_then(due, likely=False):
            at = self.moved()
            with builder.if_then(builder.icmp_signed("<", at, self._count)):
                self._copy(at)
                builder.store(builder.add(at, _INT(1)), self._moved)

    def _place(self, base: Any, row: Any, number: Any, start: Any, lanes: int) -> Any:
        """Pointer to ``lanes`` elements of row ``number``, from element ``start`` on."""
        at = self._builder.add(self._builder.mul(row, number), start)
        kind = ir.VectorType(self._element, lanes)
        return self._builder.bitcast(self._builder.gep(base, [at]), kind.as_pointer())

    def _copy(self, at: Any) -> None:
        builder, size = self._builder, self._size
        later = builder.add(at, _INT(_LINES_AHEAD))
        with cgutils.for_range(builder, self._width, intp=_INT) as loop:
            start = builder.mul(loop.index, _INT(self._lanes))
            to, source, ahead = (self._place(*line, start, self._lanes) for line in (
                (self._to, self._to_row, at), (self._source, self._source_row, at),
                (self._source, self._source_row, later)))
            builder.store(builder.load(source, align=size), to, align=size)
            prefetch_line(builder, ahead)


class Blocks(Lines):
    """Code that transposes blocks: 16 bytes of as many rows as a vector has lanes, ``width``
    blocks along the rows, then the next rows."""

    def _copy(self, at: Any) -> None:
        builder, lanes, few = self._builder, self._lanes, 16 // self._size
        rows, part = builder.udiv(at, self._width), builder.urem(at, self._width)
        row, start = builder.mul(rows, _INT(lanes)), builder.mul(part, _INT(few))

        vectors = []  # each holds rows ``few`` apart
        for r in range(few):
            given = [builder.load(self._place(self._source, self._source_row,
                                              builder.add(row, _INT(q)), start, few),
                                  align=self._size) for q in range(r, lanes, few)]
            vectors.append(side_by_side(builder, given))
        for t, vector in enumerate(turned(builder, vectors)):
            to = self._place(self._to, self._to_row, builder.add(start, _INT(t)), row, lanes)
            builder.store(vector, to, align=self._size)
        # A cache line of a row holds four blocks: at each, prefetch for a fourth of the rows.
        fourth = builder.mul(builder.and_(part, _INT(3)), _INT(lanes // 4))
        later = builder.add(builder.mul(builder.lshr(part, _INT(2)), _INT(lanes)),
                            _INT(_BLOCKS_AHEAD * lanes))
        for r in range(lanes // 4):
            number = builder.add(builder.add(row, fourth), _INT(r))
            prefetch_line(builder, self._place(
                self._source, self._source_row, number, later, lanes))
