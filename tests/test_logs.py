"""Logs of callbacks: CSV, JSON, TensorBoard."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastbp.callbacks import (
    Callback,
    Checkpoint,
    CSVLog,
    JSONLines,
    Lambda,
    PrintEpoch,
    TensorBoard,
)

from .builders import Figures, classifier, clusters


def test_json_has_null_for_what_is_not_finite(tmp_path: Path) -> None:
    X, T = clusters(32)
    path = tmp_path / "log.jsonl"
    classifier().fit(X, T, epochs=2, callbacks=[Figures([np.nan, -np.inf]), JSONLines(path)])
    for line in path.read_text().splitlines():
        assert json.loads(line, parse_constant=pytest.fail)["figure"] is None
    words: Any = ["warm", None]  # a user's callback may add what is no number
    classifier().fit(X, T, epochs=2, callbacks=[Figures(words), JSONLines(path)])
    assert [json.loads(line)["figure"] for line in path.read_text().splitlines()] == words


@pytest.mark.parametrize("adds", [False, True])
def test_a_log_of_other_columns_is_refused_before_training(adds: bool, tmp_path: Path) -> None:
    X, T = clusters(32)
    path, network = tmp_path / "log.csv", classifier()
    before = network.params.copy()
    hook = CSVLog(path, append=True)
    hooks = [Figures([1.0, 2.0]), hook] if adds else [hook]  # a user's callback may add some
    path.write_text("epoch,f1\n1,0.5\n")
    with pytest.raises(ValueError, match="log.csv' has the columns"):
        network.fit(X, T, epochs=2, callbacks=hooks)
    assert (network.params == before).all() == (not adds)
    network.params[...] = before
    path.write_bytes("epoch,größe\n".encode("latin-1"))
    with pytest.raises(ValueError, match="log.csv' is no CSV file in UTF-8 to append to"):
        network.fit(X, T, epochs=2, callbacks=hooks)
    assert (network.params == before).all() and hook._file is None
    path.write_text("")
    network.fit(X, T, epochs=2, callbacks=hooks)
    network.fit(X, T, epochs=2, callbacks=hooks)
    assert len(path.read_text().splitlines()) == 5


def test_a_log_that_an_editor_has_marked_as_utf_8_goes_on(tmp_path: Path) -> None:
    (X, T), path = clusters(32), tmp_path / "log.csv"
    classifier().fit(X, T, epochs=1, callbacks=[CSVLog(path)])
    path.write_text(path.read_text(), encoding="utf-8-sig")
    classifier().fit(X, T, epochs=1, callbacks=[CSVLog(path, append=True)])
    assert [line.split(",")[0] for line in path.read_text("utf-8-sig").splitlines()] == [
        "epoch", "1", "1"]


def test_logs_say_what_the_history_says(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    X, T = clusters(64)
    hooks = [CSVLog(tmp_path / "a.csv"), JSONLines(tmp_path / "a.jsonl"),
             TensorBoard(tmp_path / "board")]
    history = classifier().fit(X, T, epochs=3, callbacks=hooks)
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [int(r["epoch"]) for r in rows] == [r["epoch"] for r in lines] == [1, 2, 3]
    for name, values in history.items():
        assert [float(r[name]) for r in rows] == [r[name] for r in lines] == values
    assert any((tmp_path / "board").iterdir())
    classifier().fit(X, T, epochs=1, callbacks=[CSVLog(tmp_path / "a.csv", append=True)])
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 5
    turned = ",".join(["loss", *(n for n in rows[0] if n != "loss")])
    (tmp_path / "b.csv").write_text(turned + "\n")
    history = classifier().fit(X, T, epochs=1, callbacks=[CSVLog(tmp_path / "b.csv", append=True)])
    header, line = (tmp_path / "b.csv").read_text().splitlines()
    assert header == turned and float(line.split(",")[0]) == history["loss"][0]
    (tmp_path / "b.csv").write_text("epoch,f1\n1,0.5\n")
    with pytest.raises(ValueError, match=r"b.csv' has the columns \['epoch', 'f1'\], this run"):
        classifier().fit(X, T, epochs=1, callbacks=[CSVLog(tmp_path / "b.csv", append=True)])
    assert (tmp_path / "b.csv").read_text() == "epoch,f1\n1,0.5\n"

    class Now(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            if epoch != 1:
                logs["größe"] = epoch
            if epoch == 2:
                logs["then"] = 7

    for append in False, True:
        classifier().fit(X, T, epochs=3, callbacks=[Now(), CSVLog(tmp_path / "c.csv", append)])
    header, *lines = (tmp_path / "c.csv").read_text("utf-8").splitlines()
    assert header.endswith(",größe,then")
    ends = [line.split(",")[header.count(",") - 1:] for line in lines]
    assert ends == 2 * [["0", ""], ["", ""], ["2", "7"]]
    with pytest.raises(OSError, match="nowhere"):
        classifier().fit(X, T, callbacks=[CSVLog(tmp_path / "nowhere" / "a.csv")])


def test_each_epoch_is_in_the_logs_when_it_ends(tmp_path: Path) -> None:
    """So that they are there whatever ends the process later."""
    X, T = clusters(64)
    paths, lines = [tmp_path / name for name in ("a.csv", "a.jsonl", "a.txt")], list[list[int]]()

    def look(*_: Any) -> None:
        lines.append([len(path.read_text().splitlines()) for path in paths])

    with open(paths[2], "w", encoding="utf-8") as file:
        classifier().fit(X, T, epochs=3, callbacks=[
            CSVLog(paths[0]), JSONLines(paths[1]), PrintEpoch(file), Lambda(look)])
    assert lines == [[2, 1, 1], [3, 2, 2], [4, 3, 3]]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=repr)
def test_a_log_that_is_appended_to_keeps_its_last_line(end: str, tmp_path: Path) -> None:
    X, T = clusters(64)
    for make, name, old in ((CSVLog, "a.csv", "epoch,loss,learning_rate,samples_per_s\n1,2,3,4"),
                            (JSONLines, "a.jsonl", '{"epoch": 1}\n{"epoch": 2}')):
        path = tmp_path / name
        path.write_bytes((old + end).encode())
        classifier().fit(X, T, epochs=2, callbacks=[make(path, append=True)])
        lines = path.read_text().splitlines()
        assert lines[:2] == old.splitlines() and len(lines) == 4
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 1, 2]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes by name are of Unix")
@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("make", [CSVLog, JSONLines])
def test_a_pipe_takes_a_log(make: Any, append: bool, tmp_path: Path) -> None:
    pipe, found = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = Thread(target=lambda: found.append(pipe.read_text()), daemon=True)
    reader.start()
    classifier().fit(*clusters(64), epochs=2, callbacks=[make(pipe, append)])
    reader.join(20)
    assert len(found[0].splitlines()) == (3 if make is CSVLog else 2)


def test_what_is_no_file_is_named_before_training() -> None:
    with pytest.raises(TypeError, match="file must be a text file, got 'log.txt'"):
        PrintEpoch("log.txt")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="folder must be a path, got ''"):
        TensorBoard("")  # tensorboardX would make up a name


def test_tensorboard_gets_every_number_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            told.append(folder)

        def add_scalar(self, *scalar: Any) -> None:
            told.append(scalar)

        def close(self) -> None:
            told.append("closed")

    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=Writer))
    values: Any = [np.float32(0.5), "warm", None]
    history = classifier().fit(*clusters(32), epochs=3,
                               callbacks=[Figures(values), TensorBoard("board")])
    assert (told[0], told[-1]) == ("board", "closed")
    for name, numbers in [*history.items(), ("figure", values[:1])]:
        assert [scalar for scalar in told[1:-1] if scalar[0] == name] == [
            (name, number, epoch + 1) for epoch, number in enumerate(numbers)]


def test_a_missing_tensorboard_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r'pip install "fastbp\[tensorboard\]"'):
        TensorBoard("x")


def test_a_figure_of_later_epochs_gets_a_column(tmp_path: Path) -> None:
    def add(epoch: int, logs: dict[str, Any]) -> None:
        if epoch % 2:
            logs["odd, even"] = epoch
        if epoch == 2:
            logs["late"] = "it's"

    path, (X, T) = tmp_path / "log.csv", clusters(32)
    for append in (False, True):
        hooks = [Lambda(add), CSVLog(path, append=append)]
        if append:  # the first epoch again has other columns than the file
            hooks.insert(1, Lambda(lambda epoch, logs: logs.update({"odd, even": 7, "late": 8})))
            path.write_text(path.read_text(), encoding="utf-8-sig")
        history = classifier().fit(X, T, epochs=4, callbacks=hooks)
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [*csv.DictReader(file, strict=True)][-4:]
        assert all(None not in row and None not in row.values() for row in rows)
        assert [row["loss"] for row in rows] == [str(loss) for loss in history["loss"]]
        assert [(row["odd, even"], row["late"]) for row in rows] == (
            [("7", "8")] * 4 if append else [("", ""), ("1", ""), ("", "it's"), ("3", "")])


class Number:
    """As a tensor of another library."""

    def __float__(self) -> float:
        return 0.25

    def __repr__(self) -> str:
        return "a number"


@pytest.mark.parametrize(("value", "plain"), [
    (np.array(0.5), 0.5), (Number(), 0.25), (np.float32(0.5), 0.5), (np.int64(3), 3), (True, True),
    (np.ma.masked, "--"), (1 + 2j, "(1+2j)"), (object, str(object)), ([1, 2], [1, 2])])
def test_files_have_numbers_and_text_of_whatever_is_a_figure(
        value: Any, plain: Any, tmp_path: Path) -> None:
    table, lines = tmp_path / "log.csv", tmp_path / "log.jsonl"
    classifier().fit(*clusters(32), epochs=1,
                     callbacks=[Figures([value]), CSVLog(table), JSONLines(lines)])
    assert json.loads(lines.read_text())["figure"] == plain
    with table.open(newline="") as file:
        assert [row["figure"] for row in csv.DictReader(file)] == [str(plain)]


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"\n", b"\r\n\n"])
def test_a_log_goes_on_after_nothing_but_line_breaks(start: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(start)
    for _ in range(2):
        classifier().fit(*clusters(32), epochs=1, callbacks=[CSVLog(path, append=True)])
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    assert [row[0] for row in rows] == ["epoch", "1", "1"]


def test_a_device_keeps_the_columns_of_the_first_epoch() -> None:
    def add(epoch: int, logs: dict[str, Any]) -> None:
        if epoch:
            logs["late"] = 1

    hook = CSVLog(os.devnull)
    with pytest.warns(UserWarning, match="no column for 'late'") as told:
        classifier().fit(*clusters(32), epochs=3, callbacks=[Lambda(add), hook])
    assert len(told) == 1
    assert "late" not in hook._names


@pytest.mark.parametrize("why", ["folder", "output", "long"])
def test_a_log_that_cannot_be_written_anew_goes_on(why: str, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.csv"

    def add(epoch: int, logs: dict[str, Any]) -> None:
        logs["text"] = "x" * (200_000 if why == "long" else 2)
        if epoch:
            logs["late"] = epoch

    def refused(*_: Any) -> None:
        raise PermissionError(13, "refused")

    if why == "folder":
        monkeypatch.setattr("fastbp.io.files.write_whole", refused)
    elif why == "output":
        monkeypatch.setattr("fastbp.callbacks.log.is_output", lambda handle: True)
    with pytest.warns(UserWarning, match="no column for 'late'") as told:
        classifier().fit(*clusters(32), epochs=3, callbacks=[Lambda(add), CSVLog(path)])
    header, *lines = path.read_text().splitlines()
    assert len(told) == 1 and "late" not in header
    assert [line.count(",") for line in lines] == [header.count(",")] * 3


def late(epoch: int, logs: dict[str, Any]) -> None:
    if epoch:
        logs["late"] = epoch


def test_logs_that_append_to_one_file_lose_no_row(tmp_path: Path) -> None:
    path, (X, T) = tmp_path / "log.csv", clusters(32)

    def amid(epoch: int, logs: dict[str, Any]) -> None:
        if not epoch:  # another log opens the file, and writes after this one's next epoch
            other.on_train_begin(classifier(), 1, 32)
        if epoch == 2:
            other.on_epoch_end(0, {"loss": 1.0, "learning_rate": 2.0, "samples_per_s": 3.0})
            other.on_train_end()

    path.write_text("epoch,loss,learning_rate,samples_per_s\n")
    other, log = CSVLog(path, append=True), CSVLog(path, append=True)
    with pytest.warns(UserWarning, match="no column for 'late'"):
        classifier().fit(X, T, epochs=3, callbacks=[Lambda(late), log, Lambda(amid)])
    header, *rows = path.read_text().splitlines()
    assert "late" not in header and [row.split(",")[0] for row in rows] == ["1", "2", "3", "1"]


@pytest.mark.skipif(os.name == "nt", reason="Windows moves no open file")
@pytest.mark.parametrize("how", ["moved", "gone", "linked", "longer"])
def test_a_log_leaves_the_files_of_others(how: str, tmp_path: Path) -> None:
    path, second = tmp_path / "log.csv", tmp_path / "second.csv"

    def amid(epoch: int, logs: dict[str, Any]) -> None:
        if epoch:
            return
        if how == "linked":
            os.link(path, second)
        elif how == "longer":
            with path.open("a") as file:
                file.write("a row of another\n")
        else:
            path.rename(second)
            if how == "moved":
                path.write_text("first\nsecond\n")

    with pytest.warns(UserWarning, match="no column for 'late'"):
        classifier().fit(*clusters(32), epochs=3,
                         callbacks=[Lambda(late), CSVLog(path), Lambda(amid)])
    header, *rows = (path if how == "longer" else second).read_text().splitlines()
    assert "late" not in header
    assert [row.split(",")[0] for row in rows if row != "a row of another"] == ["1", "2", "3"]
    assert ("a row of another" in rows) == (how == "longer")
    if how == "moved":
        assert path.read_text() == "first\nsecond\n"


def test_a_file_that_the_process_prints_to_is_known(tmp_path: Path) -> None:
    program = """
import os
from fastbp.callbacks.log import is_output
with open(os.devnull) as null, open("out.txt", "a") as out:
    print(is_output(null.fileno()), is_output(out.fileno()), flush=True)
"""
    with (tmp_path / "out.txt").open("w") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, cwd=tmp_path, check=True,
                       timeout=300)
    assert (tmp_path / "out.txt").read_text() == "False True\n"


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="numbers of files as names")
def test_a_file_that_is_open_is_not_written_anew(tmp_path: Path) -> None:
    """To that name it would be added once more."""
    place = tmp_path / "log.csv"

    def add(epoch: int, logs: Any) -> None:
        logs |= {"late": 1.0} if epoch else {}

    with place.open("w") as out:
        log = CSVLog(f"/dev/fd/{out.fileno()}")
        with pytest.warns(UserWarning, match="has no column for 'late'"):
            classifier().fit(*clusters(32), epochs=3, callbacks=[Lambda(add), log])
    lines = place.read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2", "3"]


def test_names_of_figures_may_be_of_any_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                             ) -> None:
    later: dict[int, Any] = {0: {1: 5.0}, 1: {}, 2: {2: 6.0, 1: 3.0}, 3: {2: 7.0, 1: 2.0}}

    def add(epoch: int, logs: Any) -> None:
        logs |= later[epoch]
        os.chdir(tmp_path)  # a relative path is that of the start

    (tmp_path / "start").mkdir()
    monkeypatch.chdir(tmp_path / "start")
    classifier().fit(*clusters(32), epochs=4, callbacks=[Lambda(add), CSVLog("log.csv")])
    with (tmp_path / "start" / "log.csv").open(newline="") as file:
        assert [(row["1"], row["2"]) for row in csv.DictReader(file)] == [
            ("5.0", ""), ("", ""), ("3.0", "6.0"), ("2.0", "7.0")]


@pytest.mark.parametrize("name", [1, np.int64(3), (1, 2), None], ids=repr)
def test_a_name_of_a_figure_is_text_for_all_that_follow(name: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    seen: list[Any] = []

    def add(epoch: int, logs: Any) -> None:
        logs[name] = epoch

    network = classifier()
    history = network.fit(*clusters(32), epochs=2, callbacks=[
        Checkpoint(tmp_path / "run.st"), Lambda(add), Lambda(lambda _, logs: seen.extend(logs)),
        CSVLog(tmp_path / "log.csv"), JSONLines(tmp_path / "log.jsonl"), TensorBoard(tmp_path)])
    assert history[str(name)] == [0, 1] and name not in history
    assert str(name) in seen and name not in seen
    with (tmp_path / "log.csv").open(newline="") as file:
        assert [row[str(name)] for row in csv.DictReader(file)] == ["0", "1"]
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)[str(name)] for line in lines] == [0, 1]
    resumed = classifier().fit(*clusters(32), epochs=3, resume=tmp_path / "run.st")
    assert resumed[str(name)] == [0, 1]


def test_json_takes_what_is_nested(tmp_path: Path) -> None:
    value: Any = {(1, 2): [3, np.float32(np.nan), {4: (np.int64(5), {6})}], "inf": np.inf}
    path = tmp_path / "log.jsonl"
    classifier().fit(*clusters(32), epochs=1, callbacks=[Figures([value]), JSONLines(path)])
    assert json.loads(path.read_text(), parse_constant=pytest.fail)["figure"] == {
        "(1, 2)": [3, None, {"4": [5, "{6}"]}], "inf": None}


def test_a_log_with_validation_is_not_gone_on_without(tmp_path: Path) -> None:
    (X, T), path, listens = clusters(32), tmp_path / "log.csv", Lambda(lambda *_: None)
    classifier().fit(X, T, epochs=1, validation_data=(X, T), callbacks=[CSVLog(path)])
    with pytest.raises(ValueError, match="append=True needs the same"):
        classifier().fit(X, T, epochs=1, callbacks=[listens, CSVLog(path, append=True)])


@pytest.mark.parametrize("column", ["r2", "val_mse", "val_loss", "log_loss"])
def test_a_log_is_not_gone_on_without_a_figure_of_fit(column: str, tmp_path: Path) -> None:
    (X, T), path = clusters(32), tmp_path / "log.csv"
    path.write_text(f"epoch,learning_rate,loss,samples_per_s,{column}\n")
    hooks = [Lambda(lambda *_: None), CSVLog(path, append=True)]
    with pytest.raises(ValueError, match=f"'{column}'.*append=True needs the same"):
        classifier().fit(X, T, epochs=1, callbacks=hooks)
    hooks[0] = Lambda(lambda _, logs: logs.update({column: 0.5}))  # a callback may have added it
    classifier().fit(X, T, epochs=1, callbacks=hooks)
    path.write_text(path.read_text().replace(column, "val_of_a_callback"))
    classifier().fit(X, T, epochs=1, callbacks=[Lambda(lambda *_: None), hooks[1]])
    assert [line.rpartition(",")[2] for line in path.read_text().splitlines()[1:]] == ["0.5", ""]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
@pytest.mark.parametrize("kind", [CSVLog, JSONLines])
def test_a_full_disk_is_said_of_the_file(kind: Any) -> None:
    log = kind("/dev/full")
    with pytest.raises(OSError, match="'/dev/full'"):
        classifier().fit(*clusters(32), epochs=3, callbacks=[log])
    assert log._file is None
