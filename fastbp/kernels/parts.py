"""Rows so short that four of them fit in a vector, as its parts (fourths)."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .moves import chosen
from .vectors import VECTOR_BYTES


class Rows:
    """Code that reads and writes rows of an array by whole vectors, or by the fourth of a vector.

    Parameters
    ----------
    context, builder
        Numba's context, and where the code goes.
    kind : numba type
        Of the array.
    array, start, stride, count : llvmlite values
        The array, the offset of the first row, the row stride, and the number of rows; None if
        all rows that are used exist.
    """

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any, start: Any,
                 stride: Any, count: Any = None) -> None:
        self._builder, self._stride, self._count = builder, stride, count
        self._data = builder.gep(context.make_array(kind)(context, builder, array).data, [start])
        self._element, self._size = context.get_data_type(kind.dtype), kind.dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self._size
        self.few = self.lanes // 4

    def at(self, row: int) -> tuple[Any, Any]:
        """Whether the row exists, and a pointer to it, or to the last row if it does not."""
        builder, int64 = self._builder, ir.IntType(64)
        inside, place = ir.IntType(1)(1), builder.mul(self._stride, int64(row))
        if self._count is not None:
            inside = builder.icmp_signed("<", int64(row), self._count)
            place = builder.select(inside, place, builder.mul(
                self._stride, builder.sub(self._count, int64(1))))
        return inside, builder.gep(self._data, [place])

    def part(self, start: Any, lanes: int) -> Any:
        """The ``lanes`` elements from a pointer on."""
        kind = ir.VectorType(self._element, lanes)
        return self._builder.load(self._builder.bitcast(start, kind.as_pointer()),
                                  align=self._size)

    def load(self, row: int, lanes: int) -> Any:
        """The row, or zeros if it does not exist."""
        inside, start = self.at(row)
        given = self.part(start, lanes)
        return self._builder.select(inside, given, ir.Constant(given.type, None))

    def store(self, value: Any, row: int) -> None:
        """Write the row, or the last one if it does not exist."""
        self._builder.store(value, self._builder.bitcast(self.at(row)[1], value.type.as_pointer()),
                            align=self._size)


def alone(builder: Any, vector: Any, q: int) -> Any:
    """Part ``q`` of four moved to the front, then zeros."""
    lanes, few = vector.type.count, vector.type.count // 4
    return chosen(builder, vector, ir.Constant(vector.type, None),
                  [*range(q * few, (q + 1) * few), *range(lanes, 2 * lanes - few)])
