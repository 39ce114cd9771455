"""Layer normalisation: mean and var over the units of a row.

See ``normalization`` for the formulas. Source: Ba, Kiros & Hinton, Layer Normalization, 2016.
"""

from __future__ import annotations

import numpy as np

from .._jit import kernel
from ..kernels.add import add_scaled
from ..kernels.arrays import row_of, span, stack_array
from ..kernels.columns import ZERO
from ..kernels.copy import clear_row
from ..kernels.passes import along_row, down_columns
from ..kernels.tile import SCALE, WRITE
from ..table import ROW
from .base import TASK_ROW, Kernels
from .normalization import Norm, clear, difference, slopes

#: Numbers of a row that LayerNorm keeps for the backward pass: mean, the rest that its rounding
#: loses, and 1 / sqrt(var + epsilon). The rest preserves small spreads around large numbers.
_KEPT = 3
#: Most bytes of the weight in a tile of parameters, and of the bias.
_PART = 2 * TASK_ROW


def _centred(x, mean, rest):
    gap = (x - mean) - rest
    return (gap,), (gap, gap * gap)


def _scaled(gap, weight, bias, left, inverse):
    return (weight * ((gap - left) * inverse) + bias,), ()


def _pulls(x, dy, weight, mean, rest, inverse):
    g = dy * weight
    return (), (g, g * (((x - mean) - rest) * inverse))


def _pulled(x, dy, weight, mean, rest, inverse, level, along):
    return (inverse * ((dy * weight - level) - ((x - mean) - rest) * inverse * along),), ()


from_first, centre = along_row(difference, sums=1), along_row(_centred, sums=2)
scale_row = along_row(_scaled)
pulls, pull = along_row(_pulls, sums=2), along_row(_pulled)
row_gradients = down_columns(slopes, sums=2, row_numbers=_KEPT)


@kernel
def layer_norm_forward(op, now, params, ws, x, y):
    """Row by row; the numbers counted by ``_KEPT`` stay in the workspace.

    The mean is taken of the differences from the first number, as a sum of all numbers would lose
    small differences. Where the first is far from the others, the mean of what remains after
    centring (``left``) corrects it.
    """
    n, ld, at, ldp = op["n_out"], op["ld_out"], op["param"], op["ld_param"]
    weight, bias = params[at:at + n], params[at + ldp:at + ldp + n]
    one, count, epsilon = x.dtype.type(1), x.dtype.type(n), x.dtype.type(op["a"])
    kept = op["extra"] + _KEPT * np.int64(now[ROW])
    for r in range(y.size // ld):
        row, out = row_of(x, r, ld), row_of(y, r, ld)
        first = row[0]
        away = from_first(n, (row,), (first,), ())[0] / count
        mean = first + away
        rest = (first - mean) + away
        total, squares = centre(n, (row,), (mean, rest), (out,))
        left = total / count
        var = squares / count - left * left + epsilon
        inverse = one / np.sqrt(var) + (var - var)  # NaN, not 0, where squares overflow
        at_row = kept + _KEPT * r
        ws[at_row], ws[at_row + 1], ws[at_row + 2] = mean, rest + left, inverse
        scale_row(n, (out, weight, bias), (left, inverse), (out,))
        clear_row(out, n, ld - n)


@kernel
def layer_norm_backward(op, now, params, ws, x, y, dy, dx):
    n, ld, at = op["n_out"], op["ld_out"], op["param"]
    weight, count = params[at:at + n], x.dtype.type(n)
    kept = op["extra"] + _KEPT * np.int64(now[ROW])
    for r in range(dx.size // ld):
        row, given, out = row_of(x, r, ld), row_of(dy, r, ld), row_of(dx, r, ld)
        at_row = kept + _KEPT * r
        mean, rest, inverse = ws[at_row], ws[at_row + 1], ws[at_row + 2]
        level, along = pulls(n, (row, given, weight), (mean, rest, inverse), ())
        pull(n, (row, given, weight), (mean, rest, inverse, level / count, along / count),
             (out,))
        clear_row(out, n, ld - n)


@kernel
def layer_norm_gradient(op, now, params, ws, x, dy, rows, first, last, left, right, grad, ld,
                        mode, scale):
    """Row 0 of the gradient is dweight, row 1 dbias, always both (see ``tasks``); summed in the
    order of the rows, with ADD onto what is there. With SCALE the sums are completed first, then
    scaled and added: so they have the same bits as a shard's gradient that is kept."""
    ldx, columns, kept = op["ld_out"], right - left, op["extra"] + _KEPT * np.int64(now[ROW])
    weight, bias = span(grad, ZERO, columns), span(grad, ld, ld + columns)
    along, level = weight, bias
    if mode == SCALE:
        along = span(stack_array(x, _PART), ZERO, columns)
        level = span(stack_array(x, _PART), ZERO, columns)
        for j in range(columns):
            along[j] = 0
            level[j] = 0
    elif mode == WRITE:
        clear(grad, last - first, columns, op["n_out"], ld)
    row_gradients(rows, columns, ldx, (x[left:], dy[left:]), (), (), (ws[kept:],), (),
                  (along, level))
    if mode == SCALE:
        add_scaled(weight, scale, along)
        add_scaled(bias, scale, level)


class LayerNorm(Norm):
    """Normalise each row over its units; y = weight * xhat + bias.

    Parameters
    ----------
    epsilon : float
        Added to the variance, above 0.

    Raises
    ------
    ValueError, TypeError
        For an epsilon that is no such number.
    """

    kernels = Kernels(layer_norm_forward, layer_norm_backward, layer_norm_gradient, adds=True)

    def extra_size(self, rows: int, ld: int) -> int:
        """``_KEPT`` numbers for each row."""
        return _KEPT * rows
