"""Estimators in scikit-learn's world: pipelines, searches, pickles, callbacks, bad data."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

import sklearn
from sklearn import datasets
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import fastbp
from fastbp import MLPClassifier, MLPRegressor
from fastbp.callbacks import Lambda

from .estimators import IRIS, load, two_labels

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_pickle_keeps_everything(solver: str) -> None:
    X, y = IRIS
    model = MLPClassifier((9,), solver=solver, max_iter=8, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.history_ == model.history_ and again.loss_ == model.loss_
    if solver != "lbfgs":  # with the optimizer's state
        np.testing.assert_array_equal(again.partial_fit(X, y).predict_proba(X),
                                      model.partial_fit(X, y).predict_proba(X))
    assert not hasattr(clone(model), "network_") and repr(clone(model)) == repr(model)
    assert again.network_.layers[0].weight.base is not None


def test_networks_and_layers_pickle_too() -> None:
    net = fastbp.Network([fastbp.Dense(4, 6), fastbp.Tanh(), fastbp.Dense(6, 3),
                          fastbp.Softmax()], "CrossEntropyLoss", seed=2)
    X, y = IRIS
    net.fit(X, y, epochs=2)
    again, layer = pickle.loads(pickle.dumps((net, net.layers[0])))
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    np.testing.assert_array_equal(layer.weight, net.layers[0].weight)
    for one in (net, again):
        one.partial_fit(X, y)
    np.testing.assert_array_equal(again.params, net.params)
    again.layers[2].bias[:] = 7  # views of the same parameters
    assert (again.params == 7).sum() == 3 and again.params.ctypes.data % 64 == 0
    layer.forward(X)
    assert layer.backward(np.ones((150, 6))).shape == X.shape


def test_pipeline_and_search() -> None:
    X, y = IRIS
    search = GridSearchCV(make_pipeline(StandardScaler(), MLPClassifier(max_iter=20)),
                          {"mlpclassifier__solver": ["lbfgs", "adam"],
                           "mlpclassifier__class_weight": [None, "balanced"]}, cv=2)
    assert search.fit(X, y).best_score_ > 0.8
    calibrated = CalibratedClassifierCV(MLPClassifier(max_iter=30, random_state=0), cv=2)
    assert calibrated.fit(X, y).score(X, y) > 0.8


def test_held_out_rows_take_the_steps_of_a_pipeline() -> None:
    X, y = load("breast_cancer")
    X, half = X * 1000 + 7, np.random.default_rng(0).random(len(X)) < 0.5
    w = np.arange(half.sum()) % 3
    scaler = StandardScaler().fit(X[~half])
    models = [MLPClassifier((9,), max_iter=4, random_state=0) for _ in range(2)]
    models[0].fit(scaler.transform(X[~half]), y[~half],
                  validation_data=(scaler.transform(X[half]), y[half], w))
    with sklearn.config_context(enable_metadata_routing=True):
        models[1].set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        Pipeline([("scale", StandardScaler()), ("mlp", models[1])], transform_input=["X_val"]).fit(
            X[~half], y[~half], X_val=X[half], y_val=y[half], sample_weight_val=w)
    assert models[0].history_["val_loss"] == models[1].history_["val_loss"]


@pytest.mark.parametrize("prefer", ["processes", "threads"])
def test_jobs(prefer: str) -> None:
    from joblib import parallel_config

    X, y = IRIS
    model = MLPClassifier((20,), max_iter=20, random_state=0)
    alone = cross_val_score(model, X, y, cv=4)
    with parallel_config(backend="loky" if prefer == "processes" else "threading", n_jobs=2):
        np.testing.assert_array_equal(cross_val_score(model, X, y, cv=4), alone)


def test_one_estimator_in_many_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    X, y = load("digits")
    model = MLPClassifier((20,), max_iter=2, random_state=0).fit(X, y)
    parts = [X[k::8] for k in range(8)] * 4
    alone = [model.predict_proba(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(model.predict_proba, parts), alone, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_labels_and_names_and_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    from scipy.sparse import csc_matrix, csr_matrix

    X, y = IRIS
    names = np.array(["ant", "bee", "cow"])[y]
    frame = pandas.DataFrame(X, columns=list("abcd"))
    model = MLPClassifier(max_iter=30, random_state=0).fit(frame, pandas.Series(names))
    assert list(model.feature_names_in_) == list("abcd")
    assert model.score(frame, names) > 0.8 and set(model.predict(frame)) <= set(names)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("dcba")])
    sparse = MLPClassifier(max_iter=30, random_state=0).fit(csr_matrix(X), names)
    np.testing.assert_array_equal(sparse.predict_proba(csc_matrix(X)), model.predict_proba(frame))
    seen, expected = list[int](), sparse.network_._expected
    for size in (1, 7 * X.shape[1] + 1, X.size):  # numbers at a time
        monkeypatch.setattr("fastbp.estimators.sparse.BLOCK", size)
        monkeypatch.setattr(sparse.network_, "_expected", lambda *args: (
            seen.append(args[0].size), expected(*args))[1])
        seen.clear()
        for kind in (csr_matrix, csc_matrix):
            np.testing.assert_array_equal(sparse.predict(kind(X)), model.predict(frame))
            np.testing.assert_array_equal(sparse.predict_proba(kind(X)),
                                          model.predict_proba(frame))
        assert sum(seen) == 4 * X.size and max(seen) <= max(size, X.shape[1])
    Z, indicators = two_labels()
    labels = MLPClassifier(max_iter=5, random_state=0).fit(Z, csr_matrix(indicators))
    assert labels.predict(Z).shape == indicators.shape and hasattr(labels.predict(Z), "tocsr")


def test_weights_are_repetitions() -> None:
    X, y = IRIS
    w = np.random.default_rng(0).integers(0, 3, len(X))
    for model in (MLPClassifier((9,), batch_size=1000, max_iter=30, shuffle=False),
                  MLPRegressor(hidden_layer_sizes=(9,), solver="lbfgs", max_iter=15)):
        model.set_params(random_state=0, alpha=1.0)
        with pytest.warns((UserWarning, ConvergenceWarning)):
            a = clone(model).fit(X, y, sample_weight=w)
        with pytest.warns((UserWarning, ConvergenceWarning)):
            b = clone(model).fit(np.repeat(X, w, axis=0), np.repeat(y, w))
        for u, v in zip(a.coefs_, b.coefs_, strict=True):
            np.testing.assert_allclose(u, v, rtol=1e-6, atol=1e-9)


def test_coefficients_are_read_only_and_can_be_set() -> None:
    X, y = IRIS
    model = MLPClassifier((9,), max_iter=3, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="read-only"):
        model.coefs_[0][0, 0] = 1
    other = MLPClassifier((9,), max_iter=3, random_state=1).fit(X, y)
    other.coefs_, other.intercepts_ = model.coefs_, model.intercepts_
    np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    for unfit, message in (
            ([], "coefs_ must be 2 arrays, one a layer, got 0"),
            ([np.zeros((4, 9)), np.zeros((9, 9))], r"coefs_\[1\] must have shape \(9, 3\), got"),
            ([np.zeros((4, 9)), np.full((9, 3), np.nan)], r"coefs_\[1\] holds nan")):
        with pytest.raises(ValueError, match=message):
            other.coefs_ = unfit
    with pytest.raises(ValueError, match=r"intercepts_\[0\] must have shape \(9,\)"):
        other.intercepts_ = [np.zeros(8), np.zeros(3)]
    np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize(("parameter", "value"), [
    ("activation", "cubic"), ("solver", "newton"), ("alpha", -1.0), ("batch_size", 0),
    ("learning_rate", "fast"), ("learning_rate_init", 0.0), ("max_iter", 0), ("shuffle", "no"),
    ("momentum", 1.1), ("validation_fraction", 1.0), ("beta_1", 1.0), ("epsilon", 0.0),
    ("n_iter_no_change", 0), ("hidden_layer_sizes", (3, 0)), ("hidden_layer_sizes", 2.5),
    ("dropout", 1.0), ("n_threads", 0), ("dtype", "float16"), ("tol", -1.0), ("verbose", "no"),
    ("verbose", None), ("verbose", -1), ("warm_start", 1), ("nesterovs_momentum", "no"),
    ("early_stopping", None), ("batch_norm", 1), ("max_fun", 0), ("power_t", -0.5),
    ("clip_norm", -1.0), ("beta_2", 1.0), ("average", 1.0), ("matmul_precision", "low")])
def test_bad_parameters_are_named(parameter: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=parameter):
        MLPClassifier(**{parameter: value}).fit(*IRIS)


def test_bad_data() -> None:
    X, y = IRIS
    for weights in (np.zeros(150), -np.ones(150), np.ones(3)):
        with pytest.raises(ValueError, match="sample_weight"):
            MLPClassifier().fit(X, y, sample_weight=weights)
    with pytest.raises(ValueError, match="Unknown label type"):
        MLPClassifier().fit(X, X[:, 0])
    with pytest.raises(ValueError, match="several classes a row"):
        MLPClassifier().fit(X, np.column_stack([y, y]))
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(X)
    with pytest.warns(RuntimeWarning), pytest.raises(ValueError, match="not finite"):
        MLPRegressor(solver="sgd", learning_rate_init=1e9, max_iter=20).fit(X, y)


def test_what_is_printed_and_warned(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = IRIS
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        MLPClassifier(max_iter=2, verbose=True).fit(X, y)
    assert "Iteration 2, loss = " in capsys.readouterr().out
    MLPClassifier(max_iter=500, tol=1.0, verbose=True, n_iter_no_change=1).fit(X, y)
    assert "did not improve more than tol=1.0" in capsys.readouterr().out
    with pytest.warns(ConvergenceWarning, match="lbfgs"):
        MLPClassifier(solver="lbfgs", max_iter=2).fit(X, y)
    with pytest.warns(UserWarning, match="batch_size"):
        MLPClassifier(batch_size=151, max_iter=1).fit(X, y)


@pytest.mark.parametrize("call", [
    lambda X, y: MLPClassifier(max_iter=1).fit(X, y),
    lambda X, y: MLPRegressor(solver="lbfgs", max_iter=1).fit(X, y),
    lambda X, y: MLPRegressor(batch_size=151).partial_fit(X, y),
])
def test_warnings_show_the_line_that_called(call: Any) -> None:
    with pytest.warns(UserWarning) as found:
        call(*IRIS)
    assert [warning.filename for warning in found] == [__file__]


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("watched", [False, True])
def test_a_loss_that_is_not_finite_shows_the_line_that_called(watched: bool, method: str) -> None:
    X, y = IRIS
    model = MLPRegressor(hidden_layer_sizes=(3,), solver="sgd", learning_rate_init=1e10,
                         max_iter=50, random_state=0,
                         callbacks=[Lambda(lambda *_: None)] if watched else [])
    with pytest.warns(RuntimeWarning, match="loss is") as found, pytest.raises(
            ValueError, match="not finite"):
        for _ in range(50):
            getattr(model, method)(X, y)
    told = [warning for warning in found if "loss is" in str(warning.message)]
    assert {warning.filename for warning in told} == {__file__}


def test_import_is_lazy_and_says_what_is_missing() -> None:
    code = """
import sys
import fastbp
assert "sklearn" not in sys.modules and "MLPClassifier" in dir(fastbp)
sys.modules["sklearn"] = None
for ask in "fastbp.MLPClassifier", "from fastbp import MLPClassifier":
    try:
        exec(ask)
    except ImportError as error:
        assert 'pip install "fastbp[sklearn]"' in str(error), error
    else:
        raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'MLPTransformer'"):
        fastbp.MLPTransformer  # noqa: B018
    assert cross_val_predict(MLPRegressor(max_iter=2), *IRIS, cv=2).shape == (150,)


def test_without_scikit_learn_the_package_can_be_looked_at() -> None:
    code = """
import inspect, pydoc, sys
from importlib.abc import MetaPathFinder
from unittest import mock

class Hidden(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "sklearn":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
import fastbp

assert "MLPRegressor" not in {*dir(fastbp), *fastbp.__all__}
exec("from fastbp import *")
assert Network is fastbp.Network
assert "class Network" in pydoc.render_doc(fastbp, renderer=pydoc.plaintext)
assert ("Network", Network) in inspect.getmembers(fastbp)
mock.create_autospec(fastbp)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["", "a.b", "network.Network", "1"])
def test_what_is_no_name_is_not_there(name: str) -> None:
    assert getattr(fastbp, name, None) is None


class Watcher:
    """A callback of scikit-learn's protocol."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.heard: list[str] = []
        self.scores: list[float] = []
        self.stop_after = stop_after

    def setup(self, estimator: Any, context: Any) -> None:
        self.heard.append("setup")

    def teardown(self, estimator: Any, context: Any) -> None:
        self.heard.append("teardown")

    def on_fit_task_begin(self, estimator: Any, context: Any, *, metadata: Any = None) -> None:
        self.heard.append(f"begin {context.task_name}")
        self.metadata = metadata

    def on_fit_task_end(self, estimator: Any, context: Any, *, X: Any = None, y: Any = None,
                        fitted_estimator: Any = None) -> bool:
        self.heard.append(f"end {context.task_name}")
        if fitted_estimator is not None:
            self.scores.append(fitted_estimator.score(X, y))
        return len(self.scores) >= self.stop_after


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_callbacks_of_scikit_learn() -> None:
    pytest.importorskip("sklearn.callback")
    X, y = datasets.load_iris(return_X_y=True)
    watcher, own = Watcher(), {"max_iter": 4, "random_state": 0, "learning_rate_init": 0.1}
    plain = MLPClassifier(**own).fit(X, y)
    model = MLPClassifier(**own).set_callbacks(watcher).fit(X, y)
    assert watcher.heard == ["setup", "begin fit", *["begin epoch", "end epoch"] * 4, "end fit",
                             "teardown"]
    assert watcher.scores[-1] == plain.score(X, y) and len(set(watcher.scores)) > 1
    np.testing.assert_array_equal(model.network_.params, plain.network_.params)
    averaged, last = MLPClassifier(**own, average=0.99), Watcher()
    assert averaged.set_callbacks(last).fit(X, y).score(X, y) == last.scores[-1] < 0.9
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), plain.predict(X))
    weights = np.ones(150)
    MLPClassifier(**own).set_callbacks(watcher).fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(watcher.metadata["sample_weight"], weights)
    short = MLPClassifier(max_iter=50, random_state=0).set_callbacks(Watcher(3)).fit(X, y)
    assert short.n_iter_ == 3
    with pytest.raises(TypeError, match="callbacks must be"):
        MLPClassifier().set_callbacks(print)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_any_generator_will_do() -> None:
    after = []
    for callbacks in ((), [fastbp.Callback()]):  # run ahead, and not
        rng = np.random.RandomState(np.random.PCG64(0))
        MLPClassifier((3,), tol=1.0, n_iter_no_change=2, callbacks=callbacks,
                      random_state=rng).fit(*IRIS)
        after.append(rng.randint(2**30))
    assert after[0] == after[1]
