"""fastbp itself as a backend, and the interface of all backends."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..layers import Dense
from .workload import Workload


class Backend(Protocol):
    """One network under training, from the workload's initial weights."""

    #: Steps in an epoch.
    steps: int

    def epochs(self, n: int, shuffle: bool = True) -> None:
        """Train ``n`` epochs, each in a new order, or in the order of the data."""

    def weights(self) -> list[np.ndarray]:
        """W as (m, n) and bias, layer by layer."""


class FastbpBackend:
    """fastbp through its public ``fit``, which takes ``options``."""

    precision = "highest"

    def __init__(self, work: Workload, n_threads: int | None = None, **options: Any) -> None:
        self.network, self.n_threads, self.options = work.network(), n_threads, options
        self.network.matmul_precision = self.precision
        self.X, self.T = work.data()
        self.work, self.steps = work, work.batches

    def epochs(self, n: int, shuffle: bool = True) -> None:
        """Train, with all checks and conversions of ``fit``."""
        self.network.fit(self.X, self.T, epochs=n, batch_size=self.work.batch, shuffle=shuffle,
                         optimizer=self.work.make_optimizer(), n_threads=self.n_threads,
                         **self.options)

    def weights(self) -> list[np.ndarray]:
        """Copies, as (m, n) and (n,)."""
        dense = [x for x in self.network.layers if isinstance(x, Dense)]
        return [a for x in dense for a in (x.weight.T.copy(), x.bias.copy())]


class HighFastbpBackend(FastbpBackend):
    """With large products of numbers rounded to 16 bits."""

    precision = "high"


class MediumFastbpBackend(FastbpBackend):
    """With large products of numbers rounded to bfloat16."""

    precision = "medium"


class FastbpCalls(FastbpBackend):
    """A call of ``partial_fit`` for each batch, without shuffling."""

    def __init__(self, work: Workload, n_threads: int | None = None, **options: Any) -> None:
        super().__init__(work, n_threads, **options)
        self.optimizer = work.make_optimizer()

    def epochs(self, n: int, shuffle: bool = True) -> None:
        """Train; batches are consecutive rows of the data."""
        b = self.work.batch
        for _ in range(n):
            for i in range(0, len(self.X), b):
                self.network.partial_fit(
                    self.X[i:i + b], self.T[i:i + b], batch_size=b, optimizer=self.optimizer,
                    n_threads=self.n_threads, **self.options)
