"""A batch that has just arrived: a call of ``partial_fit`` against a step in NumPy."""

from __future__ import annotations

from fastbp.peers.fastbp import FastbpCalls
from fastbp.peers.numpy import NumpyCalls

from .grid import GRID
from .online import ROWS


class Calls:
    params = (list(ROWS), ["numpy", "fastbp"])
    param_names = ("row", "backend")

    def setup(self, row: str, backend: str) -> None:
        work = GRID[row]
        self.backend = (FastbpCalls if backend == "fastbp" else NumpyCalls)(work)
        self.backend.epochs(1)

    def time_an_epoch_of_calls(self, row: str, backend: str) -> None:
        self.backend.epochs(1)
