"""What ``fastbp train`` does: plan, prepare, train, save."""

from __future__ import annotations

import json
import math
import sys
import time
import warnings
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np

from .. import __version__
from .._validation import Array
from ..callbacks import Callback, EarlyStopping
from ..engine import EPOCH
from ..history import History
from ..network import Network
from . import build, config, many, scores
from .exits import SIGNALS, Diverged, Stopped, check_stdout, named, note, say, status_of, tell
from .output import CHECKPOINT, CONFIG, METRICS, MODEL, REPORT, RESULT, Output, learned
from .prepare import Prepared, is_large, name_of, prepare
from .watch import Limit, Metrics, Watch, shown


@dataclass
class One:
    """A network in training, with its settings."""

    settings: dict[str, Any]
    network: Network
    options: dict[str, Any]
    watch: Watch
    hooks: list[Callback]
    checkpoint: Any
    initial: Array
    history: History = field(default_factory=History)

    @property
    def chosen(self) -> dict[str, Any]:
        """Those of its settings that are options."""
        return {k: v for k, v in self.settings.items() if k not in many.OWN}

    @property
    def diverged(self) -> bool:
        """Whether its training went to infinity and no usable epoch was kept."""
        kept = self.early is not None and self.early.best_epoch >= 0
        losses = self.history.get("loss", [])
        return not np.isfinite(self.network.params).all() or (
            bool(losses) and not math.isfinite(losses[-1]) and not kept)

    @property
    def early(self) -> EarlyStopping | None:
        """Its early stopping, if any."""
        return next((h for h in self.hooks if isinstance(h, EarlyStopping)), None)

    @property
    def figures(self) -> dict[str, float]:
        """Figures of the epoch that is kept: the best of early stopping, else the last whole one;
        the last figures if there is none yet, or if it diverged."""
        at = -1
        if self.early is not None:
            at = self.early.best_epoch
        elif self.epochs and math.isfinite(self.history["loss"][-1]):
            at = self.epochs - 1
        return {name: values[at] for name, values in self.history.items()}

    @property
    def counts(self) -> dict[str, int | None]:
        """Number of epochs; with early stopping also the one that is kept, counted from 1."""
        kept = {} if self.early is None else {"best_epoch": self.early.best_epoch + 1 or None}
        return {"epochs": self.epochs, **kept}

    @property
    def epochs(self) -> int:
        """Number of whole epochs trained."""
        return int(self.network.last_run.cursor[EPOCH]) if self.network.last_run else 0

    @property
    def status(self) -> str:
        """How it ended."""
        if not math.isfinite(self.history.get("loss", [0.0])[-1]):
            return "divergence"  # the best epoch before it is kept
        if self.early is not None and self.early.stopped:
            return "early stopping"
        return "finished" if self.epochs >= self.settings["epochs"] else "time limit"


def train(settings: dict[str, Any], grid: dict[str, list[Any]]) -> int:
    """Train as the settings say; return the exit status.

    Raises
    ------
    Diverged
        If training went to infinity.
    ValueError, TypeError, OSError, ImportError
        For any other error, with a message of one line.
    """
    if settings["output"] == "":  # a variable of a script that is not set, say
        raise ValueError("--output '' names no folder")
    if settings["as_json"]:
        check_stdout()
    output = Output(settings["output"] or f"fastbp-{name_of(settings['data'])}")
    output.complete()
    settings = {**settings, "stream": _streamed(settings, output)}
    found = many.expand(settings, grid)
    plan = output.plan(settings, alone=len(found) == 1)
    if plan == "done":
        say(f"{output.folder} is finished")
        _tell(output.result(), settings["as_json"])
        return 0
    data, limit = prepare(settings), Limit(settings["time_limit"])
    runs = [_one(own, data, output, limit, alone=len(found) == 1) for own in found]
    many.check(runs, data)
    if not settings["quiet"]:
        held = f", {len(data.held[0]):,} held out" if data.held is not None else ""
        gone = "".join(f", {n:,} {'of --validation ' * (key == 'validation')}without a target "
                       "dropped" for key, n in data.dropped.items())
        print(f"{data.name}: {data.n_train:,} rows to learn from{held}{gone}"
              f"{', read block by block' if data.streamed else ''}\n{runs[0].network.summary()}",
              file=sys.stderr, flush=True)
    output.begin(plan, settings, __version__,
                 learned(data.preprocessor, data.target, data.n_train, str(data.digest)),
                 alone=len(found) == 1)
    try:
        began = time.monotonic()
        with SIGNALS.gently(), output.writing(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*loss is", RuntimeWarning)  # told below, once
            warnings.filterwarnings("ignore", ".* already, epochs=", UserWarning)  # told by Over
            many.fit(runs, data, settings)
        if SIGNALS.caught:
            raise Stopped(SIGNALS.caught)
        trained = [one for one in runs if one.history]  # not those after the time limit
        good = [one for one in trained if not one.diverged]
        if not good:
            raise Diverged(f"training diverged (loss {trained[0].history['loss'][-1]}), nothing "
                           f"saved; try a --lr below {trained[0].settings['lr']}")
        best = min(good, key=lambda one: many.rank(one, data))
        if not best.epochs and best.status == "time limit":
            say("no epoch was completed within the --time-limit: the model is hardly trained")
        _save(output, data, runs, best, settings, time.monotonic() - began)
    except (Stopped, KeyboardInterrupt) as error:
        return _interrupted(output, error, settings["as_json"])
    except Diverged:
        (output.discard if all(one.history for one in runs) else output.release)()
        raise
    except BaseException:
        output.give_up()
        raise
    _tell(output.result(), settings["as_json"])
    return 0


def _streamed(settings: dict[str, Any], output: Output) -> bool:
    """Whether to read block by block. It is kept with the settings, as the rows held out depend
    on it and a later start may find more or less memory."""
    path = (output.work if output.begun else output.folder) / CONFIG
    goes_on = settings["resume"] and not settings["overwrite"] and path.exists()
    there = config.load(path) if goes_on else {}
    for said in (settings["stream"], there.get("stream")):
        if said is not None:
            return bool(said)
    return is_large(settings["data"])


def _one(settings: dict[str, Any], data: Prepared, output: Output, limit: Limit, *,
         alone: bool) -> One:
    """Network and callbacks of one run; nothing is written."""
    network = build.network(settings, data.preprocessor.n_features, data.target)
    name = CHECKPOINT if alone else f"checkpoint-{settings['run']:03d}.safetensors"
    watch = Watch(limit)
    more: list[Callback] = [watch]
    if alone:
        more += [Metrics(output.work / METRICS), *shown(settings["quiet"])]
    many.check_monitor(build.monitored(settings, data.held), data)
    hooks = build.callbacks(settings, data.held, output.work / name, more)
    return One(settings, network, build.fit_options(settings, data.held, data.target), watch,
               hooks, output.work / name, network.params.copy())


def _interrupted(output: Output, error: BaseException, as_json: bool) -> int:
    output.give_up()
    if not output.begun:
        raise error
    line = output.to_resume()
    say(f"{named(error)}, saved so far; to go on: {line}")
    if as_json:
        tell(json.dumps({"status": named(error), "output": str(output.folder), "resume": line}))
    return status_of(error)


def _save(output: Output, data: Prepared, runs: list[One], best: One, settings: dict[str, Any],
          seconds: float) -> None:
    """Write scores, report, result and model, then move all into place."""
    from ..model import Model

    where, rows = ("test", data.test) if data.test is not None else ("held-out", data.held)
    if rows is None:
        where, rows = "training", _some(data)
    found = scores.as_json(scores.of_network(best.network, data.target, *rows))
    result = {
        "status": best.status, "output": str(output.folder), "model": str(output.folder / MODEL),
        "data": settings["data"], "task": data.target.task, "target": data.target.name,
        "rows": data.n_train, **({"dropped": data.dropped} if data.dropped else {}),
        "features": data.preprocessor.n_features,
        "parameters": best.network.n_params, **best.counts,
        "loss": best.figures["loss"], "seconds": round(seconds, 3), "scores_on": where,
        "scores": found, "fastbp": __version__}
    if len(runs) > 1:
        result |= {"best": best.settings["run"], "runs": many.write(output, runs, best)}
    if settings["report"]:
        _report(output, data, best, rows if where != "training" else None, result)
    output.write(RESULT, (json.dumps(scores.as_json(result)) + "\n").encode())
    model = Model(best.network, data.preprocessor, data.target, {
        "config": config.resolved(best.chosen), "scores": found,
        "scores_on": where, "rows": data.n_train, "epochs": best.epochs,
        "digest": str(data.digest)})
    model.save(output.work / MODEL)
    with SIGNALS.gently():  # the move is not to be left half done
        output.finish(whole=all(one.status != "time limit" for one in runs))


def _some(data: Prepared) -> Any:
    """Rows that were trained on, to be scored as there are no others."""
    if not data.streamed:
        return data.train
    return next(iter(data.train.blocks(0, 0, False)))  # type: ignore[union-attr]


def _report(output: Output, data: Prepared, best: One, rows: Any, result: dict[str, Any]) -> None:
    """Write report.html, or say what it needs."""
    needed = f'no {REPORT}: it needs matplotlib: pip install "fastbp[plot]"'
    if find_spec("matplotlib") is None:
        say(needed)
        return
    try:
        _write_report(output, data, best, rows, result)
    except ImportError as error:  # what is installed may still not import
        say(f"{needed} ({error.__cause__ or error})")


def _write_report(output: Output, data: Prepared, best: One, rows: Any,
                  result: dict[str, Any]) -> None:
    from .. import report
    from ..peak import share_of_peak

    speeds = best.history.get("samples_per_s") or [0.0]
    peak = share_of_peak(best.network, float(np.median(speeds)), best.settings["threads"])
    X, T, *weights = rows if rows is not None else (None, None)
    notes = ["Each row counts once on this page, whatever its weight."] if weights else []
    page = report.from_network(
        best.network, best.history, X, T, title=f"fastbp train {data.name}", target=data.target,
        config=config.resolved(best.chosen),
        timings={"fit": result["seconds"]}, peak=peak, initial_params=best.initial,
        notes=notes)
    report.write(output.work / REPORT, page)


def _tell(result: dict[str, Any], as_json: bool) -> None:
    """Print the outcome of a run to stdout."""
    if as_json:
        tell(json.dumps(result))
        return
    stopped = f"stopped by {result['status']} after {result['epochs']} epochs"
    note("\n".join([*many.table(result.get("runs", [])),
                    *scores.lines(result["scores"], f"{result['scores_on']} "),
                    *[stopped][:result["status"] != "finished"],
                    f"model saved to {result['model']}"]))
