"""Networks as ONNX, the format of many runtimes.

Operations are those of opset 17; for columns of a table also those of ai.onnx.ml, see
``onnx_columns``. GELU is not among them and is composed of Erf or Tanh. ONNX Runtime has no
Erf, Elu and Softplus for float64, so there they are composed of others.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import layers as L
from .._validation import Array
from ..kernels.erf import D_HI, D_P, D_Q, D_T
from ..layers import Layer
from .files import write_whole
from .onnx_columns import features_of
from .onnx_graph import Graph, too_large
from .parts import Parts, cast, take_apart, warn_of_digits
from .safetensors import version


def to_onnx(model: Any, path: str | os.PathLike[str] | None = None, *,
            classes: Sequence[Any] | None = None, X: Any = None) -> bytes:
    """Export a trained model as an ONNX file (opset 17, IR version 8), in the network's dtype.

    Parameters
    ----------
    model : Network, Model, fitted MLPClassifier or MLPRegressor of fastbp, or fitted Pipeline
        A pipeline of scikit-learn ends with an estimator of fastbp.
    path : str or path, optional
        Where to write it, whole or not at all.
    classes : sequence of str, int, float or bool, optional
        Labels of the outputs by index, in place of the model's own; not for pipelines.
    X : DataFrame or array_like, optional
        Only for pipelines: some rows of what it reads, for the types. Needed if the pipeline
        begins with a ColumnTransformer or an encoder that was fitted on a DataFrame.

    Returns
    -------
    bytes
        The content of the file.

    Raises
    ------
    ImportError
        Without the package onnx, for pipelines skl2onnx (extras ``onnx``, ``skl2onnx``).
    TypeError
        If ``model`` is something else, or has a layer of the user's own: names it.
    ValueError
        For classes that do not fit the outputs, parameters that are not finite, or more than
        2 GiB of them, a target's mean or scale beyond the dtype; for ``X`` that does not fit the
        pipeline.
    OSError
        If the file cannot be written; an earlier one stays as it was.

    Notes
    -----
    A network reads "X" (N, n_in). A model with a preprocessor reads its raw columns, each an
    input (N, 1) by its own name: numbers and booleans as floats of the network's dtype with
    NaN for missing, words as strings with "" for missing. An unknown or missing word that
    ``predict`` refuses is an error of the runtime too; a missing number that it refuses makes
    the row's outputs NaN. Booleans are not checked to be 0 or 1. Columns and predictions of a
    float32 network are float32, unlike ``predict``'s: seven digits, so that numbers around 1.7e9
    are 128 apart. A warning names columns whose rows that makes alike.

    Outputs are "Y" (N, n_out), what ``predict`` gives, and for losses that give probabilities
    "probabilities", what ``predict_proba`` gives. With classes they are "label" (N,) and
    "probabilities" (N, classes), as with sklearn-onnx without its ZipMap; if each output is a
    label of its own, "label" holds 0 and 1 (N, n_out). If a column has the name of an output,
    the output's name gets an underscore. Names of features and classes and fastbp's version
    are in the metadata.

    If a row's probabilities are NaN its "label" is the first class: ONNX allows nothing else,
    so check the probabilities. Runtimes also give NaN for a softmax of infinities, where
    ``predict_proba`` takes the largest.

    The steps of a pipeline before its last are converted by skl2onnx, which computes in
    float32 and raises errors of its own for those that it does not know. A pipeline reads "X"
    (N, n_features) of float32. If it was fitted on a DataFrame and begins with a
    ColumnTransformer, a OneHotEncoder or an OrdinalEncoder, each column that it uses is an
    input (N, 1) by its own name: numbers and booleans as float32 with NaN for missing, words
    as strings. ONNX has no missing words: fit with "" in their place, and with
    ``SimpleImputer(missing_values="")``. Outputs are "label" (strings or int64) and
    "probabilities", or "Y", of float32. For other estimators that fastbp's are inside of, and
    for steps that need a later opset, see ``register_skl2onnx``.
    """
    if hasattr(model, "named_steps"):
        from .onnx_pipeline import pipeline_to_onnx

        if classes is not None:
            raise ValueError("classes are not for pipelines, whose last step has its own; got "
                             f"{classes!r}")
        data = pipeline_to_onnx(model, X)
    else:
        if X is not None:
            raise ValueError(f"X is only for pipelines, not for {type(model).__name__}")
        parts = take_apart(model, classes, NODES, "ONNX")
        properties = {"fastbp": version(), "fastbp.features": json.dumps(parts.features)}
        if parts.classes is not None:
            properties["fastbp.classes"] = json.dumps(parts.classes)
        data = graph_of(parts).model(properties, version(), repr(parts.network))
        warn_of_digits(parts, parts.network.dtype, "not those of a network of float64")
    if path is not None:
        write_whole(path, data)
    return data


def graph_of(parts: Parts) -> Graph:
    """The graph of a model: its inputs, nodes and outputs.

    Raises
    ------
    ImportError
        Without the package onnx.
    ValueError
        For more than 2 GiB of parameters.
    """
    network = parts.network
    too_large(network.params)
    graph = Graph(network.dtype)
    if parts.columns is None:
        x = graph.take("X", network.dtype, network.n_in)
    else:
        x = features_of(graph, parts.columns)
    for k, layer in enumerate(network.layers):
        x = NODES[type(layer)](graph, layer, x, f"{k}.")
    _outputs(graph, parts, x)
    return graph


# -- layers: (graph, layer, input, prefix of the names of the parameters) -> output ---------


def _same(g: Graph, layer: Layer, x: str, prefix: str) -> str:
    return x


def _plain(kind: str, **attributes: Any) -> Callable[[Graph, Layer, str, str], str]:
    return lambda g, layer, x, prefix: g.op(kind, x, **attributes)


def _dense(g: Graph, layer: Any, x: str, prefix: str) -> str:
    values = [g.constant(value, prefix + name) for name, value in layer.parameters().items()]
    return g.op("Gemm", x, *values, transB=1)


def _leaky_relu(g: Graph, layer: Any, x: str, prefix: str) -> str:
    if g.dtype == np.float32:
        return g.op("LeakyRelu", x, alpha=layer.negative_slope)
    left = g.op("Mul", x, g.number(layer.negative_slope))  # the attribute has 32 bits
    return g.op("Where", g.op("Less", x, g.number(0)), left, x)


def _elu(g: Graph, layer: Any, x: str, prefix: str) -> str:
    if g.dtype == np.float32:
        return g.op("Elu", x, alpha=layer.alpha)
    # e^x - 1 = 2 t / (1 - t) with t = tanh(x / 2): near 0 no digit cancels
    t = g.op("Tanh", g.op("Mul", g.op("Min", x, g.number(0)), g.number(0.5)))
    left = g.op("Div", g.op("Mul", t, g.number(2 * layer.alpha)), g.op("Sub", g.number(1), t))
    return g.op("Where", g.op("Greater", x, g.number(0)), x, left)


def _softplus(g: Graph, layer: Any, x: str, prefix: str) -> str:
    if g.dtype == np.float32:
        return g.op("Softplus", x)
    small = g.op("Exp", g.op("Neg", g.op("Abs", x)))
    rest = g.op("Log", g.op("Add", small, g.number(1)))
    return g.op("Add", g.op("Max", x, g.number(0)), rest)


def _silu(g: Graph, layer: Any, x: str, prefix: str) -> str:
    return g.op("Mul", _above(g, x), g.op("Sigmoid", x))


def _above(g: Graph, x: str) -> str:
    """x, cut as in ``layers.smooth``: -inf times 0 would be NaN."""
    return g.op("Max", x, g.number(-1000))


def _erf(g: Graph, x: str) -> str:
    """erf; for float64 by the polynomials of ``kernels.erf``."""
    if g.dtype == np.float32:
        return g.op("Erf", x)
    a = g.op("Min", g.op("Abs", x), g.number(D_HI))
    z, one = g.op("Mul", a, a), g.number(1)
    near = g.op("Mul", a, g.horner(D_P, z))
    u = g.op("Div", one, g.op("Add", one, g.op("Mul", a, g.number(D_T))))
    q = g.horner(D_Q, g.op("Sub", u, g.number(0.5)))
    far = g.op("Sub", one, g.op("Mul", g.op("Exp", g.op("Neg", z)), q))
    return g.op("Mul", g.op("Sign", x), g.op("Where", g.op("Less", a, one), near, far))


def _gelu(g: Graph, layer: Any, x: str, prefix: str) -> str:
    x = _above(g, x)
    if layer.approximate == "tanh":
        cube = g.op("Mul", g.op("Mul", x, x), x)
        v = g.op("Add", x, g.op("Mul", cube, g.number(0.044715)))
        share = g.op("Tanh", g.op("Mul", v, g.number(math.sqrt(2 / math.pi))))
    else:
        share = _erf(g, g.op("Mul", x, g.number(math.sqrt(0.5))))
    return g.op("Mul", g.op("Mul", x, g.number(0.5)), g.op("Add", share, g.number(1)))


def _layer_norm(g: Graph, layer: Any, x: str, prefix: str) -> str:
    weight, bias = (g.constant(v, prefix + name) for name, v in layer.parameters().items())
    # Not LayerNormalization: its epsilon has 32 bits, and runtimes lose small spreads around
    # large numbers. The second mean is of what the rounding of the first leaves.
    for _ in range(2):
        x = g.op("Sub", x, g.op("ReduceMean", x, axes=[-1]))
    # epsilon as a vector, added before the mean: elsewhere ONNX Runtime rounds it to 32 bits
    small = g.constant(np.full(layer.n_in, layer.epsilon, g.dtype))
    var = g.op("ReduceMean", g.op("Add", g.op("Mul", x, x), small), axes=[-1])
    x = g.op("Add", g.op("Div", x, g.op("Sqrt", var)), g.op("Sub", var, var))  # NaN, not 0, of inf
    return g.op("Add", g.op("Mul", x, weight), bias)


def _batch_norm(g: Graph, layer: Any, x: str, prefix: str) -> str:
    own = layer.parameters()
    if g.dtype == np.float64:  # the attribute has 32 bits
        scale = own["weight"] / np.sqrt(own["running_var"] + layer.epsilon)
        x = g.op("Sub", x, g.constant(own["running_mean"], prefix + "running_mean"))
        x = g.op("Mul", x, g.constant(scale, prefix + "scale"))
        return g.op("Add", x, g.constant(own["bias"], prefix + "bias"))
    values = [g.constant(own[name], prefix + name)
              for name in ("weight", "bias", "running_mean", "running_var")]
    return g.op("BatchNormalization", x, *values, epsilon=layer.epsilon)


#: How each layer is written; a test checks that all of ``LAYERS`` are here.
NODES: dict[type[Layer], Callable[[Graph, Any, str, str], str]] = {
    L.Dense: _dense, L.Sigmoid: _plain("Sigmoid"), L.Tanh: _plain("Tanh"),
    L.ReLU: _plain("Relu"), L.Softmax: _plain("Softmax", axis=-1),
    L.LogSoftmax: _plain("LogSoftmax", axis=-1), L.Dropout: _same, L.Identity: _same,
    L.Flatten: _same,
    L.BatchNorm: _batch_norm, L.LayerNorm: _layer_norm, L.LeakyReLU: _leaky_relu, L.ELU: _elu,
    L.SiLU: _silu, L.Softplus: _softplus, L.GELU: _gelu}


# -- outputs ---------------------------------------------------------------------------------


def _outputs(g: Graph, parts: Parts, y: str) -> None:
    n_out = parts.network.n_out
    scores = p = y
    if parts.exponential:
        y = g.op("Exp", y)
    if parts.scale != 1 or parts.mean != 0:
        y = _in_units(g, y, parts)
    if parts.link in ("softmax", "sigmoid"):
        p = (g.op("Softmax", y, axis=-1) if parts.link == "softmax" else g.op("Sigmoid", y))
    if parts.classes is None:
        g.give("Y", y, g.dtype, n_out)
        if parts.link is not None:
            g.give("probabilities", p, g.dtype, n_out)
        return
    if parts.several:
        g.give("label", _yes(g, p, parts), np.int64, n_out)
    else:
        if parts.binary:
            yes = _yes(g, p, parts)
            index = g.op("Squeeze", yes, g.constant(np.array([1])))
            p = g.op("Concat", g.op("Sub", g.number(1), p), p, axis=1)
        else:
            index = g.op("ArgMax", p, axis=1, keepdims=0)
        kind: Any = {str: object, int: np.int64, float: np.float64, bool: np.bool_}
        labels: Array = np.array(parts.classes, kind[type(parts.classes[0])])
        g.give("label", g.op("Gather", g.constant(labels, "classes"), index), labels.dtype, None)
    if parts.link is None:
        g.give("Y", scores, g.dtype, n_out)
    else:
        g.give("probabilities", p, g.dtype, max(n_out, 2))


def _in_units(g: Graph, y: str, parts: Parts) -> str:
    """y in the units of the target column: computed in float64 as ``predict`` does, rounded once.
    """
    double = np.dtype(np.float64)
    for name in ("scale", "mean"):
        cast(f"the target's {name}", np.asarray(getattr(parts, name)), g.dtype)
    if g.dtype != double:
        y = g.op("Cast", y, to=g.kind(double))
    y = g.op("Add", g.op("Mul", y, g.constant(double.type(parts.scale), "scale")),
             g.constant(double.type(parts.mean), "mean"))
    return y if g.dtype == double else g.op("Cast", y, to=g.kind(g.dtype))


def _yes(g: Graph, p: str, parts: Parts) -> str:
    """1 where p is above the loss's threshold, else 0."""
    above = g.op("Greater", p, g.number(parts.network.loss_function.threshold))
    return g.op("Cast", above, to=g.kind(np.int64))
