"""Arrays as users have them: every kind that means the same numbers works, unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastbp
from fastbp import Dense, Network, SoftmaxCrossEntropyLoss
from fastbp._validation import all_finite, flushed

from .builders import classifier, clusters


def strided(X: np.ndarray) -> np.ndarray:
    wide = np.full((2 * len(X), 3 * X.shape[1]), 99.0, X.dtype)
    wide[::2, ::3] = X
    return wide[::2, ::3]


def read_only(X: np.ndarray) -> np.ndarray:
    X = X.copy()
    X.flags.writeable = False
    return X


FORMS: dict[str, Any] = {
    "fortran": np.asfortranarray, "strided": strided, "reversed": lambda X: X[::-1][::-1],
    "negative strides": lambda X: np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
    "read-only": read_only, "big-endian": lambda X: X.astype(">f8"), "list": np.ndarray.tolist,
    "tuples": lambda X: tuple(map(tuple, X.tolist())), "DataFrame": pd.DataFrame,
    "object": lambda X: X.astype(object), "float32": lambda X: X.astype(np.float32),
    "mask that hides nothing": lambda X: np.ma.masked_array(X, mask=False), "memory-mapped": None,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_numbers_give_the_same_result(form: str, tmp_path: Any) -> None:
    X, T = clusters(40)
    X = X.astype(np.float32).astype(np.float64)
    if form == "memory-mapped":
        np.save(tmp_path / "X.npy", X)
        other = np.load(tmp_path / "X.npy", mmap_mode="r")
    else:
        other = FORMS[form](X)
    kept = np.array(other, dtype=float, copy=True)
    net, same = classifier("float64"), classifier("float64")
    net.fit(X, T, epochs=2)
    same.fit(other, pd.Series(T) if form == "DataFrame" else T, epochs=2)
    np.testing.assert_array_equal(net.params, same.params)
    np.testing.assert_array_equal(net.predict(X), same.predict(other))
    assert net.loss_and_grad(X, T)[0] == same.loss_and_grad(other, T)[0]
    np.testing.assert_array_equal(np.array(other, dtype=float), kept)


@pytest.mark.parametrize("form", [f for f in FORMS if f not in ("float32", "memory-mapped")])
def test_layers_take_them_too(form: str) -> None:
    X = np.random.default_rng(0).normal(size=(7, 4))
    other = FORMS[form](X)
    dense = fastbp.Dense(4, 4, dtype="float64")
    for layer in (dense, fastbp.Sigmoid(), fastbp.Softmax()):
        Y = layer.forward(X)
        np.testing.assert_array_equal(layer.forward(other), Y)
        np.testing.assert_array_equal(layer.backward(other), layer.backward(X))
    loss = fastbp.L2Loss()
    assert loss.forward(other, X * 2) == loss.forward(X, FORMS[form](X * 2))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64, np.float16, bool])
def test_integers_bools_and_half_floats(dtype: Any) -> None:
    X = np.random.default_rng(0).integers(0, 2, (5, 6)).astype(dtype)
    net = classifier("float64")
    np.testing.assert_array_equal(net.predict(X), net.predict(X.astype(float)))


@given(st.integers(1, 9), st.sampled_from(["C", "F"]), st.booleans())
def test_sliced_targets(rows: int, order: Any, labels: bool) -> None:
    X, T = clusters(20)
    P = np.asarray(np.eye(4)[T], order=order)
    net = classifier("float64")
    expected = net.loss(X[:rows], T[:rows])
    assert net.loss(X[:rows], P[:rows]) == pytest.approx(expected, rel=1e-12)
    wide = np.zeros((40, 2), int)
    wide[::2, 1] = T
    if labels:
        assert net.loss(X[:rows], wide[::2, 1][:rows]) == expected


def test_class_indices_may_be_a_column() -> None:
    X, T = clusters(20)
    net = classifier("float64")
    for column in (T[:, None], pd.DataFrame(T), T[:, None].astype(float)):
        assert net.loss(X, column) == net.loss(X, T)
        np.testing.assert_array_equal(net.input_gradient(X, column), net.input_gradient(X, T))


@pytest.mark.parametrize("dtype", [">f8", "<f8", float, np.float64, np.dtype(">f8")], ids=str)
def test_a_dtype_is_that_of_the_machine_however_it_is_named(dtype: Any) -> None:
    net = classifier(dtype)
    assert net.dtype is np.dtype(np.float64) and net.params.dtype.isnative
    np.testing.assert_array_equal(net.params, classifier("float64").params)
    assert Dense(3, 2, dtype=dtype).weight.dtype is net.dtype


def test_a_layer_without_parameters_keeps_float32_of_any_byte_order() -> None:
    X = np.ones((2, 3))
    for dtype, expected in ((">f4", "float32"), ("<f4", "float32"), (">f8", "float64"),
                            ("float16", "float64"), (int, "float64")):
        assert fastbp.Tanh().forward(X.astype(dtype)).dtype == np.dtype(expected)


def test_nonfinite_is_let_in_when_asked() -> None:
    X = np.zeros((3, 6))
    X[1] = np.nan
    X[2, 0] = np.inf
    P = classifier(allow_nonfinite=True).predict(X)
    assert np.isfinite(P[0]).all() and np.isnan(P[1]).all()
    line = fastbp.Network([fastbp.Dense(6, 2)], "mse", allow_nonfinite=True)
    for bad in (np.nan, np.inf):
        assert not np.isfinite(line.loss(np.ones((3, 6)), [[0, 1], [bad, 1], [0, 1]]))


def test_numbers_of_rows_are_int64_where_numpys_own_integers_are_not(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows before NumPy 2; kernels read them by address."""
    arange, full, given = np.arange, np.full, set[Any]()
    monkeypatch.setattr(np, "arange", lambda a, b=None, step=None, dtype=np.int32: arange(
        a, b, step, dtype))
    monkeypatch.setattr(np, "full", lambda size, value, dtype=np.int32: full(size, value, dtype))
    monkeypatch.setattr("fastbp.network.launch", lambda *args: given.update(
        x.dtype for x in args if isinstance(x, np.ndarray)))
    classifier().jacobian(clusters(20)[0])
    assert np.dtype(np.int64) in given and np.dtype(np.int32) not in given


def test_rows_of_any_shape_under_flatten(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    images, T = rng.random((60, 4, 5)), rng.integers(0, 3, 60)

    def network(shape: Any) -> fastbp.Network:
        return fastbp.Network([fastbp.Flatten(shape), fastbp.Dense(20, 8), fastbp.Tanh(),
                               fastbp.Dense(8, 3)], "SoftmaxCrossEntropyLoss", "float64")

    def fitted(shape: Any, X: Any) -> fastbp.Network:
        net = network(shape)
        net.fit(X, T, epochs=3, validation_data=(X, T))
        return net

    flat, given, free = (fitted(None, images.reshape(60, 20)), fitted((4, 5), images),
                         fitted(None, images.reshape(60, 2, 2, 5)))
    assert (flat.params == given.params).all() and (flat.params == free.params).all()
    assert (given.predict(images) == flat.predict(images.reshape(60, 20))).all()
    assert (given.predict(images[:1]) == flat.predict(images[:1].reshape(1, 20))).all()
    assert given.input_gradient(images, T).shape == images.shape
    assert given.layers[0].backward(given.layers[0].forward(images)).shape == images.shape
    given.save(tmp_path / "model.safetensors")
    again = fastbp.load(tmp_path / "model.safetensors")
    assert (again.predict(images) == given.predict(images)).all()
    for bad in (images.reshape(60, 5, 4), images[:, :3], images[0, 0]):
        with pytest.raises(ValueError, match=r"X must have shape \(rows, 4, 5\), got"):
            given.predict(bad)
    with pytest.raises(ValueError, match="20 columns"):
        free.predict(images[:, :3])
    with pytest.raises(ValueError, match="shape"):
        fastbp.Flatten((0, 3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 8193, 100_000, 1 << 20, (1 << 20) + 1])
def test_all_numbers_are_looked_at(dtype: str, size: int) -> None:
    array = np.full(size, np.finfo(dtype).max, dtype)  # whose squares are infinite
    assert all_finite(array)
    for bad in (np.nan, np.inf, -np.inf):
        for at in (0, size // 2, size - 1):
            array[at] = bad
            assert not all_finite(array)
            assert not all_finite(array.reshape(1, -1)[:, ::-1])
            array[at] = 1


@pytest.mark.parametrize("dtype", [np.dtype("float32"), np.dtype("float64")])
def test_only_subnormal_numbers_are_flushed(dtype: np.dtype[Any]) -> None:
    tiny = np.finfo(dtype).tiny
    kept, small = np.array([-1, -tiny, 0, tiny, 1], dtype), np.nextafter(tiny, dtype.type(0))
    assert flushed(kept, dtype) is kept
    array = np.array([small, tiny, -small, -1], dtype)
    np.testing.assert_array_equal(flushed(array, dtype), np.array([0, tiny, 0, -1], dtype))
    assert array[0] == small, "a copy"


def test_no_threads_of_blas_are_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    for name in ("dot", "vdot", "inner", "matmul", "tensordot"):
        monkeypatch.setattr(np, name, lambda *_, name=name, **__: called.append(name) or np.nan)
    X, T = np.random.default_rng(0).random((140_000, 8)), np.zeros(140_000, np.int64)
    net = Network([Dense(8, 2)], SoftmaxCrossEntropyLoss(), dtype="float64")
    for rows in (5000, len(X)):
        net.fit(X[:rows], T[:rows], epochs=1)
        net.predict(X[:rows])
    assert not called
