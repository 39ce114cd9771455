"""What fit does beside plain steps: weights, rules, validation, metrics, going on."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import network as network_module
from fastbp import sensitivity
from fastbp.kernels.matmul import SCALED, WHOLE
from fastbp.metrics import METRICS
from fastbp.rules import Rules
from fastbp.run import Run
from fastbp.weights import balanced

from .builders import CHAINS, classifier, clusters, data, network

RULES: list[dict[str, Any]] = [
    {"l1": 0.01}, {"l2": 0.1}, {"l1": 0.02, "l2": 0.05, "by_rows": True}, {"clip_value": 1e-3},
    {"clip_norm": 0.05}, {"clip_norm": 1e6}, {"max_norm": 0.7}, {"average": 0.9},
    {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled": True},
    {"l2": 0.1, "clip_value": 0.01, "clip_norm": 0.02, "max_norm": 0.8, "average": 0.5}]


def run(net: fastbp.Network, X: Any, T: Any, rules: Rules, weights: Any, compiled: bool,
        threads: int = 2, optimizer: fastbp.Optimizer | None = None) -> Run:
    """Nine steps of 32 rows, so that an epoch of 70 ends with a smaller batch."""
    own = None if weights is None else np.ascontiguousarray(weights, net.dtype)
    made = Run(net, net.check_input(X), net.check_target(T), 32, optimizer or fastbp.SGD(0.1),
               True, weights=own, rules=rules)
    made.compiled = compiled
    for _ in range(9):
        made.advance(1, threads)
    return made


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rules", [r for r in RULES if "weight_decay" not in r], ids=str)
def test_engine_and_textbook_agree_on_every_rule(rules: dict[str, Any], weighted: bool,
                                                 teams: None) -> None:
    X, T = data("relu-softmax", 70)
    weights = np.random.default_rng(1).uniform(0, 2, 70) if weighted else None
    nets = [network("relu-softmax") for _ in range(2)]
    runs = [run(net, X, T, Rules(**rules), weights, compiled=i == 0)
            for i, net in enumerate(nets)]
    assert runs[0].errors[0] == pytest.approx(runs[1].errors[0], rel=1e-12)
    np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(runs[0].average, runs[1].average, rtol=1e-11, atol=1e-13)
    plain = network("relu-softmax")
    run(plain, X, T, Rules(), weights, compiled=True)
    same = np.array_equal(plain.params, nets[0].params)
    assert same == (rules in ({"clip_norm": 1e6}, {"average": 0.9}))


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_a_batch_that_weighs_nothing_has_no_penalty_by_rows(clip: float) -> None:
    rng = np.random.default_rng(0)
    X, T, weights = rng.normal(size=(8, 5)), rng.normal(size=(8, 3)), np.repeat([1.0, 0.0], 4)
    errors = []
    for compiled in (True, False):
        net = fastbp.Network([fastbp.Dense(5, 3)], fastbp.L2Loss("sum"), "float64")
        made = Run(net, X, T, 4, fastbp.SGD(0.1), False, weights=weights,
                   rules=Rules(l2=0.5, clip_norm=clip, by_rows=True))
        made.compiled = compiled
        made.advance(2, 1)
        errors.append(made.errors[0])
    assert errors[0] == pytest.approx(errors[1], rel=1e-12)


@pytest.mark.parametrize("batch", [32, WHOLE + 40, SCALED, SCALED + 40])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_corrected_with_their_gradient_have_the_bits_of_two_steps(
        dtype: str, batch: int, teams: None) -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(700, 9)), rng.integers(0, 3, 700)
    found = []
    for rules, threads in ((Rules(), 1), (Rules(), 2), (Rules(clip_value=1e6), 2)):
        net = fastbp.Network([fastbp.Dense(9, 600), fastbp.BatchNorm(), fastbp.ReLU(),
                              fastbp.Dense(600, 1030), fastbp.Tanh(), fastbp.Dense(1030, 3)],
                             "SoftmaxCrossEntropyLoss", dtype=dtype, seed=1)
        made = Run(net, net.check_input(X), net.check_target(T), batch, fastbp.SGD(0.1), True,
                   rules=rules)
        made.advance(3, threads)
        assert made._rules["plain"][0] == (rules.clip_value == 0)
        plan = made.network.plan(batch, threads, training=True)
        assert list(plan.ops["corrects"]) == [1, 0, 0, 1, 0, 1]
        found.append(net.params.copy())
        for value in net.named_parameters().values():
            value[...] = 0
        assert not net.params.any()  # nor have pads ever been anything else
    assert found[0].any() and all((found[0] == other).all() for other in found[1:])


def test_only_plain_descent_corrects_parameters_with_their_gradient() -> None:
    class Careful(fastbp.SGD):
        kernel = fastbp.Adam.kernel

    class Late(fastbp.SGD):
        def hyper(self) -> Any:
            return np.array([0.9, 0.0])

    assert fastbp.SGD().plain
    for other in (fastbp.SGD(momentum=0.5), fastbp.Adam(), Careful(), Late()):
        assert not other.plain
    for name in ("l1", "l2", "clip_value", "clip_norm", "weight_decay"):
        assert not Rules(**{name: 0.1}).leave_gradients
    assert Rules(max_norm=1, average=0.5).leave_gradients


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_rules_give_the_same_bits_on_any_number_of_threads(rules: dict[str, Any],
                                                           teams: None) -> None:
    X, T = data("relu-softmax", 70)
    found = []
    for threads in (1, 2, 7):  # other numbers of tiles
        net = fastbp.Network([fastbp.Dense(5, 300), fastbp.ReLU(), fastbp.Dense(300, 70),
                              fastbp.Tanh(), fastbp.Dense(70, 3)], "SoftmaxCrossEntropyLoss")
        made = run(net, X, T, Rules(**rules), None, True, threads, fastbp.Adam())
        found.append((net.params.tobytes(), made.average.tobytes(), made.errors.tobytes()))
    assert found[0] == found[1] == found[2]


def test_penalties_are_the_formula() -> None:
    """One step from the gradient of E + l1 sum|w| + l2/2 sum w^2, biases left out."""
    X, T = data("tanh-l2", 32)
    net, twin = network("tanh-l2"), network("tanh-l2")
    twin.layers[0].bias[...] = net.layers[0].bias[...] = 0.3
    error, _ = twin.loss_and_grad(X, T)
    history = net.fit(X, T, epochs=1, batch_size=32, optimizer=fastbp.SGD(0.5), l1=0.01, l2=0.1)
    for layer, other in ((net.layers[k], twin.layers[k]) for k in (0, 2)):
        w, b = other.weight, other.bias
        error += 0.01 * np.abs(w).sum() + 0.05 * (w ** 2).sum()
        np.testing.assert_allclose(layer.weight, w - 0.5 * (
            other.weight_grad + 0.01 * np.sign(w) + 0.1 * w), rtol=1e-12)
        np.testing.assert_allclose(layer.bias, b - 0.5 * other.bias_grad, rtol=1e-12)
    assert history["loss"] == [pytest.approx(error, rel=1e-12)]


def test_limits_hold() -> None:
    X, T = data("relu-softmax", 64)
    net = network("relu-softmax")
    net.fit(X, T, epochs=5, optimizer=fastbp.SGD(1.0), max_norm=0.5)
    norms = [np.linalg.norm(layer.weight, axis=1) for layer in net.layers[::2]]
    assert max(n.max() for n in norms) <= 0.5 + 1e-12
    before = net.params.copy()
    net.fit(X, T, epochs=1, batch_size=64, optimizer=fastbp.SGD(1.0), clip_norm=0.01)
    assert np.linalg.norm(net.params - before) <= 0.01 + 1e-9
    before = net.params.copy()
    net.fit(X, T, epochs=1, batch_size=64, optimizer=fastbp.SGD(1.0), clip_value=1e-4)
    assert np.abs(net.params - before).max() <= 1e-4 + 1e-12


@pytest.mark.parametrize("compiled", [True, False])
def test_gradients_are_clipped_by_the_formula_of_pytorch(compiled: bool) -> None:
    """g c / (|g| + 1e-6), as ``rules`` has it."""
    X, T = data("relu-softmax", 64)
    net = network("relu-softmax")
    vars(net)["compiled"] = compiled
    norm, before = float(np.linalg.norm(net.loss_and_grad(X, T)[1])), net.params.copy()
    net.fit(X, T, epochs=1, batch_size=64, optimizer=fastbp.SGD(1.0), clip_norm=norm / 2)
    step = np.linalg.norm(net.params - before)
    assert step == pytest.approx(norm / 2 * norm / (norm + 1e-6), rel=1e-10)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("size", [1e20, 1e-25])
def test_the_largest_norm_holds_where_squares_do_not(size: float, compiled: bool) -> None:
    X, T = clusters()
    net = classifier()
    vars(net)["compiled"] = compiled
    weight = net.named_parameters()["0.weight"]
    weight[...] = size * np.sign(weight)
    net.fit(X[:1], T[:1], epochs=1, optimizer=fastbp.SGD(1e-36), max_norm=size / 2)
    np.testing.assert_allclose(np.sqrt(np.square(weight, dtype="f8").sum(axis=1)), size / 2, 1e-6)


def test_the_average_is_what_remains_and_what_is_validated() -> None:
    X, T = clusters()
    net, plain = classifier("float64"), classifier("float64")
    history = net.fit(X, T, epochs=3, average=0.95, validation_data=(X, T))
    plain.fit(X, T, epochs=3)
    assert net.last_run is not None
    np.testing.assert_array_equal(net.last_run.raw, plain.params)
    assert history["val_loss"][-1] == pytest.approx(net.loss(X, T))
    assert np.abs(net.params - plain.params).max() > 1e-4
    net.fit(X, T, epochs=2, average=0.95, warm_start=True)
    plain.fit(X, T, epochs=2, warm_start=True)
    np.testing.assert_array_equal(net.last_run.raw, plain.params)


@pytest.mark.parametrize("chain", CHAINS)
def test_weights_are_repeated_rows(chain: str) -> None:
    """Weight 2 is the row twice, weight 0 is the row left out."""
    X, T = data(chain, 30)
    counts = np.random.default_rng(0).integers(0, 3, 30)
    net, twin = network(chain), network(chain)
    repeated = np.repeat(np.arange(30), counts)
    assert net.loss(X, T, sample_weight=counts) == pytest.approx(net.loss(X[repeated],
                                                                          T[repeated]))
    one, other = (net.loss_and_grad(X, T, sample_weight=counts)[1],
                  net.loss_and_grad(X[repeated], T[repeated])[1])
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-13)
    if chain == "norms":  # a batch of other rows has other statistics
        return
    first = net.fit(X, T, epochs=3, batch_size=30, sample_weight=counts, optimizer="sgd")
    second = twin.fit(X[repeated], T[repeated], epochs=3, batch_size=99, optimizer="sgd")
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=1e-12)
    np.testing.assert_allclose(net.params, twin.params, rtol=1e-10, atol=1e-13)


def test_class_weights() -> None:
    X, T = clusters(100)
    nets = [classifier("float64") for _ in range(3)]
    counts = np.bincount(T, minlength=4)
    nets[0].fit(X, T, epochs=2, class_weight="balanced")
    nets[1].fit(X, T, epochs=2, sample_weight=(100 / (4 * counts))[T])
    nets[2].fit(X, T, epochs=2, class_weight={k: 100 / (4 * c) for k, c in enumerate(counts)})
    for net in nets[1:]:
        np.testing.assert_allclose(net.params, nets[0].params, rtol=1e-12)
    rare = classifier()
    rare.fit(X, T, epochs=40, class_weight={0: 0, 1: 0, 2: 0}, optimizer=fastbp.Adam(0.01))
    assert (rare.predict_classes(X) == 3).mean() > 0.6 > 2 * (T == 3).mean()
    binary = fastbp.Network([fastbp.Dense(6, 1), fastbp.Sigmoid()], "BinaryCrossEntropyLoss")
    binary.fit(X, T == 0, epochs=1, class_weight="balanced")
    binary_nets = [copy.deepcopy(binary) for _ in range(3)]
    for net, keys in zip(binary_nets, ((0, 1), (False, True), (np.False_, np.True_)), strict=True):
        net.fit(X, T == 0, epochs=1, class_weight=dict(zip(keys, (1, 9), strict=True)))
        np.testing.assert_array_equal(net.params, binary_nets[0].params)
    assert (binary_nets[0].params != binary.params).any()
    one_hot = classifier("float64")
    one_hot.fit(X, np.eye(4)[T], epochs=2, class_weight="balanced")
    np.testing.assert_allclose(one_hot.params, nets[0].params, rtol=1e-12)


def test_weights_of_classes_multiply_those_of_rows() -> None:
    X, T = clusters(100)
    own = np.where(T == 0, 0.0, np.arange(100) % 3)  # leaves out a class
    counts = np.bincount(T, own, 4)
    for given, factors in (({1: 3}, np.array([1, 3, 1, 1])),
                           ("balanced", own.sum() / (3 * np.maximum(counts, 1)))):
        one, twin = classifier("float64"), classifier("float64")
        one.fit(X, T, epochs=1, class_weight=given, sample_weight=own)
        twin.fit(X, T, epochs=1, sample_weight=own * factors[T])
        np.testing.assert_allclose(one.params, twin.params, rtol=1e-12)
    assert list(balanced(np.array([1, 0, 3]))) == [2, 0, 2 / 3]


def test_weights_of_classes_need_one_class_a_row() -> None:
    X, T = clusters(20)
    rows = np.eye(4)[T]
    for bad in (rows / 2 + 1 / 8, 1 - rows, 0 * rows):
        with pytest.raises(ValueError, match="class_weight needs one class for each row"):
            classifier().fit(X, bad, epochs=1, class_weight="balanced")


def test_validation_split_holds_rows_out_by_the_seed() -> None:
    X, T = clusters(100)
    seen = [classifier(seed=s).fit(X, T, epochs=2, validation_split=0.2) for s in (0, 0, 1)]
    assert seen[0]["val_loss"] == seen[1]["val_loss"] != seen[2]["val_loss"]
    net = classifier()
    net.fit(X, T, epochs=1, validation_split=0.2)
    assert net.last_run is not None and net.last_run.steps_per_epoch == 3  # 80 rows by 32
    net.fit(X, T, epochs=1, batch_size=1, validation_split=0.29)  # 28.999999999999996 rows
    assert net.last_run.steps_per_epoch == 71
    weighted = classifier().fit(X, T, epochs=1, validation_data=(X, T, T == 0))
    alone = classifier().fit(X, T, epochs=1, validation_data=(X[T == 0], T[T == 0]))
    assert weighted["val_loss"] == pytest.approx(alone["val_loss"])
    assert weighted["val_accuracy"] == pytest.approx(alone["val_accuracy"])


def test_weights_of_classes_are_for_training_alone() -> None:
    X, T = clusters(200)
    net, options = classifier(), {"epochs": 1, "validation_split": 0.25}
    found = net.fit(X, T, class_weight={0: 9, 1: 0}, **options)
    held = HELD.astype(bool)
    assert found["val_loss"] == [pytest.approx(net.loss(X[held], T[held]))]
    own = {"sample_weight": np.arange(200)}
    found = net.fit(X, T, class_weight={0: 9, 1: 0}, **own, **options)
    expected = net.loss(X[held], T[held], sample_weight=np.arange(200)[held])
    assert found["val_loss"] == [pytest.approx(expected)]
    found = net.fit(X, T, epochs=1, class_weight={0: 9, 1: 0}, metrics=["accuracy"], **own)
    alone = net.evaluate(X, T, sample_weight=np.arange(200))
    assert found["accuracy"] == [pytest.approx(alone["accuracy"], abs=1e-12)]
    twin = classifier()  # rows of one class may be all that is held out
    twin.fit(X, HELD, class_weight={1: 0}, **options)


def test_metrics_by_name_and_function() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    X, T = clusters(200)
    net = classifier()

    def confidence(truth: np.ndarray, output: np.ndarray) -> float:
        return float(output.max(axis=1).mean())

    names = ["accuracy", "balanced_accuracy", "f1", "roc_auc", "log_loss"]
    history = net.fit(X, T, epochs=2, validation_data=(X, T), metrics=[*names, confidence])
    P, labels = net.predict_proba(X), net.predict_classes(X)
    expected = [metrics.accuracy_score(T, labels), metrics.balanced_accuracy_score(T, labels),
                metrics.f1_score(T, labels, average="macro"),
                metrics.roc_auc_score(T, P, multi_class="ovr"), metrics.log_loss(T, P),
                P.max(axis=1).mean()]
    for name, value in zip([*names, "confidence"], expected, strict=True):
        assert history[f"val_{name}"][-1] == pytest.approx(value, rel=1e-6)
    regression, (X, T) = network("tanh-l2"), data("tanh-l2", 50)
    names = ["mse", "rmse", "mae", "r2"]
    history = regression.fit(X, T, epochs=1, metrics=names)
    Y = regression.predict(X)
    expected = [metrics.mean_squared_error(T, Y), metrics.mean_squared_error(T, Y) ** 0.5,
                metrics.mean_absolute_error(T, Y), metrics.r2_score(T, Y)]
    for name, value in zip(names, expected, strict=True):
        assert history[name][-1] == pytest.approx(value)
    assert set(METRICS) == {"accuracy", "balanced_accuracy", "f1", "roc_auc", "log_loss", *names}


def test_a_metric_that_gives_no_number_is_named() -> None:
    def odd(T: Any, Y: Any) -> str:
        return "x"

    with pytest.raises(TypeError, match="metrics: 'odd' must give a number"):
        classifier().fit(*clusters(), epochs=1, metrics=[odd])


def test_multi_label_accuracy_counts_each_yes_and_no() -> None:
    X, T = data("sigmoid-bce", 60)
    net, T = network("sigmoid-bce"), np.round(T)
    history = net.fit(X, T, epochs=1, validation_data=(X, T))
    assert history["val_accuracy"][0] == pytest.approx(((net.predict(X) > 0.5) == T).mean())


def test_two_fits_are_one_longer_fit() -> None:
    X, T = clusters()
    whole, parts, passes = classifier(), classifier(), classifier()
    whole.fit(X, T, epochs=5, optimizer=fastbp.Adam(0.01))
    for epochs in (2, 3):
        parts.fit(X, T, epochs=epochs, optimizer=fastbp.Adam(0.01), warm_start=True)
    for _ in range(5):
        passes.partial_fit(X, T, optimizer=fastbp.Adam(0.01))
    np.testing.assert_array_equal(whole.params, parts.params)
    np.testing.assert_array_equal(whole.params, passes.params)
    with pytest.raises(ValueError, match="warm_start=True needs the optimizer"):
        parts.fit(X, T, epochs=1, optimizer="sgd", warm_start=True)
    parts.fit(X, T, epochs=1, optimizer=fastbp.RMSprop(centered=True))
    with pytest.raises(ValueError, match="warm_start=True needs the optimizer"):
        parts.fit(X, T, epochs=1, optimizer=fastbp.RMSprop(momentum=0.9), warm_start=True)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_fit_does_not_follow_that_of_a_network_of_another_size(optimizer: str) -> None:
    (X, T), one = clusters(64), fastbp.Network([fastbp.Dense(6, 4)], "SoftmaxCrossEntropyLoss")
    one.fit(X, T, epochs=1, optimizer=optimizer)
    other, same = classifier(), classifier()
    other.last_run = one.last_run
    before = other.params.copy()
    with pytest.raises(ValueError, match=r"\) for a network of another size, got "):
        other.fit(X, T, epochs=1, optimizer=optimizer, warm_start=True)
    assert (other.params == before).all() and other.last_run is one.last_run
    same.fit(X, T, epochs=1, optimizer=optimizer)
    other.last_run = same.last_run
    other.fit(X, T, epochs=1, optimizer=optimizer, warm_start=True)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_network_pickled_before_runs_knew_their_kind_goes_on(optimizer: str,
                                                               alone: bool) -> None:
    (X, T), net = clusters(64), classifier()
    net.fit(X, T, epochs=1, optimizer=optimizer)
    assert net.last_run is not None
    for name in "begun_by", "figures":
        del vars(net.last_run)[name]
    text = pickle.dumps(net.last_run if alone else net)
    old = pickle.loads(text).network if alone else pickle.loads(text)
    again = pickle.loads(pickle.dumps(copy.deepcopy(old)))
    with pytest.raises(ValueError, match="needs the optimizer of the fit before"):
        again.fit(X, T, epochs=1, optimizer="rmsprop", warm_start=True)
    for one in net, old, again:
        one.fit(X, T, epochs=1, optimizer=optimizer, warm_start=True)
        assert (one.params == net.params).all()


def test_an_average_goes_on_from_what_the_network_holds() -> None:
    X, T = clusters()
    net = classifier()
    net.fit(X, T, epochs=2, average=0.9)
    net.params[...] *= 0.5
    before = net.params.copy()
    net.fit(X, T, epochs=1, optimizer="adam", average=0.9, warm_start=True)
    assert np.abs(net.params - before).max() < 0.1


def test_gradients_with_respect_to_inputs() -> None:
    for chain in CHAINS:
        net, (X, T) = network(chain), data(chain, 4)
        grads = net.grads.copy()
        found, J = net.input_gradient(X, T), net.jacobian(X)
        assert found.shape == X.shape and J.shape == (4, 3, 5)
        np.testing.assert_array_equal(net.grads, grads)
        for index in np.ndindex(X.shape):
            step = np.zeros_like(X)
            step[index] = 1e-6
            slope = (net.loss(X + step, T) - net.loss(X - step, T)) / 2e-6
            assert found[index] == pytest.approx(slope, abs=1e-6)
            slopes = (net.predict(X + step) - net.predict(X - step))[index[0]] / 2e-6
            np.testing.assert_allclose(J[index[0], :, index[1]], slopes, atol=1e-6)


@pytest.mark.parametrize("chain", CHAINS)
def test_gradients_of_inputs_are_those_layer_by_layer(
        chain: str, monkeypatch: pytest.MonkeyPatch, teams: None) -> None:
    monkeypatch.setattr(sensitivity, "CHUNK_ROWS", 20)
    net, (X, T) = network(chain), data(chain, 47)
    found = net.input_gradient(X, T), net.jacobian(X)
    vars(net)["compiled"] = False
    for own, book in zip(found, (net.input_gradient(X, T), net.jacobian(X)), strict=True):
        np.testing.assert_allclose(own, book, rtol=1e-9, atol=1e-12)


#: 1 where validation_split=0.25 holds a row of 200 out.
HELD = np.isin(np.arange(200), np.random.default_rng([0, 200]).permutation(200)[:50]).astype(int)


@pytest.mark.parametrize(("options", "error", "match"), [
    ({"sample_weight": [1, 2]}, ValueError, "sample_weight must have shape"),
    ({"sample_weight": -np.ones(200)}, ValueError, "sample_weight must be at least 0"),
    ({"sample_weight": np.zeros(200)}, ValueError, "sample_weight is zero for every row"),
    ({"sample_weight": np.full(200, 1e-39)}, ValueError, "sample_weight is zero for every row"),
    ({"class_weight": dict.fromkeys(range(4), 1e-39)}, ValueError, "class_weight is zero for eve"),
    ({"sample_weight": np.full(200, 1e300)}, ValueError, "sample_weight holds inf"),
    ({"sample_weight": np.full(200, np.nan)}, ValueError, "sample_weight holds nan"),
    ({"class_weight": "even"}, TypeError, "class_weight must be"),
    ({"class_weight": {4: 1.0}}, ValueError, "class_weight names class 4"),
    ({"class_weight": {-1: 1.0}}, ValueError, "class_weight names class -1"),
    ({"class_weight": {0: -1.0}}, ValueError, r"class_weight\[0\]"),
    ({"validation_split": 1.5}, ValueError, "validation_split"),
    ({"validation_split": 0.001}, ValueError, "leaves nothing"),
    ({"validation_split": 0.999}, ValueError, "leaves nothing"),
    ({"metrics": ["speed"]}, ValueError, "metrics must be one of"),
    ({"metrics": [3]}, TypeError, "metrics must hold"),
    ({"metrics": None}, TypeError, "metrics must be a sequence .* got None"),
    ({"metrics": [lambda T, Y: 0.0, lambda T, Y: 1.0]}, ValueError, "metrics: '<lambda>' names"),
    ({"metrics": ["f1", "f1"]}, ValueError, "metrics: 'f1' names another"),
    ({"metrics": ["mse"]}, ValueError, "metrics: 'mse' needs rows of numbers"),
    ({"callbacks": [fastbp.EarlyStopping()]}, ValueError,
     r"monitor='val_loss' is not among .*\['learning_rate', 'loss', 'samples_per_s'\]"),
    ({"callbacks": [fastbp.EarlyStopping("accuracy")], "validation_data": clusters()}, ValueError,
     r"monitor='accuracy' is not among .*'samples_per_s', 'val_accuracy', 'val_loss'\]"),
    ({"callbacks": fastbp.EarlyStopping()}, TypeError, "callbacks must be a sequence"),
    ({"class_weight": dict.fromkeys(range(4), 0)}, ValueError, "class_weight is zero for every"),
    ({"class_weight": {0: 1e300}}, ValueError, "class_weight={0: 1e.300} gives rows weights beyo"),
    ({"sample_weight": HELD, "validation_split": 0.25}, ValueError,
     "sample_weight is zero for every row that is trained on"),
    ({"sample_weight": 1 - HELD, "validation_split": 0.25}, ValueError,
     "sample_weight is zero for every row that is held out"),
    ({"l2": -1}, ValueError, "l2 must be"), ({"clip_norm": np.inf}, ValueError, "clip_norm"),
    ({"average": 1.0}, ValueError, "average must be"),
    ({"warm_start": 1}, TypeError, "warm_start must be"),
    ({"resume": 3}, TypeError, "resume must be a path, got 3"),
    ({"resume": "nowhere.safetensors"}, OSError, "nowhere"),
])
def test_bad_options_change_nothing(options: dict[str, Any], error: type[Exception],
                                    match: str) -> None:
    X, T = clusters()
    net = classifier()
    before = net.params.copy()
    with pytest.raises(error, match=match):
        net.fit(X, T, **options)
    np.testing.assert_array_equal(net.params, before)


def test_weights_beyond_what_a_mean_divides_by_are_refused() -> None:
    X, T = clusters()
    net = classifier("float64")
    with pytest.raises(ValueError, match=r"sample_weight must sum to at most 1e\+300, got inf"):
        net.fit(X, T, sample_weight=np.full(len(X), 1e307))
    near = classifier("float64")
    for one, weight in ((net, 1e297), (near, 1.0)):
        one.fit(X, T, epochs=1, sample_weight=np.full(len(X), weight))
    np.testing.assert_allclose(net.params, near.params, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("most", [1, 2])
def test_metrics_of_training_rows_keep_to_the_threads(most: int,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("LAUNCH_WORK", "PARALLEL_THRESHOLD"):
        monkeypatch.setattr(f"fastbp.sharing.{limit}", 0)
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 8)
    launch, sizes = network_module.launch, set()
    monkeypatch.setattr(network_module, "launch", lambda function, size, *rest: (
        sizes.add(size), launch(function, size, *rest))[1])
    net, (X, T) = classifier(), clusters(300)
    net.fit(X, T, epochs=1, metrics=["f1"], n_threads=most)
    assert sizes == {most}
