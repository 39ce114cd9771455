"""Dense layers: their views, and kernels for narrow and wide shapes."""

from __future__ import annotations

import numpy as np
import pytest

import fastbp
from fastbp import sharing
from fastbp.kernels.matmul import SCALED, WHOLE
from fastbp.kernels.tile import ADD, CLIP, SCALE, WRITE
from fastbp.kernels.vectors import pad, row_length
from fastbp.layers import square
from fastbp.layers.dense import dense_forward, dense_gradient
from fastbp.layers.layer_norm import layer_norm_backward
from fastbp.layers.narrow import narrow_forward, narrow_gradient, thin_gradient


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dense_passes_nan_to_its_row_alone(dtype: str) -> None:
    dense = fastbp.Dense(3, 20, dtype=dtype)
    X = np.ones((9, 3), dtype)
    X[4, 1] = np.nan
    Y = dense.forward(X)
    assert np.isnan(Y[4]).all() and np.isfinite(np.delete(Y, 4, axis=0)).all()


def test_dense_without_bias_is_the_texts(rng: np.random.Generator) -> None:
    dense = fastbp.Dense(3, 2, bias=False, dtype="float64")
    assert dense.bias is None and dense.bias_grad is None and dense.n_params == 6
    X, dY = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    np.testing.assert_allclose(dense.forward(X), X @ dense.weight.T, rtol=1e-14)
    np.testing.assert_allclose(dense.backward(dY), dY @ dense.weight, rtol=1e-13)
    np.testing.assert_allclose(dense.weight_grad, dY.T @ X, rtol=1e-13)


def test_dense_views_write_through() -> None:
    dense = fastbp.Dense(3, 2, dtype="float64")
    dense.weight[...] = 0
    dense.weight[1, 2] = 5
    dense.bias[...] = [1, 2]
    np.testing.assert_array_equal(dense.forward([[1, 1, 1]]), [[1, 7]])
    dense.backward([[1, 1]])
    dense.weight_grad[...] = 3
    assert (dense.gradients()["weight"] == 3).all()
    dense.weight = [[1, 0, 0], [0, 1, 0]]
    dense.bias = [0, 0]
    np.testing.assert_array_equal(dense.forward([[4, 5, 6]]), [[4, 5]])


@pytest.mark.parametrize("rows, mode", [
    *((3, mode) for mode in (WRITE, ADD, SCALE)), (SCALED, SCALE),
    *((WHOLE + 50, mode) for mode in (WRITE, ADD))])
@pytest.mark.parametrize("dtype, n_in, n_out", [
    ("float32", 16, 3), ("float32", 33, 1), ("float32", 100, 3), ("float32", 600, 4),
    ("float64", 300, 2), ("float32", 1, 1), ("float32", 4, 50), ("float64", 3, 9)])
def test_gradients_of_narrow_layers_have_the_bits_of_any(dtype: str, n_in: int, n_out: int,
                                                         rows: int, mode: int) -> None:
    layer, rng = fastbp.Dense(n_in, n_out), np.random.default_rng(0)
    kind, own = np.dtype(dtype), thin_gradient if n_in <= 4 else narrow_gradient
    for shape, chosen in (((n_in, n_out), own), ((5, n_out), dense_gradient),
                          ((n_in + 4, pad(1, kind) // 4 + 1), dense_gradient)):
        kernels = layer.kernels_for(kind, *shape)
        assert kernels is not None and kernels.gradient is chosen
        assert layer.op(kind, *shape)["corrects"] == 1
    op, ldx, ldy = layer.op(kind, n_in, n_out), row_length(n_in, kind), row_length(n_out, kind)
    op["ld_in"], op["ld_out"] = ldx, ldy
    x, dy = (rng.normal(size=(rows, ld)).astype(kind) for ld in (ldx, ldy))
    dy[:, n_out:] = 0
    start, none, now = rng.normal(size=(n_in + 2) * ldy).astype(kind), dy[:0].ravel(), (
        np.uint64(0), np.uint64(0))
    found = []
    for gradient in (dense_gradient, own):
        for first, last in ((0, n_in + 1), (min(16, n_in - 1), n_in)):
            grad = start.copy()
            gradient(op[0], now, none, none, x.ravel(), dy.ravel(), rows, first, last, 0, n_out,
                     grad, ldy, mode, kind.type(-0.1))
            found.append(grad.reshape(-1, ldy))
    assert (found[0] != start.reshape(-1, ldy))[:n_in + 1, :n_out].any(axis=1).all()
    assert (found[0][-1] == start[-ldy:]).all()
    for one, other in zip(found[:2], found[2:], strict=True):
        width = n_out if mode == ADD else ldy  # where nothing is added, pads become 0
        assert (one[:, :width] == other[:, :width]).all()


@pytest.mark.parametrize("clip", [0, CLIP])
@pytest.mark.parametrize("rows", [1, 4, 15, 16, 33])
@pytest.mark.parametrize("dtype, n_in, n_out", [
    ("float32", 16, 3), ("float32", 33, 1), ("float32", 130, 4), ("float32", 600, 2),
    ("float64", 8, 1), ("float64", 300, 2)])
def test_outputs_of_narrow_layers_have_the_bits_of_any(dtype: str, n_in: int, n_out: int,
                                                       rows: int, clip: int) -> None:
    layer, rng, kind = fastbp.Dense(n_in, n_out, dtype=dtype), np.random.default_rng(0), np.dtype(
        dtype)
    layer.weight, layer.bias = rng.normal(size=(n_out, n_in)), rng.normal(size=n_out)
    kernels = layer.kernels_for(kind, n_in, n_out)
    assert kernels is not None and kernels.forward is narrow_forward
    for shape in ((pad(1, kind) - 1, n_out), (n_in, pad(1, kind) // 4 + 1)):
        wider = layer.kernels_for(kind, *shape)
        assert wider is not None and wider.forward is dense_forward
    op, ldx, ldy = layer.op(kind, n_in, n_out), row_length(n_in, kind), row_length(n_out, kind)
    op["ld_in"], op["param"], op["clip"] = ldx, 0, clip
    x, found = np.full((rows, ldx), np.nan, kind), []
    x[:, :n_in] = rng.normal(size=(rows, n_in))
    x[rows // 2, :n_in] = 0  # sums of the sign that 0 has
    layer.weight[0], layer.bias[0] = -np.abs(layer.weight[0]), -0.0
    assert layer._flat is not None
    for forward in (dense_forward, narrow_forward):
        y = np.full((rows + 1) * ldy, np.nan, kind)
        forward(op[0], (np.uint64(0), np.uint64(0)), layer._flat, x[:0].ravel(), x.ravel(),
                y[:rows * ldy])
        assert np.isnan(y[rows * ldy:]).all(), "wrote past the last row"
        found.append(y[:rows * ldy].reshape(rows, ldy))
    np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(*map(np.signbit, found))
    expected = x[:, :n_in] @ layer.weight.T + layer.bias
    np.testing.assert_allclose(found[0][:, :n_out], expected.clip(0) if clip else expected,
                               rtol=1e-4, atol=1e-4 if dtype == "float32" else 1e-12)
    assert (found[1][:, n_out:] == 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wide_layers_keep_no_mirror_and_go_back_the_same_way(dtype: str) -> None:
    kind, rng = np.dtype(dtype), np.random.default_rng(0)
    n = 600 if dtype == "float32" else 400
    wide = fastbp.Dense(n, n, dtype=dtype)
    assert not wide.mirrored(kind, n, n) and wide.mirrored(kind, 64, n)
    net = fastbp.Network([fastbp.Dense(8, n), fastbp.Dense(n, n), fastbp.Dense(n, 64)], "l2",
                         dtype=dtype)
    assert list(net.plan(16, 1).ops["mirror"] < 0) == [True, True, False]
    X, dY = rng.normal(size=(7, n)).astype(dtype), rng.normal(size=(7, n)).astype(dtype)
    wide.forward(X)
    np.testing.assert_allclose(wide.backward(dY), dY.astype(float) @ wide.weight.astype(float),
                               rtol=0, atol=1e-4 if dtype == "float32" else 1e-12)

    class Mine(fastbp.Dense):
        kernels = fastbp.Dense.kernels._replace(backward=layer_norm_backward)

    assert Mine(n, n).mirrored(kind, n, n)


def test_teams_share_wide_layers_out_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 8)
    # On matrix tiles no layer reads X in place.
    monkeypatch.setitem(square.UNITS, "highest", 1 << 30)
    n = 512
    layers = [fastbp.Dense(n, n), fastbp.BatchNorm(), fastbp.ReLU(), fastbp.Dense(n, n),
              fastbp.ReLU(), fastbp.Dense(n, 10)]
    net = fastbp.Network(layers, "SoftmaxCrossEntropyLoss")
    # couple, back, load, first, last, loss, top, bottom
    rest = [[1, -1, 0, 1, 3, 0, 0, 1], [3, -1, 0, 4, 6, 1, 5, 4], [-1, 3, 0, 0, 0, 0, 2, 2],
            [-1, 1, 0, 0, 0, 0, 1, 1]]
    for threads, reads in ((2, False), (8, True)):
        plan = net.plan(sharing.OWN_ROWS * 2, threads, training=True, carried=1)
        assert (plan.ops["by_columns"] > 0).tolist() == [True, False, False, True, False, False]
        assert (plan.ops["first"][0] != 0) == reads and not plan.ops["first"][1:].any()
        first = [] if reads else [[-1, -1, 1, 0, 0, 0, 0, 1]]
        assert [list(p) for p in plan.passes.tolist()] == [
            *first, [0, -1, 0, 1, 1, 0, 0, 1], *rest]
    for rows, threads, training in ((sharing.OWN_ROWS * 2 + 1, 2, True), (64, 1, True),
                                    (64, 8, False)):
        other = net.plan(rows, threads, training=training)
        assert not other.ops["by_columns"].any() and other.n_threads == threads
    assert net.plan(64, 8, training=True).ops["by_columns"].any()
