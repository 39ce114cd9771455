"""Fitted estimators from scikit-learn and back: the same numbers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix, issparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor

import fastbp

from . import exports
from .builders import Scale, clusters
from .estimators import VERSION

X, Y4 = clusters(120)
TARGETS: dict[str, Any] = {
    "four": np.array(["red", "green", "blue", "grey"])[Y4], "two": np.array(["no", "yes"])[Y4 % 2],
    "bools": Y4 > 1, "several": np.stack([Y4 > 1, Y4 % 2 == 1, Y4 == 3], axis=1).astype(int)}


def fitted(make: Any, y: Any, **options: Any) -> Any:
    options = {"hidden_layer_sizes": (8, 5), "max_iter": 15, "random_state": 0} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make(**options).fit(X, y)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("target", TARGETS)
def test_classifiers_both_ways(target: str, activation: str) -> None:
    theirs = fitted(MLPClassifier, TARGETS[target], activation=activation)
    ours = fastbp.from_sklearn(theirs)
    assert type(ours) is fastbp.MLPClassifier and isinstance(ours.network_, fastbp.Network)
    again = fastbp.to_sklearn(ours)
    for model in (ours, again):
        np.testing.assert_array_equal(model.predict(X), theirs.predict(X))
        np.testing.assert_allclose(model.predict_proba(X), theirs.predict_proba(X), rtol=1e-12,
                                   atol=1e-14)
        assert model.classes_.dtype == theirs.classes_.dtype
        assert model.loss_curve_ == theirs.loss_curve_ and model.t_ == theirs.t_
        assert model.score(X, TARGETS[target]) == theirs.score(X, TARGETS[target])
    for a, b in zip(again.coefs_ + again.intercepts_, theirs.coefs_ + theirs.intercepts_,
                    strict=True):
        np.testing.assert_array_equal(a, b)
    assert clone(again).get_params() == clone(theirs).get_params()


def test_predictions_of_sparse_labels_are_sparse_both_ways() -> None:
    theirs = fitted(MLPClassifier, csr_matrix(TARGETS["several"]))
    ours = fastbp.from_sklearn(theirs)
    for model in (ours, fastbp.to_sklearn(ours)):
        Y = model.predict(X)
        assert issparse(Y) and (theirs.predict(X) != Y).nnz == 0


def test_without_hidden_layers_the_activation_stays() -> None:
    theirs = fitted(MLPClassifier, Y4, hidden_layer_sizes=(), activation="logistic", max_iter=1)
    again = fastbp.to_sklearn(fastbp.from_sklearn(theirs))
    assert again.activation == "logistic"
    for a, b in zip(fitted(lambda **_: again, Y4).coefs_, theirs.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)  # it is what the first weights are drawn by


@pytest.mark.parametrize("loss", [{}, pytest.param({"loss": "poisson"}, marks=pytest.mark.skipif(
    VERSION < (1, 7), reason="poisson of scikit-learn 1.7"))], ids=["squared_error", "poisson"])
@pytest.mark.parametrize("columns", [1, 3])
def test_regressors_both_ways(columns: int, loss: dict[str, str]) -> None:
    y = np.abs(X[:, :columns]) if columns > 1 else np.abs(X[:, 0])
    theirs = fitted(MLPRegressor, y, solver="lbfgs", **loss)
    ours = fastbp.from_sklearn(theirs)
    again = fastbp.to_sklearn(ours)
    for model in (ours, again):
        np.testing.assert_allclose(model.predict(X), theirs.predict(X), rtol=1e-12, atol=1e-13)
        assert model.loss == theirs.loss and model.out_activation_ == theirs.out_activation_


def test_rates_need_a_scikit_learn_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = fitted(fastbp.MLPRegressor, np.abs(X[:, 0]), loss="poisson")
    own = {name: value for name, value in MLPRegressor().get_params().items() if name != "loss"}
    monkeypatch.setattr(MLPRegressor, "get_params", lambda self, deep=True: own)
    with pytest.raises(ValueError, match=r"PoissonLoss.*scikit-learn 1\.7 .*; this is \d"):
        fastbp.to_sklearn(rates)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float32_and_names_of_features_stay(dtype: Any) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X.astype(dtype), columns=list("abcdef"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = MLPClassifier(8, max_iter=5, random_state=0).fit(frame, Y4)
    ours = fastbp.from_sklearn(theirs)
    assert ours.network_.dtype == dtype
    assert list(fastbp.to_sklearn(ours).feature_names_in_) == list("abcdef")
    np.testing.assert_array_equal(ours.predict(frame), theirs.predict(frame))
    with pytest.raises(ValueError, match="feature names"):
        ours.predict(frame[list("fedcba")])


def test_training_goes_on() -> None:
    y = TARGETS["four"]
    theirs = fitted(MLPClassifier, y)
    ours = fastbp.from_sklearn(theirs)
    before = ours.score(X, y)
    for model in (ours, fastbp.to_sklearn(ours)):
        for _ in range(60):
            model.partial_fit(X, y)
        assert model.score(X, y) > before
    y = np.unique(y, return_inverse=True)[1]  # early stopping of scikit-learn 1.7 takes no words
    again = fastbp.to_sklearn(fitted(fastbp.MLPClassifier, y, early_stopping=True,
                                     learning_rate_init=0.02, warm_start=True))
    before = again.score(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        again.fit(X, y)
    assert again.score(X, y) >= before > 0.5


def test_estimators_with_what_scikit_learn_has_not() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for options in ({"batch_norm": True, "dropout": 0.2}, {"loss": "focal"},
                        {"loss": "sigmoid_focal"}):
            y = TARGETS["two"]
            ours = fastbp.MLPClassifier((8, 5), max_iter=15, random_state=0, **options).fit(X, y)
            theirs = fastbp.to_sklearn(ours)
            np.testing.assert_array_equal(theirs.predict(X), ours.predict(X))
            np.testing.assert_allclose(theirs.predict_proba(X), ours.predict_proba(X), rtol=1e-11)
            assert type(theirs) is MLPClassifier


def test_networks() -> None:
    rows = exports.rows(dtype="float64")
    network = exports.around("Tanh", "float64")
    np.testing.assert_allclose(fastbp.to_sklearn(network).predict(rows), network.predict(rows),
                               rtol=1e-12)
    network = exports.shaken(fastbp.Network(
        [fastbp.Dense(5, 4, bias=False), fastbp.BatchNorm(), fastbp.Sigmoid(), fastbp.Dropout(0.1),
         fastbp.Dense(4, 3), fastbp.Softmax()], "cross_entropy", "float64"))
    theirs = fastbp.to_sklearn(network, classes=["a", "b", "c"])
    np.testing.assert_allclose(theirs.predict_proba(rows), network.predict_proba(rows),
                               rtol=1e-11)
    assert theirs.predict(rows).tolist() == ["abc"[k] for k in network.predict_classes(rows)]
    assert fastbp.to_sklearn(network).classes_.tolist() == [0, 1, 2]


def test_numbers_are_in_the_units_of_the_target() -> None:
    network, rows = exports.shaken(fastbp.Network(
        [fastbp.Dense(5, 7), fastbp.Tanh(), fastbp.Dense(7, 1)], "mse", "float64")), exports.rows()
    for mean, scale in ((200.0, 30.0), (200.0, 1.0), (0.0, 30.0)):
        target = fastbp.data.Target("y", "regression", mean=mean, scale=scale)
        theirs = fastbp.to_sklearn(fastbp.Model(network, None, target))
        np.testing.assert_allclose(theirs.predict(rows),
                                   network.predict(rows)[:, 0] * scale + mean)


def test_rates_of_a_model_have_no_other_units() -> None:
    network, rows = exports.shaken(fastbp.Network(
        [fastbp.Dense(5, 7), fastbp.Tanh(), fastbp.Dense(7, 1)], "poisson",
        "float64")), exports.rows()
    model = fastbp.Model(network, None, fastbp.data.Target("y", "regression"))
    if "loss" in MLPRegressor().get_params():
        np.testing.assert_allclose(fastbp.to_sklearn(model).predict(rows), model.predict(rows))
    model.target = fastbp.data.Target("y", "regression", mean=0, scale=4)
    with pytest.raises(ValueError, match=r"rates .* in no other units: mean 0, scale 4"):
        fastbp.to_sklearn(model)


def test_nothing_is_shared() -> None:
    network = exports.around("Tanh", "float64")
    before, made = network.params.copy(), fastbp.to_sklearn(network)
    for own, best in ((made.coefs_, made._best_coefs),
                      (made.intercepts_, made._best_intercepts)):
        for a, b in zip(own, best, strict=True):
            assert not np.shares_memory(a, b)
            a += 1
    np.testing.assert_array_equal(network.params, before)
    theirs = fitted(MLPClassifier, Y4)
    ours = fastbp.from_sklearn(theirs)
    kept = [a.copy() for a in theirs.coefs_ + theirs.intercepts_]
    assert ours.history_["loss"] == theirs.loss_curve_
    ours.partial_fit(X, Y4)
    for a, b in zip(theirs.coefs_ + theirs.intercepts_, kept, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(ours.loss_curve_) == len(theirs.loss_curve_) + 1


@pytest.mark.parametrize("label", [0.0, 3, "yes"])
def test_one_class_alone(label: Any) -> None:
    y = np.full(len(X), label)
    theirs = fitted(MLPClassifier, y)
    for ours in (fastbp.from_sklearn(theirs), fitted(fastbp.MLPClassifier, y)):
        again = fastbp.to_sklearn(ours)
        assert again.classes_.tolist() == [label]
        np.testing.assert_array_equal(again.predict(X), y)
        np.testing.assert_allclose(again.predict_proba(X), ours.predict_proba(X), rtol=1e-12)


def test_a_column_of_classes_has_one_a_row() -> None:
    model, rows, wanted = exports.told("sigmoid_binary_cross_entropy", 3)
    assert fastbp.to_sklearn(model).predict(rows).tolist() == wanted


def test_what_cannot_be_one_is_refused() -> None:
    for loss, n_out in (("hinge", 1), ("hinge", 3), ("sigmoid_binary_cross_entropy", 2)):
        with pytest.raises(ValueError, match="scikit-learn's"):
            fastbp.to_sklearn(exports.told(loss, n_out)[0])
    with pytest.raises(ValueError, match=r"classes \['a', 'b'\] need a loss .*HingeLoss"):
        fastbp.to_sklearn(fastbp.Network([fastbp.Dense(2, 2)], "hinge"), classes=["a", "b"])
    with pytest.raises(ValueError, match="two labels"):
        fastbp.to_sklearn(fastbp.Network([fastbp.Dense(3, 2), fastbp.Softmax()],
                                         "binary_cross_entropy"))
    for middle, last, loss in ((fastbp.GELU(), [], "mse"), (fastbp.LayerNorm(), [], "mse"),
                               (fastbp.ReLU(), [fastbp.Tanh()], "mse"),
                               (fastbp.ReLU(), [fastbp.Softmax()], "softmax_cross_entropy")):
        network = fastbp.Network([fastbp.Dense(3, 3), middle, fastbp.Dense(3, 3), *last], loss)
        with pytest.raises(ValueError, match="scikit-learn's networks"):
            fastbp.to_sklearn(network)
    with pytest.raises(ValueError, match="one activation.*'relu', 'tanh'"):
        fastbp.to_sklearn(fastbp.Network([fastbp.Dense(3, 3), fastbp.ReLU(), fastbp.Dense(3, 3),
                                          fastbp.Tanh(), fastbp.Dense(3, 3)], "mse"))
    with pytest.raises(TypeError, match="Scale"):
        fastbp.to_sklearn(fastbp.Network([fastbp.Dense(2, 2), Scale()], "mse"))
    network = exports.around("ReLU", loss="softmax_cross_entropy")
    with pytest.raises(ValueError, match="ascending"):
        fastbp.to_sklearn(network, classes=["c", "b", "a"])
    with pytest.raises(ValueError, match="preprocessor"):
        fastbp.to_sklearn(exports.model(fastbp.Network([fastbp.Dense(9, 2)], "mse")))
    with pytest.raises(TypeError, match="got Network"):
        fastbp.from_sklearn(network)
    with pytest.raises(NotFittedError):
        fastbp.from_sklearn(MLPClassifier())
