"""What a new process costs: import, and a first fit with and without cached kernels."""

from __future__ import annotations

IMPORT = "from fastbp import Adam, CrossEntropyLoss, Dense, Network, ReLU, load"
FIT = """
import numpy as np
import fastbp
net = fastbp.Network([fastbp.Dense(64, 100), fastbp.ReLU(), fastbp.Dense(100, 10),
                      fastbp.Softmax()], fastbp.CrossEntropyLoss())
net.fit(np.zeros((64, 64), np.float32), np.zeros(64, int), epochs=1)
"""
NEVER = "import os\nos.environ['FASTBP_CACHE_DIR'] = ''\n" + FIT


class Startup:
    timeout = 300
    number = 1

    def timeraw_import_numba(self) -> str:
        return "import numba"

    def timeraw_import_fastbp(self) -> str:
        return IMPORT


class Cached:
    """Fresh processes that find their kernels on disk."""

    timeout = 300
    number = 1

    def setup(self) -> None:
        exec(FIT, {})

    def timeraw_first_fit_cached(self) -> str:
        return FIT


class Compile:
    """Fresh processes with the kernel cache off."""

    timeout = 600
    number, repeat = 1, 2

    def timeraw_first_fit_never_compiled(self) -> str:
        return NEVER
