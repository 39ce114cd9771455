"""Vectorised reductions over a row, or a block of short ones: lane by lane, then a fixed tree
over the lanes.

LLVM preserves the order of a float sum and so adds one number at a time; here the order is
chosen, and the same for every row. The last, partial vector is masked: a row may have any length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .._jit import DISABLED
from .lanes import Lanes, call_llvm, data_of


def _row_max(typingctx, x, n):
    """Largest of the first ``n`` numbers of x that are not NaN; -inf where there is none."""

    def codegen(context, builder, signature, args):
        lanes = Lanes(context, builder, signature.args[0])
        data = data_of(context, builder, signature.args[0], args[0])
        lowest = lanes.splat(ir.Constant(lanes.element, -math.inf))

        def larger(a, b):
            return builder.select(builder.fcmp_ordered(">", b, a), b, a)

        (high,) = lanes.run(args[1], [lowest], lambda at, mask, held: [
            larger(held[0], lanes.load(data, at, mask, lowest))])
        return lanes.fold(high, larger)

    return x.dtype(x, types.int64), codegen


def _entropy_terms(typingctx, x, p, t, n, high):
    """Sums for the cross-entropy of one row of logits x, with p = e^(x - high):

    (sum of p where x is not high; number of x that are high; sum of t; sum of t (high - x)
    where t is not 0 and x not high).
    """

    def codegen(context, builder, signature, args):
        lanes = Lanes(context, builder, signature.args[0])
        x, p, t = (data_of(context, builder, signature.args[i], args[i]) for i in range(3))
        top, one = lanes.splat(args[4]), lanes.splat(ir.Constant(lanes.element, 1.0))
        zero = lanes.zero

        def step(at, mask, held):
            a, e, w = (lanes.load(d, at, mask, zero) for d in (x, p, t))
            is_top = builder.and_(builder.fcmp_ordered("==", a, top), mask)
            silent = builder.or_(builder.fcmp_ordered("==", w, zero), is_top)
            gap = builder.fmul(w, builder.fsub(top, a))
            new = (builder.select(is_top, zero, e), builder.select(is_top, one, zero), w,
                   builder.select(silent, zero, gap))
            return [builder.fadd(h, v) for h, v in zip(held, new, strict=True)]

        sums = lanes.run(args[3], [zero] * 4, step)
        return context.make_tuple(builder, signature.return_type,
                                  [lanes.fold(s, builder.fadd) for s in sums])

    return types.UniTuple(x.dtype, 4)(x, p, t, types.int64, x.dtype), codegen


def _row_sum(typingctx, x, n):
    """Sum of the first ``n`` numbers of x."""

    def codegen(context, builder, signature, args):
        lanes = Lanes(context, builder, signature.args[0])
        data = data_of(context, builder, signature.args[0], args[0])
        (total,) = lanes.run(args[1], [lanes.zero], lambda at, mask, held: [
            builder.fadd(held[0], lanes.load(data, at, mask, lanes.zero))])
        return lanes.fold(total, builder.fadd)

    return x.dtype(x, types.int64), codegen


def _wide_sum(typingctx, x, n):
    """Sum of the first ``n`` numbers of x, in float64."""

    def codegen(context, builder, signature, args):
        wide = Lanes(context, builder, types.Array(types.float64, 1, "C"))
        own = Lanes(context, builder, signature.args[0],
                    wide.n * signature.args[0].dtype.bitwidth // 8)
        data = data_of(context, builder, signature.args[0], args[0])

        def step(at, mask, held):
            v = own.load(data, at, mask, own.zero)
            if own.bits < wide.bits:
                v = builder.fpext(v, wide.vector)
            return [builder.fadd(held[0], v)]

        (total,) = wide.run(args[1], [wide.zero], step)
        return wide.fold(total, builder.fadd)

    return types.float64(x, types.int64), codegen


def _squares(typingctx, x, t, n):
    """Sum of (x - t)^2 over the first ``n`` numbers of each."""

    def codegen(context, builder, signature, args):
        lanes = Lanes(context, builder, signature.args[0])
        x, t = (data_of(context, builder, signature.args[i], args[i]) for i in range(2))

        def step(at, mask, held):
            d = builder.fsub(*(lanes.load(data, at, mask, lanes.zero) for data in (x, t)))
            return [builder.fadd(held[0], builder.fmul(d, d))]

        (total,) = lanes.run(args[2], [lanes.zero], step)
        return lanes.fold(total, builder.fadd)

    return x.dtype(x, t, types.int64), codegen


def _add_magnitudes(lanes: Lanes, builder: Any, held: Sequence[Any], v: Any) -> list[Any]:
    """Add |v| and v^2 to the accumulators ``held``."""
    size = call_llvm(builder, f"llvm.fabs.v{lanes.n}f{lanes.bits}", lanes.vector, v)
    return [builder.fadd(held[0], size),
            builder.fadd(held[1], builder.fmul(v, v))]


def _block_magnitudes(typingctx, x, rows, ld, n):
    """(sum of |x|, sum of x^2) of ``rows`` rows of ``n`` numbers, at most a vector, stride ``ld``.

    Each lane sums down its column, then the lanes are added.
    """

    def codegen(context, builder, signature, args):
        lanes = Lanes(context, builder, signature.args[0])
        data, mask = data_of(context, builder, signature.args[0], args[0]), lanes.first(args[3])
        sums = lanes.run(args[1], [lanes.zero] * 2, lambda row, _, held: _add_magnitudes(
            lanes, builder, held,
            lanes.load(data, builder.mul(row, args[2]), mask, lanes.zero)), stride=1)
        return context.make_tuple(builder, signature.return_type,
                                  [lanes.fold(s, builder.fadd) for s in sums])

    return types.UniTuple(x.dtype, 2)(x, types.int64, types.int64, types.int64), codegen


row_max: Any = intrinsic(_row_max)
row_sum: Any = intrinsic(_row_sum)
wide_sum: Any = intrinsic(_wide_sum)
entropy_terms: Any = intrinsic(_entropy_terms)
block_magnitudes: Any = intrinsic(_block_magnitudes)
squares: Any = intrinsic(_squares)

if DISABLED:
    import numpy as np

    def row_max(x, n):  # noqa: F811
        """The same in NumPy."""
        return np.fmax.reduce(x[:n], initial=x.dtype.type(-np.inf))

    def row_sum(x, n):  # noqa: F811
        """The same in NumPy."""
        return x[:n].sum()

    def wide_sum(x, n):  # noqa: F811
        """The same in NumPy."""
        return float(x[:n].sum(dtype=np.float64))

    def squares(x, t, n):  # noqa: F811
        """The same in NumPy."""
        return np.square(x[:n] - t[:n]).sum()

    def block_magnitudes(x, rows, ld, n):  # noqa: F811
        """The same in NumPy."""
        values = np.array([x[i * ld:i * ld + n] for i in range(rows)])
        return np.abs(values).sum(), np.square(values).sum()

    def entropy_terms(x, p, t, n, high):  # noqa: F811
        """The same in NumPy."""
        x, p, t, zero = x[:n], p[:n], t[:n], x.dtype.type(0)
        top = x == high
        with np.errstate(invalid="ignore"):
            gaps = np.where((t == 0) | top, zero, t * (high - x))
        return np.where(top, zero, p).sum(), x.dtype.type(top.sum()), t.sum(), gaps.sum()
