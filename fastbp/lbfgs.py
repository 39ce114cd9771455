"""fit_lbfgs: train on all rows at once by SciPy's L-BFGS, over the flat parameters.

    minimise E(w) + l2 / 2 * (sum of the squared weights)

For small data and small networks, where it often needs far fewer passes than gradient descent.
The search needs an error that is a function of w alone, so layers work as in ``predict``.
Source: Byrd, Lu, Nocedal & Zhu, A limited memory algorithm, 1995; scipy.optimize.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._extras import needs
from ._validation import Array, as_weights, check_real, check_size, check_threads
from ._warning import warn
from .arguments import check_network, check_outputs
from .history import History
from .kernels.vectors import row_length
from .layers import Dropout, Layer
from .network import Network


class LBFGSHistory(History):
    """``loss`` after each iteration, and how the run went.

    Attributes
    ----------
    n_iter, n_fun : int
        Iterations, and evaluations of the error and its gradient.
    converged : bool
        Whether the search ended by itself, not at a limit.
    """

    n_iter: int = 0
    n_fun: int = 0
    converged: bool = False


def fit_lbfgs(network: Network, X: Any, T: Any, *, max_iter: int = 200, tol: float = 1e-5,
              max_fun: int = 15000, l2: float = 0.0, sample_weight: Any = None,
              callback: Callable[[int, float], bool | None] | None = None,
              n_threads: int | None = None) -> LBFGSHistory:
    """Train ``network`` on X and T by L-BFGS.

    Needs SciPy: ``pip install "fastbp[scipy]"``. Works in float32, but a float64 network
    comes closer to the minimum. Layers work as in ``predict``: ``Dropout`` drops nothing, and
    ``BatchNorm`` goes by its running averages, which stay as they are.

    Parameters
    ----------
    network : Network
        Its parameters are the start, and are left at the best point found, also when
        interrupted.
    X : array_like, shape (n, n_in)
    T : array_like, shape (n, n_out), or class indices (n,) where the loss takes them
    max_iter : int
        Iterations at most.
    tol : float
        The search ends where no element of the gradient is larger in absolute value.
    max_fun : int
        Evaluations of the error at most.
    l2 : float
        Penalty 1/2 l2 sum(w^2) on the weights of layers, not on biases, at least 0.
    sample_weight : array_like, shape (n,), optional
        Weights of the rows, at least 0: the error is sum(w_r E_r), over sum(w_r) with
        reduction "mean".
    callback : callable, optional
        Called as callback(iteration, loss) after each iteration, while the network has the
        parameters of that iteration; True stops.
    n_threads : int, optional
        Largest number of threads; the result does not depend on it.

    Returns
    -------
    LBFGSHistory
        ``history["loss"]`` has the objective, penalty included, after each iteration, and is
        empty where the start is the minimum already; ``history.n_iter`` the number of iterations.

    Raises
    ------
    ImportError
        Without SciPy.
    ValueError, TypeError
        For invalid arguments, before anything is changed.

    Warns
    -----
    RuntimeWarning
        If ``max_iter`` or ``max_fun`` was reached, or the error is not finite.
    UserWarning
        If a layer would work otherwise in ``fit``: names it.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network([fastbp.Dense(1, 1)], "L2Loss", "float64")
    >>> history = fastbp.fit_lbfgs(net, [[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]])
    >>> net.predict([[3.0]]).round(3)
    array([[7.]])
    """
    check_network(network)
    X, T = network._check_pair(X, T)
    check_outputs(network)
    network.check_trainable()
    max_iter, max_fun = check_size(max_iter, "max_iter"), check_size(max_fun, "max_fun")
    tol = check_real(tol, "tol")
    penalty = check_real(l2, "l2")
    weights = as_weights(sample_weight, len(X), network.dtype)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, got {callback!r}")
    n_threads = check_threads(n_threads)
    if other := [layer for layer in network.layers if _differs(layer, network.dtype)]:
        warn(f"fit_lbfgs trains with {', '.join(map(repr, other))} as in predict: "
             "nothing is dropped, running averages are used but not updated. Leave such "
             "layers out, set trainable=False of those with averages, or use fit")
    history = LBFGSHistory(loss=[])

    def each(error: float) -> bool | None:
        history.append({"loss": error})
        stop = callback(len(history["loss"]), error) if callback is not None else None
        network.check_target(T)  # callbacks may have written to it
        return stop

    found = minimise(network, X, T, weights, penalty, max_iter=max_iter, max_fun=max_fun,
                     tol=tol, each=each, n_threads=n_threads)
    history.n_iter, history.n_fun = int(found.nit), int(found.nfev)
    history.converged = bool(found.success)
    if not np.isfinite(found.fun):
        warn("the error is not finite; parameters are left as they were", RuntimeWarning)
    elif found.status == 1:  # SciPy has one status for both
        limit = f"max_iter={max_iter}" if found.nit >= max_iter else f"max_fun={max_fun}"
        warn(f"fit_lbfgs reached {limit} before its end", RuntimeWarning)
    return history


def _differs(layer: Layer, dtype: np.dtype[Any]) -> bool:
    """Whether a layer works otherwise in the steps of ``fit`` than in ``predict``."""
    if isinstance(layer, Dropout):
        return layer.rate > 0
    kernels = layer.kernels_for(dtype, int(layer.n_in or 0), int(layer.n_out or 0))
    coupled = kernels is not None and kernels.couple_forward is not None
    return not layer._steady and (bool(layer.buffers) or coupled)


def minimise(network: Network, X: Array, T: Array, weights: Array | None, l2: float, *,
             max_iter: int, max_fun: int, tol: float,
             each: Callable[[float], bool | None], n_threads: int | None) -> Any:
    """The search itself, on checked arguments; returns SciPy's result.

    ``each`` is called with the error after each iteration and may stop the search. The network
    is left at the best point found, also when interrupted; the result's ``fun`` is its error.

    Raises
    ------
    ImportError
        Without SciPy.
    """
    with needs("fit_lbfgs needs SciPy", "scipy"):
        from scipy.optimize import minimize
    params, objective = network.params, _Objective(network, X, T, weights, l2, n_threads)

    def tell(intermediate_result: Any) -> None:
        params[...] = intermediate_result.x
        if each(float(intermediate_result.fun)):
            raise StopIteration

    try:
        found = minimize(objective, objective.best, method="L-BFGS-B", jac=True, callback=tell,
                         options={"maxiter": max_iter, "maxfun": max_fun, "gtol": tol})
    finally:
        params[...] = objective.best
    found.fun = objective.lowest
    return found


class _Objective:
    """Error, penalty included, and its gradient at w, in float64; remembers the lowest."""

    def __init__(self, network: Network, X: Array, T: Array, weights: Array | None, l2: float,
                 n_threads: int | None = None) -> None:
        self.network, self.given = network, (X, T, weights, n_threads)
        self.penalty, self.still = _penalties(network, l2), network.untrained()
        self.best, self.lowest = network.params.astype(np.float64), np.inf

    def __call__(self, w: Array) -> tuple[float, Array]:
        self.network.params[...] = w
        shrink = self.penalty * w
        error = self.network._gradient(*self.given) + 0.5 * float(shrink @ w)
        if error <= self.lowest and error < np.inf:
            self.best, self.lowest = w.copy(), error
        self.network.grads[self.still] = 0  # with a gradient of 0, no step moves a parameter
        return error, self.network.grads + shrink


def _penalties(network: Network, l2: float) -> Array:
    """``l2`` for each trained weight of a layer, 0 for the other flat parameters."""
    penalty = np.zeros(network.params.size)
    for layer, at in zip(network.layers, network._offsets, strict=True):
        if layer.trainable:
            ld = row_length(int(layer.n_out or 0), network.dtype)
            penalty[at:at + layer.trained_rows()[1] * ld] = l2
    return penalty
