"""``predict`` and ``input_gradient`` from Python, one row and many, against the same in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastbp


class _Both:
    params: Any = ([1, 64, 4096], ["numpy", "fastbp"])
    param_names = ("rows", "backend")

    def setup(self, rows: int, backend: str) -> None:
        rng = np.random.default_rng(0)
        first, second = fastbp.Dense(64, 100), fastbp.Dense(100, 10)
        self.network = fastbp.Network([first, fastbp.ReLU(), second, fastbp.Softmax()],
                                      fastbp.CrossEntropyLoss())
        self.X = rng.normal(size=(rows, 64)).astype(np.float32)
        self.T = rng.integers(0, 10, rows)
        self.weights = [np.ascontiguousarray(a) for a in (
            first.weight.T, first.bias, second.weight.T, second.bias)]

    def plain(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Hidden values and probabilities."""
        W, b, V, c = self.weights
        H = np.maximum(X @ W + b, 0)
        z = H @ V + c
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        return H, z / z.sum(axis=1, keepdims=True)


class Predict(_Both):
    def setup(self, rows: int, backend: str) -> None:
        super().setup(rows, backend)
        self.predict = (self.network.predict if backend == "fastbp" else
                        lambda X: self.plain(X)[1])
        np.testing.assert_allclose(self.predict(self.X), self.plain(self.X)[1], atol=1e-5)

    def time_predict(self, rows: int, backend: str) -> None:
        self.predict(self.X)


class InputGradient(_Both):
    def setup(self, rows: int, backend: str) -> None:
        super().setup(rows, backend)

        def gradient(X: np.ndarray, T: np.ndarray) -> np.ndarray:
            H, P = self.plain(X)
            P[np.arange(len(T)), T] -= 1
            P /= len(T)
            return ((P @ self.weights[2].T) * (H > 0)) @ self.weights[0].T

        self.gradient = self.network.input_gradient if backend == "fastbp" else gradient
        np.testing.assert_allclose(self.gradient(self.X, self.T), gradient(self.X, self.T),
                                   atol=1e-5)

    def time_input_gradient(self, rows: int, backend: str) -> None:
        self.gradient(self.X, self.T)
