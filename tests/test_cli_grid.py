"""fastbp train: several runs of one command, which is kept, and within what time."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("pyarrow")

import fastbp
from fastbp.cli import config, many
from fastbp.cli.watch import Limit

from .commands import QUICK, Here, params, table


def test_seeds_and_grid_keep_the_best(run: Here) -> None:
    done = run("train", "iris", "--seeds", "0..2", "--grid", "lr=1e-3,1e-2", "--grid",
               "hidden=4,8:8", "--epochs", "5", "--no-report", "-q", "--json")
    assert done.status == 0, done.err
    rows = list(csv.DictReader(Path("fastbp-iris/results.csv").read_text().splitlines()))
    assert len(rows) == 12
    assert {(r["lr"], r["hidden"], r["seed"]) for r in rows} == {
        (lr, h, s) for lr in ("0.001", "0.01") for h in ("4", "8:8") for s in "012"}
    best = min(rows, key=lambda r: float(r["val_loss"]))
    assert best["best"] == "True" and sum(r["best"] == "True" for r in rows) == 1
    assert done.json["best"] == int(best["run"])
    # the best alone, from its own configuration
    assert run("train", "--config", "fastbp-iris/best.toml", "-o", "alone", "-q").status == 0
    np.testing.assert_array_equal(params(run.folder / "fastbp-iris"), params(run.folder / "alone"))
    # all of it again, from TOML lists
    assert run("train", "--config", "fastbp-iris/config.toml", "-o", "b", "-q").status == 0
    again = list(csv.DictReader(Path("b/results.csv").read_text().splitlines()))
    assert [r["loss"] for r in again] == [r["loss"] for r in rows]
    curves = [json.loads(x) for x in Path("b/metrics.jsonl").read_text().splitlines()]
    assert len(curves) == 60 and curves[-1]["run"] == 11
    assert "*" in run("train", "iris", "--seeds", "0,7", *QUICK, "-o", "c").out


def test_a_grid_of_precisions(run: Here) -> None:
    assert run("train", "iris", "--grid", "matmul-precision=medium,high", *QUICK).status == 0
    rows = list(csv.DictReader(Path("fastbp-iris/results.csv").read_text().splitlines()))
    assert [r["matmul_precision"] for r in rows] == ["medium", "high"]
    best = next(r for r in rows if r["best"] == "True")
    assert fastbp.load("fastbp-iris/model.safetensors").matmul_precision == (
        best["matmul_precision"])


def test_monitor_turns_the_choice(run: Here) -> None:
    done = run("train", "iris", "--seeds", "0..4", "--monitor", "val_accuracy", "--epochs", "4",
               "--no-report", "-q", "--json")
    rows = done.json["runs"]
    assert rows[done.json["best"]]["val_accuracy"] == max(r["val_accuracy"] for r in rows)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_figures_are_of_the_epoch_that_is_kept(monitor: str, run: Here) -> None:
    argv = ("train", "wine", "--early-stopping", "--patience", "4", "--epochs", "60", "--lr",
            "0.05", "--monitor", monitor, "--no-report", "-q", "--json", "-o")
    done = run(*argv, "several", "--seeds", "0..3").json
    curves = [json.loads(x) for x in Path("several/metrics.jsonl").read_text().splitlines()]
    sign = -1 if monitor == "val_loss" else 1
    for row in done["runs"]:
        own = [epoch for epoch in curves if epoch["run"] == row["run"]]
        kept = max(own, key=lambda epoch: sign * epoch[monitor])  # the first of the best
        assert row["best_epoch"] == kept["epoch"] < row["epochs"] == len(own)
        names = ("loss", "val_loss", "val_accuracy")
        assert [row[name] for name in names] == [kept[name] for name in names]
    best = done["runs"][done["best"]]
    assert sign * best[monitor] == max(sign * row[monitor] for row in done["runs"])
    assert done["scores"]["accuracy"] == pytest.approx(best["val_accuracy"])
    assert (done["loss"], done["best_epoch"]) == (best["loss"], best["best_epoch"])
    rows = list(csv.DictReader(Path("several/results.csv").read_text().splitlines()))
    assert [int(row["best_epoch"]) for row in rows] == [r["best_epoch"] for r in done["runs"]]
    # one that goes on after its best epoch
    first = run(*argv, "one", "--epochs", best["best_epoch"] + 1, "--seed", done["best"]).json
    again = run(*argv, "one", "--seed", done["best"], "--resume").json
    for one in (first, again):
        assert (one["loss"], one["best_epoch"]) == (best["loss"], best["best_epoch"])
    assert again["epochs"] == best["epochs"]
    assert "best_epoch" not in run("train", "iris", *QUICK, "--json").json


def test_early_stopping_and_time_limit_say_so(run: Here) -> None:
    done = run("train", "iris", "--early-stopping", "--patience", "0", "--epochs", "500", "--lr",
               "0.1", "--no-report", "-q")
    assert re.search(r"stopped by early stopping after \d+ epochs", done.out)
    done = run("train", "iris", "--time-limit", "0.2s", "--epochs", "10000000", "--no-report",
               "-q", "--json", "-o", "t")
    assert done.json["status"] == "time limit" and done.json["epochs"] < 10000000
    epochs = done.json["epochs"]
    # time-limited runs go on
    done = run("train", "--config", "t/config.toml", "--time-limit", "0.2s", "-o", "t",
               "--resume", "-q", "--json")
    assert done.json["epochs"] > epochs


def _figures(folder: str) -> list[dict[str, str]]:
    rows = csv.DictReader(Path(folder, "results.csv").read_text().splitlines())
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.mark.parametrize("more", [(), ("--stream",), ("--early-stopping",)])
@pytest.mark.parametrize("chunk", [1e-9, 9.0])  # a step, an epoch
def test_one_time_limit_for_all_runs(chunk: float, more: tuple[str, ...], run: Here,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", "--seeds", "0..2", "--epochs", "3", "--threads", "1", "--no-report",
            "-q", "--json", *more, "-o")
    assert run(*argv, "whole").status == 0
    with monkeypatch.context() as patch:
        patch.setattr("fastbp.job.CHUNK_SECONDS", chunk)
        done = run(*argv, "r", "--time-limit", "0.000001s")
        assert done.status == 0 and done.json["best"] == 0, done
        rows = _figures("r")
        assert [(row["status"], row["best"]) for row in rows] == [
            ("time limit", str(i == 0)) for i in range(3)]
        assert [bool(row["loss"]) for row in rows] == [True, False, False]
        assert [row["epochs"] for row in rows[1:]] == ["0", "0"]
        assert float(rows[0]["loss"]) == done.json["loss"] and params(Path("r")).size
        # what is unfinished can wait for another start with its own limit
        assert "--resume" in run.fails(*argv, "r")
        again = run(*argv, "r", "--time-limit", "0.000001s", "--resume")
        assert again.status == 0 and again.json["best"] == 0
    assert run(*argv, "r", "--resume").status == 0
    assert _figures("r") == _figures("whole") and not Path("r/unfinished").exists()
    np.testing.assert_array_equal(params(Path("r")), params(Path("whole")))
    assert "r is finished" in run(*argv, "r", "--resume").err


def test_of_parts_of_an_epoch_the_least_loss_is_kept(run: Here,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastbp.job.CHUNK_SECONDS", 1e-9)
    monkeypatch.setattr(Limit, "begin", lambda _: False)
    monkeypatch.setattr(Limit, "over", property(lambda _: True))
    done = run("train", "iris", "--seeds", "1,0,2", *QUICK, "--json").json
    losses = [row["loss"] for row in done["runs"]]
    assert done["best"] == losses.index(min(losses)) == 1 and "val_loss" not in done["runs"][0]
    assert not Path("fastbp-iris/metrics.jsonl").read_text()  # whole epochs only, as of one run


@pytest.mark.parametrize("more", [("--seed", "1"), ("--seeds", "1,2")], ids=" ".join)
def test_a_time_limit_is_of_the_call_and_tells_that_it_left_no_epoch(
        more: tuple[str, ...], run: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", *more, *QUICK, "--time-limit")
    with monkeypatch.context() as patch:
        patch.setattr("fastbp.job.CHUNK_SECONDS", 1e-9)
        done = run(*argv, "0.000001s")
    assert done.status == 0
    assert "fastbp: no epoch was completed within the --time-limit" in done.err
    done = run(*argv, "1h", "--overwrite")
    assert done.status == 0 and "--time-limit" not in done.err
    if "--seeds" in more:
        assert "time_limit" not in config.load("fastbp-iris/best.toml")
        assert config.load("fastbp-iris/config.toml")["time_limit"] == 3600


@pytest.mark.parametrize(("more", "said"), [
    (("--batch-norm", "--grid", "batch_size=32,1"), "batch_size=1: "),
    (("--grid", "l2=0,1e-60", "--seeds", "1,2", "--stream"), "l2=1e-60 seed=1: "),
    (("--batch-norm", "--batch-size", "1"), "Error: ")])
def test_what_a_run_would_refuse_is_told_before_any_trains(
        more: tuple[str, ...], said: str, run: Here) -> None:
    table(run.folder / "d.csv")
    for task in ("kind", "y"):
        done = run("train", "d.csv", "--target", task, *more, *QUICK)
        assert done.status == 2 and said in done.err and "networks" not in done.err, done.err
        assert not Path("fastbp-d").exists()


def test_seed_and_seeds_contradict_each_other(run: Here) -> None:
    done = run("train", "iris", "--seeds", "1,2", "--seed", "0", *QUICK)
    assert done.status == 2 and "--seed and --seeds cannot both be given" in done.err
    assert not Path("fastbp-iris").exists()
    Path("c.toml").write_text("seed = 3\n")
    assert run("train", "iris", "--config", "c.toml", "--seeds", "1,2", *QUICK).status == 0
    # config.toml, which has both, repeats the run
    again = ("train", "--config", "fastbp-iris/config.toml", "-q", "-o")
    assert run(*again, "b").status == 0
    assert _figures("b") == _figures("fastbp-iris")
    # one of its runs, or one with another seed
    assert run(*again, "one", "--seed", "5").status == 0
    kept = config.load("one/config.toml")
    assert kept["seed"] == 5 and "seeds" not in kept and not Path("one/results.csv").exists()
    assert run("train", "iris", "--seed", "5", *QUICK, "-o", "five").status == 0
    np.testing.assert_array_equal(params(Path("one")), params(Path("five")))


def test_an_option_and_its_grid_contradict_each_other(run: Here) -> None:
    done = run("train", "iris", *QUICK, "--batch-size", "8", "--grid", "batch-size=16,32")
    assert done.status == 2
    assert "--batch-size and --grid batch_size cannot both be given" in done.err
    grids = ("--grid", "lr=1e-3,1e-2", "--grid", "l2=0,0.1")
    assert run("train", "iris", *QUICK, *grids, "-o", "grid").status == 0
    path = Path("grid", "config.toml")  # has the defaults of both as well
    assert run("train", "iris", "--config", path, "--lr", "0.5", "-o", "one").status == 0
    with Path("one", "results.csv").open(newline="") as file:
        assert [row["l2"] for row in csv.DictReader(file)] == ["0.0", "0.1"]
    found = config.load(Path("one", "config.toml"))
    assert (found["lr"], found["grid"]) == (0.5, ["l2=0,0.1"])
    again = run("train", "iris", "--config", "one/config.toml", "-o", "two")
    assert again.status == 0 and (params(Path("one")) == params(Path("two"))).all()
    done = run("train", "iris", "--config", path, "--lr", "0.5", "--grid", "lr=1,2")
    assert done.status == 2 and "--lr and --grid lr cannot both be given" in done.err


def test_what_had_no_time_goes_on_where_another_diverged(run: Here,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", "--optimizer", "sgd", "--grid", "lr=1e30,1e-2", "--threads", "1",
            *QUICK, "--resume")
    late = iter([False, True])
    with monkeypatch.context() as patch:
        patch.setattr(Limit, "begin", lambda _: next(late))
        assert "diverged" in run.fails(*argv, status=3)
    assert not Path("fastbp-iris/model.safetensors").exists()
    assert Path("fastbp-iris/unfinished").exists()
    assert run(*argv, "--json").json["best"] == 1


@pytest.mark.parametrize("more", [(), ("--stream",), ("--seeds", "0,1")], ids=" ".join)
def test_threads_and_checkpoints_are_those_told(more: tuple[str, ...], run: Here,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that began anew each time would end with the same bits, later."""
    given = list[tuple[int, list[str | None]]]()
    fits = {name: getattr(many, name) for name in ("fit_many", "fit_stream")}
    fits["fit"] = fastbp.Network.fit

    def noted(name: str) -> Any:
        def fit(*args: Any, **options: Any) -> Any:
            each = options.get("options", [options])
            given.append((options["n_threads"], [own["resume"] for own in each]))
            return fits[name](*args, **options)
        return fit

    for name in ("fit_many", "fit_stream"):
        monkeypatch.setattr(many, name, noted(name))
    monkeypatch.setattr(fastbp.Network, "fit", noted("fit"))
    monkeypatch.setattr("fastbp.job.CHUNK_SECONDS", 1e-9)
    argv = ("train", "iris", "-q", "--no-report", "--epochs", "2", "--threads", "1", *more)
    assert run(*argv, "--time-limit", "0.000001s").status == 0
    assert run(*argv, "--resume").status == 0
    names = ["checkpoint-000", "checkpoint-001"] if "--seeds" in more else ["checkpoint"]
    left = [f"fastbp-iris/unfinished/{name}.safetensors" for name in names]
    assert given == [(1, [None] * len(left)), (1, left)]


def test_each_run_is_told_when_it_ends_and_has_its_row(run: Here) -> None:
    argv = ("train", "diabetes", "--grid", "hidden=,4:4", "--epochs", "2", "--threads", "1",
            "--no-report")
    done = run(*argv)
    told = [line for line in done.err.splitlines() if line.startswith("fastbp: run ")]
    rows = _figures("fastbp-diabetes")
    for i, (row, line) in enumerate(zip(rows, sorted(told), strict=True)):
        start = f"fastbp: run {i + 1} of 2: hidden={row['hidden']} loss {float(row['loss']):.4g} "
        assert line.startswith(start), line
    assert list(rows[0]) == ["run", "hidden", "loss", "val_loss", "val_r2", "epochs", "status",
                             "best"]
    seconds = [float(row["seconds"]) for row in csv.DictReader(
        Path("fastbp-diabetes/results.csv").read_text().splitlines())]
    assert all(0 < time < 600 for time in seconds)
    assert run(*argv, "-q", "-o", "quiet").err == ""
