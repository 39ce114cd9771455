"""Training steps of every workload, fastbp against plain NumPy."""

from __future__ import annotations

from fastbp.peak import peak_flops
from fastbp.peers.fastbp import BACKENDS, FastbpBackend
from fastbp.peers.measure import steps_for
from fastbp.peers.numpy import NumpyBackend

from .grid import GRID
from .late import fastbp_epoch, microseconds
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
        """How many times longer a step takes after 9,000 steps than after the first 250."""
        epoch = fastbp_epoch()
        times = [microseconds(epoch) for _ in range(38)]
        return times[-1] / times[1]
