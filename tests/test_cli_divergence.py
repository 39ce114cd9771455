"""Training that diverges: what is told of it, and what is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("pyarrow")

from fastbp.cli import many
from fastbp.run import Run

from .commands import Here, params


def test_divergence_saves_nothing(run: Here) -> None:
    line = run.fails("train", "digits", "--optimizer", "sgd", "--lr", "1e30", "-q", status=3)
    assert "diverged" in line and "--lr" in line and not list(run.folder.iterdir())


def test_a_regression_that_diverges_is_told_as_such(run: Here) -> None:
    """Its R^2 is no number either, which scikit-learn has no answer to."""
    sgd = ("--optimizer", "sgd", "--epochs", "4", "-q", "--no-report")
    assert "diverged" in run.fails("train", "diabetes", *sgd, "--lr", "1e3", status=3)
    done = run("train", "diabetes", *sgd, "--grid", "lr=1e3,1e-3", "--json")
    assert done.status == 0 and done.json["best"] == 1, done.err
    assert [r["status"] for r in done.json["runs"]] == ["diverged", "finished"]


def test_one_diverged_run_among_several_is_told_apart(run: Here) -> None:
    done = run("train", "iris", "--optimizer", "sgd", "--grid", "lr=1e30,1e-2", "--epochs", "4",
               "-q", "--no-report", "--json")
    assert done.status == 0, done.err
    assert [r["status"] for r in done.json["runs"]] == ["diverged", "finished"]
    assert done.json["best"] == 1
    for name in ("result.json", "metrics.jsonl"):  # JSON to the letter: no NaN
        text = Path("fastbp-iris", name).read_text()
        assert "NaN" not in text and "Infinity" not in text


def test_the_table_of_runs_has_what_the_first_lacks() -> None:
    lines = many.table([{"run": 0, "loss": None, "status": "diverged", "best": False},
                        {"run": 1, "loss": 0.5, "val_loss": 0.25, "status": "finished",
                         "best": True}])
    assert [line.split() for line in lines] == [
        ["run", "loss", "val_loss", "status"], ["0", "-", "-", "diverged"],
        ["1", "0.5", "0.25", "finished", "*"]]


def test_the_best_epoch_before_divergence_is_kept(run: Here,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    advance = Run.advance

    def advanced(run: Run, n_steps: int, n_threads: int) -> None:
        advance(run, n_steps, n_threads)
        if run.cursor[0] > 20:
            run.network.params[...] = np.nan
            run.errors[0] = np.nan

    monkeypatch.setattr(Run, "advance", advanced)
    done = run("train", "iris", "--early-stopping", "--epochs", "40", "-q", "--no-report")
    assert done.status == 0, done.err
    assert "stopped by divergence" in done.out
    assert np.isfinite(params(Path("fastbp-iris"))).all()
