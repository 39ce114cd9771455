"""Products with lines of a matrix selected by index, read in place.

    forward            Y  = X[lines] W' + bias      lines are rows of A
    weight gradient    dW' = X[lines]' dY           lines are terms of the sums

Gathering the rows of a batch first takes a tenth of a step if they are long. Here the tile reads
them itself, and its arithmetic hides the latency of memory. The bits are those of ``matmul`` on
gathered rows.
"""

from __future__ import annotations

from .._jit import kernel
from .arrays import lanes_of, span
from .columns import ZERO, next_tile, widest_tile
from .matmul import SCALED, WHOLE
from .tile import ADD, SCALE, picked_rows, picked_terms

rows_1, rows_2, rows_3, rows_4 = picked_rows
terms_1, terms_2, terms_3, terms_4 = picked_terms


@kernel
def multiply_rows(lines, line, cols, K, A, B, b_k, C, c_row, I, i_row, mode):  # noqa: E741
    """C from S[r, j] = sum over k < K of A[lines[r] * line + k] * B[k * b_k + j], as in ``mode``.

    Everything else is as in ``matmul``; no SCALE or MASK.
    """
    rows, lanes, j, scale = lines.size, lanes_of(A), ZERO, A.dtype.type(0)
    widest = widest_tile(rows, cols, lanes)
    while j < cols:
        vectors = next_tile((cols - j + lanes - 1) // lanes, widest)
        if vectors == 4:
            rows_4(rows, K, A, ZERO, lines, line, B, j, b_k, C, j, c_row, I, j, i_row, mode, scale)
        elif vectors == 3:
            rows_3(rows, K, A, ZERO, lines, line, B, j, b_k, C, j, c_row, I, j, i_row, mode, scale)
        elif vectors == 2:
            rows_2(rows, K, A, ZERO, lines, line, B, j, b_k, C, j, c_row, I, j, i_row, mode, scale)
        else:
            rows_1(rows, K, A, ZERO, lines, line, B, j, b_k, C, j, c_row, I, j, i_row, mode, scale)
        j += vectors * lanes


@kernel
def multiply_terms(rows, cols, lines, coming, line, A, a, B, b_k, C, c_row, mode, scale):
    """C from S[r, j] = sum over k of A[a + lines[k] * line + r] * B[k * b_k + j], as in ``mode``.

    Everything else is as in ``matmul`` with C as I; SCALE for up to ``SCALED`` lines. Meanwhile as
    many lines are prefetched, whose indices are stored ``coming`` places after ``lines``.
    """
    lanes = lanes_of(A)
    most = SCALED if mode == SCALE else WHOLE
    for k in range(0, lines.size, most):
        now, b, j = span(lines, k, min(k + most, lines.size)), k * b_k, ZERO
        K, widest = now.size, widest_tile(rows, cols, lanes)
        while j < cols:
            vectors = next_tile((cols - j + lanes - 1) // lanes, widest)
            if vectors == 4:
                terms_4(rows, K, A, a, now, line, B, b + j, b_k, C, j, c_row, C, j, c_row, mode,
                        scale, coming)
            elif vectors == 3:
                terms_3(rows, K, A, a, now, line, B, b + j, b_k, C, j, c_row, C, j, c_row, mode,
                        scale, coming)
            elif vectors == 2:
                terms_2(rows, K, A, a, now, line, B, b + j, b_k, C, j, c_row, C, j, c_row, mode,
                        scale, coming)
            else:
                terms_1(rows, K, A, a, now, line, B, b + j, b_k, C, j, c_row, C, j, c_row, mode,
                        scale, coming)
            j += vectors * lanes
        mode = ADD
