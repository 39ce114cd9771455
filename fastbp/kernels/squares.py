"""Matrix tiles (AMX): one instruction adds 32 products to each of 16 x 16 sums.

    C[r, j] = I[r, j] + sum over k of A[r, k] * B[k, j]

It multiplies bfloat16 and accumulates in float32. Each operand is split into a sum of three
bfloat16 parts (``split``). Of the nine products of parts six are added; the others are below the
precision of float32. Sums are closer to the exact ones than those of FMAs, and computed at up to
twice the peak speed of FMAs. With two parts three products are added, with one part one.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._jit import DISABLED
from .lanes import call_llvm
from .split import PARTS, SQUARE, TILE

#: Parts of A and B to multiply (0 is the high part), by number of parts. Each pair shares a part
#: with the one before, which is not loaded again.
_PAIRS = {1: ((0, 0),), 2: ((0, 1), (0, 0), (1, 0)),
          PARTS: ((0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0))}
#: Number of the system call arch_prctl, its code to request a feature, and the feature.
_ARCH_PRCTL, _PERMIT, _TILE_DATA = 158, 0x1023, 18
#: No-ops after each instruction. While the other hardware thread of the core is busy, a tile
#: instruction without them waits for it, and products take half as long again; else they are free.
_NO_OPS = 8


@functools.cache
def has_squares() -> bool:
    """Whether this process may use matrix tiles; the first call requests them of the system."""
    if DISABLED or sys.platform != "linux" or os.environ.get("FASTBP_ISA"):
        return False
    from numba.core.registry import cpu_target

    # Numba's target, not the host: NUMBA_CPU_NAME may name a lesser CPU, and LLVM aborts the
    # process on an instruction that its target lacks.
    features = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    if not {"+avx512f", "+amx-tile", "+amx-bf16"} <= set(features):
        return False
    granted: int = ctypes.CDLL(None).syscall(_ARCH_PRCTL, _PERMIT, _TILE_DATA)
    return granted == 0


def _call(bld: Any, name: str, *args: Any) -> None:
    call_llvm(bld, f"llvm.x86.{name}", ir.VoidType(), *args)
    bld.asm(ir.FunctionType(ir.VoidType(), []), "nop;" * _NO_OPS, "", [], side_effect=True)


@intrinsic
def take_tiles(tyctx):
    """Configure eight tiles of 16 rows of 64 bytes for this thread."""

    def codegen(context, bld, sig, args):
        kind = ir.ArrayType(ir.IntType(8), 64)
        layout = bytes([1, *[0] * 15, *[64, 0] * 8, *[0] * 16, *[16] * 8, *[0] * 8])
        room = cgutils.alloca_once_value(bld, ir.Constant(kind, bytearray(layout)))
        _call(bld, "ldtilecfg", bld.bitcast(room, ir.IntType(8).as_pointer()))
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def give_tiles_back(tyctx):
    """Release the tiles: their state would have to be saved at every switch of threads."""

    def codegen(context, bld, sig, args):
        _call(bld, "tilerelease")
        return context.get_dummy_value()

    return types.void(), codegen


def _build(rows: int, cols: int) -> Any:
    """Make the kernel of ``rows`` x ``cols`` tiles of sums, 1 or 2 each.

    It takes (parts, stretches, A, a, B, b, I, i, i_row, start, C, c, c_row), with A and B packed
    by ``split.lay``: all tiles of the first 16 lines, then those of the second. Sums start at I if
    ``start`` is not 0, else at 0.
    """

    def codegen(context, bld, sig, args):
        parts, stretches, A, a, B, b, I, i, i_row, start, C, c, c_row = args  # noqa: E741
        int8, int64 = ir.IntType(8), ir.IntType(64)
        a_at, b_at, i_at, c_at = (
            bld.gep(context.make_array(sig.args[p])(context, bld, array).data, [at])
            for p, array, at in ((2, A, a), (4, B, b), (6, I, i), (10, C, c)))
        sums = [(r, s) for r in range(rows) for s in range(cols)]

        def number(n):
            return ir.Constant(int8, n)

        def move(name, n, pointer, row):
            _call(bld, name, number(n), bld.bitcast(pointer, int8.as_pointer()), row)

        def move_sums(name, base, row):
            for r, s in sums:
                place = bld.add(bld.mul(row, int64(r * SQUARE)), int64(s * SQUARE))
                move(name, 2 * r + s, bld.gep(base, [place]), bld.mul(row, int64(4)))

        def add_products(pairs, size):
            """Add the products of these pairs of parts, of stretches of this ``size``."""
            lot = bld.mul(stretches, size)
            with cgutils.for_range(bld, stretches, intp=int64) as loop:
                at, held = bld.mul(loop.index, size), (-1, -1)
                for pair in pairs:
                    for part, before, base, count, first in zip(
                            pair, held, (a_at, b_at), (rows, cols), (4, 6), strict=True):
                        for n in range(count if part != before else 0):
                            place = bld.add(at, int64(part * TILE))
                            place = bld.add(place, lot) if n else place
                            move("tileloadd64", first + n, bld.gep(base, [place]), int64(64))
                    for r, s in sums:
                        _call(bld, "tdpbf16ps", number(2 * r + s), number(4 + r), number(6 + s))
                    held = pair

        with bld.if_else(bld.icmp_signed("!=", start, int64(0))) as (then, other):
            with then:
                move_sums("tileloadd64", i_at, i_row)
            with other:
                for r, s in sums:
                    _call(bld, "tilezero", number(2 * r + s))
        for count, pairs in _PAIRS.items():
            with bld.if_then(bld.icmp_signed("==", parts, int64(count))):
                add_products(pairs, int64(count * TILE))
        move_sums("tilestored64", c_at, c_row)
        return context.get_dummy_value()

    n = types.intp

    @intrinsic
    def squares(tyctx, parts, stretches, A, a, B, b, I, i, i_row, start, C, c, c_row):  # noqa: E741
        return types.void(n, n, A, n, B, n, I, n, n, n, C, n, n), codegen

    return squares


(square_11, square_12), (square_21, square_22) = (
    [_build(rows, cols) for cols in (1, 2)] for rows in (1, 2))
