"""How a step gains from more cores: 1, 2, 4, 8, ... of them, fastbp and peers.

    pip install -e ".[peers]"
    python -m bench.scaling                   # the rows of the grid with enough work to share
    python -m bench.scaling big wide          # some rows, as bench.peers takes them
    python -m bench.scaling --report          # table and plot of the last run of these rows

Each number of threads is a process of its own, pinned to that many cores, as in
``bench.peers``. fastbp may use fewer than it is given: it uses as many as pay.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from fastbp._cgroup import within_quota
from fastbp.kernels.launch import cores
from fastbp.peers.measure import best

from .command import measured

RESULTS = Path(__file__).parent / "scaling.json"
ROWS = ("simplechains", "fused64", "mnist-m", "dll", "mnist-l", "tabular", "wide", "big")
BACKENDS = ("fastbp", "torch", "jax.scan")


def settings(n_cores: int) -> list[int]:
    """Numbers of threads: powers of two, and all cores."""
    return sorted({2**i for i in range(n_cores.bit_length())} | {n_cores})


def report(results: dict[str, Any]) -> str:
    """A Markdown table: us a step by cores, speedup over one, best peer / fastbp, and the peak."""
    records = results["records"]
    counts = sorted({r["threads"] for r in records})
    peers = sorted({r["backend"] for r in records} - {"fastbp"})
    lines = ["| row | " + " | ".join(map(str, counts)) + " | share of peak | " +
             " | ".join(f"{name} / fastbp" for name in peers) + " |",
             "|---|" + "---:|" * (len(counts) + 1 + len(peers))]
    for row, own in best(records).items():
        ours = {r["threads"]: r for r in records if r["row"] == row and r["backend"] == "fastbp"}
        cells = [f"{ours[n]['us']:,.0f} ({ours[1]['us'] / ours[n]['us']:.1f})" for n in counts]
        cells.append(f"{ours[counts[-1]]['share_of_peak']:.0%}")
        cells += [f"{own[name]['us'] / own['fastbp']['us']:.2f} (at {own[name]['threads']})"
                  if name in own else "-" for name in peers]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    peaks = {n: statistics.median(r["gflops"] / r["share_of_peak"] for r in records
                                  if r["threads"] == n) for n in counts}
    lines.append("| multiply-adds, GFLOP/s | " + " | ".join(
        f"{peaks[n]:,.0f} ({peaks[n] / peaks[1]:.1f})" for n in counts) + " |" * (2 + len(peers)))
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items())
    return "\n".join([*lines, "", "Microseconds a step of fastbp by cores, in brackets how many "
                      "times faster than on one; its share of the peak of all; each peer at its "
                      f"best number of threads. {results['cpu']}; {versions}."])


def plot(results: dict[str, Any], path: Path) -> None:
    """Speedup over one thread by cores, a line for each row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5))
    axes = figure.subplots()
    ours = [r for r in results["records"] if r["backend"] == "fastbp"]
    counts = sorted({r["threads"] for r in ours})
    axes.plot(counts, counts, color="gray", linewidth=1, linestyle="--", label="all of them")
    for row in dict.fromkeys(r["row"] for r in ours):
        us = {r["threads"]: r["us"] for r in ours if r["row"] == row}
        axes.plot(counts, [us[1] / us[n] for n in counts], marker="o", label=row)
    axes.set(xscale="log", yscale="log", xlabel="cores", ylabel="times faster than on one")
    axes.set_xticks(counts, list(map(str, counts)), minor=False)
    axes.set_yticks(counts, list(map(str, counts)))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Parse arguments, run, report."""
    found, path = measured(RESULTS, __doc__, ROWS, BACKENDS, 0.5, 3,
                           settings(within_quota(len(cores()))))
    print(report(found))
    plot(found, path.with_suffix(".svg"))


if __name__ == "__main__":
    main()
