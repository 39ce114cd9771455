"""Dense layers with few outputs, or few inputs: tiles of few rows.

All give the bits of ``dense``, which would compute several times as much and discard the rest.
"""

from __future__ import annotations

import numpy as np

from .._jit import kernel
from ..kernels.add import add_scaled
from ..kernels.arrays import lanes_of, span, stack_array
from ..kernels.columns import ONE, few_rows
from ..kernels.few import few_columns
from ..kernels.tile import ADD, SCALE, WRITE
from ..kernels.transpose import transpose
from ..kernels.vectors import VECTOR_BYTES
from .bias import bias_gradient

#: Inputs of a narrow layer whose gradient is computed at a time; bytes of it as dW and as dW'.
_CHUNK = np.int64(256)
_NARROW_WIDE, _NARROW_HIGH = 256 * VECTOR_BYTES // 4, 256 * VECTOR_BYTES


@kernel
def narrow_forward(op, now, params, ws, x, y):
    """y = x W' + bias for a few outputs, which fill a fraction of one vector.

    Rows of x have room for whole vectors, those of y are one vector long.
    """
    m, ldy, at = op["n_in"], op["ld_out"], op["param"]
    few_columns(y.size // ldy, m, x, op["ld_in"], params, at, ldy, y, ldy, at + m * ldy,
                op["clip"])


@kernel
def narrow_gradient(op, now, params, ws, x, dy, rows, first, last, left, right, grad, ld, mode,
                    scale):
    """The gradient for a few outputs, whose rows fill a fraction of one vector: computed as its
    transpose dW = dY' X, whose rows fill whole vectors.

    Rows of x have room for whole vectors, those of grad are one vector long.
    """
    ldx, ldy, columns = op["ld_in"], op["ld_out"], op["n_out"]
    lanes = lanes_of(x)
    inputs, zero = min(last, op["n_in"]) - first, x.dtype.type(0)
    wide, high = stack_array(x, _NARROW_WIDE), stack_array(x, _NARROW_HIGH)
    for lo in range(0, inputs, _CHUNK):
        count = min(_CHUNK, inputs - lo)
        part = span(grad, lo * ld, (lo + count) * ld)
        if mode == ADD:
            transpose(count, columns, part, ld, wide, _CHUNK)
        few_rows(columns, count, rows, dy, ONE, ldy, span(x, first + lo, x.size), ldx, wide,
                 _CHUNK, ADD if mode == ADD else WRITE, zero)
        if mode == SCALE:
            transpose(columns, count, wide, _CHUNK, high, lanes)
            add_scaled(part, scale, high)
        else:
            transpose(columns, count, wide, _CHUNK, part, ld)
    if last > op["n_in"]:
        bias_gradient(dy, ldy, rows, span(grad, inputs * ld, inputs * ld + columns), mode, scale)


@kernel
def thin_gradient(op, now, params, ws, x, dy, rows, first, last, left, right, grad, ld, mode,
                  scale):
    """The gradient for a few inputs."""
    ldy, columns = op["ld_out"], right - left
    inputs = min(last, op["n_in"]) - first
    dy = span(dy, left, dy.size)
    few_rows(inputs, columns, rows, span(x, first, x.size), ONE, op["ld_in"], dy, ldy, grad, ld,
             mode, scale)
    if last > op["n_in"]:
        bias_gradient(dy, ldy, rows, span(grad, inputs * ld, inputs * ld + columns), mode, scale)
