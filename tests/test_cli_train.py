"""fastbp train: what comes out, how it is told, how it is repeated."""

from __future__ import annotations

import copy
import csv
import io
import json
import pickle
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
from fastbp.callbacks.progress import ProgressBar, progress
from fastbp.cli import options, prepare
from fastbp.cli.watch import Limit
from fastbp.data import TableStream, learn, open_table
from fastbp.layers import ACTIVATIONS
from fastbp.losses import SHORT_NAMES
from fastbp.optimizers import OPTIMIZERS
from fastbp.schedules import SCHEDULES

from .builders import classifier, clusters
from .commands import Here, params, process, table

QUICK = ("--epochs", "3", "--hidden", "8", "--no-report", "--quiet")


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
    assert model.info["config"]["dropout"] == 0.25


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "feather", "npz", "npy"])
def test_formats_of_tables(kind: str, run: Here) -> None:
    import pyarrow
    from pyarrow import csv as pcsv
    from pyarrow import feather, parquet

    path = run.folder / f"d.{kind}"
    source = table(run.folder / "s.csv", delimiter="\t" if kind == "tsv" else ",")
    target = "kind"
    if kind in ("csv", "tsv"):
        source.rename(path)
    elif kind in ("parquet", "feather"):
        whole = pcsv.read_csv(source)
        (parquet.write_table if kind == "parquet" else feather.write_feather)(whole, str(path))
    elif kind == "npz":
        whole = pcsv.read_csv(source)
        np.savez(path, **{n: np.asarray(whole[n].to_numpy(), None if n in "xzy" else str)
                          for n in whole.column_names})
    else:
        whole = pcsv.read_csv(source)
        np.save(path, np.column_stack([whole[n].to_numpy() for n in "xzy"]))
        target = "x2"
    assert pyarrow.__version__
    done = run("train", path, "--target", target, *QUICK, "--json")
    assert done.status == 0, done.err
    assert done.json["task"] == ("regression" if kind == "npy" else "classification")
    assert (done.json["rows"], done.json["output"]) == (160, "fastbp-d")


@pytest.mark.parametrize("way", ["--no-stream", "--stream"])
def test_words_said_to_be_missing_are_so_for_the_model(way: str, run: Here) -> None:
    hole = np.arange(200) % 7 == 3
    for name, word in (("d", "?"), ("clean", "")):
        table(run.folder / f"{name}.csv", x=np.where(hole, word, np.arange(200) / 100))
    options = ("--target", "kind", *QUICK, way)
    assert "--missing" in run.fails("train", "clean.csv", *options)
    assert "or in text name them (--na '?')" in run.fails("train", "d.csv", *options)
    options = (*options, "--missing", "impute", "--validation-split", "0.3")
    assert run("train", "d.csv", *options, "--na", "?", "-o", "said").status == 0
    assert run("train", "clean.csv", *options, "-o", "clean").status == 0
    np.testing.assert_array_equal(params(run.folder / "said"), params(run.folder / "clean"))
    for command, more in (("predict", ()), ("evaluate", ("--json",))):
        said = run(command, "said", "d.csv", *more)
        assert said.status == 0 and said.out, said.err
        clean = run(command, "clean", "clean.csv", *more).out
        assert said.out == clean.replace("clean.csv", "d.csv").replace("clean", "said"), command
    assert "missing     '?'" in run("info", "said").out.splitlines()
    assert run("train", "--config", "said/config.toml", "-o", "again", "-q").status == 0
    np.testing.assert_array_equal(params(run.folder / "said"), params(run.folder / "again"))


def test_files_with_commas_before_fractions(run: Here) -> None:
    rows = table(run.folder / "d.csv").read_text()
    (run.folder / "e.csv").write_text(rows.replace(",", ";").replace(".", ","))
    assert run("train", "d.csv", "--target", "y", *QUICK).status == 0
    plain = run("predict", "fastbp-d", "d.csv").out, run("evaluate", "fastbp-d", "d.csv").out
    assert "in text say so (--decimal ,)" in run.fails(
        "train", "e.csv", "--delimiter", ";", "--target", "kind", *QUICK)
    assert run("train", "e.csv", "--decimal", ",", "--target", "y", *QUICK,
               "--validation", "e.csv", "-o", "v").status == 0
    said = ("fastbp-d", "e.csv", "--decimal", ",")
    assert (run("predict", *said).out, run("evaluate", *said).out) == plain
    assert run("train", "e.csv", "--decimal", ",", "--target", "y", *QUICK, "-o", "e").status == 0
    np.testing.assert_array_equal(params(run.folder / "e"), params(run.folder / "fastbp-d"))


def test_files_of_other_encodings(run: Here) -> None:
    rows = table(run.folder / "d.csv").read_text().replace("z,", "größe,", 1)
    Path("d.csv").write_text(rows, encoding="utf-8")
    Path("e.csv").write_text(rows, encoding="cp1252")
    assert run("train", "d.csv", "--target", "y", *QUICK).status == 0
    plain = run("predict", "fastbp-d", "d.csv").out, run("evaluate", "fastbp-d", "d.csv").out
    assert "(--charset cp1252)" in run.fails("train", "e.csv", "--target", "y", *QUICK)
    assert run("train", "e.csv", "--charset", "nope", "--target", "y").status == 2
    for stream in ("--stream", "--no-stream"):
        assert run("train", "e.csv", "--charset", "cp1252", "--target", "y", *QUICK,
                   "--validation", "e.csv", "-o", "v", "--overwrite", stream).status == 0
    said = ("fastbp-d", "e.csv", "--charset", "latin-1")
    assert (run("predict", *said).out, run("evaluate", *said).out) == plain
    assert run("train", "e.csv", "--charset", "cp1252", "--target", "y", *QUICK, "-o", "e"
               ).status == 0
    assert run("train", "--config", "e/config.toml", "-o", "again", "-q").status == 0
    for folder in ("e", "again"):
        np.testing.assert_array_equal(params(run.folder / folder),
                                      params(run.folder / "fastbp-d"))


def test_statistics_come_from_training_rows_alone(run: Here) -> None:
    data = table(run.folder / "d.csv", 100)
    assert run("train", data, "--target", "kind", *QUICK).status == 0
    model = fastbp.load_model("fastbp-d/model.safetensors")
    z = np.array([float(row["z"]) for row in csv.DictReader(data.read_text().splitlines())])
    kind = np.array([row["kind"] for row in csv.DictReader(data.read_text().splitlines())])
    from sklearn.model_selection import train_test_split

    kept, _ = train_test_split(np.arange(100), test_size=0.2, random_state=0, stratify=kind)
    column = next(c for c in model.preprocessor.columns if c.name == "z")
    assert column.mean == pytest.approx(z[kept].mean()) != pytest.approx(z.mean())
    assert column.scale == pytest.approx(z[kept].std())


def test_validation_and_test_rows(run: Here) -> None:
    data, held = table(run.folder / "d.csv"), table(run.folder / "v.csv", 50, seed=1)
    done = run("train", data, "--target", "kind", "--validation", held, *QUICK, "--json")
    assert done.json["rows"] == 200 and done.json["scores_on"] == "held-out"
    later = run("evaluate", "fastbp-d", held, "--json").json
    assert later["rows"] == 50
    assert later["scores"] == pytest.approx(done.json["scores"])
    done = run("train", data, "--target", "kind", "--test-split", "0.25", *QUICK, "--json", "-o",
               "t")
    assert done.json["rows"] == 120 and done.json["scores_on"] == "test"
    done = run("train", data, "--target", "kind", "--validation-split", "0", *QUICK, "--json",
               "-o", "n")
    assert done.json["rows"] == 200 and done.json["scores_on"] == "training"


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


@pytest.mark.parametrize("target", ["kind", "y"])
def test_weights_of_rows_are_those_of_fit(target: str, run: Here) -> None:
    w = np.random.default_rng(2).integers(0, 4, 200) / 2
    table(run.folder / "d.csv", w=w)
    table(run.folder / "v.csv", 50, seed=1, w=w[:50])
    other = "y" if target == "kind" else "kind"
    argv = ("train", "d.csv", "--target", target, "--ignore", other, "--weight", "w",
            "--validation", "v.csv", "--epochs", "3", "--hidden", "8", "--no-report", "--json")
    balance = ("--class-weight", "balanced") if target == "kind" else ()
    done = run(*argv, *balance, "-o", "a")
    assert done.status == 0, done.err
    learned = learn("d.csv", target, weight="w", drop=[other])
    pre, own = learned.preprocessor, learned.target
    assert own is not None and "w" not in pre.names
    rows, held = (pre.typed(open_table(f"{name}.csv")).read() for name in "dv")
    X, T = pre.transform(rows), own.encode(rows[target])
    validation = pre.transform(held), own.encode(held[target]), held["w"]

    net = fastbp.load("a/model.safetensors")
    again = fastbp.Network([fastbp.Dense(pre.n_features, 8, weight_init="he_uniform"),
                            fastbp.ReLU(), fastbp.Dense(8, own.n_outputs),
                            *([fastbp.Softmax()] if target == "kind" else [])],
                           net.loss_function)
    history = again.fit(X, T, epochs=3, sample_weight=rows["w"], validation_data=validation,
                        class_weight="balanced" if balance else None)
    np.testing.assert_array_equal(params(Path("a")), again.params)
    lines = [json.loads(line) for line in Path("a/metrics.jsonl").read_text().splitlines()]
    for name in ("loss", "val_loss", "val_accuracy" if balance else "val_r2"):
        if name in history:
            assert [line[name] for line in lines] == pytest.approx(history[name], rel=1e-9)
    # the same from the configuration, as one of several runs, and in the scores
    assert run("train", "--config", "a/config.toml", "-o", "b", "-q").status == 0
    np.testing.assert_array_equal(params(Path("a")), params(Path("b")))
    several = run(*argv, *balance, "--seeds", "0,1", "--grid", "lr=1e-3,1e-9", "-o", "c")
    first = next(row for row in several.json["runs"] if row["seed"] == "0" and (
        row["lr"] == "0.001"))
    assert first["val_loss"] == pytest.approx(history["val_loss"][-1])
    scored = run("evaluate", "a", "v.csv", "--weight", "w", "--json").json["scores"]
    assert scored == pytest.approx(done.json["scores"])
    assert scored != pytest.approx(run("evaluate", "a", "v.csv", "--json").json["scores"])
    streamed = run(*argv, *balance, "--stream", "-o", "s")
    assert streamed.status == 0, streamed.err
    stream = TableStream("d.csv", pre, own, weight="w")
    again = fastbp.Network([fastbp.Dense(pre.n_features, 8, weight_init="he_uniform"),
                            fastbp.ReLU(), fastbp.Dense(8, own.n_outputs),
                            *([fastbp.Softmax()] if target == "kind" else [])],
                           net.loss_function)
    fastbp.fit_stream(again, stream, epochs=3, validation_data=validation,
                      class_weight="balanced" if balance else None)
    np.testing.assert_array_equal(params(Path("s")), again.params)


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_weights_of_rows_held_out_go_with_them(stream: str, run: Here,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.round(np.random.default_rng(3).uniform(1, 9, 200), 3)
    table(run.folder / "d.csv", x=x, w=x)
    kept = list[prepare.Prepared]()
    monkeypatch.setattr("fastbp.cli.run.prepare", lambda settings: kept.append(
        prepare.prepare(settings)) or kept[0])
    done = run("train", "d.csv", "--target", "kind", "--ignore", "y", "--weight", "w",
               "--test-split", "0.2", *QUICK, stream, "--json")
    assert done.status == 0, done.err
    data, rows = kept[0], 0
    column = data.preprocessor.columns[0]
    train = data.train.blocks(0, 0, True) if isinstance(data.train, TableStream) else [data.train]
    for X, _, w in (*train, data.held, data.test):  # type: ignore[misc]
        np.testing.assert_allclose(X[:, 0] * column.scale + column.mean, w, rtol=1e-5)
        rows += len(X)
    assert rows == 200


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
@pytest.mark.parametrize("target", ["kind", "y"])
def test_rows_without_a_target_are_dropped_where_that_is_said(target: str, stream: str,
                                                              run: Here) -> None:
    gone = ~(np.arange(300) % 7).astype(bool)
    for name, rows in (("d", 300), ("v", 90)):
        lines = table(run.folder / f"{name}.csv", rows).read_text().splitlines()
        cells = [line.split(",") for line in lines[1:]]
        own = gone[:rows]
        for row in np.flatnonzero(own):
            cells[row][lines[0].split(",").index(target)] = ""
        text = [",".join(row) for row in cells]
        Path(f"{name}.csv").write_text("\n".join([lines[0], *text]) + "\n")
        Path(f"{name}-clean.csv").write_text("\n".join(
            [lines[0], *(t for t, g in zip(text, own, strict=True) if not g)]) + "\n")
    other = "y" if target == "kind" else "kind"
    options = ("--target", target, "--ignore", other, "--epochs", "3", "--no-report", stream)
    assert "drop such rows (--missing-target drop)" in run.fails("train", "d.csv", *options)
    drop = (*options, "--missing-target", "drop")
    for more in (("--test-split", "0.2"), ("--validation", "v")):
        held = [] if more[1] != "v" else ["--validation", "v-clean.csv"]
        done = run("train", "d.csv", *drop, *(["--validation", "v.csv"] if held else more), "-o",
                   "a", "--json", "--overwrite")
        assert done.status == 0, done.err
        clean = run("train", "d-clean.csv", *options, *(held or more), "-o", "b", "--json",
                    "--overwrite")
        assert done.err.count("43 without a target dropped") == 1
        assert done.json["dropped"] == {"data": 43} | ({"validation": 13} if held else {})
        assert "dropped" not in clean.json
        same = ("rows", "loss", "scores", "scores_on")
        assert [done.json[k] for k in same] == [clean.json[k] for k in same]
        np.testing.assert_array_equal(params(Path("a")), params(Path("b")))
        models = [fastbp.load_model(name) for name in "ab"]
        assert models[0].preprocessor == models[1].preprocessor
        again = run("train", "--config", "a/config.toml", "-o", "c", "-q", "--overwrite")
        assert again.status == 0
        np.testing.assert_array_equal(params(Path("a")), params(Path("c")))


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


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_validation_is_a_share_of_what_the_test_leaves(stream: str, run: Here) -> None:
    data = table(run.folder / "d.csv", 2000)
    done = run("train", data, "--target", "kind", "--test-split", "0.6", "--validation-split",
               "0.6", stream, *QUICK, "--json")
    assert done.status == 0, done.err
    assert done.json["rows"] == pytest.approx(0.4 * 0.4 * 2000, rel=0.2)


@pytest.mark.parametrize(("data", "name"), [
    ("iris", "iris"), ("a/sales.2023.csv", "sales.2023"), ("d.CSV.gz", "d"), ("x.y", "x.y")])
def test_a_run_is_called_by_its_data(data: str, name: str) -> None:
    assert prepare.name_of(data) == name


def test_a_share_is_the_same_in_any_pieces_and_shares_make_the_whole() -> None:
    whole = prepare.opened("diabetes")
    parts = [prepare.Share(whole, low, high, 3) for low, high in ((0, 0.3), (0.3, 1))]
    first, second = (p.read() for p in parts)
    assert 80 < len(first["bmi"]) < 190
    assert sorted([*first["bmi"], *second["bmi"]]) == sorted(whole.read()["bmi"])
    small = [x for piece in parts[0].batches(rows=7) for x in piece["bmi"]]
    assert small == list(first["bmi"])


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


def test_a_finished_run_says_where_it_is_now(run: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", *QUICK, "--resume", "--json", "-o")
    assert run(*argv, "a").json["model"] == "a/model.safetensors"
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    again = run(*argv, "../a").json
    assert (again["output"], again["model"]) == ("../a", "../a/model.safetensors")


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


def test_what_had_no_time_goes_on_where_another_diverged(run: Here,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", "--optimizer", "sgd", "--grid", "lr=1e30,1e-2", "--threads", "1",
            *QUICK, "--resume")
    late = iter([False, True])
    with monkeypatch.context() as patch:
        patch.setattr(Limit, "begin", lambda _: next(late))
        assert "diverged" in run.fails(*argv, status=3)
    assert not Path("fastbp-iris/model.safetensors").exists()
    assert run(*argv, "--json").json["best"] == 1


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


def test_the_report_is_written_or_its_package_named(run: Here,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    assert run("train", "iris", "--epochs", "2", "-q").status == 0
    page = Path("fastbp-iris/report.html").read_text()
    assert "fastbp train iris" in page and "setosa" in page and "<dt>fit</dt>" in page
    assert "whatever its weight" not in page
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


def test_the_bar_shows_loss_accuracy_and_speed() -> None:
    from rich.console import Console

    X, T = clusters(60)
    screen = io.StringIO()
    bar = ProgressBar(Console(file=screen, force_terminal=True, width=120))
    classifier().fit(X, T, epochs=3, validation_data=(X, T), callbacks=[bar])
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert re.search(r"epoch 3/3.*loss \d+\.\d+.*accuracy \d+\.\d+%.*[\d,]+ samples/s", text)


def test_the_bar_of_a_second_fit_starts_empty() -> None:
    from rich.console import Console

    bar = ProgressBar(Console(file=io.StringIO(), force_terminal=True))
    for _ in range(2):
        bar.on_train_begin(classifier(), 2, 50)
        task = bar._bar.tasks[0]
        assert (task.completed, task.fields["figures"]) == (0, "")
        bar.on_chunk_end(1, 50)
        bar.on_epoch_end(1, {"loss": 1.0})
        bar.on_train_end()


def test_a_bar_can_be_copied_and_pickled() -> None:
    """As callbacks of estimators are, by clone and GridSearchCV."""
    bar = ProgressBar()
    for again in (pickle.loads(pickle.dumps(bar)), copy.deepcopy(bar)):
        X, T = clusters(30)
        classifier().fit(X, T, epochs=1, callbacks=[again])
        pickle.dumps(again)


def test_plain_lines_without_terminal_or_rich(monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    plain: Any = io.StringIO()
    lines = progress(plain)
    assert isinstance(lines, fastbp.callbacks.PrintEpoch)
    X, T = clusters(30)
    classifier().fit(X, T, epochs=2, callbacks=[lines])
    assert plain.getvalue().startswith("epoch 1/2  loss") and not capsys.readouterr().out
    assert isinstance(progress(Terminal()), ProgressBar)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert isinstance(progress(Terminal()), fastbp.callbacks.PrintEpoch)
    assert "fastbp[cli]" in capsys.readouterr().err
