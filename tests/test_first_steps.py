"""The whole house in one breath: a failure here means look no further."""

import numpy as np
import pytest

import fastbp


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_engine_textbook_and_differences_agree(dtype: str) -> None:
    rng = np.random.default_rng(0)
    net = fastbp.Network([fastbp.Dense(5, 9), fastbp.Tanh(), fastbp.Dense(9, 3),
                          fastbp.Softmax()], fastbp.CrossEntropyLoss(), dtype)
    X, T = rng.normal(size=(70, 5)), rng.integers(0, 3, 70)
    error, grad = net.loss_and_grad(X, T)
    assert net.textbook(X, T) == pytest.approx(error, rel=1e-6)
    np.testing.assert_allclose(net.grads, grad, atol=1e-6)
    assert fastbp.gradcheck(net, X[:4], T[:4]) < 1e-6


def test_learns_xor_and_comes_back_from_disk(tmp_path: object) -> None:
    X, T = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    net = fastbp.Network([fastbp.Dense(2, 8), fastbp.Tanh(), fastbp.Dense(8, 1),
                          fastbp.Sigmoid()], fastbp.BinaryCrossEntropyLoss())
    history = net.fit(X, T, epochs=2000, batch_size=4)
    assert history["loss"][-1] < 0.1
    net.save(f"{tmp_path}/xor.safetensors")
    again = fastbp.load(f"{tmp_path}/xor.safetensors")
    np.testing.assert_array_equal(again.predict_classes(X), T)
