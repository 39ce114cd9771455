"""Softmax: each row becomes a probability distribution.

    y_i = e^x_i / sum_k e^x_k          dx_i = y_i (dy_i - sum_j dy_j y_j)

The second is J dy with J_ij = y_i (1{i=j} - y_j); J is never built. Source: seed text,
section "Softmax layer", with the index mended (dE/dx_i sums over all outputs y_j).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._jit import driver, kernel, prange
from .._validation import Array
from ..kernels.reduce import row_max, row_sum
from ..kernels.vmath import exp, select
from .base import ROW_BLOCK, Layer


@kernel
def exp_rows(x, y, n, ld):
    """y = e^(x - max of the row), by rows of ``n`` numbers ``ld`` apart.

    Equal infinities differ by nothing here: +inf takes the row, -inf gives 0. Pads are
    computed too: one long run through exp vectorises, many short ones do not.
    """
    zero = x.dtype.type(0)
    for r in range(y.size // ld):
        row, out = x[r * ld:(r + 1) * ld], y[r * ld:(r + 1) * ld]
        high = row_max(row, n)
        for i in range(ld):
            out[i] = select(row[i] == high, zero, row[i] - high)
    for i in range(y.size):
        y[i] = exp(y[i])


@kernel
def softmax_forward(x, y, n, ld):
    """Rows of ``n`` numbers, ``ld`` apart; pads of y become 0."""
    zero = y.dtype.type(0)
    exp_rows(x, y, n, ld)
    for r in range(y.size // ld):
        row = y[r * ld:(r + 1) * ld]
        total = row_sum(row, n)
        for i in range(ld):
            row[i] = select(i < n, row[i] / total, zero)


@kernel
def softmax_backward(y, dy, dx, n, ld):
    """dx = y * (dy - <dy, y>) by rows; pads of y are 0, so pads of dx are."""
    for r in range(dx.size // ld):
        p, g = y[r * ld:(r + 1) * ld], dy[r * ld:(r + 1) * ld]
        out = dx[r * ld:(r + 1) * ld]
        dot = y.dtype.type(0)
        for i in range(n):
            dot += g[i] * p[i]
        for i in range(ld):
            out[i] = p[i] * (g[i] - dot)
        for i in range(n, ld):
            out[i] = 0


@driver
def softmax_forward_rows(x, y, n):
    size = ROW_BLOCK * n
    for block in prange((y.size + size - 1) // size):
        part = slice(block * size, min((block + 1) * size, y.size))
        softmax_forward(x[part], y[part], n, n)


@driver
def softmax_backward_rows(y, dy, dx, n):
    size = ROW_BLOCK * n
    for block in prange((dx.size + size - 1) // size):
        part = slice(block * size, min((block + 1) * size, dx.size))
        softmax_backward(y[part], dy[part], dx[part], n, n)


class Softmax(Layer):
    """y_i = e^x_i / sum_k e^x_k by rows; dX is the row-wise Jacobian product.

    Followed by ``CrossEntropyLoss`` the two are computed as one, without overflow.
    """

    kind = 5

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Array:
        """Probabilities (b, n) for logits X (b, n); each row sums to 1.

        Raises
        ------
        ValueError, TypeError
            If X is not a matrix of numbers of the expected width.
        """
        X = self._take_input(X, allow_nonfinite)
        Y = np.empty_like(X)
        softmax_forward_rows(X.ravel(), Y.ravel(), X.shape[1])
        self._x, self._y = X, Y
        return Y

    def backward(self, dY: Any) -> Array:
        """dX (b, n) for dY (b, n): each row is J dy."""
        dY = self._take_gradient(dY)
        assert self._y is not None
        dX = np.empty_like(dY)
        softmax_backward_rows(self._y.ravel(), dY.ravel(), dX.ravel(), dY.shape[1])
        return dX
