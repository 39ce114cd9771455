"""Figures of the speed page, from the last measurement in ``bench/peers.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.peers import RESULTS, lead, plot, report
from fastbp.peers.measure import best


def write(folder: Path) -> None:
    """The table and the plot of ``python -m bench.peers --report``, and what they come to."""
    folder.mkdir(exist_ok=True)
    results = json.loads(RESULTS.read_text())
    (folder / "peers.md").write_text(report(results) + "\n")
    plot(results, folder / "peers.svg")
    ratio = {row: lead(own) for row, own in best(results["records"]).items()}
    most, least = max(ratio, key=ratio.__getitem__), min(ratio, key=ratio.__getitem__)
    behind = [row for row, r in ratio.items() if r < 1]
    (folder / "range.md").write_text(
        f"A step of the best of the others takes {ratio[least]:.2f} (`{least}`) to "
        f"{ratio[most]:.2f} (`{most}`) times as long as fastbp's. "
        + (f"fastbp is the slower one on {' and '.join(f'`{r}`' for r in behind)}.\n"
           if behind else "fastbp is the slower one nowhere.\n"))


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    write(Path(app.srcdir) / "_generated")
    return {"parallel_read_safe": True}
