"""The page as a whole, and its file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .. import __version__
from ..io.files import write_whole
from ..plot import curves
from . import scores, sections
from .data import Report
from .markup import note, number, seconds, share, text, tiles

#: Nothing is fetched from anywhere, whatever the page says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def html(report: Report) -> str:
    """The page: no script, nothing from outside, the same text for the same report.

    Raises
    ------
    ValueError, TypeError
        For parts of the report that do not fit together.
    ImportError
        Without matplotlib or scikit-learn (extra ``plot``).
    """
    report.check()
    chart = sections.Charts()
    body = "\n".join(part for part in (
        _top(report), sections.learning(report, chart), sections.outcome(report, chart),
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
    write_whole(Path(path), html(report).encode("utf-8", "replace"))


def _top(report: Report) -> str:
    network = report.network
    said = [report.task]
    if network is not None:
        widths = [network.n_in, *(layer.n_out for layer in network.layers if layer.n_params)]
        said += [" – ".join(f"{n:,}" for n in widths), network.dtype.name]
    notes = "".join(note(sentence) for sentence in report.notes)
    return (f'<header><h1>{text(report.title)}</h1><p class="sub">{text(" · ".join(said))}</p>'
            f"{tiles(_headline(report))}</header>{notes}")


def _headline(report: Report) -> list[tuple[str, str]]:
    """The figures that the page opens with."""
    found: list[tuple[str, str]] = []
    if report.tested:
        T, Y, _ = scores.usable(report.T_true, report.output)
        if len(Y) and report.task == "regression":
            rows = scores.of_regression(T, Y, report.classes)
            over = " (mean)" if len(rows) > 1 else ""
            for k, name in ((1, "R²"), (2, "root mean squared error"), (3, "mean absolute error")):
                found.append((name + over, number(float(np.mean([row[k] for row in rows])))))
        elif len(Y):
            for name, value in scores.of_classifier(T, Y, report.classes).overall:
                found.append((name, number(value) if name == "log loss" else share(value)))
        found.append(("held-out rows", f"{len(report.output):,}"))
    known = curves.series(report.history)
    for name, label in (("loss", "last training loss"), ("val_loss", "last validation loss")):
        if len(known.get(name, ())) and len(found) < 7:
            found.append((label, number(float(report.history[name][-1]))))
    epochs = max(map(len, known.values()), default=0)
    if epochs:
        found.append(("epochs", f"{epochs:,}"))
    if report.network is not None:
        found.append(("parameters", f"{report.network.n_params:,}"))
    speed = known.get("samples_per_s", np.empty(0))
    if np.isfinite(speed).any():
        found.append(("rows a second, median", f"{float(np.nanmedian(speed)):,.0f}"))
    if report.timings and "fit" in report.timings:
        found.append(("fit", seconds(float(report.timings["fit"]))))
    return found
