"""fit_lbfgs: train on all rows at once by L-BFGS, SciPy's, over the flat parameters.

    minimise E(w) + l2 / 2 * (sum of the squared weights)

For small data and small networks, where it often needs far fewer passes than descent.
Source: Byrd, Lu, Nocedal & Zhu, A limited memory algorithm, 1995; scipy.optimize.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ._validation import Array, as_weights, check_real, check_size
from .history import History
from .kernels.tile import row_length
from .network import Network


class LBFGSHistory(History):
    """``loss`` after each iteration, and what the run was like.

    Attributes
    ----------
    n_iter, n_fun : int
        Iterations, and evaluations of the error and its gradient.
    converged : bool
        Whether it came to an end by itself.
    """

    n_iter: int = 0
    n_fun: int = 0
    converged: bool = False


def fit_lbfgs(network: Network, X: Any, T: Any, *, max_iter: int = 200, tol: float = 1e-5,
              max_fun: int = 15000, l2: float = 0.0, sample_weight: Any = None,
              callback: Callable[[int, float], bool | None] | None = None) -> LBFGSHistory:
    """Train ``network`` on X and T by L-BFGS.

    Needs SciPy: ``pip install "fastbp[scipy]"``. Works in float32, but a float64 network
    comes closer to the minimum.

    Parameters
    ----------
    network : Network
        Its parameters are the start, and are left at the best point there was, also when
        interrupted.
    X : array_like, shape (n, n_in)
    T : array_like, shape (n, n_out), or class indices (n,) where the loss takes them
    max_iter : int
        Iterations at most.
    tol : float
        Ends where no element of the gradient is larger.
    max_fun : int
        Evaluations of the error at most.
    l2 : float
        Penalty 1/2 l2 sum(w^2) on the weights of layers, not on biases, at least 0.
    sample_weight : array_like, shape (n,), optional
        Weights of the rows, at least 0: the error is sum(w_r E_r), over sum(w_r) with
        reduction "mean".
    callback : callable, optional
        Called as callback(iteration, loss) after each iteration, the network's parameters
        being those of the iteration; True stops.

    Returns
    -------
    LBFGSHistory
        ``history["loss"]`` has the number descended, penalty included, after each
        iteration; ``history.n_iter`` their number.

    Raises
    ------
    ImportError
        Without SciPy.
    ValueError, TypeError
        For unfit arguments, before anything is changed.

    Warns
    -----
    RuntimeWarning
        If ``max_iter`` or ``max_fun`` was reached, or the error is not finite.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network([fastbp.Dense(1, 1)], "L2Loss", "float64")
    >>> history = fastbp.fit_lbfgs(net, [[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]])
    >>> net.predict([[3.0]]).round(3)
    array([[7.]])
    """
    X, T = network._check_pair(X, T)
    max_iter, max_fun = check_size(max_iter, "max_iter"), check_size(max_fun, "max_fun")
    tol = check_real(tol, "tol")
    penalty = check_real(l2, "l2")
    weights = as_weights(sample_weight, len(X), network.dtype)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, got {callback!r}")
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise ImportError('fit_lbfgs needs SciPy: pip install "fastbp[scipy]"') from None

    trained, decayed = _masks(network)
    objective = _Objective(network, X, T, weights, trained, decayed[trained] * penalty)
    history = LBFGSHistory()

    def each(intermediate_result: Any) -> None:
        history.append({"loss": float(intermediate_result.fun)})
        if callback is not None:
            network.params[trained] = intermediate_result.x
            if callback(len(history["loss"]), history["loss"][-1]):
                raise StopIteration

    try:
        found = minimize(objective, objective.best, method="L-BFGS-B", jac=True, callback=each,
                         options={"maxiter": max_iter, "maxfun": max_fun, "gtol": tol})
    finally:
        network.params[trained] = objective.best
    history.n_iter, history.n_fun = int(found.nit), int(found.nfev)
    history.converged = bool(found.success)
    if not np.isfinite(objective.lowest):
        warnings.warn("the error is not finite; parameters are left as they were",
                      RuntimeWarning, stacklevel=2)
    elif found.status == 1:  # SciPy has one status for both
        limit = f"max_iter={max_iter}" if found.nit >= max_iter else f"max_fun={max_fun}"
        warnings.warn(f"fit_lbfgs reached {limit} before its end", RuntimeWarning, stacklevel=2)
    return history


class _Objective:
    """Error and gradient at w, in float64; remembers the lowest."""

    def __init__(self, network: Network, X: Array, T: Array, weights: Array | None,
                 trained: Array, penalty: Array) -> None:
        self.network, self.X, self.T, self.weights = network, X, T, weights
        self.trained, self.penalty = trained, penalty
        self.best, self.lowest = network.params[trained].astype(np.float64), np.inf

    def __call__(self, w: Array) -> tuple[float, Array]:
        network = self.network
        network.params[self.trained] = w
        error, grad = network.loss_and_grad(self.X, self.T, sample_weight=self.weights)
        error += 0.5 * float(np.dot(self.penalty, w * w))
        if error <= self.lowest:
            self.best, self.lowest = w.copy(), error
        return error, grad[self.trained] + self.penalty * w


def _masks(network: Network) -> tuple[Array, Array]:
    """Which of the flat parameters are trained, and which of those are penalised."""
    trained, decayed = np.zeros((2, network.params.size), bool)
    for layer, offset in zip(network.layers, network._offsets, strict=True):
        tensors, size = layer.layout(network.dtype)
        part = slice(offset, offset + size)
        for tensor in tensors:  # pads stay out
            tensor.view(trained[part])[...] = True
        if layer.kernels is not None and size:
            ld = row_length(int(layer.n_out or 0), network.dtype)
            n_rows, n_decayed = layer.trained_rows()
            trained[part][n_rows * ld:] = False
            decayed[part][:n_decayed * ld] = True
    return trained, decayed & trained
