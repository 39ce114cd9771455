"""Ways to train a workload: ``epochs(n)`` trains n epochs; each epoch is ``steps`` steps."""

from __future__ import annotations

from typing import Protocol

from .grid import Workload
from .numpy_baseline import NumpyBackend


class Backend(Protocol):
    """What a benchmark needs."""

    steps: int

    def epochs(self, n: int) -> None:
        """Train ``n`` epochs in new orders."""

    def loss(self) -> float:
        """Error over all data at the present weights."""


class FastbpBackend:
    """fastbp through its public ``fit``."""

    def __init__(self, work: Workload, n_threads: int | None = None) -> None:
        self.network, self.n_threads = work.network(), n_threads
        self.X, self.T = work.data()
        self.work, self.steps = work, work.batches

    def epochs(self, n: int) -> None:
        """Train; all checks and conversions of ``fit`` included."""
        self.network.fit(self.X, self.T, epochs=n, batch_size=self.work.batch,
                         optimizer=self.work.make_optimizer(), n_threads=self.n_threads)

    def loss(self) -> float:
        """Error over all data."""
        return self.network.loss(self.X, self.T)


BACKENDS: dict[str, type[Backend]] = {"numpy": NumpyBackend, "fastbp": FastbpBackend}
