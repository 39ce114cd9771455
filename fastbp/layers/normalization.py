"""Normalisation: numbers of mean 0 and variance 1, then a scale and a shift that are learnt.

    xhat = (x - mean) / sqrt(var + epsilon)        y = weight * xhat + bias

    LayerNorm   mean and var over the units of a row
    BatchNorm   mean and var over the rows of a batch in training, where running averages of
                them are kept; those averages elsewhere

With g = dy * weight and means taken over the same numbers,

    dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(var + epsilon)
    dweight = sum over rows of dy * xhat           dbias = sum over rows of dy

and dx = g / sqrt(var + epsilon) where the averages are constants. Sources: Ba, Kiros &
Hinton, Layer Normalization, 2016; Ioffe & Szegedy, Batch Normalization, 2015. The running
variance is the unbiased one, as PyTorch's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .._jit import kernel
from .._validation import Array, check_real
from ..kernels.arrays import row_of
from ..kernels.reduce import magnitudes, row_sum, wide_sum
from ..kernels.tile import WRITE
from ..kernels.vectors import row_length
from ..table import KEY, ROW
from .base import Kernels, Layer, Tensor

#: Numbers of a row that are kept from the way there to the way back.
_KEPT = 3


@kernel
def layer_norm_forward(op, now, params, ws, x, y):
    """By rows; mean and 1 / sqrt(var + epsilon) of each stay in the workspace.

    So does what the mean's rounding leaves, which is taken off too: small spreads around large
    numbers stay.
    """
    n, ld, at, ldp = op["n_out"], op["ld_out"], op["param"], op["ld_param"]
    weight, bias = params[at:at + n], params[at + ldp:at + ldp + n]
    count, epsilon = x.dtype.type(n), x.dtype.type(op["a"])
    kept = op["extra"] + _KEPT * np.int64(now[ROW])
    for r in range(y.size // ld):
        row, out = x[r * ld:r * ld + n], row_of(y, r, ld)
        exact = wide_sum(row, n) / n
        mean = x.dtype.type(exact)
        rest = x.dtype.type(exact - mean)
        for i in range(n):
            out[i] = (row[i] - mean) - rest
        inverse = x.dtype.type(1) / np.sqrt(magnitudes(out, n)[1] / count + epsilon)
        at_row = kept + _KEPT * r
        ws[at_row], ws[at_row + 1], ws[at_row + 2] = mean, rest, inverse
        for i in range(n):
            out[i] = weight[i] * (out[i] * inverse) + bias[i]
        for i in range(n, ld):
            out[i] = 0


@kernel
def layer_norm_backward(op, now, params, ws, x, y, dy, dx):
    """By rows; dx holds what is summed meanwhile."""
    n, ld, at = op["n_out"], op["ld_out"], op["param"]
    weight, count = params[at:at + n], x.dtype.type(n)
    kept = op["extra"] + _KEPT * np.int64(now[ROW])
    for r in range(dx.size // ld):
        row, given, out = x[r * ld:r * ld + n], dy[r * ld:r * ld + n], row_of(dx, r, ld)
        at_row = kept + _KEPT * r
        mean, rest, inverse = ws[at_row], ws[at_row + 1], ws[at_row + 2]
        for i in range(n):
            out[i] = given[i] * weight[i] * (((row[i] - mean) - rest) * inverse)
        along = row_sum(out, n) / count
        for i in range(n):
            out[i] = given[i] * weight[i]
        level = row_sum(out, n) / count
        for i in range(n):
            out[i] = inverse * ((out[i] - level) - ((row[i] - mean) - rest) * inverse * along)
        for i in range(n, ld):
            out[i] = 0


@kernel
def clear(grad, count, columns, n, ld):
    """Zeros to ``count`` rows; to their pads too where all n columns are meant."""
    for k in range(count):
        for j in range(ld if columns == n else columns):
            grad[k * ld + j] = 0


@kernel
def layer_norm_gradient(op, now, params, ws, x, dy, rows, first, last, left, right, grad, ld,
                        mode, scale):
    """Row 0 of the gradient is dweight, row 1 dbias; summed in the order of the rows, on top of
    what is there where ``mode`` is not WRITE."""
    ldx, columns, kept = op["ld_out"], right - left, op["extra"] + _KEPT * np.int64(now[ROW])
    if mode == WRITE:
        clear(grad, last - first, columns, op["n_out"], ld)
    for r in range(rows):
        row, given = x[r * ldx + left:r * ldx + right], dy[r * ldx + left:r * ldx + right]
        at_row = kept + _KEPT * r
        mean, rest, inverse = ws[at_row], ws[at_row + 1], ws[at_row + 2]
        if first == 0:
            for j in range(columns):
                grad[j] += given[j] * (((row[j] - mean) - rest) * inverse)
        if last == 2:
            out = grad[(1 - first) * ld:(1 - first) * ld + columns]
            for j in range(columns):
                out[j] += given[j]


@kernel
def batch_statistics(op, now, params, ws, x, dy, rows, left, right):
    """Mean and 1 / sqrt(var + epsilon) of columns over the batch, and their averages."""
    ld, n, at = op["ld_out"], right - left, op["param"] + left
    mean = ws[op["extra"] + left:op["extra"] + right]
    inverse = ws[op["extra"] + ld + left:op["extra"] + ld + right]
    count, epsilon = x.dtype.type(rows), x.dtype.type(op["a"])
    for j in range(n):
        mean[j] = 0
        inverse[j] = 0
    for r in range(rows):
        row = x[r * ld + left:r * ld + right]
        for j in range(n):
            mean[j] += row[j]
    for j in range(n):
        mean[j] /= count
    for r in range(rows):
        row = x[r * ld + left:r * ld + right]
        for j in range(n):
            gap = row[j] - mean[j]
            inverse[j] += gap * gap
    fresh, step = x.dtype.type(op["b"]), 2 * op["ld_param"]
    unbiased = x.dtype.type(max(rows - 1, 1))
    running, spread = params[at + step:at + step + n], params[at + step + op["ld_param"]:]
    for j in range(n):
        running[j] += fresh * (mean[j] - running[j])
        spread[j] += fresh * (inverse[j] / unbiased - spread[j])
        inverse[j] = x.dtype.type(1) / np.sqrt(inverse[j] / count + epsilon)


@kernel
def batch_gradients(op, now, params, ws, x, dy, rows, left, right):
    """Sums over the batch of dy and dy * xhat, by columns."""
    ld, n, extra = op["ld_out"], right - left, op["extra"] + left
    mean, inverse = ws[extra:extra + n], ws[extra + ld:extra + ld + n]
    level, along = ws[extra + 2 * ld:extra + 2 * ld + n], ws[extra + 3 * ld:extra + 3 * ld + n]
    for j in range(n):
        level[j] = 0
        along[j] = 0
    for r in range(rows):
        row, given = x[r * ld + left:r * ld + right], dy[r * ld + left:r * ld + right]
        for j in range(n):
            level[j] += given[j]
            along[j] += given[j] * ((row[j] - mean[j]) * inverse[j])
    if left == 0:
        ws[op["extra"] + 4 * ld] = rows


@kernel
def batch_norm_forward(op, now, params, ws, x, y):
    n, ld, at, extra = op["n_out"], op["ld_out"], op["param"], op["extra"]
    weight, bias = params[at:at + n], params[at + op["ld_param"]:at + op["ld_param"] + n]
    average = params[at + 2 * op["ld_param"]:]
    spread = params[at + 3 * op["ld_param"]:]
    mean, inverse = ws[extra:extra + n], ws[extra + ld:extra + ld + n]
    one, epsilon = x.dtype.type(1), x.dtype.type(op["a"])
    for r in range(y.size // ld):
        row, out = x[r * ld:r * ld + n], row_of(y, r, ld)
        if now[KEY] != 0:
            for j in range(n):
                out[j] = weight[j] * ((row[j] - mean[j]) * inverse[j]) + bias[j]
        else:  # several threads may be here: nothing is written but y
            for j in range(n):
                scale = one / np.sqrt(spread[j] + epsilon)
                out[j] = weight[j] * ((row[j] - average[j]) * scale) + bias[j]
        for j in range(n, ld):
            out[j] = 0


@kernel
def batch_norm_backward(op, now, params, ws, x, y, dy, dx):
    n, ld, at, extra = op["n_out"], op["ld_out"], op["param"], op["extra"]
    weight, spread = params[at:at + n], params[at + 3 * op["ld_param"]:]
    mean, inverse = ws[extra:extra + n], ws[extra + ld:extra + ld + n]
    level, along = ws[extra + 2 * ld:extra + 2 * ld + n], ws[extra + 3 * ld:extra + 3 * ld + n]
    one, epsilon, count = x.dtype.type(1), x.dtype.type(op["a"]), ws[extra + 4 * ld]
    for r in range(dx.size // ld):
        row, given, out = x[r * ld:r * ld + n], dy[r * ld:r * ld + n], row_of(dx, r, ld)
        if now[KEY] != 0:
            for j in range(n):
                hat = (row[j] - mean[j]) * inverse[j]
                out[j] = weight[j] * inverse[j] * (
                    (given[j] - level[j] / count) - hat * (along[j] / count))
        else:
            for j in range(n):
                out[j] = given[j] * weight[j] * (one / np.sqrt(spread[j] + epsilon))
        for j in range(n, ld):
            out[j] = 0


@kernel
def batch_norm_gradient(op, now, params, ws, x, dy, rows, first, last, left, right, grad, ld,
                        mode, scale):
    """Row 0 of the gradient is dweight, row 1 dbias."""
    ldx, n, extra = op["ld_out"], right - left, op["extra"] + left
    if mode == WRITE:
        clear(grad, last - first, n, op["n_out"], ld)
    average = params[op["param"] + 2 * op["ld_param"] + left:]
    spread = params[op["param"] + 3 * op["ld_param"] + left:]
    one, epsilon = x.dtype.type(1), x.dtype.type(op["a"])
    for r in range(rows if now[KEY] == 0 else 0):
        row, given = x[r * ldx + left:r * ldx + right], dy[r * ldx + left:r * ldx + right]
        if first == 0:
            for j in range(n):
                grad[j] += given[j] * ((row[j] - average[j]) * (
                    one / np.sqrt(spread[j] + epsilon)))
        if last == 2:
            for j in range(n):
                grad[(1 - first) * ld + j] += given[j]
    if now[KEY] != 0:
        for j in range(n):
            if first == 0:
                grad[j] += ws[extra + 3 * ldx + j]
            if last == 2:
                grad[(1 - first) * ld + j] += ws[extra + 2 * ldx + j]


class _Norm(Layer):
    """A weight and a bias for each unit, one row each, and what a subclass adds."""

    _initial: ClassVar[dict[str, float]] = {"weight": 1.0, "bias": 0.0}

    def __init__(self, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = check_real(epsilon, "epsilon", open_low=True)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """One number a unit for each tensor."""
        return {name: (int(self.n_in or 0),) for name in self._initial}

    def layout(self, dtype: np.dtype[Any]) -> tuple[tuple[Tensor, ...], int]:
        """One padded row for each tensor."""
        ld = row_length(self.n_in or 0, dtype)
        return tuple(Tensor(name, shape, k * ld, (1,))
                     for k, (name, shape) in enumerate(self.shapes().items())), (
                         ld * len(self._initial))

    def trained_rows(self) -> tuple[int, int]:
        """Weight and bias; no penalties."""
        return 2, 0

    def initialize(self, rng: np.random.Generator) -> None:
        """Nothing is drawn: the layer starts as plain normalisation."""
        for name, value in self.parameters().items():
            value[...] = self._initial[name]

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Array:
        """Normalised rows (b, n), scaled and shifted; see ``Layer.forward``."""
        if self._flat is None:  # a layer by itself takes its size from what it sees
            X = self._take_input(X, allow_nonfinite)
            self.connect(X.shape[1])
            size = self.layout(X.dtype)[1]
            self.bind(np.zeros(size, X.dtype), np.zeros(size, X.dtype))
            self.initialize(np.random.default_rng(0))
        return super().forward(X, allow_nonfinite=allow_nonfinite)

    def constants(self) -> tuple[float, float]:
        """(epsilon, 0)."""
        return self.epsilon, 0.0

    def config(self) -> dict[str, Any]:
        """Epsilon."""
        return {"epsilon": self.epsilon}


class LayerNorm(_Norm):
    """Normalise each row over its units; y = weight * xhat + bias.

    Parameters
    ----------
    epsilon : float
        Added to the variance, above 0.
    """

    kernels = Kernels(layer_norm_forward, layer_norm_backward, layer_norm_gradient, adds=True)

    def extra_size(self, rows: int, ld: int) -> int:
        """Mean, what its rounding leaves, and inverse deviation of each row."""
        return _KEPT * rows


class BatchNorm(_Norm):
    """Normalise each unit over the rows of a batch; y = weight * xhat + bias.

    Parameters
    ----------
    momentum : float
        Share of a new batch in the running averages, in (0, 1]; PyTorch's meaning.
    epsilon : float
        Added to the variance, above 0.

    Attributes
    ----------
    running_mean, running_var
        Averages over training, among ``parameters()``; not trained by gradient.
    """

    kernels = Kernels(batch_norm_forward, batch_norm_backward, batch_norm_gradient,
                      couple_forward=batch_statistics, couple_backward=batch_gradients)
    buffers = ("running_mean", "running_var")
    _initial: ClassVar[dict[str, float]] = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0,
                                            "running_var": 1.0}

    def __init__(self, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__(epsilon)
        self.momentum = check_real(momentum, "momentum", 0.0, 1.0, open_low=True,
                                   open_high=False)

    def extra_size(self, rows: int, ld: int) -> int:
        """Mean, inverse deviation, sums of dy and dy * xhat; the number of rows."""
        return 4 * ld + 1

    def constants(self) -> tuple[float, float]:
        """(epsilon, momentum)."""
        return self.epsilon, self.momentum

    def config(self) -> dict[str, Any]:
        """Momentum and epsilon."""
        return {"momentum": self.momentum, "epsilon": self.epsilon}
