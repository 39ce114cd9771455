"""partial_fit: what a call looks at anew, though it goes on with the run of the one before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import online
from fastbp._validation import _Checked
from fastbp.run import Run
from fastbp.threads import Threads

from .builders import classifier, clusters

X, T = clusters(120)
#: Another value of each setting of layers and losses that kernels depend on.
OTHERS: dict[str, Any] = {
    "negative_slope": 0.5, "alpha": 0.4, "momentum": 0.6, "rate": 0.7, "epsilon": 0.1,
    "approximate": "tanh", "quantile": 0.9, "gamma": 0.5, "delta": 0.1, "deviance": True,
    "label_smoothing": 0.4, "trainable": False}


def settings_of(kind: type) -> list[str]:
    return [name for base in kind.__mro__ for name, value in vars(base).items()
            if isinstance(value, _Checked)]


def step(net: fastbp.Network, way: str, **options: Any) -> None:
    """A step on all rows, with a run of its own if "anew"."""
    rows = T if net.loss_function.labels else np.eye(net.n_out)[T]
    options |= {"batch_size": len(X), "optimizer": RULE, "n_threads": 1}
    if way != "anew":
        net.partial_fit(X / 10, rows, **options)
    else:
        net.fit(X / 10, rows, epochs=1, warm_start=True, **options)


RULE = fastbp.SGD(0.01)
#: What losses of probabilities stand on.
ENDS = {fastbp.CrossEntropyLoss: "softmax", fastbp.BinaryCrossEntropyLoss: "sigmoid"}
PARTS = [(kind, name) for kinds in (fastbp.layers.LAYERS, fastbp.losses.LOSSES)
         for kind in kinds.values() for name in settings_of(kind)]


@pytest.mark.parametrize(("kind", "name"), [*PARTS, (fastbp.Dense, "trainable"),
                                            (fastbp.BatchNorm, "trainable")])
def test_each_setting_that_changes_between_calls_counts(kind: Any, name: str) -> None:
    nets = dict[str, fastbp.Network]()
    for way in ("again", "anew", "unchanged"):
        part = fastbp.Dense(8, 8) if kind is fastbp.Dense else kind()
        ends = {"softmax": fastbp.Softmax(), "sigmoid": fastbp.Sigmoid()}
        layered, end = isinstance(part, fastbp.Layer), ends.get(ENDS.get(kind, ""))
        chain = [fastbp.Dense(6, 8), *[part] * layered, fastbp.Dense(8, 4), *[end] * bool(end)]
        nets[way] = net = fastbp.Network(chain, "MSELoss" if layered else part, seed=1)
        for k in range(4):
            if k == 2 and way != "unchanged":
                setattr(part, name, OTHERS[name])
            run = net.last_run
            step(net, way)
            assert way == "anew" or k == 0 or net.last_run is run
    np.testing.assert_array_equal(nets["again"].params, nets["anew"].params)
    assert (nets["again"].params != nets["unchanged"].params).any()


def test_settings_beyond_the_dtype_are_refused_as_in_fit() -> None:
    net, rule = classifier(), fastbp.Adam()
    for _ in range(3):
        net.partial_fit(X, T, optimizer=rule)
    before, rule.epsilon = net.params.copy(), 1e-40
    with pytest.raises(ValueError, match="^epsilon must be in .* for float32, got 1e-40"):
        net.partial_fit(X, T, optimizer=rule)
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize(("part", "name"), [
    (fastbp.LayerNorm(), "epsilon"), (fastbp.ELU(), "alpha"), (fastbp.HuberLoss(), "delta")],
    ids=lambda value: str(value))
def test_constants_beyond_the_dtype_are_refused_as_in_fit(part: Any, name: str) -> None:
    layered = isinstance(part, fastbp.Layer)
    net = fastbp.Network([fastbp.Dense(6, 8), *[part] * layered, fastbp.Dense(8, 4)],
                         "MSELoss" if layered else part)
    for _ in range(3):
        step(net, "again")
    before, good = net.params.copy(), getattr(part, name)
    setattr(part, name, 1e-50)
    for way in ("again", "again", "anew"):
        with pytest.raises(ValueError, match=f"^{name} of .* for float32, got 1e-50"):
            step(net, way)
    np.testing.assert_array_equal(net.params, before)
    setattr(part, name, good)
    step(net, "again")
    assert (net.params != before).any()


def test_steps_of_another_size_begin_with_one_and_with_threads_of_their_own(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """The pace of small batches would make a call of large ones long."""
    counts, take, net = list[int](), Run.take, classifier()
    monkeypatch.setattr(Threads, "first_steps", lambda *_: 0)  # nothing is known of their pace
    net.partial_fit(X[:20], T[:20])
    run = net.last_run
    assert run is not None and run.given is not None
    small, run.chunk = run.given.threads, 1000

    def taken(run: Run, n_steps: int, n_threads: int) -> Any:
        counts.append(n_steps)
        return take(run, n_steps, n_threads)

    monkeypatch.setattr(Run, "take", taken)
    net.partial_fit(X, T)
    assert net.last_run is run and counts[0] == 1 and run.given.threads is not small


def test_a_schedule_begins_anew_with_each_warm_start() -> None:
    """In the steps, too, not in the history alone."""
    nets, options = [classifier() for _ in range(2)], {"shuffle": False, "warm_start": True}
    for net, rate in zip(nets, (fastbp.schedules.Step(0.1, 0.5, 1), 0.1), strict=True):
        for _ in range(3):  # one epoch each, all at the rate of the first
            net.fit(X, T, epochs=1, optimizer=fastbp.SGD(rate), **options)
    np.testing.assert_array_equal(nets[0].params, nets[1].params)


class Waxing(fastbp.LeakyReLU):
    """Its slope is in a list, of whose changes no attribute tells."""

    def __init__(self, slopes: list[float]) -> None:
        super().__init__()
        self.slopes = slopes

    def constants(self) -> tuple[float, float]:
        return self.slopes[0], 0.0


def test_users_layers_are_looked_at_in_each_call() -> None:
    nets = []
    for way in ("again", "anew", "unchanged"):
        slopes = [0.1]
        nets.append(fastbp.Network([fastbp.Dense(6, 8), Waxing(slopes), fastbp.Dense(8, 4)],
                                   "MSELoss", seed=1))
        for _ in range(2):
            step(nets[-1], way)
        slopes[0] = 0.1 if way == "unchanged" else 0.6
        step(nets[-1], way)
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
    assert (nets[0].params != nets[2].params).any()


def test_another_thread_goes_on_with_a_plan_of_its_own() -> None:
    """A plan has the workspace of one thread."""
    nets = [classifier() for _ in range(2)]
    with ThreadPoolExecutor(1) as pool:
        for net in nets:
            for k in range(4):
                call = partial(net.partial_fit, X, T, batch_size=120, n_threads=1)
                if net is nets[0] and k > 1:
                    pool.submit(call).result()
                else:
                    call()
    assert len(nets[0]._plans) == 2 and len(nets[1]._plans) == 1
    np.testing.assert_array_equal(nets[0].params, nets[1].params)


def test_a_frozen_network_is_refused_between_calls_and_goes_on_after() -> None:
    net = classifier()
    for _ in range(2):
        net.partial_fit(X, T)
    run, before, net.trainable = net.last_run, net.params.copy(), False
    with pytest.raises(ValueError, match="no layer with parameters is trainable"):
        net.partial_fit(X, T)
    np.testing.assert_array_equal(net.params, before)
    net.trainable = True
    net.partial_fit(X, T)
    assert net.last_run is run and (net.params != before).any()


def test_plans_follow_the_number_of_threads() -> None:
    threads: Any = SimpleNamespace(size=1)
    call, run, made = online._Call({}, threads), classifier(), list[int]()
    like: Any = SimpleNamespace(plan=lambda size: (made.append(size), run.plan(120, size))[1])
    plans = []
    for threads.size in (1, 1, 2, 2, 1):
        plans.append(call.plan(like))
    assert made == [1, 2, 1] and plans[0] is plans[1] and plans[2] is plans[3]


def test_another_precision_has_a_plan_of_its_own() -> None:
    net, numbers = classifier(), list[int]()
    for precision in ("highest", "highest", "medium", "medium"):
        net.matmul_precision = precision
        net.partial_fit(X, T, batch_size=120, n_threads=1)
        numbers.append(len(net._plans))
    assert numbers == [1, 1, 2, 2]


def test_threads_that_train_one_network_have_runs_of_their_own(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """One would otherwise replace the rows that the engine reads for the other."""
    net, step, seen = classifier(), online._step, list[Any]()

    def call(rows: int) -> None:
        net.partial_fit(X[:rows], T[:rows], batch_size=64, n_threads=1)

    for _ in range(3):
        call(20)
    first = net.last_run

    def amid(run: Run, told: Any) -> None:
        monkeypatch.setattr(online, "_step", step)
        other = Thread(target=call, args=[7])
        other.start()
        other.join()
        seen.extend((run, len(run.X), net.last_run))
        step(run, told)

    monkeypatch.setattr(online, "_step", amid)
    call(20)
    assert seen[:2] == [first, 20] and seen[2] is not first
    assert seen[2].n_rows == 7 and first is not None and first.n_rows == 20


def test_calls_of_several_threads_end_well() -> None:
    net, wrong = classifier(), list[BaseException]()

    def work(rows: int) -> None:
        try:
            for _ in range(400):
                net.partial_fit(X[:rows], T[:rows], batch_size=64, n_threads=1)
        except BaseException as error:
            wrong.append(error)

    workers = [Thread(target=work, args=[rows]) for rows in (3, 60, 100)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert not wrong and np.isfinite(net.params).all()
