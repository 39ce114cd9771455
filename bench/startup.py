"""What a new process costs, against ``import numba`` and ``import torch``: time and memory.

    pip install -e ".[peers]"
    python -m bench.startup

Each figure is the median over fresh processes, all kinds in turns. Bytecode is written and used,
as pip leaves it. Memory is the peak of one epoch of ``mnist-m``, less the data, four buffers of
parameters and the peak of ``import numba`` alone.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .bench_startup import FIT, IMPORT, NEVER

ROOT = Path(__file__).parents[1]
CASES = {"import numba": "import numba", "import fastbp": IMPORT, "import torch": "import torch",
         "first fit, cached": FIT}
#: The system's own count, which starts with the process; that of ``getrusage`` continues from
#: what its parent held. On Linux.
_PEAK = """
line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(line.split()[1]) / 1024)
"""
_EPOCH = """
import numba
from bench.grid import GRID
from fastbp.peers.fastbp import FastbpBackend
b = FastbpBackend(GRID["mnist-m"])
b.epochs(1)
print((b.X.nbytes + b.T.nbytes + 4 * b.network.params.nbytes) / 2**20)
"""


def process(code: str, folder: str) -> tuple[float, list[float]]:
    """Seconds of a process that runs ``code``, and the numbers that it prints."""
    own = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True,
                         cwd=ROOT, env={**own, "PYTHONPYCACHEPREFIX": folder}).stdout
    return time.perf_counter() - began, [float(number) for number in out.split()]


def seconds(folder: str, repeat: int, never: int) -> dict[str, float]:
    """Median time of each kind of process."""
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for turn in range(repeat + 1):
        for name, code in CASES.items():
            spent = process(code, folder)[0]
            if turn:  # the first writes bytecode and compiles
                times[name].append(spent)
    times["first fit, never compiled"] = [process(NEVER, folder)[0] for _ in range(never)]
    return {name: statistics.median(spent) for name, spent in times.items() if spent}


def megabytes(folder: str) -> float:
    """Peak memory of a fit, less what it cannot do without."""
    process(_EPOCH, folder)  # compiles
    (floor,) = process("import numba" + _PEAK, folder)[1]
    needed, peak = process(_EPOCH + _PEAK, folder)[1]
    return peak - floor - needed


def main(repeat: int = 9, never: int = 3) -> None:
    """Print all."""
    with tempfile.TemporaryDirectory() as folder:
        found = seconds(folder, repeat, never)
        memory = megabytes(folder) if sys.platform == "linux" else float("nan")
    print("| | s | over import numba | over import torch |\n|---|---:|---:|---:|")
    for name, spent in found.items():
        print(f"| {name} | {spent:.2f} | {spent / found['import numba']:.2f} | "
              f"{spent / found['import torch']:.2f} |")
    print(f"\nmemory of a fit: {memory:.0f} MB over data, four buffers and import numba")


if __name__ == "__main__":
    main()
