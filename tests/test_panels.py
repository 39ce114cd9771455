"""Parameters as threads own them: where they lie, there and back, and what trains there."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import fastbp
from fastbp import panels, sharing
from fastbp.callbacks import Lambda
from fastbp.kernels.vectors import row_length
from fastbp.layers.layer_norm import layer_norm_gradient
from fastbp.rules import Rules
from fastbp.run import Run
from fastbp.table import place

DTYPES = st.sampled_from([np.dtype("float32"), np.dtype("float64")])


def network(sizes: tuple[int, ...], dtype: str = "float32") -> fastbp.Network:
    layers: list[fastbp.Layer] = []
    for m, n in zip(sizes, sizes[1:], strict=False):
        layers += [fastbp.Dense(m, n), fastbp.BatchNorm(), fastbp.ReLU()]
    return fastbp.Network(layers[:-2], "SoftmaxCrossEntropyLoss", dtype=dtype)


@pytest.fixture
def cut_all(teams: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small a layer is and large a batch, it is cut where it can be."""
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 8)
    monkeypatch.setattr(sharing, "CUT_BYTES", 0)
    monkeypatch.setattr(sharing, "PANEL_ROWS", 8)


@given(n=st.integers(1, 3000), threads=st.integers(2, 64), dtype=DTYPES)
@example(n=256, threads=9, dtype=np.dtype("float32"))  # eight of two vectors are all
def test_each_thread_has_a_panel_of_whole_vectors(n: int, threads: int, dtype: Any) -> None:
    width, lanes = panels.panel_width(n, dtype, threads), 64 // dtype.itemsize
    if width:
        assert width % lanes == 0 and width >= 2 * lanes
        assert width * (threads - 1) < n <= width * threads
        assert width * threads <= 8 / 7 * (n + lanes - 1)
    else:
        assert n < 2 * lanes * threads or n % (lanes * threads)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threads", [2, 4, 8])
def test_moves_and_places_cover_everything_once(threads: int, dtype: str, cut_all: None) -> None:
    net = network((300, 500, 1024, 10), dtype)
    plan = net.plan(16, threads, training=True, carried=1)
    assert plan.ops["width"].tolist()[::3] == [
        panels.panel_width(n, net.dtype, threads) for n in (500, 1024)] + [0]
    assert (plan.ops["width"][::3] > 0).tolist() == [True, True, False]
    home, own = np.arange(1.0, net.params.size + 1), np.zeros(plan.n_params)
    for worker in range(threads):
        panels.carry(worker, threads, plan.moves, home, home.size, own, own.size, False)
    for op, layer, offset in zip(plan.ops, net.layers, net._offsets, strict=True):
        if op["width"]:  # the last panel has no columns of the next row
            own_moves = plan.moves[plan.moves["home"] - offset < op["n_out"]]
            own_moves = own_moves[own_moves["home"] >= offset]
            assert own_moves["columns"].sum() == op["n_out"]
        for tensor in layer.layout(net.dtype)[0]:
            values = tensor.view(home[offset:])
            rows = values.T if values.ndim == 2 else values[None]
            first = tensor.offset // row_length(rows.shape[1], net.dtype)
            for (i, j), value in np.ndenumerate(rows[:3]):
                assert own[place(op, first + i, j)] == value
    back = np.zeros_like(home)
    for worker in range(threads):
        panels.carry(worker, threads, plan.moves, back, home.size, own, own.size, True)
    for layer, offset in zip(net.layers, net._offsets, strict=True):
        for tensor in layer.layout(net.dtype)[0]:
            assert (tensor.view(back[offset:]) == tensor.view(home[offset:])).all()


@pytest.mark.parametrize("threads", [2, 3, 4, 8])
def test_tasks_cover_everything_once_and_owners_have_their_own(threads: int,
                                                              cut_all: None) -> None:
    net = network((300, 768, 250, 10))
    plan = net.plan(16, threads, training=True, carried=1)
    run = len(plan.tasks) // threads
    assert len(plan.tasks) == run * threads and plan.ops["width"].any()
    for k, op in enumerate(plan.ops):
        count = np.zeros((op["n_rows"], op["n_out"]), int)
        for t, task in enumerate(plan.tasks):
            if task["op"] == k:
                count[task["first"]:task["last"], task["left"]:task["right"]] += 1
                if op["width"]:
                    assert task["left"] // op["width"] == t // run == (
                        task["right"] - 1) // op["width"]
        assert (count == 1).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_have_the_same_places_however_tasks_are_cut(dtype: str, cut_all: None) -> None:
    net = network((300, 520, 251, 10), dtype)
    lanes, found = 64 // net.dtype.itemsize, []
    for threads in (1, 2, 4, 8):
        plan = net.plan(16, threads, training=True, carried=1)
        assert plan.ops["width"].any() == (threads > 1)
        places = {}
        for task in plan.tasks[plan.tasks["op"] >= 0]:
            assert task["first"] % lanes == task["left"] % lanes == 0
            for i in range(task["first"], task["last"], lanes):
                for j in range(task["left"], task["right"], lanes):
                    to = (task["sum"] + (i - task["first"]) // lanes * task["step"]
                          + (j - task["left"]) // lanes)
                    block = task["op"], i, j
                    assert places.setdefault(to, block) == block
        assert sorted(places) == list(range(plan.n_sums))
        found.append(places)
    assert all(other == found[0] for other in found)


def test_what_is_cut_has_no_mirror(cut_all: None) -> None:
    """``run_steps`` refreshes mirrors before the other threads have copied their panels."""
    ops = network((40, 96, 96, 10), "float32").plan(16, 2, training=True, carried=1).ops
    assert ops["width"][3] > 0 and (ops["mirror"][ops["width"] > 0] < 0).all()


def test_what_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 8)

    def widths(sizes: tuple[int, ...], rows: int, threads: int, carried: int = 1) -> list[int]:
        layers: list[fastbp.Layer] = [fastbp.Dense(m, n)
                                      for m, n in zip(sizes, sizes[1:], strict=False)]
        net = fastbp.Network(layers, "l2")
        plan = net.plan(rows, threads, training=True, carried=carried)
        found: list[int] = plan.ops["width"].tolist()
        return found

    assert widths((784, 128, 128, 10), 64, 2) == [64, 64, 0]
    assert widths((784, 128, 128, 10), 64, 1) == [0, 0, 0]
    assert widths((784, 128, 128, 10), 129, 2) == [64, 0, 0]  # rows beside the middle layer
    assert widths((200, 128, 128, 10), 256, 2) == [0, 0, 0]   # and beside the first
    assert widths((784, 512, 512, 10), 512, 8) == [64, 64, 0]
    assert widths((784, 512, 512, 10), 513, 8) == [64, 0, 0]  # as many threads as there may be
    assert widths((784, 80, 128, 10), 64, 2) == [0, 0, 0]     # 48 and 32 are not even
    assert widths((784, 100, 64, 10), 16, 2) == [64, 0, 0]    # 100 x 64 are too few
    assert widths((784, 128, 128, 10), 64, 8) == [0, 0, 0]    # 16 are too narrow
    assert widths((784, 128, 128, 10), 64, 2, carried=0) == [0, 0, 0]
    assert widths((1024, 2048, 64), 64, 2) == [0, 0]          # PANEL_BYTES
    assert widths((1024, 1900, 64), 64, 2) == [960, 32]
    assert widths((1024, 1900, 64), 64, 2, carried=3) == [0, 0]  # Adam's moments, too


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "amsgrad"])
@pytest.mark.parametrize("rules", [
    Rules(average=0.9, max_norm=1.5), Rules(l1=1e-4, l2=1e-3, clip_value=0.01, by_rows=True),
    Rules(l2=1e-3, clip_norm=0.1, weight_decay=1e-3, average=0.5), Rules(average=0.9),
], ids=lambda rules: "+".join(k for k, v in vars(rules).items() if v))
def test_bits_do_not_depend_on_who_owns_what(rules: Rules, optimizer: str, dtype: str,
                                             cut_all: None) -> None:
    made = {"sgd": fastbp.SGD(0.05), "momentum": fastbp.SGD(0.05, 0.9), "adam": fastbp.Adam(0.01),
            "amsgrad": fastbp.Adam(0.01, amsgrad=True)}[optimizer]
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(90, 70)), rng.integers(0, 10, 90)
    found = []
    for threads in (1, 2, 4, 8):
        net = network((70, 512, 250, 10), dtype)
        run = Run(net, net.check_input(X), T, 32, made, True, rules=rules)
        for _ in range(3):  # calls end within and between epochs
            run.advance(2, threads)
        found.append((net.params, run.slots, run.average, run.errors[0]))
        assert (run.plan(threads).moves.size > 0) == (threads > 1)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    assert found[0][1].any() == (optimizer != "sgd")


@pytest.mark.parametrize("optimizer", [fastbp.SGD(0.05), fastbp.Adam(0.01)], ids=repr)
def test_panels_of_a_team_larger_than_the_shards(optimizer: fastbp.Optimizer,
                                                 cut_all: None) -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(200, 70)), rng.integers(0, 10, 200)
    found = []
    for threads, kept in (1, False), (2, True), (4, False), (8, False):
        net = fastbp.Network([fastbp.Dense(70, 256), fastbp.ReLU(), fastbp.Dense(256, 10)],
                             "SoftmaxCrossEntropyLoss")
        run = Run(net, net.check_input(X), T, 140, optimizer, True, rules=Rules(average=0.9))
        plan = run.plan(threads)
        assert plan.head["shards"][0] == 2 and (plan.head["partial"][0] >= 0) == kept
        assert (plan.moves.size > 0) == (threads > 2) and plan.n_threads == threads
        run.advance(4, threads)
        found.append((net.params, run.slots, run.average, run.errors[0]))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("made", "steps"), [(fastbp.SGD, 3), (fastbp.Adam, 9)])
def test_calls_of_few_steps_leave_the_parameters_where_they_are(
        made: Any, steps: int, cut_all: None) -> None:
    """To copy them into panels and back would cost more than it saves."""
    rng = np.random.default_rng(0)
    for count in (1, steps - 1, steps):
        X, T = rng.normal(size=(16 * count, 70)), rng.integers(0, 10, 16 * count)
        found = list[Any]()
        for threads, call, options in (
                (1, "partial_fit", {}), (2, "partial_fit", {}), (2, "fit", {}),
                (2, "fit", {"callbacks": [Lambda(lambda *_: None)]})):
            net, optimizer = network((70, 512, 10)), made(0.01)
            for _ in range(2):
                more = options | ({"epochs": 1, "warm_start": True} if call == "fit" else {})
                getattr(net, call)(X, T, batch_size=16, optimizer=optimizer, n_threads=threads,
                                   **more)
            assert net.last_run is not None
            plan = net.last_run.plan(threads)
            assert plan.n_threads == threads
            whole = threads == 1 or (count < steps and (call == "partial_fit" or options != {}))
            assert (plan.moves.size == 0) == whole
            found.append((net.params, net.last_run.slots))
        for other in found[1:]:
            for a, b in zip(found[0], other, strict=True):
                np.testing.assert_array_equal(a, b)


def test_threads_may_change_from_call_to_call(cut_all: None) -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(64, 70)).astype(np.float32), rng.integers(0, 10, 64)
    nets = [network((70, 256, 10)) for _ in range(2)]
    runs = [Run(net, X, T, 16, fastbp.Adam(0.01), True) for net in nets]
    for threads in (2, 1, 4, 2):
        runs[0].advance(3, threads)
        runs[1].advance(3, 1)
        nets[0].layers[0].weight[0, 0] = nets[1].layers[0].weight[0, 0] = 0.5  # type: ignore[attr-defined]
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
    np.testing.assert_array_equal(runs[0].slots, runs[1].slots)


def test_a_layer_with_a_gradient_or_layout_of_its_own_stays_whole(cut_all: None) -> None:
    class Gradient(fastbp.Dense):
        kernels = fastbp.Dense.kernels._replace(gradient=layer_norm_gradient)

    class Layout(fastbp.Dense):
        def layout(self, dtype: Any) -> Any:
            tensors, size = super().layout(dtype)
            return tensors, size + 64

    for kind, expected in ((fastbp.Dense, True), (Gradient, False), (Layout, False)):
        net = fastbp.Network([kind(300, 512), fastbp.ReLU(), kind(512, 512)], "l2")
        ops = net.plan(16, 4, training=True, carried=1).ops
        assert ((ops["width"] > 0).any(), (ops["first"] > 0).any()) == (expected, expected)


def test_a_run_that_has_ended_holds_and_pickles_no_panels(cut_all: None) -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(64, 70)), rng.integers(0, 10, 64)
    sizes = []
    for threads in (1, 4):
        net = network((70, 512, 10))
        net.fit(X, T, epochs=2, batch_size=16, optimizer="adam", n_threads=threads)
        assert net.last_run is not None and net.last_run._panels is None
        sizes.append(len(pickle.dumps(net)))
    run = Run(net, net.check_input(X), T, 16, fastbp.SGD(), True)
    run.advance(1, 4)
    assert run._panels is not None and pickle.loads(pickle.dumps(run))._panels is None
    assert abs(sizes[0] - sizes[1]) < 0.02 * sizes[0]  # places for sums


def test_numbers_of_rows_are_of_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels take their address: where NumPy's own are shorter they would read past the end."""
    own = np.arange

    def short(*args: Any, **more: Any) -> Any:
        return own(*args, **{"dtype": np.int32, **more})

    net = network((70, 32, 10))
    monkeypatch.setattr(np, "arange", short)
    run = Run(net, np.zeros((20, 70), np.float32), np.zeros(20, np.int64), 4, fastbp.SGD(), True)
    assert run.order.dtype == np.int64
