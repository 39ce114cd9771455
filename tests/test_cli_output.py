"""fastbp train: when earlier work is done, goes on, or is in the way; which rows are whose."""

from __future__ import annotations

import errno
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("pyarrow")
pytest.importorskip("tomli_w")

from fastbp.cli import config, prepare
from fastbp.cli import run as module
from fastbp.cli.output import CHECKPOINT, CONFIG, METRICS, MODEL, RESULT, Output
from fastbp.cli.watch import Metrics
from fastbp.data import open_table

from .commands import Here, settings, table

in_memory = partial(settings, "--no-stream")


def finished(folder: Path, status: str, epochs: int, *argv: str) -> Output:
    """A folder as of a run that has ended so."""
    found = {RESULT: json.dumps({"status": status, "epochs": epochs, "fastbp": "0"}).encode(),
             CONFIG: config.as_toml(in_memory(*argv), ""), CHECKPOINT: b"", MODEL: b""}
    for name, data in found.items():
        (folder / name).write_bytes(data)
    return Output(folder)


@pytest.mark.parametrize(("status", "epochs", "asked", "plan"), [
    ("finished", 40, "40", "done"), ("finished", 40, "41", "resume"),
    ("time limit", 12, "40", "resume"), ("early stopping", 12, "40", "done"),
    ("early stopping", 12, "99", "done"), ("divergence", 12, "40", "done")])
def test_a_finished_run_goes_on_where_there_is_more_to_train(
        status: str, epochs: int, asked: str, plan: str, tmp_path: Path) -> None:
    output = finished(tmp_path, status, epochs)
    assert output.plan(in_memory("--resume", "--epochs", asked)) == plan
    with pytest.raises(ValueError, match="holds a finished run: --overwrite"):
        output.plan(in_memory("--epochs", asked))
    assert output.plan(in_memory("--overwrite", "--epochs", asked)) == "new"
    (tmp_path / CHECKPOINT).unlink()  # nothing to go on from
    assert output.plan(in_memory("--resume", "--epochs", asked)) == "done"
    (tmp_path / RESULT).unlink()  # nor anything to tell
    with pytest.raises(ValueError, match="has neither result.json nor checkpoint.safetensors"):
        output.plan(in_memory("--resume", "--epochs", asked))


def test_what_does_not_change_the_result_may_differ_when_a_run_goes_on(tmp_path: Path) -> None:
    output = finished(tmp_path, "finished", 40, "--lr", "0.5")
    for more in (["--threads", "2"], ["--time-limit", "1h"], ["--checkpoint-every", "1m"],
                 ["--no-report"], ["--quiet"], ["--json"], ["--output", "elsewhere"]):
        assert output.plan(in_memory("--resume", "--lr", "0.5", *more)) == "done"
    for more in (["--lr", "0.25"], ["--lr", "0.5", "--seeds", "0,1"], ["--lr", "0.5", "--l1", "1"],
                 ["--lr", "0.5", "--split-seed", "1"], ["--lr", "0.5", "--target", "x"]):
        with pytest.raises(ValueError, match=f"has {more[-2][2:].replace('-', '_')} = "):
            output.plan(in_memory("--resume", *more))
        assert output.plan(in_memory("--resume", "--overwrite", *more)) == "new"


def test_errors_of_writing_name_their_file_or_else_the_folder(tmp_path: Path) -> None:
    output = Output(tmp_path / "r")
    for given, name in ((None, output.work), (output.work / METRICS, output.work / METRICS),
                        (tmp_path / "other", tmp_path / "other")):
        with pytest.raises(OSError, match="full") as caught, output.writing():
            raise OSError(errno.ENOSPC, "full", None if given is None else str(given))
        assert caught.value.filename == str(name) and caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="^no number$"), output.writing():
        raise OSError("no number")


def test_a_place_that_may_not_be_written_is_refused_at_once(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, _: Path(path) != tmp_path)
    with pytest.raises(PermissionError, match=f"deep: cannot write in {tmp_path}"):
        Output(tmp_path / "new" / "deep")


def test_epochs_after_the_checkpoint_are_written_once(tmp_path: Path) -> None:
    hook: Any = Metrics(tmp_path / "m")
    hook.path.write_text('{"epoch": 1}\n{"epoch": 2}\n')  # and then it was killed
    hook.run = SimpleNamespace(history={"loss": [0.5]})
    hook.on_train_begin(None, 2, 9)
    hook.on_epoch_end(1, {"loss": 0.25})
    assert [json.loads(line) for line in hook.path.read_text().splitlines()] == [
        {"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]


# -- which rows are whose -------------------------------------------------------------


@pytest.mark.parametrize(("data", "argv", "scaled"), [
    ("d.csv", (), True), ("iris", (), True), ("mnist", (), False), ("digits", (), False),
    ("digits", ("--standardise",), True), ("d.csv", ("--no-standardise",), False)])
def test_all_but_bundled_images_are_standardised(data: str, argv: tuple[str, ...],
                                                 scaled: bool) -> None:
    found = prepare._learning(in_memory(*argv, data=data))
    assert found["standardize"] is scaled


def test_options_of_columns_are_as_told() -> None:
    found = prepare._learning(in_memory(
        "--task", "regression", "--categorical", "a", "--categorical", "b", "--weight", "w",
        "--ignore", "c", "--encoding", "ordinal", "--missing", "impute", "--unknown", "ignore",
        "--max-categories", "7"))
    assert found == {"task": "regression", "categorical": ("a", "b"), "weight": "w",
                     "drop": ("c",), "encoding": "ordinal", "missing": "impute",
                     "unknown": "ignore", "standardize": True, "max_categories": 7}


def test_rows_are_split_as_by_scikit_learn() -> None:
    from sklearn.model_selection import train_test_split

    argv = in_memory("--test-split", "0.25", "--validation-split", "0.5", "--split-seed", "3")
    T = np.arange(40) % 4
    rest, test = train_test_split(np.arange(40), test_size=0.25, random_state=3, stratify=T)
    kept, held = train_test_split(rest, test_size=0.5, random_state=3, stratify=T[rest])
    for own, expected in zip(prepare.split_rows(argv, T, "classification"), (kept, held, test),
                             strict=True):
        np.testing.assert_array_equal(own, expected)
    rare = np.where(np.arange(40) == 7, 4, T)  # a class of one row cannot be on both sides
    kept, held, test = prepare.split_rows(argv, rare, "classification")
    assert sorted([*kept, *held, *test]) == list(range(40)) and len(test) == 10
    assert 7 in kept  # and the others are stratified
    others = np.delete(np.arange(40), 7)
    rest, expected = train_test_split(others, test_size=0.25, random_state=3, stratify=T[others])
    np.testing.assert_array_equal(test, expected)
    np.testing.assert_array_equal(held, train_test_split(
        rest, test_size=0.5, random_state=3, stratify=T[rest])[1])
    kept, held, test = prepare.split_rows(argv | {"validation": "v.csv"}, T * 0.5, "regression")
    assert (len(kept), len(held), len(test)) == (30, 0, 10)


def test_a_stream_holds_out_no_more_rows_than_fit_in_memory(
        run: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    data = str(table(run.folder / "d.csv", 1000))
    argv = ["--target", "y", "--stream", "--test-split", "0.4", "--validation-split", "0.5"]

    def sizes(*more: str) -> tuple[int, int, int]:
        found = prepare.prepare(in_memory(*argv, *more, data=data))
        assert found.held is not None and found.test is not None
        return found.n_train, len(found.held[0]), len(found.test[0])

    assert sizes() == pytest.approx((300, 300, 400), rel=0.2)
    assert sizes("--seed", "1") == sizes() != sizes("--split-seed", "1")
    monkeypatch.setattr(prepare, "MOST_HELD", 100)
    assert sizes() == pytest.approx((800, 100, 100), rel=0.35)


def test_parts_of_a_file_do_not_share_what_is_drawn(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = pa.table({"x": np.tile(np.arange(200.0), 2)})
    parquet.write_table(rows, tmp_path / "d.parquet", row_group_size=200)
    half = prepare.Share(open_table(tmp_path / "d.parquet"), 0.0, 0.5, 0, ["x"])
    assert half.n_parts == 2
    first, second = ([x for piece in half.part(i) for x in piece["x"]] for i in (0, 1))
    assert 60 < len(first) < 140 and len(set(first) & set(second)) < 0.8 * len(first)


@pytest.mark.parametrize(("name", "times"), [
    ("d.csv", 1.5), ("d.TSV", 1.5), ("d.csv.gz", 8), ("d.parquet", 6), ("d.npz", 3), ("d.npy", 1)])
def test_a_file_is_large_by_what_its_rows_take(name: str, times: float, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    path.write_bytes(b"0" * 1000)
    for memory, large in ((4000 * times - 1, True), (4000 * times + 1, False)):
        monkeypatch.setattr(prepare, "memory", lambda memory=memory: memory)
        assert prepare.is_large(str(path)) is large
    assert not prepare.is_large(str(tmp_path))


@pytest.mark.parametrize(("argv", "streamed"), [
    (["--resume"], False), ([], True), (["--overwrite"], True),
    (["--resume", "--overwrite"], True), (["--resume", "--stream"], True),
    (["--no-stream"], False)])
def test_only_a_run_that_goes_on_is_read_as_it_was(
        argv: list[str], streamed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = finished(tmp_path, "finished", 40)  # in memory
    monkeypatch.setattr(module, "is_large", lambda _: True)
    assert module._streamed(settings(*argv), output) is streamed
