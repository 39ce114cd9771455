"""The compiled engine against the textbook loop, and against NumPy written out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import sharing
from fastbp._jit import DISABLED, kernel
from fastbp.kernels.subnormal import FLUSH
from fastbp.kernels.tile import SCALE, WRITE
from fastbp.optimizers import OPTIMIZERS
from fastbp.plan import make_plan
from fastbp.rules import Rules
from fastbp.run import Run

from . import naive
from .builders import CHAINS, data, network
from .test_optimizers import ALL


def train(net: fastbp.Network, X: Any, T: Any, batch: int, optimizer: fastbp.Optimizer,
          steps: int, *, compiled: bool, shuffle: bool = True) -> float:
    """Steps within one epoch after another; returns the last epoch's error so far."""
    run = Run(net, net.check_input(X), net.check_target(T), batch, optimizer, shuffle)
    run.compiled = compiled
    for _ in range(steps):
        run.advance(1, 2)
    return float(run.errors[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("chain", CHAINS)
def test_engine_and_textbook_agree(chain: str, dtype: str) -> None:
    X, T = data(chain, 70)
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    nets = [network(chain, dtype) for _ in range(2)]
    errors = [train(net, X, T, 32, fastbp.SGD(0.05, 0.9), 7, compiled=i == 0)
              for i, net in enumerate(nets)]
    assert errors[0] == pytest.approx(errors[1], rel=tolerance)
    np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("chain", CHAINS)
def test_one_gradient_both_ways(chain: str) -> None:
    X, T = data(chain, 130)
    net = network(chain)
    error, grad = net.loss_and_grad(X, T)
    net.grads[...] = np.nan
    for layer in net.layers:
        for value in layer.gradients().values():
            assert np.isnan(value).all()
    assert net.textbook(X, T) == pytest.approx(error, rel=1e-13)
    pads = np.isnan(net.grads)
    np.testing.assert_allclose(net.grads[~pads], grad[~pads], atol=1e-13)
    assert (grad[pads] == 0).all()


@pytest.mark.parametrize(("name", "arguments"), ALL)
def test_training_is_the_formula_step_by_step(name: str, arguments: dict[str, Any]) -> None:
    """Whole steps against plain loops and complex steps: shares no code with fastbp."""
    net = fastbp.Network([fastbp.Dense(3, 4), fastbp.Tanh(), fastbp.Dense(4, 2)],
                         fastbp.L2Loss(), "float64")
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    names = ["Dense", "Tanh", "Dense"]
    own = [[p.copy() for p in layer.parameters().values()] for layer in net.layers]
    states: dict[Any, dict[str, float]] = {}
    train(net, X, T, 4, OPTIMIZERS[name](**arguments), 6, compiled=True, shuffle=False)
    for step in range(1, 7):
        rows = slice(0, 4) if step % 2 else slice(4, 7)
        new = [[p.copy() for p in params] for params in own]
        for k, params in enumerate(own):
            for i in range(len(params)):
                def error(p: np.ndarray, k: int = k, i: int = i) -> complex:
                    changed = [list(v) for v in own]
                    changed[k][i] = p
                    return naive.network_error(names, changed, "L2Loss", X[rows], T[rows])

                grad = naive.complex_step(error, params[i])
                for at in np.ndindex(grad.shape):
                    state = states.setdefault((k, i, at), {})
                    new[k][i][at] = naive.OPTIMIZERS[name](params[i][at], grad[at], state, step,
                                                           **arguments)
        own = new
    for layer, params in zip(net.layers, own, strict=True):
        for found, expected in zip(layer.parameters().values(), params, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chain", CHAINS)
def test_nothing_depends_on_what_the_workspace_held(chain: str) -> None:
    X, T = data(chain, 70)
    net = network(chain)
    error, grad = net.loss_and_grad(X, T)
    for plan in net._plans.values():
        keep = np.zeros(plan.workspace.size, bool)  # copies of W have pads that stay zero
        for op in plan.ops[plan.ops["mirror"] >= 0]:
            keep[op["mirror"]:op["mirror"] + op["n_out"] * op["ld_in"]] = True
        plan.workspace[~keep] = np.nan
    again, grad_again = net.loss_and_grad(X, T)
    assert again == error
    np.testing.assert_array_equal(grad_again, grad)


def test_tiles_and_blocks_cover_everything_once(teams: None) -> None:
    net = fastbp.Network([fastbp.Dense(300, 700), fastbp.ReLU(), fastbp.Dense(700, 10)],
                         fastbp.L2Loss())
    for threads in (1, 2, 3, 16):
        plan = make_plan(net.layers, 3, fastbp.L2Loss(), net._offsets, net.dtype, 1000, threads)
        for k, (m, n) in {0: (300, 700), 2: (700, 10)}.items():
            count = np.zeros((m, n), int)
            for task in plan.tasks[plan.tasks["op"] == k]:
                count[task["first"]:task["last"], task["left"]:task["right"]] += 1
            assert (count == 1).all()
        assert plan.head["row_block"][0] * threads * 100 >= 1000
        assert plan.n_threads == threads


@pytest.mark.parametrize("chain", CHAINS)
def test_shards_add_up_to_the_textbook(chain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large batch, small weights: the other regime of gradients; a last batch of any size."""
    monkeypatch.setattr(sharing, "SHARD_ACTIVATIONS", 0)
    monkeypatch.setattr(sharing, "_SHARD_BLOCK", 24)  # 66 rows a shard
    X, T = data(chain, 2100)
    nets = [network(chain) for _ in range(2)]
    errors = [train(net, X, T, 1050, fastbp.Adam(), 3, compiled=i == 0)
              for i, net in enumerate(nets)]
    alone = not any(isinstance(layer, fastbp.BatchNorm) for layer in nets[0].layers)
    assert nets[0].plan(1050, 2).head["shards"][0] == (sharing.SHARDS if alone else 0)
    assert errors[0] == pytest.approx(errors[1], rel=1e-11)
    for k, (one, other) in enumerate(zip(*(net.layers for net in nets), strict=True)):
        for name, value in one.parameters().items():
            # Rounding alone moves a bias that BatchNorm takes off again; Adam magnifies it.
            idle = name == "bias" and any(isinstance(x, fastbp.BatchNorm)
                                          for x in nets[0].layers[k + 1:k + 2])
            np.testing.assert_allclose(value, other.parameters()[name], rtol=1e-9,
                                       atol=1e-10 if idle else 1e-11)
    small = network(chain)
    small.fit(X[:1030], T[:1030], epochs=1, batch_size=1024)  # then a batch of 6
    assert np.isfinite(small.params).all()


def test_the_regime_follows_batch_and_weights() -> None:
    def shards(sizes: tuple[int, ...], batch: int) -> int:
        layers = [fastbp.Dense(m, n) for m, n in zip(sizes, sizes[1:], strict=False)]
        return int(fastbp.Network(layers, "L2Loss").plan(batch).head["shards"][0])

    assert shards((4, 32, 16, 4), 10_000) == sharing.SHARDS
    assert shards((4, 32, 16, 4), 1_000) == 0  # fits the cache
    assert shards((100, 256, 256, 2), 10_000) == 0  # weights too large to keep sixteen
    assert shards((4, 32, 16, 4), 32) == 0


def test_rows_that_a_layer_couples_are_not_cut_into_shards() -> None:
    class Coupling(fastbp.Tanh):  # without parameters, so without gradients to add up
        kernels = fastbp.Tanh.kernels._replace(
            couple_forward=fastbp.BatchNorm.kernels.couple_forward)

    for middle, shards in ((fastbp.Tanh(), sharing.SHARDS), (Coupling(), 0)):
        net = fastbp.Network([fastbp.Dense(4, 32), middle, fastbp.Dense(32, 4)], "l2")
        assert net.plan(10_000, training=True).head["shards"][0] == shards


@pytest.mark.parametrize("sizes, batch, block", [
    ((4, 32, 16, 4), 10_000, 64), ((9, 280, 4), 5000, 64), ((9, 400, 4), 5000, 160)])
def test_blocks_of_a_shard_follow_its_weights(sizes: tuple[int, ...], batch: int,
                                              block: int) -> None:
    layers = [fastbp.Dense(m, n) for m, n in zip(sizes, sizes[1:], strict=False)]
    net = fastbp.Network(layers, "l2")
    plan = net.plan(batch, 1, training=True)
    assert plan.head["shards"][0] == sharing.SHARDS and plan.head["partial"][0] >= 0
    assert plan.head["row_block"][0] == block


@pytest.mark.parametrize("sizes, batch, shards, kept", [
    ((9, 40, 2), 127, 0, ""), ((9, 40, 2), 128, 2, "2"), ((9, 40, 2), 255, 2, "2"),
    ((9, 40, 2), 256, 4, "24"), ((9, 40, 2), 1024, 4, "24"), ((9, 400, 4), 1025, 8, "1248"),
    ((9, 400, 4), 5000, 16, "1248"), ((9, 100, 99), 128, 2, "2"), ((99, 100, 99), 128, 0, ""),
    ((127, 16), 256, 4, "24"), ((128, 16), 256, 0, ""), ((100, 800, 800), 5000, 0, ""),
    ((300, 4), 800, 0, ""), ((300, 4), 1000, 4, "124"), ((300, 5), 1000, 0, "")])
def test_a_few_shards_where_they_hand_on_less(
        sizes: tuple[int, ...], batch: int, shards: int, kept: str, teams: None) -> None:
    """The same number on any number of threads: as many add in the same order."""
    layers = [fastbp.Dense(m, n) for m, n in zip(sizes, sizes[1:], strict=False)]
    net, found = fastbp.Network(layers, "l2"), ""
    for threads in (1, 2, 4, 8):
        plan = make_plan(layers, len(layers), fastbp.L2Loss(), net._offsets, net.dtype, batch,
                         threads, True, 1)
        assert plan.head["shards"][0] == shards and plan.n_threads == threads
        found += str(threads) if plan.head["partial"][0] >= 0 else ""
    assert found == kept
    assert net.plan(batch, 2).head["shards"][0] in (0, sharing.SHARDS)  # predicts, with all


@pytest.mark.parametrize("rules", [{}, {"l2": 0.01}, {"clip_norm": 0.1}], ids=str)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [130, 301, 1100])
@pytest.mark.parametrize("norm", [[], [fastbp.LayerNorm]], ids=len)
def test_a_few_shards_agree_with_the_textbook(norm: list[Any], batch: int, threads: int,
                                              rules: dict[str, float], teams: None) -> None:
    """Then a batch of three rows, fewer than there are shards of the larger ones."""
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(batch + 3, 9)), rng.normal(size=(batch + 3, 2))
    nets = []
    for compiled in (True, False):
        net = fastbp.Network([fastbp.Dense(9, 40), *(make() for make in norm), fastbp.ReLU(),
                              fastbp.Dense(40, 2)], "l2", dtype="float64", seed=1)
        run = Run(net, X, T, batch, fastbp.SGD(0.1), True, rules=Rules(**rules))
        run.compiled = compiled
        assert run.plan(threads).head["shards"][0] > 1
        run.advance(2, threads)
        nets.append(net)
    np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=1e-9, atol=1e-12)


def test_blocks_of_odd_rows_change_no_bits(teams: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_SHARD_BLOCK", sharing._HEAVY_BLOCK)
    rng, found = np.random.default_rng(0), []
    X, T = rng.normal(size=(270, 40)), rng.normal(size=(270, 3))
    for threads in 1, 2:
        net = fastbp.Network([fastbp.Dense(40, 64), fastbp.Tanh(), fastbp.Dense(64, 3)], "l2",
                             seed=1)
        run = Run(net, net.check_input(X), net.check_target(T), 135, fastbp.SGD(0.1), False)
        head = run.plan(threads).head
        assert head["shards"] == 2 and (threads == 1 or head["row_block"] == 67)  # of 68
        run.advance(4, threads)
        found.append(net.params)
    np.testing.assert_array_equal(*found)


@kernel
def even_rows(op, now, params, ws, x, dy, rows, first, last, left, right, grad, ld, mode, scale):  # type: ignore[no-untyped-def]  # noqa: E501
    """A gradient of the even rows of a batch alone."""
    for i in range(first, last):
        for j in range(left, right):
            total, at = x[0] - x[0], (i - first) * ld + j - left
            for r in range(rows):
                if (np.int64(now[1]) + r) % 2 == 0:
                    total += x[r * op["ld_in"] + i] * dy[r * op["ld_out"] + j]
            if mode != WRITE:
                total = grad[at] + (scale * total if mode == SCALE else total)
            grad[at] = total


class Even(fastbp.Dense):
    kernels = fastbp.Dense.kernels._replace(gradient=even_rows, correcting=(even_rows,))


def test_kernels_know_which_rows_of_the_batch_they_see(teams: None) -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(130, 9)), rng.normal(size=(130, 4))
    found = []
    for threads, compiled in (1, True), (2, True), (1, False):
        net = fastbp.Network([Even(9, 40, bias=False), fastbp.Dense(40, 4)], "l2", "float64", 1)
        run = Run(net, X, T, 130, fastbp.SGD(0.1, 0.9), False)
        run.compiled = compiled
        head = run.plan(threads).head
        assert head["shards"] == 2 and (head["partial"] >= 0) == (threads == 2)  # of 65 rows
        run.advance(2, threads)
        found.append(net.params)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], found[2], rtol=1e-12)


@pytest.mark.parametrize("rules", [{}, {"l1": 0.01}, {"clip_norm": 0.1}, {"max_norm": 0.5}],
                         ids=str)
@pytest.mark.parametrize("sizes, rows", [
    ((9, 601, 2), 30), ((9, 601, 2), 300), ((2, 601), 2000)])
def test_layers_cut_by_columns_agree_with_the_textbook(sizes: tuple[int, ...], rows: int,
                                                       rules: dict[str, float],
                                                       teams: None,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "FEW_WEIGHTS", 0)
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(rows, sizes[0])), rng.normal(size=(rows, sizes[-1]))
    nets = []
    for compiled in (True, False):
        layers = [fastbp.Dense(m, n) for m, n in zip(sizes, sizes[1:], strict=False)]
        net = fastbp.Network(layers, "l2", dtype="float64", seed=1)
        assert (net.plan(rows, training=True).head["shards"][0] > 0) == (rows == 2000)
        run = Run(net, net.check_input(X), net.check_target(T), rows, fastbp.SGD(0.1), False,
                  rules=Rules(**rules))
        run.compiled = compiled
        run.advance(2, 2)
        nets.append(net)
    np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=1e-9, atol=1e-12)


def test_training_compiles_what_it_runs() -> None:
    net = fastbp.Network([fastbp.Dense(3, 4), fastbp.Tanh(), fastbp.Dense(4, 3),
                          fastbp.Softmax()], fastbp.CrossEntropyLoss())
    fit, both, row = net.plan(8, 1, training=True), net.plan(8, 1), net.plan(1, 1)
    assert [len(plan.ops) for plan in (fit, both, row)] == [3, 4, 4]
    for plan in (fit, both, row):
        assert (plan.ops["forward"] != 0).all() and (plan.ops["backward"][:3] != 0).all()
        assert (plan.ops["backward"][3:] == 0).all()
        assert ((plan.ops["forward_row"] != 0) == (plan is row)).all()
    X, T = np.random.default_rng(0).normal(size=(6, 3)), np.arange(6) % 3
    net.fit(X, T, epochs=1, batch_size=1)
    np.testing.assert_array_equal(net.predict(X)[:1], net.predict(X[:1].astype(net.dtype)))


def test_small_work_runs_on_one_thread() -> None:
    small, large = network("relu-softmax"), fastbp.Network([fastbp.Dense(500, 500)], "L2Loss")
    assert small.plan(4, 2).n_threads == 1
    assert large.plan(256, None).n_threads == fastbp._jit.thread_count(None)


@pytest.mark.parametrize("batch", [16, 1050])
def test_training_allocates_nothing_in_a_step(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither Numba's allocator nor Python's grows with the number of steps."""
    from numba.core.runtime import _nrt_python, rtsys

    monkeypatch.setattr(sharing, "SHARD_ACTIVATIONS", 0)
    monkeypatch.setattr(sharing, "_SHARD_BLOCK", 24)  # 66 rows a shard
    _nrt_python.memsys_enable_stats()
    net, (X, T) = network("relu-softmax"), data("relu-softmax", 2100)
    run = Run(net, net.check_input(X), net.check_target(T), batch, fastbp.Adam(), True)
    run.advance(1, 1)

    def allocated(steps: int) -> int:
        before = rtsys.get_allocation_stats()
        run.advance(steps, 1)
        after = rtsys.get_allocation_stats()
        assert after.alloc - before.alloc == after.free - before.free
        return after.alloc - before.alloc

    assert allocated(1) == allocated(40)


@pytest.mark.skipif(DISABLED or not FLUSH, reason="this machine's register is not known")
def test_moments_that_fade_end_at_zero() -> None:
    """Left alone they would stay subnormal, which makes a step several times as long."""
    rng, net = np.random.default_rng(0), fastbp.Network([fastbp.Dense(3, 4)], "L2Loss")
    X, T = rng.normal(size=(40, 3)).astype("f4"), rng.normal(size=(40, 4)).astype("f4")
    run = Run(net, X, T, 4, fastbp.Adam(), False)
    run.advance(10, 1)
    run.X = X * np.array([0, 1, 1], "f4")  # the first row of the weights gets no gradient now
    first, second = run.slots.reshape(2, -1)[:, :4]
    assert (first != 0).all()
    run.advance(1500, 1)
    assert (first == 0).all() and (second > 0).all()


def test_subnormals_are_flushed_in_training_alone() -> None:
    from concurrent.futures import ThreadPoolExecutor

    tiny = np.float32(1e-40)
    net, X = fastbp.Network([fastbp.Dense(500, 500)], "L2Loss"), np.ones((512, 500), "f4")
    assert net.plan(256, 2).n_threads == 2

    def survives() -> bool:
        return bool((np.full(64, tiny) * np.float32(0.5) > 0).all())

    with ThreadPoolExecutor(1) as other:
        for run in (lambda f: f(), lambda f: other.submit(f).result()):
            assert run(survives)
            run(lambda: net.fit(X, X, epochs=2, batch_size=256, n_threads=2))
            assert run(survives)


def test_products_take_rectifiers_in() -> None:
    Dense, ReLU = fastbp.Dense, fastbp.ReLU

    class Mine(ReLU):
        kernels = fastbp.Tanh.kernels

    def taken(*layers: fastbp.Layer, rows: int = 8) -> list[list[int]]:
        ops = fastbp.Network(list(layers), "l2").plan(rows, 1).ops
        return [(ops["forward"] == 0).astype(int).tolist(), (ops["clip"] > 0).astype(int).tolist(),
                (ops["backward"] == 0).astype(int).tolist(), ops["mask"].tolist()]

    assert taken(Dense(4, 5), ReLU(), Dense(5, 3)) == [[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert taken(Dense(4, 5), ReLU(), Dense(5, 3), rows=1) == [[0, 0, 0]] * 4
    many = sharing.WHOLE + 1  # terms of a sum that is cut
    assert taken(Dense(4, 5), ReLU(), Dense(5, many)) == [[0, 1, 0], [1, 0, 0], *[[0, 0, 0]] * 2]
    assert taken(Dense(4, 5), ReLU()) == [[0, 1], [1, 0], [0, 0], [0, 0]]
    for other in ([ReLU(), Dense(5, 4), Dense(4, 3)], [Dense(4, 5), Mine(), Dense(5, 3)],
                  [Dense(4, 5), fastbp.Tanh(), Dense(5, 3)],
                  [Dense(4, 5), fastbp.Tanh(), ReLU()]):  # tanh keeps its output
        assert taken(*other) == [[0, 0, 0]] * 4
