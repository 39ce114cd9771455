"""Each layer as a C function on one row, and its call.

In the templates $real is float or double, $f the suffix of its functions and literals, $name
the prefix of the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import layers as L
from .._validation import Array
from ..layers import Layer


@dataclass(frozen=True)
class Call:
    """How a layer is called.

    Attributes
    ----------
    helper : str
        Key of ``HELPERS``.
    sizes : tuple of int
        Lengths of input and output, or of a row that is changed in place.
    tensors : dict
        Tables that the function reads, in order; None for one that the layer lacks.
    numbers : tuple of float
        Constants, after the tables.
    moves : bool
        Whether the output goes to another buffer.
    """

    helper: str
    sizes: tuple[int, ...]
    tensors: dict[str, Array | None] = field(default_factory=dict)
    numbers: tuple[float, ...] = ()
    moves: bool = False


def _each(formula: str, parameters: str = "", v: str = "x[i]") -> str:
    """A function that changes each number v of a row."""
    return (f"static void ${{name}}_KEY($real *x, int n{parameters})\n{{\n    int i;\n"
            f"    for (i = 0; i < n; i++) {{\n        const $real v = {v};\n"
            f"        x[i] = {formula};\n    }}\n}}\n")


_DENSE = """\
/* y = x w + bias: n outputs of m inputs, w is (m, n). */
static void ${name}_dense(const $real *restrict x, $real *restrict y, int m, int n,
                          const $real *restrict w, const $real *restrict bias)
{
    int i = 0, j;
    for (j = 0; j < n; j++)
        y[j] = bias ? bias[j] : 0;
    for (; i + 4 <= m; i += 4, w += 4 * n)
        for (j = 0; j < n; j++)
            y[j] += (x[i] * w[j] + x[i + 1] * w[n + j])
                    + (x[i + 2] * w[2 * n + j] + x[i + 3] * w[3 * n + j]);
    for (; i < m; i++, w += n)
        for (j = 0; j < n; j++)
            y[j] += x[i] * w[j];
}
"""
_SOFTMAX = """\
static void ${name}_softmax($real *x, int n)
{
    $real top = x[0], total = 0;
    int i;
    for (i = 1; i < n; i++)
        if (x[i] > top)
            top = x[i];
    for (i = 0; i < n; i++)
        total += x[i] = x[i] == top ? 1 : exp$f(x[i] - top);
    for (i = 0; i < n; i++)
        x[i] /= total;
}
"""
_LOG_SOFTMAX = """\
static void ${name}_log_softmax($real *x, int n)
{
    $real top = x[0], others = 0;
    int i, at = 0;
    for (i = 1; i < n; i++)
        if (x[i] > top)
            top = x[at = i];
    for (i = 0; i < n; i++)
        if (i != at)
            others += x[i] == top ? 1 : exp$f(x[i] - top);
    others = log1p$f(others);
    for (i = 0; i < n; i++)
        x[i] = (x[i] == top ? 0 : x[i] - top) - others;
}
"""
_LAYER_NORM = """\
static void ${name}_layer_norm($real *x, int n, const $real *weight, const $real *bias,
                               $real epsilon)
{
    $real mean = 0, rest = 0, spread = 0;
    int i;
    for (i = 0; i < n; i++)
        mean += x[i];
    mean /= n;
    for (i = 0; i < n; i++) {
        x[i] -= mean;
        rest += x[i];
    }
    rest /= n;
    for (i = 0; i < n; i++) {
        x[i] -= rest;
        spread += x[i] * x[i];
    }
    spread = spread / n + epsilon;
    spread = 1 / sqrt$f(spread) + (spread - spread); /* not 0 where squares overflow */
    for (i = 0; i < n; i++)
        x[i] = x[i] * spread * weight[i] + bias[i];
}
"""
_BATCH_NORM = """\
static void ${name}_batch_norm($real *x, int n, const $real *mean, const $real *scale,
                               const $real *bias)
{
    int i;
    for (i = 0; i < n; i++)
        x[i] = (x[i] - mean[i]) * scale[i] + bias[i];
}
"""
_CUT = "x[i] < -1000 ? -1000 : x[i]"  # as in layers.smooth
_EACH = {
    "sigmoid": _each("1 / (1 + exp$f(-v))"),
    "tanh": _each("tanh$f(v)"),
    "relu": _each("v < 0 ? 0 : v"),
    "leaky_relu": _each("v < 0 ? slope * v : v", ", $real slope"),
    "elu": _each("v > 0 ? v : alpha * expm1$f(v)", ", $real alpha"),
    "silu": _each("v / (1 + exp$f(-v))", v=_CUT),
    "softplus": _each("(v > 0 ? v : 0) + log1p$f(exp$f(-fabs$f(v)))"),
    "gelu": _each("half * v * (1 + erf$f(root * v))", ", $real half, $real root", _CUT),
    "gelu_tanh": _each("v / (1 + exp$f(-v * (first + third * (v * v))))",
                       ", $real first, $real third", _CUT),
}
#: Functions by name; none calls another.
HELPERS: dict[str, str] = {
    "dense": _DENSE, "softmax": _SOFTMAX, "log_softmax": _LOG_SOFTMAX,
    "layer_norm": _LAYER_NORM, "batch_norm": _BATCH_NORM,
    **{key: text.replace("KEY", key) for key, text in _EACH.items()}}


def _dense(layer: Any) -> Call:
    own: dict[str, Array | None] = {"weight": layer.weight.T, "bias": layer.bias}
    return Call("dense", (layer.n_in, layer.n_out), own, moves=True)


def _plain(helper: str) -> Callable[[Any], Call]:
    return lambda layer: Call(helper, (layer.n_out,))


def _gelu(layer: Any) -> Call:
    if layer.approximate == "tanh":
        first = np.sqrt(8 / np.pi)
        return Call("gelu_tanh", (layer.n_out,), numbers=(first, 0.044715 * first))
    return Call("gelu", (layer.n_out,), numbers=(0.5, np.sqrt(0.5)))


def _layer_norm(layer: Any) -> Call:
    return Call("layer_norm", (layer.n_out,), dict(layer.parameters()), (layer.epsilon,))


def _batch_norm(layer: Any) -> Call:
    own = layer.parameters()
    scale = own["weight"] / np.sqrt(own["running_var"].astype(np.float64) + layer.epsilon)
    return Call("batch_norm", (layer.n_out,),
                {"mean": own["running_mean"], "scale": scale, "bias": own["bias"]})


def _nothing(layer: Any) -> None:
    return None


#: How each layer is called, None for those that change nothing; a test checks that all of
#: ``LAYERS`` are here.
CALLS: dict[type[Layer], Callable[[Any], Call | None]] = {
    L.Dense: _dense, L.Sigmoid: _plain("sigmoid"), L.Tanh: _plain("tanh"),
    L.ReLU: _plain("relu"), L.Softmax: _plain("softmax"),
    L.LogSoftmax: _plain("log_softmax"), L.Dropout: _nothing, L.Identity: _nothing,
    L.Flatten: _nothing,
    L.BatchNorm: _batch_norm, L.LayerNorm: _layer_norm, L.SiLU: _plain("silu"),
    L.Softplus: _plain("softplus"), L.GELU: _gelu,
    L.LeakyReLU: lambda x: Call("leaky_relu", (x.n_out,), numbers=(x.negative_slope,)),
    L.ELU: lambda x: Call("elu", (x.n_out,), numbers=(x.alpha,))}
