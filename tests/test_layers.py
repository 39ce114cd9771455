"""Each layer by itself: hand-worked numbers, naive loops, complex steps, differences."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import fastbp
from fastbp.kernels.tile import WRITE
from fastbp.layers import ACTIVATIONS, LAYERS, Layer
from fastbp.layers.layer_norm import layer_norm_gradient

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
    "LeakyReLU": Hand([[-2, 0, 2]], [[-0.02, 0, 2]], [[5, 6, 7]], [[0.05, 0.06, 7]]),
    # 1 / 4 - 1 = -3/4, derivative 1/4
    "ELU": Hand([[-np.log(4), 0, 2]], [[-0.75, 0, 2]], [[8, 6, 7]], [[2, 6, 7]]),
    "Identity": Hand([[-1, 2]], [[-1, 2]], [[3, 4]], [[3, 4]]),
    "Flatten": Hand([[-1, 2]], [[-1, 2]], [[3, 4]], [[3, 4]]),
    # s = 1/2 and 3/4; 3/4 + ln 3 * 3/16
    "SiLU": Hand([[0, np.log(3)]], [[0, 0.75 * np.log(3)]], [[2, 16]],
                 [[1, 12 + 3 * np.log(3)]]),
    # ln 2 and ln 4
    "Softplus": Hand([[0, np.log(3)]], [[np.log(2), np.log(4)]], [[2, 4]], [[1, 3]]),
    # 0.841344746068542949 of the normal distribution lies below 1; its density is 0.2419707...
    "GELU": Hand([[0, 1, -1]], [[0, 0.8413447460685429, -0.15865525393145705]], [[2, 1, 1]],
                 [[1, 0.8413447460685429 + 0.24197072451914337,
                   0.15865525393145705 - 0.24197072451914337]]),
    # e^y = (1, 1, 2) / 4; sum of dy 4
    "LogSoftmax": Hand([[0, 0, np.log(2)]], [[-np.log(4), -np.log(4), -np.log(2)]],
                       [[4, 0, 0]], [[3, -1, -2]]),
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
    tolerance = 1e-6 if dtype == "float32" else 1e-15
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


# Rows of almost equal numbers keep no digit of a LayerNorm in float32: test_training_layers has
# its own test of that.
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "LayerNorm"])
@given(data=st.data())
def test_float32_follows_float64(name: str, data: st.DataObject) -> None:
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
    "LeakyReLU": [(1e4, 1e4), (-2.0**13, -2.0**13 * 0.01), (INF, INF), (-INF, -INF), (NAN, NAN)],
    "ELU": [(1e4, 1e4), (-1e4, -1), (INF, INF), (-INF, -1), (NAN, NAN), (0, 0)],
    "Identity": [(1e4, 1e4), (-1e4, -1e4), (INF, INF), (-INF, -INF), (NAN, NAN), (0, 0)],
    "SiLU": [(1e4, 1e4), (-1e4, 0), (INF, INF), (-INF, 0), (NAN, NAN), (0, 0)],
    "Softplus": [(1e4, 1e4), (-1e4, 0), (INF, INF), (-INF, 0), (NAN, NAN)],
    "GELU": [(1e4, 1e4), (-1e4, 0), (INF, INF), (-INF, 0), (NAN, NAN), (0, 0)],
}
#: The derivative at the far ends.
FAR = {"Sigmoid": (0, 0), "Tanh": (0, 0), "ReLU": (0, 1), "LeakyReLU": (0.01, 1), "ELU": (0, 1),
       "Identity": (1, 1), "SiLU": (0, 1), "Softplus": (0, 1), "GELU": (0, 1)}


def test_every_activation_of_single_numbers_has_its_limits() -> None:
    single = {c.__name__ for c in ACTIVATIONS.values()} - {"Softmax", "LogSoftmax"}
    assert set(EXTREMES) == set(FAR) == single


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_have_limits_and_nan_passes(name: str, dtype: str) -> None:
    X = np.array([[x for x, _ in EXTREMES[name]] * 12], dtype)  # more than one vector
    layer = LAYERS[name]()
    Y = layer.forward(X)
    np.testing.assert_array_equal(Y, np.array([[y for _, y in EXTREMES[name]] * 12], dtype))
    far = np.array([[-INF, INF, -1e30, 1e30] * 9], dtype)
    layer.forward(far)
    np.testing.assert_array_equal(layer.backward(np.ones_like(far)),
                                  np.array([[*FAR[name], *FAR[name]] * 9], dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_slope_of_zero_is_relu(dtype: str) -> None:
    X = np.array([[-INF, -1, -0.0, 0, 2, INF, NAN] * 5], dtype)
    flat, dY = fastbp.LeakyReLU(0.0), np.ones((1, 35), dtype)
    np.testing.assert_array_equal(flat.forward(X), fastbp.ReLU().forward(X))
    np.testing.assert_array_equal(flat.backward(dY)[X != 0], (X > 0)[X != 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gelu_by_tanh_is_its_formula(dtype: str) -> None:
    layer, X = fastbp.GELU("tanh"), random_rows(7, 33, dtype=dtype)
    wide = X.astype(np.float64)
    tolerance = 1e-13 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(layer.forward(X), naive.gelu_tanh(wide), tolerance, tolerance)
    expected = naive.complex_step(lambda x: np.sum(naive.gelu_tanh(x)), wide)
    np.testing.assert_allclose(layer.backward(np.ones_like(X)), expected, tolerance, tolerance)
    far = np.array([[INF, -INF, 1e30, -1e30, NAN, 0]], dtype)
    np.testing.assert_array_equal(layer.forward(far), np.array([[INF, 0, 1e30, 0, NAN, 0]], dtype))
    np.testing.assert_array_equal(layer.backward(np.ones_like(far)), [[1, 0, 1, 0, NAN, 0.5]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_elu_keeps_its_digits_near_zero(dtype: str) -> None:
    X = -np.logspace(-30, 1, 200).astype(dtype)[None]
    np.testing.assert_allclose(fastbp.ELU(2.5).forward(X), 2.5 * np.expm1(X.astype(np.float64)),
                               rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "arguments", "theirs", "keywords"), [
    ("LeakyReLU", (), "leaky_relu", {}),
    ("LeakyReLU", (0.3,), "leaky_relu", {"negative_slope": 0.3}),
    ("ELU", (), "elu", {}), ("ELU", (0.7,), "elu", {"alpha": 0.7}),
    ("SiLU", (), "silu", {}), ("Softplus", (), "softplus", {"threshold": 1e3}),
    ("GELU", (), "gelu", {}), ("GELU", ("tanh",), "gelu", {"approximate": "tanh"}),
    ("LogSoftmax", (), "log_softmax", {"dim": 1}), ("Softmax", (), "softmax", {"dim": 1})])
def test_pytorch_agrees(name: str, arguments: tuple[Any, ...], theirs: str,
                        keywords: dict[str, Any], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    layer = LAYERS[name](*arguments)
    X, dY = 3 * random_rows(9, 37, dtype=dtype), random_rows(9, 37, 1, dtype)
    X[0, :3] = 0, -60, 60
    x = torch.tensor(X, requires_grad=True)
    y = getattr(torch.nn.functional, theirs)(x, **keywords)
    y.backward(torch.tensor(dY))
    tolerance = 1e-13 if dtype == "float64" else 2e-6
    np.testing.assert_allclose(layer.forward(X), y.detach().numpy(), tolerance, tolerance)
    np.testing.assert_allclose(layer.backward(dY), x.grad.numpy(), tolerance, 4 * tolerance)


def test_activations_by_name() -> None:
    assert set(ACTIVATIONS.values()) < set(LAYERS.values())
    for name, kind in ACTIVATIONS.items():
        assert not kind().shapes(), name  # made without arguments


@pytest.mark.parametrize(("make", "message"), [
    (lambda: fastbp.LeakyReLU(-0.1), "negative_slope must be in .*-0.1"),
    (lambda: fastbp.LeakyReLU("a"), "negative_slope must be a number, got 'a'"),
    (lambda: fastbp.ELU(NAN), "alpha must be in .*nan"),
    (lambda: fastbp.GELU("erf"), r"approximate must be one of \['none', 'tanh'\], got 'erf'"),
    (lambda: fastbp.GELU(True), "approximate must be a string, got True")])
def test_bad_settings_are_named(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_settings_survive_a_model_file(tmp_path: Path) -> None:
    net = fastbp.Network([fastbp.Dense(3, 4), fastbp.GELU("tanh"), fastbp.LeakyReLU(0.2),
                          fastbp.ELU(0.5), fastbp.LogSoftmax()], "L2Loss")
    net.save(tmp_path / "m.safetensors")
    again, X = fastbp.load(tmp_path / "m.safetensors"), random_rows(5, 3)
    assert repr(again.layers) == repr(net.layers) and "'tanh'" in repr(net.layers)
    np.testing.assert_array_equal(again.predict(X), net.predict(X))


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
    Z = fastbp.LogSoftmax().forward(X)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(np.exp(Z[:3]), [[1, 0, 0], [1, 0, 0], [0, 0.5, 0.5]], 1e-6)
    assert np.isnan(Z[3]).all() and (Z[0] == [0, -1e4, -2e4]).all() and not np.isnan(Z[4]).any()
    Y = fastbp.Softmax().forward(X)
    np.testing.assert_array_equal(Y[:3], [[1, 0, 0], [1, 0, 0], [0, 0.5, 0.5]])
    assert np.isnan(Y[3]).all()
    np.testing.assert_array_equal(Y[4], [0.5, 0.5, 0])


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
                         grad, ld, WRITE, 0.0)
        assert np.isfinite(grad[:count * ld].reshape(count, ld)[:, :6]).all()


def test_a_gradient_of_a_subclass_is_taken_at_any_size_and_corrects_nothing() -> None:
    class Mine(fastbp.Dense):
        kernels = fastbp.Dense.kernels._replace(gradient=layer_norm_gradient)

    kernels = Mine(64, 2).kernels_for(np.dtype("float32"), 64, 2)
    assert kernels is not None and kernels.gradient is layer_norm_gradient
    assert Mine(64, 2).op(np.dtype("float32"), 64, 2)["corrects"] == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [fastbp.BatchNorm, fastbp.LayerNorm])
def test_squares_that_overflow_are_seen_in_the_loss(kind: type[Layer], dtype: str) -> None:
    """They would be divided by, and make a column or row of zeros."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)).astype(dtype)
    X[:, 0] *= 1e20 if dtype == "float32" else 1e160
    net = fastbp.Network([fastbp.Dense(3, 4), kind(), fastbp.Tanh(), fastbp.Dense(4, 1)], "mse",
                         dtype)
    with pytest.warns(RuntimeWarning, match="loss is nan in epoch 1"):
        net.fit(X, X[:, 1:2], epochs=2)
    assert np.isnan(net.predict(X)).all()


@pytest.mark.parametrize("kind", [fastbp.BatchNorm, fastbp.LayerNorm])
def test_rows_of_a_normalization_are_attributes_as_those_of_dense(kind: type[Layer]) -> None:
    layer: Any = kind()
    names = list(layer.shapes())
    for name in names:
        with pytest.raises(AttributeError, match=rf"Norm\(.*\) has no {name} yet: a network or "):
            getattr(layer, name)
    net = fastbp.Network([fastbp.Dense(3, 4), layer, fastbp.Dense(4, 1)], "mse")
    for name in names:
        own = net.named_parameters()[f"1.{name}"]
        np.testing.assert_array_equal(getattr(layer, name), own)
        assert np.shares_memory(getattr(layer, name), net.params)
        for good in ([1, 2, 3, 4], [[4, 3, 2, 1]], [[1], [2], [3], [4]]):
            setattr(layer, name, good)
            np.testing.assert_array_equal(own, np.ravel(good))
        for bad in ([5, 6], [[5, 6], [7, 8]], 5, []):
            with pytest.raises(ValueError, match=rf"^{name} must have shape \(4,\), got shape \("):
                setattr(layer, name, bad)
        for value in (np.nan, np.inf, 1e300):
            with pytest.raises(ValueError, match=rf"^{name} holds .* at \(2,\) .*float32\)$"):
                setattr(layer, name, [1, 2, value, 4])
        with pytest.raises((ValueError, TypeError), match=f"^{name} "):
            setattr(layer, name, ["a"] * 4)
        np.testing.assert_array_equal(own, [1, 2, 3, 4])
    for name in ("weight", "bias"):
        layer.gradients()[name][...] = [5, 6, 7, 8]
        assert getattr(layer, f"{name}_grad").tolist() == [5, 6, 7, 8]
    before = net.predict([[1, 2, 3]])
    layer.bias = layer.bias + 1  # also for the plan of single rows
    assert net.predict([[1, 2, 3]]) == pytest.approx(before + net.layers[2].parameters()[
        "weight"].sum(), abs=1e-4)


def test_a_running_variance_is_not_negative() -> None:
    layer = fastbp.BatchNorm()
    layer.forward(np.arange(6.0).reshape(3, 2))
    layer.running_mean = [-1, 1]
    with pytest.raises(ValueError, match=r"^running_var must be at least 0, got -1\.0$"):
        layer.running_var = [1, -1]
    assert layer.running_mean.tolist() == [-1, 1] and (layer.running_var > 0).all()
