"""Sums by vectors against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp._jit import kernel
from fastbp.kernels.reduce import block_magnitudes, wide_sum


@kernel
def of_block(x, rows, ld, n):
    return block_magnitudes(x, rows, ld, n)


@kernel
def of_all(x, n):
    return wide_sum(x, n)


def values(seed: int, size: int, dtype: Any) -> Any:
    return np.random.default_rng(seed).normal(size=size).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(rows=st.integers(1, 20), more=st.integers(0, 20), data=st.data())
def test_a_block(dtype: str, rows: int, more: int, data: st.DataObject) -> None:
    lanes = 64 // np.dtype(dtype).itemsize
    n = data.draw(st.integers(1, lanes))
    block = values(rows, rows * (n + more), dtype).reshape(rows, n + more)
    block[:, n:] = np.nan
    x = block.ravel()[:block.size - more]  # ends with the last number that counts
    found, eps = of_block(x, rows, n + more, n), 10 * np.finfo(dtype).eps
    own = block[:, :n]
    np.testing.assert_allclose(found, [np.abs(own).sum(), np.square(own).sum()], eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(n=st.integers(0, 70), seed=st.integers(0, 99))
def test_a_wide_sum(dtype: str, n: int, seed: int) -> None:
    x = values(seed, n + 9, dtype)
    x[n:] = np.nan
    x[:n] += 1e6  # of which a sum in float32 would lose the digits
    np.testing.assert_allclose(of_all(x, n), x[:n].sum(dtype=np.float64), 1e-14)
