"""Each optimizer against its formula in plain loops, and a hand-worked step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.optimizers import OPTIMIZERS, get
from fastbp.optimizers.base import BLOCK

from . import naive

CASES: dict[str, list[dict[str, Any]]] = {
    "SGD": [{}, {"learning_rate": 0.3}, {"momentum": 0.9}, {"momentum": 0.5, "nesterov": True}],
    "Adam": [{}, {"learning_rate": 0.1, "beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3},
             {"beta1": 0.0, "beta2": 0.0}],
}


def test_every_optimizer_has_cases_and_a_naive_twin() -> None:
    assert set(CASES) == set(naive.OPTIMIZERS) == set(OPTIMIZERS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "arguments"), [(k, a) for k, v in CASES.items() for a in v])
def test_twenty_steps_are_the_naive_loop(name: str, arguments: dict[str, Any], dtype: str) -> None:
    n = 37
    rng = np.random.default_rng(0)
    optimizer = OPTIMIZERS[name](**arguments)
    params = rng.normal(size=n).astype(dtype)
    slots = np.zeros((optimizer.n_slots, n), dtype)
    expected: list[float] = [float(p) for p in params]
    states: list[dict[str, float]] = [{} for _ in range(n)]
    for step in range(1, 21):
        grads = rng.normal(size=n).astype(dtype)
        optimizer.update(params, grads, slots, step, optimizer.learning_rate)
        expected = [naive.OPTIMIZERS[name](p, float(g), s, step, **arguments)
                    for p, g, s in zip(expected, grads, states, strict=True)]
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(params, expected, rtol=tolerance, atol=tolerance)


def test_hand_worked_steps() -> None:
    def one(optimizer: fastbp.Optimizer, steps: int) -> float:
        p, slots = np.array([1.0]), np.zeros((optimizer.n_slots, 1))
        for t in range(1, steps + 1):
            optimizer.update(p, np.array([2.0]), slots, t, optimizer.learning_rate)
        return float(p[0])

    assert one(fastbp.SGD(0.1), 1) == pytest.approx(0.8)
    assert one(fastbp.SGD(0.1, momentum=0.5), 2) == pytest.approx(1 - 0.1 * 2 - 0.1 * 3)
    assert one(fastbp.SGD(0.1, 0.5, True), 1) == pytest.approx(1 - 0.1 * (2 + 0.5 * 2))
    # Bias-corrected moments of a constant gradient are g and g^2: each step is lr * sign(g).
    assert one(fastbp.Adam(0.1), 3) == pytest.approx(0.7, abs=1e-7)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_longer_than_a_block(name: str) -> None:
    n = 2 * BLOCK + 5
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=(2, n))
    optimizer = OPTIMIZERS[name]()
    whole, pieces = start.copy(), start.copy()
    slots = np.zeros((optimizer.n_slots, n))
    optimizer.update(whole, grads, slots, 1, 0.1)
    for i in range(0, n, 1000):
        part = slice(i, i + 1000)
        optimizer.update(pieces[part], grads[part],
                         np.zeros((optimizer.n_slots, len(pieces[part]))), 1, 0.1)
    np.testing.assert_array_equal(whole, pieces)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_repr_and_names(name: str) -> None:
    optimizer = OPTIMIZERS[name]()
    twin = eval(repr(optimizer), {name: OPTIMIZERS[name]})  # noqa: S307
    assert twin.config() == optimizer.config()
    assert type(get(name.lower())) is type(optimizer) and get(optimizer) is optimizer


@pytest.mark.parametrize(("make", "error"), [
    (lambda: fastbp.SGD(0), ValueError), (lambda: fastbp.SGD(-1), ValueError),
    (lambda: fastbp.SGD(float("nan")), ValueError), (lambda: fastbp.SGD("fast"), TypeError),
    (lambda: fastbp.SGD(momentum=1.0), ValueError),
    (lambda: fastbp.SGD(momentum=-0.1), ValueError),
    (lambda: fastbp.SGD(nesterov=True), ValueError),
    (lambda: fastbp.SGD(momentum=0.5, nesterov=1), TypeError),
    (lambda: fastbp.Adam(beta1=1.0), ValueError), (lambda: fastbp.Adam(beta2=2), ValueError),
    (lambda: fastbp.Adam(epsilon=0), ValueError), (lambda: get("newton"), ValueError),
    (lambda: get(3), TypeError)])
def test_bad_arguments(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"got "):
        make()
