"""Teams of threads: who starts, who is waited for, who takes which share."""

from __future__ import annotations

import math
import os
from threading import BrokenBarrierError, Event, Thread
from typing import Any

import numpy as np
import pytest

from fastbp._jit import DISABLED
from fastbp.kernels import team

from .builders import classifier, clusters
from .programs import run

compiled = pytest.mark.skipif(DISABLED, reason="plain Python has no teams")


@compiled
@pytest.mark.parametrize("size", [2, 3, 8])
def test_more_threads_than_cores_make_way_for_each_other(
        size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.machine import meet

    monkeypatch.setattr(team, "_PATIENCE", 60.0)
    assert team.launch(meet, size, math.inf, 20)


@compiled
@pytest.mark.usefixtures("teams")
def test_a_thread_that_comes_too_late_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where another process has its core. It finds that nothing is left to do."""
    monkeypatch.setattr(team, "_pools", {})
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 2)
    X, T = clusters(200)
    free, nets = Event(), [classifier() for _ in range(3)]
    nets[0].fit(X, T, epochs=2, n_threads=1)
    pool, asked = team._pool(1), list[Any]()
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


def told(size: int, work: float) -> Any:
    """What the threads of a call find in ``sync``."""
    return team.launch(lambda worker, n, sync: sync.copy(), size, work)


@compiled
@pytest.mark.skipif(not team._HAS_CLOCK, reason="spins are counted")
def test_a_call_waits_as_long_as_one_thread_would_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team.time, "clock_gettime_ns", lambda clock: 1000)
    for work, seconds in (0, 0.3e-3), (2e7, 0.4e-3), (1e8, 2e-3), (1e12, 10e-3), (math.inf, 10e-3):
        assert told(2, work)[team._DEADLINE] == 1000 + int(seconds * 1e9)


@compiled
def test_threads_spin_long_only_where_each_has_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "_core_of_caller", lambda: None)
    monkeypatch.setattr(team, "cores", lambda: [3, 5])
    assert [told(size, 0)[team._POLITE] for size in (2, 3)] == [team._OWN_CORE, 0]


def test_threads_leave_the_core_of_their_caller_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wakes them: Linux would wake one there, where it waits for a caller that spins."""
    here, places, told = 7, [3, 7, 9], dict[int, set[int]]()
    monkeypatch.setattr(team, "_pools", {})
    monkeypatch.setattr(team, "_core_of_caller", lambda: lambda: here)
    monkeypatch.setattr(team, "cores", lambda: places)
    monkeypatch.setattr(team, "DISABLED", False)
    monkeypatch.setattr(os, "sched_setaffinity", told.__setitem__, raising=False)

    def called() -> list[set[int]]:
        told.clear()
        assert team.launch(lambda worker, size, sync: (worker, size), 3, 0) == (0, 3)
        return list(told.values())

    assert called() == [{3, 9}] * 2
    pool = team._pool(2)
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
    submit, begun = team._Pool.submit, list[Any]()

    def meagre(self: team._Pool, work: Any) -> Any:
        if len(begun) == 2:
            raise RuntimeError("can't start new thread")
        begun.append(submit(self, work))
        return begun[-1]

    monkeypatch.setattr(team._Pool, "submit", meagre)
    with pytest.raises(RuntimeError, match="start new thread"):
        team._Pool(3)
    assert all(isinstance(one.exception(timeout=60), BrokenBarrierError) for one in begun)


@compiled
@pytest.mark.usefixtures("teams")
@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("work", ["start", "submit"])
def test_a_caller_works_alone_where_no_threads_can_be_had(
        work: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bits are the same; threads that could be had before have nothing to do."""
    monkeypatch.setattr(team, "_pools", {})
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 3)
    X, T = clusters(200)
    nets = [classifier() for _ in range(2)]
    nets[0].fit(X, T, epochs=2, n_threads=1)
    of, had, taken = (Thread if work == "start" else team._pool(2)), list[Any](), list[Any]()
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
from fastbp.kernels import team
held, done = Event(), Event()
def hold():
    with team._lock:
        held.set()
        done.wait()
thread = Thread(target=hold)
thread.start()
held.wait()
warnings.simplefilter("ignore")  # of the threads, from Python 3.12 on
child = os.fork()
if child == 0:
    os._exit(40 + team._pool(2).size)
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
