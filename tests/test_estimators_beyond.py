"""What the estimators do beyond scikit-learn's, and what they keep of a fit."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn import datasets, neural_network
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

import fastbp
from fastbp import MLPClassifier, MLPRegressor, network
from fastbp.estimators.solvers import Follow

from .estimators import IRIS, VERSION, load, two_labels

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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


@pytest.mark.parametrize("weighted", [False, True], ids=["alone", "with sample_weight"])
def test_class_weight_is_for_training_alone(weighted: bool,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = load("breast_cancer")
    w = np.random.default_rng(0).uniform(0.5, 2.0, len(X)) if weighted else np.ones(len(X))
    drawn: list[Any] = []

    def drawing(*args: Any, **options: Any) -> Any:
        drawn[:] = train_test_split(*args, **options)
        return drawn

    monkeypatch.setattr("fastbp.estimators.split.train_test_split", drawing)
    scores: list[float] = []

    class Scores(fastbp.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            held = drawn[1]
            scores.append(float(np.average(model.predict(X[held]) == y[held], weights=w[held])))

    model = MLPClassifier((9,), max_iter=8, random_state=0, class_weight={0: 50.0},
                          early_stopping=True, validation_fraction=0.3, callbacks=[Scores()])
    model.fit(X, y, sample_weight=w if weighted else None)
    assert model.validation_scores_ == pytest.approx(scores) and len(set(scores)) > 1
    by_hand = MLPClassifier((9,), max_iter=8, random_state=0, early_stopping=True,
                            validation_fraction=0.3).fit(X, y, w * np.where(y == 0, 50.0, 1.0))
    np.testing.assert_allclose(by_hand.loss_curve_, model.loss_curve_)  # trained by both


@pytest.mark.parametrize("rate", ["constant", "invscaling"])
def test_a_callback_lowers_the_rate_beside_that_of_sgd(rate: str) -> None:
    X, y = IRIS
    reduce = fastbp.ReduceOnPlateau("loss", patience=0, min_delta=9.0, cooldown=100)
    plain, lowered = (MLPClassifier((9,), solver="sgd", learning_rate=rate, callbacks=hooks,
                                    max_iter=6, random_state=0).fit(X, y)
                      for hooks in ((), (reduce,)))
    rates = np.array([model.history_["learning_rate"] for model in (plain, lowered)])
    np.testing.assert_allclose(rates[1] / rates[0], [1, 1, *[0.1] * 4], rtol=1e-12)
    plain, lowered = (model.partial_fit(X, y) for model in (plain, lowered))
    assert lowered.history_["learning_rate"][0] == pytest.approx(
        0.1 * plain.history_["learning_rate"][0], rel=1e-12)
    assert lowered.fit(X, y).history_["learning_rate"][0] == 1e-3


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
    for value in ({"dropout": 0.2}, {"clip_norm": 1.0}, {"callbacks": [fastbp.StopOnNaN()]},
                  {"batch_norm": True}, {"average": 0.5}):
        with pytest.raises(ValueError, match="not lbfgs"):
            MLPClassifier(solver="lbfgs", **value).fit(X, y)


@pytest.mark.parametrize("weights", [
    {}, pytest.param({"sample_weight": np.linspace(0.5, 2, 60)}, marks=pytest.mark.skipif(
        VERSION < (1, 7), reason="sample_weight of scikit-learn 1.7"))], ids=["", "weighted"])
def test_lbfgs_reports_the_mean_over_outputs_and_the_whole_penalty(weights: Any) -> None:
    X = np.random.default_rng(0).normal(size=(60, 5))
    Y, options = X[:, :3] ** 2, {"solver": "lbfgs", "alpha": 10.0, "max_iter": 1,
                                 "random_state": 0, "activation": "tanh"}
    ours, theirs = (kind(hidden_layer_sizes=(6,), **options)
                    for kind in (MLPRegressor, neural_network.MLPRegressor))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for model in (ours, theirs):
            model.fit(X, Y, **weights)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-9)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-9)
    assert ours.history_["loss"][-1] == pytest.approx(ours.loss_)


def test_interrupt_keeps_what_there_is() -> None:
    class Interrupt(fastbp.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted"):
        model = MLPClassifier(callbacks=[Interrupt()]).fit(*IRIS)
    assert model.n_iter_ == 2 and model.predict(IRIS[0]).shape == (150,)


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


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_predictions_keep_to_the_threads(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("LAUNCH_WORK", "PARALLEL_THRESHOLD"):
        monkeypatch.setattr(f"fastbp.sharing.{limit}", 0)
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 8)
    X, y = load("iris")
    launch, sizes = network.launch, set()
    monkeypatch.setattr(network, "launch", lambda function, size, *rest: (
        sizes.add(size), launch(function, size, *rest))[1])
    for most in (1, 2):
        sizes.clear()
        kind(hidden_layer_sizes=(8,), max_iter=2, n_threads=most,
             early_stopping=True).fit(X, y).predict(X)
        assert sizes == {most}


@pytest.mark.parametrize("form", ["apart", "pair"])
def test_one_weight_for_all_held_out_rows(form: str) -> None:
    """As ``sample_weight`` may be."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    found = []
    for weight in (2.0, np.full(40, 2.0)):
        held: dict[str, Any] = {"validation_data": (X, y, weight)} if form == "pair" else {
            "X_val": X, "y_val": y, "sample_weight_val": weight}
        model = MLPClassifier((4,), max_iter=2, random_state=0).fit(X, y, **held)
        found.append(model.history_["val_loss"])
    assert found[0] == found[1]
