"""Backends timed in turns on the same work, in one process for each thread setting.

In each process, pinned to that many cores, the backends of a row start from the same weights,
train one epoch in the same order, and must then have the same error; a backend that computes
something else is marked and left out. Then they are timed in turns, each after a rest in which
the threads of the one before stop spinning, and the median counts.
"""

from __future__ import annotations

import gc
import importlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .._cgroup import within_quota
from ..kernels.launch import cores
from ..peak import peak_flops
from .workload import read

#: Backends by name: module in this package, class.
PEERS = {
    "fastbp": ("fastbp", "FastbpBackend"), "numpy": ("numpy", "NumpyBackend"),
    "torch": ("torch", "TorchBackend"), "torch.compile": ("torch", "CompiledTorchBackend"),
    "jax": ("jax", "JaxBackend"), "jax.scan": ("jax", "JaxScanBackend"),
    "sklearn": ("sklearn", "SklearnBackend")}
#: Backends with one call for each batch.
CALLS = {
    "fastbp.call": ("fastbp", "FastbpCalls"), "numpy.call": ("numpy", "NumpyCalls"),
    "torch.call": ("torch", "TorchCalls"), "jax.call": ("jax", "JaxCalls"),
    "jax.wait": ("jax", "JaxWaits"), "sklearn.call": ("sklearn", "SklearnCalls")}
#: Backends with products of numbers rounded to fewer bits, beside those without.
PRECISIONS = {
    "fastbp": PEERS["fastbp"], "fastbp.high": ("fastbp", "HighFastbpBackend"),
    "fastbp.medium": ("fastbp", "MediumFastbpBackend"), "torch": PEERS["torch"],
    "torch.medium": ("torch", "MediumTorchBackend"),
    "torch.compile": PEERS["torch.compile"],
    "torch.compile.medium": ("torch", "MediumCompiledTorchBackend")}
#: Largest relative difference of the error after one epoch. Other orders of summation make results
#: diverge: after 81 steps of Adam on random labels correct float32 programs differ by 0.3 %.
AGREEMENT = 1e-2
#: Seconds between two turns: longer than any thread pool spins while it waits for work.
REST = 0.3


def epochs_for(epochs: Callable[[int], None], budget: float) -> int:
    """How many epochs fill ``budget`` seconds; also warms up."""
    epochs(1)
    began = time.perf_counter()
    epochs(1)
    return max(1, round(budget / (time.perf_counter() - began)))


def measure(rows: list[dict[str, Any]], threads: int, backends: Sequence[str], budget: float,
            repeat: int) -> list[dict[str, Any]]:
    """One record for each row and backend, measured in this process; a line on stderr for each.

    Parameters
    ----------
    rows : list of dict
        Workloads, as ``read`` takes them.
    threads : int
        Of each backend.
    backends : sequence of str
        Names in ``PEERS``, ``CALLS`` or ``PRECISIONS``. The first of fastbp's is the reference
        for errors.
    budget : float
        Seconds for each row and backend.
    repeat : int
        Number of turns, among which the budget is divided.
    """
    records, ours = [], next(name for name in backends if name.startswith("fastbp"))
    for work in read(rows).values():
        peak = peak_flops(work.dtype, threads)
        running, error = {}, {}
        for name in backends:
            module, cls = (PEERS | CALLS | PRECISIONS)[name]
            try:
                backend = getattr(importlib.import_module(f".{module}", __package__), cls)(
                    work, n_threads=threads)
            except (ImportError, NotImplementedError) as reason:
                _say(f"  {work.name:14} {name:14} {reason}")
                continue
            backend.epochs(1, shuffle=False)
            error[name] = work.error(backend.weights())
            running[name] = backend
        counts = {k: epochs_for(b.epochs, budget / repeat) for k, b in running.items()}
        times: dict[str, list[float]] = {name: [] for name in running}
        for _ in range(repeat):
            peak = max(peak, peak_flops(work.dtype, threads))  # a core may be busy at one time
            for name, backend in running.items():
                time.sleep(REST)
                began = time.perf_counter()
                backend.epochs(counts[name])
                times[name].append((time.perf_counter() - began) /
                                   (counts[name] * backend.steps))
        for name, spent in times.items():
            step = statistics.median(spent)
            agrees = _agree(error[name], error[ours])
            rate = work.flops / step
            records.append({
                "row": work.name, "backend": name, "threads": threads, "us": step * 1e6,
                "gflops": rate / 1e9, "share_of_peak": rate / peak,
                "error": error[name], "agrees": agrees})
            _say(f"  {work.name:14} {name:14} {step * 1e6:10.1f} us {rate / 1e9:7.1f} GFLOP/s"
                 f" {rate / peak:6.1%} of peak"
                 f"{'' if agrees else f'   DIFFERS: error {error[name]:.6g}'}")
        running.clear()
        gc.collect()
    return records


def compare(rows: list[dict[str, Any]], backends: Sequence[str] = tuple(PEERS),
            budget: float = 1.0, repeat: int = 5,
            settings: Sequence[int] | None = None) -> dict[str, Any]:
    """Measure in one process for each thread setting; returns machine, versions and records.

    ``settings`` are numbers of threads, at most one a core; by default one thread, then all.

    Raises
    ------
    RuntimeError
        If one of the processes fails.
    """
    records, places = [], _apart(cores())
    places = places[:within_quota(len(places))]
    for threads in dict.fromkeys(settings or [1, len(places)]):
        _say(f"{threads} thread(s)")
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "records.json"
            job = json.dumps({"rows": rows, "threads": threads, "backends": list(backends),
                              "budget": budget, "repeat": repeat, "cores": places[:threads],
                              "out": str(out)})
            env = {k: str(threads) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS",
                                             "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")}
            done = subprocess.run([sys.executable, "-m", "fastbp.peers.measure", job],
                                  env={**os.environ, **env}, check=False)
            if done.returncode:
                raise RuntimeError(f"the process that measures with {threads} thread(s) ended "
                                   f"with status {done.returncode}")
            records += json.loads(out.read_text())
    return {"cpu": _cpu(), "cores": len(places), "python": platform.python_version(),
            "versions": _versions(), "records": records}


def best(records: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """row -> backend -> its record at the best thread setting, without those that disagree."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for r in records:
        own = found.setdefault(r["row"], {})
        if r["agrees"] and (r["backend"] not in own or r["us"] < own[r["backend"]]["us"]):
            own[r["backend"]] = r
    return found


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _agree(error: float, ours: float) -> bool:
    """Whether two backends compute the same; so they do where both diverge."""
    if not math.isfinite(ours):
        return not math.isfinite(error)
    return abs(error - ours) <= AGREEMENT * abs(ours)


def _apart(places: list[int]) -> list[int]:
    """``places`` (logical cores), the first hyperthread of every core before the second ones."""
    seen, first, second = set[str](), list[int](), list[int]()
    for n in places:
        file = Path(f"/sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list")
        siblings = file.read_text() if file.exists() else str(n)
        (second if siblings in seen else first).append(n)
        seen.add(siblings)
    return first + second


def _cpu() -> str:
    import llvmlite.binding as llvm

    return str(llvm.get_host_cpu_name())


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name, package in (("numpy", "numpy"), ("numba", "numba"), ("torch", "torch"),
                          ("jax", "jax"), ("sklearn", "scikit-learn")):
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = "-"
    return found


def _work(job: dict[str, Any]) -> None:
    """Body of the process for one thread setting."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job["cores"])
    warnings.simplefilter("ignore")
    records = measure(job["rows"], job["threads"], job["backends"], job["budget"], job["repeat"])
    Path(job["out"]).write_text(json.dumps(records))


if __name__ == "__main__":
    _work(json.loads(sys.argv[1]))
