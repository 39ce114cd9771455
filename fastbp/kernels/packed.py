"""Matrix products of operands larger than the caches, packed on the stack.

Rows far apart lie on a page each, and hardware prefetching ends at a page. The next panel or
strip is packed while the present one is multiplied (``moves``).
"""

from __future__ import annotations

import numpy as np

from .._jit import kernel
from .arrays import lanes_of, span, stack_array
from .columns import ONE, ZERO, columns
from .copy import copy_row
from .tile import ADD, SCALE, TILE_VECTORS, copying_tile, transposing_tile
from .transpose import transpose
from .vectors import VECTOR_BYTES

#: Largest number of terms k per pass where B alone is packed (larger, as each pass reads and
#: writes C), and where A is packed too, unless sums must be complete: then the former holds.
DEPTH, STRIP_DEPTH = 512, 256
#: Bytes of a row of a panel of B; panels kept for several strips of A, half as many at the larger
#: depth; bytes of a row of a strip of A, which are rows of C that fill whole register tiles.
_PANEL, _PANELS, _STRIP = 4 * VECTOR_BYTES, 4, 384
PANELS_SIZE, STRIPS_SIZE = STRIP_DEPTH * _PANELS * _PANEL, 2 * DEPTH * _STRIP


@kernel
def copy_lines(to, t, t_row, source, s, s_row, count, first, lines):
    """Copy the lines from ``first`` to ``lines`` - 1, of ``count`` elements each."""
    for k in range(first, lines):
        copy_row(to, t + k * t_row, source, s + k * s_row, count)


@kernel
def columns_meanwhile(rows, cols, K, A, a, a_row, a_k, B, b, b_k, C, c, c_row, I, i, i_row, mode,  # noqa: E741,E501
                      scale, to, t, t_row, source, s, s_row, count, lines):
    """``columns`` of one panel, while ``lines`` lines of ``count`` elements are copied: as many as
    there is time for, the others afterwards. The rest of a line's last vector is unspecified."""
    lanes, moved = lanes_of(A), ZERO
    if cols == TILE_VECTORS * lanes:
        # Not the last line, whose whole vectors may reach beyond the end of the source.
        moved = copying_tile(rows, K, A, a, a_row, a_k, B, b, b_k, C, c, c_row, I, i, i_row, mode,
                             scale, to, t, t_row, source, s, s_row, (count + lanes - 1) // lanes,
                             lines - 1)
    else:
        columns(rows, cols, K, A, a, a_row, a_k, B, b, b_k, C, c, c_row, I, i, i_row, mode, scale)
    copy_lines(to, t, t_row, source, s, s_row, count, moved, lines)


@kernel
def by_panels(rows, cols, K, A, a_row, B, b_k, C, c_row, I, i_row, mode, clip, scale, panels):  # noqa: E741,E501
    """The product with B packed, a panel at a time: the next panel is copied while the present
    one is multiplied."""
    lanes, width, k, now = lanes_of(A), _PANEL // A.itemsize, ZERO, ZERO
    cols = (cols + lanes - 1) // lanes * lanes
    copy_lines(panels, ZERO, width, B, ZERO, b_k, min(width, cols), ZERO, min(K, DEPTH))
    while k < K:
        terms = min(K - k, DEPTH)
        own = mode + clip if k + terms == K else mode
        for j in range(0, cols, width):
            after, at, other = j + width, k, DEPTH * width - now
            if after >= cols:
                after, at = ZERO, k + terms
            columns_meanwhile(rows, min(width, cols - j), terms, A, k, a_row, ONE, panels, now,
                              width, C, j, c_row, I, j, i_row, own, scale, panels, other, width, B,
                              at * b_k + after, b_k, min(width, cols - after),
                              min(K - at, DEPTH))
            now = other
        I, i_row, mode = C, c_row, ADD  # noqa: E741
        k += terms


@kernel
def by_strips(rows, cols, K, A, a_k, B, b_k, C, c_row, I, i_row, mode, clip, scale, strips, panels):  # noqa: E741,E501
    """The same with A read down its columns: A is packed too, a strip at a time, and a group of
    panels is kept for all strips. The next panel is copied while the first strip is multiplied
    by the present one, the next strip while the present one is multiplied by the last panel."""
    lanes, width, across = lanes_of(A), _PANEL // A.itemsize, _STRIP // A.itemsize
    cols, depth, group = (cols + lanes - 1) // lanes * lanes, STRIP_DEPTH, _PANELS * width
    if mode == SCALE and depth < K:
        depth, group = DEPTH, _PANELS // 2 * width
    for left in range(0, cols, group):
        right, k, now = min(left + group, cols), ZERO, ZERO
        onto, onto_row, how = I, i_row, mode
        copy_lines(strips, ZERO, across, A, ZERO, a_k, min(across, rows), ZERO,
                   min(K, depth))
        while k < K:
            terms = min(K - k, depth)
            later, rest = k + terms, min(K - k - terms, depth)
            own = how + clip if later == K else how
            copy_lines(panels, ZERO, width, B, k * b_k + left, b_k, min(width, right - left), ZERO,
                       terms)
            for r in range(0, rows, across):
                other, last = depth * across - now, r + across >= rows
                for j in range(left, right, width):
                    after = j + width
                    to, t, t_row, source, s, s_row, count, lines = (
                        panels, (after - left) * depth, width, B, k * b_k + after, b_k,
                        min(width, right - after), terms if r == 0 else ZERO)
                    if after >= right and last:  # the first strip of the next terms
                        to, t, t_row, source, s, s_row, count, lines = (
                            strips, other, across, A, later * a_k, a_k, min(across, rows), rest)
                    elif after >= right:
                        to, t, t_row, source, s, s_row, count, lines = (
                            strips, other, across, A, k * a_k + r + across, a_k,
                            min(across, rows - r - across), terms)
                    columns_meanwhile(
                        min(across, rows - r), min(width, right - j), terms, strips, now, ONE,
                        across, panels, (j - left) * depth, width, C, r * c_row + j, c_row,
                        onto, r * onto_row + j, onto_row, own, scale, to, t, t_row, source, s,
                        s_row, count, lines)
                now = other
            onto, onto_row, how = C, c_row, ADD
            k += terms


@kernel
def turn_meanwhile(rows, cols, K, A, a, a_row, B, b, C, c, c_row, mode, to, t, source, s, s_row,
                   count, lines):
    """``columns`` of one panel, while ``count`` rows of ``lines`` terms are transposed into the
    next panel."""
    lanes, few, width = lanes_of(A), 16 // A.itemsize, _PANEL // A.itemsize
    done, zero = ZERO, A.dtype.type(0)
    if cols == TILE_VECTORS * lanes:
        parts = lines // few  # blocks of 16 bytes
        blocks = count // lanes * parts if lines == parts * few else ZERO
        moved = transposing_tile(rows, K, A, a, a_row, ONE, B, b, width, C, c, c_row, C, c,
                                 c_row, mode, zero, to, t, width, source, s, s_row,
                                 max(parts, ONE), blocks)
        done = moved // max(parts, ONE) * lanes
    else:
        columns(rows, cols, K, A, a, a_row, ONE, B, b, width, C, c, c_row, C, c, c_row, mode,
                zero)
    if done < count and lines > 0:
        transpose(count - done, lines, span(source, s + done * s_row, source.size), s_row,
                  span(to, t + done, to.size), width)


@kernel
def matmul_by_rows(rows, cols, K, A, a_row, B, b_row, C, c_row, mode):
    """C[r, j] = sum over k < K of A[r * a_row + k] * B[j * b_row + k], with the bits of
    ``matmul``; added to C if ``mode`` is ADD, not WRITE.

    B has a row for each column of C: it is packed by transposing, a panel at a time. Where B is
    larger than the caches that costs no more than a copy, and no mirror of B has to be kept up
    to date.
    """
    panels, width = stack_array(A, PANELS_SIZE), np.int64(_PANEL // A.itemsize)
    k, now = ZERO, ZERO
    transpose(min(width, cols), min(K, DEPTH), B, b_row, panels, width)
    while k < K:
        terms = min(K - k, DEPTH)
        for j in range(0, cols, width):
            after, at, other = j + width, k, DEPTH * width - now
            if after >= cols:
                after, at = ZERO, k + terms
            turn_meanwhile(rows, min(width, cols - j), terms, A, k, a_row, panels, now, C, j,
                           c_row, mode, panels, other, B, after * b_row + at, b_row,
                           min(width, cols - after), min(K - at, DEPTH))
            now = other
        mode = ADD
        k += terms
