"""Dropout: in training each number is kept with probability 1 - rate, scaled up to compensate.

    y_i = x_i m_i / (1 - rate)      dx_i = dy_i m_i / (1 - rate)      m_i in {0, 1}

Outside of training y = x. The mask is a function of (seed, step, layer, row of the batch,
unit): no state, the same bits on any number of threads, and backward draws it again instead
of storing it. Source: Srivastava et al., Dropout, 2014, in the inverted form.
"""

from __future__ import annotations

import numpy as np

from .._jit import DISABLED, kernel
from .._validation import check_real, checked
from ..kernels.arrays import row_of
from ..kernels.random import mix
from ..kernels.vmath import select
from ..table import KEY, ROW
from .base import Kernels, Layer

_C1, _C2, _C3 = np.uint32(0x9E3779B1), np.uint32(0x7FEB352D), np.uint32(0x846CA68B)
_S15, _S16, _S32 = np.uint32(15), np.uint32(16), np.uint64(32)


@kernel
def bits(unit, a, b):
    """32 random bits of a unit, for a key of two halves; in 32-bit operations, which vectorise."""
    z = np.uint32(np.uint32(unit) * _C1 + a)  # Numba's sums and products have 64 bits
    z = np.uint32(z ^ (z >> _S16))
    z = np.uint32(z * _C2 + b)
    z = np.uint32(z ^ (z >> _S15))
    z = np.uint32(z * _C3)
    return np.uint32(z ^ (z >> _S16))


if DISABLED:  # plain NumPy warns of the intended overflow
    bits = np.errstate(over="ignore")(bits)


@kernel
def drop(op, now, v):
    """Mask and scale the rows of v in place."""
    ld, rate = op["ld_out"], op["a"]
    limit = np.uint32(min(np.int64((1.0 - rate) * 4294967296.0), np.int64(4294967295)))
    zero, scale = v.dtype.type(0), v.dtype.type(1.0 / (1.0 - rate))
    layer = np.uint64(op["index"]) << _S32
    for r in range(v.size // ld):
        key = mix(now[KEY] ^ mix(layer ^ (now[ROW] + np.uint64(r))))
        a, b = np.uint32(key), np.uint32(key >> _S32)
        row = row_of(v, r, ld)
        for i in range(ld):
            row[i] *= select(bits(i, a, b) < limit, scale, zero)


@kernel
def dropout_forward(op, now, params, ws, x, y):
    if now[KEY] != 0:
        drop(op, now, y)


@kernel
def dropout_backward(op, now, params, ws, x, y, dy, dx):
    if now[KEY] != 0:
        drop(op, now, dx)


class Dropout(Layer):
    """In training, zero each input with probability ``rate`` and scale the rest.

    A layer used by itself is in training if ``key`` is not 0: the mask is a function of it.

    Parameters
    ----------
    rate : float
        In [0, 1).

    Raises
    ------
    ValueError, TypeError
        For a rate outside of it.
    """

    kernels = Kernels(dropout_forward, dropout_backward)
    in_place = True

    rate: float = checked(check_real, 0.0, 1.0)
    _config_names = ("rate",)

    def __init__(self, rate: float = 0.5) -> None:
        super().__init__()
        self.rate = rate

    def constants(self) -> tuple[float, float]:
        """(rate, 0)."""
        return self.rate, 0.0
