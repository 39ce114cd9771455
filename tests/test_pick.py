"""Products with picked lines of X, read where they lie: the bits of products of gathered rows."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastbp
from fastbp import sharing
from fastbp.kernels.matmul import SCALED, WHOLE
from fastbp.kernels.pick import multiply_rows, multiply_terms
from fastbp.kernels.tile import ADD, CLIP, SCALE, WRITE
from fastbp.kernels.vectors import SHAPES, row_length
from fastbp.layers import square

from .test_matmul import DTYPES, SIZES, product

SEEDS = st.integers(0, 1000)


def guarded(rows: int, ld: int, dtype: str, value: float = np.nan) -> np.ndarray:
    """Memory for a result, and a row of NaN behind it that must stay."""
    C = np.full((rows + 1) * ld, np.nan, dtype)
    C[:rows * ld] = value
    return C


def picked(rows: int, K: int, cols: int, dtype: str, seed: int, clip: bool, mode: int,
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(forward, what it should be, gradient, what it should be) of rows picked at random."""
    rng = np.random.default_rng(seed)
    X, lines = rng.normal(size=(50, K)).astype(dtype), rng.integers(0, 50, rows)
    B, start = rng.normal(size=(K, cols)).astype(dtype), rng.normal(size=cols).astype(dtype)
    ld = row_length(cols, dtype)
    wide, bias, C = np.zeros((K, ld), dtype), np.zeros(ld, dtype), guarded(rows, ld, dtype)
    wide[:, :cols], bias[:cols] = B, start
    multiply_rows(lines, K, cols, K, X.ravel(), wide.ravel(), ld, C, ld, bias, 0,
                  ADD + CLIP if clip else ADD)
    assert np.isnan(C[rows * ld:]).all(), "wrote past the last row"
    dY, dW, scale = np.zeros((rows, ld), dtype), guarded(K, ld, dtype, 0.0), X.dtype.type(-0.1)
    dY[:, :cols] = rng.normal(size=(rows, cols))
    twice = np.concatenate((lines, rng.integers(0, 50, rows)))  # the next batch's, too
    multiply_terms(K, cols, twice[:rows], rows, K, X.ravel(), 0, dY.ravel(), ld, dW, ld, mode,
                   scale)
    assert np.isnan(dW[K * ld:]).all(), "wrote past the last row"
    return (C[:rows * ld].reshape(rows, ld)[:, :cols],
            product(X[lines], B, start=start, clip=clip),
            dW[:K * ld].reshape(K, ld)[:, :cols],
            product(np.ascontiguousarray(X[lines].T), dY[:, :cols],
                    **({"scale": -0.1} if mode == SCALE else {})))


@given(rows=SIZES, K=SIZES, cols=SIZES, dtype=DTYPES, seed=SEEDS, clip=st.booleans(),
       scaled=st.booleans())
def test_the_bits_are_those_of_gathered_rows(rows: int, K: int, cols: int, dtype: str, seed: int,
                                             clip: bool, scaled: bool) -> None:
    mode = SCALE if scaled else WRITE
    y, expected, dW, gradient = picked(rows, K, cols, dtype, seed, clip, mode)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(dW, gradient)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows, mode", [
    (WHOLE, WRITE), (WHOLE + 1, WRITE), (2 * WHOLE + 3, WRITE), (SCALED, SCALE)])
def test_long_sums(rows: int, mode: int, dtype: str) -> None:
    y, expected, dW, gradient = picked(rows, 300, 20, dtype, 0, False, mode)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(dW, gradient)


_PROBE = """
import hashlib
from fastbp.kernels.tile import SCALE
from fastbp.kernels.vectors import host_isa
from tests.test_pick import picked
digest = hashlib.sha256()
for dtype in ("float32", "float64"):
    for sizes in [(1, 1, 1), (3, 17, 5), (8, 32, 64), (13, 50, 33), (64, 100, 70)]:
        for result in picked(*sizes, dtype, 0, True, SCALE):
            digest.update(result.tobytes())
print(host_isa(), digest.hexdigest())
"""


def test_every_instruction_set_gives_the_same_bits() -> None:
    found = [subprocess.run([sys.executable, "-c", _PROBE], env={**os.environ, "FASTBP_ISA": isa},
                            capture_output=True, text=True, check=True).stdout.split()
             for isa in SHAPES]
    assert [f[0] for f in found] == list(SHAPES)
    assert len({f[1] for f in found}) == 1, found


def test_when_rows_are_read_where_they_lie(teams: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(square.UNITS, "highest", 1 << 30)  # not by layers on matrix tiles

    def reads(sizes: tuple[int, ...], rows: int = 32, threads: int = 1, dtype: str = "float32",
              first: type[fastbp.Layer] | None = None, training: bool = True) -> bool:
        layers: list[fastbp.Layer] = [first()] if first else []
        layers += [fastbp.Dense(m, n) for m, n in zip(sizes, sizes[1:], strict=False)]
        net = fastbp.Network(layers, "l2", dtype=dtype)
        op = net.plan(rows, threads, training=training, carried=int(training)).ops[0]
        assert (op["first"] == 0) == (op["first_gradient"] == 0) == (op["forward"] != 0)
        return bool(op["first"])

    assert reads((784, 64, 10)) and reads((784, 128, 10), 64, 2)
    assert reads((300, 64, 10), dtype="float64")
    assert not reads((100, 64, 10))                     # short
    assert not reads((1024, 64, 10))                    # a page
    assert not reads((784, 200, 10))                    # too many columns for one thread,
    assert reads((784, 200, 10), 64, 2)                 # not for two
    assert reads((784, 64, 10), 1000) and not reads((784, 128, 10), 1000)  # a far batch
    assert not reads((300, 8), 2000)                    # in shards
    assert not reads((784, 64, 10), first=fastbp.BatchNorm)
    assert not reads((784, 2))                          # narrow
    # without training no row is read long after the first time, and no shard's gradient is kept
    assert reads((784, 128, 10), 1000, training=False) and reads((300, 8), 2000, training=False)
    assert not reads((784, 200, 10), training=False) and not reads((784, 2), training=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_does_not_train_reads_where_rows_lie_with_the_same_bits(
        dtype: str, teams: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(700, 300)), rng.integers(0, 3, 700)
    found: list[list[np.ndarray]] = []
    for least in (sharing.PICK_BYTES, 10**9):
        monkeypatch.setattr(sharing, "PICK_BYTES", least)
        net = fastbp.Network([fastbp.Dense(300, 40), fastbp.ReLU(), fastbp.Dense(40, 3)],
                             "SoftmaxCrossEntropyLoss", dtype)
        results = []
        for rows in (1, 5, 700):
            given = np.asfortranarray(X[:rows]).astype(dtype)
            results += [net.predict(given), *net.loss_and_grad(given, T[:rows]),
                        net.loss(given, T[:rows]), net.input_gradient(given, T[:rows])]
        assert bool(net.plan(700).ops["first"][0]) == (least < 10**9)
        found.append([np.array(x) for x in results])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("threads", [1, 2])
def test_training_reads_any_x(threads: int, teams: None, tmp_path: object) -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(70, 300)).astype(np.float32), rng.integers(0, 3, 70)
    shut = X.copy()
    shut.flags.writeable = False
    path = f"{tmp_path}/x.npy"
    np.save(path, X)
    wide = np.zeros((140, 310), np.float32)
    wide[::2, 5:305] = X
    found = []
    for rows in (X, shut, np.load(path, mmap_mode="r"), np.asfortranarray(X), wide[::2, 5:305],
                  X.astype(np.float64)):
        net = fastbp.Network([fastbp.Dense(300, 64), fastbp.ReLU(), fastbp.Dense(64, 3)],
                             "SoftmaxCrossEntropyLoss")
        net.fit(rows, T, epochs=3, batch_size=32, n_threads=threads)
        assert net.plan(32, threads, training=True, carried=1).ops["first"][0]
        found.append(net.params.copy())
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
