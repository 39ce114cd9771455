"""Each layer by itself: hand-worked numbers, naive loops, complex steps, differences."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import fastbp
from fastbp.layers import LAYERS, Layer

from . import naive


@dataclass
class Hand:
    """An example worked by hand from the equations."""

    X: Any
    Y: Any
    dY: Any
    dX: Any
    arguments: tuple[Any, ...] = ()
    set: dict[str, Any] = field(default_factory=dict)
    grads: dict[str, Any] = field(default_factory=dict)


S = 1 / np.sqrt(1 + 1e-5)  # of a variance of 1 and the default epsilon
HAND = {
    # outside of training
    "Dropout": Hand([[1, 2]], [[1, 2]], [[3, 4]], [[3, 4]]),
    "BatchNorm": Hand([[1, 3]], [[S, 3 * S]], [[1, 2]], [[S, 2 * S]],
                      grads={"weight": [S, 6 * S], "bias": [1, 2]}),
    # mean 2, variance 1; means of dy 1/2 and of dy xhat -S/2
    "LayerNorm": Hand([[1, 3]], [[-S, S]], [[1, 0]], [[S * (1 - S * S) / 2, S * (S * S - 1) / 2]],
                      grads={"weight": [-S, 0], "bias": [1, 0]}),
    # y1 = 1*1 + 2*2 + 0.5, y2 = 3*1 + 4*2 - 1; dx = dY W; dW_ji = dy_j x_i
    "Dense": Hand([[1, 2]], [[5.5, 10]], [[1, -1]], [[-2, -2]], (2, 2),
                  {"weight": [[1, 2], [3, 4]], "bias": [0.5, -1]},
                  {"weight": [[1, 2], [-1, -2]], "bias": [1, -1]}),
    # 1 / (1 + e^-ln 3) = 3/4, derivative 3/4 * 1/4
    "Sigmoid": Hand([[0, np.log(3)]], [[0.5, 0.75]], [[1, 16]], [[0.25, 3]]),
    # tanh(ln 2) = (2 - 1/2) / (2 + 1/2) = 3/5, derivative 16/25
    "Tanh": Hand([[0, np.log(2)]], [[0, 0.6]], [[1, 25]], [[1, 16]]),
    "ReLU": Hand([[-1, 0, 2]], [[0, 0, 2]], [[5, 6, 7]], [[0, 0, 7]]),
    # y = (1, 1, 2) / 4; <dy, y> = 1; dx_i = y_i (dy_i - 1)
    "Softmax": Hand([[0, 0, np.log(2)]], [[0.25, 0.25, 0.5]], [[4, 0, 0]], [[0.75, -0.25, -0.5]]),
}


def make(name: str, n: int, m: int | None = None, dtype: str = "float64") -> Layer:
    return fastbp.Dense(n, m or n, dtype=dtype, seed=3) if name == "Dense" else LAYERS[name]()


def random_rows(rows: int, n: int, seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
    """Normal numbers, none of them near the kink at 0."""
    X = np.random.default_rng(seed).normal(size=(rows, n))
    return (X + np.copysign(0.05, X)).astype(dtype)


def test_every_layer_has_a_hand_worked_example_and_a_naive_twin() -> None:
    assert set(HAND) == set(naive.LAYERS) == set(LAYERS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_hand_worked(name: str, dtype: str) -> None:
    hand = HAND[name]
    layer = LAYERS[name](*hand.arguments, **({"dtype": dtype} if hand.arguments else {}))
    for key, value in hand.set.items():
        setattr(layer, key, value)
    tolerance = 1e-6 if dtype == "float32" else 2e-15
    X = np.array(hand.X, dtype)
    np.testing.assert_allclose(layer.forward(X), hand.Y, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(layer.backward(hand.dY), hand.dX, rtol=tolerance, atol=tolerance)
    for key, value in hand.grads.items():
        np.testing.assert_allclose(layer.gradients()[key], value, rtol=tolerance)


@pytest.mark.parametrize("name", LAYERS)
@given(rows=st.sampled_from([1, 2, 7, 63, 64, 65, 131]), n=st.sampled_from([1, 2, 3, 8, 17, 33]),
       m=st.sampled_from([1, 5, 16, 19]), dtype=st.sampled_from(["float32", "float64"]),
       seed=st.integers(0, 1000))
def test_forward_is_the_naive_loop(name: str, rows: int, n: int, m: int, dtype: str,
                                   seed: int) -> None:
    layer, X = make(name, n, m, dtype), random_rows(rows, n, seed, dtype)
    wide = [p.astype(np.float64) for p in layer.parameters().values()]
    if name == "Dense":
        layer.bias[...] = np.arange(m)
        wide = [layer.weight.astype(np.float64), layer.bias.astype(np.float64)]
    expected = naive.LAYERS[name](X.astype(np.float64), *wide)
    Y = layer.forward(X)
    assert Y.dtype == dtype
    tolerance = 1e-13 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(Y, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("rows", "n", "m"), [(1, 1, 1), (3, 5, 4), (67, 3, 2), (2, 18, 17)])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_complex_steps(name: str, rows: int, n: int, m: int) -> None:
    layer, X = make(name, n, m), random_rows(rows, n)
    dY = np.random.default_rng(1).normal(size=layer.forward(X).shape)
    dX = layer.backward(dY)
    grads = {k: v.copy() for k, v in layer.gradients().items()}
    own = layer.parameters()

    def weighted(**changed: np.ndarray) -> complex:
        values = {**own, **changed}
        x = values.pop("X", X)
        return np.sum(naive.LAYERS[name](x, *values.values()) * dY)

    def check(found: np.ndarray, expected: np.ndarray) -> None:
        scale = max(np.abs(expected).max(), 1e-3)  # a softmax of one number has none
        assert np.abs(found - expected).max() <= 1e-11 * scale

    check(dX, naive.complex_step(lambda x: weighted(X=x), X))
    for key, grad in grads.items():
        if key in layer.buffers:
            assert not grad.any()
            continue
        check(grad, naive.complex_step(lambda p, key=key: weighted(**{key: p}), own[key]))


@pytest.mark.parametrize("name", LAYERS)
def test_gradcheck(name: str) -> None:
    layer, X = make(name, 4, 3), random_rows(5, 4)
    dY = np.random.default_rng(1).normal(size=layer.forward(X).shape)
    assert fastbp.gradcheck(layer, X, dY) <= 1e-6


@pytest.mark.parametrize("name", LAYERS)
@given(data=st.data())
def test_float32_follows_float64(name: str, data: st.DataObject) -> None:
    if name == "LayerNorm":  # rows of almost equal numbers keep no digit in float32
        return
    elements = st.floats(-8, 8, width=32)
    X = data.draw(arrays(np.float32, st.tuples(st.integers(1, 70), st.just(6)), elements=elements))
    double, single = make(name, 6, 4), make(name, 6, 4, "float32")
    if name == "Dense":
        single.weight[...] = double.weight
        double.weight[...] = single.weight
    Y, y = double.forward(X.astype(np.float64)), single.forward(X)
    np.testing.assert_allclose(y, Y, rtol=1e-4, atol=1e-4)
    dY = np.random.default_rng(0).normal(size=Y.shape)
    np.testing.assert_allclose(single.backward(dY), double.backward(dY), rtol=1e-4, atol=1e-4)


INF, NAN = np.inf, np.nan
EXTREMES = {
    "Sigmoid": [(1e4, 1), (-1e4, 0), (INF, 1), (-INF, 0), (NAN, NAN), (0, 0.5)],
    "Tanh": [(1e4, 1), (-1e4, -1), (INF, 1), (-INF, -1), (NAN, NAN), (0, 0)],
    "ReLU": [(1e4, 1e4), (-1e4, 0), (INF, INF), (-INF, 0), (NAN, NAN), (0, 0)],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_have_limits_and_nan_passes(name: str, dtype: str) -> None:
    X = np.array([[x for x, _ in EXTREMES[name]] * 12], dtype)  # more than one vector
    Y = LAYERS[name]().forward(X)
    np.testing.assert_array_equal(Y, [[y for _, y in EXTREMES[name]] * 12])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_subnormals_survive(dtype: str) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    X = np.full((1, 40), tiny, dtype)
    for layer in (fastbp.Tanh(), fastbp.ReLU()):
        np.testing.assert_array_equal(layer.forward(X), X)
    np.testing.assert_array_equal(fastbp.Sigmoid().forward(X), np.full_like(X, 0.5))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_extremes(dtype: str) -> None:
    X = np.array([[1e4, 0, -1e4], [INF, 0, 0], [-INF, 0, 0], [NAN, 0, 0], [1e4, 1e4, 0]], dtype)
    Y = fastbp.Softmax().forward(X)
    np.testing.assert_array_equal(Y[:3], [[1, 0, 0], [1, 0, 0], [0, 0.5, 0.5]])
    assert np.isnan(Y[3]).all()
    np.testing.assert_array_equal(Y[4], [0.5, 0.5, 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dense_passes_nan_to_its_row_alone(dtype: str) -> None:
    dense = fastbp.Dense(3, 20, dtype=dtype)
    X = np.ones((9, 3), dtype)
    X[4, 1] = NAN
    Y = dense.forward(X)
    assert np.isnan(Y[4]).all() and np.isfinite(np.delete(Y, 4, axis=0)).all()


def test_dense_without_bias_is_the_texts() -> None:
    dense = fastbp.Dense(3, 2, bias=False, dtype="float64")
    assert dense.bias is None and dense.bias_grad is None and dense.n_params == 6
    X = random_rows(4, 3)
    np.testing.assert_allclose(dense.forward(X), X @ dense.weight.T, rtol=1e-14)
    dY = random_rows(4, 2, 1)
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


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_do_not_depend_on_what_memory_held(name: str, rng: np.random.Generator) -> None:
    """Kernels overwrite: outputs full of NaN change nothing, and pads of 0 stay 0."""
    layer, rows, ld = make(name, 6), 8, 8
    layer.connect(6)
    op = layer.op(np.dtype("float64"), 6, 6)
    op["ld_in"] = op["ld_out"] = ld
    op["param"] = op["mirror"] = 0
    op["ld_param"], op["extra"] = ld, 7 * ld  # the last row of params serves as workspace too
    params, x, dy = np.zeros(ld * 16), np.zeros((rows, ld)), np.zeros((rows, ld))
    params.reshape(16, ld)[:8, :6], x[:, :6], dy[:, :6] = rng.normal(size=(3, 8, 6))
    params[:] = np.abs(params)  # a running variance among them
    y, dx, grad = (np.full(rows * ld, np.nan) for _ in range(3))
    kernels, now = LAYERS[name].kernels, (np.uint64(0), np.uint64(0))
    assert kernels is not None
    if layer.in_place:
        y[:], dx[:] = x.ravel(), dy.ravel()
    kernels.forward(op[0], now, params, params, x.ravel(), y)
    kernels.backward(op[0], now, params, params, x.ravel(), y, dy.ravel(), dx)
    assert np.isfinite(y).all() and np.isfinite(dx).all()
    assert (dx.reshape(rows, ld)[:, 6:] == 0).all()
    if kernels.gradient is not None:
        count = int(op["n_rows"][0])
        kernels.gradient(op[0], now, params, params, x.ravel(), dy.ravel(), rows, 0, count, 0, 6,
                         grad, ld, 0)
        assert np.isfinite(grad[:count * ld].reshape(count, ld)[:, :6]).all()
