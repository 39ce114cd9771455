"""Layers that are other in training than in use: dropout and normalisation."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm, ReLU, Tanh
from fastbp.rules import Rules
from fastbp.run import Run

CHAINS: dict[str, Any] = {
    "everything": lambda: [Dropout(0.1), Dense(5, 20), BatchNorm(), ReLU(), Dropout(0.2),
                           Dense(20, 9), LayerNorm(), Tanh(), BatchNorm(0.3), Dense(9, 3)],
    "norm-first": lambda: [BatchNorm(), Dense(5, 8), ReLU(), Dense(8, 3)],
    "norm-last": lambda: [Dense(5, 3), BatchNorm()],
    "two-norms": lambda: [Dense(5, 8), BatchNorm(), BatchNorm(), Dense(8, 3)],
    "layer-norms": lambda: [LayerNorm(), Dense(5, 70), LayerNorm(), ReLU(), Dense(70, 3)],
    "drop": lambda: [Dense(5, 40), Tanh(), Dropout(0.5), Dense(40, 3), Dropout(0.1)],
}


def net(chain: str, dtype: str = "float64") -> fastbp.Network:
    return fastbp.Network(CHAINS[chain](), fastbp.SoftmaxCrossEntropyLoss(), dtype)


def rows(n: int = 70) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(2, 3, (n, 5)), rng.integers(0, 3, n)


def train(chain: str, compiled: bool, threads: int = 2, dtype: str = "float64",
          steps: int = 9, n: int = 70) -> tuple[fastbp.Network, Run]:
    made, (X, T) = net(chain, dtype), rows(n)
    run = Run(made, made.check_input(X), T, 32, fastbp.AdamW(0.01, weight_decay=0.3), True,
              rules=Rules(weight_decay=0.3, decoupled=True, average=0.9))
    run.compiled = compiled
    for _ in range(steps):
        run.advance(1, threads)
    return made, run


@pytest.mark.parametrize("chain", CHAINS)
def test_engine_and_textbook_agree_in_training(chain: str) -> None:
    (one, first), (other, second) = train(chain, True), train(chain, False)
    np.testing.assert_allclose(one.params, other.params, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(first.average, second.average, rtol=1e-9, atol=1e-12)
    assert first.errors[0] == pytest.approx(second.errors[0], rel=1e-11)
    X, _ = rows()
    np.testing.assert_allclose(one.predict(X), other.forward(X), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(one.predict(X[:1]), one.predict(X)[:1], rtol=1e-12)


@pytest.mark.parametrize("chain", CHAINS)
def test_same_bits_on_any_number_of_threads(chain: str, teams: None) -> None:
    found = {hashlib.sha256(train(chain, True, threads, "float32", 30)[0].params).hexdigest()
             for threads in (1, 2, 1, 2)}
    assert len(found) == 1


@pytest.mark.parametrize("chain", CHAINS)
def test_pads_of_parameters_stay_zero(chain: str) -> None:
    made = train(chain, True)[0]
    kept = made.params.copy()
    for value in made.named_parameters().values():
        value[...] = 0
    assert not made.params.any() and kept.any()


@pytest.mark.parametrize("chain", CHAINS)
def test_gradcheck_outside_of_training(chain: str) -> None:
    made = train(chain, True)[0]
    X, T = rows(6)
    assert fastbp.gradcheck(made, X, T) < 1e-6


@pytest.mark.parametrize("key", [0, 1, 2**40])
@pytest.mark.parametrize("make", [BatchNorm, LayerNorm, lambda: Dropout(0.4)])
def test_gradcheck_of_each_layer_in_and_out_of_training(make: Any, key: int) -> None:
    layer: Layer = make()
    layer.key = key
    X, dY = np.random.default_rng(0).normal(1, 2, (2, 9, 5))
    assert fastbp.gradcheck(layer, X, dY) < 1e-6


def test_dropout_keeps_its_share_and_the_mean() -> None:
    for rate in (0.0, 0.1, 0.5, 0.9):
        layer = Dropout(rate)
        layer.key = 7
        Y = layer.forward(np.ones((2000, 50)))
        assert (Y == 0).mean() == pytest.approx(rate, abs=0.006)
        assert set(np.unique(Y)) <= {0.0, 1 / (1 - rate)}
        np.testing.assert_array_equal(layer.backward(np.ones((2000, 50))), Y)
        by_row, by_unit = (Y == 0).mean(axis=1), (Y == 0).mean(axis=0)
        assert by_row.std() < 0.11 and by_unit.std() < 0.02


def test_masks_differ_by_step_layer_row_and_seed() -> None:
    def mask(key: int, index: int = 0) -> np.ndarray:
        layer = Dropout(0.5)
        layer.key, layer.index = key, index
        return layer.forward(np.ones((64, 64))) == 0

    masks = [mask(1), mask(2), mask(1, 1), mask(1).T]
    for i, one in enumerate(masks):
        for other in masks[:i]:
            assert abs((one == other).mean() - 0.5) < 0.05
    rows_of = mask(1)
    agreement = [(rows_of[i] == rows_of[j]).mean() for i in range(64) for j in range(i)]
    assert abs(np.mean(agreement) - 0.5) < 0.02 and max(agreement) < 0.85


def test_two_layers_of_a_network_drop_by_themselves() -> None:
    net = fastbp.Network([Dropout(0.5), Dropout(0.5), Dense(200, 1)], "mse")
    left = net.forward(np.ones((100, 200), np.float32), 2, key=5) != 0
    assert left.mean() == pytest.approx(0.25, abs=0.02)


def test_dropout_is_off_outside_of_training() -> None:
    X = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_array_equal(Dropout(0.9).forward(X), X)
    made = net("drop")
    np.testing.assert_array_equal(made.predict(rows()[0]), made.predict(rows()[0]))
    for bad in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="rate must be"):
            Dropout(bad)


def test_small_spreads_around_large_numbers_keep_their_gradients() -> None:
    """Numbers at 1e4, 0.01 apart: float32 has the mean to 0.0005, a twentieth of the spread."""
    rng = np.random.default_rng(0)
    X = (10_000 + rng.integers(0, 10, (6, 30)) / 1024).astype(np.float32)
    dY, found = rng.normal(size=(6, 30)).astype(np.float32), {}
    for dtype in np.float32, np.float64:
        layer = LayerNorm(1e-12)
        layer.forward(X.astype(dtype))
        found[dtype] = [layer.backward(dY.astype(dtype)), layer.gradients()["weight"]]
    for near, exact in zip(found[np.float32], found[np.float64], strict=True):
        np.testing.assert_allclose(near, exact, rtol=1e-4, atol=1e-5 * np.abs(exact).max())


def test_normalisation_by_hand() -> None:
    X = np.array([[1.0, 3], [3, 11]])
    layer = LayerNorm(epsilon=1e-12)
    np.testing.assert_allclose(layer.forward(X), [[-1, 1], [-1, 1]], rtol=1e-9)
    layer.parameters()["weight"][...] = [2, 3]
    layer.parameters()["bias"][...] = [1, 0]
    np.testing.assert_allclose(layer.forward(X), [[-1, 3], [-1, 3]], rtol=1e-9)
    layer.backward(np.array([[1.0, 1], [2, 5]]))
    np.testing.assert_allclose(layer.gradients()["weight"], [-3, 6], rtol=1e-9)
    np.testing.assert_allclose(layer.gradients()["bias"], [3, 6], rtol=1e-9)
    batch = BatchNorm(momentum=0.5, epsilon=1e-12)
    np.testing.assert_allclose(batch.forward(X), X, rtol=1e-9)  # mean 0, variance 1 so far
    batch.key = 1
    np.testing.assert_allclose(batch.forward(X), [[-1, -1], [1, 1]], rtol=1e-9)
    np.testing.assert_allclose(batch.parameters()["running_mean"], [1, 3.5])
    np.testing.assert_allclose(batch.parameters()["running_var"], [1.5, 16.5])  # (1 + 2)/2, ...
    batch.key = 0
    np.testing.assert_allclose(batch.forward(X), (X - [1, 3.5]) / np.sqrt([1.5, 16.5]))


@pytest.mark.parametrize("name", ["BatchNorm1d", "LayerNorm"])
def test_normalisation_is_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    X, dY = np.random.default_rng(0).normal(3, 2, (2, 40, 7))
    ours = BatchNorm() if name == "BatchNorm1d" else LayerNorm()
    theirs = getattr(torch.nn, name)(7, dtype=torch.float64)
    ours.key = 1
    x = torch.tensor(X, requires_grad=True)
    Y = theirs(x)
    Y.backward(torch.tensor(dY))
    np.testing.assert_allclose(ours.forward(X), Y.detach(), rtol=1e-10)
    np.testing.assert_allclose(ours.backward(dY), x.grad, rtol=1e-8, atol=1e-12)
    for name_, own in (("weight", theirs.weight), ("bias", theirs.bias)):
        np.testing.assert_allclose(ours.gradients()[name_], own.grad, rtol=1e-10)
    if name == "BatchNorm1d":
        np.testing.assert_allclose(ours.parameters()["running_var"], theirs.running_var)
        ours.key = 0
        np.testing.assert_allclose(ours.forward(X), theirs.eval()(x).detach(), rtol=1e-10)


def test_statistics_survive_large_means() -> None:
    """Two passes: x^2 - mean^2 would have no digit left in float32."""
    X = (np.random.default_rng(0).normal(size=(64, 32)) + 3000).astype(np.float32)
    for layer in (BatchNorm(), LayerNorm()):
        layer.key = 1
        Y = layer.forward(X)
        axis = 0 if isinstance(layer, BatchNorm) else 1
        np.testing.assert_allclose(Y.std(axis=axis), 1, rtol=1e-3)
        np.testing.assert_allclose(Y.mean(axis=axis), 0, atol=1e-3)


@pytest.mark.parametrize("n", [33, 512])
def test_layer_norm_keeps_small_spreads_around_large_numbers(n: int) -> None:
    X = np.full((2, n), 12345.678, np.float32)
    X[1] += np.random.default_rng(0).normal(size=n).astype(np.float32)
    wide = X.astype(np.float64)
    np.testing.assert_allclose(LayerNorm().forward(X), LayerNorm().forward(wide), atol=1e-5)


@pytest.mark.parametrize("place", [0, 1, 1500, 2999])
@pytest.mark.parametrize("size", [1e4, 1e6])
def test_layer_norm_takes_no_unit_for_better_than_others(place: int, size: float) -> None:
    """One number far from the others, wherever it stands: these keep their digits."""
    X = np.random.default_rng(0).normal(size=(1, 3000)).astype(np.float32)
    X[0, place] = size
    close, exact = LayerNorm().forward(X), LayerNorm().forward(X.astype(np.float64))
    others = np.delete(np.abs(close - exact)[0], place) / np.abs(np.delete(exact, place)).mean()
    assert others.max() < 1e-5


@pytest.mark.parametrize("n, middle, spread", [
    (10_000, 1e5, 1.0), (100_000, 1e4, 1.0), (1000, 3333.33, 0.0), (1000, -7.0, 1e-3)])
def test_batch_norm_keeps_small_spreads_around_large_numbers(n: int, middle: float,
                                                             spread: float) -> None:
    rng = np.random.default_rng(0)
    X = (middle + spread * rng.normal(size=(n, 3))).astype(np.float32)
    dY, found = rng.normal(size=(n, 3)).astype(np.float32), {}
    for dtype in np.float32, np.float64:
        layer = BatchNorm(epsilon=1e-12)
        layer.key = 1
        Y = layer.forward(X.astype(dtype))
        dX = layer.backward(dY.astype(dtype))
        found[dtype] = [Y, dX, layer.gradients()["weight"],
                        layer.parameters()["running_mean"], layer.parameters()["running_var"]]
    for near, exact in zip(found[np.float32], found[np.float64], strict=True):
        np.testing.assert_allclose(near, exact, rtol=1e-4, atol=1e-4 * np.abs(exact).max())


@pytest.mark.parametrize("place", [0, 1, 500, 999])
def test_batch_norm_takes_no_row_for_better_than_others(place: int) -> None:
    X = np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32)
    X[place] = 1e6
    layers = BatchNorm(), BatchNorm()
    for layer in layers:
        layer.key = 1
    close, exact = layers[0].forward(X), layers[1].forward(X.astype(np.float64))
    others = np.delete(np.abs(close - exact), place, 0) / np.abs(np.delete(exact, place, 0)).mean()
    assert others.max() < 1e-4


@pytest.mark.parametrize("compiled", [True, False])
def test_a_batch_of_one_row_says_nothing_of_the_variance(compiled: bool) -> None:
    """33 rows by 32: the last batch of the epoch. Its variance, 0, was averaged in."""
    both, first = (train("norm-first", compiled, steps=steps, n=33)[0].named_parameters()
                   for steps in (2, 1))
    for name in ("0.running_mean", "0.running_var"):
        np.testing.assert_array_equal(both[name], first[name])
    assert (both["1.bias"] != first["1.bias"]).any()


def test_batches_of_one_row_are_refused_where_batch_norm_learns() -> None:
    X, T = rows()
    made = net("everything")
    before = made.params.copy()
    for call in (made.fit, made.partial_fit,
                 lambda X, T, batch_size: fastbp.fit_stream(made, fastbp.data.ArrayStream(X, T),
                                                            batch_size=batch_size)):
        with pytest.raises(ValueError, match="at least 2 for BatchNorm, .* got 1"):
            call(X, T, batch_size=1)
    for fit in (made.fit, lambda X, T: fastbp.fit_stream(made, [(X, T)]),
                lambda X, T: fastbp.fit_many([made], X, T)):
        with pytest.raises(ValueError, match=r"number of rows must be at least 2.* got 1"):
            fit(X[:1], T[:1])
    np.testing.assert_array_equal(made.params, before)
    made.partial_fit(X[:1], T[:1])  # one row that came alone
    learning = made.layers[2].trainable, made.layers[8].trainable
    made.layers[2].trainable = made.layers[8].trainable = False
    made.fit(X, T, batch_size=1, epochs=1)
    assert np.isfinite(made.params).all()
    made.fit(X[:1], T[:1], epochs=1)
    made.partial_fit(X, T, batch_size=1)
    made.layers[2].trainable, made.layers[8].trainable = learning
    before[...] = made.params
    with pytest.raises(ValueError, match="batch_size must be at least 2"):
        made.partial_fit(X, T, batch_size=1)  # as the call before, but the layer learns
    np.testing.assert_array_equal(made.params, before)


def test_saved_with_its_averages(tmp_path: Any) -> None:
    made = train("everything", True)[0]
    made.save(tmp_path / "net")
    again = fastbp.load(tmp_path / "net")
    X, _ = rows()
    assert (again.predict(X) == made.predict(X)).all()
    assert "2.running_mean" in made.named_parameters()
    assert repr(again) == repr(made)


def test_a_network_needs_a_size_somewhere() -> None:
    with pytest.raises(ValueError, match="must tell the number of inputs"):
        fastbp.Network([Dropout(), LayerNorm()], "L2Loss")
    with pytest.raises(ValueError, match="momentum must be"):
        BatchNorm(momentum=0)
    with pytest.raises(ValueError, match="epsilon must be"):
        LayerNorm(epsilon=0)
