"""Gradients with respect to inputs, by the textbook's way back through the layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._validation import Array
from .losses.base import error_of
from .network import Network


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
    (X, T), shape, kept = network._check_pair(X, T), np.shape(X), network.grads.copy()
    try:
        error_of(network._head_loss, network.forward(X, network._n_train), T, None)
        dX = network.backward(network._head_loss.backward())
    finally:
        network.grads[...] = kept
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
    X, kept = network.check_input(X), network.grads.copy()
    Y = network.forward(X)
    J = np.empty((len(X), network.n_out, network.n_in), network.dtype)
    try:
        for j in range(network.n_out):
            delta = np.zeros_like(Y)
            delta[:, j] = 1
            J[:, j] = network.backward(delta, len(network.layers))
    finally:
        network.grads[...] = kept
    return J
