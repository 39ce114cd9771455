"""``matmul_precision``: faster products of fewer bits, on matrix tiles and nowhere else."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp._validation import PRECISIONS
from fastbp.callbacks import Checkpoint
from fastbp.estimators import MLPClassifier, MLPRegressor
from fastbp.kernels.squares import has_squares

tiles = pytest.mark.skipif(not has_squares(), reason="needs a processor with matrix tiles")


def network(precision: str = "highest", dtype: str = "float32") -> fastbp.Network:
    return fastbp.Network([fastbp.Dense(130, 144), fastbp.ReLU(), fastbp.Dense(144, 130),
                           fastbp.ReLU(), fastbp.Dense(130, 3)], "SoftmaxCrossEntropyLoss",
                          dtype, matmul_precision=precision)


def data(rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 130)).astype(np.float32), rng.integers(0, 3, rows)


def trained(precision: str, dtype: str = "float32", **options: Any) -> np.ndarray:
    net = network(precision, dtype)
    net.fit(*data(), **{"epochs": 2, "batch_size": 96, "optimizer": fastbp.Adam(1e-3), **options})
    return net.params


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("sizes, batch", [
    ((130, 144, 130, 3), 96), ((64, 64, 3), 200), ((784, 64, 64, 10), 32), ((70, 65, 64, 2), 600),
    ((40, 1030, 64, 3), 100)])
def test_any_number_of_threads_gives_the_same_bits(sizes: tuple[int, ...], batch: int,
                                                   precision: str,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 8)  # else as many as cores
    rng, found = np.random.default_rng(0), []
    X = rng.normal(size=(2 * batch + 17, sizes[0])).astype(np.float32)
    T = rng.integers(0, sizes[-1], len(X))
    for n_threads in (1, 2, 3, 4, 8):
        layers: list[fastbp.Layer] = []
        for m, n in zip(sizes, sizes[1:], strict=False):
            layers += [fastbp.Dense(m, n), fastbp.ReLU()]
        net = fastbp.Network(layers[:-1], "SoftmaxCrossEntropyLoss", matmul_precision=precision)
        net.fit(X, T, epochs=2, batch_size=batch, optimizer=fastbp.Adam(1e-3),
                n_threads=n_threads)
        found.append(net.params.copy())
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@tiles
def test_less_precision_is_a_little_further_away() -> None:
    found = [trained(p, epochs=1, batch_size=300, optimizer=fastbp.SGD(1.0)) for p in PRECISIONS]
    start, step = network().params, np.abs(found[0] - network().params).max()
    assert step > 0 and start.size == found[0].size
    high, medium = (np.abs(other - found[0]).max() / step for other in found[1:])
    assert 0 < high < 1e-4 and 10 * high < medium < 0.05


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_only_tiles_of_float32_round(dtype: str) -> None:
    same = [np.array_equal(trained(p, dtype), trained("highest", dtype)) for p in PRECISIONS[1:]]
    assert same == [dtype == "float64" or not has_squares()] * 2


def test_predictions_and_losses_are_those_of_float32() -> None:
    (X, T), nets = data(), [network(p) for p in PRECISIONS]
    for net in nets[1:]:
        np.testing.assert_array_equal(net.predict(X), nets[0].predict(X))
        assert net.loss(X, T) == nets[0].loss(X, T)


@tiles
def test_it_can_change_between_two_fits() -> None:
    found = []
    for second in PRECISIONS:
        net = network("high")
        net.fit(*data(), epochs=1, batch_size=96)
        net.matmul_precision = second
        net.fit(*data(), epochs=1, batch_size=96, warm_start=True)
        found.append(net.params.copy())
    assert not np.array_equal(found[0], found[1]) and not np.array_equal(found[1], found[2])
    straight = network("high")
    straight.fit(*data(), epochs=2, batch_size=96)
    np.testing.assert_array_equal(found[1], straight.params)


@pytest.mark.parametrize("bad, error", [("low", ValueError), ("HIGH", ValueError),
                                        (None, TypeError), (2, TypeError)])
def test_other_values_are_refused(bad: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"matmul_precision must be .*{bad!r}"):
        network(bad)
    net = network("high")
    with pytest.raises(error, match=f"matmul_precision must be .*{bad!r}"):
        net.matmul_precision = bad
    assert net.matmul_precision == "high"
    with pytest.raises(error, match=f"matmul_precision must be .*{bad!r}"):
        MLPClassifier(matmul_precision=bad).fit(*data())


def test_it_goes_with_the_network(tmp_path: Path) -> None:
    for precision in PRECISIONS:
        net = network(precision)
        net.save(tmp_path / "net.safetensors")
        for other in (fastbp.load(tmp_path / "net.safetensors"), copy.deepcopy(net),
                      pickle.loads(pickle.dumps(net))):
            assert other.matmul_precision == precision
        assert ("matmul_precision" in repr(net)) == (precision != "highest")


def test_a_run_goes_on_with_its_own_only(tmp_path: Path) -> None:
    file, options = tmp_path / "run.safetensors", {"epochs": 4, "batch_size": 96}
    whole, half = network("medium"), network("medium")
    whole.fit(*data(), **options)
    half.fit(*data(), **options | {"epochs": 2}, callbacks=[Checkpoint(file)])
    other = network("high")
    before = other.params.copy()
    with pytest.raises(ValueError, match="another network: .*'matmul_precision': 'medium'"):
        other.fit(*data(), **options, resume=file)
    np.testing.assert_array_equal(other.params, before)
    half.fit(*data(), **options, resume=file)
    np.testing.assert_array_equal(half.params, whole.params)


def test_many_networks_have_each_its_own() -> None:
    nets = [network(p) for p in PRECISIONS * 2]
    fastbp.fit_many(nets, *data(), epochs=2, batch_size=96)
    for net in nets:
        alone = network(net.matmul_precision)
        alone.fit(*data(), epochs=2, batch_size=96)
        np.testing.assert_array_equal(net.params, alone.params)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_estimators(kind: Any) -> None:
    X, y = data()
    model = kind(hidden_layer_sizes=(140, 130), matmul_precision="medium", max_iter=2, tol=0,
                 random_state=0, warm_start=True)
    with pytest.warns(match="converged"):
        model.fit(X, y)
    assert model.network_.matmul_precision == "medium"
    with pytest.warns(match="converged"):
        model.set_params(matmul_precision="highest").fit(X, y)
    assert model.network_.matmul_precision == "highest"
    model.set_params(matmul_precision="medium", early_stopping=True, validation_fraction=1e-3)
    with pytest.raises(ValueError, match="validation"):
        model.fit(X, y)
    assert model.network_.matmul_precision == "highest"  # as before


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_infinite_number_that_is_let_in_has_its_limit(precision: str) -> None:
    """In two or three parts it would be NaN in every product."""
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(128, 200)).astype(np.float32), rng.integers(0, 10, 128)
    X[3, 5] = np.inf
    net = fastbp.Network([fastbp.Dense(200, 256), fastbp.Sigmoid(), fastbp.Dense(256, 10)],
                         "SoftmaxCrossEntropyLoss", allow_nonfinite=True,
                         matmul_precision=precision)
    net.layers[0].trainable = False  # no gradient of it: that would be 0 * inf
    before = net.loss(X, T)
    (found,) = net.fit(X, T, epochs=1, batch_size=128, optimizer=fastbp.SGD(0.1))["loss"]
    assert found == pytest.approx(before, rel=1e-3) and np.isfinite(net.params).all()
