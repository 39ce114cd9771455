"""fit_lbfgs beside SciPy called by hand, its penalty by differences, its manners."""

from __future__ import annotations

import re
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import network as networks
from fastbp.lbfgs import _Objective

from .builders import CHAINS, Scale, classifier, clusters, data, network

optimize = pytest.importorskip("scipy.optimize")


def trained_places(net: fastbp.Network) -> np.ndarray:
    """Which of the flat parameters are trained: neither pads nor running statistics."""
    kept = net.params.copy()
    net.params[:] = 0
    for layer in net.layers:
        for name, value in layer.parameters().items():
            value[...] = name not in layer.buffers
    found = net.params == 1
    net.params[:] = kept
    return found


@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_scipy_called_by_hand_finds_the_same(l2: float) -> None:
    """On plain arrays, W and b of one layer under a cross-entropy: convex, one minimum."""
    X, T = clusters(60)
    net = fastbp.Network([fastbp.Dense(6, 4)], "SoftmaxCrossEntropyLoss", "float64")
    start = np.concatenate([net.layers[0].weight.ravel(), net.layers[0].bias])
    hot = np.eye(4)[T]

    def by_hand(w: np.ndarray) -> tuple[float, np.ndarray]:
        W, b = w[:24].reshape(4, 6), w[24:]
        z = X @ W.T + b
        z -= z.max(axis=1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        delta = (np.exp(log_p) - hot) / len(X)
        error = -(hot * log_p).sum() / len(X) + 0.5 * l2 * (W * W).sum()
        return error, np.concatenate([(delta.T @ X + l2 * W).ravel(), delta.sum(axis=0)])

    values: list[float] = []
    found = optimize.minimize(by_hand, start, jac=True, method="L-BFGS-B",
                              options={"maxiter": 12, "gtol": 1e-9},
                              callback=lambda w: values.append(by_hand(w)[0]))
    if l2:
        with pytest.warns(RuntimeWarning, match="max_iter=12"):
            history = fastbp.fit_lbfgs(net, X, T, max_iter=12, tol=1e-9, l2=l2)
        assert not history.converged
        best = optimize.minimize(by_hand, start, jac=True, method="L-BFGS-B",
                                 options={"gtol": 1e-9, "ftol": 1e-15})
        fastbp.fit_lbfgs(net, X, T, max_iter=1000, tol=1e-9, l2=l2)
        np.testing.assert_allclose(net.layers[0].weight.ravel(), best.x[:24], atol=1e-4)
    else:
        with pytest.warns(RuntimeWarning, match="max_iter=12"):
            history = fastbp.fit_lbfgs(net, X, T, max_iter=12, tol=1e-9)
        np.testing.assert_allclose(net.layers[0].weight.ravel(), found.x[:24], rtol=1e-4)
        assert net.loss(X, T) == pytest.approx(history["loss"][-1], rel=1e-12)
    assert history.n_iter == len(history["loss"]) == found.nit and history.n_fun == found.nfev
    np.testing.assert_allclose(history["loss"], values, rtol=1e-6)


def test_regression_reaches_least_squares() -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(50, 3)), rng.normal(size=(50, 2))
    weights = rng.integers(0, 3, 50).astype(float)
    for w in (np.ones(50), weights):
        net = fastbp.Network([fastbp.Dense(3, 2)], "L2Loss", "float64")
        given = None if (w == 1).all() else w
        history = fastbp.fit_lbfgs(net, X, T, tol=1e-10, sample_weight=given)
        root = np.sqrt(w)[:, None]
        expected, *_ = np.linalg.lstsq(np.column_stack([X, np.ones(50)]) * root, T * root,
                                       rcond=None)
        np.testing.assert_allclose(net.layers[0].weight, expected[:3].T, atol=1e-4)
        np.testing.assert_allclose(net.layers[0].bias, expected[3], atol=1e-4)
        assert history.converged and history["loss"] == sorted(history["loss"], reverse=True)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_weights_are_repeated_rows(reduction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, T = clusters(30)
    weights = np.arange(30) % 3
    rows = np.repeat(np.arange(30), weights)
    for chunk in (4096, 7):
        monkeypatch.setattr(networks, "CHUNK_ROWS", chunk)
        nets = [fastbp.Network([fastbp.Dense(6, 4)], fastbp.SoftmaxCrossEntropyLoss(reduction),
                               "float64") for _ in range(2)]
        with pytest.warns(RuntimeWarning, match="max_iter=5"):
            fastbp.fit_lbfgs(nets[0], X, T, max_iter=5, sample_weight=weights)
        with pytest.warns(RuntimeWarning, match="max_iter=5"):
            fastbp.fit_lbfgs(nets[1], X[rows], T[rows], max_iter=5)
        np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("chain", CHAINS)
def test_gradient_of_error_and_penalty_by_differences(chain: str) -> None:
    net, (X, T) = network(chain), data(chain, 12)
    trained = trained_places(net)
    weights = [layer.weight for layer in net.layers if isinstance(layer, fastbp.Dense)]
    rows = np.linspace(0, 1, 12)
    for given in (None, rows):
        objective = _Objective(net, X, T, given, 0.3)
        w, h = objective.best.copy(), 1e-5
        _, grad = objective(w)
        assert (grad[~trained] == 0).all(), "no step moves them"
        for i in np.flatnonzero(trained)[::7]:
            step = np.eye(1, w.size, i)[0] * h
            slope = (objective(w + step)[0] - objective(w - step)[0]) / (2 * h)
            assert slope == pytest.approx(grad[i], abs=1e-8)
        with_penalty, _ = objective(w)
        plain = _Objective(net, X, T, given, 0.0)(w)[0]
        assert with_penalty - plain == pytest.approx(
            0.15 * sum((np.asarray(v, 'f8') ** 2).sum() for v in weights), rel=1e-9)


def test_a_penalty_is_of_the_weights_that_fit_penalises() -> None:
    class Bare(fastbp.Dense):
        """By NumPy alone."""

        kernels = None

        def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
            self._seen = X
            return X @ self.weight.T + self.bias

        def backward(self, dY: Any) -> Any:
            self.weight_grad[...], self.bias_grad[...] = dY.T @ self._seen, dY.sum(axis=0)
            return dY @ self.weight

    X, losses = clusters(30)[0], []
    T = X[:, :2].copy()
    for kind in (fastbp.Dense, Bare):
        net = fastbp.Network([kind(6, 2)], "L2Loss", "float64", seed=1)
        losses += [_Objective(net, X, T, None, 0.5)(net.params)[0],
                   net.fit(X, T, epochs=1, batch_size=30, l2=0.5)["loss"][0]]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_learns_and_leaves_pads_zero(dtype: str) -> None:
    X, T = clusters(200)
    net = classifier(dtype)
    trained = trained_places(net)
    assert not trained.all()
    history = fastbp.fit_lbfgs(net, X, T, l2=1e-3, max_iter=1000)  # 80 to 240 are enough
    assert np.mean(net.predict_classes(X) == T) > 0.98
    assert (net.params[~trained] == 0).all()
    penalty = 0.5e-3 * sum(np.square(v, dtype="f8").sum() for k, v in
                           net.named_parameters().items() if k.endswith("weight"))
    assert net.loss(X, T) + penalty == pytest.approx(min(history["loss"]), rel=1e-5)
    assert isinstance(history, fastbp.History) and history.history is history


def test_callbacks_see_the_iteration_and_stop() -> None:
    X, T = clusters(50)
    net, seen = classifier("float64"), []

    def callback(iteration: int, loss: float) -> bool:
        assert net.loss(X, T) == pytest.approx(loss, rel=1e-12)
        seen.append(iteration)
        return iteration == 4

    history = fastbp.fit_lbfgs(net, X, T, callback=callback)
    assert seen == [1, 2, 3, 4] and len(history["loss"]) == 4 and not history.converged
    assert net.loss(X, T) == pytest.approx(history["loss"][-1], rel=1e-12)


def test_labels_that_a_callback_writes_are_looked_at_again() -> None:
    net, (X, T) = classifier(), clusters(20)

    def spoil(iteration: int, error: float) -> None:
        T[0] = -7

    with pytest.raises(ValueError, match="T.*-7"):
        fastbp.fit_lbfgs(net, X, T, callback=spoil)


def test_what_is_no_network_is_named() -> None:
    X, T = clusters(20)
    for fit, given in ((fastbp.fit_lbfgs, (X, T)), (fastbp.fit_stream, ([(X, T)],))):
        with pytest.raises(TypeError, match="network must be a Network, got 'net'"):
            fit("net", *given)


def test_interrupted_it_leaves_the_best() -> None:
    X, T = clusters(50)
    net = classifier("float64")
    before = net.loss(X, T)

    def callback(iteration: int, loss: float) -> None:
        if iteration == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fastbp.fit_lbfgs(net, X, T, callback=callback)
    assert net.loss(X, T) < before


def test_interrupted_amid_a_search_it_leaves_the_best() -> None:
    class Stops(fastbp.Loss):
        """Raises in its fourth evaluation."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: list[float] = []

        def forward(self, X: Any, T: Any, **_: Any) -> float:
            if len(self.errors) == 3:
                raise KeyboardInterrupt
            self._dx = (X - T) ** 3 / len(X)
            self.errors.append(float(np.sum((X - T) ** 4)) / 4 / len(X))
            return self.errors[-1]

    X, loss = clusters(20)[0], Stops()
    net = fastbp.Network([fastbp.Dense(6, 2)], loss, "float64")
    with pytest.raises(KeyboardInterrupt):
        fastbp.fit_lbfgs(net, X, X[:, :2] + 1)
    best = min(loss.errors)
    loss.errors.clear()
    assert net.loss(X, X[:, :2] + 1) == best


def test_limits_and_what_is_not_finite_warn() -> None:
    X, T = clusters(50)
    with pytest.warns(RuntimeWarning, match="max_fun=3"):
        fastbp.fit_lbfgs(classifier(), X, T, max_fun=3)
    net = classifier("float64", allow_nonfinite=True)
    before, X[0, 0] = net.params.copy(), np.nan
    with pytest.warns(RuntimeWarning, match="not finite"):
        fastbp.fit_lbfgs(net, X, T)
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # a step of SciPy
@pytest.mark.parametrize(("dtype", "far"), [("float32", 1e30), ("float64", 1e200)])
def test_an_error_that_is_infinite_leaves_the_parameters(dtype: str, far: float) -> None:
    net = fastbp.Network([fastbp.Dense(3, 4), fastbp.Tanh(), fastbp.Dense(4, 2)], "L2Loss", dtype)
    before = net.params.copy()
    X = np.random.default_rng(0).normal(size=(10, 3))
    with pytest.warns(RuntimeWarning, match="not finite; parameters are left as they were"):
        fastbp.fit_lbfgs(net, X, np.full((10, 2), far), max_iter=20)
    np.testing.assert_array_equal(net.params, before)


def test_layers_of_the_users_own() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3))
    net = fastbp.Network([fastbp.Dense(3, 3), Scale(), fastbp.Dense(3, 1)], "L2Loss", "float64")
    assert trained_places(net).sum() == net.n_params
    fastbp.fit_lbfgs(net, X, X[:, :1] * 2 + 1)
    assert net.loss(X, X[:, :1] * 2 + 1) < 1e-5
    fastbp.fit_lbfgs(net, X, X[:, :1], sample_weight=np.ones(30))


class Averaged(fastbp.Layer):
    """A user's layer that fit would change otherwise than by its gradient."""

    buffers = ("mean",)

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
        return X

    def backward(self, dY: Any) -> Any:
        return dY


@pytest.mark.parametrize("make", [lambda: fastbp.Dropout(0.3), fastbp.BatchNorm, Averaged])
def test_layers_that_fit_runs_otherwise_are_named(make: Any) -> None:
    (X, T), layer = clusters(40), make()
    net = fastbp.Network([fastbp.Dense(6, 5), layer, fastbp.Dense(5, 4)],
                         "SoftmaxCrossEntropyLoss", "float64")
    before = net.params.copy()
    name = re.escape(f"fit_lbfgs trains with {layer!r} as in predict")
    with pytest.raises(UserWarning, match=name):  # warnings are errors here: nothing has changed
        fastbp.fit_lbfgs(net, X, T, l2=0.1, tol=1e-2)
    np.testing.assert_array_equal(net.params, before)
    with pytest.warns(UserWarning, match=name) as told:
        fastbp.fit_lbfgs(net, X, T, l2=0.1, tol=1e-2)
    assert [one.filename for one in told] == [__file__] and (net.params != before).any()


@pytest.mark.parametrize("layer", [fastbp.Dropout(0.0), fastbp.LayerNorm(), fastbp.BatchNorm()])
def test_layers_that_fit_runs_alike_are_not(layer: fastbp.Layer) -> None:
    X, T = clusters(40)
    layer.trainable = not layer.buffers  # held, it goes by its averages in fit too
    net = fastbp.Network([fastbp.Dense(6, 5), layer, fastbp.Dense(5, 4)],
                         "SoftmaxCrossEntropyLoss", "float64")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fastbp.fit_lbfgs(net, X, T, l2=0.1, tol=1e-2)
    assert not told


@pytest.mark.parametrize(("options", "error"), [
    ({"max_iter": 0}, ValueError), ({"max_iter": 1.5}, TypeError), ({"tol": -1}, ValueError),
    ({"tol": "small"}, TypeError), ({"max_fun": 0}, ValueError), ({"l2": -0.1}, ValueError),
    ({"sample_weight": np.ones(19)}, ValueError), ({"sample_weight": -np.ones(20)}, ValueError),
    ({"sample_weight": np.zeros(20)}, ValueError), ({"sample_weight": "all"}, TypeError),
    ({"sample_weight": np.ones((20, 1))}, ValueError),
    ({"sample_weight": np.full(20, np.nan)}, ValueError), ({"callback": 3}, TypeError),
    ({"n_threads": 0}, ValueError)])
def test_bad_arguments(options: dict[str, Any], error: type[Exception]) -> None:
    net, (X, T) = classifier(), clusters(20)
    before = net.params.copy()
    with pytest.raises(error, match=next(iter(options))):
        fastbp.fit_lbfgs(net, X, T, **options)
    np.testing.assert_array_equal(net.params, before)


def test_without_scipy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r'pip install "fastbp\[scipy\]"'):
        fastbp.fit_lbfgs(classifier(), *clusters(20))


def test_a_start_at_the_minimum_has_a_history_without_iterations() -> None:
    net = fastbp.Network([fastbp.Dense(1, 1, weight_init="zeros")], "mse", "float64")
    history = fastbp.fit_lbfgs(net, [[1.0], [2.0]], [[0.0], [0.0]])
    assert history == {"loss": []} and history.n_iter == 0 and history.converged
