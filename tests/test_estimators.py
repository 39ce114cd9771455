"""The estimators are scikit-learn's: its checks, its parameters, its numbers to rounding."""

from __future__ import annotations

import copy
import inspect
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn import neural_network
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastbp
from fastbp import MLPClassifier, MLPRegressor

from .estimators import IRIS, VERSION, assert_alike, both, load, two_labels

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.skipif(VERSION < (1, 9) or bool(os.environ.get("SCIPY_ARRAY_API")),
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


@pytest.mark.skipif(VERSION < (1, 9), reason="signatures of scikit-learn 1.9")
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


@pytest.mark.skipif(VERSION < (1, 7), reason="sample_weight and poisson of scikit-learn 1.7")
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
