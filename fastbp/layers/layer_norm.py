"""Layer normalisation: mean and var over the units of a row.

See ``normalization`` for the formulas. Source: Ba, Kiros & Hinton, Layer Normalization, 2016.
"""

from __future__ import annotations

import numpy as np

from .._jit import kernel
from ..kernels.arrays import row_of
from ..kernels.copy import clear_row
from ..kernels.passes import along_row, down_columns
from ..kernels.tile import WRITE
from ..table import ROW
from .base import Kernels
from .normalization import Norm, clear

#: Numbers of a row that LayerNorm keeps for the way back: its first one, the mean of the others'
#: distances from that, and 1 / sqrt(var + epsilon). From the first one small spreads around large
#: numbers are exact.
_KEPT = 3


def _shifted(x, by):
    gap = x - by
    return (gap,), (gap, gap * gap)


def _scaled(gap, weight, bias, inverse):
    return (weight * (gap * inverse) + bias,), ()


def _pulls(x, dy, weight, first, mean, inverse):
    g = dy * weight
    return (), (g, g * (((x - first) - mean) * inverse))


def _pulled(x, dy, weight, first, mean, inverse, level, along):
    return (inverse * ((dy * weight - level) - ((x - first) - mean) * inverse * along),), ()


def _row_gradients(x, dy, first, mean, inverse):
    return (), (dy * (((x - first) - mean) * inverse), dy)


shift, scale_row = along_row(_shifted, sums=2), along_row(_scaled)
pulls, pull = along_row(_pulls, sums=2), along_row(_pulled)
row_gradients = down_columns(_row_gradients, sums=2, row_numbers=_KEPT)


@kernel
def layer_norm_forward(op, now, params, ws, x, y):
    """By rows; what ``_KEPT`` tells stays in the workspace."""
    n, ld, at, ldp = op["n_out"], op["ld_out"], op["param"], op["ld_param"]
    weight, bias = params[at:at + n], params[at + ldp:at + ldp + n]
    one, count, epsilon = x.dtype.type(1), x.dtype.type(n), x.dtype.type(op["a"])
    kept = op["extra"] + _KEPT * np.int64(now[ROW])
    for r in range(y.size // ld):
        row, out = row_of(x, r, ld), row_of(y, r, ld)
        first = row[0]
        mean = shift(n, (row,), (first,), (out,))[0] / count
        inverse = one / np.sqrt(shift(n, (out,), (mean,), (out,))[1] / count + epsilon)
        at_row = kept + _KEPT * r
        ws[at_row], ws[at_row + 1], ws[at_row + 2] = first, mean, inverse
        scale_row(n, (out, weight, bias), (inverse,), (out,))
        clear_row(out, n, ld - n)


@kernel
def layer_norm_backward(op, now, params, ws, x, y, dy, dx):
    n, ld, at = op["n_out"], op["ld_out"], op["param"]
    weight, count = params[at:at + n], x.dtype.type(n)
    kept = op["extra"] + _KEPT * np.int64(now[ROW])
    for r in range(dx.size // ld):
        row, given, out = row_of(x, r, ld), row_of(dy, r, ld), row_of(dx, r, ld)
        at_row = kept + _KEPT * r
        first, mean, inverse = ws[at_row], ws[at_row + 1], ws[at_row + 2]
        level, along = pulls(n, (row, given, weight), (first, mean, inverse), ())
        pull(n, (row, given, weight), (first, mean, inverse, level / count, along / count),
             (out,))
        clear_row(out, n, ld - n)


@kernel
def layer_norm_gradient(op, now, params, ws, x, dy, rows, first, last, left, right, grad, ld,
                        mode, scale):
    """Row 0 of the gradient is dweight, row 1 dbias; summed in the order of the rows, on top of
    what is there where ``mode`` is not WRITE."""
    ldx, columns, kept = op["ld_out"], right - left, op["extra"] + _KEPT * np.int64(now[ROW])
    if mode == WRITE:
        clear(grad, last - first, columns, op["n_out"], ld)
    row_gradients(rows, columns, ldx, (x[left:], dy[left:]), (), (), ws[kept:], (),
                  (grad, grad[ld:]))


class LayerNorm(Norm):
    """Normalise each row over its units; y = weight * xhat + bias.

    Parameters
    ----------
    epsilon : float
        Added to the variance, above 0.
    """

    kernels = Kernels(layer_norm_forward, layer_norm_backward, layer_norm_gradient, adds=True)

    def extra_size(self, rows: int, ld: int) -> int:
        """What ``_KEPT`` tells, of each row."""
        return _KEPT * rows
