"""partial_fit: the same bits as ``fit`` of one epoch that goes on, however calls follow."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbp
from fastbp import online
from fastbp import run as module
from fastbp.callbacks import Lambda
from fastbp.engine import STEP
from fastbp.run import Run
from fastbp.schedules import Cosine, Function
from fastbp.threads import Threads

from .builders import classifier, clusters

X, T = clusters(120)
#: Options of a call; those of the first row leave the run to the next call.
SIMPLE: list[dict[str, Any]] = [
    {}, {"batch_size": 7}, {"batch_size": 500}, {"l2": 0.1}, {"l1": 0.01, "max_norm": 1.0},
    {"clip_norm": 0.1, "clip_value": 0.5}, {"shuffle": False}, {"n_threads": 1}]
OTHER: list[dict[str, Any]] = [
    {"average": 0.5}, {"class_weight": {0: 2.0}}, {"validation_data": (X, T)},
    {"metrics": ["accuracy"]}, {"callbacks": [Lambda(lambda *_: None)]}, {"validation_split": 0.2}]
OPTIMIZERS: list[Any] = [
    "adam", fastbp.Adam(0.01), fastbp.Adam(Cosine(0.1), beta1=0.5), fastbp.Adam(0.01, beta2=0.9),
    fastbp.AdamW(0.01, weight_decay=0.1), fastbp.Adam(0.01, weight_decay=0.1)]


def network(chain: str = "plain") -> fastbp.Network:
    if chain == "plain":
        return classifier()
    layers = [fastbp.Dense(X.shape[1], 9), fastbp.BatchNorm(), fastbp.ReLU(), fastbp.Dropout(0.3),
              fastbp.Dense(9, 4)]
    return fastbp.Network(layers, "SoftmaxCrossEntropyLoss", seed=3)


def same(one: fastbp.Network, other: fastbp.Network) -> None:
    first, second = one.last_run, other.last_run
    assert first is not None and second is not None
    np.testing.assert_array_equal(one.params, other.params)
    np.testing.assert_array_equal(first.slots, second.slots)
    np.testing.assert_array_equal(first.cursor, second.cursor)
    np.testing.assert_array_equal(first.errors, second.errors)


@settings(max_examples=40)
@given(chain=st.sampled_from(["plain", "layers"]), calls=st.lists(st.tuples(
    st.integers(0, len(SIMPLE) - 1), st.sampled_from([None, *range(len(OTHER))]),
    st.integers(0, len(OPTIMIZERS) - 1), st.integers(1, 120), st.booleans()),
    min_size=2, max_size=8))
def test_calls_are_fits_that_go_on(chain: str, calls: list[Any]) -> None:
    """Options that stay, change, and come back; more rows and fewer; held layers; weights."""
    nets = network(chain), network(chain)
    for k, (simple, other, optimizer, rows, weighted) in enumerate(calls):
        if k % 2:  # mostly the same again
            simple, other = calls[k - 1][0], None
        options = {**SIMPLE[simple], "optimizer": OPTIMIZERS[optimizer],
                   "sample_weight": np.linspace(0.5, 2, rows) if weighted else None}
        if other is not None and rows > 5 and not (weighted and "validation" in str(OTHER[other])):
            options |= OTHER[other]
        before = nets[0].last_run
        kind = type(options["optimizer"]), getattr(options["optimizer"], "weight_decay", 0)
        for net in nets:
            net.layers[0].trainable = rows % 3 > 0
            if before is not None and kind[0] is not type(before.optimizer):
                net.last_run = None
        found = nets[0].partial_fit(X[:rows], T[:rows], **options)
        expected = nets[1].fit(X[:rows], T[:rows], epochs=1, warm_start=True, **options)
        same(*nets)
        assert found.keys() == expected.keys()
        assert all(found[name] == expected[name] for name in found if name != "samples_per_s")


def test_the_same_options_go_on_in_the_same_run() -> None:
    """What makes a call short: else all above would hold of ``fit`` alone."""
    for options in SIMPLE:
        net, rule = network(), fastbp.SGD(0.1, momentum=0.9)
        net.partial_fit(X, T, optimizer=rule, **options)
        run = net.last_run
        rule.learning_rate = 0.01
        net.partial_fit(X[:50], T[:50], optimizer=rule, **options)
        assert net.last_run is run
        net.partial_fit(X, T, optimizer=fastbp.SGD(0.1, momentum=0.5), **options)
        assert net.last_run is run and run is not None
        assert run.optimizer.config()["momentum"] == 0.5
        net.partial_fit(X, T, optimizer=rule, average=0.5, **options)
        assert net.last_run is not run
    net, rule = network(), fastbp.SGD(0.1)
    for options in {"n_threads": 2}, {"n_threads": 1}, {"l1": 0.1, "l2": 0.2}, {
            "l2": 0.1, "l1": 0.2}, *(other for other in OTHER for _ in range(2)):
        run = net.last_run
        net.partial_fit(X, T, optimizer=rule, **options)
        assert net.last_run is not run


def test_a_run_that_another_network_is_given_goes_on_there() -> None:
    net, other = network(), network()
    net.partial_fit(X, T)
    before, other.last_run = net.params.copy(), net.last_run
    other.partial_fit(X, T)
    assert (other.params != network().params).any()
    np.testing.assert_array_equal(net.params, before)


def test_another_batch_size_begins_with_the_pace_that_is_known(
        monkeypatch: pytest.MonkeyPatch) -> None:
    counts, take = list[int](), Run.take
    monkeypatch.setattr(Threads, "first_steps", lambda *_: 3)
    net = network()
    for rows in (120, 20):  # steps of 32 rows, and of 20
        net.partial_fit(X[:rows], T[:rows])
    monkeypatch.setattr(Run, "take", lambda run, n_steps, n_threads: (
        counts.append(n_steps), take(run, n_steps, n_threads))[1])
    net.partial_fit(X, T)
    assert counts == [3, 1]


def test_histories_are_of_each_call() -> None:
    net = network()
    first, second = (net.partial_fit(X, T) for _ in range(2))
    assert first is not second and len(first["loss"]) == len(second["loss"]) == 1
    assert second["loss"][0] < first["loss"][0] and second["samples_per_s"][0] > 0


def test_a_setting_that_changed_its_type_is_looked_at() -> None:
    net = network()
    net.partial_fit(X, T, l2=1)
    with pytest.raises(TypeError, match="l2 must be a number, got True"):
        net.partial_fit(X, T, l2=True)


@pytest.mark.parametrize("bad", [
    {"X": X[:, :1]}, {"X": X[:0]}, {"T": T[:5]}, {"T": T + 9}, {"sample_weight": np.ones(3)},
    {"sample_weight": np.zeros(len(X))}, {"sample_weight": -np.ones(len(X))},
    {"X": np.full_like(X, np.nan)}], ids=lambda bad: "-".join(bad))
def test_unfit_rows_change_nothing(bad: dict[str, Any]) -> None:
    nets = network(), network()
    for net in nets:
        net.partial_fit(X, T)
    with pytest.raises((TypeError, ValueError)) as found:
        nets[0].partial_fit(**{"X": X, "T": T, **bad})
    with pytest.raises(found.type) as expected:
        nets[1].fit(**{"X": X, "T": T, **bad}, epochs=1, warm_start=True)
    assert str(found.value) == str(expected.value)
    same(*nets)
    for net in nets:
        net.partial_fit(X, T)
    same(*nets)


def test_nothing_trainable_is_said() -> None:
    net = network()
    net.partial_fit(X, T)
    for layer in net.layers:
        layer.trainable = False
    with pytest.raises(ValueError, match="no layer with parameters is trainable"):
        net.partial_fit(X, T)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))],
                         ids=["deepcopy", "pickle"])
def test_a_copy_goes_on_after_a_schedule_that_cannot_be_pickled(copied: Any) -> None:
    net, rule = network(), fastbp.Adam(Function(lambda epoch: 0.1))
    net.fit(X, T, epochs=2, optimizer=rule)
    other = copied(net)
    np.testing.assert_array_equal(other.predict(X), net.predict(X))
    with pytest.raises(ValueError, match=r"partial_fit needs .*Adam\(learning_rate=Function\("):
        other.partial_fit(X, T, optimizer="sgd")
    for each in net, other:
        each.partial_fit(X, T, optimizer=fastbp.Adam(0.01))
    same(net, other)


def test_a_class_that_cannot_be_pickled_is_named() -> None:
    class Own(fastbp.SGD):
        pass

    net = network()
    net.partial_fit(X, T, optimizer=Own(0.1))
    other = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(other.predict(X), net.predict(X))
    with pytest.raises(ValueError, match=r"Own\(learning_rate=0.1.*could not be pickled, got Own"):
        other.partial_fit(X, T, optimizer=Own(0.1))
    other.fit(X, T, epochs=1, optimizer=Own(0.1))
    copy.deepcopy(net).partial_fit(X, T, optimizer=Own(0.1))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda n: pickle.loads(
    pickle.dumps(n))], ids=["copy", "deepcopy", "pickle"])
def test_copies_go_their_own_ways(copied: Any) -> None:
    net, plain = network(), network()
    for _ in range(2):
        net.partial_fit(X, T)
        plain.fit(X, T, epochs=1, warm_start=True)
    other = copied(net)
    assert other.last_run is not None
    state = other.last_run.slots.copy()
    for _ in range(3):
        net.partial_fit(X[:40], T[:40])
    np.testing.assert_array_equal(other.last_run.slots, state)
    for _ in range(2):
        other.partial_fit(X[:40], T[:40])
        plain.fit(X[:40], T[:40], epochs=1, warm_start=True)
    np.testing.assert_array_equal(other.params, plain.params)
    assert (net.params != other.params).any()


def test_rows_are_let_go() -> None:
    net = network()
    for _ in range(2):
        net.partial_fit(X, T, sample_weight=np.ones(len(X)))
        assert net.last_run is not None
        assert not net.last_run.X.size and not net.last_run.weights.size


def test_a_rate_that_fails_leaves_what_the_next_call_needs() -> None:
    class Broken(fastbp.schedules.Schedule):
        broken = False

        def rates(self, epoch: Any, epochs: float) -> Any:
            if self.broken:
                raise RuntimeError("no rate")
            return np.full(epoch.shape, 0.1)

    nets, schedule = (network(), network()), Broken()
    for net in nets:
        net.partial_fit(X, T, optimizer=fastbp.SGD(schedule))
    schedule.broken = True
    with pytest.raises(RuntimeError, match="no rate"):
        nets[0].partial_fit(X, T, optimizer=fastbp.SGD(schedule))
    schedule.broken = False
    for net in nets:
        net.partial_fit(X, T, optimizer=fastbp.SGD(schedule))
    same(*nets)


def test_parts_of_the_users_own_go_by_the_textbook() -> None:
    class Plain(fastbp.optimizers.Optimizer):
        def update(self, params: Any, grads: Any, slots: Any, step: int, rate: float) -> None:
            params -= rate * grads

    nets, rule = (network(), network()), Plain(0.1)
    for _ in range(3):
        nets[0].partial_fit(X, T, optimizer=rule)
        nets[1].fit(X, T, epochs=1, warm_start=True, optimizer=rule)
    same(*nets)


def test_a_loss_that_is_not_finite_is_told_where_it_was_asked() -> None:
    net = network()
    net.partial_fit(X, T, optimizer=fastbp.SGD(0.1))
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="loss is") as told:
            net.partial_fit(1e18 * X, T, optimizer=fastbp.SGD(1e18))
        assert told[0].filename == __file__


def test_defaults_are_those_of_fit() -> None:
    import inspect

    own, of_fit, of_prepare = (inspect.signature(f).parameters for f in (
        online.partial_fit, fastbp.training.fit, fastbp.training.prepare))
    shared = [name for name in own if name in of_fit]
    assert {"batch_size", "optimizer", "sample_weight", "n_threads"} <= set(shared)
    assert all(own[name].default == of_fit[name].default for name in shared)
    assert set(of_fit) >= online._SIMPLE
    assert [(p.name, p.default) for p in of_prepare.values()] == [
        (p.name, p.default) for p in of_fit.values()]


def test_a_rate_that_is_set_between_calls_is_looked_at() -> None:
    net, optimizer = network(), fastbp.Adam(0.01)
    net.partial_fit(X, T, optimizer=optimizer)
    before = net.params.copy()
    for rate in (-0.01, np.nan, np.inf, "fast", np.array(0.1)):
        optimizer.learning_rate = rate  # type: ignore[assignment]
        with pytest.raises((ValueError, TypeError), match="learning_rate must be"):
            net.partial_fit(X, T, optimizer=optimizer)
        with pytest.raises((ValueError, TypeError), match="learning_rate must be"):
            net.fit(X, T, epochs=1, optimizer=optimizer)
    np.testing.assert_array_equal(net.params, before)
    optimizer.learning_rate = 0.0  # the end of a rate that falls to nothing
    net.partial_fit(X, T, optimizer=optimizer)
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize("option", [{"epochs": 2}, {"warm_start": False}])
def test_what_only_fit_takes_is_said(option: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="partial_fit .* neither epochs nor warm_start"):
        network().partial_fit(X, T, **option)


def test_an_option_that_fit_does_not_take_is_said_of_fit() -> None:
    with pytest.raises(TypeError, match=r"^fit\(\) got an unexpected keyword argument 'lr'"):
        network().partial_fit(X, T, lr=0.1)


@pytest.mark.parametrize("rate", [None, "0.1"])
def test_a_rate_that_is_no_number_changes_nothing(rate: Any) -> None:
    net, rule = network(), fastbp.SGD(0.1)
    rule.learning_rate = rate
    before = net.params.copy()
    with pytest.raises(TypeError):
        net.fit(X, T, epochs=1, optimizer=rule)
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize("setting", ["beta1", "beta2"])
def test_settings_that_change_in_place_count(setting: str) -> None:
    nets, values = (network(), network()), [np.array(0.5), np.array(0.5)]
    for k, net in enumerate(nets):
        rule = fastbp.Adam(0.1)
        setattr(rule, setting, values[k])
        for rate in (0.5, 0.25, 0.125):
            values[k][...] = rate
            if k:
                net.fit(X, T, epochs=1, warm_start=True, batch_size=200, optimizer=rule)
            else:
                net.partial_fit(X, T, batch_size=200, optimizer=rule)
    same(*nets)


@pytest.mark.parametrize("size", [np.uint8(32), np.uint64(32), np.int32(200)])
def test_sizes_of_numpys(size: Any) -> None:
    nets = network(), network()
    for rows in (120, 70, 120):
        nets[0].partial_fit(X[:rows], T[:rows], batch_size=size)
        nets[1].fit(X[:rows], T[:rows], epochs=1, warm_start=True, batch_size=int(size))
        same(*nets)
    assert nets[0].last_run is not None and type(nets[0].last_run.batch_size) is int


@pytest.mark.parametrize("rows", [20, 120])
def test_a_call_that_takes_no_step_leaves_the_run_as_it_was(rows: int) -> None:
    class Broken(fastbp.schedules.Schedule):
        def rates(self, epoch: Any, epochs: float) -> Any:
            raise RuntimeError("no rate")

    net, rule = network(), fastbp.SGD(0.1)
    net.partial_fit(X[:60], T[:60], optimizer=rule)
    run = net.last_run
    assert run is not None
    before, cursor = dict(vars(run)), run.cursor.copy()
    net.seed = 9
    with pytest.raises(RuntimeError, match="no rate"):
        net.partial_fit(X[:rows], T[:rows], optimizer=fastbp.SGD(Broken()))
    assert net.last_run is run and not run.X.size and run.optimizer is rule
    assert run.history is before["history"] and run.history["loss"]
    assert (run.n_rows, run.batch_size) == (60, before["batch_size"])
    np.testing.assert_array_equal(run.cursor, cursor)


def test_a_call_that_is_interrupted_keeps_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    launch, net = module.launch, network()
    net.partial_fit(X, T, batch_size=7)
    run = net.last_run
    assert run is not None
    before = run.cursor[STEP]

    def interrupted(*args: Any) -> None:
        launch(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "launch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net.partial_fit(X, T, batch_size=7)
    assert net.last_run is run and run.cursor[STEP] > before


def test_other_state_is_refused_as_in_fit() -> None:
    nets, rules, errors = (network(), network()), [fastbp.Adam(0.1) for _ in range(2)], []
    for net, rule in zip(nets, rules, strict=True):
        net.partial_fit(X, T, optimizer=rule)
        rule.amsgrad = True
    for call in (lambda: nets[0].partial_fit(X, T, optimizer=rules[0]),
                 lambda: nets[1].fit(X, T, epochs=1, warm_start=True, optimizer=rules[1])):
        with pytest.raises(ValueError, match="needs the optimizer") as found:
            call()
        errors.append(str(found.value))
    assert errors[0] == errors[1].replace("warm_start=True", "partial_fit")
    assert errors[0].count("amsgrad=True") == errors[0].count("amsgrad=False") == 1


def test_as_much_state_of_another_kind_is_refused() -> None:
    net = network()
    net.partial_fit(X, T, optimizer=fastbp.RMSprop(0.01, momentum=0.9))
    with pytest.raises(ValueError, match="partial_fit needs"):
        net.partial_fit(X, T, optimizer=fastbp.RMSprop(0.01, centered=True))


def test_state_has_the_kind_of_the_settings_with_which_it_began() -> None:
    """Also once settings have been changed in place, so that the optimizer has another kind."""
    net, rule = network(), fastbp.RMSprop(0.01, momentum=0.5)
    net.partial_fit(X, T, optimizer=rule)
    before = net.params.copy()
    rule.momentum, rule.centered = 0.0, True
    for other in (rule, fastbp.RMSprop(0.01, centered=True)):
        with pytest.raises(ValueError, match=r"partial_fit needs .*momentum=0\.5, centered=False"):
            net.partial_fit(X, T, optimizer=other)
        with pytest.raises(ValueError, match=r"warm_start=True needs .*momentum=0\.5"):
            net.fit(X, T, epochs=1, warm_start=True, optimizer=other)
    np.testing.assert_array_equal(net.params, before)
    net.partial_fit(X, T, optimizer=fastbp.RMSprop(0.02, momentum=0.9))


@pytest.mark.parametrize("rule", [fastbp.SGD(0.01), fastbp.RMSprop(0.01)], ids=str)
@pytest.mark.parametrize("momentum", [-0.5, np.float32(0.5), np.float64(0.5), 0])
def test_a_momentum_set_in_place_has_its_velocity(rule: Any, momentum: Any) -> None:
    """The kernel writes one wherever there is momentum, of whatever sign or type."""
    engine, textbook = network(), network()
    rule = copy.copy(rule)
    rule.momentum = momentum
    assert rule.n_slots == int(isinstance(rule, fastbp.RMSprop)) + int(momentum != 0)
    engine.partial_fit(X[:20], T[:20], optimizer=rule)
    grads = textbook.loss_and_grad(X[:20], T[:20])[1]
    slots = np.zeros((rule.n_slots, grads.size), np.float32)
    rule.update(textbook.params, grads, slots, 1, 0.01)
    np.testing.assert_allclose(engine.params, textbook.params, rtol=1e-5, atol=1e-6)


def test_constants_of_the_optimizer_are_those_of_the_call() -> None:
    """Also after one of which they cannot be known to stay."""
    nets, rules = (network(), network()), [
        fastbp.Adam(0.01), fastbp.Adam(Cosine(0.1), beta1=0.5), fastbp.Adam(0.01)]
    for optimizer in (rules[0], *rules):
        nets[0].partial_fit(X, T, batch_size=500, optimizer=optimizer)
        nets[1].fit(X, T, epochs=1, warm_start=True, batch_size=500, optimizer=optimizer)
        same(*nets)


class Decoupled(fastbp.Adam):
    decoupled = True
    family = fastbp.Adam  # type: ignore[assignment]


class OfPython(Decoupled):
    def update(self, params: Any, *rest: Any) -> None:
        params += 1


@pytest.mark.parametrize("kind", [Decoupled, OfPython])
def test_another_optimizer_of_the_family_does_its_own(kind: Any) -> None:
    nets = network(), network()
    for optimizer in [rule(0.01, weight_decay=0.1) for rule in (fastbp.Adam, kind) * 2]:
        nets[0].partial_fit(X, T, optimizer=optimizer)
        nets[1].fit(X, T, epochs=1, warm_start=True, optimizer=optimizer)
        same(*nets)


def test_sizes_of_a_long_call_are_not_kept() -> None:
    """They would stay with the network, and go into its pickle."""
    net = network()
    net.fit(X, T, epochs=3000, batch_size=120, n_threads=1)
    assert net.last_run is not None
    assert len(pickle.dumps(net.last_run._sizes)) < 4000


def test_an_error_names_the_optimizer_of_the_call_before() -> None:
    net = network()
    for rate in (0.25, 0.25, 0.5, 0.5):
        net.partial_fit(X, T, optimizer=fastbp.Adam(rate))
    with pytest.raises(ValueError, match=r"of the fit before, Adam\(learning_rate=0\.5"):
        net.fit(X, T, epochs=1, warm_start=True, optimizer="rmsprop")
