"""erf, branch-free, as the functions of ``vmath``: within 4 ULP, NaN gives NaN, +-inf the limit.

For x below 1: x P(x^2); above: 1 - e^(-x^2) Q(t - 1/2) with t = 1 / (1 + 0.4 x). The coefficients
of P and Q start at the highest power. They are interpolated at Chebyshev nodes in 50 digits
(mpmath), P on [0, 1], Q on the t of x from 1 to where erf rounds to 1. Relative error: P 1.4e-9
and 8.2e-18, Q (of 1 - erf, at most 0.16) 3.0e-9 and 3.4e-16.
"""

from __future__ import annotations

import numpy as np

from .._jit import CONTRACT, by_dtype, kernel
from .vmath import exp, polynomial, select

_f, _d = np.float32, np.float64
_F_ZERO, _F_HALF, _F_ONE = _f(0), _f(0.5), _f(1)
# The float64 constants without a leading underscore go into ONNX files too.
_F_HI, D_HI = _f(4.2), _d(6.0)
_F_P, D_P = (
    tuple(_f(c) for c in (
        7.87587506e-5, -0.000801686429, 0.00518908742, -0.026854212, 0.112835947,
        -0.376126267, 1.12837917)),
    tuple(_d(c) for c in (
        -7.7958988270021422e-10, 1.3720064546777686e-8, -1.6208483801871706e-7,
        1.6447424703317362e-6, -1.492473690741966e-5, 0.00012055294904839708,
        -0.00085483259753896921, 0.0052239776071164227, -0.02686617064323777,
        0.11283791670945006, -0.3761263890318354, 1.1283791670955126)))
_F_Q, D_Q = (
    tuple(_f(c) for c in (
        -0.0848217437, -0.169302813, 0.127006797, 0.638792537, 1.00027164, 1.00685253,
        0.74347345, 0.210806364)),
    tuple(_d(c) for c in (
        -0.026011793704998404, 0.018291520731181232, 0.030718914767926471,
        -0.038086139353383995, -0.034995936150380844, 0.06598391365036975,
        0.058465270611395661, -0.1121171568099114, -0.16911142091606111,
        0.12779843712393693, 0.63876062520744371, 1.0002644190313425, 1.0068527728697951,
        0.74347346789794592, 0.21080636406114358)))
_F_T, D_T = _f(0.4), _d(0.4)


@kernel(inline=True)
def _erf(x, zero, half, one, highest, slope, P, Q):
    a = select(x < zero, -x, x)
    a = select(a > highest, highest, a)
    z = a * a
    far = one - exp(-z) * polynomial(one / (one + slope * a) - half, Q)
    y = select(a < one, a * polynomial(z, P), far)
    return select(x < zero, -y, y)


@kernel(fastmath=CONTRACT)
def _erf32(x):
    return _erf(x, _F_ZERO, _F_HALF, _F_ONE, _F_HI, _F_T, _F_P, _F_Q)


@kernel(fastmath=CONTRACT, forceinline=True)
def _erf64(x):
    return _erf(x, 0.0, 0.5, 1.0, D_HI, D_T, D_P, D_Q)


erf = by_dtype(_erf32, _erf64)
