"""The estimators are scikit-learn's, to rounding, and keep what they promise beside."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

import sklearn
from sklearn import datasets, neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastbp
from fastbp import MLPClassifier, MLPRegressor
from fastbp.estimators.solvers import Follow

NEW_ENOUGH = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 9)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def load(name: str) -> tuple[Any, Any]:
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X = (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-9)
    return X, y / y.std() if name == "diabetes" else y


def two_labels() -> tuple[Any, Any]:
    X, y = load("wine")
    return X, np.column_stack([y > 0, y > 1, y == 1]).astype(int)


IRIS = load("iris")


def both(data: tuple[Any, Any], fit: dict[str, Any] | None = None,
         **parameters: Any) -> tuple[Any, Any]:
    """scikit-learn's estimator and ours, fitted alike."""
    real = data[1].dtype.kind == "f"
    made = []
    for module in (neural_network, fastbp):
        model = (module.MLPRegressor if real else module.MLPClassifier)(
            random_state=3, **{"hidden_layer_sizes": (16,), **parameters})
        made.append(model.fit(*data, **(fit or {})))
    return made[0], made[1]


def assert_alike(theirs: Any, ours: Any, tolerance: float = 1e-9) -> None:
    for a, b in zip(theirs.coefs_ + theirs.intercepts_, ours.coefs_ + ours.intercepts_,
                    strict=True):
        np.testing.assert_allclose(b, a, atol=tolerance, rtol=tolerance)
    for name in ("n_iter_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(theirs, name) == getattr(ours, name), name
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-6)
    if theirs.solver != "lbfgs":
        assert ours.t_ == theirs.t_
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-6)
        for name in ("best_loss_", "best_validation_score_"):
            a, b = getattr(theirs, name), getattr(ours, name)
            assert (a is None) == (b is None) and (a is None or b == pytest.approx(a, rel=1e-6))


# -- scikit-learn's own word ---------------------------------------------------------------

@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.skipif(not NEW_ENOUGH or bool(os.environ.get("SCIPY_ARRAY_API")),
                    reason="not there yet, or ran above")
def test_checks_that_need_the_array_api() -> None:
    code = """
import warnings
from sklearn.utils.estimator_checks import estimator_checks_generator
import fastbp
warnings.simplefilter("ignore")
done = 0
for made in (fastbp.MLPClassifier(), fastbp.MLPRegressor()):
    for estimator, check in estimator_checks_generator(made):
        if "array_api" in str(check):
            check(estimator)
            done += 1
assert done
"""
    subprocess.run([sys.executable, "-c", code], check=True,
                   env={**os.environ, "SCIPY_ARRAY_API": "1"})


@pytest.mark.skipif(not NEW_ENOUGH, reason="signatures of scikit-learn 1.9")
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_parameters_are_scikit_learns(name: str) -> None:
    theirs, ours = (inspect.signature(getattr(module, name)).parameters
                    for module in (neural_network, fastbp))
    assert list(ours)[:len(theirs)] == list(theirs)
    for key, parameter in theirs.items():
        assert ours[key].default == parameter.default and ours[key].kind == parameter.kind, key
    own = {"dropout", "batch_norm", "loss", "class_weight", "callbacks", "n_threads", "dtype",
           "clip_norm", "average", "matmul_precision"} - set(theirs) - (
               {"class_weight"} if name == "MLPRegressor" else set())
    assert set(ours) - set(theirs) == own
    for method in ("fit", "partial_fit", "predict", "score"):
        theirs, ours = (list(inspect.signature(getattr(getattr(module, name), method)).parameters)
                        for module in (neural_network, fastbp))
        assert ours[:len(theirs)] == theirs


# -- the same numbers ----------------------------------------------------------------------

@pytest.mark.parametrize("parameters", [
    {}, {"activation": "logistic"}, {"activation": "identity"},
    {"activation": "tanh", "hidden_layer_sizes": (8, 5)}, {"hidden_layer_sizes": ()},
    {"hidden_layer_sizes": 7}, {"shuffle": False}, {"batch_size": 50}, {"alpha": 5.0},
    {"epsilon": 0.01, "beta_1": 0.5, "beta_2": 0.9}, {"tol": 0.01, "n_iter_no_change": 2},
    {"n_iter_no_change": np.inf},
    *[{"solver": "sgd", "learning_rate": rate, "learning_rate_init": 0.1, "tol": 0.02,
       "n_iter_no_change": 1} for rate in ("constant", "invscaling", "adaptive")],
    {"solver": "sgd", "momentum": 0.0}, {"solver": "sgd", "nesterovs_momentum": False},
    {"solver": "sgd", "momentum": 1},
    {"solver": "lbfgs"}, {"solver": "lbfgs", "alpha": 5.0, "max_fun": 7}], ids=str)
@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_same_numbers(name: str, parameters: dict[str, Any]) -> None:
    assert_alike(*both(load(name), **{"max_iter": 30, **parameters}))


@pytest.mark.parametrize("parameters", [{}, {"solver": "lbfgs"}], ids=str)
@pytest.mark.parametrize("name", ["breast_cancer", "wine", "labels"])
def test_same_numbers_for_every_kind_of_target(name: str, parameters: dict[str, Any]) -> None:
    X, y = two_labels() if name == "labels" else load(name)
    theirs, ours = both((X, y), max_iter=15, **parameters)
    assert_alike(theirs, ours)
    for method in ("predict", "predict_proba"):
        np.testing.assert_allclose(getattr(ours, method)(X), getattr(theirs, method)(X),
                                   rtol=1e-6, atol=1e-12)
    assert ours.score(X, y) == theirs.score(X, y)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    P = ours.predict_proba(X)
    np.testing.assert_allclose(np.exp(ours.predict_log_proba(X)), P, atol=1e-15)


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "labels"])
def test_early_stopping_holds_out_the_same_rows(name: str) -> None:
    data = two_labels() if name == "labels" else load(name)
    theirs, ours = both(data, early_stopping=True, max_iter=200, n_iter_no_change=4,
                        learning_rate_init=0.01)
    assert_alike(theirs, ours)
    np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_)
    assert ours.n_iter_ < 200 and ours.best_loss_ is None


@pytest.mark.parametrize("loss", [None, "CrossEntropyLoss"])
def test_early_stopping_with_one_class(loss: Any) -> None:
    X, y = IRIS[0], np.full(150, 7)
    model = MLPClassifier((5,), early_stopping=True, loss=loss, random_state=0).fit(X, y)
    assert set(model.validation_scores_) == {model.score(X, y)} == {1.0}
    theirs = neural_network.MLPClassifier((5,), early_stopping=True, random_state=0).fit(X, y)
    assert model.n_iter_ == theirs.n_iter_


def test_early_stopping_stratifies_many_classes() -> None:
    X, y = load("digits")
    model = MLPClassifier((20,), early_stopping=True, max_iter=60, random_state=0).fit(X, y)
    assert model.best_validation_score_ == max(model.validation_scores_) > 0.9
    rare = np.where(np.arange(len(y)) == 0, 10, y)  # one row of its own class: no strata
    MLPClassifier((20,), early_stopping=True, max_iter=2, random_state=0).fit(X, rare)
    with pytest.raises(ValueError, match="validation set is too small"):
        MLPClassifier(early_stopping=True).fit(X[:5], y[:5])


@pytest.mark.skipif(not NEW_ENOUGH, reason="sample_weight and poisson of scikit-learn 1.7")
def test_weights_and_poisson_are_the_same() -> None:
    for name in ("iris", "diabetes"):
        X, y = load(name)
        w = np.random.default_rng(0).integers(0, 3, len(X)) * 0.7
        for parameters in ({"batch_size": len(X)}, {"solver": "lbfgs"}):
            assert_alike(*both((X, y), {"sample_weight": w}, max_iter=20, alpha=3.0,
                               **parameters))
    for solver in ("adam", "lbfgs"):
        assert_alike(*both((X, y), loss="poisson", max_iter=20, solver=solver))
    with pytest.raises(ValueError, match="at least 0"):
        MLPRegressor("poisson").fit(X, -y)


@pytest.mark.parametrize("loss", [fastbp.PoissonLoss(), "PoissonLoss"])
def test_a_poisson_loss_of_fastbp_predicts_rates(loss: Any) -> None:
    X, y = load("diabetes")
    model = MLPRegressor(loss, max_iter=5, early_stopping=True, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), np.exp(model.network_.predict(X)[:, 0]))
    assert model.out_activation_ == "exp" and model.best_validation_score_ > -10
    with pytest.raises(ValueError, match="at least 0 for loss="):
        MLPRegressor(loss).fit(X, -y)


def test_a_poisson_network_can_be_saved(tmp_path: Any) -> None:
    X, y = load("diabetes")
    model = MLPRegressor("poisson", max_iter=2).fit(X, y)
    model.network_.save(tmp_path / "model.safetensors")
    again = fastbp.load(tmp_path / "model.safetensors")
    assert again.loss(X, y) == model.network_.loss(X, y)


@pytest.mark.parametrize("parameters", [
    {}, {"alpha": 0.0}, {"alpha": 10.0, "max_iter": 600, "learning_rate_init": 0.01},
    {"alpha": 10.0, "solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.05,
     "max_iter": 300}, {"alpha": 10.0, "early_stopping": True, "batch_size": 64}], ids=str)
def test_several_outputs(parameters: dict[str, Any]) -> None:
    X, y = load("diabetes")
    theirs, ours = both((X, np.column_stack([y, y**2, -y])), **{"max_iter": 20, **parameters})
    assert_alike(theirs, ours)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X))
    np.testing.assert_array_equal(ours.history_["loss"], ours.loss_curve_)
    if "learning_rate_init" in parameters:
        assert ours.n_iter_ < parameters["max_iter"], "the rule has stopped it"


class Copies(fastbp.Callback):
    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.copy = copy.deepcopy(self.run.network)


def test_several_outputs_score_and_report_alike() -> None:
    X, y = load("diabetes")
    data, copies = (X, np.column_stack([y, y**2])), Copies()
    ours = MLPRegressor(max_iter=1, alpha=0.0, random_state=0, callbacks=[copies]).fit(
        *data, validation_data=data)
    assert copies.copy.loss(*data) == ours.network_.loss(*data), "a copy has the plain loss"
    assert ours.history_["val_loss"] == [pytest.approx(ours.network_.loss(*data) / 2)]
    assert repr(ours.network_.loss_function) == "L2Loss()"
    _, ours = both((X, np.column_stack([y, y**2])), max_iter=20, early_stopping=True)
    assert ours.predict(X).shape == (len(X), 2)


def test_partial_fit_and_warm_start_are_the_same() -> None:
    X, y = IRIS
    for solver in ("adam", "sgd"):
        pair = [module.MLPClassifier((9,), solver=solver, random_state=1, batch_size=40,
                                     learning_rate="invscaling", learning_rate_init=0.1)
                for module in (neural_network, fastbp)]
        for model in pair:
            model.partial_fit(X[::2], y[::2], classes=[0, 1, 2])
            model.partial_fit(X[:40], y[:40])
            model.partial_fit(X, y)
        assert_alike(*pair)
        assert pair[1].loss_curve_ == pytest.approx(pair[0].loss_curve_)
        pair = [clone(model).set_params(warm_start=True, max_iter=5) for model in pair]
        for model in pair:
            model.fit(X, y).fit(X, y)
        assert_alike(*pair)
    for text, call in (("first call", lambda m: clone(m).partial_fit(X, y)),
                       ("not those", lambda m: m.partial_fit(X, y, classes=[0, 1])),
                       ("not in classes_", lambda m: clone(m).set_params(
                           warm_start=False).partial_fit(X, y, classes=[0, 1])),
                       ("same classes", lambda m: m.fit(X[:60], y[:60])),
                       ("fit with warm_start=False", lambda m: m.set_params(
                           hidden_layer_sizes=4).fit(X, y))):
        with pytest.raises(ValueError, match=text):
            call(pair[1])
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")
    with pytest.raises(ValueError, match="early_stopping"):
        MLPRegressor(early_stopping=True).partial_fit(X, y)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits", "diabetes"])
def test_same_quality(name: str) -> None:
    X, y = load(name)
    real = name == "diabetes"
    scores = [cross_val_score((m.MLPRegressor if real else m.MLPClassifier)(
        hidden_layer_sizes=(12,), max_iter=25, learning_rate_init=0.01, random_state=0),
        X, y, cv=3) for m in (neural_network, fastbp)]
    assert abs(scores[0].mean() - scores[1].mean()) < 0.01


def test_float32_stays() -> None:
    X, y = IRIS
    theirs, ours = both((X.astype("f4"), y), max_iter=20)
    assert_alike(theirs, ours, 1e-4)
    assert ours.coefs_[0].dtype == ours.predict_proba(X).dtype == np.float32
    assert MLPClassifier(max_iter=1).fit(X, y).network_.dtype == np.float64
    assert MLPClassifier(max_iter=1, dtype="float32").fit(X, y).network_.dtype == np.float32
    assert MLPRegressor(max_iter=1).fit(X.astype("f4"), y).predict(X).dtype == np.float32


# -- in scikit-learn's world ---------------------------------------------------------------

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


def test_labels_and_names_and_sparse() -> None:
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


# -- what is more --------------------------------------------------------------------------

def test_class_weight() -> None:
    X, y = load("breast_cancer")
    names = np.where(y > 0, "good", "bad")
    plain, heavy = (MLPClassifier((9,), max_iter=10, random_state=0, class_weight=weight)
                    .fit(X, names) for weight in (None, {"bad": 50.0}))
    assert (heavy.predict(X) == "bad").sum() > (plain.predict(X) == "bad").sum()
    by_hand = MLPClassifier((9,), max_iter=10, random_state=0).fit(
        X, names, sample_weight=np.where(y > 0, 1.0, 50.0))
    np.testing.assert_array_equal(heavy.predict_proba(X), by_hand.predict_proba(X))
    with pytest.raises(ValueError, match="'ugly'"):
        MLPClassifier(class_weight={"ugly": 2}).fit(X, names)
    more = MLPClassifier((9,), max_iter=10, random_state=0,
                         class_weight={"bad": 50.0, "good": 1.0, "ugly": 3.0}).fit(X, names)
    np.testing.assert_array_equal(more.predict_proba(X), by_hand.predict_proba(X))
    for indicators in (two_labels()[1], np.eye(3, dtype=int)[load("wine")[1]]):
        with pytest.raises(ValueError, match="class_weight needs one class for each row"):
            MLPClassifier(class_weight={0: 2.0}).fit(load("wine")[0], indicators)
    with pytest.raises(ValueError, match="balanced"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1])


def test_validation_data_and_callbacks() -> None:
    X, y = load("digits")
    seen: list[int] = []
    stop = fastbp.EarlyStopping("val_loss", patience=2)
    model = MLPClassifier((30,), max_iter=50, random_state=0, callbacks=[stop])
    model.fit(X[300:], y[300:], validation_data=(X[:300], y[:300]))
    assert len(model.history_["val_accuracy"]) == len(model.loss_curve_) == model.n_iter_
    plain = MLPClassifier((30,), max_iter=model.n_iter_, random_state=0).fit(X[300:], y[300:])
    assert plain.loss_curve_ == model.loss_curve_
    model = MLPClassifier((30,), max_iter=300, random_state=0, early_stopping=True,
                          learning_rate_init=0.02, n_iter_no_change=3)
    model.fit(X[300:], y[300:], validation_data=(X[:300], y[:300]))
    assert model.n_iter_ < 300 and model.t_ == model.n_iter_ * (len(X) - 300)
    assert model.score(X[:300], y[:300]) == model.best_validation_score_

    class Third(fastbp.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
            seen.append(epoch)
            return epoch == 2

    model = MLPRegressor(callbacks=(Third(),)).fit(X[:300], y[:300])
    assert seen == [0, 1, 2] and model.n_iter_ == 3
    pickle.dumps(clone(model.set_params(callbacks=())))
    for bad, error in (((X,), TypeError), ((X, y[:5]), ValueError), ((X[:, :3], y), ValueError)):
        with pytest.raises(error):
            MLPClassifier(max_iter=1).fit(X, y, validation_data=bad)


def test_other_losses() -> None:
    X, y = load("breast_cancer")
    two = MLPClassifier((9,), loss="CrossEntropyLoss", max_iter=20, random_state=0).fit(X, y)
    assert two.n_outputs_ == 2 and two.out_activation_ == "softmax" and two.score(X, y) > 0.8
    np.testing.assert_allclose(two.predict_proba(X).sum(axis=1), 1)
    raw, fused = (MLPClassifier((9,), loss=loss, max_iter=5, random_state=0).fit(*IRIS)
                  for loss in (fastbp.SoftmaxCrossEntropyLoss(), None))
    np.testing.assert_allclose(raw.predict_proba(IRIS[0]), fused.predict_proba(IRIS[0]))
    squares = [MLPRegressor(loss, max_iter=5, random_state=0).fit(X, y).predict(X)
               for loss in ("L2Loss", "squared_error")]
    np.testing.assert_array_equal(*squares)
    for model, text in ((MLPClassifier(loss="L2Loss"), "does not fit"),
                        (MLPClassifier(loss="nothing"), "one of"),
                        (MLPRegressor("CrossEntropyLoss"), "not for regression")):
        with pytest.raises(ValueError, match=text):
            model.fit(*IRIS)


class Quartic(fastbp.Loss):
    """(x - t)^4 / 4, in NumPy alone."""

    def forward(self, X: Any, T: Any, *, sample_weight: Any = None, **_: Any) -> float:
        share = (np.ones(len(X)) if sample_weight is None else sample_weight)[:, None]
        self._dx = share / share.sum() * (X - T) ** 3
        return float((share / share.sum() * (X - T) ** 4).sum() / 4)


def test_a_loss_of_ones_own() -> None:
    X, y = load("diabetes")
    for solver in ("adam", "lbfgs"):
        model = MLPRegressor(Quartic(), (5,), solver=solver, max_iter=10, random_state=0)
        model.fit(X, y, sample_weight=np.ones(len(X)))
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        first = MLPRegressor(Quartic(), (5,), solver=solver, max_iter=1, random_state=0).fit(X, y)
        assert model.loss_ < first.loss_


def test_fit_keeps_no_rows() -> None:
    import gc
    import weakref

    X = np.random.default_rng(0).normal(size=(50, 3))
    model = MLPRegressor(max_iter=2).fit(X, X[:, 0])
    gone = weakref.ref(X)
    del X
    gc.collect()
    assert gone() is None and model.n_iter_ == 2


def test_any_number_of_threads_gives_the_same() -> None:
    X, y = load("digits")
    one, two = (MLPClassifier(max_iter=3, random_state=0, n_threads=n).fit(X, y) for n in (1, 2))
    np.testing.assert_array_equal(one.network_.params, two.network_.params)
    assert one.loss_curve_ == pytest.approx(two.loss_curve_, rel=1e-13)  # penalties by tile


def test_clip_average_and_layers() -> None:
    X, y = IRIS
    plain, clipped, averaged = (MLPClassifier((9,), max_iter=15, random_state=0, **more).fit(X, y)
                                for more in ({}, {"clip_norm": 1e-3}, {"average": 0.9}))
    assert not np.array_equal(plain.coefs_[0], clipped.coefs_[0])
    assert averaged.loss_curve_ == plain.loss_curve_
    assert not np.array_equal(plain.coefs_[0], averaged.coefs_[0])
    for name, value in (("Dropout", {"dropout": 0.2}), ("BatchNorm", {"batch_norm": True})):
        model = MLPClassifier((9,), max_iter=5, random_state=0, **value)
        again = clone(model).fit(X, y).predict_proba(X)
        np.testing.assert_array_equal(model.fit(X, y).predict_proba(X), again)
        assert any(type(layer).__name__ == name for layer in model.network_.layers)
    for value in ({"dropout": 0.2}, {"clip_norm": 1.0}, {"callbacks": [fastbp.StopOnNaN()]}):
        with pytest.raises(ValueError, match="not lbfgs"):
            MLPClassifier(solver="lbfgs", **value).fit(X, y)


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
    ("verbose", None), ("verbose", -1)])
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


@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 2, 60)], ids=["", "weighted"])
def test_lbfgs_reports_the_mean_over_outputs_and_the_whole_penalty(weights: Any) -> None:
    X = np.random.default_rng(0).normal(size=(60, 5))
    Y, options = X[:, :3] ** 2, {"solver": "lbfgs", "alpha": 10.0, "max_iter": 1,
                                 "random_state": 0, "activation": "tanh"}
    ours, theirs = (kind(hidden_layer_sizes=(6,), **options)
                    for kind in (MLPRegressor, neural_network.MLPRegressor))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for model in (ours, theirs):
            model.fit(X, Y, sample_weight=weights)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-9)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-9)
    assert ours.history_["loss"][-1] == pytest.approx(ours.loss_)


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


def test_interrupt_keeps_what_there_is() -> None:
    class Interrupt(fastbp.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted"):
        model = MLPClassifier(callbacks=[Interrupt()]).fit(*IRIS)
    assert model.n_iter_ == 2 and model.predict(IRIS[0]).shape == (150,)


def test_import_is_lazy_and_says_what_is_missing() -> None:
    code = """
import sys
import fastbp
assert "sklearn" not in sys.modules and "MLPClassifier" in dir(fastbp)
sys.modules["sklearn"] = None
try:
    fastbp.MLPClassifier
except ImportError as error:
    assert 'pip install "fastbp[sklearn]"' in str(error), error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'MLPTransformer'"):
        fastbp.MLPTransformer  # noqa: B018
    assert cross_val_predict(MLPRegressor(max_iter=2), *IRIS, cv=2).shape == (150,)


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

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.heard.append(f"begin {context.task_name}")

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
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), plain.predict(X))
    short = MLPClassifier(max_iter=50, random_state=0).set_callbacks(Watcher(3)).fit(X, y)
    assert short.n_iter_ == 3
    with pytest.raises(TypeError, match="callbacks must be"):
        MLPClassifier().set_callbacks(print)


@pytest.mark.parametrize("parameters", [
    {}, {"tol": 0.05, "n_iter_no_change": 3}, {"shuffle": False}, {"batch_size": 7},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.01, "n_iter_no_change": 2},
    {"solver": "sgd", "learning_rate": "invscaling"}, {"n_iter_no_change": np.inf},
    {"average": 0.9}, {"max_iter": 1}], ids=str)
def test_epochs_run_ahead_are_those_that_are_waited_for(parameters: dict[str, Any]) -> None:
    X, y = load("iris")
    fitted = []
    # A callback of the user's own makes the engine wait after each epoch.
    for callbacks in ((), [fastbp.Callback()]):
        rng = np.random.RandomState(5)
        model = MLPClassifier((9,), **{"max_iter": 150, "random_state": rng, **parameters},
                              callbacks=callbacks).fit(X, y)
        fitted.append((model, rng.randint(2**30)))
    (ahead, after), (waited, then) = fitted
    assert ahead.loss_curve_ == waited.loss_curve_ and ahead.n_iter_ == waited.n_iter_
    assert (ahead.network_.params == waited.network_.params).all()
    assert after == then, "draws of the generator"
    assert ahead.history_["learning_rate"] == waited.history_["learning_rate"]
    if "tol" in parameters:
        assert ahead.n_iter_ < 150, "the rule has stopped it"


def test_long_runs_stop_where_the_rule_says() -> None:
    X, y = load("iris")
    options = {"tol": 1e-4, "n_iter_no_change": 10, "max_iter": 3000, "random_state": 1,
               "learning_rate_init": 0.01}
    ours = MLPClassifier((5,), **options).fit(X, y)
    theirs = neural_network.MLPClassifier((5,), **options).fit(X, y)
    assert ours.n_iter_ == theirs.n_iter_ < 3000
    assert np.allclose(ours.loss_curve_, theirs.loss_curve_)


def test_nobody_else_is_given_numbers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs: list[int] = []
    mixed = Follow.mixed

    def drawing(self: Follow, order: Any) -> Any:  # as another thread might, in between
        theirs.append(self.estimator._random_state.randint(2**62))
        return mixed(self, order)

    monkeypatch.setattr(Follow, "mixed", drawing)
    rng = np.random.RandomState(0)
    model = MLPClassifier((3,), tol=1.0, n_iter_no_change=2, random_state=rng).fit(*IRIS)
    assert len(theirs) > model.n_iter_
    theirs += [rng.randint(2**62) for _ in range(3)]
    assert len(set(theirs)) == len(theirs)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_any_generator_will_do() -> None:
    after = []
    for callbacks in ((), [fastbp.Callback()]):  # run ahead, and not
        rng = np.random.RandomState(np.random.PCG64(0))
        MLPClassifier((3,), tol=1.0, n_iter_no_change=2, callbacks=callbacks,
                      random_state=rng).fit(*IRIS)
        after.append(rng.randint(2**30))
    assert after[0] == after[1]


@pytest.mark.parametrize(("solver", "optimizer"), [
    ("adam", fastbp.Adam(0.01)), ("sgd", fastbp.SGD(0.01, momentum=0.9))])
def test_the_network_goes_on_from_the_state_of_the_estimator(solver: str, optimizer: Any) -> None:
    X, y = datasets.load_iris(return_X_y=True)
    model = MLPClassifier((8,), solver=solver, max_iter=3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    network = model.network_
    before = network.last_run
    assert before is not None
    network.partial_fit(X, y, optimizer=optimizer)
    after = network.last_run
    assert after is not None
    assert after.cursor[0] == before.cursor[0] + 5  # of 32 rows each
    model.partial_fit(X, y)
    assert network.last_run is not None
    assert network.last_run.cursor[0] == after.cursor[0] + 1  # the five are not forgotten
