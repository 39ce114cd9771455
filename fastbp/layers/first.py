"""A dense layer that is a network's first: it reads the rows of a batch in place in X.

All give the bits of ``dense`` on rows that were gathered first.
"""

from __future__ import annotations

from .._jit import kernel
from ..kernels.arrays import array_at, span
from ..kernels.columns import ONE, ZERO
from ..kernels.pick import multiply_rows, multiply_terms
from ..kernels.tile import ADD
from ..table import place
from .bias import bias_gradient


@kernel
def first_forward(op, params, ws, X, source, rows, at, left, right):
    """Columns of y = x W' + bias from row ``at`` on, where x are the rows ``source`` of X."""
    m, ldy, y = op["n_in"], op["ld_out"], op["y"] + left
    weight = span(params, place(op, ZERO, left), params.size)
    bias = span(params, place(op, m, left), params.size)
    multiply_rows(span(array_at(source, ONE), ZERO, rows), m, right - left, m,
                  array_at(X, ws.dtype.type(0)), weight, op["ld_param"],
                  span(ws, y + at * ldy, ws.size), ldy, bias, ZERO, ADD + op["clip"])


@kernel
def first_gradient(op, ws, X, source, rows, first, last, left, right, grad, ld, mode, scale):
    """dW' = X' dY of a tile, summed over the rows ``source`` of X; row m is the bias gradient."""
    m, ldy, columns = op["n_in"], op["ld_out"], right - left
    inputs = min(last, m) - first
    dy = span(ws, op["dy"] + left, ws.size)
    multiply_terms(inputs, columns, span(array_at(source, ONE), ZERO, rows),
                   op["coming"], m, array_at(X, scale), first, dy, ldy, grad, ld, mode, scale)
    if last > m:
        bias_gradient(dy, ldy, rows, span(grad, inputs * ld, inputs * ld + columns), mode, scale)
