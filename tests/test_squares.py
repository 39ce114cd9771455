"""Products on matrix tiles: near the exact ones, the same bits however they are cut up."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any
from unittest.mock import patch

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbp
from fastbp import sharing
from fastbp._jit import DISABLED
from fastbp._validation import PRECISIONS
from fastbp.kernels.by_squares import DEPTH, PRODUCTS
from fastbp.kernels.split import PARTS, SQUARE, STRETCH, TILE, TURNED_SIZE, lay
from fastbp.kernels.squares import has_squares, square_22
from fastbp.kernels.tile import ADD, CLIP, MASK, SCALE, WRITE
from fastbp.kernels.vectors import aligned_zeros, row_length
from fastbp.layers import square
from fastbp.layers.wide import wide_backward
from fastbp.table import ON_TILES

FLOAT = np.dtype(np.float32)
compiled = pytest.mark.skipif(DISABLED, reason="the parts are laid out by compiled code alone")
tiles = pytest.mark.skipif(not has_squares(), reason="needs a processor with matrix tiles")


def padded(A: np.ndarray) -> np.ndarray:
    """A with rows as the engine has them, 3 numbers that mean nothing in each pad."""
    wide = np.full((len(A), row_length(A.shape[1], FLOAT)), 3, FLOAT)
    wide[:, :A.shape[1]] = A
    return wide


def numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Of many magnitudes."""
    return (rng.normal(size=shape) * 2.0 ** rng.integers(-8, 8, shape)).astype(FLOAT)


_PROBE = "from fastbp.kernels.squares import has_squares; print(has_squares())"


@tiles
@pytest.mark.parametrize("name, value, there", [
    ("NUMBA_CPU_NAME", "generic", False), ("NUMBA_CPU_FEATURES", "+avx2,+fma", False),
    ("FASTBP_ISA", "avx512", False), ("FASTBP_ISA", "", True)])  # empty: none is forced
def test_tiles_are_used_where_the_compiler_may(name: str, value: str, there: bool) -> None:
    out = subprocess.run([sys.executable, "-c", _PROBE], env={**os.environ, name: value},
                         capture_output=True, text=True, check=True).stdout.split()
    assert out == [str(there)]


@tiles
def test_no_ops_follow_each_tile_instruction() -> None:
    whole = numba.njit(lambda A, C: square_22(3, 1, A, 0, A, 0, C, 0, 0, 0, C, 0, 0))
    whole.compile((numba.float32[::1], numba.float32[::1]))
    code = [line.strip() for line in whole.inspect_asm(whole.signatures[0]).splitlines()]
    code = [line for line in code if line and line[0] not in "#."]
    at = [n for n, line in enumerate(code) if line.startswith(("tileload", "tdpbf16ps"))]
    assert len(at) >= 14 + 24  # of three parts
    for n in at:
        assert code[n + 1:n + 8] == ["nop"] * 7, code[n]  # fewer were seen to gain less


# -- parts ----------------------------------------------------------------------------


@compiled
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@given(lines=st.integers(1, 40), terms=st.integers(1, 70), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_parts_add_up_to_the_number(across: bool, turned: bool, lines: int, terms: int,
                                    seed: int) -> None:
    X = numbers(np.random.default_rng(seed), lines, terms)
    flat = padded(X.T if turned else X)
    steps = (1, flat.shape[1]) if turned else (flat.shape[1], 1)
    lots, stretches = -(-lines // SQUARE), -(-terms // STRETCH)
    T = aligned_zeros(lots * stretches * PARTS * TILE, FLOAT)
    T[:] = np.nan
    lay(PARTS, across, lines, terms, flat.ravel(), 0, *steps, T,
        aligned_zeros(TURNED_SIZE // 4, FLOAT))
    words = T.view(np.uint32).reshape(lots, stretches, PARTS, SQUARE, SQUARE)
    if across:
        words = words.swapaxes(3, 4)
    found = np.concatenate([(words << 16).view(FLOAT),                 # the nearer half of a
                            (words & 0xFFFF0000).view(FLOAT)], axis=4)  # stretch, and the other
    total = found[:, :, 0] + (found[:, :, 1] + found[:, :, 2])
    whole = total.transpose(0, 2, 1, 3).reshape(lots * SQUARE, stretches * STRETCH)
    np.testing.assert_array_equal(whole[:lines, :terms], X)
    assert not whole[lines:].any() and not whole[:, terms:].any()
    size = np.abs(found)
    assert (size[:, :, 1] <= size[:, :, 0] * 2.0 ** -8).all()
    assert (size[:, :, 2] <= size[:, :, 1] * 2.0 ** -8).all()
    assert TILE == SQUARE * SQUARE


# -- products -------------------------------------------------------------------------


def product(A: np.ndarray, B: np.ndarray, *, turn_a: bool = False, turn_b: bool = False,
            mode: int = int(WRITE), start: np.ndarray | None = None, scale: float = 0.0,
            cut: tuple[int, int] | None = None, terms: int = 0,
            precision: str = "highest") -> np.ndarray:
    """A B by ``mode``, ``turn``ed ones lying the other way; rows and columns ``cut`` in two, sums
    after so many ``terms``."""
    rows, K, cols = *A.shape, B.shape[1]
    flat_a, flat_b = padded(A.T if turn_a else A), padded(B.T if turn_b else B)
    ld = row_length(cols, FLOAT)
    C = np.full((rows, ld), np.nan, FLOAT)
    if start is not None:
        C[:, :cols], C[:, cols:] = start, 0
    a = (1, flat_a.shape[1]) if turn_a else (flat_a.shape[1], 1)
    b_k, b_col = (1, flat_b.shape[1]) if turn_b else (flat_b.shape[1], 1)

    def part(first: int, last: int, left: int, right: int, k: int, end: int, how: int) -> None:
        def at(array: np.ndarray, place: int) -> int:
            return int(array.reshape(-1)[place:].ctypes.data)

        PRODUCTS[precision](
            last - first, right - left, end - k, at(flat_a, first * a[0] + k * a[1]), *a,
            at(flat_b, k * b_k + left * b_col), -b_col if turn_b else b_k,
            at(C, first * ld + left), ld, at(C, first * ld + left), ld, how, FLOAT.type(scale))

    row, col = cut or (rows, cols)
    for k, end, how in [(0, terms or K, mode)] + ([(terms, K, int(ADD))] if terms else []):
        for first, last in ((0, row), (row, rows)):
            for left, right in ((0, col), (col, cols)):
                if first < last and left < right:
                    part(first, last, left, right, k, end, how)
    return C[:, :cols]


SIZES = st.one_of(st.integers(1, 70), st.integers(120, 300))


def of_all_shapes(test: Any) -> Any:
    """Run a test with factors of drawn sizes, lying either way."""
    test = settings(max_examples=15, deadline=None)(given(
        rows=SIZES, cols=SIZES, K=st.one_of(SIZES, st.integers(510, 1700)),
        seed=st.integers(0, 99))(test))
    for name in ("turn_b", "turn_a"):
        test = pytest.mark.parametrize(name, [False, True])(test)
    return tiles(test)


@of_all_shapes
def test_sums_are_as_near_as_those_of_multiply_adds(turn_a: bool, turn_b: bool, rows: int,
                                                    cols: int, K: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    A, B, start = (numbers(rng, *shape) for shape in ((rows, K), (K, cols), (rows, cols)))
    exact = A.astype(float) @ B + start
    size = np.abs(A).astype(float) @ np.abs(B) + np.abs(start)
    found = product(A, B, turn_a=turn_a, turn_b=turn_b, mode=int(ADD), start=start)
    assert (np.abs(found - exact) <= (K + 8) * 2.0 ** -24 * size).all()  # a rounding a term


def rounded(X: np.ndarray, bits: int) -> np.ndarray:
    """X to so many bits, halves away from 0, as float64."""
    fraction, exponent = np.frexp(X.astype(float))
    return np.ldexp(np.trunc(np.ldexp(fraction, bits) + np.copysign(0.5, X)), exponent - bits)


@of_all_shapes
def test_less_precise_ones_are_those_of_fewer_parts(turn_a: bool, turn_b: bool, rows: int,
                                                    cols: int, K: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    A, B = numbers(rng, rows, K), numbers(rng, K, cols)
    (a, a_low), (b, b_low) = ((rounded(X, 8), rounded(X - rounded(X, 8), 8)) for X in (A, B))
    size = (K + 8) * 2.0 ** -24 * (np.abs(A).astype(float) @ np.abs(B))
    given = {"turn_a": turn_a, "turn_b": turn_b}
    assert (np.abs(product(A, B, precision="medium", **given) - a @ b) <= size).all()
    assert (np.abs(product(A, B, precision="high", **given) - (a @ b + a_low @ b + a @ b_low))
            <= size).all()


@tiles
def test_each_precision_is_nearer_than_the_next() -> None:
    rng = np.random.default_rng(0)
    A, B = numbers(rng, 64, 700), numbers(rng, 700, 64)
    exact, size = A.astype(float) @ B, np.abs(A).astype(float) @ np.abs(B)
    errors = [(np.abs(product(A, B, precision=p) - exact) / size).max() for p in PRECISIONS]
    assert errors[0] < 2.0 ** -20 < errors[1] < 2.0 ** -16 < errors[2] < 2.0 ** -8


@tiles
def test_they_are_nearer_than_those_of_float32() -> None:
    rng = np.random.default_rng(0)
    A, B = numbers(rng, 64, 700), numbers(rng, 700, 64)
    exact, by_terms = A.astype(float) @ B, np.zeros((64, 64), FLOAT)
    for k in range(A.shape[1]):
        by_terms += A[:, k:k + 1] * B[k]
    assert np.abs(product(A, B) - exact).mean() < np.abs(by_terms - exact).mean()


@tiles
def test_numbers_from_1e_31_on_lose_nothing() -> None:
    A = np.random.default_rng(0).uniform(1, 2, (64, 64)).astype(FLOAT)
    B = np.diag(np.full(64, 2.0 ** 20, FLOAT))
    for exponent, exact in ((-103, True), (-105, False)):  # parts below 1e-38 count as 0
        tiny = A * FLOAT.type(2.0 ** exponent)
        assert (product(tiny, B) == tiny * FLOAT.type(2.0 ** 20)).all() == exact


@tiles
@pytest.mark.parametrize("precision", PRECISIONS)
@given(rows=st.integers(1, 300), cols=st.integers(33, 300), K=st.integers(33, 1300),
       data=st.data())
@settings(max_examples=30, deadline=None)
def test_however_a_product_is_cut_it_has_the_same_bits(precision: str, rows: int, cols: int,
                                                       K: int, data: Any) -> None:
    rng = np.random.default_rng(K)
    A, B = numbers(rng, rows, K), numbers(rng, K, cols)
    whole = product(A, B, precision=precision)
    cut = data.draw(st.integers(0, rows)), 16 * data.draw(st.integers(0, cols // 16))
    terms = STRETCH * data.draw(st.integers(1, (K - 1) // STRETCH))
    turned = product(A, B, cut=cut, terms=terms, turn_a=data.draw(st.booleans()),
                     turn_b=data.draw(st.booleans()), precision=precision)
    np.testing.assert_array_equal(turned, whole)


@tiles
@pytest.mark.parametrize("rows", [32, 45, 3])
@pytest.mark.parametrize("K", [40, DEPTH])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_modes_are_those_of_the_register_tile(rows: int, K: int, precision: str) -> None:
    rng, cols = np.random.default_rng(K), 50
    A, B, start = numbers(rng, rows, K), numbers(rng, K, cols), numbers(rng, rows, cols)
    start[::2, ::3] = 0
    S, scale = product(A, B, precision=precision), np.float32(-0.37)
    given = {"start": start, "precision": precision}
    np.testing.assert_array_equal(product(A, B, mode=int(MASK), **given),
                                  np.where(start == 0, 0, S))
    fused = (start.astype(float) + float(scale) * S.astype(float)).astype(FLOAT)
    np.testing.assert_array_equal(product(A, B, mode=int(SCALE), scale=float(scale), **given),
                                  fused)
    for mode in (int(WRITE), int(ADD)):
        T = product(A, B, mode=mode, **given)
        np.testing.assert_array_equal(product(A, B, mode=mode + int(CLIP), **given),
                                      np.maximum(T, 0))


@tiles
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_is_not_finite_stays_in_its_row(bad: float, precision: str) -> None:
    rng = np.random.default_rng(0)
    A, B = numbers(rng, 40, 40), numbers(rng, 40, 40)
    A[7, 9] = bad
    found = product(A, B, precision=precision)
    assert not np.isfinite(found[7]).any()
    assert np.isfinite(np.delete(found, 7, 0)).all()


@tiles
def test_the_largest_numbers_are_finite() -> None:
    A, B = np.zeros((40, 40), FLOAT), np.full((40, 40), 0.25, FLOAT)
    A[:, 7] = np.finfo(FLOAT).max * np.tile(FLOAT.type([1, -1]), 20)
    np.testing.assert_array_equal(product(A, B), A[:, 7:8] * B)
    np.testing.assert_array_equal(product(B, A.T.copy()), (A[:, 7:8] * B).T)


# -- in the engine --------------------------------------------------------------------


def networks(sizes: tuple[int, ...], seed: int = 0, precision: str = "highest") -> fastbp.Network:
    layers: list[fastbp.Layer] = []
    for m, n in zip(sizes, sizes[1:], strict=False):
        layers += [fastbp.Dense(m, n), fastbp.ReLU()]
    return fastbp.Network(layers[:-1], "SoftmaxCrossEntropyLoss", seed=seed,
                          matmul_precision=precision)


def on_tiles(net: fastbp.Network, rows: int, **options: Any) -> list[bool]:
    ops = net.plan(rows, 1, **{"training": True, **options}).ops
    return [bool(op["mirror"] == ON_TILES) for op in ops[::2]]


@tiles
def test_layers_are_multiplied_on_tiles_where_that_pays() -> None:
    n, b = square.UNITS["highest"], square.ROWS["highest"]
    assert on_tiles(networks((n, n + 1, n, n - 1, n, 3)), b) == [True, True, *[False] * 3]
    assert on_tiles(networks((n, n + 1, 3)), b) == [True, False]
    assert on_tiles(networks((n, n, 3)), b) == [False, False]  # X is read in place
    assert on_tiles(networks((n, n + 1, 3)), b - 1) == [False, False]
    assert on_tiles(networks((n, n + 1, 3)), b, training=False) == [False, False]
    for precision in ("high", "medium"):  # less to multiply: they pay in a first layer too
        n, b = square.UNITS[precision], square.ROWS[precision]
        net = networks((n, n, n, n - 1, 3), precision=precision)
        assert on_tiles(net, b) == [True, True, False, False]
        assert on_tiles(net, b - 1) == [False] * 4
    n, b = square.UNITS["highest"], square.ROWS["highest"]
    double = fastbp.Network([fastbp.Dense(n, n + 1), fastbp.ReLU(), fastbp.Dense(n + 1, 3)],
                            "SoftmaxCrossEntropyLoss", dtype="float64")
    assert on_tiles(double, b) == [False, False]

    class Own(fastbp.Dense):
        kernels = fastbp.Dense.kernels._replace(row=None)

    class Other(fastbp.Dense):
        def kernels_for(self, *shape: Any) -> Any:
            return super().kernels_for(*shape)._replace(backward=wide_backward)

    for kind in (Own, Other):
        own = fastbp.Network([kind(n, n + 1), fastbp.ReLU(), fastbp.Dense(n + 1, 3)],
                             "SoftmaxCrossEntropyLoss")
        assert on_tiles(own, b) == [False, False]


@tiles
@pytest.mark.parametrize("optimizer", [fastbp.SGD(0.05), fastbp.Adam(1e-3)])
@pytest.mark.parametrize("sizes, batch", [
    ((150, 200, 160, 5), 100), ((128, 300, 257, 5), 333), ((130, 1040, 140, 5), 70),
    ((130, 1000, 140, 5), 70),  # of the first layer, eight threads have 125 columns each
    ((128, 128, 128, 128, 5), 1100), ((140, 520, 640, 5), 600)])
@pytest.mark.parametrize("panels", [True, False])
def test_any_number_of_threads_gives_the_same_bits(sizes: tuple[int, ...], batch: int,
                                                   optimizer: Any, panels: bool,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 8)  # else as many as cores
    monkeypatch.setitem(square.ROWS, "highest", 64)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2 * batch + 37, sizes[0])).astype(FLOAT)
    T, found = rng.integers(0, 5, len(X)), []
    with patch.multiple(sharing, **{"CUT_BYTES" if panels else "PANEL_BYTES": 0}):
        for threads in (1, 2, 3, 4, 8):
            net = networks(sizes)
            assert any(on_tiles(net, batch))
            if on_tiles(net, batch)[0]:  # in whatever team, X is not read in place then
                assert not net.plan(batch, threads, training=True, carried=1).ops["first"].any()
            net.fit(X, T, epochs=2, batch_size=batch, optimizer=optimizer, n_threads=threads)
            found.append(net.params.copy())
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@tiles
@pytest.mark.parametrize("rows", [64, 97, 600])
@patch.dict(square.ROWS, highest=64)
def test_a_step_is_that_of_multiply_adds_but_for_rounding(rows: int) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(rows, 150)).astype(FLOAT)
    T, found = rng.integers(0, 5, rows), []
    for units in (square.UNITS["highest"], 1 << 30):
        net = networks((150, 200, 170, 5))
        with patch.dict(square.UNITS, highest=units):
            assert any(on_tiles(net, rows)) == (units < 1 << 30)
            net.fit(X, T, epochs=1, batch_size=rows, optimizer=fastbp.SGD(1.0))
        found.append(net.params - networks((150, 200, 170, 5)).params)
    gap = np.abs(found[0] - found[1]).max()
    assert 0 < gap < 1e-5 * np.abs(found[1]).max()


@pytest.mark.parametrize("optimizer", [fastbp.SGD(0.05, momentum=0.9), fastbp.Adam(1e-3)])
@pytest.mark.parametrize("units", [1010, 1024])
def test_rows_with_a_vector_more_than_they_need_keep_it_zero(units: int, optimizer: Any) -> None:
    """Tiles of 1024 columns are as wide as the layer, but not as its stride: the update took
    whatever the scratch held for the gradient of the padding."""
    assert row_length(units, FLOAT) - units >= 16
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(256, 128)).astype(FLOAT), rng.integers(0, 3, 256)
    found = []
    for threads in (1, 2):
        net = networks((128, units, 3))
        net.fit(X, T, epochs=2, batch_size=128, optimizer=optimizer, n_threads=threads)
        assert net.last_run is not None
        found += net.params.copy(), net.last_run.slots.copy()
        for value in net.named_parameters().values():
            value[...] = 1
        padding = net.params != 1
        assert padding.sum() > 16 * 128
        for kept in found[-2], *found[-1].reshape(-1, padding.size):
            assert kept.any() and not kept[padding].any()
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[3])
