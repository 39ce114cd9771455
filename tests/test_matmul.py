"""The products against plain loops; every shape of tile gives the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastbp._jit import kernel
from fastbp.kernels.columns import next_tile
from fastbp.kernels.matmul import (
    _DEPTH,
    SCALED,
    WHOLE,
    is_packed,
    matmul,
    product_for,
    row_product,
    small_product,
)
from fastbp.kernels.matmul import product as whole_product
from fastbp.kernels.packed import matmul_by_rows
from fastbp.kernels.tile import (
    ADD,
    CLIP,
    MASK,
    SCALE,
    TILE_ROWS,
    TILE_VECTORS,
    WRITE,
    copying_tile,
    transposing_tile,
)
from fastbp.kernels.tile_code import UNROLL
from fastbp.kernels.transpose import transpose
from fastbp.kernels.vectors import SHAPES, VECTOR_BYTES, host_isa, pad, row_length

SIZES = st.sampled_from([1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 65])
DTYPES = st.sampled_from(["float32", "float64"])


def product(A: np.ndarray, B: np.ndarray, *, by_columns: bool = False,
            start: np.ndarray | None = None, scale: float | None = None,
            mask: np.ndarray | None = None, clip: bool = False) -> np.ndarray:
    """(start +) (scale) A B through the kernel, into memory full of NaN; guards must stay. Where
    nothing is packed, that of small layers must give the same bits."""
    (rows, K), cols = A.shape, B.shape[1]
    ld = row_length(cols, A.dtype)
    wide, C = np.zeros((K, ld), A.dtype), np.full((rows + 1) * ld, np.nan, A.dtype)
    wide[:, :cols] = B
    flat = np.ascontiguousarray(A.T if by_columns else A).ravel()
    strides = (1, rows) if by_columns else (K, 1)
    I, step, mode = C, ld, WRITE
    if scale is not None and start is None:  # into what is there
        C[:rows * ld], mode = 0, SCALE
    if start is not None:
        I, step = np.zeros(ld, A.dtype), 0
        I[:cols], mode = start, ADD if scale is None else SCALE
    if mask is not None:
        rows_of_mask = np.zeros((rows, ld), A.dtype)
        rows_of_mask[:, :cols] = mask
        I, step, mode = rows_of_mask.ravel(), ld, MASK
    mode, scale, again = mode + CLIP if clip else mode, A.dtype.type(scale or 0), C.copy()
    given = again if I is C else I
    matmul(rows, cols, K, flat, *strides, wide.ravel(), ld, C, ld, I, step, mode, scale)
    if not is_packed(rows, K, strides[1], ld * A.itemsize):
        small_product(rows, cols, K, flat.ctypes.data, *strides, wide.ctypes.data, ld,
                      again.ctypes.data, ld, given.ctypes.data, step, mode, scale)
        np.testing.assert_array_equal(again, C)
    assert np.isnan(C[rows * ld:]).all(), "wrote past the last row"
    result = C[:rows * ld].reshape(rows, ld)
    assert (result[:, cols:pad(cols, A.dtype)] == 0).all(), "padding leaked"
    return result[:, :cols]


@given(rows=SIZES, cols=SIZES, K=SIZES, dtype=DTYPES, by_columns=st.booleans(),
       bias=st.booleans(), seed=st.integers(0, 99))
def test_product_is_the_sum_in_order(rows: int, cols: int, K: int, dtype: str, by_columns: bool,
                                     bias: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(rows, K)).astype(dtype), rng.normal(size=(K, cols)).astype(dtype)
    start = rng.normal(size=cols).astype(dtype) if bias else None
    expected = np.zeros((rows, cols)) if start is None else np.tile(start.astype(float), (rows, 1))
    for k in range(K):
        expected += np.outer(A[:, k].astype(float), B[k].astype(float))
    tolerance = 1e-13 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(product(A, B, by_columns=by_columns, start=start), expected,
                               rtol=tolerance, atol=tolerance * K)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("by_columns", [False, True])
@pytest.mark.parametrize("rows, K, cols", [
    *((9, K, 35) for K in (_DEPTH - 1, _DEPTH, _DEPTH + 1, 2 * _DEPTH + 5)),
    (150, 600, 1030), (96, 522, 1100), (300, 1030, 1090)])
def test_products_cut_and_packed_have_the_bits_of_one_sum(rows: int, K: int, cols: int,
                                                          by_columns: bool, dtype: str) -> None:
    rng = np.random.default_rng(K)
    A, B = rng.normal(size=(rows, K)).astype(dtype), rng.normal(size=(K, cols)).astype(dtype)
    ld = row_length(cols, dtype)
    stride = ld * np.dtype(dtype).itemsize
    assert is_packed(rows, K, rows if by_columns else 1, stride) == (rows >= 96)
    wide, y = np.zeros((K, ld), dtype), np.empty(ld, dtype)
    wide[:, :cols] = B
    found = product(A, B, by_columns=by_columns)
    for r in range(rows):  # a row at a time, uncut
        row_product(K, A[r].copy(), wide.ravel(), ld, y, np.zeros(ld, dtype))
        np.testing.assert_array_equal(found[r], y[:cols])


@given(n_in=st.integers(1, 3000), n_out=st.integers(1, 3000), dtype=DTYPES)
@example(n_in=512, n_out=512, dtype="float32")
@example(n_in=512, n_out=513, dtype="float32")
@example(n_in=20, n_out=1008, dtype="float32")
@example(n_in=20, n_out=1009, dtype="float32")
def test_a_layer_has_the_product_that_packs_where_one_is_packed(n_in: int, n_out: int,
                                                                dtype: str) -> None:
    ld_in, ld_out = (row_length(n, dtype) * np.dtype(dtype).itemsize for n in (n_in, n_out))
    many = 1 << 20  # rows
    packed = (is_packed(many, n_in, 1, ld_out) or is_packed(many, n_out, 1, ld_in)
              or is_packed(many, many, 2, ld_out))
    wanted = whole_product if packed else small_product
    assert product_for(n_in, n_out, np.dtype(dtype)) is wanted


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("by_columns", [False, True])
@pytest.mark.parametrize("rows, K, cols", [
    (13, 40, 50), (7, SCALED, 3), (3, 20, 5), (150, WHOLE, 1030), (200, SCALED, 1100)])
def test_scaled_products_round_once_more(rows: int, K: int, cols: int, by_columns: bool,
                                         dtype: str) -> None:
    rng = np.random.default_rng(K)
    A, B = rng.normal(size=(rows, K)).astype(dtype), rng.normal(size=(K, cols)).astype(dtype)
    start, scale = rng.normal(size=cols).astype(dtype), -0.1
    S = product(A, B, by_columns=by_columns)
    exact = np.dtype(dtype).type(scale) * S.astype(np.longdouble)
    for first, found in ((0, product(A, B, by_columns=by_columns, scale=scale)),
                         (start, product(A, B, by_columns=by_columns, scale=scale, start=start))):
        gap = np.abs(found - (first + exact)).astype(np.float64)
        unsure = np.finfo(np.longdouble).eps * (np.abs(first) + np.abs(exact)).astype(np.float64)
        assert (gap <= 0.5 * np.spacing(np.abs(found)) + unsure).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("by_columns", [False, True])
@pytest.mark.parametrize("rows, K, cols", [
    (13, 40, 50), (7, WHOLE, 3), (5, 9, 16), (4, 20, 8), (9, 2 * _DEPTH + 5, 35),
    (150, 600, 1030)])
def test_products_do_what_rectifiers_would(rows: int, K: int, cols: int, by_columns: bool,
                                           dtype: str) -> None:
    rng = np.random.default_rng(K)
    A, B = rng.normal(size=(rows, K)).astype(dtype), rng.normal(size=(K, cols)).astype(dtype)
    B[0, 1] = np.nan
    start = rng.normal(size=cols).astype(dtype)
    for first in (None, start):
        S = product(A, B, by_columns=by_columns, start=first)
        clipped = product(A, B, by_columns=by_columns, start=first, clip=True)
        np.testing.assert_array_equal(clipped, np.where(S < 0, 0, S))
        assert (clipped == 0).any() and np.isnan(clipped[:, 1]).all()
    if K <= WHOLE:
        y = np.maximum(rng.normal(size=(rows, cols)), 0).astype(dtype)
        y[2, 0] = np.nan
        S = product(A, B, by_columns=by_columns)
        masked = product(A, B, by_columns=by_columns, mask=y)
        np.testing.assert_array_equal(masked, np.where(y == 0, 0, S))
        assert masked[2, 0] == S[2, 0] and (masked == 0).any()


@pytest.mark.parametrize("widest", [1, 2, 3, 4])
def test_no_tile_is_wider_than_the_widest(widest: int) -> None:
    for vectors in range(1, 14):
        left, taken = vectors, []
        while left:
            taken.append(int(next_tile(np.int64(left), np.int64(widest))))
            left -= taken[-1]
        assert max(taken) <= widest and left == 0
        assert 1 not in taken or widest == 1 or vectors == 1 or (widest == 2 and vectors % 2) or (
            widest == 4 and vectors % 4 == 1), taken


@given(rows=SIZES, cols=SIZES, dtype=DTYPES)
def test_transpose(rows: int, cols: int, dtype: str) -> None:
    A = np.random.default_rng(0).normal(size=(rows, cols)).astype(dtype)
    wide, B = row_length(cols, dtype), row_length(rows, dtype)
    source = np.zeros((rows, wide), dtype)
    source[:, :cols] = A
    target = np.full((cols, B), np.nan, dtype)
    transpose(rows, cols, source.ravel(), wide, target.ravel(), B)
    np.testing.assert_array_equal(target[:, :rows], A.T)
    assert (target[:, rows:pad(rows, dtype)] == 0).all()
    assert np.isnan(target[:, pad(rows, dtype):]).all()


@pytest.mark.parametrize(("rows", "cols"), [(0, 3), (3, 0), (0, 40), (40, 0), (0, 0)])
def test_a_transpose_of_nothing_writes_nothing(rows: int, cols: int) -> None:
    target = np.full(40 * 64, np.nan, np.float32)
    transpose(rows, cols, np.zeros(40 * 64, np.float32), 64, target[64:-64], 64)
    assert np.isnan(target).all()


def test_rows_never_lie_whole_pages_apart() -> None:
    for n in (1, 16, 1000, 1024, 2048, 4096):
        for dtype in ("float32", "float64"):
            length = row_length(n, dtype)
            assert length >= n and length % pad(1, dtype) == 0
            assert length * np.dtype(dtype).itemsize % 4096 != 0


_PROBE = """
import hashlib, numpy as np
from tests.test_matmul import product
from fastbp.kernels.vectors import host_isa
rng, digest = np.random.default_rng(0), hashlib.sha256()
for dtype in ("float32", "float64"):
    for rows, cols, K in [(1, 1, 1), (3, 17, 5), (8, 32, 64), (13, 50, 33), (64, 100, 70),
                          (100, 1030, 300)]:
        A = rng.normal(size=(rows, K)).astype(dtype)
        B = rng.normal(size=(K, cols)).astype(dtype)
        for by_columns in (False, True):
            for more in ({"start": B[0]}, {"start": B[0], "clip": True}, {"scale": -0.1},
                         {"mask": np.maximum(B[:1], 0)}):
                digest.update(product(A, B, by_columns=by_columns, **more).tobytes())
print(host_isa(), digest.hexdigest())
"""


@pytest.fixture(scope="module")
def digests() -> Iterator[dict[str, str]]:
    yield {isa: _digest(isa) for isa in SHAPES}


def _digest(isa: str) -> str:
    out = subprocess.run([sys.executable, "-c", _PROBE], env={**os.environ, "FASTBP_ISA": isa},
                         capture_output=True, text=True, check=True).stdout.split()
    assert out[0] == isa
    return out[1]


def test_every_instruction_set_gives_the_same_bits(digests: dict[str, str]) -> None:
    assert len(set(digests.values())) == 1, digests


def test_unknown_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTBP_ISA", "mmx")
    with pytest.raises(ValueError, match="mmx"):
        host_isa()
    monkeypatch.delenv("FASTBP_ISA")
    assert host_isa() in SHAPES


@kernel
def copy_meanwhile(rows, K, A, B, C, zero, to, source, source_row, width, count):
    return copying_tile(rows, K, A, 0, K, 1, B, 0, B.size // K, C, 0, B.size // K, C, 0, 0, WRITE,
                        zero, to, 0, to.size // count, source, 0, source_row, width, count)


@kernel
def transpose_meanwhile(rows, K, A, B, C, zero, to, to_row, source, source_row, width, count):
    return transposing_tile(rows, K, A, 0, K, 1, B, 0, B.size // K, C, 0, B.size // K, C, 0, 0,
                            WRITE, zero, to, 0, to_row, source, 0, source_row, width, count)


def _pieces(rows: int, K: int) -> int:
    """How many a tile of many rows has time for: one in four turns of each tile's loop."""
    tiles = -(-rows // TILE_ROWS[-1])
    return tiles * (K // UNROLL // 4) if TILE_VECTORS > 2 else 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows, K", [(6, 15), (13, 32), (40, 67)])
def test_a_tile_copies_meanwhile(rows: int, K: int, dtype: str) -> None:
    rng, lanes = np.random.default_rng(K), VECTOR_BYTES // np.dtype(dtype).itemsize
    A = rng.normal(size=(rows, K)).astype(dtype)
    B = rng.normal(size=(K, TILE_VECTORS * lanes)).astype(dtype)
    source = rng.normal(size=(9, 3 * lanes)).astype(dtype)
    to, C = np.full((9, 2 * lanes), np.nan, dtype), np.empty((rows, B.shape[1]), dtype)
    zero = np.dtype(dtype).type(0)
    moved = copy_meanwhile(rows, K, A.ravel(), B.ravel(), C.reshape(-1), zero, to.reshape(-1),
                           source.ravel(), 3 * lanes, 2, 9)
    assert moved == min(9, _pieces(rows, K))
    np.testing.assert_array_equal(to[:moved], source[:moved, :2 * lanes])
    assert np.isnan(to[moved:]).all()
    np.testing.assert_array_equal(C, product(A, B))

    few = 16 // to.itemsize
    source = rng.normal(size=(2 * lanes, 3 * few)).astype(dtype)
    to = np.full((3 * few, 2 * lanes), np.nan, dtype)
    moved = transpose_meanwhile(rows, K, A.ravel(), B.ravel(), C.reshape(-1), zero,
                                to.reshape(-1), 2 * lanes, source.ravel(), 3 * few, 3, 6)
    assert moved == min(6, _pieces(rows, K))
    for block in range(6):
        row, start = block // 3 * lanes, block % 3 * few
        found = to[start:start + few, row:row + lanes]
        if block < moved:
            np.testing.assert_array_equal(found, source[row:row + lanes, start:start + few].T)
        else:
            assert np.isnan(found).all()
    np.testing.assert_array_equal(C, product(A, B))


_REGISTERS = """
import numpy as np
from numba import types
from numba.core.codegen import JITCodeLibrary
from fastbp._jit import entry_point
from fastbp.kernels.matmul import small_product
from fastbp.table import signature
from tests.test_matmul import copy_meanwhile, transpose_meanwhile
f, n = types.float32[::1], types.int64
head, whole = (n, n, f, f, f, types.float32), JITCodeLibrary._finalize_final_module
def finalize(library):  # afterwards the module is another
    global code
    code = library.codegen._tm.emit_assembly(library._final_module.clone())
    whole(library)
JITCodeLibrary._finalize_final_module = finalize
for kernel, kinds in ((copy_meanwhile, (*head, f, f, n, n, n)),
                      (transpose_meanwhile, (*head, f, n, f, n, n, n)),
                      (small_product, signature("product", np.dtype("float32")))):
    assert entry_point(kernel, kinds)
    print(code.count("vfmadd"), sum("zmm" in line and "(%rsp" in line
                                    for line in code.splitlines()))
"""


@pytest.mark.skipif(host_isa() != "avx512", reason="registers of other machines go by other names")
def test_sums_stay_in_their_registers() -> None:
    out = subprocess.run([sys.executable, "-c", _REGISTERS], capture_output=True, text=True,
                         check=True, env={**os.environ, "FASTBP_CACHE_DIR": ""}).stdout.split()
    assert len(out) == 6  # with a cache, off here, nothing may be left to generate
    for multiply_adds, spilled in zip(map(int, out[::2]), map(int, out[1::2]), strict=True):
        assert multiply_adds > 24 * UNROLL and spilled < 10


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows, K, cols", [
    (1, 3, 5), (9, 70, 100), (13, 1100, 65), (130, 1100, 200), (97, 1028, 130)])
def test_products_with_rows_have_the_bits_of_those_with_columns(rows: int, K: int, cols: int,
                                                                dtype: str) -> None:
    rng = np.random.default_rng(K)
    A, B = rng.normal(size=(rows, K)).astype(dtype), rng.normal(size=(K, cols)).astype(dtype)
    ld, ldb = row_length(cols, dtype), row_length(K, dtype)
    by_rows, C = np.full((cols, ldb), np.nan, dtype), np.full((rows + 1) * ld, np.nan, dtype)
    by_rows[:, :K] = B.T
    expected, A, by_rows = product(A, B), A.ravel(), by_rows.ravel()
    matmul_by_rows(rows, cols, K, A, K, by_rows, ldb, C, ld, WRITE)
    assert np.isnan(C[rows * ld:]).all()
    np.testing.assert_array_equal(C[:rows * ld].reshape(rows, ld)[:, :cols], expected)
    half = (K + 1) // 2  # and in two pieces
    matmul_by_rows(rows, cols, half, A, K, by_rows, ldb, C, ld, WRITE)
    matmul_by_rows(rows, cols, K - half, A[half:], K, by_rows[half:], ldb, C, ld, ADD)
    np.testing.assert_array_equal(C[:rows * ld].reshape(rows, ld)[:, :cols], expected)
