"""Schedules: worked numbers, torch.optim.lr_scheduler, what a run makes of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.run import Run
from fastbp.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    Function,
    InverseScaling,
    OneCycle,
    Schedule,
    Step,
    Warmup,
)
from fastbp.schedules.base import rates_of

from .builders import data, network

HALF = 0.5 * (1 + math.cos(math.pi / 4))  # a quarter of the way down a cosine

#: Every schedule: (schedule, positions, their rates) in a run of 20 epochs.
CASES: dict[str, list[tuple[Schedule, list[float], list[float]]]] = {
    "Constant": [(Constant(0.3), [0, 7, 19.9], [0.3, 0.3, 0.3])],
    "Step": [(Step(1.0), [0, 9.99, 10, 19.99], [1, 1, 0.1, 0.1]),
             (Step(2.0, 0.5, 0.1), [0.1 * k for k in range(5)], [2, 1, 0.5, 0.25, 0.125]),
             (Step(2.0, 0.5, 0.1), [0.3, 0.6], [2 / 2**3, 2 / 2**6]),  # 0.3 / 0.1 is below 3
             (Step(2.0, 1.0), [0, 20], [2, 2])],
    "Exponential": [(Exponential(2.0, 0.25), [0, 0.5, 1, 2], [2, 1, 0.5, 0.125]),
                    (Exponential(2.0, 1.0), [0, 3], [2, 2])],
    "InverseScaling": [(InverseScaling(1.0), [0, 3, 8], [1, 0.5, 1 / 3]),
                       (InverseScaling(4.0, 2), [1, 3], [1, 0.25])],
    "Cosine": [(Cosine(1.0), [0, 5, 10, 20, 30], [1, HALF, 0.5, 0, 0]),
               (Cosine(3.0, 1.0, 4), [0, 1, 2, 4, 20], [3, 1 + 2 * HALF, 2, 1, 1])],
    "CosineRestarts": [
        (CosineRestarts(1.0, 4), [0, 1, 2, 4, 6, 8, 12, 16], [1, HALF, 0.5, 1, HALF, 0.5, 1,
                                                              HALF]),
        (CosineRestarts(3.0, 4, 1, 1.0), [0, 2, 4, 5, 10], [3, 2, 3, 1 + 2 * HALF, 2]),
        (CosineRestarts(1.0, 1, 3), [13, 40, 121], [1, 1, 1]),  # log(3^5) / log(3) is below 5
        (CosineRestarts(1.0, 0.1, 1), [0.3, 0.6], [1, 1])],
    "OneCycle": [(OneCycle(1.0), [0, 3, 6, 13, 20],
                  [0.04, 0.52, 1, (1 + 4e-6) / 2, 4e-6]),
                 (OneCycle(2.0, 0.5, 4, 10), [0, 10, 20], [0.5, 2, 0.05])],
    "Warmup": [(Warmup(0.5), [0, 1, 4, 5, 19], [0, 0.1, 0.4, 0.5, 0.5]),
               (Warmup(Cosine(1.0), 4, 0.5), [0, 2, 4, 8, 12, 20], [0.5, 0.75, 1, HALF, 0.5, 0]),
               (Warmup(Step(1.0), 2), [1, 11.9, 12], [0.5, 1, 0.1]),
               (Warmup(Cosine(1.0), 40), [0, 20], [0, 0.5]),
               (Warmup(Cosine(1.0), 20), [10, 20, 21], [0.5, 1, 0]),
               (Warmup(0.5, start=1.0), [0, 9], [0.5, 0.5])],
    "Function": [(Function(lambda e: 1 / (1 + e)), [0, 1, 3], [1, 0.5, 0.25])],
}
ALL = [case for cases in CASES.values() for case in cases]


def test_only_a_constant_rate_is_constant() -> None:
    for name, cases in CASES.items():
        assert isinstance(cases[0][0], Constant) is (name == "Constant")


def test_every_schedule_has_cases() -> None:
    assert set(CASES) == set(SCHEDULES)
    for name, cases in CASES.items():
        assert all(type(case[0]) is SCHEDULES[name] for case in cases)
        assert getattr(fastbp.schedules, name) is SCHEDULES[name]


@pytest.mark.parametrize(("schedule", "epoch", "expected"), ALL, ids=[repr(c[0]) for c in ALL])
def test_worked_numbers(schedule: Schedule, epoch: list[float], expected: list[float]) -> None:
    found = schedule.rates(np.array(epoch, np.float64), 20)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    for e, rate in zip(epoch, found, strict=True):  # one at a time, the same bits
        assert schedule.rates(np.array([float(e)]), 20)[0] == rate


@pytest.mark.parametrize("schedule", [c[0] for c in ALL], ids=repr)
def test_repr_config_equality(schedule: Schedule) -> None:
    twin = type(schedule)(**schedule.config())
    assert twin == schedule and hash(twin) == hash(schedule) and twin is not schedule
    assert schedule != Constant(123.0) and schedule != 0.1
    if not isinstance(schedule, Function):
        assert eval(repr(schedule), dict(SCHEDULES)) == schedule  # noqa: S307
    rates = schedule.rates(np.linspace(0, 20, 1001), 20)
    assert np.isfinite(rates).all() and (rates >= 0).all()


def test_different_settings_differ() -> None:
    assert Cosine(0.1) != Cosine(0.2) and Cosine(0.1) != Constant(0.1)
    assert Warmup(Cosine(0.1)) != Warmup(Cosine(0.2)) and Warmup(0.1) == Warmup(0.1)


def torch_rates(make: Any, rate: float, steps: int) -> np.ndarray:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    schedule, rates = make(torch.optim.lr_scheduler)(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return np.array(rates)


TORCH: dict[str, tuple[Schedule, Any]] = {
    "StepLR": (Step(0.3, 0.5, 7), lambda s: lambda o: s.StepLR(o, 7, 0.5)),
    "ExponentialLR": (Exponential(0.3, 0.9), lambda s: lambda o: s.ExponentialLR(o, 0.9)),
    "CosineAnnealingLR": (Cosine(0.3, 0.01),
                          lambda s: lambda o: s.CosineAnnealingLR(o, 40, 0.01)),
    "CosineAnnealingWarmRestarts": (
        CosineRestarts(0.3, 3, 2, 0.01),
        lambda s: lambda o: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.01)),
    "LinearLR": (Warmup(0.3, 8, 0.25), lambda s: lambda o: s.LinearLR(o, 0.25, 1.0, 8)),
    "LambdaLR": (InverseScaling(0.3, 0.7),
                 lambda s: lambda o: s.LambdaLR(o, lambda e: (1 + e) ** -0.7)),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch_has_the_same_rates_at_whole_epochs(name: str) -> None:
    schedule, make = TORCH[name]
    np.testing.assert_allclose(schedule.rates(np.arange(40.0), 40), torch_rates(make, 0.3, 40),
                               rtol=1e-12)


def test_one_cycle_is_torch_up_to_its_shorter_step() -> None:
    expected = torch_rates(lambda s: lambda o: s.OneCycleLR(o, 0.3, 2000, cycle_momentum=False),
                           0.3, 2000)
    found = OneCycle(0.3).rates(np.arange(2000) / 100, 20)
    np.testing.assert_allclose(found, expected, atol=0.3 * 3 / 600)
    # On the way down n steps of ours are one fewer of theirs: the same curve.
    down = np.linspace(599, 1999, 1401)
    np.testing.assert_allclose(
        OneCycle(0.3).rates(6 + (down - 599) / 1400 * 14, 20)[1:], expected[600:], rtol=1e-9)


@pytest.mark.parametrize(("make", "error", "name"), [
    (lambda: Constant(0), ValueError, "learning_rate"),
    (lambda: Constant("0.1"), TypeError, "learning_rate"),
    (lambda: Step(0.1, 0.0), ValueError, "drop"), (lambda: Step(0.1, 1.5), ValueError, "drop"),
    (lambda: Step(0.1, every=0), ValueError, "every"),
    (lambda: Exponential(0.1, 0), ValueError, "decay"),
    (lambda: Exponential(0.1, None), TypeError, "decay"),
    (lambda: InverseScaling(0.1, 0), ValueError, "power"),
    (lambda: Cosine(0.1, 0.2), ValueError, "minimum"),
    (lambda: Cosine(0.1, epochs=0), ValueError, "epochs"),
    (lambda: CosineRestarts(0.1, 0), ValueError, "period"),
    (lambda: CosineRestarts(0.1, factor=0.5), ValueError, "factor"),
    (lambda: CosineRestarts(0.1, minimum=-1), ValueError, "minimum"),
    (lambda: Warmup("slow"), TypeError, "schedule"), (lambda: Warmup(-1), ValueError, "schedule"),
    (lambda: Warmup(0.1, 0), ValueError, "epochs"),
    (lambda: Warmup(0.1, start=1.1), ValueError, "start"),
    (lambda: OneCycle(0), ValueError, "max_learning_rate"),
    (lambda: OneCycle(0.1, 1.0), ValueError, "warm"),
    (lambda: OneCycle(0.1, start_factor=0.5), ValueError, "start_factor"),
    (lambda: OneCycle(0.1, final_factor=0), ValueError, "final_factor"),
    (lambda: Function(0.1), TypeError, "function"),
    (lambda: fastbp.SGD("fast"), TypeError, "learning_rate"),
    (lambda: fastbp.SGD(Cosine), TypeError, "learning_rate")])
def test_bad_arguments(make: Any, error: type[Exception], name: str) -> None:
    with pytest.raises(error, match=rf"^{name} must .*got "):
        make()


def test_bad_rates_are_refused_in_training() -> None:
    X, T = data("tanh-l2", 20)

    class Short(Schedule):
        def rates(self, epoch: Any, epochs: float) -> Any:
            return np.ones(len(epoch) + 1)

    for schedule, pattern in [(Function(lambda e: -1.0), r"function\(0.0\) must be in .*got -1"),
                              (Function(lambda e: math.nan), "got nan"),
                              (Short(), r"rates of shape \(1,\), got shape \(2,\)")]:
        net = network("tanh-l2")
        before = net.params.copy()
        with pytest.raises(ValueError, match=pattern):
            net.fit(X, T, optimizer=fastbp.SGD(schedule))
        np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize(("give", "error", "message"), [
    (lambda e: e * math.nan, ValueError, r"rates in \[0, inf\), got nan at epoch 0"),
    (lambda e: e + math.inf, ValueError, r"rates in \[0, inf\), got inf at epoch 0"),
    (lambda e: 0.1 - np.ones(len(e)), ValueError, r"rates in \[0, inf\), got -0.9 at epoch 0"),
    (lambda e: np.ones((len(e), 1)), ValueError, r"rates of shape \(1,\), got shape \(1, 1\)"),
    (lambda e: None, TypeError, "hold real numbers, got None"),
    (lambda e: ["low"] * len(e), TypeError, "hold real numbers"),
    (lambda e: e + 0.1j, TypeError, "hold real numbers, got dtype complex128")])
@pytest.mark.parametrize("compiled", [True, False])
def test_rates_of_a_schedule_of_the_users_own(give: Any, error: type[Exception], message: str,
                                              compiled: bool) -> None:
    X, T = data("tanh-l2", 20)

    class Own(Schedule):
        def rates(self, epoch: Any, epochs: float) -> Any:
            return give(epoch)

    class Python(fastbp.SGD):
        def update(self, *args: Any) -> None:
            raise AssertionError

    for schedule in (Own(), Warmup(Own(), 2)):  # named itself, also within another
        net = network("tanh-l2")
        before = net.params.copy()
        with pytest.raises(error, match=rf"^(rates of )?Own\(\) must .*{message}"):
            net.fit(X, T, optimizer=(fastbp.SGD if compiled else Python)(schedule))
        np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize("compiled", [True, False])
def test_rates_that_go_wrong_later_end_the_run_where_they_do(compiled: bool) -> None:
    X, T = data("tanh-l2", 20)

    class Own(Schedule):
        def rates(self, epoch: Any, epochs: float) -> Any:
            return np.where(epoch < 2, 0.1, math.nan)

    net = network("tanh-l2")
    run = Run(net, X, T, 10, fastbp.SGD(Own()), True, epochs=4)
    run.compiled = compiled
    run.advance(2, 1)
    run.advance(2, 1)
    before, grads = net.params.copy(), net.grads.copy()
    with pytest.raises(ValueError, match=r"^Own\(\) must give rates .*got nan at epoch 2"):
        run.advance(1, 1)
    np.testing.assert_array_equal(net.params, before)
    np.testing.assert_array_equal(net.grads, grads)
    net.fit(X, T, optimizer=fastbp.SGD(Own()), epochs=2)


def test_what_follows_a_rise_is_told_how_much_is_left() -> None:
    told: list[float] = []

    class Own(Schedule):
        def rates(self, epoch: Any, epochs: float) -> Any:
            told.append(epochs)
            return np.ones(len(epoch))

    for length in (5, 40):
        Warmup(Own(), length).rates(np.zeros(1), 20)
    assert told == [15, 0]


def test_the_first_rate_that_cannot_be_is_named() -> None:
    class Own(Schedule):
        def rates(self, epoch: Any, epochs: float) -> Any:
            return np.array([0.1, np.inf, -1.0, np.nan])

    with pytest.raises(ValueError, match="got inf at epoch 1$"):
        rates_of(Own(), np.arange(4.0), 4)


def test_optimizers_give_rates_for_numbers_and_schedules() -> None:
    epoch = np.arange(4) / 2
    np.testing.assert_array_equal(fastbp.SGD(0.1).rates(epoch, 2), [0.1] * 4)
    optimizer = fastbp.Adam(schedule := Cosine(0.1))
    np.testing.assert_array_equal(optimizer.rates(epoch, 2), schedule.rates(epoch, 2))
    assert optimizer.learning_rate is schedule
    assert "learning_rate=Cosine(learning_rate=0.1" in repr(optimizer)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_run_takes_the_rates_of_its_positions(compiled: bool) -> None:
    """Asked for positions step / steps_per_epoch of the run, in pieces of any size."""
    seen: list[tuple[list[float], float]] = []

    class Watched(Exponential):
        def rates(self, epoch: Any, epochs: float) -> Any:
            seen.append((epoch.tolist(), epochs))
            return super().rates(epoch, epochs)

    X, T = data("tanh-l2", 20)
    nets = [network("tanh-l2") for _ in range(2)]
    run = Run(nets[0], X, T, 8, fastbp.SGD(Watched(0.1, 0.5)), True, epochs=4)
    run.compiled = compiled
    for count in (1, 4, 7):
        run.advance(count, 1)
    np.testing.assert_allclose(np.concatenate([e for e, _ in seen]), np.arange(12) / 3)
    assert {epochs for _, epochs in seen} == {4}

    by_hand = Run(nets[1], X, T, 8, fastbp.SGD(0.1), True, epochs=4)
    by_hand.compiled = compiled
    for step in range(12):
        by_hand.optimizer = fastbp.SGD(0.1 * 0.5 ** (step / 3))
        by_hand.advance(1, 1)
    np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=1e-12, atol=1e-15)


def test_fit_tells_the_schedule_how_long_it_is() -> None:
    X, T = data("tanh-l2", 40)
    nets = [network("tanh-l2") for _ in range(2)]
    for net, schedule in zip(nets, (Cosine(0.1), Cosine(0.1, epochs=3)), strict=True):
        net.fit(X, T, epochs=3, batch_size=16, optimizer=fastbp.Adam(schedule))
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
    other = network("tanh-l2")
    other.fit(X, T, epochs=3, batch_size=16, optimizer=fastbp.Adam(0.1))
    assert (other.params != nets[0].params).any()
