"""Teams of threads: who starts, who is waited for, who takes which share."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from threading import BrokenBarrierError, Event, Thread
from typing import Any

import numpy as np
import pytest

from fastbp._jit import DISABLED, kernel
from fastbp.kernels import launch, station, team
from fastbp.kernels.atomic import breathe, now
from fastbp.kernels.team import assemble, dismiss

from .builders import classifier, clusters
from .programs import run

compiled = pytest.mark.skipif(DISABLED, reason="plain Python has no teams")


@compiled
@pytest.mark.parametrize("size", [2, 3, 8])
def test_more_threads_than_cores_make_way_for_each_other(
        size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.machine import meet

    monkeypatch.setattr(launch, "_PATIENCE", 60.0)
    assert launch.launch(meet, size, math.inf, 20)


@compiled
@pytest.mark.usefixtures("teams")
def test_a_thread_that_comes_too_late_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where another process has its core. It finds that nothing is left to do."""
    monkeypatch.setattr(launch, "_pools", {})
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 2)
    X, T = clusters(200)
    free, nets = Event(), [classifier() for _ in range(3)]
    nets[0].fit(X, T, epochs=2, n_threads=1)
    pool, asked = launch._pool(1), list[Any]()
    late, submit = pool.submit(free.wait, 60), pool.submit
    monkeypatch.setattr(pool, "submit", lambda *args: asked.append(args) or submit(*args))
    try:
        nets[1].fit(X, T, epochs=2, n_threads=2)
        P = nets[1].predict(X)
        assert nets[1].last_run.plan(2).n_threads == 2  # type: ignore[union-attr]
        assert len(asked) == 1 and not late.done()
    finally:
        free.set()
    pool.submit(int).result()  # after the one that came too late
    nets[2].fit(X, T, epochs=2, n_threads=2)
    assert len(asked) > 2
    np.testing.assert_array_equal(P, nets[2].predict(X))
    for net in nets[1:]:
        np.testing.assert_array_equal(net.params, nets[0].params)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[launch._Pool]:
    """A pool of three threads, which end with the test."""
    monkeypatch.setattr(launch, "_pools", {})
    found = launch._pool(3)
    yield found
    found.shutdown()


def states(pool: launch._Pool) -> list[int]:
    """What the stations of a pool are in."""
    return [int(one[station.STATE]) & station.KIND for one in pool.stations]


def asleep(pool: launch._Pool) -> bool:
    """Whether all threads of a pool come to sleep."""
    for _ in range(6000):
        if states(pool) == [station.ASLEEP] * pool.size:
            return True
        time.sleep(0.01)
    return False


@compiled
def test_threads_wait_a_moment_for_the_next_call(pool: launch._Pool,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Then they sleep, and are sent again."""
    from bench.machine import meet

    sent, submit = list[Any](), pool.submit
    monkeypatch.setattr(launch, "_PATIENCE", 60.0)
    monkeypatch.setattr(launch, "_LINGER", 4 * 10**9)  # long, also beside other work
    monkeypatch.setattr(pool, "submit", lambda *args: sent.append(args) or submit(*args))
    assert launch.launch(meet, 3, math.inf, 20) and len(sent) == 2
    for size in (2, 3, 4, 3):  # the fourth thread comes in between
        assert launch.launch(meet, size, math.inf, 20)
    assert len(sent) == 3
    monkeypatch.setattr(launch, "_LINGER", 0)
    assert asleep(pool) and launch.launch(meet, 4, math.inf, 20) and len(sent) == 6
    assert asleep(pool)


@compiled
def test_callers_at_the_same_time_share_out_the_threads(pool: launch._Pool,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread is in one team; a caller without one works alone."""
    from bench.machine import exchange

    monkeypatch.setattr(launch, "_LINGER", 50_000)
    places = np.zeros((2, 128), np.float32)  # as many numbers as ``exchange`` reads at once
    launch.launch(exchange, 2, math.inf, 1, places, True)  # compiles it
    found, wrong = {True: 0, False: 0}, list[Any]()

    def call(seed: int) -> None:
        rng, own = np.random.default_rng(seed), places.copy()
        for i in range(400):
            own[:], n, work = -1, int(rng.integers(1, 5)), float(rng.choice([0, 1e12]))
            complete = bool(launch.launch(exchange, 2, work, n, own, True))
            expected = np.arange(n - 1, n + 127) if complete else np.full(128, -1)
            if not (own == expected).all():
                wrong.append((seed, i, complete, own.copy()))
            found[complete] += 1
            if rng.integers(0, 20) == 0:
                time.sleep(0.0003)

    callers = [Thread(target=call, args=[seed]) for seed in range(4)]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    assert not wrong and found[True] and asleep(pool)


@compiled
def test_a_thread_that_was_late_says_when_it_has_come(pool: launch._Pool,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.machine import meet

    monkeypatch.setattr(launch, "_LINGER", 0)
    free = Event()
    waiting = [pool.submit(free.wait, 60) for _ in range(3)]
    here = [one[station.HERE:station.HERE + 1] for one in pool.stations]
    try:
        assert not launch.launch(meet, 3, 0, 20)
        assert [int(one[0]) for one in here[:2]] == [station.LATE] * 2
        assert states(pool) == [station.READY, station.READY, station.ASLEEP]
        assert not launch.launch(meet, 3, 0, 20)  # one is free, too few
        assert states(pool) == [station.READY] * 3
    finally:
        free.set()
    assert all(one.result() for one in waiting) and asleep(pool)
    assert [int(one[0]) for one in here] == [station.CAME] * 3


@kernel
def linger(worker, size, sync, seconds, came):
    """Each thread notes that it came, the others after ``seconds``."""
    if assemble(worker, sync, size):
        until = now() + seconds * 1e9
        while worker > 0 and now() < until:
            breathe(True)
        came[worker] = 1
    dismiss(worker, sync)


@compiled
@pytest.mark.skipif(not launch.HAS_CLOCK, reason="no clock")
def test_a_call_returns_when_all_are_done(pool: launch._Pool,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_PATIENCE", 60.0)
    for size in (2, 4):
        came = np.zeros(size)
        launch.launch(linger, size, math.inf, 0.0, came)  # compiles it
        came[:] = 0
        launch.launch(linger, size, math.inf, 0.01, came)
        assert came.all()


@compiled
def test_a_thread_that_could_not_be_sent_is_sent_again(pool: launch._Pool,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.machine import meet

    def refused(*_: Any) -> None:
        raise RuntimeError("cannot schedule new futures")

    def interrupted(*args: Any) -> None:
        if late:
            sent.append(submit(*args))
        raise KeyboardInterrupt

    sent, submit = list[Any](), pool.submit
    with monkeypatch.context() as patched:
        patched.setattr(pool, "submit", refused)
        assert not launch.launch(meet, 4, math.inf, 20)
        assert states(pool) == [station.ASLEEP] * 3
        patched.setattr(pool, "submit", interrupted)
        for late in (False, True):
            with pytest.raises(KeyboardInterrupt):
                launch.launch(meet, 4, math.inf, 20)
            assert states(pool) == [station.ASLEEP] * 3 and len(sent) == late
        sent[0].result(60)
    monkeypatch.setattr(launch, "_PATIENCE", 60.0)
    assert launch.launch(meet, 4, math.inf, 20)


@compiled
def test_an_interrupt_waits_until_a_thread_is_sent(pool: launch._Pool,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Within ``submit`` it could leave a lock of the pool locked: the next call would wait."""
    from bench.machine import meet

    def interrupted(*args: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        sent.append(submit(*args))

    sent, submit = list[Any](), pool.submit
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(pool, "submit", interrupted)
            with pytest.raises(KeyboardInterrupt):
                launch.launch(meet, 2, math.inf, 20)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(sent) == 1 and not pool._callers
    sent[0].result(60)
    assert asleep(pool)


class Call:
    """A call of one other thread, without the thread."""

    def __init__(self, stations: Any, least: int = station.CAME) -> None:
        self.sync = np.zeros(station.CLAIMED + 2 * station.LINE, np.int64)
        self.sync[[station.SIZE, station.LEAST]] = 2, least
        self.sync[[station.STATIONS, station.N_STATIONS]] = stations.ctypes.data, len(stations)
        self.complete = station.invite(self.sync, 2, 0, 0)

    def end(self, done: int) -> None:
        """As the caller's function ends, with so many threads done."""
        self.sync[station._DONE] = done
        station.dismiss(0, self.sync)


@compiled
def test_nobody_calls_off_the_call_of_another() -> None:
    """Left in the same place, as soon as the thread had done the first."""
    stations = np.zeros((1, station.WORDS), np.int64)
    state = stations[0, station.STATE:station.STATE + 1]
    state[0], stations[0, station.HERE] = station.READY, station.CAME
    first = Call(stations)
    assert first.complete and state[0] & station.KIND == station._CALLED
    assert not Call(stations).complete  # it is taken
    state[0] += station.READY - station._CALLED  # as the thread leaves it
    second = Call(stations)
    first.end(1)
    assert second.complete and state[0] & station.KIND == station._CALLED
    second.end(0)
    assert state[0] & station.KIND == station.READY
    assert stations[0, station.HERE] == station.LATE


@compiled
def test_a_thread_that_is_about_to_leave_is_kept() -> None:
    """It has looked at the time, and leaves only if its station is as it was before."""
    one = np.zeros(station.WORDS, np.int64)
    assert not station.keep(one, 5) and one[station.STATE] == station.ASLEEP
    one[station.STATE] = before = station.READY
    assert station.keep(one, 5)
    assert one[station.STATE] != before and one[station.STATE] & station.KIND == station.READY
    assert station.keep(one, 3) and one[station.UNTIL] == 5
    station.attend(one, 0)  # that has passed
    assert one[station.STATE] & station.KIND == station.ASLEEP


@compiled
@pytest.mark.parametrize(("least", "called"), [(station.CAME, 1), (station.LATE, 0)])
def test_a_short_call_takes_threads_that_have_come(least: int, called: int) -> None:
    stations = np.zeros((3, station.WORDS), np.int64)
    stations[:, station.STATE] = station.READY
    stations[:, station.HERE] = station.LATE, station.SENT, station.CAME
    call = Call(stations, least)
    kinds = stations[:, station.STATE] & station.KIND
    assert call.complete and np.flatnonzero(kinds == station._CALLED).tolist() == [called]


def told(size: int, work: float) -> Any:
    """What the threads of a call find in ``sync``."""
    return launch.launch(lambda worker, n, sync: sync.copy(), size, work)


@compiled
@pytest.mark.skipif(not launch.HAS_CLOCK, reason="spins are counted")
def test_a_call_waits_as_long_as_one_thread_would_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch.time, "clock_gettime_ns", lambda clock: 1000)
    for work, seconds in (0, 0.3e-3), (2e7, 0.4e-3), (1e8, 2e-3), (1e12, 10e-3), (math.inf, 10e-3):
        assert told(2, work)[station.DEADLINE] == 1000 + int(seconds * 1e9)


@compiled
def test_threads_spin_long_only_where_each_has_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_core_of_caller", lambda: None)
    monkeypatch.setattr(launch, "cores", lambda: [3, 5])
    assert [told(size, 0)[station.POLITE] for size in (2, 3)] == [launch._OWN_CORE, 0]


def test_threads_leave_the_core_of_their_caller_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wakes them: Linux would wake one there, where it waits for a caller that spins."""
    here, places, told = 7, [3, 7, 9], dict[int, set[int]]()
    monkeypatch.setattr(launch, "_pools", {})
    monkeypatch.setattr(launch, "_core_of_caller", lambda: lambda: here)
    monkeypatch.setattr(launch, "cores", lambda: places)
    monkeypatch.setattr(launch, "DISABLED", False)
    monkeypatch.setattr(os, "sched_setaffinity", told.__setitem__, raising=False)

    def called() -> list[set[int]]:
        told.clear()
        assert launch.launch(lambda worker, size, sync: (worker, size), 3, 0) == (0, 3)
        return list(told.values())

    assert called() == [{3, 9}] * 2
    pool = launch._pool(2)
    assert sorted(told) == sorted(t.native_id for t in pool._threads)
    assert called() == []  # they are where they should be
    here = 3
    assert called() == [{7, 9}] * 2
    places = [3, 5]
    assert called() == [{5}] * 2
    here = 5
    with pool.calling():
        assert called() == []  # another call has them
    here, places = 3, [3]
    assert called() == [{3}] * 2  # no other core is allowed

    def refused(*args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refused)
    here, places = 3, [3, 5]
    assert called() == []  # only a matter of speed
    pool.shutdown()


def test_a_pool_that_cannot_be_had_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    submit, begun = launch._Pool.submit, list[Any]()

    def meagre(self: launch._Pool, work: Any) -> Any:
        if len(begun) == 2:
            raise RuntimeError("can't start new thread")
        begun.append(submit(self, work))
        return begun[-1]

    monkeypatch.setattr(launch._Pool, "submit", meagre)
    with pytest.raises(RuntimeError, match="start new thread"):
        launch._Pool(3)
    assert all(isinstance(one.exception(timeout=60), BrokenBarrierError) for one in begun)


@compiled
@pytest.mark.usefixtures("teams")
@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("work", ["start", "submit"])
def test_a_caller_works_alone_where_no_threads_can_be_had(
        work: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bits are the same; threads that could be had before have nothing to do."""
    monkeypatch.setattr(launch, "_pools", {})
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 3)
    X, T = clusters(200)
    nets = [classifier() for _ in range(2)]
    nets[0].fit(X, T, epochs=2, n_threads=1)
    of, had, taken = (Thread if work == "start" else launch._pool(2)), list[Any](), list[Any]()
    take = getattr(of, work)

    def meagre(*args: Any) -> Any:
        if len(had) == threads:
            had.clear()
            taken.append(args)
            raise RuntimeError("can't start new thread")
        had.append(take(*args))
        return had[-1]

    monkeypatch.setattr(of, work, meagre)
    nets[1].fit(X, T, epochs=2, n_threads=3)
    assert taken and nets[1].last_run.plan(3).n_threads == 3  # type: ignore[union-attr]
    np.testing.assert_array_equal(nets[1].params, nets[0].params)
    np.testing.assert_array_equal(nets[1].predict(X), nets[0].predict(X))


@compiled
def test_threads_and_handlers_that_outlive_the_script_train_on() -> None:
    """Python's pools of threads take nothing more once the main thread has ended."""
    found = run("""
import atexit, threading
import numpy as np
import fastbp
import numba.core.config
from fastbp import sharing
numba.core.config.NUMBA_NUM_THREADS = 2
sharing.PARALLEL_THRESHOLD = sharing.SETTLED_WORK = sharing.LAUNCH_WORK = 0
X = np.random.default_rng(0).normal(size=(200, 6))
def fit(n_threads, **options):
    net = fastbp.Network([fastbp.Dense(6, 9), fastbp.Tanh(), fastbp.Dense(9, 2)], "mse")
    net.fit(X, X[:, :2], epochs=4, n_threads=n_threads, **options)
    assert net.last_run.plan(n_threads).n_threads == n_threads
    return net.predict(X)
class Until(fastbp.Callback):
    def on_epoch_end(self, epoch, logs):
        threading.main_thread().join()
alone = fit(1)
def check(name, **options):
    print(name, np.array_equal(fit(2, **options), alone))
check("before")
threading.Thread(target=check, args=["thread"], kwargs={"callbacks": [Until()]}).start()
atexit.register(check, "handler")
""")
    assert found.split() == ["before", "True", "thread", "True", "handler", "True"]


@pytest.mark.parametrize("size", [1, 2, 3, 8, 11])
@pytest.mark.parametrize("shares", [0, 1, 2, 7, 24, 40])
def test_each_share_is_claimed_once_phase_after_phase(size: int, shares: int) -> None:
    """Whoever comes first; and all start the next phase from the same place."""
    rng, sync, base = np.random.default_rng(size + shares), np.zeros(24 + 8 * size, np.int64), 0
    for _ in range(3):
        found, turns, waiting = [], dict.fromkeys(range(size), np.int64(0)), list(range(size))
        while waiting:
            worker = int(rng.choice(waiting))
            share, turns[worker] = team.claim(worker, size, sync, base, shares, turns[worker])
            if share < shares:
                found.append(int(share))
            else:
                waiting.remove(worker)
        assert sorted(found) == list(range(shares))
        base += team.claims(shares, size)
        assert size == 1 or (sync[24::8] == base).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_amid_a_call_of_another_thread_leaves_no_lock_held() -> None:
    found = run("""
import os, time, warnings
from threading import Event, Thread
from fastbp.kernels import launch
held, done = Event(), Event()
def hold():
    with launch._lock:
        held.set()
        done.wait()
thread = Thread(target=hold)
thread.start()
held.wait()
warnings.simplefilter("ignore")  # of the threads, from Python 3.12 on
child = os.fork()
if child == 0:
    os._exit(40 + launch._pool(2).size)
done.set()
thread.join()
for _ in range(300):
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        break
    time.sleep(0.1)
else:
    os.kill(child, 9)
print(ended == child and os.waitstatus_to_exitcode(status))
""")
    assert found.split() == ["42"]
