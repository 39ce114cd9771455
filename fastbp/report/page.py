"""The page as a whole, and its file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .. import __version__
from ..io.files import write_whole
from ..plot import curves
from . import sections
from .data import Report
from .markup import compact, note, number, seconds, share, text, tiles
from .scores import Outcome, judge

#: Content security policy: nothing is fetched from elsewhere, whatever the page contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

#: Most widths of layers in the line under the title.
_WIDTHS = 10


def html(report: Report) -> str:
    """The page: no scripts, nothing fetched, the same text for the same report.

    Raises
    ------
    ValueError, TypeError
        For parts of the report that do not fit together.
    ImportError
        Without matplotlib or scikit-learn (extra ``plot``).
    """
    report.check()
    chart = sections.Charts()
    found = judge(report.task, report.T_true, report.output, report.classes,
                  report.threshold) if report.tested else None
    body = "\n".join(part for part in (
        _top(report, found), sections.learning(report, chart),
        sections.outcome(report, found, chart),
        sections.layers(report, chart), sections.running(report)) if part)
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="fastbp {__version__}">
<title>{text(report.title)}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<main>
{body}
<footer>Made by fastbp {__version__}.</footer>
</main>
</body>
</html>
"""


def write(path: str | os.PathLike[str], report: Report) -> None:
    """Write the page to ``path``, whole or not at all.

    Raises
    ------
    ValueError, TypeError, ImportError
        As ``html``; nothing is written.
    OSError
        If the file cannot be written; an earlier one stays as it was.
    """
    write_whole(path, html(report).encode("utf-8", "replace"))


def _top(report: Report, outcome: Outcome | None) -> str:
    network = report.network
    said = [report.task]
    if network is not None:
        kinds = [layer for layer in network.layers if len(layer.shapes().get("weight", ())) == 2]
        widths = [f"{n:,}" for n in (network.n_in, *(layer.n_out for layer in kinds))]
        if len(widths) > _WIDTHS:
            widths = [*widths[:_WIDTHS - 3], "…", *widths[-2:]]
        said += [" – ".join(widths), network.dtype.name]
    notes = "".join(note(sentence) for sentence in report.notes)
    return (f'<header><h1>{text(report.title)}</h1><p class="sub">{text(" · ".join(said))}</p>'
            f"{tiles(_headline(report, outcome))}</header>{notes}")


def _headline(report: Report, outcome: Outcome | None) -> list[tuple[str, str]]:
    """The figures that the page opens with."""
    found: list[tuple[str, str]] = []
    if outcome is not None:
        rows = outcome.outputs or []
        over = " (mean)" if len(rows) > 1 else ""
        for k, name in ((1, "R²"), (2, "root mean squared error"), (3, "mean absolute error")):
            if rows:
                found.append((name + over, number(float(np.mean([row[k] for row in rows])), 3)))
        for name, value in outcome.classes.overall if outcome.classes else ():
            found.append((name, number(value, 3) if name == "log loss" else share(value)))
        found.append(("held-out rows", f"{outcome.lost + len(outcome.Y):,}"))
    known = curves.series(report.history)
    for name, label in (("loss", "last training loss"), ("val_loss", "last validation loss")):
        if len(known.get(name, ())) and len(found) < 7:
            values = np.array(report.history[name], np.float64).reshape(-1)  # infinity as such
            found.append((label, number(float(values[-1]), 3)))
    epochs = max(map(len, known.values()), default=0)
    if epochs:
        found.append(("epochs", f"{epochs:,}"))
    if report.network is not None:
        found.append(("parameters", compact(report.network.n_params)))
    speed = known.get("samples_per_s", np.empty(0))
    if np.isfinite(speed).any():
        found.append(("rows a second, median", compact(float(np.nanmedian(speed)))))
    if report.timings and "fit" in report.timings:
        found.append(("fit", seconds(float(report.timings["fit"]))))
    return found
