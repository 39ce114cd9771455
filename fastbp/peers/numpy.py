"""The same training step in plain NumPy, as well as NumPy can do it.

A last column of ones stands for the bias, which is the last row of each weight: so one product
gives a layer, and another its gradient. Every array is allocated once, operations write in place,
and all parameters are updated at once. Rows or units may be neighbours in memory, and BLAS have
one thread or all: as is fastest for the workload.
"""

from __future__ import annotations

import statistics
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
        X, self.T = work.data()
        width = X.shape[1] + 1  # whole vectors: BLAS likes rows that begin with one
        self.X = np.ones((len(X), -(-width // 16) * 16), X.dtype)
        self.X[:, :width - 1] = X
        start = np.concatenate([a.ravel() for a in work.initial_weights()])
        self.params, self.grads = start.copy(), np.empty_like(start)
        self.m, self.v, self.scratch = (np.zeros_like(start) for _ in range(3))
        self.W, self.dW = self._layers(self.params), self._layers(self.grads)
        self.rng, self.step_count = np.random.default_rng(1), 0
        counts = [n_threads] if n_threads is not None else sorted({1, max(
            (i["num_threads"] for i in _CONTROLLER.info() if i["user_api"] == "blas"), default=1)})
        times = {(order, n): self._time(order, n) for order in "CF" for n in counts}
        order, self.threads = min(times, key=times.__getitem__)
        self._allocate(order)
        self.step_count = 0
        self.params[...] = start
        for moment in (self.m, self.v):
            moment[...] = 0

    def _allocate(self, order: Any) -> None:
        """Buffers of a batch, (rows, units), in the order of C or Fortran."""
        b, dtype, sizes = self.work.batch, self.X.dtype, self.work.sizes
        self.batch = np.empty((b, self.X.shape[1]), dtype)
        self.values = [self.batch[:, :sizes[0] + 1],
                       *(np.ones((b, n + 1), dtype, order) for n in sizes[1:])]
        self.deltas = [np.empty((b, n), dtype, order) for n in sizes]
        self.mask = [np.empty((b, n), bool, order) for n in sizes]
        self.target = np.empty((b, sizes[-1]), dtype)
        self.labels, self.rows = np.empty(b, np.int64), np.arange(b)
        self.column = np.empty((b, 1), dtype)

    def _time(self, order: str, threads: int) -> float:
        """Seconds of a step, the median of some."""
        self._allocate(order)
        spent = list[float]()
        with _CONTROLLER.limit(limits=threads, user_api="blas"):
            while len(spent) < 5 or (len(spent) < 50 and sum(spent) < 0.1):
                rows = self.rng.permutation(len(self.X))[:self.work.batch]
                began = time.perf_counter()
                self.step(rows)
                spent.append(time.perf_counter() - began)
        return statistics.median(spent)

    def _layers(self, flat: np.ndarray) -> list[np.ndarray]:
        """Weight and bias of each layer, (n_in + 1, n_out), as views."""
        found, at = [], 0
        for m, n in zip(self.work.sizes, self.work.sizes[1:], strict=False):
            found.append(flat[at:at + (m + 1) * n].reshape(m + 1, n))
            at += (m + 1) * n
        return found

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
        np.take(self.X, rows, axis=0, out=self.batch, mode="clip")
        self.descend(rows)

    def descend(self, rows: Any) -> None:
        """The same without the gather: the input is in ``values[0]``."""
        y, dy, W = self.values, self.deltas, self.W
        last = len(W)
        for k in range(last):
            z = y[k + 1][:, :-1]
            np.matmul(y[k], W[k], out=z)
            if k + 1 < last:
                self._activate(z)
        self._loss_gradient(rows)
        for k in range(last - 1, -1, -1):
            if k + 1 < last:  # y is no longer needed: the weight gradient above has been computed
                self._backward(k + 1)
            np.matmul(y[k].T, dy[k + 1], out=self.dW[k])
            if k:
                np.matmul(dy[k + 1], W[k][:-1].T, out=dy[k])
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

    def _backward(self, k: int) -> None:
        """Turn a delta into the gradient below the activation; overwrites its values."""
        y, dy = self.values[k][:, :-1], self.deltas[k]
        if self.work.hidden == "relu":
            np.greater(y, 0, out=self.mask[k])
            dy *= self.mask[k]
        elif self.work.hidden == "tanh":
            y *= y
            np.subtract(1, y, out=y)
            dy *= y
        else:
            dy *= y
            np.subtract(1, y, out=y)
            dy *= y

    def _loss_gradient(self, rows: np.ndarray) -> None:
        x, dx, b = self.values[-1][:, :-1], self.deltas[-1], self.work.batch
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
        p, g, m, v, s = self.params, self.grads, self.m, self.v, self.scratch
        if self.work.optimizer == "sgd":
            g *= rate
            p -= g
            return
        t = self.step_count
        size, spread = rate / (1 - 0.9**t), 1 / np.sqrt(1 - 0.999**t)
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
        return [part.copy() for W in self.W for part in (W[:-1], W[-1])]


class NumpyCalls(NumpyBackend):
    """A step for each batch, without shuffling."""

    def epochs(self, n: int, shuffle: bool = True) -> None:
        """Train; batches are consecutive rows of the data."""
        X, T, b, m = self.X, self.T, self.work.batch, self.work.sizes[0] + 1
        with _CONTROLLER.limit(limits=self.threads, user_api="blas"):
            for _ in range(n):
                for i in range(0, len(X), b):
                    self.values[0], self.T = X[i:i + b, :m], T[i:i + b]
                    self.descend(self.rows)
        self.T = T
