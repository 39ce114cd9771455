"""Elementary functions against mpmath, in units in the last place."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest

from fastbp._jit import kernel
from fastbp.kernels import erf, vmath

POINTS = 100_000
BOUND = 4.0


def _loop(name: str) -> Any:
    """A compiled loop, as the layers have it: vectorised code is what must be right."""
    source = f"def each_{name}(x, y):\n    for i in range(x.size):\n        y[i] = f(x[i])\n"
    scope: dict[str, Any] = {"f": getattr(erf if name == "erf" else vmath, name),
                             "__name__": f"{__name__}.{name}"}
    exec(source, scope)
    return kernel(scope[f"each_{name}"])


REFERENCE: dict[str, Callable[[Any], Any]] = {
    "exp": mpmath.exp, "erf": mpmath.erf, "log1p": mpmath.log1p, "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x))}


@cache
def points(dtype: str) -> np.ndarray:
    """Arguments over every scale at which something changes, dense where values live."""
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    far = 110 if dtype == "float32" else 760  # results run from subnormal to overflow
    tiny = -rng.uniform(0, -np.log10(float(info.smallest_normal)), POINTS // 8)
    x = np.concatenate([rng.uniform(-far, far, POINTS // 4), rng.normal(size=POINTS // 4),
                        rng.uniform(-20, 20, POINTS // 4), 10**tiny, -(10**tiny)])
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", REFERENCE)
def test_within_four_units_in_the_last_place(name: str, dtype: str) -> None:
    x = points(dtype)
    if name == "log1p":
        x = np.abs(x)
    y = np.empty_like(x)
    _loop(name)(x, y)
    high, low = np.empty(x.size), np.empty(x.size)  # the reference to 106 bits
    f = REFERENCE[name]
    with mpmath.workprec(140):
        for i, v in enumerate(x.tolist()):
            exact = f(mpmath.mpf(v))
            high[i] = float(exact)
            low[i] = float(exact - mpmath.mpf(high[i])) if np.isfinite(high[i]) else 0.0
    info = np.finfo(dtype)
    inside = np.abs(high) <= float(info.max)
    with np.errstate(over="ignore"):
        unit = np.spacing(np.abs(high).astype(dtype)).astype(np.float64)
        error = np.abs((y.astype(np.float64)[inside] - high[inside]) - low[inside]) / unit[inside]
    assert x.size >= POINTS and inside.sum() > POINTS // 2
    assert error.max() <= BOUND, (x[inside][error.argmax()], error.max())
    assert np.isposinf(y[~inside]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "limits"), [
    ("exp", {np.inf: np.inf, -np.inf: 0, 1e4: np.inf, -1e4: 0, 0: 1}),
    ("tanh", {np.inf: 1, -np.inf: -1, 1e4: 1, -1e4: -1, 0: 0}),
    ("sigmoid", {np.inf: 1, -np.inf: 0, 1e4: 1, -1e4: 0, 0: 0.5}),
    ("softplus", {np.inf: np.inf, -np.inf: 0, 1e4: 1e4, -1e4: 0}),
    ("erf", {np.inf: 1, -np.inf: -1, 1e4: 1, -1e4: -1, 6: 1, -6: -1, 0: 0}),
    ("log1p", {np.inf: np.inf, 0: 0})])
def test_limits(name: str, dtype: str, limits: dict[float, float]) -> None:
    x = np.array([*limits, np.nan], dtype)
    y = np.empty_like(x)
    _loop(name)(x, y)
    np.testing.assert_array_equal(y, np.array([*limits.values(), np.nan], dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tanh_and_erf_are_odd_and_sigmoid_sums_to_one(dtype: str) -> None:
    x = points(dtype)[:4096]
    plus, minus = np.empty_like(x), np.empty_like(x)
    for name in ("tanh", "erf"):
        loop = _loop(name)
        loop(x, plus)
        loop(-x, minus)
        np.testing.assert_array_equal(plus, -minus)
    zeros, found = np.array([0.0, -0.0], dtype), np.empty(2, dtype)
    _loop("tanh")(zeros, found)
    assert list(np.signbit(found)) == [False, True]
    loop = _loop("sigmoid")
    loop(x, plus)
    loop(-x, minus)
    np.testing.assert_allclose(plus + minus, 1, rtol=4 * np.finfo(dtype).eps)
