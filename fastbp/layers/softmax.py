"""Softmax and its logarithm: each row becomes a probability distribution.

    Softmax       y_i = e^x_i / sum_k e^x_k    dx_i = y_i (dy_i - sum_j dy_j y_j)
    LogSoftmax    y_i = x_i - lse(x)           dx_i = dy_i - e^y_i sum_j dy_j

with lse(x) = ln sum_k e^x_k. The first dx is J dy with J_ij = y_i (1{i=j} - y_j); J is never
built. Source: seed text, section "Softmax layer", with the index corrected (dE/dx_i sums over
all outputs y_j).
"""

from __future__ import annotations

from .._jit import kernel
from ..kernels.arrays import row_of
from ..kernels.reduce import entropy_terms, row_max, row_sum
from ..kernels.vmath import exp, log1p, select
from .base import Kernels, Layer


@kernel
def exp_rows(x, y, n, ld):
    """y = e^(x - max of the row), for rows of ``n`` numbers with stride ``ld``.

    Equal infinities have difference 0 here: +inf takes the whole row, -inf gives 0. Padding is
    computed too: one long loop through exp vectorises, many short ones do not.
    """
    zero = x.dtype.type(0)
    for r in range(y.size // ld):
        row, out = row_of(x, r, ld), row_of(y, r, ld)
        high = row_max(row, n)
        for i in range(ld):
            out[i] = select(row[i] == high, zero, row[i] - high)
    for i in range(y.size):
        y[i] = exp(y[i])


@kernel
def softmax_forward(op, now, params, ws, x, y):
    """Rows of n numbers with stride ld; the padding of y becomes 0."""
    n, ld, zero = op["n_out"], op["ld_out"], y.dtype.type(0)
    exp_rows(x, y, n, ld)
    for r in range(y.size // ld):
        row = row_of(y, r, ld)
        total = row_sum(row, n)
        for i in range(ld):
            row[i] = select(i < n, row[i] / total, zero)


@kernel
def softmax_backward(op, now, params, ws, x, y, dy, dx):
    """dx = y * (dy - <dy, y>) by rows; the padding of dx becomes 0."""
    n, ld = op["n_out"], op["ld_out"]
    for r in range(dx.size // ld):
        p, g = row_of(y, r, ld), row_of(dy, r, ld)
        out = row_of(dx, r, ld)
        dot = y.dtype.type(0)
        for i in range(n):
            dot += g[i] * p[i]
        for i in range(ld):
            out[i] = p[i] * (g[i] - dot)
        for i in range(n, ld):
            out[i] = 0


@kernel
def log_softmax_forward(op, now, params, ws, x, y):
    """lse(x) = max + log1p(sum of e^(x - max) over the others); the padding of y becomes 0."""
    n, ld = op["n_out"], op["ld_out"]
    zero, one = x.dtype.type(0), x.dtype.type(1)
    exp_rows(x, y, n, ld)
    for r in range(y.size // ld):
        row, out = row_of(x, r, ld), row_of(y, r, ld)
        high = row_max(row, n)
        rest, tops, _, _ = entropy_terms(row, out, out, n, high)
        level = log1p(rest + (tops - one))
        for i in range(ld):
            out[i] = select(row[i] == high, zero, row[i] - high) - level
        for i in range(n, ld):
            out[i] = zero


@kernel
def log_softmax_backward(op, now, params, ws, x, y, dy, dx):
    """dx = dy - e^y * (sum of dy) by rows."""
    n, ld = op["n_out"], op["ld_out"]
    for i in range(dx.size):
        dx[i] = exp(y[i])
    for r in range(dx.size // ld):
        g, out = row_of(dy, r, ld), row_of(dx, r, ld)
        total = row_sum(g, n)
        for i in range(ld):
            out[i] = g[i] - out[i] * total
        for i in range(n, ld):
            out[i] = 0


class Softmax(Layer):
    """y_i = e^x_i / sum_k e^x_k by rows; dX is the row-wise Jacobian product.

    If ``CrossEntropyLoss`` follows, the two are computed as one, without overflow.
    """

    kernels = Kernels(softmax_forward, softmax_backward)
    keeps_output = True


class LogSoftmax(Layer):
    """y = x - ln(sum of e^x) by rows, without overflow; dX = dY - e^Y * (row sum of dY)."""

    kernels = Kernels(log_softmax_forward, log_softmax_backward)
    keeps_output = True
