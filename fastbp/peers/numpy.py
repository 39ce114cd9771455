"""The same training step in plain NumPy, as well as NumPy can do it.

Every array is allocated once, every operation writes in place, products go through BLAS
at the thread count that is fastest for the workload, and weights have the layout that suits
the forward product.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from .workload import Workload

_CONTROLLER = ThreadpoolController()


class NumpyBackend:
    """One network with its data, buffers and optimizer state."""

    def __init__(self, work: Workload, n_threads: int | None = None) -> None:
        self.work, self.steps = work, work.batches
        self.X, self.T = work.data()
        self.params = work.initial_weights()
        self.grads = [np.empty_like(a) for a in self.params]
        self.m, self.v, self.scratch = ([np.zeros_like(a) for a in self.params]
                                        for _ in range(3))
        b, dtype = work.batch, np.dtype(work.dtype)
        self.values = [np.empty((b, n), dtype) for n in work.sizes]
        self.deltas = [np.empty((b, n), dtype) for n in work.sizes]
        self.target = np.empty((b, work.sizes[-1]), dtype)
        self.labels, self.rows = np.empty(b, np.int64), np.arange(b)
        self.column = np.empty((b, 1), dtype)
        self.rng, self.step_count = np.random.default_rng(1), 0
        self.threads = self._best_threads() if n_threads is None else n_threads
        self.step_count = 0
        for p, start in zip(self.params, work.initial_weights(), strict=True):
            p[...] = start
        for moment in (*self.m, *self.v):
            moment[...] = 0

    def _best_threads(self) -> int:
        """One thread or all, whichever is faster."""
        counts = sorted({1, max((i["num_threads"] for i in _CONTROLLER.info()
                                 if i["user_api"] == "blas"), default=1)})
        times = {}
        for count in counts:
            with _CONTROLLER.limit(limits=count, user_api="blas"):
                self.step(self.rng.permutation(len(self.X))[:self.work.batch])
                spent = []
                for _ in range(5):
                    rows = self.rng.permutation(len(self.X))[:self.work.batch]
                    began = time.perf_counter()
                    self.step(rows)
                    spent.append(time.perf_counter() - began)
            times[count] = min(spent)
        return min(times, key=lambda count: times[count])

    def epochs(self, n: int, shuffle: bool = True) -> None:
        """Train ``n`` epochs, in new orders or as the data lies."""
        b = self.work.batch
        with _CONTROLLER.limit(limits=self.threads, user_api="blas"):
            for _ in range(n):
                order = self.rng.permutation(len(self.X)) if shuffle else np.arange(len(self.X))
                for i in range(0, len(order), b):
                    self.step(order[i:i + b])

    def step(self, rows: Any) -> None:
        """Gather, forward, loss, backward, update."""
        np.take(self.X, rows, axis=0, out=self.values[0], mode="clip")
        self.descend(rows)

    def descend(self, rows: Any) -> None:
        """The same without the gather: the input is in ``values[0]``."""
        y, dy, params = self.values, self.deltas, self.params
        last = len(y) - 1
        for k in range(last):
            np.matmul(y[k], params[2 * k], out=y[k + 1])
            y[k + 1] += params[2 * k + 1]
            if k + 1 < last:
                self._activate(y[k + 1])
        self._loss_gradient(rows)
        for k in range(last - 1, -1, -1):
            if k + 1 < last:  # y is no longer needed: the weight gradient above has been computed
                self._backward(y[k + 1], dy[k + 1])
            np.matmul(y[k].T, dy[k + 1], out=self.grads[2 * k])
            np.sum(dy[k + 1], axis=0, out=self.grads[2 * k + 1])
            if k:
                np.matmul(dy[k + 1], params[2 * k].T, out=dy[k])
        self._update()

    def _activate(self, z: np.ndarray) -> None:
        if self.work.hidden == "relu":
            np.maximum(z, 0, out=z)
        elif self.work.hidden == "tanh":
            np.tanh(z, out=z)
        else:
            np.negative(z, out=z)
            np.exp(z, out=z)
            z += 1
            np.reciprocal(z, out=z)

    def _backward(self, y: np.ndarray, dy: np.ndarray) -> None:
        """Turn dy into the gradient below the activation; overwrites y."""
        if self.work.hidden == "relu":
            dy *= y > 0
        elif self.work.hidden == "tanh":
            y *= y
            np.subtract(1, y, out=y)
            dy *= y
        else:
            dy *= y
            np.subtract(1, y, out=y)
            dy *= y

    def _loss_gradient(self, rows: np.ndarray) -> None:
        x, dx, b = self.values[-1], self.deltas[-1], self.work.batch
        if self.work.loss == "l2":
            np.take(self.T, rows, axis=0, out=self.target, mode="clip")
            np.subtract(x, self.target, out=dx)
        else:
            np.take(self.T, rows, out=self.labels, mode="clip")
            np.max(x, axis=1, keepdims=True, out=self.column)
            np.subtract(x, self.column, out=dx)
            np.exp(dx, out=dx)
            np.sum(dx, axis=1, keepdims=True, out=self.column)
            dx /= self.column
            dx[self.rows, self.labels] -= 1
        dx *= 1 / b

    def _update(self) -> None:
        rate, self.step_count = self.work.learning_rate, self.step_count + 1
        if self.work.optimizer == "sgd":
            for p, g in zip(self.params, self.grads, strict=True):
                g *= rate
                p -= g
            return
        t = self.step_count
        size, spread = rate / (1 - 0.9**t), 1 / np.sqrt(1 - 0.999**t)
        for p, g, m, v, s in zip(self.params, self.grads, self.m, self.v, self.scratch,
                                 strict=True):
            m *= 0.9
            np.multiply(g, 0.1, out=s)
            m += s
            np.multiply(g, g, out=g)
            g *= 0.001
            v *= 0.999
            v += g
            np.sqrt(v, out=s)
            s *= spread
            s += 1e-8
            np.divide(m, s, out=s)
            s *= size
            p -= s

    def weights(self) -> list[np.ndarray]:
        """Copies of W as (m, n) and bias of each layer."""
        return [p.copy() for p in self.params]


class NumpyCalls(NumpyBackend):
    """A step for each batch, without shuffling."""

    def epochs(self, n: int, shuffle: bool = True) -> None:
        """Train; batches are consecutive rows of the data."""
        X, T, b = self.X, self.T, self.work.batch
        with _CONTROLLER.limit(limits=self.threads, user_api="blas"):
            for _ in range(n):
                for i in range(0, len(X), b):
                    self.values[0], self.T = X[i:i + b], T[i:i + b]
                    self.descend(self.rows)
        self.T = T
