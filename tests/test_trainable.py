"""Layers that training leaves as they are, in the engine and as the text writes it."""

from __future__ import annotations

import copy
import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import data, optimizers, sharing
from fastbp.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm, ReLU, Tanh, dense
from fastbp.rules import Rules
from fastbp.run import Run

CHAIN = (0, 1, 4, 6)  # layers with parameters


def network(held: Any = (), dtype: str = "float64", seed: int = 3) -> fastbp.Network:
    layers = [Dense(5, 40), BatchNorm(), ReLU(), Dropout(0.2), Dense(40, 33), Tanh(), LayerNorm(),
              Dense(33, 3)]
    for k in held:
        layers[k].trainable = False
    return fastbp.Network(layers, "SoftmaxCrossEntropyLoss", dtype, seed)


def rows(n: int = 70, m: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(2, 3, (n, m)), rng.integers(0, 3, n)


def steps(net: fastbp.Network, compiled: bool, threads: int, optimizer: Any,
          rules: Rules) -> Run:
    X, T = rows()
    run = Run(net, net.check_input(X), T, 32, optimizer, True, rules=rules)
    run.compiled = compiled
    for _ in range(5):
        run.advance(1, threads)
    return run


def changed(one: fastbp.Network, other: fastbp.Network) -> set[int]:
    """Layers of which any parameter, buffers too, is not the same to the last bit."""
    return {k for k, (a, b) in enumerate(zip(one.layers, other.layers, strict=True))
            if any((x != b.parameters()[name]).any() for name, x in a.parameters().items())}


@pytest.mark.parametrize("held", [set(c) for n in range(1, 5)
                                  for c in itertools.combinations((*CHAIN, 7), n)], ids=str)
def test_what_is_held_stays_and_the_rest_is_as_the_text_writes_it(held: set[int],
                                                                  teams: None) -> None:
    start, nets = network(held), [network(held) for _ in range(3)]
    rules = Rules(l1=0.01, l2=0.1, max_norm=1.5, average=0.9, clip_norm=0.5)
    # Not Adam: it makes steps of the rounding of a bias that batch norm takes off again.
    runs = [steps(net, compiled, threads, fastbp.SGD(0.05, 0.9), rules)
            for net, (compiled, threads) in zip(nets, [(True, 1), (True, 2), (False, 1)],
                                                strict=True)]
    for net in nets:
        assert changed(start, net) == {*CHAIN, 7} - held
    assert (nets[0].params == nets[1].params).all() and runs[0].errors == runs[1].errors
    assert runs[0].errors[0] == pytest.approx(runs[2].errors[0], rel=1e-11)
    for name in "slots", "average":
        np.testing.assert_allclose(getattr(runs[0], name), getattr(runs[2], name), rtol=1e-8,
                                   atol=1e-11)
    np.testing.assert_allclose(nets[0].params, nets[2].params, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("name", sorted(optimizers.OPTIMIZERS))
@pytest.mark.parametrize("held", [{0, 1}, {4}, {6, 7}], ids=str)
def test_no_optimizer_moves_what_is_held(name: str, held: set[int], teams: None) -> None:
    start, kinds = network(held), optimizers.OPTIMIZERS[name]
    decay = {"weight_decay": 0.1} if "weight_decay" in vars(kinds(0.01)) else {}
    for compiled in (True, False):
        net = network(held)
        made = kinds(0.01, **decay)
        run = steps(net, compiled, 2, made,
                    Rules(weight_decay=made.weight_decay, decoupled=made.decoupled))
        assert changed(start, net) == {*CHAIN, 7} - held
        still = net.untrained()
        fresh = np.zeros((made.n_slots, net.params.size))
        made.initial_slots(fresh)
        assert (run.slots.reshape(fresh.shape)[:, still] == fresh[:, still]).all()


def test_held_layers_below_are_a_fixed_function_of_the_rows() -> None:
    """What is trained above them is a network by itself, of what they give."""
    X, T = rows(200)
    whole, upper = network(CHAIN[:3]), fastbp.Network([LayerNorm(), Dense(33, 3)],
                                                      "SoftmaxCrossEntropyLoss", "float64", 3)
    whole.layers[3].rate = 0.0  # type: ignore[attr-defined]
    rng = np.random.default_rng(1)
    for value in whole.layers[1].parameters().values():
        value[...] = rng.uniform(0.5, 2, value.shape)
    upper.layers[1].weight = whole.layers[7].weight  # type: ignore[attr-defined]
    H = X
    for layer in whole.layers[:6]:
        H = layer.forward(H)
    options: dict[str, Any] = {"epochs": 5, "batch_size": 32, "optimizer": fastbp.Adam(0.01),
                               "l2": 0.01, "clip_norm": 0.5}
    one, other = whole.fit(X, T, **options), upper.fit(H, T, **options)
    np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-12)
    for k in (0, 1):
        for name, value in upper.layers[k].parameters().items():
            np.testing.assert_allclose(whole.layers[6 + k].parameters()[name], value, rtol=1e-9,
                                       atol=1e-12)


@pytest.mark.parametrize("held", [(0,), (2,), (4,), (0, 2), (2, 4)])
@pytest.mark.parametrize("sizes, batch, regime", [
    ((30, 70, 40, 3), 100, "rows"), ((128, 513, 130, 3), 45, "columns"),
    ((128, 513, 130, 3), 45, "panels"), ((4, 32, 16, 3), 1100, "16 shards"),
    ((8, 64, 64, 3), 300, "4 shards")])
def test_same_bits_on_any_number_of_threads(sizes: tuple[int, ...], batch: int, regime: str,
                                            held: tuple[int, ...], teams: None,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    if regime == "columns":
        monkeypatch.setattr(dense, "WIDE", 0)
        monkeypatch.setattr(sharing, "PANEL_BYTES", 0)
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 4)
    monkeypatch.setattr(sharing, "SHARD_ACTIVATIONS", 100_000)
    X, T = rows(batch + 9, sizes[0])
    found = set()
    for threads in (1, 2, 4):
        layers: list[Layer] = []
        for m, n in zip(sizes, sizes[1:], strict=False):
            layers += [Dense(m, n), ReLU()]
        net = fastbp.Network(layers[:-1], "SoftmaxCrossEntropyLoss", "float32", 0)
        before = copy.deepcopy(net)
        for k in held:
            net.layers[k].trainable = False
        net.fit(X, T, epochs=2, batch_size=batch, n_threads=threads)
        assert changed(before, net) == {0, 2, 4} - set(held)
        assert net.last_run is not None
        plan = net.last_run.plan(threads)
        assert plan.n_threads == threads
        assert plan.head["shards"] == (int(regime.split()[0]) if "shards" in regime else 0)
        assert plan.ops["by_columns"].any() == (regime in ("columns", "panels") and threads > 1)
        assert plan.ops["width"].any() == (regime == "panels" and threads > 1)
        found.add(net.params.tobytes())
    assert len(found) == 1


def test_the_way_back_ends_at_the_lowest_layer_that_learns() -> None:
    for held, lowest in ((), 0), ((0,), 1), ((0, 1), 4), (CHAIN, 7), ((1, 4), 0):
        plan = network(held).plan(32, 1, training=True)
        back = [k for p in plan.passes for k in range(p["top"], p["bottom"] - 1, -1)]
        assert back == [*range(7, lowest, -1)]
        assert {*plan.tasks["op"]} == {*CHAIN, 7} - set(held)
    works = [network(held).plan(32, 1, training=True).work for held in ((), (0, 1), CHAIN)]
    assert works[0] > works[1] > works[2]
    dropped = fastbp.Network([Dropout(0.5), Dense(5, 3)], "L2Loss")
    assert dropped.plan(8, 1, training=True).passes["bottom"] == [2]  # nobody asks for more


def test_a_held_batch_norm_goes_by_its_averages() -> None:
    net, (X, T) = network((1,)), rows()
    net.layers[3].rate = 0.0  # type: ignore[attr-defined]
    before = net.loss(X, T)
    history = net.fit(X, T, epochs=1, batch_size=len(X), optimizer=fastbp.SGD(1e-9))
    assert history["loss"][0] == pytest.approx(before, rel=1e-6)
    other = network()
    other.layers[3].rate = 0.0  # type: ignore[attr-defined]
    assert other.fit(X, T, epochs=1, batch_size=len(X),
                     optimizer=fastbp.SGD(1e-9))["loss"][0] != pytest.approx(before, rel=1e-3)


def test_a_held_batch_norm_by_itself_works_as_in_use() -> None:
    X = np.random.default_rng(0).normal(2, 3, (9, 5))
    norm = BatchNorm()
    expected = norm.forward(X)
    norm.key, norm.trainable = 7, False
    np.testing.assert_array_equal(norm.forward(X), expected)
    assert fastbp.gradcheck(norm, X, X) < 1e-6
    assert (norm.parameters()["running_mean"] == 0).all()


def test_one_that_cannot_be_held_is_refused() -> None:
    class Own(BatchNorm):
        kernels = BatchNorm.kernels._replace(row=BatchNorm.kernels.forward)

    net = fastbp.Network([Dense(5, 4), Own(), Dense(4, 3)], "SoftmaxCrossEntropyLoss")
    X, T = rows()
    net.fit(X, T, epochs=1)
    net.layers[1].trainable = False
    before = net.params.copy()
    with pytest.raises(ValueError, match=r"Own\(.*\) cannot be held"):
        net.fit(X, T, epochs=1)
    assert (net.params == before).all()


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_what_is_held_may_change_between_steps(average: float) -> None:
    """Error, parameters and their average are as the text writes them, before and after."""
    found = []
    for compiled in (True, False):
        layers = [Dense(7, 16), ReLU(), LayerNorm(), Dense(16, 3)]
        net, (X, T) = fastbp.Network(layers, "SoftmaxCrossEntropyLoss", "float64", 0), rows(64, 7)
        run = Run(net, X, T, 32, fastbp.SGD(0.1, 0.9), True, rules=Rules(l2=0.1, average=average))
        run.compiled = compiled
        errors = []
        for held in (2,), (0,), (0, 3), ():
            for k, layer in enumerate(layers):
                layer.trainable = k not in held
            run.errors[0] = 0.0
            run.advance(2, 1)
            errors.append(run.errors[0])
        found.append((errors, net.params, run.average))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


def test_layers_are_freed_as_training_goes_on() -> None:
    class Free(fastbp.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            seen.append(changed(start, net))
            net.layers[(4, 1, 0)[epoch]].trainable = True

    X, T = rows()
    net, start, seen = network((0, 1, 4)), network(), list[set[int]]()
    net.fit(X, T, epochs=3, callbacks=[Free()])
    assert seen == [{6, 7}, {4, 6, 7}, {1, 4, 6, 7}]
    net.fit(X, T, epochs=1, warm_start=True)
    assert changed(start, net) == {*CHAIN, 7}


def test_a_run_goes_on_with_what_was_trainable_then(tmp_path: Path) -> None:
    def fitted(epochs: int, **options: Any) -> fastbp.Network:
        net = network((0, 1, 4), "float32")
        net.fit(*rows(), epochs=epochs, **options, callbacks=[
            fastbp.Checkpoint(tmp_path / "run.st"), fastbp.callbacks.Lambda(
                lambda epoch, logs: setattr(net.layers[(4, 1, 0, 0)[epoch]], "trainable", True))])
        return net

    whole = fitted(4)
    fitted(2)
    again = fitted(4, resume=tmp_path / "run.st")
    assert (again.params == whole.params).all()
    fresh = network((0, 1, 4), "float32")
    with pytest.raises(FileNotFoundError):  # a start that fails leaves all as it was
        fresh.fit(*rows(), resume=tmp_path / "run.st",
                  callbacks=[fastbp.CSVLog(tmp_path / "no" / "log.csv")])
    assert [k for k, layer in enumerate(fresh.layers) if not layer.trainable] == [0, 1, 4]


def test_what_is_held_after_an_averaged_fit_stays_what_it_was() -> None:
    X, T = rows()
    for limits in {}, {"max_norm": 1.0}:  # the average is taken with the updates, or apart
        net = network()
        net.fit(X, T, epochs=2, average=0.9, **limits)
        net.layers[0].trainable = net.layers[1].trainable = False
        kept = copy.deepcopy(net)
        net.fit(X, T, epochs=2, average=0.9, warm_start=True, **limits)
        assert changed(kept, net) == {4, 6, 7}


def test_lbfgs_holds_it_too() -> None:
    pytest.importorskip("scipy")
    X, T = rows()
    start, net = network(), network((0, 6))
    with (pytest.warns(RuntimeWarning, match="max_iter=5"),
          pytest.warns(UserWarning, match=r"BatchNorm\(.*Dropout\(rate=0.2\) as in predict")):
        fastbp.fit_lbfgs(net, X, T, max_iter=5, l2=0.1)
    assert changed(start, net) == {1, 4, 7}  # batch norm's weight and bias learn
    assert (net.layers[1].parameters()["running_mean"] == 0).all()


def test_streams_and_many_networks_hold_it_too() -> None:
    X, T = rows()
    streamed, whole = network((0, 6), "float32"), network((0, 6), "float32")
    fastbp.fit_stream(streamed, data.ArrayStream(X.astype("float32"), T), epochs=1, batch_size=10)
    assert changed(network(dtype="float32"), streamed) == {1, 4, 7}

    nets = [network(held, "float32") for held in ((), (0,), (0, 6))]
    fastbp.fit_many(nets, X, T, epochs=1, n_threads=1)
    whole.fit(X, T, epochs=1)
    assert [changed(network(dtype="float32"), one) for one in nets] == [
        {0, 1, 4, 6, 7}, {1, 4, 6, 7}, {1, 4, 7}]
    assert (nets[2].params == whole.params).all()


def test_a_layer_of_the_users_own_is_held() -> None:
    class Scale(Layer):
        def shapes(self) -> dict[str, tuple[int, ...]]:
            return {"factor": (5,)}

        def initialize(self, rng: np.random.Generator) -> None:
            self.parameters()["factor"][...] = 2.0

        def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
            self._seen = X
            return X * self.parameters()["factor"]

        def backward(self, dY: Any) -> Any:
            self.gradients()["factor"][...] = (dY * self._seen).sum(axis=0)
            return dY * self.parameters()["factor"]

    X, T = rows()
    for held in (False, True):
        own = Scale()
        own.trainable = not held
        net = fastbp.Network([own, Dense(5, 3)], "SoftmaxCrossEntropyLoss")
        net.fit(X, T, epochs=2, optimizer=fastbp.AdamW(0.1, weight_decay=0.1))
        assert (own.parameters()["factor"] == 2).all() == held
        assert net.layers[1].bias.any()  # type: ignore[attr-defined]


def test_files_copies_and_pickles_keep_it(tmp_path: Path) -> None:
    net = network((0, 4))
    net.save(tmp_path / "net.safetensors")
    for twin in (fastbp.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(net)),
                 copy.deepcopy(net)):
        assert [x.trainable for x in twin.layers] == [x.trainable for x in net.layers]
    assert not copy.copy(net.layers[0]).trainable and net.layers[1].trainable


def test_gradients_and_predictions_are_those_of_all_parameters() -> None:
    X, T = rows()
    one, other = network(), network((0, 1, 4))
    for a, b in zip(one.loss_and_grad(X, T), other.loss_and_grad(X, T), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.predict(X), other.predict(X))
    np.testing.assert_array_equal(one.predict(X[:1]), other.predict(X[:1]))
    assert fastbp.gradcheck(other, X[:5], T[:5]) < 1e-6


def test_the_summary_tells() -> None:
    lines = network((0,)).summary().splitlines()
    assert [line for line in lines if "not trainable" in line] == [lines[3]]
    assert "Dense(5, 40), not trainable" in lines[3]


def test_bad_values_and_nothing_to_train() -> None:
    net, (X, T) = network(), rows()
    with pytest.raises(TypeError, match="trainable must be True or False, got 'no'"):
        net.layers[0].trainable = "no"  # type: ignore[assignment]
    assert net.layers[0].trainable
    before = net.params.copy()
    for others in True, False:
        for layer in net.layers:
            layer.trainable = others and not layer.shapes()
        for fit in net.fit, lambda X, T: fastbp.fit_lbfgs(net, X, T):
            with pytest.raises(ValueError, match="no layer with parameters is trainable"):
                fit(X, T)
    assert (net.params == before).all() and net.last_run is None
