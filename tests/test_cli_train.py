"""fastbp train: what comes out, how it is told, how it is repeated."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("pyarrow")

import fastbp
from fastbp import datasets
from fastbp._validation import PRECISIONS
from fastbp.cli import many, options, prepare
from fastbp.data import Preprocessor, learn
from fastbp.layers import ACTIVATIONS
from fastbp.losses import SHORT_NAMES
from fastbp.optimizers import OPTIMIZERS
from fastbp.schedules import SCHEDULES

from .commands import QUICK, Here, params, process, table


def test_the_main_job(tmp_path: Path) -> None:
    done = process("train", "digits", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = re.search(r"^held-out accuracy (\d+\.\d+)%$", done.stdout, re.MULTILINE)
    assert found, done.stdout
    accuracy = float(found[1]) / 100
    assert accuracy >= 0.97
    assert done.stdout.splitlines()[-1] == "model saved to fastbp-digits/model.safetensors"
    assert "samples_per_s" in done.stderr and "Dense(64, 128" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr  # no terminal: plain lines
    assert sum(line.startswith("epoch ") for line in done.stderr.splitlines()) == 40
    folder = tmp_path / "fastbp-digits"
    assert {path.name for path in folder.iterdir()} >= {
        "model.safetensors", "config.toml", "metrics.jsonl", "result.json",
        "checkpoint.safetensors"}
    assert not (folder / "unfinished").exists()
    net = fastbp.load(folder / "model.safetensors")
    rows = datasets.split(datasets.load("digits"), 0.2, 0)
    right = (net.predict_classes(rows.X_test) == rows.T_test).mean()
    assert right == pytest.approx(accuracy, abs=1e-4)
    lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [x["epoch"] for x in lines] == list(range(1, 41))
    assert lines[-1]["val_accuracy"] == pytest.approx(accuracy, abs=1e-4)


def test_mnist_and_options(run: Here) -> None:
    done = run("train", "mnist", "--epochs", "8", "--batch-size", "64", "--optimizer", "sgd",
               "--learning-rate", "0.1", "--hidden", "50", "--seed", "3", "--threads", "1",
               "--output", "m", "--quiet", "--no-report")
    assert done.status == 0 and done.err == ""
    assert float(re.findall(r"held-out accuracy (\d+\.\d+)%", done.out)[0]) > 88
    net = fastbp.load("m/model.safetensors")
    assert (net.seed, net.n_in, net.n_out, len(net.layers)) == (3, 784, 10, 4)


def test_the_config_repeats_the_run_bit_by_bit(run: Here) -> None:
    data = table(run.folder / "d.csv", noise=np.arange(200))
    assert run("train", data, "--target", "kind", "--ignore", "y", "--ignore", "noise",
               "--hidden", "9,5", "--activation", "tanh", "--batch-norm", "--dropout", "0.1",
               "--optimizer", "adamw", "--lr", "0.01", "--schedule", "cosine", "--warmup", "1",
               "--l2", "1e-3", "--clip-norm", "1", "--label-smoothing", "0.1", "--class-weight",
               "balanced", "--early-stopping", "--patience", "3", "--average", "0.9", "--seed",
               "5", "--epochs", "6", "--test-split", "0.1", "--encoding", "ordinal", "-o", "a",
               "-q", "--no-report").status == 0
    assert run("train", "--config", "a/config.toml", "-o", "b", "-q").status == 0
    np.testing.assert_array_equal(params(run.folder / "a"), params(run.folder / "b"))
    assert (run.folder / "b/config.toml").read_text() == (run.folder / "a/config.toml").read_text()
    # and the command line wins over the file
    assert run("train", "--config", "a/config.toml", "--seed", "6", "-o", "c", "-q").status == 0
    assert not np.array_equal(params(run.folder / "a"), params(run.folder / "c"))
    assert fastbp.load("c/model.safetensors").seed == 6


def test_options_reach_the_network(run: Here) -> None:
    data = table(run.folder / "d.csv")
    assert run("train", data, "--target", "y", "--ignore", "kind", "--hidden", "7",
               "--activation", "gelu", "--batch-norm", "--dropout", "0.25", "--dtype",
               "float64", "--matmul-precision", "high", "--epochs", "2", "--no-report",
               "-q").status == 0
    model = fastbp.load_model("fastbp-d/model.safetensors")
    assert [type(x).__name__ for x in model.network.layers] == [
        "Dense", "BatchNorm", "GELU", "Dropout", "Dense"]
    assert model.network.matmul_precision == "high"
    assert "products    of high precision, in training" in run("info", "fastbp-d").out
    assert run("info", "fastbp-d", "--json").json["matmul_precision"] == "high"
    assert model.network.dtype == np.float64 and model.target.task == "regression"
    assert model.network.n_in == 5  # x, z and three colours
    assert [c.name for c in model.preprocessor.columns] == ["x", "z", "colour"]
    assert model.info["config"]["dropout"] == 0.25 and model.info["epochs"] == 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("large", [False, True])
def test_features_have_the_dtype_of_the_network(dtype: str, large: bool, run: Here,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def transform(self: Any, *args: Any, **options: Any) -> Any:
        seen.append(original(self, *args, **options))
        return seen[-1]

    original = Preprocessor.transform
    monkeypatch.setattr(Preprocessor, "transform", transform)
    path = table(run.folder / "d.csv")
    train = ("train", path, "--target", "y", "--ignore", "kind", "--hidden", "4", "--epochs", "1",
             "--no-report", "-q", "--dtype", dtype, *["--stream"] * large)
    for argv in ((*train, "--test-split", "0.2"), (*train, "--validation", path),
                 ("evaluate", "fastbp-d", path), ("predict", "fastbp-d", path)):
        seen.clear()
        done = run(*argv, *(("-o", "fastbp-d", "--overwrite") if argv[0] == "train" else ()))
        assert done.status == 0, done.err
        assert {X.dtype.name for X in seen} == {dtype}


def test_a_stream_learns_and_repeats(run: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    data = table(run.folder / "d.csv", 2000)
    argv = ("train", data, "--target", "kind", "--ignore", "y", "--epochs", "15", "--hidden",
            "16", "--no-report", "-q", "--json")
    done = run(*argv, "--stream", "-o", "a")
    assert done.status == 0, done.err
    assert 1500 < done.json["rows"] < 1700 and done.json["scores"]["accuracy"] > 0.95
    whole = learn(data, "kind", categorical=("colour",)).preprocessor.columns[0]
    assert 0 < abs(whole.mean - fastbp.load_model("a/model.safetensors").preprocessor.columns[
        0].mean) < 0.1  # of the rows to learn from alone
    assert run("train", "--config", "a/config.toml", "-o", "b", "-q").status == 0
    np.testing.assert_array_equal(params(run.folder / "a"), params(run.folder / "b"))
    monkeypatch.setattr(prepare, "memory", lambda: data.stat().st_size * 2)
    assert prepare.is_large(str(data)) and not prepare.is_large("digits")
    done = run(*argv, "-o", "c")
    np.testing.assert_array_equal(params(run.folder / "a"), params(run.folder / "c"))


@pytest.mark.parametrize("first", [1, 1000])
def test_other_memory_changes_no_run_that_is_repeated_or_gone_on_with(
        first: int, run: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    data = table(run.folder / "d.csv", 400)
    memory = 2 * data.stat().st_size
    argv = ("train", data, "--target", "kind", *QUICK)
    monkeypatch.setattr(prepare, "memory", lambda: first * memory)
    assert run(*argv, "-o", "a").status == 0
    monkeypatch.setattr(prepare, "memory", lambda: (1001 - first) * memory)
    assert run("train", "--config", "a/config.toml", "-o", "b", "-q").status == 0
    np.testing.assert_array_equal(params(run.folder / "a"), params(run.folder / "b"))
    assert run(*argv, "-o", "a", "--resume").status == 0
    assert run(*argv, "-o", "a", "--resume", "--epochs", "9").status == 0
    other = "--stream" if first > 1 else "--no-stream"
    assert "stream = " in run.fails(*argv, "-o", "a", "--resume", "--epochs", "9", other)
    file = run.folder / "a" / "config.toml"  # as an earlier version had it
    file.write_text(re.sub("(?m)^stream = .*$", "", file.read_text()))
    monkeypatch.setattr(prepare, "memory", lambda: first * memory)
    assert run(*argv, "-o", "a", "--resume", "--epochs", "10").status == 0


@pytest.mark.parametrize(("data", "name"), [
    ("iris", "iris"), ("a/sales.2023.csv", "sales.2023"), ("d.CSV.gz", "d"), ("x.y", "x.y"),
    (".", "model")])
def test_a_run_is_called_by_its_data(data: str, name: str) -> None:
    assert prepare.name_of(data) == name


def test_a_finished_run_says_where_it_is_now(run: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", *QUICK, "--resume", "--json", "-o")
    assert run(*argv, "a").json["model"] == "a/model.safetensors"
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    again = run(*argv, "../a").json
    assert (again["output"], again["model"]) == ("../a", "../a/model.safetensors")


@pytest.mark.parametrize(("target", "loss"), [
    (target, loss) for target, task in (("kind", "classification"), ("y", "regression"))
    for loss in ("auto", *options.LOSSES[task])])
def test_every_loss_learns_and_its_model_predicts(target: str, loss: str, run: Here) -> None:
    data = table(run.folder / "d.csv")
    done = run("train", data, "--target", target, "--ignore", {"kind": "y", "y": "kind"}[target],
               "--loss", loss, "--epochs", "60", "--lr", "0.01", "--json", "-q", "--no-report")
    assert done.status == 0
    model = fastbp.load_model("fastbp-d/model.safetensors")
    default = {"kind": "cross_entropy", "y": "mse"}[target]
    assert type(model.network.loss_function) is SHORT_NAMES[default if loss == "auto" else loss]
    scores = json.loads(done.out)["scores"]
    assert scores["accuracy" if target == "kind" else "r2"] > 0.8
    assert run("evaluate", "fastbp-d/model.safetensors", data).status == 0
    assert run("predict", "fastbp-d/model.safetensors", data, "-o", "p.csv").status == 0
    assert len(Path("p.csv").read_text().splitlines()) == 201


def test_a_file_that_is_gone_at_the_end_of_training_loses_nothing(
        run: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    data, fit = table(run.folder / "d.csv"), many.fit

    def fitted(*given: Any) -> None:
        fit(*given)
        data.unlink()

    monkeypatch.setattr(many, "fit", fitted)
    done = run("train", data, "--target", "kind", "--stream", *QUICK, "--json")
    assert done.status == 0 and done.json["scores_on"] == "held-out", done.err


@pytest.mark.parametrize("target", ["kind", "y"])
def test_scores_of_rows_whose_predictions_overflow_are_undefined(target: str, run: Here) -> None:
    """scikit-learn refuses them: the model would be lost, however often the run is resumed."""
    table(run.folder / "d.csv")
    lines = table(run.folder / "v.csv", 20, seed=1).read_text().splitlines()
    cells = lines[4].split(",")
    Path("v.csv").write_text("\n".join([*lines[:4], ",".join(["3e38", "3e38", *cells[2:]])]))
    done = run("train", "d.csv", "--target", target, "--ignore",
               "y" if target == "kind" else "kind", "--validation", "v.csv", "--no-standardise",
               "--hidden", "64,64,64", "--epochs", "1", "--no-report", "-q", "--json", "-o", "m")
    assert done.status == 0, done.err
    names = {"kind": ["accuracy", "balanced_accuracy", "f1", "log_loss", "roc_auc", "brier"],
             "y": ["r2", "mae", "rmse"]}[target]
    assert done.json["scores"] == dict.fromkeys(names)
    assert run("evaluate", "m", "v.csv", "--json").json["scores"] == dict.fromkeys(names)
    assert f"{names[0]:18}undefined  (held-out)" in run("info", "m").out.splitlines()


def test_the_report_is_written_or_its_package_named(run: Here,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    assert run("train", "iris", "--epochs", "2", "-q").status == 0
    page = Path("fastbp-iris/report.html").read_text()
    assert "fastbp train iris" in page and "setosa" in page and "<dt>fit</dt>" in page
    assert "whatever its weight" not in page
    with monkeypatch.context() as patch:
        patch.setattr("fastbp.peak.share_of_peak", lambda network, speed, threads: {
            "gflops": 1.0, "peak_gflops": 8.0, "share": threads / 8 * (speed > 1)})
        assert run("train", "iris", "--epochs", "1", "-q", "--validation-split", "0", "-o", "all",
                   "--threads", "1").status == 0
    page = Path("all/report.html").read_text()
    assert "No held-out rows were given." in page and "12.5% of the machine" in page
    table(run.folder / "d.csv")
    assert run("train", "d.csv", "--target", "kind", "--weight", "y", "--epochs", "1", "-q",
               "-o", "weighed").status == 0
    assert "whatever its weight" in Path("weighed/report.html").read_text()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in [n for n in sys.modules if n.startswith("matplotlib.")]:
        monkeypatch.setitem(sys.modules, name, None)
    done = run("train", "iris", "--epochs", "2", "-q", "-o", "b")
    assert done.status == 0 and "no report.html" in done.err and "fastbp[plot]" in done.err
    assert not Path("b/report.html").exists() and Path("b/model.safetensors").exists()


def test_a_matplotlib_that_does_not_import_costs_the_report_alone(run: Here) -> None:
    (run.folder / "own" / "matplotlib").mkdir(parents=True)
    (run.folder / "own" / "matplotlib" / "__init__.py").write_text("raise ImportError('broken')")
    path = os.pathsep.join([str(run.folder / "own"), os.environ.get("PYTHONPATH", "")])
    done = process("train", "iris", "--epochs", "1", "-q", "-o", "m", folder=run.folder,
                   env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "report.html" in line]
    assert "fastbp[plot]" in line and "broken" in line
    assert {path.name for path in Path("m").iterdir()} >= {"model.safetensors", "result.json"}
    assert not Path("m/report.html").exists() and not Path("m/unfinished").exists()


def test_names_of_options_are_those_of_the_library() -> None:
    known = {n for n in ACTIVATIONS if n not in ("softmax", "log_softmax", "logistic", "swish")}
    assert set(options.ACTIVATIONS) == known
    assert options.PRECISIONS == PRECISIONS
    assert set(options.OPTIMIZERS) == {n.lower() for n in OPTIMIZERS}
    names = {"".join(w.title() for w in n.split("_")) for n in options.SCHEDULES}
    assert names == set(SCHEDULES) - {"Warmup", "Function"}
    named = {task: {SHORT_NAMES[name] for name in names} for task, names in options.LOSSES.items()}
    assert all(kind.labels == (task == "classification")
               for task, kinds in named.items() for kind in kinds)
    assert {*options.GRID} <= {o.name for o in options.train_options()}


def test_a_split_beside_a_validation_file_is_refused(run: Here) -> None:
    """It would do nothing; 0 says the same as the file, and a default says nothing."""
    table(run.folder / "d.csv")
    table(run.folder / "v.csv", 20, seed=1)
    argv = ("train", "d.csv", "--target", "kind", "--validation", "v.csv", *QUICK)
    done = run(*argv, "--validation-split", "0.3")
    assert done.status == 2
    assert "--validation-split 0.3 is for runs without --validation v.csv" in done.err
    assert run(*argv, "--validation-split", "0").status == 0
