"""fastbp against its peers, on every row of the grid, in one run.

    pip install -e ".[peers]"
    python -m bench.peers                        # all rows, one thread and all threads
    python -m bench.peers digits big             # some rows
    python -m bench.peers 20-50-3:64:tanh:adam   # a row of your own: sizes:batch[:...]
    python -m bench.peers --report               # table and plot of the last run of all rows
    python -m bench.peers --last                 # of the last run of some rows or backends

Each thread setting is a process of its own, pinned to that many cores. In it the backends of
a row start from the same weights, train one epoch in the same order, and must then have the
same error; one that computes something else is excluded. Then they are timed in turns, after
a pause in which the threads of the previous one stop spinning, and the median counts. The
report takes each peer at its better thread setting. Only a run of all rows and backends replaces
``peers.json``.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from fastbp.peers.measure import PEERS, best

from .command import measured, place

RESULTS = Path(__file__).parent / "peers.json"


def lead(own: dict[str, dict[str, Any]]) -> float:
    """Time of the fastest peer over fastbp's, of one row of ``best``; NaN without peers."""
    others = [r["us"] for backend, r in own.items() if backend != "fastbp"]
    return float(min(others) / own["fastbp"]["us"]) if others else float("nan")


def report(results: dict[str, Any]) -> str:
    """A Markdown table: us a step, share of peak, ratios; the last is to a step of nothing but its
    multiply-adds at the peak of all threads, a bound for every library."""
    table = best(results["records"])
    names = [n for n in PEERS if any(n in own for own in table.values())]
    lines = ["| row | " + " | ".join(names) +
             " | share of peak (of one thread) | best peer / fastbp | best peer / peak |",
             "|---|" + "---:|" * (len(names) + 3)]
    own_records = [r for r in results["records"] if r["backend"] == "fastbp"]
    alone = {r["row"]: r["share_of_peak"] for r in own_records if r["threads"] == 1}
    ratios, numpy_ratios = [], []
    for row, own in table.items():
        ours = own["fastbp"]
        ratio = lead(own)
        ratios += [ratio] * (len(own) > 1)
        least = min(r["us"] * r["share_of_peak"] for r in own_records if r["row"] == row)
        if "numpy" in own:
            numpy_ratios.append(own["numpy"]["us"] / ours["us"])
        cells = [f"{own[n]['us']:,.1f}" if n in own else "-" for n in names]
        lines.append(f"| {row} | " + " | ".join(cells) +
                     f" | {ours['share_of_peak']:.0%} ({alone[row]:.0%}) | {ratio:.2f} | "
                     f"{ratio * ours['us'] / least:.1f} |")
    lines += ["", f"Microseconds a step on {place(results)}."]
    if ratios:
        lines.append("Geometric mean, best peer over fastbp: "
                     f"{statistics.geometric_mean(ratios):.2f}.")
    if numpy_ratios:
        lines.append(f"Geometric mean, NumPy over fastbp: "
                     f"{statistics.geometric_mean(numpy_ratios):.2f}.")
    return "\n".join(lines)


def plot(results: dict[str, Any], path: Path) -> None:
    """Plot how many times as long each peer takes, by row."""
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
    found, path = measured(RESULTS, __doc__, (), list(PEERS), budget=1.0, repeat=5)
    print(report(found))
    try:
        plot(found, path.with_suffix(".svg"))
    except ImportError as error:
        print(f'no plot ({error}): pip install "fastbp[peers]"')


if __name__ == "__main__":
    main()
