"""A product with few columns: four rows of C side by side in each vector.

    C[r, j] = I[j] + sum over k of A[r, k] * B[k, j]        for j up to a fourth of a vector

The register tile would give each row a vector, three fourths of it padding.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._jit import DISABLED
from .moves import chosen, side_by_side
from .parts import Rows, alone
from .vectors import VECTOR_BYTES

#: Vectors of independent sums, to hide the latency of an FMA.
_VECTORS = 4


def _few_columns(tyctx, rows, K, A, a_row, B, b, b_k, C, c_row, i, clip):
    """The product, with I at B[i:]; if ``clip`` is not 0, negative results become 0.

    Rows of A have room for whole vectors, those of B and C are one vector. Order and rounding
    are those of the register tile.
    """
    n = types.intp

    def codegen(context, bld, sig, args):
        rows, K, A, a_row, B, b, b_k, C, c_row, i, clip = args
        int64, kind_a, kind_b, kind_c = ir.IntType(64), sig.args[2], sig.args[4], sig.args[7]

        def all_terms(first, left):
            """The next rows from ``first`` on, of which ``left`` remain."""
            source = Rows(context, bld, kind_a, A, bld.mul(first, a_row), a_row, left)
            to = Rows(context, bld, kind_c, C, bld.mul(first, c_row), c_row, left)
            few, lanes = source.few, source.lanes
            bias = Rows(context, bld, kind_b, B, i, b_k).load(0, few)
            start = side_by_side(bld, [bias] * 4)
            vec, zero = start.type, ir.Constant(start.type, None)
            fma = cgutils.get_or_insert_function(
                bld.module, ir.FunctionType(vec, [vec] * 3),
                f"llvm.fma.v{lanes}f{VECTOR_BYTES * 8 // lanes}")
            sums = [cgutils.alloca_once_value(bld, start) for _ in range(_VECTORS)]
            places = [source.at(r)[1] for r in range(4 * _VECTORS)]

            def terms(k, count=None):
                """Add as many terms as a part has lanes, or ``count`` if that is given."""
                weight = Rows(context, bld, kind_b, B, bld.add(b, bld.mul(k, b_k)), b_k, count)
                factors = [side_by_side(bld, [weight.load(t, few)] * 4) for t in range(few)]
                for v, total in enumerate(sums):
                    given = side_by_side(bld, [source.part(bld.gep(place, [k]), few)
                                               for place in places[4 * v:4 * v + 4]])
                    for t, factor in enumerate(factors):
                        wide, held = chosen(bld, given, given, (
                            r // few * few + t for r in range(lanes))), bld.load(total)
                        new = bld.call(fma, [wide, factor, held])
                        if count is not None:  # what is beyond may be NaN
                            inside = bld.icmp_signed("<", int64(t), count)
                            new = bld.select(inside, new, held)
                        bld.store(new, total)

            rest = bld.and_(K, int64(few - 1))
            whole = bld.sub(K, rest)
            with cgutils.for_range_slice(bld, int64(0), whole, int64(few), int64) as (k, _):
                terms(k)
            with bld.if_then(bld.icmp_signed(">", rest, int64(0))):
                terms(whole, rest)
            clipped = bld.icmp_signed("!=", clip, int64(0))
            for v, held in enumerate(sums):
                total = bld.load(held)
                above = bld.select(bld.fcmp_ordered("<", total, zero), zero, total)
                total = bld.select(clipped, above, total)
                for q in range(4):
                    to.store(alone(bld, total, q), 4 * v + q)

        step = int64(4 * _VECTORS)
        with cgutils.for_range_slice(bld, int64(0), rows, step, int64) as (first, _):
            all_terms(first, bld.sub(rows, first))
        return context.get_dummy_value()

    return types.void(n, n, A, n, B, n, n, C, n, n, n), codegen


few_columns: Any = intrinsic(_few_columns)

if DISABLED:
    def few_columns(rows, K, A, a_row, B, b, b_k, C, c_row, i, clip):  # noqa: F811
        """The same in NumPy."""
        few = VECTOR_BYTES // A.itemsize // 4
        for r in range(rows):
            total = B[i:i + few].copy()
            for k in range(K):
                total += A[r * a_row + k] * B[b + k * b_k:b + k * b_k + few]
            if clip:
                total[total < 0] = 0
            C[r * c_row:(r + 1) * c_row] = 0
            C[r * c_row:r * c_row + few] = total
