"""Gradients with respect to inputs.

The engine does not compute that of X, as training has no use for it: here it gets a network with
an identity layer in front, whose output is X. Networks that are not compiled go layer by layer.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from . import engine
from ._jit import kernel, thread_count
from ._validation import Array
from .layers import Identity
from .losses import Loss
from .losses.base import error_of
from .network import CHUNK_ROWS, Network
from .plan import Plan, make_plan


@kernel
def picked(h, x, t, weight, error, dx):
    """The output that t selects: E = t'x, dx = t. The error itself is not needed: 0."""
    for i in range(dx.size):
        dx[i] = t[i]
    for r in range(weight.size):
        error[r] = 0


class _Picked(Loss):
    kernel = picked


_PICKED = _Picked("sum")


def input_gradient(network: Network, X: Any, T: Any) -> Array:
    """dE/dX of the error that ``network.loss(X, T)`` gives.

    Parameters
    ----------
    network : Network
    X : array_like, shape (b, n_in)
    T : array_like
        As ``loss`` takes them.

    Returns
    -------
    ndarray
        Of the shape of X.

    Raises
    ------
    ValueError, TypeError
        As ``loss``.
    """
    (X, T), shape = network._check_pair(X, T), np.shape(X)
    if not network.compiled:
        return by_layers(network, X, T).reshape(shape)
    dX = np.empty_like(X)
    _back(network, network._n_train, network._head_loss, X, T, network._scale(len(X)), dX)
    return dX.reshape(shape)


def jacobian(network: Network, X: Any) -> Array:
    """dy_j/dx_i of each row, of the outputs that ``network.predict(X)`` gives.

    Parameters
    ----------
    network : Network
    X : array_like, shape (b, n_in)

    Returns
    -------
    ndarray, shape (b, n_out, n_in)

    Raises
    ------
    ValueError, TypeError
        If X is not a finite matrix of n_in columns.
    """
    X = network.check_input(X)
    J = np.empty((len(X), network.n_out, network.n_in), network.dtype)
    if not network.compiled:
        return _jacobian_by_layers(network, X, J)
    for j in range(network.n_out):
        labels = np.full(len(X), j, np.int64)
        _back(network, len(network.layers), _PICKED, X, labels, 1.0, J[:, j])
    return J


def _back(network: Network, n_layers: int, loss: Loss, X: Array, T: Array, scale: float,
          dX: Array) -> None:
    """Write to dX the gradient of a loss of checked targets on the first ``n_layers`` layers."""
    plan = _plan(network, n_layers, loss, min(len(X), CHUNK_ROWS))
    at, ld = int(plan.ops["dy"][0]), int(plan.ops["ld_out"][0])
    for first in range(0, len(X), plan.capacity):
        rows = slice(first, min(first + plan.capacity, len(X)))
        network._evaluate(engine.GRADIENT, plan, X, T, rows, scale)
        found = plan.workspace[at:at + (rows.stop - first) * ld].reshape(-1, ld)
        dX[rows] = found[:, :network.n_in]


def _plan(network: Network, n_layers: int, loss: Loss, rows: int) -> Plan:
    """Plan of the way to the loss and back to X, without the gradients of parameters."""
    n_threads = thread_count(None)
    key = loss is _PICKED, network._plan_key(rows, n_threads, False, 0)
    found = network._plans.get(key)
    if found is None:
        start = Identity()
        start.connect(network.n_in)
        made = make_plan([start, *network.layers[:n_layers]], n_layers + 1, loss,
                         [0, *network._offsets[:n_layers]], network.dtype, rows, n_threads)
        found = dataclasses.replace(made, tasks=made.tasks[:0])
        network._keep_plan(key, found)
    return found


def by_layers(network: Network, X: Array, T: Array) -> Array:
    """``input_gradient`` of checked rows by the textbook: layer by layer, in Python."""
    kept = network.grads.copy()
    try:
        error_of(network._head_loss, network.forward(X, network._n_train), T, None)
        return network.backward(network._head_loss.backward())
    finally:
        network.grads[...] = kept


def _jacobian_by_layers(network: Network, X: Array, J: Array) -> Array:
    kept, Y = network.grads.copy(), network.forward(X)
    try:
        for j in range(network.n_out):
            delta = np.zeros_like(Y)
            delta[:, j] = 1
            J[:, j] = network.backward(delta, len(network.layers))
    finally:
        network.grads[...] = kept
    return J
