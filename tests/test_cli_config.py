"""Arguments and TOML files: what counts, what is refused, by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("tomli_w")

import click

import fastbp
from fastbp.cli import config, kinds, main
from fastbp.cli.train import command

from .commands import Here, params, told


@pytest.mark.parametrize("argv", [
    ["fly"], ["train"], ["train", "digits", "--epochs", "0"],
    ["train", "digits", "--epochs", "x"], ["train", "digits", "--epochs", "1.5"],
    ["train", "digits", "--batch-size", "-1"], ["train", "digits", "--learning-rate", "nan"],
    ["train", "digits", "--lr", "0"], ["train", "digits", "--optimizer", "newton"],
    ["train", "digits", "--hidden", "9,x"], ["train", "digits", "--seed", "-1"],
    ["train", "digits", "--seed", str(2**63)], ["train", "digits", "--split-seed", str(2**32)],
    ["train", "digits", "--seeds", f"5,{2**63}"], ["train", "digits", "--epochs", str(2**63)],
    ["train", "digits", "--threads", "0"], ["train", "digits", "--max-categories", "0"],
    ["train", "digits", "--dropout", "1"],
    ["train", "digits", "--time-limit", "soon"], ["train", "digits", "--seeds", "5..1"],
    ["train", "digits", "--seeds", "1,1"], ["train", "digits", "--grid", "lr"],
    ["train", "digits", "--grid", "target=a,b"], ["train", "digits", "--grid", "lr=1,-1"],
    ["train", "digits", "--grid", "lr=1,1"], ["train", "digits", "--task", "guess"],
    ["train", "digits", "--config", "none.toml"], ["predict", "none", "digits"],
    ["export", "none"], ["bench", "12"], ["bench", "4-3:2:foo"], ["bench", "4-1:2"],
    ["bench", "4-3:0"],
    ["train", "digits", "--momentum", "0.9"], ["train", "digits", "--grid", "momentum=0,0.9"],
    ["train", "digits", "--patience", "3"], ["train", "digits", "--grid", "patience=3,4"],
    ["train", "digits", "--delimiter", ";;"], ["bench", "4:2"], ["warmup", "--dtype", "int8"]])
def test_senseless_arguments_exit_with_2(argv: list[str], run: Here) -> None:
    done = run(*argv)
    assert done.status == 2 and not done.out
    assert done.err.splitlines()[-1].startswith("Error: ") and "Traceback" not in done.err
    assert not list(run.folder.iterdir())


def test_help_and_version(run: Here) -> None:
    for argv, text in [(["--version"], f"fastbp {fastbp.__version__}\n"), (["--help"], "warmup"),
                       (["--help"], "130"), (["train", "--help"], "--learning-rate"),
                       (["train", "-h"], "Several runs at once:")]:
        done = run(*argv)
        assert done.status == 0 and text in done.out
    every = run("--help").out
    for name in ("train", "predict", "evaluate", "info", "export", "bench", "warmup",
                 "datasets"):
        assert f"  {name} " in every
        assert run(name, "--help").status == 0


def test_help_imports_click_alone() -> None:
    """No Numba, no NumPy: a shell may complete at every key."""
    code = """
import sys
from fastbp.cli import main
status = main(["train", "--help"])
main(["--help"])
heavy = {"numba", "numpy", "rich", "sklearn", "pyarrow", "tomli_w", "safetensors"}
found = heavy & set(sys.modules)
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_click_the_extra_is_named(capsys: pytest.CaptureFixture[str],
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "click", None)
    assert main(["train", "digits"]) == 1
    assert capsys.readouterr().err == (
        'fastbp: error: the command needs click: pip install "fastbp[cli]"\n')


@pytest.mark.parametrize(("text", "complaint"), [
    ("learnrate = 1", "unknown key 'learnrate'"), ("o = 'x'", "unknown key 'o'"),
    ("lr = 1.0\nlearning-rate = 1.0", "learning-rate: the same option twice"),
    ("epoch = 1", "did you mean 'epochs'?"),
    ("config = 'x'", "unknown key 'config'"), ("[training]\nepochs = 1", "unknown key 'training'"),
    ("epochs = 'many'", "epochs: 'many' is not an integer"),
    ("epochs = 2.5", "epochs: 2.5 is not an integer"), ("epochs = true", "epochs:"),
    ("lr = 'fast'", "lr:"), ("lr = false", "lr:"), ("early_stopping = 1", "early_stopping: 1"),
    ("optimizer = 'newton'", "optimizer:"), ("optimizer = 3", "optimizer: 3 is not a string"),
    ("ignore = 'x'", "ignore: 'x' is not a list"), ("hidden = [8, 0]", "hidden:"),
    ("target = 3", "target: 3 is not a string"), ("seeds = 'a'", "seeds:")])
def test_a_file_with_mistakes_is_refused_by_name(text: str, complaint: str, run: Here) -> None:
    Path("run.toml").write_text(text)
    done = run("train", "iris", "--config", "run.toml", "-q")
    assert done.status == 2 and "run.toml: " in done.err and complaint in done.err
    assert [p.name for p in run.folder.iterdir()] == ["run.toml"]


def test_what_is_no_toml_is_refused(run: Here) -> None:
    for data in (b"epochs = ", b"\xff\xfe", b"epochs = 1\nepochs = 2"):
        Path("run.toml").write_bytes(data)
        done = run("train", "iris", "--config", "run.toml")
        assert done.status == 2 and "Error: run.toml is not TOML" in done.err.splitlines()[-1]


def test_a_file_of_a_windows_editor_is_read(run: Here) -> None:
    Path("run.toml").write_bytes(b'\xef\xbb\xbfdata = "iris"\r\nignore = ["sepal width (cm)"]\r\n')
    assert config.load("run.toml") == {"data": "iris", "ignore": ["sepal width (cm)"]}


def test_a_file_stands_in_for_options_and_the_command_line_wins(run: Here) -> None:
    Path("run.toml").write_text("""
data = "iris"
epochs = 2
batch-size = 16
hidden = [7, 5]
learning_rate = 0.01
output = "out"
quiet = true
report = false
seeds = [3, 4]
[grid]
activation = ["tanh", "relu"]
dropout = 0.1
""")
    assert run("train", "--config", "run.toml", "--batch-size", "8").status == 0
    found = config.load("out/config.toml")
    assert (found["data"], found["epochs"], found["batch_size"]) == ("iris", 2, 8)
    assert (found["hidden"], found["lr"], found["seeds"]) == ([7, 5], 0.01, [3, 4])
    assert found["grid"] == ["activation=tanh,relu", "dropout=0.1"]
    assert "output" not in found and "quiet" not in found
    assert len(Path("out/results.csv").read_text().splitlines()) == 5
    net = fastbp.load("out/model.safetensors")
    assert [x.n_out for x in net.layers if isinstance(x, fastbp.Dense)] == [7, 5, 3]


def test_every_option_is_in_the_file_or_about_the_call(run: Here) -> None:
    assert run("train", "iris", "--epochs", "1", "-q", "--no-report", "--threads", "1",
               "--time-limit", "1h", "--weight-decay", "0.1", "--target", "target", "--seeds",
               "1", "--delimiter", ",", "--standardise", "--no-stream", "--validation",
               _iris(run.folder), "--weight", "petal width (cm)").status == 0
    found = config.load("fastbp-iris/config.toml")
    names = {p.name for p in command.params} - {"config", "output", "overwrite", "resume",
                                                "as_json", "quiet"}
    assert set(found) == names and found["time_limit"] == 3600
    assert Path(found["validation"]).is_absolute()
    assert run("train", "--config", "fastbp-iris/config.toml", "-o", "b", "-q").status == 0
    np.testing.assert_array_equal(params(Path("fastbp-iris")), params(Path("b")))


def _iris(folder: Path) -> str:
    from fastbp.data import open_table

    whole = open_table("iris").read()
    np.savez(folder / "held.npz", **{name: np.asarray(whole[name], None if name != "target"
                                                      else str) for name in whole})
    return "held.npz"


def test_a_run_of_a_version_with_fewer_options_goes_on(run: Here) -> None:
    more = ("train", "iris", "-q", "--no-report", "--resume", "--epochs")
    assert run(*more, "2").status == 0
    file = Path("fastbp-iris", "config.toml")
    file.write_text("".join(line for line in file.read_text().splitlines(True)
                            if not line.startswith("max_categories")))
    assert run(*more, "3").status == 0
    assert "max_categories = 100, this run 7" in run.fails(*more, "4", "--max-categories", "7")


def test_a_bundled_name_stays_one_beside_a_folder_of_the_same_name(run: Here) -> None:
    assert run("train", "iris", "--epochs", "1", "-o", "iris", "-q", "--no-report").status == 0
    assert config.load("iris/config.toml")["data"] == "iris"
    assert run("train", "--config", "iris/config.toml", "-o", "again", "-q").status == 0
    assert run("train", "iris", "--epochs", "1", "-o", "iris", "-q", "--resume",
               "--no-report").status == 0
    np.testing.assert_array_equal(params(Path("iris")), params(Path("again")))


def test_kinds_of_values() -> None:
    duration, seeds, widths = kinds.Duration(), kinds.Seeds(), kinds.Widths()
    assert [duration.parse(x) for x in ("90", "90s", "10m", "1h30m", "2d", 45, 0.5)] == [
        90, 90, 600, 5400, 172800, 45, 0.5]
    for wrong in ("", "m", "1h30", "-1s", "0", "1x", "1..5s", True):
        with pytest.raises(ValueError):
            duration.parse(wrong)
    assert [duration.parse(x) for x in (1e-05, 2e22)] == [1e-05, 2e22]  # as config.toml has them
    for wrong in (float("inf"), float("nan"), 0.0, -1.5):
        with pytest.raises(ValueError, match="no time"):
            duration.parse(wrong)
    assert seeds.parse("0..3,7") == [0, 1, 2, 3, 7] == seeds.parse([0, 1, 2, 3, 7])
    assert widths.parse("64:32") == widths.parse("64,32") == widths.parse([64, 32]) == [64, 32]
    assert [kinds.Count().parse(x) for x in ("12", " +1_000 ", 7)] == [12, 1000, 7]
    for wrong in ("1_", "1__0", "_1", "1.0", 1.0, "", True, None):
        with pytest.raises(ValueError, match="is not an integer"):
            kinds.Count().parse(wrong)
    for unfit in ([], "", "0..4..9", "3..1", "1,0..2", [2, 2], "-1", [1.5],
                  "0..1000000000000"):
        with pytest.raises(ValueError):
            seeds.parse(unfit)
    character = kinds.Character()
    assert [character.parse(x) for x in (";", "\t", r"\t")] == [";", "\t", "\t"]
    for wrong in ("", ";;", 3):
        with pytest.raises(ValueError, match="not one character"):
            character.parse(wrong)
    assert widths.parse("") == [] == widths.parse([]) and widths.parse(8) == [8]


def test_a_grid_is_read_as_the_options_are() -> None:
    def grid(*entries: str) -> dict[str, list[object]]:
        return config.grid_of(entries, command, told())

    assert grid("learning-rate=1e-3, 2", " batch_norm = yes,no", "hidden=,8, 64:32",
                "activation=relu, tanh") == {
        "lr": [1e-3, 2], "batch_norm": [True, False], "hidden": [[], [8], [64, 32]],
        "activation": ["relu", "tanh"]}
    for entries in (["lr=1", "learning_rate=2"], ["lr=1,1.0"], ["hidden=8,8"]):
        with pytest.raises(click.UsageError, match="has a value twice"):
            grid(*entries)


def test_a_missing_toml_writer_is_named(run: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tomli_w", None)
    assert 'pip install "fastbp[cli]"' in run.fails("train", "iris", "-q")
    assert not list(run.folder.iterdir())
