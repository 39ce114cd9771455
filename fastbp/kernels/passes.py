"""Passes over rows whose body is a formula, written once: it works on LLVM vectors and on NumPy
arrays.

A loop compiled by Numba would check each time whether its arrays overlap, process rows shorter
than a few vectors element by element, and accumulate a sum one number after the other.

All arrays and numbers are of one dtype. A formula returns two tuples: what is stored, an element
of each array ``to``, and what is summed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._jit import DISABLED
from .lanes import Lanes, call_llvm, data_of

Formula = Callable[..., tuple[tuple[Any, ...], tuple[Any, ...]]]

#: Vectors side by side in a pass down columns: each addition to a sum waits for the one before.
_SIDE_BY_SIDE = 4


class Vector:
    """An LLVM vector, with the operators that a formula uses."""

    def __init__(self, lanes: Lanes, value: Any) -> None:
        self.lanes, self.value = lanes, value

    def _with(self, other: Any, operation: str, swapped: bool = False) -> Vector:
        if not isinstance(other, Vector):
            other = Vector(self.lanes, self.lanes.splat(self.lanes.element(other)))
        a, b = (other, self) if swapped else (self, other)
        function = getattr(self.lanes.builder, operation)
        return Vector(self.lanes, function(a.value, b.value, flags=("contract",)))

    def __add__(self, other: Any) -> Vector:
        return self._with(other, "fadd")

    def __sub__(self, other: Any) -> Vector:
        return self._with(other, "fsub")

    def __mul__(self, other: Any) -> Vector:
        return self._with(other, "fmul")

    def __truediv__(self, other: Any) -> Vector:
        return self._with(other, "fdiv")

    def __rtruediv__(self, other: Any) -> Vector:
        return self._with(other, "fdiv", swapped=True)

    def sqrt(self) -> Vector:
        """Square root of each lane; NumPy's ``sqrt`` calls the method of this name."""
        lanes = self.lanes
        return Vector(lanes, call_llvm(lanes.builder, f"llvm.sqrt.v{lanes.n}f{lanes.bits}",
                                       lanes.vector, self.value))


def if_equal(x: Any, y: Any, this: Any, that: Any) -> Any:
    """``this`` where x is y, else ``that``, in a formula."""
    if not isinstance(x, Vector):
        return np.where(x == y, this, that)
    builder = x.lanes.builder
    same = builder.fcmp_ordered("==", x.value, y.value)
    return Vector(x.lanes, builder.select(same, this.value, that.value))


def rounded_product(x: Any, y: Any) -> Any:
    """x y in a formula, rounded by itself: never fused into a multiply-add."""
    if not isinstance(x, Vector):
        return x * y
    return Vector(x.lanes, x.lanes.builder.fmul(x.value, y.value))


def root(x: Any) -> Any:
    """Square root in a formula."""
    return x.sqrt() if isinstance(x, Vector) else np.sqrt(x)


class _Pass:
    """What both kinds of pass generate: loads and stores of vectors, whole or masked."""

    def __init__(self, context: Any, builder: Any, like: Any, highest: bool = False) -> None:
        self.context, self.builder, self.highest = context, builder, highest
        self.lanes = Lanes(context, builder, like)

    def data(self, kinds: Any, arrays: Any) -> list[Any]:
        """Pointer to the first element of each of a tuple of arrays."""
        return [data_of(self.context, self.builder, kind, array) for kind, array in
                zip(kinds, cgutils.unpack_tuple(self.builder, arrays, len(kinds)), strict=True)]

    def splat(self, values: Iterable[Any]) -> list[Vector]:
        """Each of these numbers in every lane."""
        return [Vector(self.lanes, self.lanes.splat(value)) for value in values]

    def load(self, data: Any, at: Any, mask: Any) -> Vector:
        """The vector at data[at:]; with a ``mask``, 0 in the other lanes."""
        if mask is not None:
            return Vector(self.lanes, self.lanes.load(data, at, mask, self.lanes.zero))
        return Vector(self.lanes, self.builder.load(self._place(data, at),
                                                    align=self.lanes.bits // 8))

    def store(self, value: Any, data: Any, at: Any, mask: Any) -> None:
        """Store the vector at data[at:]; with a ``mask``, only its lanes."""
        if mask is not None:
            self.lanes.store(value, data, at, mask)
        else:
            self.builder.store(value, self._place(data, at), align=self.lanes.bits // 8)

    def apply(self, formula: Formula, values: Iterable[Vector], targets: Iterable[tuple[Any, Any]],
              totals: Iterable[Any], mask: Any) -> None:
        """Apply the formula to ``values``: store to the (data, at) of ``targets``, add to
        ``totals``."""
        stored, summed = formula(*values)
        for vector, (data, at) in zip(stored, targets, strict=True):
            self.store(vector.value, data, at, mask)
        for vector, total in zip(summed, totals, strict=True):
            new = vector.value
            if mask is not None:
                new = self.builder.select(mask, new, self.lanes.zero)
            self.builder.store(self._joined(self.builder.load(total), new), total)

    def _joined(self, total: Any, new: Any) -> Any:
        if self.highest:  # NaN never is
            return self.builder.select(self.builder.fcmp_ordered(">", new, total), new, total)
        return self.builder.fadd(total, new)

    def _place(self, data: Any, at: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(data, [at]), self.lanes.vector.as_pointer())


def along_row(formula: Formula, sums: int = 0) -> Any:
    """Make f(n, given, numbers, to): a pass over the ``n`` numbers of a row.

    The formula takes an element of each array ``given``, then the ``numbers``. Its sums are
    returned, accumulated in each lane and then over the lanes by halves.
    """

    def codegen(context, builder, signature, args):
        n, given, numbers, to = args
        work = _Pass(context, builder, signature.args[1][0])
        lanes, i64 = work.lanes, ir.IntType(64)
        sources, targets = work.data(signature.args[1], given), work.data(signature.args[3], to)
        scalars = work.splat(cgutils.unpack_tuple(builder, numbers, len(signature.args[2])))
        totals = [cgutils.alloca_once_value(builder, lanes.zero) for _ in range(sums)]

        def at_place(at: Any, mask: Any = None) -> None:
            work.apply(formula, [*(work.load(data, at, mask) for data in sources), *scalars],
                       [(data, at) for data in targets], totals, mask)

        whole = builder.and_(n, i64(-lanes.n))
        with cgutils.for_range_slice(builder, i64(0), whole, i64(lanes.n), i64) as (at, _):
            at_place(at)
        rest = builder.sub(n, whole)
        with builder.if_then(builder.icmp_signed(">", rest, i64(0))):
            at_place(whole, lanes.first(rest))
        return context.make_tuple(builder, signature.return_type, [
            lanes.fold(builder.load(total), builder.fadd) for total in totals])

    def typed(typingctx, n, given, numbers, to):
        return types.UniTuple(given[0].dtype, sums)(types.int64, given, numbers, to), codegen

    def python(n, given, numbers, to):
        stored, summed = formula(*(one[:n] for one in given), *numbers)
        for value, out in zip(stored, to, strict=True):
            out[:n] = value
        return tuple(value.sum() for value in summed)

    return python if DISABLED else intrinsic(typed)


def down_columns(formula: Formula, sums: int = 0, row_numbers: int = 0, *,
                 highest: bool = False) -> Any:
    """Make f(rows, n, ld, given, columns, numbers, of_rows, to, totals): a pass over rows of n.

    The formula takes an element of each array ``given``, that of each of ``columns`` for its
    column, the ``numbers``, then the ``row_numbers`` that the one array in ``of_rows`` has for
    each row, if any. Its sums over the rows are added to ``totals``, in the order of the rows; if
    ``highest``, ``totals`` become the maximum instead.
    """

    def codegen(context, builder, signature, args):
        rows, n, ld = args[:3]
        work = _Pass(context, builder, signature.args[3][0], highest)
        lanes, i64 = work.lanes, ir.IntType(64)
        sources, constants, targets, results = (
            work.data(signature.args[i], args[i]) for i in (3, 4, 7, 8))
        scalars = work.splat(cgutils.unpack_tuple(builder, args[5], len(signature.args[5])))
        of_rows = work.data(signature.args[6], args[6])

        def group(left: Any, width: int, mask: Any = None) -> None:
            """All rows of the ``width`` vectors of columns from ``left`` on."""
            places = [builder.add(left, i64(k * lanes.n)) for k in range(width)]
            fixed = [[work.load(data, at, mask) for data in constants] for at in places]
            held = [[cgutils.alloca_once_value(builder, work.load(data, at, mask).value)
                     for data in results] for at in places]
            with cgutils.for_range(builder, rows, intp=i64) as loop:
                row, own = builder.mul(loop.index, ld), builder.mul(loop.index, i64(row_numbers))
                of_row = work.splat(builder.load(builder.gep(data, [builder.add(own, i64(k))]))
                                    for data in of_rows for k in range(row_numbers))
                for at, of_column, own_sums in zip(places, fixed, held, strict=True):
                    here = builder.add(row, at)
                    work.apply(formula, [*(work.load(data, here, mask) for data in sources),
                                         *of_column, *scalars, *of_row],
                               [(data, here) for data in targets], own_sums, mask)
            for at, own_sums in zip(places, held, strict=True):
                for data, total in zip(results, own_sums, strict=True):
                    work.store(builder.load(total), data, at, mask)

        one, some = i64(lanes.n), i64(_SIDE_BY_SIDE * lanes.n)
        whole, most = builder.and_(n, i64(-lanes.n)), builder.mul(builder.sdiv(n, some), some)
        with cgutils.for_range_slice(builder, i64(0), most, some, i64) as (left, _):
            group(left, _SIDE_BY_SIDE)
        with cgutils.for_range_slice(builder, most, whole, one, i64) as (left, _):
            group(left, 1)
        rest = builder.sub(n, whole)
        with builder.if_then(builder.icmp_signed(">", rest, i64(0))):
            group(whole, 1, lanes.first(rest))
        return context.get_dummy_value()

    def typed(typingctx, rows, n, ld, given, columns, numbers, of_rows, to, totals):
        return types.void(*[types.int64] * 3, given, columns, numbers, of_rows, to,
                          totals), codegen

    def python(rows, n, ld, given, columns, numbers, of_rows, to, totals):
        for r in range(rows):
            here = slice(r * ld, r * ld + n)
            stored, summed = formula(*(one[here] for one in given), *(one[:n] for one in columns),
                                     *numbers, *(value for one in of_rows
                                       for value in one[r * row_numbers:(r + 1) * row_numbers]))
            for value, out in zip(stored, to, strict=True):
                out[here] = value
            for value, out in zip(summed, totals, strict=True):
                out[:n] = np.where(value > out[:n], value, out[:n]) if highest else out[:n] + value

    return python if DISABLED else intrinsic(typed)
