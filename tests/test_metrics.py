"""Metrics: what they are measured on, and which there cannot be."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.metrics import METRICS

from .builders import classifier, clusters, data, network


def _quartic(x: Any, t: Any, dx: Any) -> Any:
    error = 0.0
    for i in range(x.size):
        d = x[i] - t[i]
        error += d**4
        dx[i] = 4 * d**3
    return error


def test_two_outputs_have_the_area_of_the_second() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    X, T = clusters(200)
    net = fastbp.Network([fastbp.Dense(6, 2)], "SoftmaxCrossEntropyLoss")
    history = net.fit(X, T > 1, epochs=1, metrics=["roc_auc"])
    assert history["roc_auc"] == [metrics.roc_auc_score(T > 1, net.predict_proba(X)[:, 1])]
    several = fastbp.Network([fastbp.Dense(6, 2)], "SigmoidBinaryCrossEntropyLoss")
    T = np.stack([T > 0, T > 2], axis=1)
    history = several.fit(X, T, epochs=1, metrics=["roc_auc"])
    assert history["roc_auc"] == [metrics.roc_auc_score(T, several.predict_proba(X))]


@pytest.mark.parametrize("loss", ["HingeLoss", fastbp.CustomLoss(_quartic, labels=True)])
def test_losses_of_classes_without_probabilities_have_an_accuracy(loss: Any) -> None:
    X, T = clusters(200)
    net = fastbp.Network([fastbp.Dense(6, 4)], loss)
    history = net.fit(X, T, epochs=3, validation_data=(X, T), metrics=["balanced_accuracy"],
                      callbacks=[fastbp.EarlyStopping("val_accuracy", restore_best=False)])
    classes = net.predict(X).argmax(axis=1)
    np.testing.assert_array_equal(net.predict_classes(X), classes)
    assert history["val_accuracy"][-1] == np.mean(classes == T)
    history = net.fit(X, np.eye(4)[T], epochs=1, metrics=["accuracy"])
    assert history["accuracy"] == [np.mean(net.predict_classes(X) == T)]
    with pytest.raises(ValueError, match="metrics: 'roc_auc' needs a cross-entropy loss"):
        net.fit(X, T, metrics=["roc_auc"])


def test_margins_are_cut_where_they_are_to_predict() -> None:
    X, T = clusters(200)
    one = fastbp.Network([fastbp.Dense(6, 1)], "HingeLoss")
    history = one.fit(X, T > 1, epochs=3, metrics=["accuracy", "f1"])
    yes = one.predict(X)[:, 0] > 0
    np.testing.assert_array_equal(one.predict_classes(X), yes)
    assert history["accuracy"][-1] == np.mean(yes == (T > 1))
    several = fastbp.Network([fastbp.Dense(6, 2)], "HingeLoss")
    T = np.stack([T > 0, T > 2], axis=1)
    history = several.fit(X, T, epochs=3, metrics=["accuracy"])
    assert history["accuracy"][-1] == np.mean((several.predict(X) > 0) == T)
    with pytest.raises(ValueError, match="metrics: 'balanced_accuracy' needs one class for each"):
        several.fit(X, T, metrics=["balanced_accuracy"])


def test_metrics_that_cannot_be_are_refused_and_own_ones_kept() -> None:
    X, T = data("sigmoid-bce", 60)
    for chain, names in (("sigmoid-bce", ["log_loss", "balanced_accuracy"]),
                         ("mse", ["accuracy", "roc_auc"])):
        net = network(chain)
        before = net.params.copy()
        for name in names:
            with pytest.raises(ValueError, match=f"metrics: '{name}' needs"):
                net.fit(X, np.round(T), epochs=1, metrics=[name])
        np.testing.assert_array_equal(net.params, before)

    def accuracy(truth: np.ndarray, output: np.ndarray) -> float:
        return 7.0

    history = network("sigmoid-bce").fit(X, np.round(T), epochs=1, metrics=[accuracy],
                                         validation_split=0.5, callbacks=iter([
                                             fastbp.EarlyStopping("val_accuracy")]))
    assert history["val_accuracy"] == [7.0]


def test_a_function_that_writes_to_targets_changes_none_to_train_on() -> None:
    X, T = clusters(60)
    kept = T.copy()

    def signed(truth: np.ndarray, output: np.ndarray) -> float:
        truth[truth == 0] = -1  # no class of the kernels, which do not look
        return float(np.mean(truth))

    nets = [fastbp.Network([fastbp.Dense(6, 4)], "SoftmaxCrossEntropyLoss") for _ in range(2)]
    assert nets[0].evaluate(X, T, metrics=[signed])["signed"] < T.mean()
    np.testing.assert_array_equal(T, kept)
    for net, metrics in zip(nets, ([signed], ()), strict=True):
        net.fit(X, T, epochs=2, metrics=metrics)
    np.testing.assert_array_equal(nets[0].params, nets[1].params)

    def around(truth: np.ndarray, output: np.ndarray) -> float:
        T[0] = -7  # not by its argument
        return 0.0

    with pytest.raises(ValueError, match="T holds label -7"):
        nets[0].fit(X, T, epochs=2, metrics=[around])


def test_a_function_that_writes_to_outputs_changes_no_other_figure() -> None:
    X, _ = clusters(60)
    net = fastbp.Network([fastbp.Dense(6, 2)], "MSELoss")

    def spoil(truth: np.ndarray, output: np.ndarray) -> float:
        output[...] = truth[...] = 0
        return 0.0

    alone = net.evaluate(X, X[:, :2], metrics=["mae"])
    beside = net.evaluate(X, X[:, :2], metrics=[spoil, "mae"])
    assert {name: beside[name] for name in alone} == alone


def test_figures_of_numbers_are_of_what_outputs_stand_for() -> None:
    X, T = clusters(200)
    yes, counts = (T > 1).astype(float), T.astype(float)
    logits = fastbp.Network([fastbp.Dense(6, 1)], "SigmoidBinaryCrossEntropyLoss", "float64")
    history = logits.fit(X, yes, epochs=2, metrics=["mse"])
    brier = np.square(logits.predict_proba(X)[:, 0] - yes).mean()
    assert history["mse"][-1] == pytest.approx(brier)
    rates = fastbp.Network([fastbp.Dense(6, 1)], "PoissonLoss", "float64")
    history = rates.fit(X, counts, epochs=2, metrics=["mae"])
    gaps = np.abs(np.exp(rates.predict(X)[:, 0]) - counts)
    assert history["mae"][-1] == pytest.approx(gaps.mean())


def test_metrics_of_a_network_that_diverged_are_no_numbers() -> None:
    """scikit-learn refuses NaN: that would hide what happened behind another error."""
    pytest.importorskip("sklearn")
    X, T = clusters(200)
    for loss, n_out, names in (("mse", 1, ["r2", "mse"]),
                               ("SoftmaxCrossEntropyLoss", 4, ["log_loss", "roc_auc", "f1"])):
        net = fastbp.Network([fastbp.Dense(6, n_out)], loss, allow_nonfinite=True)
        with pytest.warns(RuntimeWarning, match="loss is"):
            history = net.fit(1e4 * X, T, epochs=3, optimizer=fastbp.SGD(1e37), metrics=names)
        assert np.isnan([history[name][-1] for name in names]).all()


@pytest.mark.parametrize(("loss", "n_out"), [
    ("SoftmaxCrossEntropyLoss", 3), ("SigmoidBinaryCrossEntropyLoss", 1), ("HingeLoss", 3)])
def test_a_network_that_gives_nan_has_no_class_and_is_never_the_best(
        loss: str, n_out: int) -> None:
    """The index of the largest of several NaN is 0, often the class with the most rows."""
    pytest.importorskip("sklearn")
    X, T = clusters(200)
    T = (T > 2).astype(np.int64) if n_out > 1 else (T > 2)[:, None].astype(float)
    net = fastbp.Network([fastbp.Dense(6, 8), fastbp.Dense(8, n_out)], loss)
    stops = [fastbp.EarlyStopping(f"val_{name}") for name in ("accuracy", "f1")]

    class Spoil(fastbp.Callback):
        def on_chunk_end(self, epoch: int, samples: int) -> None:
            if epoch >= 2:
                net.params[...] = 1e30  # finite, unlike the outputs

    with pytest.warns(RuntimeWarning, match="loss is"):
        history = net.fit(X, T, epochs=5, validation_data=(X, T), metrics=["f1"],
                          callbacks=[Spoil(), *stops])
    for name, stop in zip(("val_accuracy", "val_f1"), stops, strict=True):
        assert np.isfinite(history[name]).tolist() == [True, True, False, False, False]
        assert stop.best_epoch < 2
    assert (net.params != 1e30).all()
    net.params[...] = 1e30
    found = net.evaluate(X, T, metrics=["f1", "balanced_accuracy"])
    assert np.isnan([found[name] for name in ("accuracy", "f1", "balanced_accuracy")]).all()


def test_finite_outputs_of_a_fused_layer_whose_input_is_not_have_classes() -> None:
    X, T = np.array([[100.0], [-100.0], [1.0]]), np.array([[1.0], [0.0], [1.0]])
    net = fastbp.Network([fastbp.Dense(1, 1), fastbp.Sigmoid()], "BinaryCrossEntropyLoss")
    net.layers[0].weight[...] = 1e38
    assert np.isinf(net.layers[0].forward(X.astype(np.float32))).any()
    assert net.predict(X).tolist() == T.tolist()
    assert net.evaluate(X, T)["accuracy"] == 1
    net.params[...] = np.nan
    assert np.isnan(net.evaluate(X, T)["accuracy"])


def test_areas_need_no_outputs_that_sum_to_1() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    X, T = clusters(200)
    net = fastbp.Network([fastbp.Dense(6, 4), fastbp.Sigmoid()], "CrossEntropyLoss")
    history = net.fit(X, T, epochs=1, metrics=["roc_auc"])
    P = net.predict(X)
    each = [metrics.roc_auc_score(k == T, P[:, k]) for k in range(4)]
    assert history["roc_auc"] == [pytest.approx(np.mean(each))]


@pytest.mark.parametrize("loss", ["SoftmaxCrossEntropyLoss", "MSELoss", "PoissonLoss"])
def test_evaluate_gives_the_figures_that_an_epoch_would_have(loss: str) -> None:
    X, T = clusters(200)
    if loss != "SoftmaxCrossEntropyLoss":
        T = np.abs(X[:, :4])
    weights = np.random.default_rng(0).uniform(0, 2, 200)
    own = ["f1"] if loss == "SoftmaxCrossEntropyLoss" else ["mae", "r2"]
    net = fastbp.Network([fastbp.Dense(6, 4)], loss)
    for given in None, weights:
        held = (X, T) if given is None else (X, T, given)
        history = net.fit(X, T, epochs=1, validation_data=held, metrics=own)
        kept = net.params.copy()
        found = net.evaluate(X, T, sample_weight=given, metrics=own)
        assert [*found] == ["loss", *(["accuracy"] if own == ["f1"] else []), *own]
        assert {type(value) for value in found.values()} == {float}
        assert {f"val_{name}": [value] for name, value in found.items()} == {
            name: values for name, values in history.items() if name.startswith("val_")}
        assert (net.params == kept).all()
        vars(net)["compiled"] = False  # the textbook loop
        assert net.evaluate(X, T, sample_weight=given, metrics=own) == pytest.approx(found, 1e-5)
        vars(net)["compiled"] = True


@pytest.mark.parametrize(("loss", "n_out", "names"), [
    ("SoftmaxCrossEntropyLoss", 4, ["balanced_accuracy", "f1", "roc_auc", "log_loss"]),
    ("SigmoidBinaryCrossEntropyLoss", 1, ["roc_auc", "log_loss", "f1"]),
    ("SigmoidBinaryCrossEntropyLoss", 2, ["roc_auc", "f1"]),
    ("MSELoss", 2, ["mse", "rmse", "mae", "r2"])])
def test_a_row_of_weight_2_counts_as_two(loss: str, n_out: int, names: list[str]) -> None:
    pytest.importorskip("sklearn")
    X, T = clusters(200)
    net, weights = fastbp.Network([fastbp.Dense(6, n_out)], loss, "float64"), np.arange(200) % 3
    if loss == "MSELoss":
        T = X[:, :2] ** 2
    elif n_out < 4:
        T = np.stack([T > 1, T == 0], axis=1)[:, :n_out]
    again = np.repeat(np.arange(200), weights)
    found = net.evaluate(X, T, sample_weight=weights, metrics=names)
    assert found == pytest.approx(net.evaluate(X[again], T[again], metrics=names))
    assert found != pytest.approx(net.evaluate(X, T, metrics=names), rel=1e-3)


def test_classes_that_no_row_has_are_classes_still() -> None:
    pytest.importorskip("sklearn")
    X, T = clusters(200)
    four = fastbp.Network([fastbp.Dense(6, 4)], "SoftmaxCrossEntropyLoss", "float64")
    few = T < 2
    found = four.evaluate(X[few], T[few], metrics=["log_loss"])
    assert found["log_loss"] == pytest.approx(found["loss"])
    one = fastbp.Network([fastbp.Dense(6, 1)], "SigmoidBinaryCrossEntropyLoss", "float64")
    found = one.evaluate(X, np.ones((200, 1)), metrics=["log_loss"])
    assert found["log_loss"] == pytest.approx(found["loss"])


def test_errors_of_float32_are_squared_beyond_it() -> None:
    T, Y = np.full((2, 3), 1e30, np.float32), np.zeros((2, 3), np.float32)
    assert METRICS["mse"].function(T, Y, None) == pytest.approx(1e60)
    assert METRICS["rmse"].function(T, Y, None) == pytest.approx(1e30)


@pytest.mark.parametrize("name", ["loss", "learning_rate", "samples_per_s", "f1"])
def test_names_of_other_figures_are_taken(name: str) -> None:
    def own(truth: Any, output: Any) -> float:
        return 0.0

    own.__name__ = name
    with pytest.raises(ValueError, match=f"metrics: '{name}' names another figure"):
        classifier().evaluate(*clusters(20), metrics=["f1", own])


def test_evaluate_refuses_what_fit_does() -> None:
    X, T = clusters(20)
    net = fastbp.Network([fastbp.Dense(6, 4)], "SoftmaxCrossEntropyLoss")
    for options, match in (({"metrics": ["nothing"]}, "metrics must be"),
                           ({"metrics": ["mse"]}, "'mse' needs rows of numbers"),
                           ({"sample_weight": np.zeros(20)}, "zero for every row"),
                           ({"sample_weight": [1.0]}, "sample_weight must have shape")):
        with pytest.raises(ValueError, match=match):
            net.evaluate(X, T, **options)
    with pytest.raises(ValueError, match="X has 20 rows, T has 19"):
        net.evaluate(X, T[1:])


def test_evaluate_refuses_weights_that_a_loss_does_not_take() -> None:
    class Plain(fastbp.L2Loss):
        def forward(self, X: Any, T: Any) -> float:  # type: ignore[override]
            return super().forward(X, T)

    net = fastbp.Network([fastbp.Dense(6, 4)], Plain())
    with pytest.raises(TypeError, match="^sample_weight needs a loss that takes weights: Plain"):
        net.evaluate(np.ones((3, 6)), np.ones((3, 4)), sample_weight=np.ones(3))


@pytest.mark.parametrize("end", [[fastbp.Softmax()], []], ids=str)
def test_classes_are_the_same_with_and_without_probabilities(end: list[fastbp.Layer]) -> None:
    """Alone they are found without; the layer that the loss does the work of has not run then."""
    pytest.importorskip("sklearn")
    X, T = clusters(200)
    net = fastbp.Network([fastbp.Dense(6, 4), *map(copy.copy, end)],
                         "CrossEntropyLoss" if end else "SoftmaxCrossEntropyLoss")
    for rows in T, np.eye(4)[T]:
        alone = net.evaluate(X, rows, metrics=["f1"])
        assert alone["accuracy"] == np.mean(net.predict_proba(X).argmax(axis=1) == T)
        beside = net.evaluate(X, rows, metrics=["f1", "log_loss", lambda truth, Y: Y.sum()])
        assert beside["<lambda>"] == pytest.approx(net.predict(X).sum())
        assert {name: beside[name] for name in alone} == alone
