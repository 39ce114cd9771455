"""``predict`` from Python, one row and many, against the same in NumPy."""

from __future__ import annotations

import numpy as np

import fastbp


class Predict:
    params = ([1, 64, 4096], ["numpy", "fastbp"])
    param_names = ("rows", "backend")

    def setup(self, rows: int, backend: str) -> None:
        first, second = fastbp.Dense(64, 100), fastbp.Dense(100, 10)
        network = fastbp.Network([first, fastbp.ReLU(), second, fastbp.Softmax()],
                                 fastbp.CrossEntropyLoss())
        self.X = np.random.default_rng(0).normal(size=(rows, 64)).astype(np.float32)
        W, b, V, c = (np.ascontiguousarray(a) for a in (
            first.weight.T, first.bias, second.weight.T, second.bias))

        def plain(X: np.ndarray) -> np.ndarray:
            z = np.maximum(X @ W + b, 0) @ V + c
            z -= z.max(axis=1, keepdims=True)
            np.exp(z, out=z)
            return z / z.sum(axis=1, keepdims=True)

        self.predict = network.predict if backend == "fastbp" else plain
        np.testing.assert_allclose(self.predict(self.X), plain(self.X), atol=1e-5)

    def time_predict(self, rows: int, backend: str) -> None:
        self.predict(self.X)
