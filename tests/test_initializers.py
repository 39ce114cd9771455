"""Spread of initial weights, and that a seed fixes them."""

from __future__ import annotations

import numpy as np
import pytest

import fastbp
from fastbp.initializers import INITIALIZERS, get

M, N = 300, 200
#: Variance of each initializer's weights.
VARIANCE = {"glorot_uniform": 2 / (M + N), "glorot_normal": 2 / (M + N), "he_uniform": 2 / M,
            "he_normal": 2 / M, "zeros": 0.0}


def test_every_initializer_is_checked() -> None:
    assert set(VARIANCE) == set(INITIALIZERS)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_variance_bounds_and_seed(name: str) -> None:
    draw = INITIALIZERS[name]
    W = draw(np.random.default_rng(0), M, N)
    assert W.shape == (N, M)
    assert W.mean() == pytest.approx(0, abs=5 * np.sqrt(VARIANCE[name] / W.size))
    assert W.var() == pytest.approx(VARIANCE[name], rel=0.03)
    if name.endswith("uniform"):
        assert np.abs(W).max() <= np.sqrt(3 * VARIANCE[name])
    np.testing.assert_array_equal(W, draw(np.random.default_rng(0), M, N))


def test_dense_uses_what_it_is_given() -> None:
    def ones(rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return np.ones((n_out, n_in))

    assert (fastbp.Dense(3, 2, weight_init=ones).weight == 1).all()
    assert (fastbp.Dense(3, 2, weight_init="zeros").weight == 0).all()
    one, two = fastbp.Dense(3, 2, seed=1), fastbp.Dense(3, 2, seed=2)
    assert (one.weight != two.weight).any() and (one.bias == 0).all()
    np.testing.assert_array_equal(one.weight, fastbp.Dense(3, 2, seed=1).weight)


def test_unknown_and_misshapen() -> None:
    with pytest.raises(ValueError, match="^weight_init must .*xavier"):
        fastbp.Dense(3, 2, weight_init="xavier")
    with pytest.raises(TypeError, match="got 3"):
        get(3, "weight_init")  # type: ignore[arg-type]
    wrong = fastbp.Dense(3, 2, weight_init=lambda rng, m, n: np.ones((m, n)))
    for _ in range(2):  # at the second look, too
        with pytest.raises(ValueError, match=r"\(2, 3\)"):
            _ = wrong.weight
    assert not wrong.initialized  # a network would keep what was drawn before
    for value, error, message in ((np.nan, ValueError, r"weight_init holds nan at \(0, 0\)"),
                                  (1e300, ValueError, r"holds inf at \(0, 0\) .*float32"),
                                  (1j, TypeError, "weight_init must hold real numbers")):
        wrong = fastbp.Dense(3, 2, weight_init=lambda rng, m, n, v=value: np.full((n, m), v))
        with pytest.raises(error, match=message):
            _ = wrong.weight
