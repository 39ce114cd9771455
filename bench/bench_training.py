"""Training steps of every workload, fastbp against plain NumPy."""

from __future__ import annotations

import copy

from fastbp import Dense, Network
from fastbp.layers import LAYERS, Layer
from fastbp.peak import peak_flops
from fastbp.peers.fastbp import Backend, FastbpBackend
from fastbp.peers.numpy import NumpyBackend

from .grid import GRID
from .late import fastbp_epoch, microseconds
from .timing import ratio_of_times, seconds_per_step

BACKENDS: dict[str, type[Backend]] = {"numpy": NumpyBackend, "fastbp": FastbpBackend}


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
        """Share of the multiply-add peak of all cores that the products reach. More is better:
        asv takes any figure the other way, and ``time_epoch`` tells it of regressions."""
        work = GRID[row]
        run = FastbpBackend(work)
        spent = seconds_per_step(run.epochs, run.steps)
        return work.flops / spent / peak_flops(work.dtype)

    def track_over_numpy(self, row: str) -> float:
        """A step's time over NumPy's; median over alternating pairs."""
        return ratio_of_times(FastbpBackend(GRID[row]), NumpyBackend(GRID[row]))


class Rules:
    """What rules on gradients and parameters cost a step."""

    params = (["digits", "fused64", "mnist-s", "mnist-m"],
              [{}, {"l1": 1e-4}, {"l2": 1e-4}, {"clip_value": 1.0}, {"clip_norm": 1.0},
               {"max_norm": 3.0}, {"average": 0.99}])
    param_names = ("row", "rules")
    timeout = 300

    def track_over_plain(self, row: str, rules: dict[str, float]) -> float:
        """A step's time over that of one without; median over alternating pairs."""
        return ratio_of_times(FastbpBackend(GRID[row], **rules), FastbpBackend(GRID[row]))


class Between:
    """What a layer after each hidden product costs a step."""

    params = (["rl", "fused64", "mnist-m"], ["BatchNorm", "LayerNorm", "Dropout"])
    param_names = ("row", "layer")
    timeout = 300

    def track_over_plain(self, row: str, layer: str) -> float:
        """A step's time over that of one without; median over alternating pairs."""
        plain, run = FastbpBackend(GRID[row]), FastbpBackend(GRID[row])
        layers: list[Layer] = []
        for own in run.network.layers:
            hidden = isinstance(own, Dense) and own.n_out == GRID[row].sizes[1]
            layers += [copy.copy(own), *([LAYERS[layer]()] if hidden else [])]
        run.network = Network(layers, run.network.loss_function, GRID[row].dtype)
        return ratio_of_times(run, plain)


class Late:
    """Steps of a network that has learnt: units that died leave moments that fade."""

    timeout = 300

    def track_late_over_early(self) -> float:
        """How many times longer a step takes after 9,000 steps than after the first 250."""
        epoch = fastbp_epoch()
        times = [microseconds(epoch) for _ in range(38)]
        return times[-1] / times[1]
