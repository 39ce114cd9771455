"""Element-wise layers whose derivative is a function of x, not of y. Not in place.

    SiLU             y = x s(x)                 dx = dy (s + x s (1 - s)),  s = 1 / (1 + e^-x)
    Softplus         y = ln(1 + e^x)            dx = dy s(x)
    GELU, "none"     y = x F(x)                 dx = dy (F + x e^(-x^2/2) / sqrt(2 pi)),
                                                F = (1 + erf(x / sqrt 2)) / 2
    GELU, "tanh"     y = x s(v)                 dx = dy (s + x s (1 - s) v'),
                                                v = sqrt(8 / pi) (x + 0.044715 x^3)

The last is the usual x (1 + tanh(v / 2)) / 2, for s(v) = (1 + tanh(v / 2)) / 2. Beyond +-1000
every factor is at its limit, so x is clamped there where 0 * inf would arise. Sources: Hendrycks
& Gimpel, Gaussian Error Linear Units, 2016 (SiLU too); derivatives by the product rule.
"""

from __future__ import annotations

import math

from .._jit import kernel
from .._validation import check_choice, checked
from ..kernels.erf import erf
from ..kernels.vmath import exp, select, sigmoid, softplus
from .base import Kernels, Layer

_FAR = 1000.0
_ROOT_HALF, _DENSITY = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)
_V1 = math.sqrt(8 / math.pi)
_V3 = 0.044715 * _V1


@kernel
def above(x):
    """x, at least -1000; NaN passes."""
    low = -type(x)(_FAR)
    return select(x < low, low, x)


@kernel
def near(x):
    """x, clamped to [-1000, 1000]; NaN passes."""
    high = type(x)(_FAR)
    return above(select(x > high, high, x))


@kernel(interleave=4)
def silu_forward(op, now, params, ws, x, y):
    for i in range(y.size):
        y[i] = above(x[i]) * sigmoid(x[i])


@kernel(interleave=4)
def silu_backward(op, now, params, ws, x, y, dy, dx):
    one = x.dtype.type(1)
    for i in range(dx.size):
        v = near(x[i])
        s = sigmoid(v)
        dx[i] = dy[i] * (s + v * (s * (one - s)))


@kernel(interleave=4)
def softplus_forward(op, now, params, ws, x, y):
    for i in range(y.size):
        y[i] = softplus(x[i])


@kernel(interleave=4)
def softplus_backward(op, now, params, ws, x, y, dy, dx):
    for i in range(dx.size):
        dx[i] = dy[i] * sigmoid(x[i])


@kernel(interleave=4)
def gelu_forward(op, now, params, ws, x, y):
    """``a`` of the op is 0 for "none", 1 for "tanh"."""
    one, half, root = x.dtype.type(1), x.dtype.type(0.5), x.dtype.type(_ROOT_HALF)
    first, third = x.dtype.type(_V1), x.dtype.type(_V3)
    if op["a"] == 0:
        for i in range(y.size):
            v = above(x[i])
            y[i] = half * v * (one + erf(root * v))
    else:
        for i in range(y.size):
            v = above(x[i])
            y[i] = v * sigmoid(v * (first + third * (v * v)))


@kernel(interleave=4)
def gelu_backward(op, now, params, ws, x, y, dy, dx):
    one, half, root = x.dtype.type(1), x.dtype.type(0.5), x.dtype.type(_ROOT_HALF)
    density, three = x.dtype.type(_DENSITY), x.dtype.type(3)
    first, third = x.dtype.type(_V1), x.dtype.type(_V3)
    if op["a"] == 0:
        for i in range(dx.size):
            v = near(x[i])
            dx[i] = dy[i] * (half * (one + erf(root * v))
                             + v * (density * exp(-half * v * v)))
    else:
        for i in range(dx.size):
            v = near(x[i])
            s, slope = sigmoid(v * (first + third * (v * v))), first + three * third * (v * v)
            dx[i] = dy[i] * (s + v * (s * (one - s)) * slope)


class SiLU(Layer):
    """y = x / (1 + e^-x), also called swish; dX = dY * (s + X * s * (1 - s))."""

    kernels = Kernels(silu_forward, silu_backward)


class Softplus(Layer):
    """y = ln(1 + e^x), without overflow; dX = dY / (1 + e^-X)."""

    kernels = Kernels(softplus_forward, softplus_backward)


class GELU(Layer):
    """y = x times the share of the normal distribution below x.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        "none" computes with erf, "tanh" with the formula of that name; as in PyTorch.

    Raises
    ------
    ValueError, TypeError
        For anything else.
    """

    kernels = Kernels(gelu_forward, gelu_backward)

    approximate: str = checked(check_choice, ("none", "tanh"))
    _config_names = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def constants(self) -> tuple[float, float]:
        """(0 for "none", 1 for "tanh"; 0)."""
        return float(self.approximate == "tanh"), 0.0
