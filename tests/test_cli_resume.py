"""What --resume goes on with, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("pyarrow")

from fastbp.cli.digest import Digest
from fastbp.io.safetensors import read

from .commands import Here, Signalling, params, table

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of Unix")


def test_more_epochs_go_on_from_a_finished_run(run: Here) -> None:
    argv = ("train", "iris", "-q", "--no-report")
    assert run(*argv, "--epochs", "7", "-o", "whole").status == 0
    assert run(*argv, "--epochs", "3", "-o", "r").status == 0
    assert len(json.loads(read(run.folder / "r/checkpoint.safetensors")[1]["fastbp-run"])[
        "history"]["loss"]) == 3
    assert run(*argv, "--epochs", "7", "-o", "r", "--resume").status == 0
    np.testing.assert_array_equal(params(run.folder / "r"), params(run.folder / "whole"))


@pytest.mark.parametrize("begun", [False, True])
def test_changed_data_are_not_gone_on_with(begun: bool, run: Here) -> None:
    argv = ("train", "d.csv", "--target", "kind", "-q", "--no-report", "-o", "r", "--epochs")
    table(run.folder / "d.csv")
    assert run(*argv, 2).status == 0
    if begun:
        shutil.copytree("r", "r/unfinished", ignore=shutil.ignore_patterns("model.*"))
        Path("r/unfinished/learned.json").write_text(json.dumps({"rows": 3}))
    else:
        text = Path("d.csv").read_text()
        Path("d.csv").write_text(text.replace("red", "reddish"))
    before = params(Path("r"))
    line = run.fails(*argv, 3, "--resume")
    assert "--resume: d.csv has changed" in line and "--overwrite" in line
    np.testing.assert_array_equal(params(Path("r")), before)
    assert run(*argv, 3, "--resume", "--overwrite").status == 0
    assert json.loads(Path("r/result.json").read_text())["epochs"] == 3


@pytest.mark.parametrize("what", ["target", "validation", "order"])
@pytest.mark.parametrize("more", [(), ("--stream",)], ids=" ".join)
def test_changes_that_no_mean_shows_are_not_gone_on_with(more: tuple[str, ...], what: str,
                                                         run: Here) -> None:
    argv = ("train", "d.csv", "--target", "kind", "--validation", "v.csv", "-q", "--no-report",
            "-o", "r", *more, "--epochs")
    path = table(run.folder / ("v.csv" if what == "validation" else "d.csv"))
    table(run.folder / ("d.csv" if what == "validation" else "v.csv"), seed=1)
    assert run(*argv, 2).status == 0
    assert run(*argv, 3, "--resume").status == 0
    head, *rows = path.read_text().splitlines()
    if what == "validation":
        rows = rows[:20]
    elif what == "order":
        rows = rows[100:] + rows[:100]
    else:  # the class of each row goes to the next one
        cells = [row.split(",") for row in rows]
        at = head.split(",").index("kind")
        rows = [",".join([*own[:at], other[at], *own[at + 1:]])
                for own, other in zip(cells, cells[1:] + cells[:1], strict=True)]
    path.write_text("\n".join([head, *rows]) + "\n")
    assert "--resume: d.csv or v.csv has changed" in run.fails(*argv, 4, "--resume")


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("more", [(), ("--stream",), ("--stream", "--validation-split", "0"),
                                  ("--missing-target", "drop")], ids=" ".join)
def test_other_weights_of_the_rows_are_not_gone_on_with(
        more: tuple[str, ...], begun: bool, run: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "d.csv", "--target", "kind", "--ignore", "y", "--weight", "w", "-q",
            "--no-report", "-o", "r", *more, "--epochs")
    w = np.arange(1, 201) / 8
    table(run.folder / "d.csv", w=w)
    with monkeypatch.context() as patch:
        if begun:
            Signalling(patch, 3)
        assert run(*argv, 2).status == (130 if begun else 0)
    table(run.folder / "d.csv", w=np.roll(w, 1))  # the same sum, mean and spread
    before = {path: path.read_bytes() for path in Path("r").rglob("*.*")}
    line = run.fails(*argv, 3, "--resume")
    assert "--resume: d.csv has changed" in line and "--overwrite" in line
    assert before == {path: path.read_bytes() for path in Path("r").rglob("*.*")}
    table(run.folder / "d.csv", w=w)
    assert run(*argv, 3, "--resume").status == 0
    assert json.loads(Path("r/result.json").read_text())["epochs"] == 3


@pytest.mark.parametrize("more", [(), ("--seeds", "0..2")])
def test_a_run_that_stopped_after_its_last_epoch_is_finished(
        more: tuple[str, ...], run: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", "--epochs", "3", "--no-report", "-o", "r", *more)
    with monkeypatch.context() as patch:
        Signalling(patch, 12)  # 120 rows are 4 steps
        assert run(*argv, "-q").status == 130
    done = run(*argv, "--resume")
    assert done.status == 0 and "warning" not in done.err, done.err
    assert done.err.count("fastbp: all of --epochs 3 are trained") == (not more)
    assert json.loads(Path("r/result.json").read_text())["epochs"] == 3


def test_fewer_epochs_than_trained_are_refused(run: Here,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", "-q", "--no-report", "--resume", "-o", "r")

    def refused(epochs: int, words: str) -> None:
        before = {path: path.read_bytes() for path in Path("r").rglob("*.*")}
        done = run(*argv, "--epochs", epochs)
        assert done.status == 2 and not done.out
        assert done.err.splitlines()[-1] == (f"Error: --resume --epochs {epochs}: r holds a run "
                                             f"of {words} already; --overwrite starts anew")
        assert before == {path: path.read_bytes() for path in Path("r").rglob("*.*")}

    with monkeypatch.context() as patch:
        patch.setattr("fastbp.job.CHUNK_SECONDS", 1e-9)
        Signalling(patch, 10)  # 120 rows are 4 steps: in the third epoch
        assert run(*argv, "--epochs", "6").status == 130
    refused(2, "3 epochs")
    assert run(*argv, "--epochs", "3", "--json").json["epochs"] == 3
    refused(2, "3 epochs")
    assert run(*argv, "--epochs", "2", "--overwrite", "--json").json["epochs"] == 2


@pytest.mark.parametrize("finished", [True, False])
def test_several_runs_keep_their_epochs(finished: bool, run: Here,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", "-q", "--no-report", "--resume", "-o", "r", "--grid",
            "l2=0,0.1", "--epochs")
    with monkeypatch.context() as patch:
        if not finished:
            Signalling(patch, 2)
        assert run(*argv, "1").status == (0 if finished else 130)
    done = run(*argv, "5")
    assert done.status == 2 and "--resume --epochs 5: r holds several runs" in done.err
    assert run(*argv, "1").status == 0  # the same line: as ever


def test_a_digest_is_of_each_number_whatever_the_pieces() -> None:
    def of(*pieces: tuple[Any, ...], what: str = "all") -> str:
        digest = Digest()
        for arrays in pieces:
            digest.add(what, arrays)
        return str(digest)

    X, t = np.arange(18.0).reshape(9, 2), np.arange(9)
    found = of((X, t))
    assert found == of((X[:4], t[:4]), (X[4:], t[4:])) == of((np.asfortranarray(X), t), (X[:0],))
    others = [of((t, X)), of((X,)), of((X[::-1], t)), of((X, t[::-1])), of((X, t), what="held"),
              of((X, t, t)), of(), *(of((X, np.where(t == i, 20, t))) for i in range(9))]
    assert len({found, *others}) == 1 + len(others)
