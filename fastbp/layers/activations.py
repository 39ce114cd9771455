"""Element-wise layers. One row block is a flat run of elements: x, y, dx, dy alike.

    Sigmoid   y = 1 / (1 + e^-x)   dx = dy * y * (1 - y)
    Tanh      y = tanh x           dx = dy * (1 - y^2)
    ReLU      y = max(x, 0)        dx = dy where y > 0, else 0 (0 at 0)

Each works in place: y holds x when the forward kernel starts, dx holds dy when the backward
kernel does, and the derivative is a function of y.
Source: seed text, section "Sigmoid layer"; tanh and ReLU likewise by the chain rule.
"""

from __future__ import annotations

from .._jit import kernel
from ..kernels.vmath import select, sigmoid, tanh
from .base import Kernels, Layer


@kernel
def sigmoid_forward(op, now, params, ws, x, y):
    for i in range(y.size):
        y[i] = sigmoid(y[i])


@kernel
def sigmoid_backward(op, now, params, ws, x, y, dy, dx):
    one = y.dtype.type(1)
    for i in range(dx.size):
        dx[i] = dx[i] * (y[i] * (one - y[i]))


@kernel
def tanh_forward(op, now, params, ws, x, y):
    for i in range(y.size):
        y[i] = tanh(y[i])


@kernel
def tanh_backward(op, now, params, ws, x, y, dy, dx):
    one = y.dtype.type(1)
    for i in range(dx.size):
        dx[i] = dx[i] * ((one - y[i]) * (one + y[i]))


@kernel
def relu_forward(op, now, params, ws, x, y):
    zero = y.dtype.type(0)
    for i in range(y.size):
        y[i] = select(y[i] < zero, zero, y[i])  # this way round NaN passes


@kernel
def relu_backward(op, now, params, ws, x, y, dy, dx):
    zero = y.dtype.type(0)
    for i in range(dx.size):
        dx[i] = select(y[i] == zero, zero, dx[i])


class _FromOutput(Layer):
    """An element-wise layer whose derivative is a function of its output."""

    in_place = True
    keeps_output = True


class Sigmoid(_FromOutput):
    """y = 1 / (1 + e^-x), element by element; dX = dY * Y * (1 - Y)."""

    kernels = Kernels(sigmoid_forward, sigmoid_backward)


class Tanh(_FromOutput):
    """y = tanh x, element by element; dX = dY * (1 - Y^2)."""

    kernels = Kernels(tanh_forward, tanh_backward)


class ReLU(_FromOutput):
    """y = max(x, 0), element by element; dX = dY where x > 0, else 0."""

    kernels = Kernels(relu_forward, relu_backward)
