"""Teams of which each thread has all parameters: who does, and that no bit tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import panels, sharing
from fastbp.kernels.launch import launch
from fastbp.rules import Rules
from fastbp.run import Run

pytestmark = pytest.mark.usefixtures("teams")


@pytest.fixture(autouse=True)
def many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 8)


def network(sizes: tuple[int, ...], dtype: str = "float32") -> fastbp.Network:
    layers: list[fastbp.Layer] = []
    for m, n in zip(sizes, sizes[1:], strict=False):
        layers += [fastbp.Dense(m, n), fastbp.Dropout(0.1), fastbp.Tanh()]
    return fastbp.Network(layers[:-2], "SoftmaxCrossEntropyLoss", dtype=dtype)


def begun(sizes: tuple[int, ...], batch: int, optimizer: fastbp.Optimizer, rules: Rules | None,
          dtype: str = "float32") -> Run:
    rng, net = np.random.default_rng(0), network(sizes, dtype)
    X, T = rng.normal(size=(2 * batch + 90, sizes[0])), rng.integers(0, sizes[-1], 2 * batch + 90)
    return Run(net, net.check_input(X), T, batch, optimizer, True, rules=rules)


def left(run: Run) -> tuple[Any, ...]:
    """What a run has changed."""
    return run.network.params, run.slots, run.average, run.errors[0], run.cursor


def assert_same(found: list[tuple[Any, ...]]) -> None:
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_who_has_copies() -> None:
    def copies(sizes: tuple[int, ...], rows: int, threads: int, **options: Any) -> int:
        plan = network(sizes).plan(rows, threads, **{"training": True, "carried": 3, **options})
        shards, itemsize = int(plan.head["shards"][0]), plan.workspace.itemsize
        others = (shards - shards // plan.n_threads) * plan.n_params * itemsize
        kept = shards > 0 and plan.n_threads > 1 and bool(plan.head["partial"][0] >= 0)
        may = kept and options.get("training", True)
        assert plan.copies == (plan.n_threads if may and others <= sharing.COPIED_BYTES else 1)
        assert len(plan.tables[1]) == (2 if plan.copies > 1 else 1)
        assert plan.moves.size == (plan.copies > 1)
        return plan.copies

    assert copies((10, 45, 45, 10), 128, 2) == 2
    assert copies((10, 45, 45, 10), 128, 1) == 1
    assert copies((10, 45, 45, 10), 128, 2, training=False) == 1
    assert copies((16, 64, 64, 10), 128, 2) == 2    # 25 KB of the other's
    assert copies((16, 64, 64, 10), 256, 2) == 1    # 50 KB
    assert copies((10, 45, 45, 10), 256, 4) == 1    # 42 KB of three
    assert copies((4, 32, 16, 4), 10000, 2) == 2    # eight of sixteen shards
    assert copies((4, 32, 16, 4), 10000, 4) == 1    # twelve
    assert copies((10, 45, 45, 10), 64, 2) == 1     # one shard would be too few


def test_each_thread_has_all_and_the_first_carries_them_back() -> None:
    net = network((10, 45, 45, 10))
    plan = net.plan(128, 2, training=True, carried=1)
    home, own = np.arange(1.0, 2 * net.params.size + 1), np.zeros((2, 2 * plan.n_params))
    for worker in range(2):  # two slots
        panels.carry(worker, 2, plan.moves, home, home.size // 2, own[worker], plan.n_params, 0)
    np.testing.assert_array_equal(own, [home, home])
    own[1] = np.nan
    back = np.zeros_like(home)
    for worker in range(2):
        panels.carry(worker, 2, plan.moves, back, home.size // 2, own[worker], plan.n_params, 1)
    np.testing.assert_array_equal(back, home)
    mirrors = plan.tables[0]["mirror"].reshape(2, -1)
    has = mirrors[0] >= 0
    assert has.any() and (mirrors[1][has] != mirrors[0][has]).all()
    assert (mirrors[:, ~has] == -1).all()
    even, odd = plan.tables[1]  # one thread may write the one while others read the other
    assert abs(even["partial"] - odd["partial"]) >= even["shards"] * plan.n_params
    assert abs(even["error"] - odd["error"]) >= even["capacity"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [
    fastbp.SGD(0.05), fastbp.SGD(0.05, 0.9), fastbp.Adam(0.01), fastbp.Adam(0.01, amsgrad=True)],
    ids=repr)
@pytest.mark.parametrize("rules", [
    Rules(), Rules(average=0.9, max_norm=1.5), Rules(average=0.9),
    Rules(l1=1e-4, l2=1e-3, clip_value=0.01, by_rows=True),
    Rules(l2=1e-3, clip_norm=0.1, weight_decay=1e-3, average=0.5),
], ids=lambda rules: "+".join(k for k, v in vars(rules).items() if v))
def test_bits_are_those_of_one_set(rules: Rules, optimizer: fastbp.Optimizer, dtype: str,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for most in (0, 1 << 60):
        monkeypatch.setattr(sharing, "COPIED_BYTES", most)
        for threads in (1, 2, 4):
            run = begun((9, 33, 20, 5), 260, optimizer, rules, dtype)
            assert run.plan(threads).copies == (threads if most else 1)
            assert run.plan(threads).head["shards"][0] == 4
            for _ in range(4):  # calls end within and between epochs, whose last batch is short
                run.advance(2, threads)
            found.append(left(run))
    assert_same(found)


def test_sixteen_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SHARD_ACTIVATIONS", 0)
    monkeypatch.setattr(sharing, "COPIED_BYTES", 1 << 60)
    found = []
    for threads in (1, 2, 3, 8):
        run = begun((4, 16, 3), 1100, fastbp.Adam(0.01), Rules(l2=1e-3))
        assert run.plan(threads).copies == threads and run.plan(1).head["shards"][0] == 16
        for _ in range(3):
            run.advance(2, threads)
        found.append(left(run))
    assert_same(found)


def test_threads_and_weights_may_change_from_call_to_call() -> None:
    runs = [begun((10, 45, 45, 10), 128, fastbp.Adam(0.01), None) for _ in range(2)]
    assert runs[0].plan(2).copies == 2
    for threads in (2, 1, 2, 2):
        runs[0].advance(3, threads)
        runs[1].advance(3, 1)
        for run in runs:
            run.network.layers[0].weight[0, 0] = 0.5  # type: ignore[attr-defined]
    assert_same([left(run) for run in runs])


def test_a_thread_that_is_left_alone_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def lonely(function: Any, size: int, work: float, *args: Any) -> Any:
        return function(0, size, np.zeros(64, np.int64), *args)

    found = []
    for start in (launch, lonely):
        monkeypatch.setattr("fastbp.run.launch", start)
        run = begun((10, 45, 45, 10), 128, fastbp.Adam(0.01), Rules(clip_norm=0.5))
        assert run.plan(2).copies == 2
        run.advance(4, 2)
        found.append(left(run))
    assert_same(found)


def test_fits_stop_and_go_on_with_copies() -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(400, 10)), rng.integers(0, 3, 400)
    whole, halves = (fastbp.Network([fastbp.Dense(10, 45), fastbp.ReLU(), fastbp.Dense(45, 3)],
                                    "SoftmaxCrossEntropyLoss") for _ in range(2))
    options: dict[str, Any] = {"batch_size": 128, "optimizer": "adam", "n_threads": 2}
    losses = whole.fit(X, T, epochs=6, **options)["loss"]
    assert whole.last_run is not None and whole.last_run.plan(2).copies == 2
    first = halves.fit(X, T, epochs=3, **options)["loss"]
    assert first + halves.fit(X, T, epochs=3, warm_start=True, **options)["loss"] == losses
    np.testing.assert_array_equal(whole.params, halves.params)
