"""Several runs in one call, over seeds and grids, and the choice of the best."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from .. import training
from ..callbacks.base import more_is_better
from ..history import History
from ..many import fit_many
from ..streaming import fit_stream
from . import build, config
from .exits import SIGNALS, say
from .output import BEST, METRICS, RESULTS, Output
from .prepare import Prepared
from .scores import as_json
from .watch import lines

if TYPE_CHECKING:
    from .run import One

#: Settings of a run that are not options.
OWN = ("run", "varied")


def expand(settings: dict[str, Any], grid: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Settings of each run: every combination of the grid, for every seed."""
    seeds = settings["seeds"] or [settings["seed"]]
    axes = [*grid.values(), seeds]
    names = [*grid, "seed"]
    return [{**settings, "grid": (), "seeds": None, **dict(zip(names, values, strict=True)),
             "run": i, "varied": names[:-1] + ["seed"] * (len(seeds) > 1)}
            for i, values in enumerate(itertools.product(*axes))]


def check_monitor(monitor: str, data: Prepared) -> None:
    """Refuse to monitor a figure that the run will not have.

    Raises
    ------
    ValueError
        Names those that it will have.
    """
    known = ["loss"]
    if data.held is not None:
        known.append("val_loss")
        if data.target.task == "classification":
            known.append("val_accuracy")
        elif build.has_r2(data.held, data.target):
            known.append("val_r2")
    if monitor not in known:
        raise ValueError(f"--monitor {monitor}: this run has {', '.join(known)}")


def rank(one: One, data: Prepared) -> tuple[float, float]:
    """Key to compare runs by, less being better; without a whole epoch, the loss so far."""
    name = build.monitored(one.settings, data.held)
    sign = -1 if more_is_better(name) else 1
    value = one.figures.get(name, math.nan)  # NaN would be neither more nor less than others
    return math.inf if math.isnan(value) else sign * value, one.figures["loss"]


def check(runs: list[One], data: Prepared) -> None:
    """Refuse options that the training of a run would refuse, before any is trained.

    Raises
    ------
    click.UsageError
        Names the settings in which the run differs from the others.
    """
    n_rows = 2  # any rows will do: those of the data fit all runs or none
    T = np.zeros((n_rows, 1)) if data.target.classes is None else np.zeros(n_rows, np.int64)
    for one in runs:
        try:
            training.prepare(one.network, np.zeros((n_rows, one.network.n_in)), T,
                             **one.options | {"validation_data": None, "class_weight": None})
        except ValueError as error:
            raise click.UsageError(": ".join(filter(None, (_named(one), str(error))))) from None


def fit(runs: list[One], data: Prepared, settings: Mapping[str, Any]) -> None:
    """Train all runs: together on rows in memory, one after the other from a stream."""
    resume = [str(one.checkpoint) if one.checkpoint.exists() else None for one in runs]
    if len(runs) == 1 or data.streamed:
        for one, checkpoint in zip(runs, resume, strict=True):
            if checkpoint is None and one.watch.limit.over:  # do not even read the data
                continue
            options = {**one.options, "callbacks": one.hooks, "resume": checkpoint,
                       "n_threads": settings["threads"]}
            if isinstance(data.train, tuple):
                X, T, *own = data.train
                one.history = one.network.fit(X, T, sample_weight=own[0] if own else None,
                                              **options)
            else:
                one.history = fit_stream(one.network, data.train, **options)
            if SIGNALS.caught:
                return
        return

    def done(i: int, history: History) -> None:
        one = runs[i]
        one.history = history
        if not settings["quiet"] and not SIGNALS.caught:
            say(f"run {i + 1} of {len(runs)}: {_named(one)}  "
                + ("  ".join(f"{k} {v:.4g}" for k, v in one.figures.items()) or one.status))

    assert isinstance(data.train, tuple)
    X, T, *own = data.train
    fit_many([one.network for one in runs], X, T, on_done=done,
             n_threads=settings["threads"], sample_weight=own[0] if own else None,
             options=[{**one.options, "callbacks": one.hooks, "resume": checkpoint}
                      for one, checkpoint in zip(runs, resume, strict=True)])


def _varied(one: One) -> dict[str, str]:
    """Settings in which a run differs from the others."""
    return {name: config.as_typed(one.settings[name]) for name in one.settings["varied"]}


def _named(one: One) -> str:
    """These settings in a message."""
    return " ".join(f"{name}={value}" for name, value in _varied(one).items())


def write(output: Output, runs: list[One], best: One) -> list[dict[str, Any]]:
    """Write results.csv, figures of all epochs, settings of the best; return the rows."""
    found = []
    for one in runs:
        figures = {k: v for k, v in one.figures.items()
                   if k in ("loss", "val_loss", "val_accuracy", "val_r2")}
        found.append({"run": one.settings["run"],
                      **_varied(one), **figures, **one.counts,
                      "status": "diverged" if one.diverged else one.status,
                      "seconds": round(one.watch.seconds, 3), "best": one is best})
    text = io.StringIO()
    writer = csv.DictWriter(text, max(found, key=len), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    output.write(RESULTS, text.getvalue().encode())
    output.write(METRICS, "".join(line for one in runs for line in lines(
        {name: values[:one.epochs] for name, values in one.history.items()},
        run=one.settings["run"])).encode())
    output.write(BEST, config.as_toml(  # the limit was that of all runs
        best.chosen | {"time_limit": None},
        "the best run alone: fastbp train --config THIS --output DIR"))
    return [as_json(row) for row in found]


def table(rows: list[dict[str, Any]]) -> list[str]:
    """A table of the runs as lines of text, the best marked."""
    if not rows:
        return []
    # A run that diverged in its first epoch has no figures of held-out rows.
    names = [name for name in max(rows, key=len) if name != "best"]

    def cell(value: Any) -> str:
        return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)

    cells = [names, *([cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    marks = ["", *("  *" if row["best"] else "" for row in rows)]
    return ["  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) + mark
            for line, mark in zip(cells, marks, strict=True)]
