"""Passes of a formula along rows and down columns against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp._jit import kernel
from fastbp.kernels.passes import along_row, down_columns, if_equal, root

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def _of_row(x, weight, by, scale):
    gap = (x - by) * scale
    return (gap + weight, 1 / root(gap * gap + 1)), (gap, gap * gap, x / 2)


def _of_columns(x, dy, mean, scale, first, second):
    hat = (x - mean) * first
    return (hat * scale + second,), (dy * hat, dy)


def _highest(x, zero, one):
    return (if_equal(x, zero, one, x),), (x,)


highest_pass = down_columns(_highest, 1, highest=True)
row_pass, column_pass = along_row(_of_row, 3), down_columns(_of_columns, 2, row_numbers=1)


@kernel
def of_row(n, x, weight, by, scale, a, b):
    return row_pass(n, (x, weight), (by, scale), (a, b))


@kernel
def of_columns(rows, n, ld, x, dy, mean, weight, scale, of_rows, out, along, level):
    column_pass(rows, n, ld, (x, dy), (mean, weight), (scale,), (of_rows,), (out,), (along, level))


@kernel
def highest_of_columns(rows, n, ld, x, zero, one, out, high):
    highest_pass(rows, n, ld, (x,), (), (zero, one), (), (out,), (high,))


@DTYPES
@given(n=st.integers(1, 90), seed=st.integers(0, 99))
def test_along_a_row(dtype: str, n: int, seed: int) -> None:
    x, weight = np.random.default_rng(seed).normal(size=(2, n + 20)).astype(dtype)
    x[n:] = np.nan  # what lies behind does not count, and stays
    a, b = np.full((2, n + 20), 7, dtype)
    by, scale = a.dtype.type(0.5), a.dtype.type(1.5)
    found, eps = of_row(n, x, weight, by, scale, a, b), 50 * np.finfo(dtype).eps
    gap = (x[:n] - by) * scale
    np.testing.assert_allclose(a[:n], gap + weight[:n], eps, eps)
    np.testing.assert_allclose(b[:n], 1 / np.sqrt(gap * gap + 1), eps, eps)
    np.testing.assert_allclose(found, [gap.sum(), (gap * gap).sum(), x[:n].sum() / 2], eps,
                               eps * n)
    assert (a[n:] == 7).all() and (b[n:] == 7).all()


@DTYPES
@given(rows=st.integers(0, 9), n=st.integers(1, 150), more=st.integers(0, 20))
def test_down_columns(dtype: str, rows: int, n: int, more: int) -> None:
    x, dy = np.random.default_rng(n).normal(size=(2, rows, n + more)).astype(dtype)
    mean, weight = np.random.default_rng(rows).normal(size=(2, n)).astype(dtype)
    of_rows, out = np.linspace(1, 2, rows, dtype=dtype), np.full((rows, n + more), 7, dtype)
    sums, scale = np.full((2, n + 5), 3, dtype), out.dtype.type(0.25)
    given_x, given_dy, to = (one.ravel()[:max(one.size - more, 0)] for one in (x, dy, out))
    of_columns(rows, n, n + more, given_x, given_dy, mean, weight, scale, of_rows, to, *sums)
    hat, eps = (x[:, :n] - mean) * scale, 50 * np.finfo(dtype).eps
    np.testing.assert_allclose(out[:, :n], hat * weight + of_rows[:, None], eps, eps)
    np.testing.assert_allclose(sums[0, :n], 3 + (dy[:, :n] * hat).sum(axis=0), eps, eps * 9)
    np.testing.assert_allclose(sums[1, :n], 3 + dy[:, :n].sum(axis=0), eps, eps * 9)
    assert (out[:, n:] == 7).all() and (sums[:, n:] == 3).all()


@DTYPES
@given(rows=st.integers(1, 9), n=st.integers(1, 150))
def test_the_highest_of_a_column_is_no_nan(dtype: str, rows: int, n: int) -> None:
    x = np.random.default_rng(n).integers(-3, 1, (rows, n)).astype(dtype)
    x[0, ::3], x[-1, ::4] = np.nan, -np.inf
    out, high = np.full((rows, n), 7, dtype), np.full(n + 5, -np.inf, dtype)
    zero, one = np.zeros(2, dtype)[0], np.ones(2, dtype)[0]
    highest_of_columns(rows, n, n, x.ravel(), zero, one, out.reshape(-1), high)
    np.testing.assert_array_equal(out, np.where(x == 0, one, x))
    np.testing.assert_array_equal(high[:n], np.where(np.isnan(x), -np.inf, x).max(axis=0))
    assert (high[n:] == -np.inf).all()
    high[:] = 5  # what is there counts
    highest_of_columns(rows, n, n, x.ravel(), zero, one, out.reshape(-1), high)
    assert (high == 5).all()


@DTYPES
@given(width=st.integers(1, 70), more=st.integers(0, 70))
def test_a_column_has_the_same_bits_in_any_company(dtype: str, width: int, more: int) -> None:
    """Teams share a layer out by columns: where a share begins and ends must not show."""
    x, dy = np.random.default_rng(width).normal(size=(2, 6, width + more)).astype(dtype)
    n, zeros = width + more, np.zeros(width + more, dtype)
    of_rows, scale = np.ones(6, dtype), x.dtype.type(1)
    whole, parts = np.zeros((3, 6, n), dtype), np.zeros((3, 6, n), dtype)
    of_columns(6, n, n, x.ravel(), dy.ravel(), zeros, zeros + 1, scale, of_rows,
               whole[0].ravel(), whole[1, 0], whole[2, 0])
    for left, right in ((0, width), (width, n)):
        of_columns(6, right - left, n, x.ravel()[left:], dy.ravel()[left:], zeros[left:],
                   zeros[left:] + 1, scale, of_rows, parts[0].reshape(-1)[left:],
                   parts[1, 0, left:], parts[2, 0, left:])
    np.testing.assert_array_equal(parts, whole)
