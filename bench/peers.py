"""fastbp beside its peers, on every row of the grid, in one run.

    pip install -e ".[peers]"
    python -m bench.peers                        # all rows, one thread and all threads
    python -m bench.peers digits big             # some rows
    python -m bench.peers 20-50-3:64:tanh:adam   # a row of your own: sizes:batch[:...]
    python -m bench.peers --report               # table and plot of the last run

Each thread setting is a process of its own, pinned to that many cores. In it the backends of
a row start from the same weights, train one epoch in the same order, and must then have the
same error; what computes something else is struck out. Then they are timed in turns, after
a rest in which the threads of the one before stop spinning, and the median counts. The report
takes each peer at its better thread setting.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS, PLOT = HERE / "peers.json", HERE / "peers.svg"
#: Backend by name: module in bench, class.
PEERS = {
    "fastbp": ("backends", "FastbpBackend"), "numpy": ("numpy_baseline", "NumpyBackend"),
    "torch": ("peer_torch", "TorchBackend"),
    "torch.compile": ("peer_torch", "CompiledTorchBackend"), "jax": ("peer_jax", "JaxBackend"),
    "jax.scan": ("peer_jax", "JaxScanBackend"), "sklearn": ("peer_sklearn", "SklearnBackend")}
#: Largest relative gap of the error after one epoch. Sums in another order part ways: after
#: 81 steps of Adam from random labels correct float32 programs differ by 0.3 %.
AGREEMENT = 1e-2

#: Seconds between two turns: longer than any pool of threads spins for work.
REST = 0.3


def row_of(text: str) -> dict[str, Any]:
    """A workload from ``sizes:batch[:hidden[:optimizer[:loss[:dtype]]]]``."""
    parts = text.split(":")
    names = ("sizes", "batch", "hidden", "optimizer", "loss", "dtype")
    row: dict[str, Any] = {"name": text, "hidden": "relu", "optimizer": "sgd"}
    row.update(zip(names, parts, strict=False))
    row["sizes"] = [int(n) for n in parts[0].split("-")]
    row["batch"] = int(parts[1])
    return row


def measure(rows: list[dict[str, Any]], threads: int, backends: list[str], budget: float,
            repeat: int) -> list[dict[str, Any]]:
    """One record a row and backend, in this process."""
    from .grid import read
    from .timing import peak_flops, steps_for

    records = []
    for work in read(rows).values():
        peak = peak_flops(work.dtype, threads)
        running, error = {}, {}
        for name in backends:
            module, cls = PEERS[name]
            try:
                backend = getattr(importlib.import_module(f".{module}", __package__), cls)(
                    work, n_threads=threads)
            except (ImportError, NotImplementedError) as reason:
                print(f"  {work.name:14} {name:14} {reason}", flush=True)
                continue
            backend.epochs(1, shuffle=False)
            error[name] = work.error(backend.weights())
            running[name] = backend
        counts = {k: steps_for(b.epochs, b.steps, budget / repeat) for k, b in running.items()}
        times: dict[str, list[float]] = {name: [] for name in running}
        for _ in range(repeat):
            for name, backend in running.items():
                time.sleep(REST)
                began = time.perf_counter()
                backend.epochs(counts[name])
                times[name].append((time.perf_counter() - began) /
                                   (counts[name] * backend.steps))
        for name, spent in times.items():
            step = statistics.median(spent)
            agrees = abs(error[name] - error["fastbp"]) <= AGREEMENT * abs(error["fastbp"])
            records.append({
                "row": work.name, "backend": name, "threads": threads, "us": step * 1e6,
                "gflops": work.flops / step / 1e9, "share_of_peak": work.flops / step / peak,
                "error": error[name], "agrees": bool(agrees)})
            rate = work.flops / step
            print(f"  {work.name:14} {name:14} {step * 1e6:10.1f} us {rate / 1e9:7.1f} GFLOP/s"
                  f" {rate / peak:6.1%} of peak"
                  f"{'' if agrees else f'   DIFFERS: error {error[name]:.6g}'}", flush=True)
        running.clear()
        gc.collect()
    return records


def run(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """One process a thread setting; writes the results."""
    cores = sorted(os.sched_getaffinity(0))
    records = []
    for threads in dict.fromkeys([1, len(cores)]):
        print(f"{threads} thread(s)", flush=True)
        job = json.dumps({"rows": rows, "threads": threads, "backends": arguments.backends,
                          "budget": arguments.budget, "repeat": arguments.repeat,
                          "cores": cores[:threads], "out": str(RESULTS) + ".part"})
        env = {k: str(threads) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS",
                                         "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")}
        subprocess.run([sys.executable, "-m", "bench.peers", "--worker", job], check=True,
                       env={**os.environ, **env})
        records += json.loads(Path(str(RESULTS) + ".part").read_text())
        Path(str(RESULTS) + ".part").unlink()
    versions = {}
    for package in ("numpy", "numba", "torch", "jax", "sklearn"):
        try:
            versions[package] = importlib.import_module(package).__version__
        except ImportError:
            versions[package] = "-"
    RESULTS.write_text(json.dumps({
        "cpu": _cpu(), "cores": len(cores), "python": platform.python_version(),
        "versions": versions, "records": records}, indent=1) + "\n")


def _cpu() -> str:
    import llvmlite.binding as llvm

    return str(llvm.get_host_cpu_name())


def best(records: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """row -> backend -> its record at the better thread setting; the struck out left out."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for r in records:
        own = found.setdefault(r["row"], {})
        if r["agrees"] and (r["backend"] not in own or r["us"] < own[r["backend"]]["us"]):
            own[r["backend"]] = r
    return found


def report(results: dict[str, Any]) -> str:
    """A Markdown table: us a step, share of peak, ratios."""
    table = best(results["records"])
    names = [n for n in PEERS if any(n in own for own in table.values())]
    lines = ["| row | " + " | ".join(names) + " | share of peak | best peer / fastbp |",
             "|---|" + "---:|" * (len(names) + 2)]
    ratios, numpy_ratios = [], []
    for row, own in table.items():
        ours = own["fastbp"]
        others = [own[n]["us"] for n in names if n != "fastbp" and n in own]
        ratio = min(others) / ours["us"] if others else float("nan")
        ratios.append(ratio)
        if "numpy" in own:
            numpy_ratios.append(own["numpy"]["us"] / ours["us"])
        cells = [f"{own[n]['us']:,.1f}" if n in own else "-" for n in names]
        lines.append(f"| {row} | " + " | ".join(cells) +
                     f" | {ours['share_of_peak']:.0%} | {ratio:.2f} |")
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items())
    lines += ["", f"Microseconds a step on {results['cores']} cores ({results['cpu']}); "
              f"{versions}.",
              f"Geometric mean, best peer over fastbp: {statistics.geometric_mean(ratios):.2f}."]
    if numpy_ratios:
        lines.append(f"Geometric mean, NumPy over fastbp: "
                     f"{statistics.geometric_mean(numpy_ratios):.2f}.")
    return "\n".join(lines)


def plot(results: dict[str, Any], path: Path) -> None:
    """How many times longer each peer takes, by row."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    table = best(results["records"])
    figure, axes = plt.subplots(figsize=(9, 4))
    for name in PEERS:
        points = [(i, own[name]["us"] / own["fastbp"]["us"])
                  for i, own in enumerate(table.values()) if name in own]
        style = {"color": "black", "linewidth": 1} if name == "fastbp" else {"marker": "o"}
        axes.plot(*zip(*points, strict=True), label=name, **style)
    axes.set_yscale("log")
    axes.set_ylabel("time of a step / fastbp's")
    axes.set_xticks(range(len(table)), list(table), rotation=45, ha="right")
    axes.legend(ncols=2)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Parse arguments, run, report."""
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("rows", nargs="*", help="names in grid.json, or sizes:batch[:hidden...]")
    p.add_argument("--backends", nargs="+", default=list(PEERS), choices=list(PEERS))
    p.add_argument("--budget", type=float, default=1.0, help="seconds a row and backend")
    p.add_argument("--repeat", type=int, default=5, help="turns")
    p.add_argument("--report", action="store_true", help="only report the last run")
    p.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = p.parse_args()
    if arguments.worker:
        job = json.loads(arguments.worker)
        os.sched_setaffinity(0, job["cores"])
        warnings.simplefilter("ignore")
        records = measure(job["rows"], job["threads"], job["backends"], job["budget"],
                          job["repeat"])
        Path(job["out"]).write_text(json.dumps(records))
        return
    if not arguments.report:
        grid = {r["name"]: r for r in json.loads((HERE / "grid.json").read_text())["rows"]}
        rows = [grid[n] if n in grid else row_of(n) for n in arguments.rows or grid]
        run(rows, arguments)
    results = json.loads(RESULTS.read_text())
    print(report(results))
    try:
        plot(results, PLOT)
    except ImportError as error:
        print(f'no plot ({error}): pip install "fastbp[peers]"')


if __name__ == "__main__":
    main()
