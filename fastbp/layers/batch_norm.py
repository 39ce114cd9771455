"""Batch normalisation: by mean and var over the rows of a batch in training, which also updates
running averages of them; by these averages otherwise.

See ``normalization`` for the formulas. Source: Ioffe & Szegedy, Batch Normalization, 2015. The
running variance is the unbiased one, as in PyTorch.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .._jit import kernel
from .._validation import check_real, checked
from ..kernels.copy import clear_row
from ..kernels.passes import down_columns, root
from ..kernels.tile import WRITE
from ..table import KEY
from .base import Kernels
from .normalization import Norm, clear, difference, row, slopes

#: Rows of the layer's workspace: for each unit the mean, the rest that its rounding loses,
#: 1 / sqrt(var + epsilon), the sums over the batch of dy * xhat and of dy, and two sums over a
#: block of rows; then the number of rows of the batch. The rest preserves small spreads around
#: large numbers.
_MEAN, _REST, _INVERSE, _ALONG, _LEVEL, _SOME, _MORE, _ROWS = range(8)
#: Rows summed one after the other, before their sum is added to that of other blocks.
_BLOCK = 512


def _centred(x, mean, rest):
    gap = (x - mean) - rest
    return (), (gap, gap * gap)


def _normal(x, mean, rest, inverse, weight, bias):
    return (weight * (((x - mean) - rest) * inverse) + bias,), ()


def _pulled_by_batch(x, dy, mean, rest, inverse, weight, level, along, count):
    hat = ((x - mean) - rest) * inverse
    return (weight * inverse * ((dy - level / count) - hat * (along / count)),), ()


def _normal_by_averages(x, average, spread, weight, bias, epsilon):
    return (weight * ((x - average) * (1 / root(spread + epsilon))) + bias,), ()


def _pulled_by_averages(dy, weight, spread, epsilon):
    return (dy * weight * (1 / root(spread + epsilon)),), ()


def _gradients_by_averages(x, dy, average, spread, epsilon):
    return (), (dy * ((x - average) * (1 / root(spread + epsilon))), dy)


from_first, centre = down_columns(difference, sums=1), down_columns(_centred, sums=2)
gradients, gradients_by_averages = (down_columns(one, sums=2)
                                    for one in (slopes, _gradients_by_averages))
normal, normal_by_averages = down_columns(_normal), down_columns(_normal_by_averages)
pulled_by_batch, pulled_by_averages = (down_columns(one)
                                       for one in (_pulled_by_batch, _pulled_by_averages))


@kernel
def _statistics(ws, extra, ld):
    """Mean, its rest and 1 / sqrt(var + epsilon) of a batch, as ``batch_statistics`` left them."""
    return ws[extra + _MEAN * ld:], ws[extra + _REST * ld:], ws[extra + _INVERSE * ld:]


@kernel
def _set_zero(n, one, two):
    for j in range(n):
        one[j] = 0
        two[j] = 0


@kernel
def _add(n, one, some, two, more):
    for j in range(n):
        one[j] += some[j]
        two[j] += more[j]


@kernel
def batch_statistics(op, now, params, ws, x, dy, rows, left, right):
    """Mean and 1 / sqrt(var + epsilon) of columns over the batch; updates the averages.

    The mean is that of the differences from the first row, then corrected by the mean of what
    remains after centring, as in ``layer_norm``. One row has no variance to average.
    """
    ld, n, at = op["ld_out"], right - left, op["param"] + left
    extra = op["extra"] + left
    mean, rest, inverse = _statistics(ws, extra, ld)
    over, some, more = ws[extra + _ALONG * ld:], ws[extra + _SOME * ld:], ws[extra + _MORE * ld:]
    one, count, epsilon = x.dtype.type(1), x.dtype.type(rows), x.dtype.type(op["a"])
    _set_zero(n, mean, over)
    from_first(rows, n, ld, (x[left:],), (x[left:],), (), (), (), (mean,))
    for j in range(n):
        first, away = x[left + j], mean[j] / count
        mean[j] = first + away
        rest[j] = (first - mean[j]) + away
        inverse[j] = 0
    for r in range(0, rows, _BLOCK):
        _set_zero(n, some, more)
        centre(min(_BLOCK, rows - r), n, ld, (x[r * ld + left:],), (mean, rest), (), (), (),
               (some, more))
        _add(n, over, some, inverse, more)
    fresh, step = x.dtype.type(op["b"]), 2 * op["ld_param"]
    unbiased = count / x.dtype.type(max(rows - 1, 1))
    running, spread = params[at + step:at + step + n], params[at + step + op["ld_param"]:]
    for j in range(n):
        off = over[j] / count
        variance = inverse[j] / count - off * off
        rest[j] += off
        # NaN, not 0, where squares overflow: the loss shows it.
        inverse[j] = one / np.sqrt(variance + epsilon) + (variance - variance)
        if rows > 1:
            running[j] += fresh * ((mean[j] - running[j]) + rest[j])
            spread[j] += fresh * (variance * unbiased - spread[j])


@kernel
def batch_gradients(op, now, params, ws, x, dy, rows, left, right):
    """Sums over the batch of dy * xhat and dy, by columns."""
    ld, n, extra = op["ld_out"], right - left, op["extra"] + left
    along, level = ws[extra + _ALONG * ld:], ws[extra + _LEVEL * ld:]
    some, more = ws[extra + _SOME * ld:], ws[extra + _MORE * ld:]
    _set_zero(n, along, level)
    for r in range(0, rows, _BLOCK):
        _set_zero(n, some, more)
        at = r * ld + left
        gradients(min(_BLOCK, rows - r), n, ld, (x[at:], dy[at:]), _statistics(ws, extra, ld), (),
                  (), (), (some, more))
        _add(n, along, some, level, more)
    if left == 0:
        ws[op["extra"] + _ROWS * ld] = rows


@kernel
def forward_by_averages(op, now, params, ws, x, y):
    """Forward by the averages. Several threads may run it at once: it writes nothing but y."""
    n, ld, ldp, at = op["n_out"], op["ld_out"], op["ld_param"], op["param"]
    rows = y.size // ld
    normal_by_averages(rows, n, ld, (x,),
                       (params[at + 2 * ldp:], params[at + 3 * ldp:], params[at:],
                        params[at + ldp:]), (x.dtype.type(op["a"]),), (), (y,), ())
    for r in range(rows):
        clear_row(y, r * ld + n, ld - n)


@kernel
def backward_by_averages(op, now, params, ws, x, y, dy, dx):
    n, ld, at = op["n_out"], op["ld_out"], op["param"]
    rows = dx.size // ld
    pulled_by_averages(rows, n, ld, (dy,), (params[at:], params[at + 3 * op["ld_param"]:]),
                       (x.dtype.type(op["a"]),), (), (dx,), ())
    for r in range(rows):
        clear_row(dx, r * ld + n, ld - n)


@kernel
def batch_norm_forward(op, now, params, ws, x, y):
    """Forward by the statistics of the batch in training, else by the averages."""
    if now[KEY] == 0:
        forward_by_averages(op, now, params, ws, x, y)
        return
    n, ld, at, extra = op["n_out"], op["ld_out"], op["param"], op["extra"]
    weight, bias, rows = params[at:], params[at + op["ld_param"]:], y.size // ld
    mean, rest, inverse = _statistics(ws, extra, ld)
    normal(rows, n, ld, (x,), (mean, rest, inverse, weight, bias), (), (), (y,), ())
    for r in range(rows):
        clear_row(y, r * ld + n, ld - n)


@kernel
def batch_norm_backward(op, now, params, ws, x, y, dy, dx):
    if now[KEY] == 0:
        backward_by_averages(op, now, params, ws, x, y, dy, dx)
        return
    n, ld, extra = op["n_out"], op["ld_out"], op["extra"]
    weight, rows = params[op["param"]:], dx.size // ld
    mean, rest, inverse = _statistics(ws, extra, ld)
    along, level = ws[extra + _ALONG * ld:], ws[extra + _LEVEL * ld:]
    pulled_by_batch(rows, n, ld, (x, dy), (mean, rest, inverse, weight, level, along),
                    (ws[extra + _ROWS * ld],), (), (dx,), ())
    for r in range(rows):
        clear_row(dx, r * ld + n, ld - n)


@kernel
def batch_norm_gradient(op, now, params, ws, x, dy, rows, first, last, left, right, grad, ld,
                        mode, scale):
    """Row 0 of the gradient is dweight, row 1 dbias; always both (see ``tasks``)."""
    ldx, ldp, n, extra = op["ld_out"], op["ld_param"], right - left, op["extra"] + left
    if mode == WRITE:
        clear(grad, last - first, n, op["n_out"], ld)
    if now[KEY] != 0:
        for j in range(n):
            grad[j] += ws[extra + _ALONG * ldx + j]
            grad[ld + j] += ws[extra + _LEVEL * ldx + j]
    else:
        at = op["param"] + left
        gradients_by_averages(rows, n, ldx, (x[left:], dy[left:]),
                              (params[at + 2 * ldp:], params[at + 3 * ldp:]),
                              (x.dtype.type(op["a"]),), (), (), (grad, grad[ld:]))


class BatchNorm(Norm):
    """Normalise each unit over the rows of a batch; y = weight * xhat + bias.

    A batch of one row (the last of an epoch may be one) has no variance: it leaves the running
    averages as they are, and teaches the layers below nothing. ``batch_size=1`` is refused, and so
    is a first fit of one row; give two or more to ``partial_fit`` and ``warm_start``, too.

    Parameters
    ----------
    momentum : float
        Weight of a new batch in the running averages, in (0, 1]; as in PyTorch.
    epsilon : float
        Added to the variance, above 0.

    Attributes
    ----------
    running_mean, running_var
        Averages over training, among ``parameters()``; not trained by gradient.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    kernels = Kernels(batch_norm_forward, batch_norm_backward, batch_norm_gradient,
                      couple_forward=batch_statistics, couple_backward=batch_gradients)
    buffers = ("running_mean", "running_var")
    _initial: ClassVar[dict[str, float]] = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0,
                                            "running_var": 1.0}

    momentum: float = checked(check_real, 0.0, 1.0, open_low=True, open_high=False)
    _config_names = ("momentum", "epsilon")

    def __init__(self, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__(epsilon)
        self.momentum = momentum

    def kernels_for(self, dtype: np.dtype[Any], n_in: int, n_out: int) -> Kernels:
        """By the averages if the layer is not trainable: rows are not coupled then."""
        kernels = self.kernels
        if self.trainable or kernels is not BatchNorm.kernels:
            return kernels
        return Kernels(forward_by_averages, backward_by_averages, kernels.gradient)

    def extra_size(self, rows: int, ld: int) -> int:
        """A row for each item, but one number for the last."""
        return _ROWS * ld + 1

    def constants(self) -> tuple[float, float]:
        """(epsilon, momentum)."""
        return self.epsilon, self.momentum

    running_mean = row("running_mean", "The average of the means (n,), a writable view.")
    running_var = row("running_var", "The average of the variances (n,), a writable view.", 0.0)
