"""Compare analytic gradients with central differences, in float64."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ._validation import Array, as_array, check_real
from .layers import Layer
from .losses import Loss
from .network import Network
from .sensitivity import by_layers


def gradcheck(target: Network | Layer | Loss, X: Any, T: Any, *, step: float = 1e-5) -> float:
    """Largest error of any gradient, over the largest gradient of its tensor.

    (f(w + h) - f(w - h)) / 2h for each parameter and each input, against what ``backward``
    gives. All in float64, on a copy. Values below 1e-6 mean correct; a kink (ReLU at 0) within
    ``step`` of a value makes the error large, and a gradient that is NaN makes it NaN.

    Parameters
    ----------
    target : Network, Layer or Loss
    X : array_like, shape (b, n_in)
    T : array_like
        Targets of a network or loss. For a layer the gradient dY (b, n_out) from above: the
        function is sum(T * layer(X)).
    step : float
        h.

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        For invalid arguments.
    """
    step = check_real(step, "step", open_low=True)
    X = np.array(as_array(X, "X"), dtype=np.float64)
    if isinstance(target, Network):
        return _check_network(target, X, T, step)
    if isinstance(target, Layer):
        return _check_layer(target, X, np.array(as_array(T, "T"), dtype=np.float64), step)
    if isinstance(target, Loss):
        twin = copy.copy(target)
        twin.forward(X, T)
        analytic = twin.backward().copy()
        return _compare(analytic, X, lambda: twin.forward(X, T), step)
    raise TypeError(f"target must be a Network, Layer or Loss, got {target!r}")


def _in_float64(layer: Layer) -> Layer:
    """A copy with buffers of its own."""
    twin = copy.copy(layer)
    values = layer.parameters()
    size = layer.layout(np.dtype(np.float64))[1]
    twin._flat, twin._owner = None, None
    twin.bind(np.zeros(size), np.zeros(size))
    for name, value in values.items():
        twin.parameters()[name][...] = value
    return twin


def _check_network(network: Network, X: Array, T: Any, step: float) -> float:
    twins = [_in_float64(layer) for layer in network.layers]
    twin = Network(twins, copy.copy(network.loss_function), "float64", network.seed)
    pair = twin._check_pair(X, T)
    gaps = [_compare(found.reshape(X.shape), X, lambda: twin.loss(X, T), step)
            for found in (twin.input_gradient(X, T), by_layers(twin, *pair))]
    _, flat = twin.loss_and_grad(X, T)
    gaps += [_compare(analytic, layer.parameters()[name], lambda: twin.loss(X, T), step)
             for layer, name, analytic in twin._tensors(flat) if name not in layer.buffers]
    return float(np.max(gaps))  # NaN if one of them is


def _check_layer(layer: Layer, X: Array, dY: Array, step: float) -> float:
    layer = copy.copy(layer)
    if layer.kernels is None and not layer.initialized:
        layer.connect(X.shape[1])  # a user's layer, whose parameters a network would initialize
        twin = _in_float64(layer)
        twin.initialize(np.random.default_rng(0))
    else:
        layer.forward(X)  # a layer that takes its size from its input has it now
        twin = _in_float64(layer)

    def weighted_sum() -> float:
        return float(np.sum(twin.forward(X) * dY))

    Y = twin.forward(X)
    if dY.shape != Y.shape:
        raise ValueError(f"T must have shape {Y.shape}, that of the output, got {dY.shape}")
    analytic = {"X": twin.backward(dY.copy()).copy()}  # a user's layer may work in place
    analytic |= {name: grad.copy() for name, grad in twin.gradients().items()}
    values = {"X": X} | twin.parameters()
    return float(np.max([_compare(analytic[name], values[name], weighted_sum, step)
                         for name in values if name not in layer.buffers]))


def _compare(analytic: Array, values: Array, f: Any, step: float) -> float:
    """Perturb each element of ``values`` in place; largest error over the largest gradient."""
    numeric = np.empty_like(analytic, dtype=np.float64)
    for index in np.ndindex(values.shape):
        kept = values[index]
        values[index] = kept + step
        up = f()
        values[index] = kept - step
        numeric[index] = (up - f()) / (2 * step)
        values[index] = kept
    largest = max(float(np.abs(numeric).max()), float(np.abs(analytic).max()))
    gap = float(np.abs(numeric - analytic).max())
    return gap if largest == 0 else gap / largest
