"""Code generation for vectors of a row's elements, and loops over them.

Padded rows have room for whole vectors; where a row may have any length the last vector is
masked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from .vectors import VECTOR_BYTES


def call_llvm(builder: Any, name: str, returns: Any, *args: Any) -> Any:
    """Call LLVM's (or C's) function ``name``, of the types of ``args``."""
    kind = ir.FunctionType(returns, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


class Lanes:
    """Vectors of one row's elements, and a loop over them with an accumulator for each result."""

    def __init__(self, context: Any, builder: Any, row_type: Any,
                 size: int = VECTOR_BYTES) -> None:
        self.context, self.builder = context, builder
        self.element = context.get_data_type(row_type.dtype)
        self.bits = row_type.dtype.bitwidth
        self.n = size * 8 // self.bits
        self.vector = ir.VectorType(self.element, self.n)
        self.zero = ir.Constant(self.vector, None)

    def splat(self, value: Any) -> Any:
        """``value`` in every lane."""
        i32 = ir.IntType(32)
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, value, i32(0))
        return self.builder.shuffle_vector(first, undefined,
                                           ir.Constant(ir.VectorType(i32, self.n), None))

    def load(self, data: Any, at: Any, mask: Any, other: Any) -> Any:
        """Lanes of ``mask`` from data[at:], ``other`` elsewhere."""
        pointer = self.builder.bitcast(self.builder.gep(data, [at]), self.vector.as_pointer())
        return call_llvm(self.builder, f"llvm.masked.load.v{self.n}f{self.bits}.p0", self.vector,
                         pointer, ir.IntType(32)(self.bits // 8), mask, other)

    def store(self, value: Any, data: Any, at: Any, mask: Any) -> None:
        """Lanes of ``mask`` to data[at:]."""
        pointer = self.builder.bitcast(self.builder.gep(data, [at]), self.vector.as_pointer())
        call_llvm(self.builder, f"llvm.masked.store.v{self.n}f{self.bits}.p0", ir.VoidType(),
                  value, pointer, ir.IntType(32)(self.bits // 8), mask)

    def first(self, count: Any) -> Any:
        """The mask of the first ``count`` lanes."""
        builder, i32 = self.builder, ir.IntType(32)
        most, wide = count.type(self.n), ir.VectorType(i32, self.n)
        count = builder.select(builder.icmp_signed("<", count, most), count, most)
        count = builder.insert_element(ir.Constant(wide, ir.Undefined),
                                       builder.trunc(count, i32), i32(0))
        count = builder.shuffle_vector(count, count, ir.Constant(wide, None))
        return builder.icmp_signed("<", ir.Constant(wide, list(range(self.n))), count)

    def run(self, count: Any, start: Sequence[Any], step: Callable[..., Sequence[Any]],
            stride: int | None = None) -> list[Any]:
        """Fold ``step(at, mask, accumulators)`` over the vectors of ``count`` elements.

        ``stride`` is the increment of ``at``, a vector by default. With 1, ``at`` counts rows and
        the mask is meaningless.
        """
        builder, i64 = self.builder, ir.IntType(64)
        entry, loop, done = builder.block, *(builder.append_basic_block() for _ in range(2))
        builder.branch(loop)
        builder.position_at_end(loop)
        at = builder.phi(i64)
        at.add_incoming(i64(0), entry)
        held = [builder.phi(self.vector) for _ in start]
        new = step(at, self.first(builder.sub(count, at)), held)
        for phi, first, following in zip(held, start, new, strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(following, builder.block)
        advanced = builder.add(at, i64(stride or self.n))
        at.add_incoming(advanced, builder.block)
        builder.cbranch(builder.icmp_signed("<", advanced, count), loop, done)
        builder.position_at_end(done)
        return list(new)

    def fold(self, value: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """Combine all lanes into one number, half with half."""
        i32, width = ir.IntType(32), self.n // 2
        while width:
            order = [(i + width) % self.n for i in range(self.n)]
            moved = self.builder.shuffle_vector(
                value, value, ir.Constant(ir.VectorType(i32, self.n), order))
            value, width = combine(value, moved), width // 2
        return self.builder.extract_element(value, i32(0))


def data_of(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    """Pointer to the first element of an array."""
    return context.make_array(array_type)(context, builder, array).data
