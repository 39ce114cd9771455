"""Element-wise layers. One row block is a flat run of elements: x, y, dy, dx alike.

    Sigmoid   y = 1 / (1 + e^-x)   dx = dy * y * (1 - y)
    Tanh      y = tanh x           dx = dy * (1 - y^2)
    ReLU      y = max(x, 0)        dx = dy where y > 0, else 0 (0 at 0)

Source: seed text, section "Sigmoid layer"; tanh and ReLU likewise by the chain rule.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .._jit import Driver, driver, kernel, prange
from .._validation import Array
from ..kernels.vmath import select, sigmoid, tanh
from .base import Layer

#: Elements that one thread takes at a time in the drivers below.
BLOCK = 8192


@kernel
def sigmoid_forward(y):
    for i in range(y.size):
        y[i] = sigmoid(y[i])


@kernel
def sigmoid_backward(y, dy):
    one = y.dtype.type(1)
    for i in range(dy.size):
        dy[i] = dy[i] * (y[i] * (one - y[i]))


@kernel
def tanh_forward(y):
    for i in range(y.size):
        y[i] = tanh(y[i])


@kernel
def tanh_backward(y, dy):
    one = y.dtype.type(1)
    for i in range(dy.size):
        dy[i] = dy[i] * ((one - y[i]) * (one + y[i]))


@kernel
def relu_forward(y):
    zero = y.dtype.type(0)
    for i in range(y.size):
        y[i] = select(y[i] < zero, zero, y[i])  # this way round NaN passes


@kernel
def relu_backward(y, dy):
    zero = y.dtype.type(0)
    for i in range(dy.size):
        dy[i] = select(y[i] == zero, zero, dy[i])


@driver
def sigmoid_forward_rows(y):
    for block in prange((y.size + BLOCK - 1) // BLOCK):
        sigmoid_forward(y[block * BLOCK:min((block + 1) * BLOCK, y.size)])


@driver
def sigmoid_backward_rows(y, dy):
    for block in prange((dy.size + BLOCK - 1) // BLOCK):
        part = slice(block * BLOCK, min((block + 1) * BLOCK, dy.size))
        sigmoid_backward(y[part], dy[part])


@driver
def tanh_forward_rows(y):
    for block in prange((y.size + BLOCK - 1) // BLOCK):
        tanh_forward(y[block * BLOCK:min((block + 1) * BLOCK, y.size)])


@driver
def tanh_backward_rows(y, dy):
    for block in prange((dy.size + BLOCK - 1) // BLOCK):
        part = slice(block * BLOCK, min((block + 1) * BLOCK, dy.size))
        tanh_backward(y[part], dy[part])


@driver
def relu_forward_rows(y):
    for block in prange((y.size + BLOCK - 1) // BLOCK):
        relu_forward(y[block * BLOCK:min((block + 1) * BLOCK, y.size)])


@driver
def relu_backward_rows(y, dy):
    for block in prange((dy.size + BLOCK - 1) // BLOCK):
        part = slice(block * BLOCK, min((block + 1) * BLOCK, dy.size))
        relu_backward(y[part], dy[part])


class _Activation(Layer):
    """An element-wise layer whose derivative is a function of its output."""

    in_place = True
    _forward: ClassVar[Driver]
    _backward: ClassVar[Driver]

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Array:
        """Apply the function to each element of X (b, n).

        Parameters
        ----------
        X : array_like, shape (b, n)
            Numbers; float32 stays float32, all else becomes float64.
        allow_nonfinite : bool
            False refuses NaN and infinity.

        Returns
        -------
        ndarray, shape (b, n)

        Raises
        ------
        ValueError, TypeError
            If X is not a matrix of numbers of the expected width.
        """
        X = self._take_input(X, allow_nonfinite)
        Y = X.copy()
        type(self)._forward(Y.ravel())
        self._x, self._y = X, Y
        return Y

    def backward(self, dY: Any) -> Array:
        """dX (b, n) for dY (b, n), by the output of the last ``forward``."""
        dY = self._take_gradient(dY)
        assert self._y is not None
        dX = dY.copy()
        type(self)._backward(self._y.ravel(), dX.ravel())
        return dX


class Sigmoid(_Activation):
    """y = 1 / (1 + e^-x), element by element; dX = dY * Y * (1 - Y)."""

    kind = 2
    _forward, _backward = sigmoid_forward_rows, sigmoid_backward_rows


class Tanh(_Activation):
    """y = tanh x, element by element; dX = dY * (1 - Y^2)."""

    kind = 3
    _forward, _backward = tanh_forward_rows, tanh_backward_rows


class ReLU(_Activation):
    """y = max(x, 0), element by element; dX = dY where x > 0, else 0."""

    kind = 4
    _forward, _backward = relu_forward_rows, relu_backward_rows
