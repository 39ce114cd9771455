"""Training steps of every workload, fastbp against plain NumPy."""

from __future__ import annotations

import time

import numpy as np

from fastbp import Dense, Network, ReLU
from fastbp.peak import peak_flops
from fastbp.peers.fastbp import BACKENDS, FastbpBackend
from fastbp.peers.measure import steps_for
from fastbp.peers.numpy import NumpyBackend

from .grid import GRID
from .timing import seconds_per_step


class Training:
    """One epoch, from the call of ``fit`` to its return."""

    params = (list(GRID), list(BACKENDS))
    param_names = ("row", "backend")
    timeout = 300
    warmup_time = 0.1
    sample_time = 0.1

    def setup(self, row: str, backend: str) -> None:
        self.run = BACKENDS[backend](GRID[row])
        self.run.epochs(1)

    def time_epoch(self, row: str, backend: str) -> None:
        self.run.epochs(1)


class Ratios:
    """Figures of one process, in which both sides alternate."""

    params = (list(GRID),)
    param_names = ("row",)
    timeout = 300

    def track_share_of_peak(self, row: str) -> float:
        """Share of the multiply-add peak of all cores that the products reach."""
        work = GRID[row]
        run = FastbpBackend(work)
        spent = seconds_per_step(run.epochs, run.steps)
        return work.flops / spent / peak_flops(work.dtype)

    def track_numpy_over_fastbp(self, row: str) -> float:
        """How many times longer NumPy takes; median over alternating pairs."""
        ours, theirs = FastbpBackend(GRID[row]), NumpyBackend(GRID[row])
        counts = [steps_for(b.epochs, b.steps, 0.05) for b in (ours, theirs)]
        ratios = []
        for _ in range(5):
            times = [seconds_per_step(lambda n, b=b, c=c: b.epochs(n * c), b.steps * c,
                                      budget=0, repeat=1)
                     for b, c in zip((ours, theirs), counts, strict=True)]
            ratios.append(times[1] / times[0])
        return sorted(ratios)[2]


class Late:
    """Steps of a network that has learnt: units that died leave moments that fade."""

    timeout = 300

    def track_late_over_early(self) -> float:
        """How many times longer a step takes after 9,000 steps than in the first 512."""
        rng, batch = np.random.default_rng(0), 256
        X = rng.standard_normal((512 * batch, 128), np.float32)
        T = (X @ rng.standard_normal((128, 10), np.float32)).argmax(axis=1)
        net = Network([Dense(128, 256), ReLU(), Dense(256, 128), ReLU(), Dense(128, 10)],
                      "SoftmaxCrossEntropyLoss")
        net.fit(X[:4 * batch], T[:4 * batch], batch_size=batch, epochs=1)
        times = []
        for _ in range(19):
            began = time.perf_counter()
            net.fit(X, T, batch_size=batch, epochs=1, warm_start=True)
            times.append(time.perf_counter() - began)
        return times[-1] / times[0]
