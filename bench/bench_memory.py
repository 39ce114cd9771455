"""Peak memory of a process that imports Numba, and of one that trains."""

from __future__ import annotations

import subprocess
import sys

import numba  # noqa: F401

from .grid import GRID

EPOCH = f"""
from fastbp.peers.fastbp import FastbpBackend
from fastbp.peers.workload import Workload
FastbpBackend({GRID["mnist-m"]!r}).epochs(1)
"""


class Memory:
    timeout = 300

    def setup(self) -> None:
        """Another process compiles, which takes more memory than the fit."""
        subprocess.run([sys.executable, "-c", EPOCH], check=True)

    def peakmem_import(self) -> None:
        """The floor: interpreter, Numba, the suite itself."""

    def peakmem_fit(self) -> None:
        """One epoch of ``mnist-m``: data, four buffers, and what fastbp adds."""
        from fastbp.peers.fastbp import FastbpBackend

        FastbpBackend(GRID["mnist-m"]).epochs(1)
