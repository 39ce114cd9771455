"""Runs over blocks amid an epoch: what they count, hold and wait for."""

from __future__ import annotations

import signal
import tracemalloc
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import fit_stream
from fastbp.ahead import Ahead
from fastbp.callbacks import Callback
from fastbp.engine import STEP
from fastbp.run import Run
from fastbp.sources import Blocks, CheckedBlocks

from .builders import StopAt, classifier, clusters

X, T = clusters(120)


class Orders(Callback):
    """Calls take one step each; keeps the orders in which they saw the rows of their block."""

    def __init__(self) -> None:
        self.seen = list[list[int]]()

    def on_train_begin(self, network: fastbp.Network, epochs: int, n_samples: int) -> None:
        self.run.chunk = 1

    def on_chunk_end(self, epoch: int, samples: int) -> None:
        self.run.chunk = 1
        self.seen.append(self.run.order.tolist())


def test_each_block_of_each_epoch_has_an_order_of_its_own() -> None:
    orders = Orders()
    fit_stream(classifier(), [(X, T)] * 3, epochs=2, batch_size=120, callbacks=[orders])
    assert all(sorted(order) == list(range(120)) for order in orders.seen)
    assert len(orders.seen) == len(set(map(tuple, orders.seen))) == 6


@pytest.mark.parametrize("steps", [2, 6])
def test_a_loss_amid_an_epoch_is_the_mean_over_the_rows_seen_in_it(steps: int) -> None:
    """Rows of the first block weigh little, those of the second much; four steps an epoch."""
    weights, rows = np.repeat([0.01, 5.0], 60), slice(0, 60)
    net, optimizer = classifier("float64"), fastbp.SGD(1e-9)
    history = fit_stream(net, [(X[rows], T[rows], weights[rows]), (X[60:], T[60:], weights[60:])],
                         epochs=3, batch_size=30, shuffle=False, optimizer=optimizer,
                         callbacks=[StopAt(steps)])
    assert len(history["loss"]) == 1 + steps // 4
    assert history["loss"][-1] == pytest.approx(classifier("float64").loss(X[rows], T[rows]))


def test_the_old_block_is_let_go_before_the_next_is_waited_for(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """Else three of them would be in memory."""
    take, held, orders = Ahead.take, list[int](), Orders()

    def watched(ahead: Ahead[Any]) -> Any:
        held.append(orders.run.X.size + orders.run.T.size + orders.run.order.size)
        return take(ahead)

    monkeypatch.setattr(Ahead, "take", watched)
    fit_stream(classifier(), [(X, T)] * 3, epochs=2, callbacks=[orders])
    assert held == [0] * 6


def test_a_team_that_leaves_a_core_to_the_reader_looks_again_soon(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a tenth of its steps, then all if the reader is done."""
    counts, advance = list[int](), Run.advance

    def watched(self: Run, n_steps: int, n_threads: int) -> None:
        counts.append(n_steps)
        advance(self, n_steps, n_threads)

    class Many(Callback):
        def on_train_begin(self, network: fastbp.Network, epochs: int, n_samples: int) -> None:
            self.run.chunk = 21

    monkeypatch.setattr("fastbp.streaming.cores", lambda: [0])
    monkeypatch.setattr(Run, "advance", watched)
    monkeypatch.setattr(Ahead, "busy", property(lambda _: len(counts) < 2, lambda *_: None),
                        raising=False)
    fit_stream(classifier(), [(X, T)], epochs=1, batch_size=5, n_threads=1, callbacks=[Many()])
    assert counts[:3] == [3, 3, 15] and sum(counts) == 24


def test_of_the_first_block_a_row_is_kept() -> None:
    checked = CheckedBlocks(classifier(), Blocks([(X, T)]), None)
    assert [len(array) for array in checked.example] == [1, 1]
    assert not any(np.shares_memory(*pair) for pair in zip(checked.example, (X, T), strict=True))


def test_blocks_of_another_dtype_are_copied_once() -> None:
    rows = np.random.default_rng(0).random((40_000, 50))
    net = fastbp.Network([fastbp.Dense(50, 50)], "MSELoss")
    checked = CheckedBlocks(net, Blocks([(rows[:1], rows[:1], rows[:1, 0])]), None)
    tracemalloc.start()
    block = checked._checked((rows, rows, rows[:, 0]))
    assert tracemalloc.get_traced_memory()[1] < 1.1 * rows.nbytes  # two of half its bytes
    tracemalloc.stop()
    assert all(array is not None and array.dtype == np.float32 for array in block)


class Fresh:
    """What derives from it may give other arrays."""

    fresh, n_rows = True, 120

    def blocks(self, epoch: int, seed: int, shuffle: bool) -> Any:
        yield X, T


class Other(Fresh):
    def blocks(self, *args: Any) -> Any:
        return super().blocks(*args)


class Slots:
    __slots__, n_rows, blocks = (), 120, Fresh.blocks


@pytest.mark.parametrize(("kind", "own", "fresh"), [
    (Fresh, {}, True), (type("Derived", (Fresh,), {}), {}, True), (Slots, {}, False),
    (Other, {}, False), (type("Derived", (Other,), {"fresh": False}), {}, False),
    (type("Denies", (Fresh,), {"fresh": False}), {}, False), (Fresh, {"fresh": False}, False),
    (Fresh, {"blocks": Fresh().blocks}, False),
    (Fresh, {"blocks": Fresh().blocks, "fresh": True}, False),
    (type("Says", (Other,), {"fresh": True}), {}, False)])
def test_who_gives_blocks_says_whether_they_are_fresh(kind: Any, own: dict[str, Any],
                                                      fresh: bool) -> None:
    source = kind()
    for name, value in own.items():
        setattr(source, name, value)
    rows = X.astype(np.float32)
    checked = CheckedBlocks(classifier(), source, None)
    assert np.shares_memory(checked._checked((rows, T))[0], rows) == fresh


def test_labels_that_another_thread_changes_amid_the_check_are_refused(
        monkeypatch: pytest.MonkeyPatch) -> None:
    own, labels = CheckedBlocks._own, T.copy()

    def late(self: CheckedBlocks, checked: np.ndarray, given: Any) -> np.ndarray:
        labels[0] = 10**12
        return own(self, checked, given)

    monkeypatch.setattr(CheckedBlocks, "_own", late)
    with pytest.raises(ValueError, match="T of a block holds label 1000000000000"):
        CheckedBlocks(classifier(), Blocks([(X, labels)]), None)


def test_a_source_is_told_the_epoch_and_the_networks_seed() -> None:
    calls = []

    class Spy(Blocks):
        def blocks(self, epoch: int, seed: int, shuffle: bool) -> Any:
            calls.append((epoch, seed, shuffle))
            return super().blocks(epoch, seed, shuffle)

    for shuffle in (True, False):
        calls.clear()
        fit_stream(classifier(seed=5), Spy([(X, T)]), epochs=2, shuffle=shuffle)
        assert calls == [(0, 5, False), (0, 5, shuffle), (1, 5, shuffle)]  # one to look at


@pytest.mark.parametrize("class_weight", [{0: 0, 1: 2}, {0: 3}, "balanced"])
def test_one_output_has_two_classes(class_weight: Any) -> None:
    nets = [fastbp.Network([fastbp.Dense(6, 1), fastbp.Sigmoid()], "BinaryCrossEntropyLoss",
                           "float64") for _ in range(2)]
    nets[0].fit(X, T == 0, epochs=2, class_weight=class_weight)
    fit_stream(nets[1], [(X, T == 0)], epochs=2, class_weight=class_weight)
    np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=1e-12)


def test_blocks_without_rows_are_passed_over_whatever_they_hold() -> None:
    nets = [classifier("float64") for _ in range(2)]
    for net, none in zip(nets, ([], [([], [])]), strict=True):
        fit_stream(net, [*none, (X, T), *none], epochs=2, shuffle=False, class_weight="balanced")
    np.testing.assert_array_equal(nets[0].params, nets[1].params)


class Plain(fastbp.L2Loss):
    """A user's loss, which takes no weights."""

    def forward(self, X: Any, T: Any) -> float:  # type: ignore[override]
        return super().forward(X, T)


@pytest.mark.parametrize(("weights", "class_weight", "name"), [
    ((), "balanced", "class_weight"), ((), {0: 1}, "class_weight"),
    ((np.ones(120),), {0: 1}, "class_weight"), ((np.ones(120),), None, "weights of a block")])
def test_weights_that_a_loss_does_not_take_are_refused_first(
        weights: tuple[Any, ...], class_weight: Any, name: str) -> None:
    net = fastbp.Network([fastbp.Dense(6, 1)], Plain())
    before = net.params.copy()
    with pytest.raises(TypeError, match=f"^{name} needs a loss that takes weights: Plain"):
        fit_stream(net, [(X, T[:, None] % 2, *weights)], class_weight=class_weight)
    np.testing.assert_array_equal(net.params, before)


class Lengths(fastbp.L2Loss):
    """Takes words, whose lengths are the targets."""

    def check_target(self, T: Any, *args: Any, **options: Any) -> np.ndarray:
        if np.asarray(T).dtype.kind == "U":
            T = np.char.str_len(T).astype(np.float64)
        return super().check_target(T, *args, **options)


@pytest.mark.parametrize("kind", [np.array, list])
def test_targets_may_be_what_a_users_loss_takes(kind: Any) -> None:
    words = np.array(["a", "bb", "ccc"] * 40)

    class Refilled:
        n_rows = 120

        def blocks(self, epoch: int, seed: int, shuffle: bool) -> Any:
            buffer = kind(words[:60])
            for at in (0, 60):
                buffer[:] = kind(words[at:at + 60])
                yield X[at:at + 60], buffer
                buffer[:] = kind(words[1:61])

    nets = [fastbp.Network([fastbp.Dense(6, 1)], Lengths()) for _ in range(3)]
    nets[0].fit(X, kind(words), epochs=2, shuffle=False)
    fit_stream(nets[1], Refilled(), epochs=2, shuffle=False)
    fit_stream(nets[2], [(X, kind(words))], epochs=2, shuffle=False)
    for net in nets[1:]:
        np.testing.assert_array_equal(net.params, nets[0].params)


def test_an_interrupt_amid_a_call_leaves_one_position(ctrl_c: None) -> None:
    class Interrupting(np.ndarray):  # type: ignore[type-arg]
        def __setitem__(self, key: Any, value: Any) -> None:
            super().__setitem__(key, value)
            if key == STEP:
                signal.raise_signal(signal.SIGINT)

    class Set(Callback):
        def on_train_begin(self, network: fastbp.Network, epochs: int, n_samples: int) -> None:
            self.run.chunk, self.run.cursor = 3, self.run.cursor.view(Interrupting)

    net = classifier()
    with pytest.raises(KeyboardInterrupt):
        fit_stream(net, [(X, T)], batch_size=10, callbacks=[Set()])
    assert net.last_run is not None
    step, _, position, *_ = net.last_run.cursor.tolist()
    assert step > 0 and position == 10 * step
