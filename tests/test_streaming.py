"""Training block by block: the bits of training whole, in any circumstances."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbp
from fastbp import Dense, Network, ReLU, data, fit_stream, streaming
from fastbp._jit import thread_count
from fastbp.ahead import Ahead
from fastbp.callbacks import Callback, Checkpoint
from fastbp.data.stream import ArrayStream, TableStream
from fastbp.layers import Layer
from fastbp.run import Run

from .builders import StopAt
from .programs import run

RNG = np.random.default_rng(0)
X = RNG.standard_normal((500, 6), np.float32)
T = RNG.integers(0, 3, 500)
W = RNG.random(500).astype(np.float32)


def network(seed: int = 0, dtype: str = "float32") -> Network:
    return Network([Dense(6, 16), fastbp.BatchNorm(), ReLU(), fastbp.Dropout(0.1), Dense(16, 3)],
                   "SoftmaxCrossEntropyLoss", dtype, seed)


def cut(edges: list[int], *arrays: Any) -> list[tuple[Any, ...]]:
    ends = [0, *sorted(edges), len(arrays[0])]
    return [tuple(a[i:j] for a in arrays) for i, j in zip(ends, ends[1:], strict=False)]


def no_blocks_thread() -> bool:
    return all(t.name != "fastbp-blocks" for t in threading.enumerate())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 500), max_size=6), st.integers(1, 600),
       st.sampled_from([{}, {"l2": 1e-3, "average": 0.9}, {"clip_norm": 0.1, "max_norm": 1.0}]),
       st.booleans(), st.sampled_from(["adam", "sgd", "adamw"]))
def test_any_blocks_in_order_are_the_whole(edges: list[int], batch: int, rules: dict[str, float],
                                           weighted: bool, optimizer: str) -> None:
    options: dict[str, Any] = dict(epochs=2, batch_size=batch, shuffle=False,
                                   optimizer=optimizer, **rules)
    whole, parts = network(), network()
    for layer in (*whole.layers, *parts.layers):
        if isinstance(layer, fastbp.BatchNorm) and batch == 1:  # it learns from two rows or more
            layer.trainable = False
    told = whole.fit(X, T, sample_weight=W if weighted else None, **options)
    given = fit_stream(parts, cut(edges, X, T, W) if weighted else cut(edges, X, T), **options)
    np.testing.assert_array_equal(parts.params, whole.params)
    np.testing.assert_allclose(given["loss"], told["loss"], rtol=1e-6)
    assert given["learning_rate"] == told["learning_rate"] and no_blocks_thread()


def test_one_block_is_shuffled_as_fit_does() -> None:
    whole, part = network(), network()
    told = whole.fit(X, T, epochs=3, validation_data=(X, T), metrics=["f1"])
    given = fit_stream(part, [(X, T)], epochs=3, validation_data=(X, T), metrics=["f1"])
    np.testing.assert_array_equal(part.params, whole.params)
    assert {k: v for k, v in given.items() if k != "samples_per_s"} == {
        k: v for k, v in told.items() if k != "samples_per_s"}


def test_schedules_and_warm_starts_run_on() -> None:
    schedule = fastbp.schedules.Cosine(0.1)
    one = network()
    told = one.fit(X, T, epochs=4, shuffle=False, optimizer=fastbp.SGD(schedule, momentum=0.9))
    two = network()
    given = fit_stream(two, cut([100, 333], X, T), epochs=4, shuffle=False,
                       optimizer=fastbp.SGD(schedule, momentum=0.9))
    np.testing.assert_array_equal(one.params, two.params)
    assert told["learning_rate"] == given["learning_rate"]
    one, two = network(), network()
    one.fit(X, T, epochs=3, average=0.9)
    fit_stream(two, [(X, T)], epochs=1, average=0.9)
    two.fit(X, T, epochs=1, average=0.9, warm_start=True)
    fit_stream(two, [(X, T)], epochs=1, average=0.9, warm_start=True)
    np.testing.assert_array_equal(one.params, two.params)


def test_class_weights() -> None:
    for class_weight in ("balanced", {0: 3.0, 2: 0.5}):
        for weights in ((), (W,)):
            one, two = network(), network()
            one.fit(X, T, epochs=2, shuffle=False, class_weight=class_weight,
                    sample_weight=W if weights else None)
            fit_stream(two, cut([50, 400], X, T, *weights), epochs=2, shuffle=False,
                       class_weight=class_weight)
            np.testing.assert_allclose(one.params, two.params, rtol=1e-4, atol=1e-5)
    some, ones = network(), network()  # what has no weights weighs 1
    for net, first in ((some, (X[:50], T[:50])), (ones, (X[:50], T[:50], np.ones(50)))):
        fit_stream(net, [first, (X[50:], T[50:], W[50:])], epochs=1, shuffle=False,
                   class_weight={int(T[0]): 0.0})
    np.testing.assert_array_equal(some.params, ones.params)
    three = network()
    fit_stream(three, ArrayStream(X, T, W, block_rows=64), epochs=2, shuffle=False,
               class_weight="balanced")  # by its targets alone
    four = network()
    four.fit(X, T, epochs=2, shuffle=False, class_weight="balanced", sample_weight=W)
    np.testing.assert_allclose(three.params, four.params, rtol=1e-4, atol=1e-5)


def test_targets_of_a_source_that_are_no_function_are_not_called() -> None:
    """``ArrayStream`` and ``TableStream`` have one; datasets of others have an array so named."""
    class Named(Lies):
        targets = T

    one, two = network(), network()
    for net, source in ((one, Named(500)), (two, Lies(500))):
        fit_stream(net, source, epochs=1, class_weight="balanced")
    np.testing.assert_array_equal(one.params, two.params)


class Slow:
    """A source that dawdles."""

    n_rows = 500

    def __init__(self, pause: float) -> None:
        self.pause, self.inner = pause, ArrayStream(X, T, block_rows=90)

    def blocks(self, epoch: int, seed: int, shuffle: bool) -> Iterator[Any]:
        for block in self.inner.blocks(epoch, seed, shuffle):
            time.sleep(self.pause)
            yield block


class Pause(Callback):
    def on_chunk_end(self, epoch: int, samples: int) -> None:
        self.run.chunk = 1
        time.sleep(0.002)


def test_threads_and_timing_change_nothing() -> None:
    nets = []
    for pause, threads, hooks in ((0.0, 1, []), (0.01, 2, []), (0.0, 2, [Pause()]),
                                  (0.005, 8, [Pause()])):
        nets.append(network())
        fit_stream(nets[-1], Slow(pause), epochs=3, n_threads=threads, callbacks=hooks)
    for net in nets[1:]:
        np.testing.assert_array_equal(net.params, nets[0].params)
    other = network(seed=1)
    fit_stream(other, Slow(0.0), epochs=3)
    assert (other.params != nets[0].params).any()


def test_a_core_that_reads_is_left_out_of_the_team(monkeypatch: pytest.MonkeyPatch) -> None:
    teams, advance, most = list[int](), Run.advance, thread_count(None)

    def watched(self: Run, n_steps: int, n_threads: int) -> None:
        teams.append(n_threads)
        assert self.weights.dtype == self.network.dtype  # else all would be compiled once more
        advance(self, n_steps, n_threads)

    monkeypatch.setattr(Run, "advance", watched)
    nets = []
    less = {max(1, most - 1)}
    for cores, quota, seen in ((most, 99, less), (most + 1, 99, {most}), (most + 1, most, less),
                               (most + 1, 1, {1})):
        monkeypatch.setattr("fastbp.streaming.cores", lambda n=cores: list(range(n)))
        monkeypatch.setattr("fastbp.streaming.within_quota", lambda n, most=quota: min(n, most))
        teams.clear()
        nets.append(network())
        fit_stream(nets[-1], Slow(0.05), epochs=2)
        assert set(teams[:4]) == seen
    for net in nets[1:]:
        np.testing.assert_array_equal(net.params, nets[0].params)


def test_epochs_are_shuffled_and_every_row_is_seen() -> None:
    seen: list[list[float]] = []

    class Spy(Layer):
        n_in = n_out = 1

        def forward(self, given: Any) -> Any:
            if len(given) <= 7:
                seen[-1].extend(given[:, 0].tolist())
            return given

        def backward(self, dY: Any) -> Any:
            return dY

    class Begin(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            seen.append([])

    seen.append([])
    rows = np.arange(100, dtype=np.float32)[:, None]
    net = Network([Spy(), Dense(1, 1)], "MSELoss")  # the textbook loop
    fit_stream(net, ArrayStream(rows, rows, block_rows=24), epochs=2, batch_size=7,
               callbacks=[Begin()], optimizer=fastbp.SGD(1e-6))
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(100)) and seen[0] != seen[1]
    assert len(seen[2]) == 0
    assert np.abs(np.diff(seen[0][:24])).mean() > 10


@pytest.mark.parametrize("chunks", [1, 4, 9, 13, 16, 23])
def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path: Path, chunks: int) -> None:
    options: dict[str, Any] = {"epochs": 3, "batch_size": 32, "average": 0.9,
                               "optimizer": fastbp.AdamW(fastbp.schedules.Cosine(0.01))}
    source = ArrayStream(X, T, W, block_rows=90)
    whole, stopped, again = network(), network(), network()
    told = fit_stream(whole, source, callbacks=[StopAt(999)], **options)
    fit_stream(stopped, source, callbacks=[StopAt(chunks), Checkpoint(tmp_path / "run")],
               **options)
    assert stopped.last_run is not None and stopped.last_run.cursor[0] == chunks
    given = fit_stream(again, source, resume=tmp_path / "run", callbacks=[StopAt(999)],
                       **options)
    np.testing.assert_array_equal(again.params, whole.params)
    np.testing.assert_allclose(given["loss"], told["loss"], rtol=1e-12)
    with pytest.raises(ValueError, match="n_rows 500, this one 499"):
        fit_stream(network(), ArrayStream(X[1:], T[1:], W[1:]), resume=tmp_path / "run",
                   **options)


def test_files_train_as_what_they_hold(tmp_path: Path) -> None:
    columns = {f"x{i}": X[:, i] for i in range(6)} | {"y": T}
    pa.parquet.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=60)
    learned = data.learn(tmp_path / "t.parquet", "y")
    assert learned.target is not None
    source = TableStream(tmp_path / "t.parquet", learned.preprocessor, learned.target,
                         block_rows=130)
    one, two = network(), network()
    one.fit(learned.preprocessor.transform(columns), T, epochs=2, shuffle=False)
    fit_stream(two, source, epochs=2, shuffle=False)
    np.testing.assert_array_equal(one.params, two.params)
    history = fit_stream(network(), source, epochs=40, optimizer=fastbp.Adam(0.01))
    assert history["loss"][-1] < history["loss"][0]


def test_readonly_blocks_and_double_precision() -> None:
    fixed, labels = X.copy(), T.copy()
    fixed.flags.writeable = labels.flags.writeable = False
    one, two = network(dtype="float64"), network(dtype="float64")
    one.fit(X, T, epochs=2)
    fit_stream(two, [(fixed, labels)], epochs=2)
    np.testing.assert_array_equal(one.params, two.params)


class Lies:
    """Says that it has other rows than it gives, from some epoch on."""

    def __init__(self, n_rows: int, fail: int | None = None) -> None:
        self.n_rows, self.fail = n_rows, fail

    def blocks(self, epoch: int, seed: int, shuffle: bool) -> Iterator[Any]:
        yield X[:300], T[:300]
        if epoch == self.fail:
            raise OSError("the disk is on fire")
        yield X[300:], T[300:]


class Odd(Lies):
    """A source whose blocks are not what fit_stream takes."""

    def __init__(self, block: Any) -> None:
        super().__init__(500)
        self.block = block

    def blocks(self, epoch: int, seed: int, shuffle: bool) -> Iterator[Any]:
        yield self.block


@pytest.mark.parametrize(("source", "options", "message"), [
    (Lies(501), {}, "source gave 500 rows in epoch 1, its n_rows is 501"),
    (Lies(499), {}, "source gave more than 499 rows in epoch 1"),
    (Lies(500, fail=1), {}, "the disk is on fire"),
    ([(X, T), (X[:, :5], T)], {}, "X of a block must have 6 columns"),
    ([(X, T), (X, T + 1)], {}, r"T of a block holds label 3, outside \[0, 3\)"),
    ([(X, T), (X, T[1:])], {}, "X of a block has 500 rows, T of a block has 499"),
    ([(X, T), (X * np.nan, T)], {}, "X of a block holds nan"),
    ([(X, T, -W)], {}, "weights of a block must be at least 0"),
    ([(X, T, W), (X, T, -W)], {"class_weight": "balanced"}, "weights of a block must be at l"),
    ([(X, T, W), (X, T)], {"shuffle": False},
     "block 2, as epoch 1 reads them, has no weights, unlike the first"),
    ([(X, T), (X, T, W)], {"shuffle": False}, "block 2, as .* has weights, unlike the first"),
    ([(X, T), (X, np.eye(3)[T])], {"shuffle": False},
     r"block 2, as .* has targets of shape \(500, 3\), unlike the first"),
    ([(X, T, 0 * W)], {}, "weights of the source are zero for every row"),
    ([X], {}, r"blocks must be \(X, T\)"),
    ((X, T), {}, r"must be \(X, T\) or .* ndarray; a source of them is \[\(X, T\)\]"),
    ("large.csv", {}, "got str; a source of them is .* a data.TableStream"),
    ([(3, 4)], {}, r"must be \(X, T\) or .* got tuple"),
    (Odd({"X": X, "T": T}), {}, r"blocks must be \(X, T\) or .* got dict"),
    (Odd(None), {}, r"blocks must be \(X, T\) or .* got NoneType"),
    (SimpleNamespace(n_rows=500, blocks=lambda *_: None), {}, "return blocks .* got NoneType"),
    ([(scipy.sparse.csr_array(X), T)], {}, "X of a block is a sparse matrix"),
    ([(X, scipy.sparse.csr_array(T[:, None]))], {}, "T of a block is a sparse matrix"),
    ([(X, np.ma.masked_equal(T, 1))], {}, "T of a block has masked elements"),
    ([(np.array(3), T)], {}, "X of a block must be 2-D"),
    ([(X, T, 0 * W)], {"class_weight": "balanced"},
     "weights of the source are zero for every row"),
    ([], {}, "source.n_rows must be at least 1"), (Lies(0), {}, "n_rows"),
    (iter([(X, T)]), {}, "ends after one epoch"), (3, {}, "source must have n_rows"),
    ([(X, T)], {"batch_size": 0}, "batch_size must be at least 1"),
    ([(X, T)], {"metrics": ["f1"]}, "measured on validation_data"),
    ([(X, T)], {"class_weight": "even"}, "class_weight must be"),
    ([(X, T)], {"class_weight": {0: 0, 1: 0.0, 2: 0}}, "class_weight is zero for every class"),
    ([(X, T)], {"validation_data": (X[:, 1:], T)}, r"validation_data\[0\] must have 6 columns"),
    ([(X, T)], {"optimizer": "newton"}, "optimizer")])
def test_bad_sources_and_arguments(source: Any, options: dict[str, Any], message: str) -> None:
    net = network()
    before = net.params.copy()
    with pytest.raises((ValueError, TypeError, OSError), match=message):
        fit_stream(net, source, epochs=3, **options)
    assert no_blocks_thread() and np.isfinite(net.params).all()
    if options.keys() - {"shuffle"}:
        np.testing.assert_array_equal(net.params, before)


def test_a_table_streams_what_was_learnt_alone() -> None:
    table = {"x": np.arange(9.0), "t": np.arange(9) % 2}
    learned = data.learn(table, "t")
    for parts, message in (((learned.preprocessor, None), "target must be a Target.* got None"),
                           ((None, learned.target), "preprocessor must be a Preprocessor")):
        with pytest.raises(TypeError, match=message):
            TableStream(table, *parts)  # type: ignore[arg-type]


def test_more_rows_than_said_are_found_in_the_only_epoch() -> None:
    with pytest.raises(ValueError, match="source gave more than 300 rows in epoch 1"):
        fit_stream(network(), Lies(300), epochs=1)
    assert no_blocks_thread()


def test_an_interrupt_leaves_no_thread() -> None:
    class Interrupt(Callback):
        def on_chunk_end(self, epoch: int, samples: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_stream(network(), ArrayStream(X, T, block_rows=50), callbacks=[Interrupt()])
    assert no_blocks_thread()


def test_a_private_map_streams_what_it_holds(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", X)
    private = np.load(tmp_path / "X.npy", mmap_mode="c")
    private += 1
    found = np.concatenate([b[0] for b in ArrayStream(private, T).blocks(0, 0, False)])
    np.testing.assert_array_equal(found, X + 1)


def test_rows_that_a_table_has_not_are_refused() -> None:
    columns = {"x": np.arange(9.0), "t": np.arange(9) % 2}
    learned = data.learn(columns, "t", task="classification")
    with pytest.raises(ValueError, match="n_rows is 5, .* has 9 rows"):
        TableStream(columns, learned.preprocessor, learned.target, n_rows=5)


def test_memory_is_some_blocks_whatever_the_file(tmp_path: Path) -> None:
    peaks = []
    for rows in (40_000, 160_000):
        big = np.zeros((rows, 6), np.float32)
        np.save(tmp_path / "X.npy", big)
        np.save(tmp_path / "T.npy", np.arange(rows) % 3)
        del big
        source = ArrayStream(tmp_path / "X.npy", tmp_path / "T.npy", block_rows=8000)
        fit_stream(network(), source, epochs=1, batch_size=1000)
        tracemalloc.start()
        fit_stream(network(), source, epochs=1, batch_size=1000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    block = 8000 * (6 * 4 + 8 + 8)
    assert peaks[1] < 1.2 * peaks[0] and peaks[1] < 6 * block + 1_000_000


def test_a_stop_among_rows_without_weight_is_no_error() -> None:
    class Stop(Callback):
        def on_chunk_end(self, epoch: int, samples: int) -> bool:
            return True

    blocks = [(X, T, 0 * W), (X, T, W)]
    history = fit_stream(network(), blocks, epochs=2, shuffle=False, callbacks=[Stop()])
    assert history["loss"] == [0.0]


@pytest.mark.parametrize("fails", [False, True])
def test_a_source_is_read_without_a_thread_where_none_can_be_started(
        fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the end of the program."""
    closed = list[bool]()

    class Parts:
        n_rows = len(X)

        def blocks(self, epoch: int, seed: int, shuffle: bool) -> Iterator[Any]:
            try:
                yield X[:60], T[:60]
                if fails and epoch:
                    raise OSError("gone")
                yield X[60:], T[60:]
            finally:
                closed.append(True)

    def refused(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    one, other = network(), network()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        if fails:
            with pytest.raises(OSError, match="gone"):
                fit_stream(one, Parts(), epochs=2, n_threads=1)
            assert len(closed) >= 2
            return
        fit_stream(one, Parts(), epochs=2, n_threads=1)
    fit_stream(other, Parts(), epochs=2)
    assert (one.params == other.params).all()


def test_a_loss_that_is_not_finite_is_told_where_it_was_asked() -> None:
    with pytest.warns(RuntimeWarning, match="loss is .* in epoch") as told:
        fit_stream(Network([Dense(6, 3)], "mse"), [(X, np.eye(3)[T])], epochs=5,
                   optimizer=fastbp.SGD(1e20))
    assert len(told) == 1 and told[0].filename == __file__


@pytest.mark.parametrize("kinds", [("f4", "i8", "f4"), ("f8", "i4", "f8"), (">f4", "u8", "f2")])
def test_a_source_may_fill_the_same_arrays_again(kinds: tuple[str, str, str]) -> None:
    """Also with what is no label before it is asked for the next block."""
    class Refilled:
        n_rows = len(X)

        def blocks(self, epoch: int, seed: int, shuffle: bool) -> Iterator[Any]:
            rows, labels, weights = (np.empty(shape, kind) for shape, kind in
                                     zip(((100, 6), 100, 100), kinds, strict=True))
            for at in range(0, len(X), 100):
                rows[:], labels[:] = X[at:at + 100], T[at:at + 100]
                weights[:] = W[at:at + 100]
                yield rows, labels, weights
                rows[:], labels[:], weights[:] = np.nan, 10**9, -1

    one, other = network(), network()
    fit_stream(one, Refilled(), epochs=3, shuffle=False)
    fit_stream(other, cut([100, 200, 300, 400], X, T, W.astype(kinds[2])), epochs=3,
               shuffle=False)
    np.testing.assert_array_equal(one.params, other.params)


@pytest.mark.parametrize("fresh", [True, False])
def test_blocks_are_copied_unless_nothing_else_has_them(fresh: bool) -> None:
    class Kept(Lies):
        seen = list[Any]()

        def blocks(self, *args: Any) -> Iterator[Any]:
            for block in super().blocks(*args):
                self.seen.append(block)
                yield block

    class Looks(Callback):
        shared: bool

        def on_chunk_end(self, epoch: int, samples: int) -> None:
            self.shared = any(a is b for block in Kept.seen
                              for a, b in zip(block, (self.run.X, self.run.T), strict=True))

    source, hook = Kept(500), Looks()
    Kept.fresh = fresh
    fit_stream(network(), source, epochs=1, batch_size=100, callbacks=[hook])
    assert hook.shared == fresh
    derived = type("Derived", (Kept,), {"blocks": lambda self, *a: Kept.blocks(self, *a)})
    fit_stream(network(), derived(500), epochs=1, batch_size=100, callbacks=[hook])
    assert not hook.shared


class Blocked:
    """Gives 40 rows of 60, and then nothing until it is set free."""

    n_rows = 60

    def __init__(self) -> None:
        self.asked, self.free = threading.Event(), threading.Event()
        self.now, self.readers = 0, list[int]()

    def blocks(self, epoch: int, seed: int, shuffle: bool) -> Iterator[Any]:
        self.now += 1
        self.readers.append(self.now)
        try:
            yield X[:40], T[:40]
            self.asked.set()
            assert self.free.wait(60)
            yield X[40:60], T[40:60]
        finally:
            self.now -= 1


class StopWhenAsked(Callback):
    """Stops once the source blocks."""

    def __init__(self, source: Blocked) -> None:
        self.asked = source.asked

    def on_chunk_end(self, epoch: int, samples: int) -> bool:
        return self.asked.wait(60)


def test_a_source_that_blocks_is_not_waited_for_after_a_stop() -> None:
    source = Blocked()
    fit_stream(network(), source, epochs=1, batch_size=20, callbacks=[StopWhenAsked(source)])
    assert not source.free.is_set() and not no_blocks_thread()
    before = len(streaming._late)
    fit_stream(network(), [(X, T)], epochs=1)  # of another source: does not wait
    assert not no_blocks_thread() and len(streaming._late) == before > 0
    timer = threading.Timer(0.2, source.free.set)
    timer.start()
    fit_stream(network(), source, epochs=1, batch_size=20)
    assert source.readers == [1, 1, 1, 1]  # one at a time: first block, all, the same again
    assert all(one is not source for one in streaming._late.values())
    timer.join()


def test_an_interrupt_amid_the_wait_for_a_source_loses_nothing(
        monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        source.free.set()
        raise KeyboardInterrupt

    source, net = Blocked(), network()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Ahead, "close", interrupted)
        fit_stream(net, source, epochs=1, batch_size=20, average=0.5, callbacks=[StopAt(1)])
    run = net.last_run
    assert run is not None and run.whole is False and not len(run.X)
    assert (net.params == run.average).all() and (net.params != run.raw).any()
    fit_stream(net, source, epochs=1, batch_size=20)  # ends the thread, which was not told to
    assert no_blocks_thread()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer on this system")
def test_a_source_whose_wait_is_interrupted_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupt(StopWhenAsked):
        def on_last_step(self) -> None:
            signal.setitimer(signal.ITIMER_REAL, 0.2)

    source = Blocked()
    monkeypatch.setattr(streaming, "_PATIENCE", 60)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit_stream(network(), source, epochs=1, batch_size=20, callbacks=[Interrupt(source)])
    finally:
        signal.signal(signal.SIGALRM, before)
    assert any(one is source for one in streaming._late.values())
    timer = threading.Timer(0.2, source.free.set)
    timer.start()
    fit_stream(network(), source, epochs=1, batch_size=20)
    assert source.readers == [1, 1, 1, 1]
    timer.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_waits_for_no_thread_of_its_parent() -> None:
    out = run("""
import os, signal, warnings
from fastbp import fit_stream, streaming
from tests.test_streaming import Blocked, StopWhenAsked, network
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of any fork with threads
source = Blocked()
fit_stream(network(), source, epochs=1, batch_size=20, callbacks=[StopWhenAsked(source)])
late = [one is source for one in streaming._late.values()]
child = os.fork()
if child == 0:
    signal.alarm(60)  # ends what waits for ever
    streaming._await(source)
    os._exit(7)
print(late, os.WEXITSTATUS(os.waitpid(child, 0)[1]))
source.free.set()
streaming._await(source)
""")
    assert out.split() == ["[True]", "7"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_late_source_is_let_go_when_its_thread_ends(fails: bool) -> None:
    class Fails(Blocked):
        def blocks(self, *args: Any) -> Iterator[Any]:
            yield from super().blocks(*args)
            assert not fails

    source, others = Fails(), set(threading.enumerate())
    fit_stream(network(), source, epochs=1, batch_size=20, callbacks=[StopWhenAsked(source)])
    free, kept = source.free, weakref.ref(source)
    del source
    assert kept() is not None
    gc.disable()
    try:
        free.set()
        for thread in set(threading.enumerate()) - others:
            thread.join(60)
        assert kept() is None
    finally:
        gc.enable()
