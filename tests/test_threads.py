"""The number of threads follows the times of the first calls, and no result follows it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import sharing, training
from fastbp import threads as module
from fastbp.plan import Plan
from fastbp.run import Run
from fastbp.threads import Threads, sizes

from .builders import classifier, clusters

#: Steps a second of a machine whose cores are far apart.
FAR = {1: 100.0, 2: 130.0, 4: 210.0, 8: 150.0}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sharing, "PARALLEL_THRESHOLD", 0)
    monkeypatch.setattr(module, "_kinds", {})
    monkeypatch.setattr(module, "_paces", {})
    monkeypatch.setattr(module, "_AGAIN", 1e9)
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 8)
    yield


def crew(batch: int = 32, most: int = 8, watched: bool = False, n: int = 100) -> Threads:
    """Threads of a run of so many rows."""
    X, T = clusters(n)
    net = classifier()
    run = Run(net, net.check_input(X), net.check_target(T), batch, fastbp.Adam(), True)
    run.watched = watched
    return Threads(run, most)


def work(threads: Threads, speed: dict[int, float], calls: int = 40) -> list[int]:
    """Sizes of so many calls of ten steps each, on a machine of this speed."""
    sizes = []
    for _ in range(calls):
        sizes.append(threads.size)
        threads.told(10, 10 / speed[threads.size], False)
    return sizes


@pytest.mark.parametrize(("speed", "best"), [
    (FAR, 4), ({1: 100, 2: 90, 4: 80, 8: 70}, 1), ({1: 100, 2: 102, 4: 180, 8: 184}, 4),
    ({1: 100, 2: 190, 4: 370, 8: 700}, 8)])
def test_as_many_as_pay(speed: dict[int, float], best: int) -> None:
    threads = crew()
    sizes = work(threads, speed)
    assert sizes[0] == 1 and {sizes.count(n) for n in {1, 2, 4, 8} - {best}} == {3}
    assert threads.size == best and sizes[-20:] == [best] * 20
    assert threads.call_seconds(9.0) == 9.0
    assert work(crew(), speed, 3) == [best] * 3
    assert crew(33).size == crew(most=4).size == crew(watched=True).size == 1


def test_calls_of_single_steps_are_tried_by_themselves() -> None:
    """In each of them the others wake up: what pays there says nothing of long calls."""
    (X, T), net = clusters(32), classifier()
    for _ in range(50):
        net.partial_fit(X, T, n_threads=2)
    assert net.last_run is not None and net.last_run.given is not None
    brief = net.last_run.given.threads
    assert [kind for kind in module._kinds.values() if kind.size] == [brief._kind]
    net.fit(X, T, epochs=1, n_threads=2)
    others = [kind for kind in module._kinds.values() if kind is not brief._kind]
    assert others and all(kind.times and not kind.size for kind in others)


def test_numbers_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ran beside the first trial may end: a wrong number does not stay."""
    monkeypatch.setattr(module, "_AGAIN", 1.0)
    monkeypatch.setattr(module, "_RARELY", 3.0)
    slow, fast = {1: 1000.0, 2: 900.0}, {1: 1000.0, 2: 1900.0}
    threads = crew(most=2)
    assert work(threads, slow, 99) == [1, 2] * 3 + [1] * 93  # 0.93 s since the trial
    other = crew(most=2)  # that time counts for the kind of step, not for the run
    sizes = work(other, fast, 50)
    first = sizes.index(2) - 1
    assert first in (7, 8) and sizes[first:] == [1, 2] * 3 + [2] * (50 - first - 6)
    assert crew(most=2).size == 2 and threads.size == 1
    assert work(threads, fast, 2) == [1, 2]
    sizes = work(other, fast, 6000)
    trials = [i for i, size in enumerate(sizes) if size == 1][::3]
    waits = np.diff(trials) * 10 / fast[2]
    np.testing.assert_allclose(waits, [2.0] + [3.0] * (len(waits) - 1), atol=0.05)
    assert len(waits) > 8


def test_numbers_are_tried_again_when_steps_become_slow() -> None:
    """Cores that were near each other may be far apart from one moment to the next."""
    near, far = {1: 1000.0, 2: 1700.0}, {1: 1000.0, 2: 400.0}
    threads = crew(most=2)
    assert work(threads, near, 20)[6:] == [2] * 14
    assert work(threads, {1: 1000.0, 2: 1350.0}, 20) == [2] * 20  # a little slower is no matter
    assert work(threads, far, 2) == [2, 2] and work(threads, near, 20) == [2] * 20
    assert work(threads, far, 29) == [2] * 3 + [1, 2] * 3 + [1] * 20
    assert work(threads, {1: 600.0, 2: 300.0}, 29) == [1] * 3 + [1, 2] * 3 + [1] * 20
    assert crew(most=2).size == 1


def test_what_stays_slow_is_no_reason_to_try_time_and_again() -> None:
    threads, slow = crew(most=2), {1: 100.0, 2: 90.0}
    work(threads, {1: 150.0, 2: 90.0}, 6)  # of a moment
    assert work(threads, slow, 60) == [1] * 3 + [1, 2] * 3 + [1] * 51


@pytest.mark.parametrize("most", [2, 16, 40, 64, 256])
def test_trials_end_on_machines_of_any_size(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", most)
    threads = crew(most=most)
    for _ in range(40):  # one step takes 4 ms on one thread
        seconds = threads.call_seconds(0.05)
        threads.told(int(seconds * threads.size / 0.004), seconds, False)
    assert threads.size == most == crew(most=most).size


def test_runs_too_short_for_a_trial_learn_together() -> None:
    seen = [n for _ in range(20) for n in work(crew(), FAR, 1)]
    assert seen[:12] == [1, 2, 4, 8] * 3 and set(seen[12:]) == {4}
    begun, ended = crew(40), crew(40)
    work(ended, FAR, 30)
    work(begun, FAR, 1)
    assert begun.size == 4 and begun.call_seconds(9.0) == 9.0


def test_the_length_of_a_watched_epoch_counts() -> None:
    work(crew(watched=True), FAR)
    assert crew(watched=True).size == 4
    assert crew(watched=True, n=200).size == crew(watched=False).size == 1


def test_streams_and_loops_in_python_try_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "whole", False)
    threads = crew()
    assert work(threads, FAR, 9) == [8] * 9
    assert threads.call_seconds(9.0) == 9.0 and not module._kinds


@pytest.mark.parametrize(("most", "tried"), [
    (2, [1, 2]), (6, [1, 3, 6]), (8, [1, 2, 4, 8]), (16, [1, 4, 16]), (128, [1, 2, 8, 32, 128])])
def test_few_numbers_are_tried(most: int, tried: list[int]) -> None:
    assert sizes(most) == tried


def test_an_odd_call_decides_nothing() -> None:
    """One that compiles or waits takes long, one of a few microseconds says little."""
    threads = crew(most=2)
    threads.told(1, 30.0, False)
    for _ in range(10):
        threads.told(1, 1e-6, False)
    work(threads, {1: 100.0, 2: 50.0}, 6)
    assert threads.size == 1 and threads.call_seconds(9.0) == 9.0


def test_a_call_without_a_step_says_nothing() -> None:
    threads, speed = crew(most=2), {1: 1000.0, 2: 500.0}
    for cut in (False, True):
        threads.told(0, 0.02, cut)
    assert threads.size == 1 and crew(most=2).first_steps(0.05) is None
    assert work(threads, speed, 9) == [1, 2] * 3 + [1] * 3
    for _ in range(9):
        threads.told(0, 1.0, False)
    assert work(threads, speed, 9) == [1] * 9


def test_calls_that_cannot_be_longer_count() -> None:
    threads = crew(most=2)
    assert threads.call_seconds(9.0) < 0.02
    for _ in range(12):
        threads.told(1, 1e-5 if threads.size == 2 else 1e-4, True)
    assert threads.size == 2 and threads.call_seconds(9.0) == 9.0


def test_a_short_call_that_wakes_threads_is_not_counted() -> None:
    """They wait for the next one, if that comes soon."""
    threads, before, tried = crew(most=2), 0, list[int]()
    while threads.call_seconds(9.0) < 9.0:
        size = threads.size
        threads.told(1, 1e-4 if size == 1 else 5e-5 if size == before else 2e-4, True)
        before = size
        tried.append(size)
    assert tried == [1, 1, 2, 2] * 3 and threads.size == 2


def test_large_steps_take_all_threads_and_small_ones_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SETTLED_WORK", 0)
    assert crew().size == 8
    monkeypatch.setattr(sharing, "PARALLEL_THRESHOLD", 1 << 60)
    threads = crew()
    assert threads.call_seconds(9.0) == 9.0
    assert classifier().plan(32, threads.size).n_threads == 1


@pytest.mark.parametrize("watched", [False, True])
def test_trials_change_no_bit(watched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    X, T = clusters(300)
    teams, nets = list[int](), [classifier() for _ in range(2)]
    engine = Run._engine

    def seen(self: Run, n_steps: int, plan: Plan) -> object:
        teams.append(plan.n_threads)
        return engine(self, n_steps, plan)

    monkeypatch.setattr(Run, "_engine", seen)
    monkeypatch.setattr(module, "_TRIAL_SECONDS", 1e-5)  # less than all takes on any machine
    hooks = [fastbp.StopOnNaN()] if watched else []
    for net, most in zip(nets, (1, 2), strict=True):
        net.fit(X, T, epochs=300, batch_size=17, n_threads=most, callbacks=hooks)
    assert set(teams) == {1, 2}
    np.testing.assert_array_equal(nets[0].params, nets[1].params)


def test_a_single_call_wakes_others_for_much_work_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SETTLED_WORK", 0)
    plan = classifier().plan(64, 8)
    monkeypatch.setattr(sharing, "LAUNCH_WORK", plan.work)
    assert (plan.team(64, 3), plan.team(63, 3), plan.team(64, 1)) == (8, 1, 1)
    monkeypatch.setattr(sharing, "LAUNCH_WORK", plan.work // 6)
    assert (plan.team(64, 1), plan.team(32, 1), plan.team(31, 1)) == (8, 8, 1)


def test_calls_of_a_team_give_the_bits_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    X, T = clusters(300)
    found = []
    for limit in (0, 1 << 60):
        monkeypatch.setattr(sharing, "LAUNCH_WORK", limit)
        net = classifier()
        found.append([net.predict(X), net.loss(X, T), *net.loss_and_grad(X, T)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_later_runs_begin_with_the_pace_of_earlier_ones() -> None:
    begun = crew(most=1)
    assert begun.first_steps(0.05) is None
    begun.told(4, 0.002, True)      # all there is to learn from yet
    assert crew(most=1).first_steps(0.05) == 50
    begun.told(100, 0.025, False)
    begun.told(1, 0.02, True)       # a last step, and its launch
    assert crew(most=1).first_steps(0.05) == 100
    assert crew(most=8).first_steps(0.05) is None and crew(33, 1).first_steps(0.05) is None
    work(crew(most=2), {1: 100.0, 2: 1e5}, 1)
    assert crew(most=2).first_steps(9.0) == 1  # of a trial, not of seconds
    net = classifier()
    X, T = clusters(100)
    net.fit(X, T, epochs=3, batch_size=20, optimizer=fastbp.Adam())
    assert module._paces and crew(20).first_steps(1e9) is not None
    net.fit(X, T, epochs=3, batch_size=20, optimizer=fastbp.Adam(), clip_norm=1.0)
    assert len(module._paces) == 4  # another rule, another pace


def test_few_paces_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 3)
    for batch in range(10, 20):
        crew(batch, 1).told(1, 0.001, False)
    assert len(module._paces) == 3 and crew(19, 1).first_steps(1.0) == 500


def test_few_kinds_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go. What a run has of one stays with it, in a trial and after."""
    monkeypatch.setattr(module, "_KEPT", 3)
    tried, known = crew(40, watched=True), crew(41, watched=True)
    work(known, FAR)
    work(tried, FAR, 5)
    for n in range(200, 210):  # epochs of other lengths
        work(crew(10, watched=True, n=10 * n), FAR, 1)
    assert len(module._kinds) == 3
    assert not {id(tried._kind), id(known._kind)} & set(map(id, module._kinds.values()))
    assert work(known, FAR, 9) == [4] * 9
    assert work(tried, FAR, 9) == [2, 4, 8, 1, 2, 4, 8, 4, 4]
    assert work(crew(10, watched=True, n=2090), FAR, 1) == [2]  # the newest is there
    assert crew(41, watched=True).size == 1


def test_entries_stay_until_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 10)
    for batch in range(10, 20):
        work(crew(batch), FAR, 1)
        assert len(module._kinds) == len(module._paces) == batch - 9
    work(crew(10), FAR, 1)
    assert len(module._kinds) == len(module._paces) == 10
    work(crew(20), FAR, 1)
    assert crew(11).first_steps(9.0) is not None and crew(10).first_steps(9.0) is None


def test_runs_of_several_threads_share_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 2)
    monkeypatch.setattr(module, "_AGAIN", 0.0)  # one trial after another
    runs = [[crew(batch) for batch in (10, 11, 12, 13)] for _ in range(4)]

    def train(own: list[Threads]) -> None:
        for _ in range(30):
            for threads, batch in zip(own, (10, 11, 12, 13), strict=True):
                work(threads, FAR, 5)
                crew(batch)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(train, runs))  # raises what one of them raises
    assert all(threads.size in FAR for own in runs for threads in own)


def test_calls_that_the_engine_ends_early_are_paced_by_the_steps_they_took() -> None:
    """As where scikit-learn's rule stops: the steps that were planned say nothing of the speed."""
    threads = crew(most=1)
    run: Any = SimpleNamespace(chunk=4000)
    for _ in range(5):
        threads.pace(run, 100, 0.001, 0.05)
        assert run.chunk == 5000
    threads.pace(run, 0, 0.001, 0.05)
    assert run.chunk == 1


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("tol", [0.0, 100.0])
def test_samples_a_second_are_those_of_steps_taken(
        tol: float, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setattr(training.time, "perf_counter", itertools.count().__next__)
    monkeypatch.setattr(Threads, "first_steps", lambda *_: 1000)
    X, T = clusters(100)
    model = fastbp.MLPClassifier((4,), max_iter=12, tol=tol, n_iter_no_change=2, batch_size=20)
    model.fit(X, T)
    assert model.n_iter_ == (4 if tol else 12)
    assert model.history_["samples_per_s"] == [100.0 * model.n_iter_] * model.n_iter_
