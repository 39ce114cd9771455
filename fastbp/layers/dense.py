"""Dense (fully connected): every output sees every input.

    Y = X W' + bias        dX = dY W        dW = dY' X        dbias = sum of the rows of dY

W is (n, m); w_ji joins input i to output j. Source: seed text, section "Fully connected
layer", where dy_j/dx_i = w_ji (the text writes dy_i/dx_i).

In memory W is transposed, m rows of n (padded), with the bias as row m: the layout in which
the forward product reads whole vectors. ``weight`` is a view of shape (n, m).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._jit import kernel
from .._validation import (
    Array,
    as_array,
    as_matrix,
    as_vector,
    check_bool,
    check_dtype,
    check_finite,
    check_size,
)
from ..initializers import Initializer, get
from ..kernels.arrays import span
from ..kernels.columns import ONE, ZERO
from ..kernels.matmul import multiply, product_for, row_product
from ..kernels.tile import ADD, FEW, MASK, WRITE
from ..kernels.transpose import transpose
from ..kernels.vectors import pad, row_length
from ..table import address
from .base import Kernels, Layer, Tensor
from .bias import bias_gradient
from .drivers import backward_rows, forward_rows, gradient_rows
from .first import first_forward, first_gradient
from .narrow import narrow_forward, narrow_gradient, thin_gradient
from .wide import WIDE, columns_backward, columns_forward, wide_backward


@kernel
def dense_forward(op, now, params, ws, x, y):
    """y = x W' + bias for the rows of one block."""
    m, ldy, at = op["n_in"], op["ld_out"], op["param"]
    bias = span(params, at + m * ldy, at + (m + 1) * ldy)
    weight = span(params, at, params.size)
    multiply(op, y.size // ldy, op["n_out"], m, x, op["ld_in"], ONE, weight, ldy, y, ldy, bias,
             ZERO, ADD + op["clip"], x.dtype.type(0))


@kernel
def dense_forward_row(op, now, params, ws, x, y):
    """y = W x + bias for one row."""
    m, ldy, at = op["n_in"], op["ld_out"], op["param"]
    row_product(m, x, span(params, at, params.size), ldy, y,
                span(params, at + m * ldy, params.size))


@kernel
def dense_backward(op, now, params, ws, x, y, dy, dx):
    """dx = dy W for the rows of one block; the mirror is W as (n, ldx)."""
    ldx, mask = op["ld_in"], op["mask"] != 0
    multiply(op, dx.size // ldx, op["n_in"], op["n_out"], dy, op["ld_out"], ONE,
             span(ws, op["mirror"], ws.size), ldx, dx, ldx, x if mask else dx, ldx,
             MASK if mask else WRITE, x.dtype.type(0))


@kernel
def dense_gradient(op, now, params, ws, x, dy, rows, first, last, left, right, grad, ld, mode,
                   scale):
    """dW' = X' dY of a tile, summed over all rows in order; row m is the bias gradient."""
    ldx, ldy, columns = op["ld_in"], op["ld_out"], right - left
    inputs = min(last, op["n_in"]) - first
    tile, dy = span(x, first, x.size), span(dy, left, dy.size)
    multiply(op, inputs, columns, rows, tile, ONE, ldx, dy, ldy, grad, ld, grad, ld, mode, scale)
    if last > op["n_in"]:
        bias_gradient(dy, ldy, rows, span(grad, inputs * ld, inputs * ld + columns), mode, scale)


def _padded(X: Array, columns: int) -> Array:
    """X with zero columns added up to ``columns``; X itself when it has as many."""
    if X.shape[1] == columns:
        return X
    wide = np.zeros((X.shape[0], columns), X.dtype)
    wide[:, :X.shape[1]] = X
    return wide


class Dense(Layer):
    """Fully connected layer, Y = X W' + bias.

    Parameters
    ----------
    n_in, n_out : int
        Length of a row of input (m) and of output (n).
    bias : bool
        False leaves it out: Y = X W'.
    weight_init : str or callable
        Name in ``fastbp.initializers`` or a function (rng, n_in, n_out) -> (n_out, n_in).
        The bias starts at zero.
    dtype : str, keyword only
        For a layer used by itself, "float32" or "float64"; a network uses its own.
    seed : int, keyword only
        For a layer used by itself; a network uses its own.

    Attributes
    ----------
    weight, weight_grad : ndarray, shape (n_out, n_in)
        Writable views. Parameters are drawn on first access; a network keeps the values of
        a layer that was accessed before.
    bias, bias_grad : ndarray, shape (n_out,), or None
        Writable views; None with ``bias=False``.

    Raises
    ------
    TypeError, ValueError
        For sizes below 1, a ``bias`` that is no bool, an unknown initializer or dtype.
    """

    kernels = Kernels(dense_forward, dense_backward, dense_gradient, dense_forward_row,
                      correcting=(dense_gradient, narrow_gradient, thin_gradient),
                      rectifying=(dense_forward, dense_backward, narrow_forward))
    _shaping = (*Layer._shaping, "use_bias")

    def __init__(self, n_in: int, n_out: int, bias: bool = True, *,
                 weight_init: str | Initializer = "glorot_uniform",
                 dtype: Any = "float32", seed: int = 0) -> None:
        super().__init__()
        self.n_in: int = check_size(n_in, "n_in")
        self.n_out: int = check_size(n_out, "n_out")
        self.use_bias = check_bool(bias, "bias")
        self.weight_init = weight_init
        self._draw = get(weight_init, "weight_init")
        self._dtype = check_dtype(dtype)
        self._seed = check_size(seed, "seed", 0)

    def connect(self, n_in: int) -> int:
        """Accept rows of length ``n_in``; return ``n_out``."""
        if n_in != self.n_in:
            raise ValueError(f"{self!r} takes {self.n_in} inputs, the layer below gives {n_in}")
        return self.n_out

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """``weight`` (n_out, n_in) and, unless off, ``bias`` (n_out,)."""
        shapes: dict[str, tuple[int, ...]] = {"weight": (self.n_out, self.n_in)}
        return shapes | ({"bias": (self.n_out,)} if self.use_bias else {})

    def layout(self, dtype: np.dtype[Any]) -> tuple[tuple[Tensor, ...], int]:
        """m + 1 rows of n, padded: W transposed, then the bias (zeros without one)."""
        ld = row_length(self.n_out, dtype)
        tensors = [Tensor("weight", (self.n_out, self.n_in), 0, (1, ld))]
        if self.use_bias:
            tensors.append(Tensor("bias", (self.n_out,), self.n_in * ld, (1,)))
        return tuple(tensors), (self.n_in + 1) * ld

    def trained_rows(self) -> tuple[int, int]:
        """W transposed, and the bias if there is one; the bias is not penalised."""
        return self.n_in + self.use_bias, self.n_in

    def kernels_for(self, dtype: np.dtype[Any], n_in: int, n_out: int) -> Kernels:
        """The kernels, with those for narrow, thin and wide layers where the sizes call for them
        and no subclass has its own."""
        kernels, lanes = self.kernels, pad(1, dtype)
        narrow = 4 * n_out <= lanes and n_in >= lanes
        if kernels.gradient is dense_gradient:
            if narrow:
                kernels = kernels._replace(gradient=narrow_gradient)
            elif n_in <= FEW:
                kernels = kernels._replace(gradient=thin_gradient)
        if kernels[:2] == (dense_forward, dense_backward) and not kernels.couple_forward:
            own = type(self).layout is Dense.layout  # another one knows nothing of panels
            if own and kernels.gradient in (dense_gradient, narrow_gradient, thin_gradient):
                kernels = kernels._replace(columns_forward=columns_forward,
                                           columns_backward=columns_backward)
            if own and kernels.gradient is dense_gradient:
                kernels = kernels._replace(first_forward=first_forward,
                                           first_gradient=first_gradient)
            if n_in * row_length(n_out, dtype) * dtype.itemsize >= WIDE:
                kernels = kernels._replace(backward=wide_backward)
        if narrow and kernels.forward is dense_forward:
            kernels = kernels._replace(forward=narrow_forward)
        return kernels

    def mirrored(self, dtype: np.dtype[Any], n_in: int, n_out: int) -> bool:
        """Unless the backward kernel is that of wide layers."""
        return self.kernels_for(dtype, n_in, n_out).backward is not wide_backward

    def op(self, dtype: np.dtype[Any], n_in: int, n_out: int, *, back: bool = True,
           row: bool = True) -> Array:
        """As in ``Layer``, for buffers whose output rows are whole vectors."""
        op = super().op(dtype, n_in, n_out, back=back, row=row)
        op["ld_out"] = row_length(n_out, dtype)
        op["product"] = address("product", product_for(n_in, n_out, dtype), dtype)
        return op

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the weight, zero the bias."""
        weight = as_array(self._draw(rng, self.n_in, self.n_out), "weight_init")
        if weight.shape != (self.n_out, self.n_in):
            raise ValueError(f"weight_init must give shape {(self.n_out, self.n_in)}, "
                             f"got {weight.shape}")
        with np.errstate(over="ignore"):  # too large for float32: reported below, with its place
            weight = weight.astype(self.weight.dtype)
        check_finite(weight, "weight_init")
        self.weight[...] = weight
        if self.use_bias:
            self.bias[...] = 0

    def _own(self) -> None:
        """Give a layer outside of networks buffers of its own, on first access."""
        if self._flat is None:
            size = self.layout(self._dtype)[1]
            self.bind(np.zeros(size, self._dtype), np.zeros(size, self._dtype))
            try:
                self.initialize(np.random.default_rng(self._seed))
            except BaseException:  # from a user's initializer: nothing has been drawn
                self._flat = self._flat_grad = None
                raise

    @property
    def weight(self) -> Array:
        """W (n_out, n_in), a writable view."""
        self._own()
        return self.parameters()["weight"]

    @weight.setter
    def weight(self, value: Any) -> None:
        given = as_matrix(value, "weight", self.weight.dtype, self.n_in, allow_nonfinite=True)
        if len(given) != self.n_out:  # NumPy would broadcast a single row
            raise ValueError(f"weight must have {self.n_out} rows, got shape {given.shape}")
        check_finite(given, "weight")  # without as_matrix's advice, which is for networks
        self.weight[...] = given

    @property
    def weight_grad(self) -> Array:
        """dW (n_out, n_in), a writable view."""
        self._own()
        return self.gradients()["weight"]

    @property
    def bias(self) -> Any:
        """The bias (n_out,), a writable view; None with ``bias=False``."""
        self._own()
        return self.parameters().get("bias")

    @bias.setter
    def bias(self, value: Any) -> None:
        if not self.use_bias:
            raise ValueError("bias cannot be set: the layer was made with bias=False")
        dtype = self._dtype if self._flat is None else self._flat.dtype  # nothing is drawn yet
        given = as_vector(value, "bias", self.n_out, dtype)
        self.bias[...] = given

    @property
    def bias_grad(self) -> Any:
        """dbias (n_out,), a writable view; None with ``bias=False``."""
        self._own()
        return self.gradients().get("bias")

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Array:
        """Y = X W' + bias.

        Parameters
        ----------
        X : array_like, shape (b, n_in)
        allow_nonfinite : bool
            False rejects NaN and infinity.

        Returns
        -------
        ndarray, shape (b, n_out)

        Raises
        ------
        ValueError, TypeError
            If X is not a matrix of numbers with n_in columns.
        """
        self._own()
        assert self._flat is not None
        X = self._take_input(X, allow_nonfinite)
        op = self.op(X.dtype, self.n_in, self.n_out)
        narrow = self.kernels_for(X.dtype, self.n_in, self.n_out).forward is narrow_forward
        wide = _padded(X, row_length(self.n_in, X.dtype)) if narrow else X
        op["param"], op["ld_in"] = 0, wide.shape[1]
        Y = np.empty((len(X), int(op["ld_out"][0])), X.dtype)
        forward_rows(op, np.uint64(0), self._flat, self._flat[:0], wide.ravel(), Y.ravel())
        Y = np.ascontiguousarray(Y[:, :self.n_out])
        self._kept = X, Y, Y[:0].ravel()
        return Y

    def backward(self, dY: Any) -> Array:
        """dX = dY W of shape (b, n_in); sets ``weight_grad`` and ``bias_grad``."""
        dY, X, *_ = self._take_gradient(dY)
        assert self._flat is not None and self._flat_grad is not None
        ldx, ldy = row_length(self.n_in, dY.dtype), row_length(self.n_out, dY.dtype)
        op, wide, none = self.op(dY.dtype, self.n_in, self.n_out), _padded(dY, ldy), dY[:0].ravel()
        op["ld_in"], op["param"] = ldx, 0
        gradient_rows(op, np.uint64(0), self._flat, none, _padded(X, ldx).ravel(),
                      wide.ravel(), self._flat_grad)
        mirror = none
        if self.mirrored(dY.dtype, self.n_in, self.n_out):
            mirror = np.zeros(self.n_out * ldx, dY.dtype)
            transpose(self.n_in, self.n_out, self._flat, ldy, mirror, ldx)
        op["mirror"] = 0
        dX = np.empty((len(dY), ldx), dY.dtype)
        backward_rows(op, np.uint64(0), self._flat, mirror, dX.ravel(), wide.ravel(),
                      wide.ravel(), dX.ravel())
        return np.ascontiguousarray(dX[:, :self.n_in])

    def config(self) -> dict[str, Any]:
        """Sizes, bias, initializer."""
        config: dict[str, Any] = {"n_in": self.n_in, "n_out": self.n_out}
        if not self.use_bias:
            config["bias"] = False
        if self.weight_init != "glorot_uniform" and isinstance(self.weight_init, str):
            config["weight_init"] = self.weight_init
        return config

    def __repr__(self) -> str:
        extra = "".join(f", {k}={v!r}" for k, v in list(self.config().items())[2:])
        return f"Dense({self.n_in}, {self.n_out}{extra})"
