"""Element-wise layers. One row block is a flat run of elements: x, y, dx, dy alike.

    Sigmoid   y = 1 / (1 + e^-x)   dx = dy * y * (1 - y)
    Tanh      y = tanh x           dx = dy * (1 - y^2)
    ReLU      y = max(x, 0)        dx = dy where y > 0, else 0 (0 at 0)
    LeakyReLU y = x, or s x where x < 0          dx = dy where y > 0, else dy s
    ELU       y = x, or a (e^x - 1) where x < 0  dx = dy where y > 0, else dy (y + a)
    Identity  y = x                dx = dy

Each works in place: y holds x when the forward kernel starts, dx holds dy when the backward
kernel does, and the derivative is a function of y.
Source: seed text, section "Sigmoid layer"; the others likewise by the chain rule. ELU:
Clevert, Unterthiner & Hochreiter, 2016; at 0 LeakyReLU and ELU take the slope of the left side.
"""

from __future__ import annotations

from .._jit import kernel
from .._validation import check_real, checked
from ..kernels.vmath import select, sigmoid, tanh
from .base import Kernels, Layer


@kernel(interleave=4)
def sigmoid_forward(op, now, params, ws, x, y):
    for i in range(y.size):
        y[i] = sigmoid(y[i])


@kernel
def sigmoid_backward(op, now, params, ws, x, y, dy, dx):
    one = y.dtype.type(1)
    for i in range(dx.size):
        dx[i] = dx[i] * (y[i] * (one - y[i]))


@kernel(interleave=4)
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
        y[i] = select(y[i] < zero, zero, y[i])  # in this order NaN passes


@kernel
def relu_backward(op, now, params, ws, x, y, dy, dx):
    zero = y.dtype.type(0)
    for i in range(dx.size):
        dx[i] = select(y[i] == zero, zero, dx[i])


@kernel
def leaky_relu_forward(op, now, params, ws, x, y):
    zero, slope = y.dtype.type(0), y.dtype.type(op["a"])
    for i in range(y.size):  # at slope 0 as ReLU, also at -inf
        y[i] = select(y[i] < zero, select(slope == zero, zero, slope * y[i]), y[i])


@kernel
def leaky_relu_backward(op, now, params, ws, x, y, dy, dx):
    zero, slope = y.dtype.type(0), y.dtype.type(op["a"])
    for i in range(dx.size):
        dx[i] = select(y[i] > zero, dx[i], slope * dx[i])


@kernel(interleave=4)
def elu_forward(op, now, params, ws, x, y):
    """e^x - 1 = 2 t / (1 - t) with t = tanh(x / 2): near 0 no digits cancel."""
    zero, one, half = y.dtype.type(0), y.dtype.type(1), y.dtype.type(0.5)
    alpha = y.dtype.type(op["a"])
    for i in range(y.size):
        t = tanh(half * select(y[i] > zero, zero, y[i]))
        y[i] = select(y[i] > zero, y[i], alpha * ((t + t) / (one - t)))


@kernel
def elu_backward(op, now, params, ws, x, y, dy, dx):
    zero, alpha = y.dtype.type(0), y.dtype.type(op["a"])
    for i in range(dx.size):
        dx[i] = select(y[i] > zero, dx[i], dx[i] * (y[i] + alpha))


@kernel
def identity_forward(op, now, params, ws, x, y):
    """x is y already."""


@kernel
def identity_backward(op, now, params, ws, x, y, dy, dx):
    """dy is dx already."""


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

    kernels = Kernels(relu_forward, relu_backward, rectifies=True)


class LeakyReLU(_FromOutput):
    """y = x where x > 0, else negative_slope * x; dX = dY, or negative_slope * dY.

    Parameters
    ----------
    negative_slope : float
        At least 0: below 0 the derivative would not be a function of y.

    Raises
    ------
    ValueError, TypeError
        For a slope that is not such a number.
    """

    kernels = Kernels(leaky_relu_forward, leaky_relu_backward)

    negative_slope: float = checked(check_real)
    _config_names = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def constants(self) -> tuple[float, float]:
        """(negative_slope, 0)."""
        return self.negative_slope, 0.0


class ELU(_FromOutput):
    """y = x where x > 0, else alpha * (e^x - 1); dX = dY, or dY * (Y + alpha).

    Parameters
    ----------
    alpha : float
        At least 0: below 0 the derivative would not be a function of y.

    Raises
    ------
    ValueError, TypeError
        For an alpha that is not such a number.
    """

    kernels = Kernels(elu_forward, elu_backward)

    alpha: float = checked(check_real)
    _config_names = ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def constants(self) -> tuple[float, float]:
        """(alpha, 0)."""
        return self.alpha, 0.0


class Identity(Layer):
    """y = x; dX = dY."""

    kernels = Kernels(identity_forward, identity_backward)
    in_place = True
