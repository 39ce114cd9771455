"""Register-tile micro-kernels: a few rows of vector accumulators, kept in registers over k.

    C[r, j] = S                       S = sum over k of A[r, k] * B[k, j]
    C[r, j] = I[r, j] + S             S starts at I
    C[r, j] = I[r, j] + scale * S     S starts at 0          for all j of the tile's vectors
    C[r, j] = S where I[r, j] is not 0, else 0

The first two may also clamp negative results to 0.

A is read one scalar at a time (broadcast), B and C in 64-byte vectors on every host: LLVM
splits them on narrower machines, so memory layouts never depend on the CPU. Every variant
accumulates in the order of k with fused multiply-adds, so all tile shapes give the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from .._jit import DISABLED
from .moves import Blocks, Lines
from .tile_code import TileCode
from .vectors import SHAPES, VECTOR_BYTES, host_isa

#: How C is computed from the sums S: the four formulas above in order. CLIP, the clamp, may be
#: added to the first two.
WRITE, ADD, SCALE, MASK, CLIP = (np.int64(n) for n in range(5))


def _build(tile_rows: int, vectors: int, pick: str = "", moves: Any = None) -> Any:
    """Make the micro-kernel with ``tile_rows`` x ``vectors`` accumulators.

    The result takes (rows, K, A, a, a_row, a_k, B, b, b_k, C, c, c_row, I, i, i_row, mode,
    scale): flat arrays, offsets and strides in elements. It processes all ``rows``; where fewer
    are left than the tile has, the surplus rows recompute the last one and store it in the same
    place. ``I`` is ignored if ``mode`` is WRITE.

    With ``pick``, A consists of lines of memory selected by index: (lines, line), an array of
    indices and the stride of the lines, replace (a_row, a_k). With "rows" each selected line is a
    row of A, with "terms" a column, one term of every sum. The latter takes ``coming`` too, and
    prefetches the line whose index is stored ``coming`` places further on.

    With ``moves``, a class of the module of that name, it takes (to, t, t_row, source, s, s_row,
    width, count) too, and returns how many lines or blocks it had time to copy.
    """

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        code = TileCode(context, bld, sig, args, tile_rows, vectors, pick, moves,
                        (ADD, SCALE, MASK, CLIP))
        moved = code.write()
        return context.get_dummy_value() if moved is None else moved

    n = types.intp

    @intrinsic
    def tile(tyctx, rows, K, A, a, a_row, a_k, B, b, b_k, C, c, c_row, I, i, i_row, mode, scale):  # noqa: E741,E501
        return types.void(n, n, A, n, a_row if pick else n, n, B, n, n, C, n, n, I, n, n, n,
                          A.dtype), codegen

    @intrinsic
    def picking(tyctx, rows, K, A, a, lines, line, B, b, b_k, C, c, c_row, I, i, i_row, mode, scale,  # noqa: E741,E501
                coming):
        return types.void(n, n, A, n, lines, n, B, n, n, C, n, n, I, n, n, n, A.dtype, n), codegen

    @intrinsic
    def moving(tyctx, rows, K, A, a, a_row, a_k, B, b, b_k, C, c, c_row, I, i, i_row, mode, scale,  # noqa: E741,E501
               to, t, t_row, source, s, s_row, width, count):
        return n(n, n, A, n, n, n, B, n, n, C, n, n, I, n, n, n, A.dtype, to, n, n, source, n, n,
                 n, n), codegen

    return moving if moves else picking if pick == "terms" else tile


def _build_python(tile_rows: int, vectors: int, pick: str = "", moves: Any = None) -> Any:
    """The same contract in plain Python, for ``NUMBA_DISABLE_JIT=1``."""

    def tile(rows, K, A, a, a_row, a_k, B, b, b_k, C, c, c_row, I, i, i_row, mode, scale):  # noqa: E741,E501
        width, A = vectors * VECTOR_BYTES // A.itemsize, A.reshape(-1)
        if pick:
            lines = a_row[:rows if pick == "rows" else K] * a_k
            A = A[a + (lines[:, None] + np.arange(K) if pick == "rows" else
                       np.arange(rows)[:, None] + lines)].reshape(-1)
            a, a_row, a_k = 0, K, 1
        for r in range(rows):
            given, kind = I[i + r * i_row:i + r * i_row + width], mode % CLIP
            total = given.copy() if kind == ADD else np.zeros(width, A.dtype)
            for k in range(K):
                at = b + k * b_k
                total += A[a + r * a_row + k * a_k] * B[at:at + width]
            if kind == SCALE:
                total = given + scale * total
            elif kind == MASK:
                total[given == 0] = 0
            if mode >= CLIP:
                total[total < 0] = 0
            C[c + r * c_row:c + r * c_row + width] = total
        return 0  # pieces moved

    return lambda *args: tile(*args[:17])


TILE_ROWS = SHAPES[host_isa()]
_make = _build_python if DISABLED else _build
#: Vectors of the widest tile, and the tiles of 1 to 4 vectors; those too wide for the host are
#: not used.
TILE_VECTORS = len(TILE_ROWS)
tile_1, tile_2, tile_3, tile_4 = (_make(rows, vectors) for vectors, rows
                                  in enumerate((*TILE_ROWS, 1, 1, 1)[:4], 1))
#: The same for up to FEW rows, of which taller tiles would compute twice as many.
FEW = 4
few_1, few_2 = (_make(min(FEW, *TILE_ROWS), vectors) for vectors in (1, 2))
#: The same for picked lines of A, as rows and as terms.
picked_rows, picked_terms = ([_make(rows, vectors, pick) for vectors, rows
                              in enumerate((*TILE_ROWS, 1, 1, 1)[:4], 1)]
                             for pick in ("rows", "terms"))
#: One row by 1, 4 or 8 vectors: more independent sums hide more of the latency of an FMA.
row_tile_1, row_tile_4, row_tile_8 = (_make(1, vectors) for vectors in (1, 4, 8))
#: The widest tile, which also copies lines or transposes blocks of other memory as it multiplies.
copying_tile, transposing_tile = (_make(TILE_ROWS[-1], TILE_VECTORS, moves=kind)
                                  for kind in (Lines, Blocks))
