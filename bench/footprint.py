"""Installed size and import time of fastbp's core and of others, each in an empty environment.

    python -m bench.footprint                  # fastbp, scikit-learn, JAX, PyTorch
    python -m bench.footprint fastbp torch==2.13.0

Every name is passed to pip unchanged, but ``fastbp`` is this checkout; PyTorch comes with NumPy,
which it asks for on import. On Linux pip installs PyTorch for GPUs, unless it is told of the index
of builds for CPUs: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEERS = ("fastbp", "scikit-learn", "jax", "torch")
#: The imports of a program that trains: fastbp loads its names on first access.
IMPORTS = {"fastbp": "from fastbp import Dense, Network",
           "scikit-learn": "import sklearn.neural_network"}


def size_of(folder: Path) -> int:
    """Bytes of the files below ``folder``, without links and bytecode."""
    return sum(path.stat().st_size for path in folder.rglob("*")
               if path.is_file() and not path.is_symlink() and path.suffix != ".pyc")


def import_seconds(python: Path, statement: str, repeat: int = 7) -> float:
    """Median time of a process that runs ``statement``, less that of one that does nothing."""
    environment = {k: v for k, v in os.environ.items()
                   if k not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}

    def run(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([python, "-c", code], check=True, env=environment,
                       cwd=tempfile.gettempdir())
        return time.perf_counter() - began

    run(statement)  # writes bytecode, fills the page cache
    return statistics.median(run(statement) - run("pass") for _ in range(repeat))


def measure(requirement: str, folder: Path) -> tuple[float, float, int]:
    """Megabytes that pip adds, seconds of the import, number of packages."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = next(folder.rglob("site-packages"))
    before, known = size_of(folder), len(list(site.glob("*.dist-info")))
    name = re.split(r"[=<>\[]", requirement)[0]
    wanted = [ROOT if name == "fastbp" else requirement, *(["numpy"] if name == "torch" else [])]
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    *wanted], check=True)
    packages = len(list(site.glob("*.dist-info"))) - known
    seconds = import_seconds(python, IMPORTS.get(name, f"import {name}"))
    return (size_of(folder) - before) / 1e6, seconds, packages


def main(requirements: list[str]) -> None:
    """Print a row for each."""
    print("| | installed, MB | packages | import, s |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        for number, requirement in enumerate(requirements or PEERS):
            size, seconds, packages = measure(requirement, Path(scratch) / str(number))
            print(f"| {requirement} | {size:.0f} | {packages} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
