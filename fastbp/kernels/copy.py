"""Copies of short rows: whole vectors, then one masked vector, as a loop costs several times
that where a row has fewer elements than a vector. Also prefetching of rows to be copied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._jit import DISABLED
from .lanes import Lanes, data_of
from .moves import prefetch_line
from .vectors import VECTOR_BYTES

#: Bytes of the vector used for a short remainder: a whole one would reach into the next cache
#: line, and have to wait for that as well.
_SHORT = 16


def _write(context: Any, builder: Any, array: Any, to: Any, count: Any,
           value: Callable[[Any, Any, Any], Any]) -> None:
    """Store ``value(lanes, at, mask)`` to ``count`` elements; mask is None for whole vectors."""
    i64 = ir.IntType(64)
    lanes = Lanes(context, builder, array)
    short = Lanes(context, builder, array, _SHORT)
    whole = builder.and_(count, i64(-lanes.n))

    def write_rest(lanes: Any) -> None:
        mask = lanes.first(rest)
        lanes.store(value(lanes, whole, mask), to, whole, mask)

    with cgutils.for_range_slice(builder, i64(0), whole, i64(lanes.n), i64) as (at, _):
        place = builder.bitcast(builder.gep(to, [at]), lanes.vector.as_pointer())
        builder.store(value(lanes, at, None), place, align=lanes.bits // 8)
    rest = builder.sub(count, whole)
    some, little = (builder.icmp_signed(sign, rest, i64(n))
                    for sign, n in ((">", 0), ("<=", short.n)))
    with builder.if_then(some), builder.if_else(little) as (one, other):
        with one:
            write_rest(short)
        with other:
            write_rest(lanes)


def _copy_row(typingctx, to, at, source, place, count):
    """to[at:at + count] = source[place:place + count], both flat, in the order of memory."""

    def codegen(context, builder, signature, args):
        start = builder.gep(data_of(context, builder, signature.args[0], args[0]), [args[1]])
        given = builder.gep(data_of(context, builder, signature.args[2], args[2]), [args[3]])

        def value(lanes, k, mask):
            if mask is not None:
                return lanes.load(given, k, mask, lanes.zero)
            pointer = builder.bitcast(builder.gep(given, [k]), lanes.vector.as_pointer())
            return builder.load(pointer, align=lanes.bits // 8)

        _write(context, builder, signature.args[0], start, args[4], value)
        return context.get_dummy_value()

    n = types.int64
    return types.void(to, n, source, n, n), codegen


def _clear_row(typingctx, to, at, count):
    """to[at:at + count] = 0."""

    def codegen(context, builder, signature, args):
        start = builder.gep(data_of(context, builder, signature.args[0], args[0]), [args[1]])
        _write(context, builder, signature.args[0], start, args[2],
               lambda lanes, k, mask: lanes.zero)
        return context.get_dummy_value()

    return types.void(to, types.int64, types.int64), codegen


def _prefetch_row(typingctx, source, place, count):
    """Prefetch source[place:place + count] into the L2 cache; ``count`` is at least 1."""

    def codegen(context, builder, signature, args):
        i64, data = ir.IntType(64), data_of(context, builder, signature.args[0], args[0])
        start, stop = (builder.ptrtoint(builder.gep(data, [at]), i64)
                       for at in (args[1], builder.add(args[1], args[2])))
        line = builder.and_(start, i64(-VECTOR_BYTES))
        with cgutils.for_range_slice(builder, line, stop, i64(VECTOR_BYTES), i64) as (at, _):
            prefetch_line(builder, builder.inttoptr(at, data.type), near=2)
        return context.get_dummy_value()

    return types.void(source, types.int64, types.int64), codegen


copy_row: Any = intrinsic(_copy_row)
clear_row: Any = intrinsic(_clear_row)
prefetch_row: Any = intrinsic(_prefetch_row)

if DISABLED:
    def copy_row(to, at, source, place, count):  # noqa: F811
        """The same in NumPy."""
        to[at:at + count] = source.reshape(-1)[place:place + count]

    def clear_row(to, at, count):  # noqa: F811
        """The same in NumPy."""
        to[at:at + count] = 0

    def prefetch_row(source, place, count):  # noqa: F811
        """Nothing: NumPy has no prefetch."""
