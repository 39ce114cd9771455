"""Peak memory of a process that imports Numba, and of one that trains."""

from __future__ import annotations

import numba  # noqa: F401

from .grid import GRID


class Memory:
    timeout = 300

    def peakmem_import(self) -> None:
        """The floor: interpreter, Numba, the suite itself."""

    def peakmem_fit(self) -> None:
        """One epoch of ``mnist-m``: data, four buffers, and what fastbp adds."""
        from fastbp.peers.fastbp import FastbpBackend

        FastbpBackend(GRID["mnist-m"]).epochs(1)
