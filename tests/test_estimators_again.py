"""Fits after a first one: what they keep, what they begin anew, and what ends them early."""

from __future__ import annotations

import copy
import pickle
import signal
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.exceptions import ConvergenceWarning

import fastbp
from fastbp import MLPClassifier, MLPRegressor, engine, run

from .estimators import IRIS, VERSION, assert_alike, both, load, two_labels

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RESULTS = ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_",
           "best_validation_score_")


@pytest.mark.parametrize("earlier", [{}, {"early_stopping": True}], ids=str)
@pytest.mark.parametrize("options", [{"tol": 1.0, "n_iter_no_change": 3},
                                     {"early_stopping": True}, {"max_iter": 3}], ids=str)
def test_a_second_fit_is_as_the_first(options: dict[str, Any], earlier: dict[str, Any]) -> None:
    X, y = IRIS
    base = {"max_iter": 12, "early_stopping": False, "random_state": 0}
    fresh = MLPClassifier((5,), **{**base, **options}).fit(X, y)
    again = MLPClassifier((5,), **{**base, **options, **earlier}).fit(X, y)
    again.set_params(**{**base, **options}).fit(X, y)
    for name in RESULTS:
        assert getattr(again, name) == getattr(fresh, name), name
    np.testing.assert_array_equal(again.network_.params, fresh.network_.params)


def test_a_fit_by_lbfgs_keeps_no_scores_of_another_solver() -> None:
    model = MLPClassifier((5,), early_stopping=True, max_iter=3, random_state=0).fit(*IRIS)
    model.set_params(solver="lbfgs").fit(*IRIS)
    assert not {*RESULTS[3:]} & {*vars(model)} and model.t_ == 0


@pytest.mark.parametrize("change", [
    {"activation": "tanh"}, {"dropout": 0.1}, {"batch_norm": True}, {"loss": "MAELoss"},
    {"hidden_layer_sizes": (4, 4)}], ids=str)
def test_training_goes_on_only_with_the_same_network(change: dict[str, Any]) -> None:
    X, y = load("diabetes")
    model = MLPRegressor(hidden_layer_sizes=(4,), warm_start=True, max_iter=1).fit(X, y)
    before = model.network_.params.copy()
    model.set_params(**change)
    for go_on in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="fit with warm_start=False first"):
            go_on(X, y)
    np.testing.assert_array_equal(model.network_.params, before)


def pinball(q: float) -> fastbp.CustomLoss:
    def error(x: Any, t: Any, dx: Any) -> float:
        slope = 1 - q if x[0] > t[0] else -q
        dx[0] = slope
        return slope * (x[0] - t[0])

    return fastbp.CustomLoss(error)


class Scaled(fastbp.L2Loss):
    def __init__(self, scale: Any) -> None:
        super().__init__()
        self.scale = scale

    def config(self) -> dict[str, Any]:
        return {**super().config(), "scale": self.scale}


@pytest.mark.parametrize(("loss", "other", "equal"), [
    (pinball(0.1), pinball(0.9), None), (Scaled(np.arange(2)), Scaled(np.ones(2)),
                                         Scaled(np.arange(2))),
    (fastbp.HuberLoss(delta=2.0), fastbp.HuberLoss(), fastbp.HuberLoss(delta=2)),
    ("L2Loss", fastbp.MSELoss(), "L2Loss"), (fastbp.L2Loss(), Scaled(1), fastbp.L2Loss())],
    ids=["functions of one name", "arrays", "a parameter", "names", "a class derived"])
def test_training_goes_on_only_with_the_same_loss(loss: Any, other: Any, equal: Any) -> None:
    X, y = load("diabetes")
    model = MLPRegressor(loss, (4,), warm_start=True, max_iter=1, random_state=0).fit(X, y)
    assert repr(pinball(0.1)) == repr(pinball(0.9))
    twin = copy.deepcopy(model)
    before = model.network_.params.copy()
    model.set_params(loss=other)
    for go_on in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="fit with warm_start=False first"):
            go_on(X, y)
    np.testing.assert_array_equal(model.network_.params, before)
    model.set_params(loss=loss if equal is None else equal)
    for one in (model, twin):
        one.fit(X, y).partial_fit(X, y)
    np.testing.assert_array_equal(model.network_.params, twin.network_.params)


def absolute(x: Any, t: Any, dx: Any) -> float:
    dx[0] = 1.0 if x[0] > t[0] else -1.0
    return abs(x[0] - t[0])


@pytest.mark.parametrize("loss", [None, "SoftmaxCrossEntropyLoss", fastbp.FocalLoss(gamma=1.0),
                                  fastbp.CustomLoss(absolute)], ids=str)
def test_a_pickled_estimator_goes_on(loss: Any) -> None:
    X, y = load("diabetes") if isinstance(loss, fastbp.CustomLoss) else IRIS
    kind: Any = MLPRegressor if isinstance(loss, fastbp.CustomLoss) else MLPClassifier
    model = kind(hidden_layer_sizes=(4,), loss=loss, max_iter=1, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(model)).partial_fit(X, y)
    model.partial_fit(X, y)
    np.testing.assert_array_equal(again.network_.params, model.network_.params)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_goes_on_only_in_the_same_dtype(dtype: str) -> None:
    X, y = IRIS
    model = MLPClassifier((4,), warm_start=True, max_iter=1, random_state=0)
    model.fit(X.astype(dtype), y)
    model.set_params(dtype=dtype).fit(X, y).partial_fit(X, y)
    before = model.network_.params.copy()
    model.set_params(dtype={"float32": "float64", "float64": "float32"}[dtype])
    for go_on in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="fit with warm_start=False first"):
            go_on(X, y)
    np.testing.assert_array_equal(model.network_.params, before)
    assert model.set_params(warm_start=False).fit(X, y).network_.dtype == model.dtype


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_training_goes_on_with_the_same_columns_and_precision(method: str) -> None:
    X, y = load("diabetes")
    single = X.astype(np.float32)
    models = [MLPRegressor(hidden_layer_sizes=(4,), max_iter=1, warm_start=method == "fit",
                           random_state=0).fit(single, y) for _ in range(2)]
    getattr(models[0], method)(single, y)
    getattr(models[1], method)(single.astype(np.float64), y)
    np.testing.assert_array_equal(models[1].network_.params, models[0].network_.params)
    with pytest.raises(ValueError, match="X has 9 features, but MLPRegressor is expecting 10"):
        getattr(models[0], method)(X[:, 1:], y)
    assert models[0].n_features_in_ == 10


def test_early_stopping_may_begin_and_end_between_warm_starts() -> None:
    X, y = IRIS
    model = MLPClassifier((5,), max_iter=3, warm_start=True, random_state=0).fit(X, y)
    model.set_params(early_stopping=True).fit(X, y)
    assert model.best_loss_ is None and len(model.validation_scores_) == 3
    assert model.best_validation_score_ == max(model.validation_scores_)
    model.set_params(early_stopping=False).fit(X, y)
    assert model.best_loss_ == min(model.loss_curve_[6:]) and len(model.loss_curve_) == 9


def test_dropout_is_drawn_by_random_state() -> None:
    one, same, other = (MLPClassifier((5,), dropout=0.5, max_iter=1, random_state=seed)
                        .fit(*IRIS).network_.seed for seed in (0, 0, 1))
    assert one == same != other


def test_the_precision_of_products_is_the_networks() -> None:
    model = MLPClassifier((5,), max_iter=1, matmul_precision="medium", warm_start=True)
    assert model.fit(*IRIS).network_.matmul_precision == "medium"
    model.set_params(matmul_precision="highest").fit(*IRIS)
    assert model.network_.matmul_precision == "highest"


def test_lbfgs_trains_on_all_rows_whatever_early_stopping_says() -> None:
    assert_alike(*both(IRIS, solver="lbfgs", early_stopping=True, max_iter=10))


@pytest.mark.skipif(VERSION < (1, 7), reason="sample_weight of scikit-learn 1.7")
@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "two outputs", "labels"])
def test_scores_of_held_out_rows_are_weighted(name: str) -> None:
    X, y = (two_labels() if name == "labels" else
            load("diabetes" if name == "two outputs" else name))
    w = np.random.default_rng(0).integers(0, 4, len(X)) * 0.7
    y = np.column_stack([y, y**2]) if name == "two outputs" else y
    theirs, ours = both((X, y), {"sample_weight": w}, early_stopping=True, max_iter=8,
                        batch_size=int(len(X) * 0.9))  # all that train
    np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-6)


def test_validation_data_may_have_weights() -> None:
    X, y = IRIS
    half = np.arange(150) % 2
    weighted, apart = (MLPClassifier((5,), max_iter=3, random_state=0).fit(
        X, y, validation_data=held).history_ for held in (
            (X, y, half), (X[half == 1], y[half == 1])))
    np.testing.assert_allclose(weighted["val_loss"], apart["val_loss"])
    np.testing.assert_allclose(weighted["val_accuracy"], apart["val_accuracy"])


def test_a_weight_for_all_rows_may_be_one_number() -> None:
    X, y = load("diabetes")
    one, each = (MLPRegressor(max_iter=2, random_state=0).fit(X, y, sample_weight=w)
                 for w in (0.3, np.full(len(X), 0.3)))
    np.testing.assert_array_equal(one.network_.params, each.network_.params)


def test_weights_of_rows_and_of_classes_multiply() -> None:
    X, y = IRIS
    w = np.linspace(0.5, 2, 150)
    both_ways = (({"class_weight": {0: 3.0}}, w), ({}, np.where(y == 0, 3 * w, w)))
    one, by_hand = (MLPClassifier((5,), max_iter=3, random_state=0, **options).fit(X, y, given)
                    for options, given in both_ways)
    np.testing.assert_allclose(one.coefs_[0], by_hand.coefs_[0], rtol=1e-12)


def test_classes_of_partial_fit_come_in_any_order() -> None:
    X, y = IRIS
    names = np.array(["ant", "bee", "cow"])[y]
    one, other = (MLPClassifier((5,), random_state=0).partial_fit(X, names, classes=classes)
                  for classes in (["cow", "ant", "bee", "ant"], ["ant", "bee", "cow"]))
    other.partial_fit(X, names, classes=["bee", "cow", "ant"])
    one.partial_fit(X, names)
    assert list(one.classes_) == ["ant", "bee", "cow"]
    np.testing.assert_array_equal(one.predict(X), other.predict(X))


def test_predicted_labels_are_sparse_as_those_that_began() -> None:
    from scipy.sparse import csr_matrix

    X, labels = two_labels()
    model = MLPClassifier((5,), max_iter=1, warm_start=True).fit(X, csr_matrix(labels))
    assert hasattr(model.fit(X, labels).predict(X), "tocsr")
    assert not hasattr(model.partial_fit(X, labels).predict(X), "tocsr")


def test_early_stopping_with_more_classes_than_held_out_rows() -> None:
    X, y = load("digits")
    model = MLPClassifier((5,), early_stopping=True, max_iter=2, random_state=0)
    assert len(model.fit(X[:60], y[:60]).validation_scores_) == 2


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_the_best_weights_are_those_before_all_went_wrong(kind: Any) -> None:
    X, y = IRIS
    model = kind(hidden_layer_sizes=(5,), solver="sgd", early_stopping=True, max_iter=4,
                 learning_rate_init=1e300, random_state=0, validation_fraction=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        model.fit(X, y)
    assert np.isnan(model.validation_scores_[1:]).all() and np.isfinite(model.predict(X)).all()
    assert model.best_validation_score_ in (-np.inf, model.validation_scores_[0])


def test_a_constant_that_is_not_met_scores_nothing() -> None:
    X, y = load("diabetes")
    model = MLPRegressor(hidden_layer_sizes=(5,), early_stopping=True, max_iter=3)
    model.fit(X, y, validation_data=(X[:20], np.full(20, 9.0)))
    assert model.validation_scores_ == [0, 0, 0], "as r2_score of scikit-learn"


class Seen(fastbp.Callback):
    """Keeps the figures of each epoch; raises ``fails`` after the second."""

    def __init__(self, fails: type[BaseException] | None = None) -> None:
        self.fails, self.logs = fails, []

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.logs.append(dict(logs))
        if epoch == 1 and self.fails:
            raise self.fails


def test_callbacks_see_figures_of_what_early_stopping_holds_out() -> None:
    seen = Seen()
    model = MLPClassifier((5,), early_stopping=True, max_iter=9, average=0.99, random_state=0,
                          learning_rate_init=0.1, callbacks=[seen]).fit(*IRIS)
    found = [logs["val_accuracy"] for logs in seen.logs]  # with averaged parameters, both
    assert found == pytest.approx(model.validation_scores_) and len(found) == 9


@pytest.mark.parametrize("fails", [ZeroDivisionError, KeyboardInterrupt])
def test_what_a_callback_raises_leaves_a_network_with_its_own_loss(fails: Any) -> None:
    X, y = load("diabetes")
    Y = np.column_stack([y, y**2])
    model = MLPRegressor(hidden_layer_sizes=(5,), random_state=0, callbacks=[Seen(fails)])
    if fails is KeyboardInterrupt:
        with pytest.warns(UserWarning, match="interrupted"):
            model.fit(X, Y)
    else:
        with pytest.raises(fails):
            model.fit(X, Y)
    half = np.square(model.network_.predict(X) - Y).sum(axis=1).mean() / 2
    assert model.network_.loss(X, Y) == pytest.approx(half, rel=1e-12)


def test_an_interrupt_before_the_first_epoch_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    model = MLPClassifier((5,), random_state=0, max_iter=3)
    monkeypatch.setattr("fastbp.estimators.ahead._Ahead", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(*IRIS)
    net = model.network_
    assert net._running is None and net.last_run is not None and not net.last_run.X.size


@pytest.mark.parametrize("options", [
    {}, {"shuffle": False}, {"solver": "sgd", "learning_rate": "adaptive"}], ids=str)
def test_an_interrupt_tells_of_all_epochs_that_have_run(
        options: dict[str, Any], ctrl_c: None, monkeypatch: pytest.MonkeyPatch) -> None:
    launch, left = run.launch, [1]

    def interrupted(*args: Any) -> None:
        launch(*args)
        if args[-2][engine.EPOCH] >= 3 and left:
            left.pop()
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(run, "launch", interrupted)
    model = MLPClassifier((5,), random_state=0, max_iter=150, **options)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(*IRIS)
    assert model.loss_curve_ == model.history_["loss"] and not left
    assert model.n_iter_ == len(model.loss_curve_) >= 3 and model.t_ == 150 * model.n_iter_
    assert model.best_loss_ == min(model.loss_curve_) and model.loss_ == model.loss_curve_[-1]
    before = model.network_.last_run
    assert before is not None, "partial_fit goes on from its state"
    assert model.partial_fit(*IRIS).t_ == 150 * (len(model.loss_curve_))


def test_only_the_limit_of_epochs_warns_of_it() -> None:
    X, y = IRIS
    options = {"tol": 10.0, "n_iter_no_change": 2, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        ended = MLPClassifier((5,), **options).fit(X, y)  # by the rule, in its last epoch
        MLPClassifier((5,), max_iter=ended.n_iter_, **options).fit(X, y)
        MLPClassifier((5,), max_iter=1).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        MLPClassifier((5,), max_iter=ended.n_iter_ - 1, **options).fit(X, y)


class Uphill(fastbp.Loss):
    """The gradient points the other way: no search along a line succeeds."""

    def forward(self, X: Any, T: Any, **_: Any) -> float:
        self._dx = (T - X) / len(X)
        return float(np.square(X - T).sum() / 2 / len(X))


def test_lbfgs_warns_whatever_has_ended_it() -> None:
    (X, y), loss = load("diabetes"), Uphill()
    model = MLPRegressor(loss, (3,), solver="lbfgs", alpha=0.0, random_state=0)
    with pytest.warns(ConvergenceWarning, match="status=2"):
        model.fit(X, y)
    assert model.loss_ == model.network_.loss(X, y), "the lowest that was found"
    assert model.network_.loss_function is not loss and loss._dx is None, "a copy is trained"


def test_what_adaptive_rates_print_is_scikit_learns(capsys: pytest.CaptureFixture[str]) -> None:
    both(IRIS, solver="sgd", learning_rate="adaptive", learning_rate_init=3e-5, tol=1.0,
         n_iter_no_change=1, verbose=True, batch_size=50)
    told = capsys.readouterr().out.splitlines()
    lines = [line for line in told if "loss =" not in line]
    half = len(lines) // 2
    assert lines[:half] == lines[half:] and "Setting learning rate" in lines[0]
    assert "Learning rate too small" in lines[-1]
