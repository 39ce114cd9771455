"""Statistics of a network's parameters and gradients, tensor by tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._validation import Array, as_array
from .arguments import check_network
from .layers import Layer
from .network import Network

#: Probabilities of the quantiles in ``WeightStatistics.quantiles``.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: A weight is near zero below this share of the root mean square of its tensor.
NEAR_ZERO = 1e-3


@dataclass(frozen=True)
class WeightStatistics:
    """One tensor of parameters.

    Attributes
    ----------
    name : str
        "0.weight", as in ``Network.named_parameters``.
    kind : str
        Type of its layer, "Dense".
    shape : tuple of int
    mean, std, minimum, maximum, norm : float
        Norm is Euclidean. All are NaN or infinite where the weights are.
    near_zero : float
        Share of the weights below ``NEAR_ZERO`` of their root mean square.
    quantiles : tuple of float
        At ``QUANTILES``.
    quantiles_before : tuple of float or None
        The same before training.
    change : float or None
        Norm of the change by training over the norm before; None without initial parameters,
        NaN if those were all zero.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    mean: float
    std: float
    minimum: float
    maximum: float
    norm: float
    near_zero: float
    quantiles: tuple[float, ...]
    quantiles_before: tuple[float, ...] | None = None
    change: float | None = None


@dataclass(frozen=True)
class GradientStatistics:
    """The gradient of one tensor of parameters.

    Attributes
    ----------
    name, kind : str
        As in ``WeightStatistics``.
    norm, mean_abs, maximum : float
        Euclidean norm, mean and largest absolute value.
    ratio : float
        Norm of the gradient over the norm of the weights; infinite where those are all zero
        and the gradient is not.
    """

    name: str
    kind: str
    norm: float
    mean_abs: float
    maximum: float
    ratio: float


def weight_statistics(network: Network, initial_params: Any = None) -> list[WeightStatistics]:
    """Statistics of every tensor, from the input up.

    Parameters
    ----------
    network : Network
    initial_params : array_like, shape (len(network.params),), optional
        A copy of ``network.params`` from before training.

    Raises
    ------
    ValueError, TypeError
        If ``initial_params`` are not of this network, or no real numbers; for no Network.
    """
    check_network(network)
    before: list[Array] = []
    if initial_params is not None:
        flat = np.ascontiguousarray(as_array(initial_params, "initial_params"), network.dtype)
        if flat.shape != network.params.shape:
            raise ValueError(f"initial_params has shape {flat.shape}, the network's params "
                             f"{network.params.shape}")
        before = [view.astype(np.float64) for *_, view in network._tensors(flat)]
    return [_of_weights(layer, name, W.astype(np.float64), before[k] if before else None)
            for k, (layer, name, W) in enumerate(network._tensors(network.params))]


def _of_weights(layer: Layer, name: str, W: Array, before: Array | None) -> WeightStatistics:
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        size = float(np.sqrt(np.mean(np.square(W))))
        change, earlier = None, None
        if before is not None:
            earlier = tuple(map(float, np.quantile(before, QUANTILES)))
            start = float(np.linalg.norm(before))
            change = float(np.linalg.norm(W - before)) / start if start else float("nan")
        return WeightStatistics(
            f"{layer.index}.{name}", type(layer).__name__, W.shape, float(W.mean()),
            float(W.std()), float(W.min()), float(W.max()), float(np.linalg.norm(W)),
            float(np.mean(np.abs(W) <= NEAR_ZERO * size)),
            tuple(map(float, np.quantile(W, QUANTILES))), earlier, change)


def gradient_statistics(network: Network, X: Any, T: Any) -> list[GradientStatistics]:
    """Statistics of the gradient of the error of rows X and targets T: their mean, or their sum if
    the loss has reduction "sum".

    The running statistics of batch normalisation are not trained and are left out.
    ``network.grads`` is left as it was.

    Raises
    ------
    ValueError, TypeError
        For invalid X or T, as ``Network.loss_and_grad``, or no Network.
    """
    check_network(network)
    held = network.grads.copy()
    try:
        _, flat = network.loss_and_grad(X, T)
    finally:
        network.grads[...] = held
    found = []
    for (layer, name, W), (*_, G) in zip(network._tensors(network.params),
                                         network._tensors(flat), strict=True):
        if name in layer.buffers:
            continue
        W, G = W.astype(np.float64), np.abs(G.astype(np.float64))
        size, norm = float(np.linalg.norm(W)), float(np.linalg.norm(G))
        ratio = norm / size if size else (float("inf") if norm else 0.0)
        found.append(GradientStatistics(f"{layer.index}.{name}", type(layer).__name__, norm,
                                        float(G.mean()), float(G.max()), ratio))
    return found
