"""Ctrl-C amid what must not be left half done."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.ahead import Ahead
from fastbp.callbacks import Callback
from fastbp.cli.exits import Signals, Stopped
from fastbp.interrupts import held
from fastbp.job import do_all
from fastbp.optimizers.base import Optimizer
from fastbp.step_sizes import StepSizes

from .builders import classifier, clusters

pytestmark = pytest.mark.usefixtures("ctrl_c")


def test_the_first_waits_for_the_end_of_the_block() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held():
        signal.raise_signal(signal.SIGINT)
        done.append(1)
    assert done and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_does_not_wait() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held(), held():
        signal.raise_signal(signal.SIGINT)
        done.append(1)
        signal.raise_signal(signal.SIGINT)
        done.append(2)
    assert done == [1] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Ctrl-C and SIGTERM are written down, and raise nothing."""
    kinds, seen = {signal.SIGINT: "int", signal.SIGTERM: "term"}, list[str]()
    before = {kind: signal.signal(kind, lambda *_, name=name: seen.append(name))
              for kind, name in kinds.items()}
    yield seen
    for kind, handler in before.items():
        signal.signal(kind, handler)


def test_each_signal_is_handled_once_by_its_own_handler(told: list[str]) -> None:
    with held():
        signal.raise_signal(signal.SIGTERM)
        assert not told
    assert told == ["term"]
    with held():
        for kind in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            signal.raise_signal(kind)
        assert told == ["term", "term", "int", "int"]
    assert told == ["term", "term", "int", "int"]


def test_a_first_that_raises_loses_no_second(told: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), held():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert told == ["term"]


def test_the_second_does_not_wait_in_a_block_within() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held():
        signal.raise_signal(signal.SIGINT)
        with held():
            done.append(1)
            signal.raise_signal(signal.SIGINT)
            done.append(2)
    assert done == [1]


def test_who_asks_twice_to_stop_a_command_need_not_ask_again() -> None:
    signals, before = Signals(), signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signals.handle)
    with pytest.raises(Stopped), signals.gently(), held():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_signals_without_a_handler_of_pythons_are_left_alone() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with held():
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    signal.signal(signal.SIGTERM, before)


def test_errors_pass_and_threads_are_left_alone() -> None:
    with pytest.raises(ZeroDivisionError), held():
        raise ZeroDivisionError
    seen: list[Any] = []

    def work() -> None:
        with held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_of_several_errors_the_first_is_raised_unless_an_interrupt_follows() -> None:
    done, first, stop = list[int](), ValueError("first"), KeyboardInterrupt()

    def raising(error: BaseException) -> Any:
        def step() -> None:
            raise error

        return step

    last = raising(TypeError("last"))
    for steps, raised, notes in (
            ([raising(first), last], first, ["After that: TypeError('last')"]),
            ([raising(first), raising(stop), last], stop,
             ["Before that: ValueError('first')", "After that: TypeError('last')"])):
        with pytest.raises(type(raised)) as found:
            do_all([*steps, lambda: done.append(1)])
        assert found.value is raised
        assert getattr(raised, "__notes__", notes) == notes  # Python 3.11
    assert done == [1, 1]
    do_all([last], first)  # which the caller raises
    with pytest.raises(KeyboardInterrupt):
        do_all([raising(KeyboardInterrupt())], first)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_step_in_python_is_whole(average: float, tmp_path: Path) -> None:
    """A textbook step advances cursor, parameters and state one after the other."""
    X, T = clusters(64)
    path = tmp_path / "run"

    class Plain(Optimizer):
        stop = 0

        def update(self, params: Any, grads: Any, slots: Any, step: int, rate: float) -> None:
            if step == self.stop:
                signal.raise_signal(signal.SIGINT)
            params -= rate * grads

    def fit(stop: int = 0, **options: Any) -> fastbp.Network:
        net, plain = classifier(), Plain(0.1)
        plain.stop = stop
        net.fit(X, T, epochs=3, batch_size=16, optimizer=plain, average=average, **options)
        return net

    with pytest.raises(KeyboardInterrupt):
        fit(6, callbacks=[fastbp.Checkpoint(path)])
    whole, again = fit(), fit(resume=path)
    np.testing.assert_array_equal(again.params, whole.params)
    assert again.last_run is not None and again.last_run.cursor[0] == 12


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_parameters_and_their_average_change_places_as_a_whole(
        at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an epoch ends, and as a user's own code looks at the average between epochs."""
    from fastbp import run

    X, T = clusters(64)
    net, raw, changes = classifier(), [], [0]

    class Look(Callback):
        def on_chunk_end(self, epoch: int, samples: int) -> None:
            with self.run.averaged():
                assert net.params.sum() == self.run.average.sum()
            raw.append(net.params.copy())

    @contextmanager
    def interrupted() -> Iterator[None]:
        with held():
            changes[0] += 1
            if changes[0] == at:
                signal.raise_signal(signal.SIGINT)
            yield

    monkeypatch.setattr(run, "held", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, T, epochs=9, batch_size=64, average=0.9, callbacks=[Look()])
    last = net.last_run
    assert last is not None and last.cursor[1] == 1 and changes[0] >= at
    if raw:
        np.testing.assert_array_equal(last.raw, raw[0])
    np.testing.assert_array_equal(net.params, last.average)
    assert (last.raw != last.average).any()


def test_sizes_of_steps_are_of_one_optimizer_wherever_they_were_interrupted() -> None:
    rules, left, line = (fastbp.Adam(0.01), fastbp.Adam(0.02, beta1=0.5)), 0, 0

    def sizes(kept: StepSizes, rule: Any) -> list[Any]:
        made = kept.of(rule, 1, 1, 1.0, lambda n: np.full(n, rule.learning_rate))
        return [array.tolist() for array in made]

    def interrupt(frame: Any, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code is not StepSizes.of.__code__:
            return None
        left -= event == "line"
        if left < 0:
            raise KeyboardInterrupt
        return interrupt

    while left <= 0:  # until a call has had lines to spare
        for after in rules:
            kept, before, left = StepSizes(), sys.gettrace(), line
            sizes(kept, rules[0])
            sys.settrace(interrupt)
            with suppress(KeyboardInterrupt):
                sizes(kept, rules[1])
            sys.settrace(before)
            assert sizes(kept, after) == sizes(StepSizes(), after)
        line += 1
    assert line > 9


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer on this system")
def test_who_waits_for_an_item_can_be_interrupted() -> None:
    """At any moment; a Semaphore of Python's may be left so that nobody is woken again."""
    def items() -> Iterator[int]:
        n = 0
        while True:
            yield (n := n + 1)

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for moment in np.linspace(1e-4, 3e-3, 60):
            ahead = Ahead(items())  # type: ignore[arg-type]
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, float(moment))
                while True:
                    ahead.take()
            ahead.close()
            assert not ahead._thread.is_alive()
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer on this system")
def test_a_source_that_blocks_is_not_waited_for_after_an_interrupt() -> None:
    """Its thread closes it once it goes on."""
    free, told = threading.Event(), list[str]()
    X, T = clusters(40)

    class Blocking:
        n_rows = 40

        def blocks(self, epoch: int, seed: int, shuffle: bool) -> Iterator[Any]:
            try:
                yield X[:20], T[:20]
                if threading.current_thread() is not threading.main_thread():
                    signal.setitimer(signal.ITIMER_REAL, 0.2)
                    told.append("late" if not free.wait(30) else "freed")
                yield X[20:], T[20:]
            finally:
                told.append("closed")

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    net = classifier()
    try:
        with pytest.raises(KeyboardInterrupt):
            fastbp.fit_stream(net, Blocking(), epochs=3)
        assert told == ["closed"]  # of the first block, which is looked at
        free.set()
    finally:
        signal.signal(signal.SIGALRM, before)
    for thread in threading.enumerate():
        if thread.name == "fastbp-blocks":
            thread.join(30)
    assert told == ["closed", "freed", "closed"]
    pickle.dumps(net)
    fastbp.fit_stream(net, [(X, T)], epochs=1, warm_start=True)


def test_a_process_ends_whose_threads_were_interrupted_as_they_started() -> None:
    program = """
import signal, threading
from fastbp.kernels import launch
signal.signal(signal.SIGINT, signal.default_int_handler)
wait = threading.Barrier.wait
def interrupted(self, timeout=None):
    if threading.current_thread() is threading.main_thread():
        signal.raise_signal(signal.SIGINT)
    return wait(self, timeout)
threading.Barrier.wait = interrupted
try:
    launch._pool(1)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          timeout=60, check=True)
    assert done.stdout == "interrupted\n"
