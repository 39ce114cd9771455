"""The equations in plain loops, one number at a time. Slow, obvious, and complex-capable.

Nothing here comes from fastbp. Arrays are (rows, columns) of float64 or complex128; with a
complex argument x + ih the imaginary part of a result over h is its derivative to rounding
(no difference is taken, so no digits cancel).
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray


def dense(X: Array, weight: Array, bias: Array | None = None) -> Array:
    Y = np.zeros((len(X), len(weight)), np.result_type(X, weight, 0.0 if bias is None else bias))
    for r in range(len(X)):
        for j in range(len(weight)):
            total = 0 if bias is None else bias[j]
            for i in range(X.shape[1]):
                total = total + weight[j, i] * X[r, i]
            Y[r, j] = total
    return Y


def _each(f: Callable[[complex], complex]) -> Callable[..., Array]:
    def apply(X: Array) -> Array:
        values = [f(complex(v)) for v in X.ravel()]
        Y = np.array(values).reshape(X.shape)
        return Y if np.iscomplexobj(X) else Y.real

    return apply


def _sigmoid(z: complex) -> complex:
    return 1 / (1 + cmath.exp(-z)) if z.real >= 0 else cmath.exp(z) / (1 + cmath.exp(z))


sigmoid = _each(_sigmoid)
tanh = _each(cmath.tanh)
relu = _each(lambda z: z if z.real > 0 else 0j)
leaky_relu = _each(lambda z: z if z.real > 0 else 0.01 * z)
elu = _each(lambda z: z if z.real > 0 else cmath.exp(z) - 1)
identity = _each(lambda z: z)
silu = _each(lambda z: z * _sigmoid(z))
softplus = _each(lambda z: cmath.log(1 + cmath.exp(z)))


def erf(z: complex) -> complex:
    """2 / sqrt(pi) e^(-z^2) sum of 2^k z^(2k+1) / (2k+1)!!, where no terms cancel."""
    total = term = z
    k = 0
    while abs(term) > 1e-18 * abs(total):
        k += 1
        term = term * 2 * z * z / (2 * k + 1)
        total += term
    return 2 / cmath.pi**0.5 * cmath.exp(-z * z) * total


gelu = _each(lambda z: z / 2 * (1 + erf(z / 2**0.5)))
gelu_tanh = _each(lambda z: z / 2 * (1 + cmath.tanh((2 / cmath.pi)**0.5
                                                    * (z + 0.044715 * z**3))))


def softmax(X: Array) -> Array:
    Y = np.zeros_like(X)
    for r in range(len(X)):
        high = max(v.real for v in X[r])
        e = [cmath.exp(v - high) for v in X[r]]
        total = sum(e)
        for i in range(X.shape[1]):
            Y[r, i] = e[i] / total if np.iscomplexobj(X) else (e[i] / total).real
    return Y


def log_softmax(X: Array) -> Array:
    Y = np.zeros_like(X)
    for r in range(len(X)):
        high = max(v.real for v in X[r])
        lse = high + cmath.log(sum(cmath.exp(v - high) for v in X[r]))
        for i in range(X.shape[1]):
            Y[r, i] = X[r, i] - (lse if np.iscomplexobj(X) else lse.real)
    return Y


def dropout(X: Array) -> Array:
    """Outside of training."""
    return X


def layer_norm(X: Array, weight: Array | None = None, bias: Array | None = None) -> Array:
    Y = np.zeros(X.shape, np.result_type(X, 0.0 if weight is None else weight,
                                         0.0 if bias is None else bias))
    for r in range(len(X)):
        n = X.shape[1]
        mean = sum(X[r]) / n
        var = sum((v - mean) ** 2 for v in X[r]) / n
        for i in range(n):
            hat = (X[r, i] - mean) / (var + 1e-5) ** 0.5
            Y[r, i] = hat if weight is None or bias is None else weight[i] * hat + bias[i]
    return Y


def batch_norm(X: Array, weight: Array | None = None, bias: Array | None = None,
               mean: Array | None = None, var: Array | None = None) -> Array:
    """Outside of training, by the running averages."""
    Y = np.zeros(X.shape, np.result_type(X, *(0.0 if p is None else p for p in (weight, bias))))
    for r in range(len(X)):
        for i in range(X.shape[1]):
            m, v = 0.0 if mean is None else mean[i], 1.0 if var is None else var[i]
            hat = (X[r, i] - m) / (v + 1e-5) ** 0.5
            Y[r, i] = hat if weight is None or bias is None else weight[i] * hat + bias[i]
    return Y


#: Every registered layer's forward: (X, *parameters in order) -> Y.
LAYERS: dict[str, Callable[..., Array]] = {
    "Dense": dense, "Sigmoid": sigmoid, "Tanh": tanh, "ReLU": relu, "Softmax": softmax,
    "Dropout": dropout, "LayerNorm": layer_norm, "BatchNorm": batch_norm,
    "LeakyReLU": leaky_relu, "ELU": elu, "Identity": identity, "Flatten": identity, "SiLU": silu,
    "Softplus": softplus, "GELU": gelu, "LogSoftmax": log_softmax}


def l2(x: Sequence[complex], t: Sequence[float]) -> complex:
    return sum((a - b) ** 2 for a, b in zip(x, t, strict=True)) / 2


def cross_entropy(x: Sequence[complex], t: Sequence[float]) -> complex:
    return -sum(b * cmath.log(a) for a, b in zip(x, t, strict=True) if b != 0)


def softmax_cross_entropy(x: Sequence[complex], t: Sequence[float]) -> complex:
    return cross_entropy(softmax(np.array([x]))[0], t)


def binary_cross_entropy(x: Sequence[complex], t: Sequence[float]) -> complex:
    total = 0j
    for a, b in zip(x, t, strict=True):
        total -= (b * cmath.log(a) if b != 0 else 0) + ((1 - b) * cmath.log(1 - a)
                                                        if b != 1 else 0)
    return total


def sigmoid_binary_cross_entropy(x: Sequence[complex], t: Sequence[float]) -> complex:
    return binary_cross_entropy([_sigmoid(complex(a)) for a in x], t)


def _sign(z: complex) -> int:
    return int(z.real > 0) - int(z.real < 0)


def mse(x: Sequence[complex], t: Sequence[float]) -> complex:
    return sum((a - b) ** 2 for a, b in zip(x, t, strict=True)) / len(x)


def mae(x: Sequence[complex], t: Sequence[float]) -> complex:
    return sum((a - b) * _sign(a - b) for a, b in zip(x, t, strict=True)) / len(x)


def huber(x: Sequence[complex], t: Sequence[float], delta: float = 1.0) -> complex:
    total = 0j
    for a, b in zip(x, t, strict=True):
        size = (a - b) * _sign(a - b)
        total += size**2 / 2 if size.real <= delta else delta * (size - delta / 2)
    return total / len(x)


def quantile(x: Sequence[complex], t: Sequence[float], quantile: float = 0.5) -> complex:
    return sum((b - a) * (quantile if b > a.real else quantile - 1)
               for a, b in zip(x, t, strict=True)) / len(x)


def poisson(x: Sequence[complex], t: Sequence[float], deviance: bool = False) -> complex:
    plain = sum(cmath.exp(a) - b * a for a, b in zip(x, t, strict=True))
    if not deviance:
        return plain / len(x)
    return plain + sum(b * math.log(b) - b for b in t if b > 0)


def hinge(x: Sequence[complex], t: Sequence[float]) -> complex:
    lacks = [1 - (2 * b - 1) * a for a, b in zip(x, t, strict=True)]
    return sum(lack for lack in lacks if lack.real > 0) / len(x)


def focal(x: Sequence[complex], t: Sequence[float], gamma: float = 2.0) -> complex:
    p = softmax(np.array([x]))[0]
    return -sum(b * (1 - a) ** gamma * cmath.log(a) for a, b in zip(p, t, strict=True) if b != 0)


def sigmoid_focal(x: Sequence[complex], t: Sequence[float], gamma: float = 2.0,
                  alpha: float | None = None) -> complex:
    total = 0j
    for a, b in zip(x, t, strict=True):
        p = _sigmoid(complex(a))
        right = p * b + (1 - p) * (1 - b)
        share = 1 if alpha is None else alpha * b + (1 - alpha) * (1 - b)
        total += share * (1 - right) ** gamma * binary_cross_entropy([p], [b])
    return total


def smoothed(t: Sequence[float], label_smoothing: float, classes: int) -> list[float]:
    return [(1 - label_smoothing) * b + label_smoothing / classes for b in t]


#: Every registered loss of one row.
LOSSES: dict[str, Callable[..., complex]] = {
    "L2Loss": l2, "MSELoss": mse, "MAELoss": mae, "HuberLoss": huber, "QuantileLoss": quantile,
    "PoissonLoss": poisson, "HingeLoss": hinge, "CrossEntropyLoss": cross_entropy,
    "SoftmaxCrossEntropyLoss": softmax_cross_entropy,
    "BinaryCrossEntropyLoss": binary_cross_entropy,
    "SigmoidBinaryCrossEntropyLoss": sigmoid_binary_cross_entropy, "FocalLoss": focal,
    "SigmoidFocalLoss": sigmoid_focal}


def mean_loss(name: str, X: Array, T: Array, reduction: str = "mean",
              label_smoothing: float = 0.0, **arguments: float | None) -> complex:
    """Error of a batch; T as rows."""
    if label_smoothing:
        classes = 2 if "Binary" in name else X.shape[1]
        T = np.array([smoothed(t, label_smoothing, classes) for t in T])
    total = sum(LOSSES[name](x, t, **arguments) for x, t in zip(X, T, strict=True))
    return total / len(X) if reduction == "mean" else total


def complex_step(f: Callable[[Array], complex], x: Array, h: float = 1e-30) -> Array:
    """df/dx of a real f, element by element."""
    grad = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[index] += 1j * h
        grad[index] = complex(f(moved)).imag / h
    return grad


def network_error(names: Sequence[str], params: Sequence[Sequence[Array]], loss: str, X: Array,
                  T: Array, **arguments: Any) -> complex:
    """Error of a chain of layers closed by a loss with these arguments."""
    for name, own in zip(names, params, strict=True):
        X = LAYERS[name](X, *own)
    return mean_loss(loss, X, T, **arguments)


State = dict[str, float]


def sgd(p: float, g: float, state: State, t: int, learning_rate: float = 0.01,
        momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> float:
    g = g + weight_decay * p
    if momentum == 0:
        return p - learning_rate * g
    state["v"] = momentum * state.get("v", 0.0) + g
    return p - learning_rate * (g + momentum * state["v"] if nesterov else state["v"])


def adam(p: float, g: float, state: State, t: int, learning_rate: float = 1e-3,
         beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8,
         weight_decay: float = 0.0, amsgrad: bool = False) -> float:
    g = g + weight_decay * p
    state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g * g
    state["u"] = max(state.get("u", 0.0), state["v"])
    mean, square = state["m"] / (1 - beta1**t), state["u" if amsgrad else "v"] / (1 - beta2**t)
    return p - learning_rate * mean / (square**0.5 + epsilon)


def adamw(p: float, g: float, state: State, t: int, learning_rate: float = 1e-3,
          weight_decay: float = 0.01, **arguments: float) -> float:
    return adam(p - learning_rate * weight_decay * p, g, state, t, learning_rate, **arguments)


def rmsprop(p: float, g: float, state: State, t: int, learning_rate: float = 0.01,
            alpha: float = 0.99, epsilon: float = 1e-8, momentum: float = 0.0,
            centered: bool = False, weight_decay: float = 0.0) -> float:
    g = g + weight_decay * p
    state["v"] = alpha * state.get("v", 0.0) + (1 - alpha) * g * g
    state["m"] = alpha * state.get("m", 0.0) + (1 - alpha) * g
    ratio = g / ((state["v"] - state["m"] ** 2 * centered) ** 0.5 + epsilon)
    state["b"] = momentum * state.get("b", 0.0) + ratio
    return p - learning_rate * state["b"]


def adagrad(p: float, g: float, state: State, t: int, learning_rate: float = 0.01,
            lr_decay: float = 0.0, initial_accumulator_value: float = 0.0,
            epsilon: float = 1e-10, weight_decay: float = 0.0) -> float:
    g = g + weight_decay * p
    state["v"] = state.get("v", initial_accumulator_value) + g * g
    return p - learning_rate / (1 + (t - 1) * lr_decay) * g / (state["v"] ** 0.5 + epsilon)


def lion(p: float, g: float, state: State, t: int, learning_rate: float = 1e-4,
         beta1: float = 0.9, beta2: float = 0.99, weight_decay: float = 0.0) -> float:
    way = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    state["m"] = beta2 * state.get("m", 0.0) + (1 - beta2) * g
    return p - learning_rate * (float(way > 0) - float(way < 0) + weight_decay * p)


#: Every registered optimizer: (p, g, state, step from 1, **arguments) -> new p.
OPTIMIZERS: dict[str, Callable[..., float]] = {
    "SGD": sgd, "Adam": adam, "AdamW": adamw, "RMSprop": rmsprop, "Adagrad": adagrad,
    "Lion": lion}
