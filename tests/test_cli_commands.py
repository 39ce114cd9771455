"""predict, evaluate, info, export, bench, warmup, datasets."""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("pyarrow")

import click

import fastbp
from fastbp.cli import main, scores
from fastbp.data import Target

from .builders import classifier
from .commands import Here, process, table


@pytest.fixture
def trained(run: Here) -> Here:
    """A folder with models of both tasks of d.csv."""
    data = table(run.folder / "d.csv")
    for target, other in (("kind", "y"), ("y", "kind")):
        assert run("train", data, "--target", target, "--ignore", other, "--epochs", "5",
                   "--no-report", "-q", "-o", target).status == 0
    return run


@pytest.mark.parametrize("classes", [("01", "02", "1A"), ("True", "False", "unknown")])
def test_held_out_rows_may_lack_the_class_that_is_a_word(classes: tuple[str, ...],
                                                         run: Here) -> None:
    Path("d.csv").write_text("x,g\n" + "".join(f"{i},{g}\n" for i, g in enumerate(classes * 9)))
    Path("held.csv").write_text("x,g\n" + "".join(f"{i},{g}\n" for i, g in enumerate(classes[:2])))
    for stream in ("--stream", "--no-stream"):
        assert run("train", "d.csv", "--target", "g", "--validation", "held.csv", "--epochs", "1",
                   "--no-report", "-q", "-o", "m", "--overwrite", stream).status == 0
    assert run("evaluate", "m", "held.csv", "--json").json["rows"] == 2


@pytest.mark.parametrize("target", ["kind", "y", "colour"])
def test_scores_with_weights_are_those_of_repeated_rows(target: str, trained: Here) -> None:
    if target == "colour":
        assert trained("train", "d.csv", "--target", "colour", "--epochs", "3", "--no-report",
                       "-q", "-o", "colour").status == 0
    head, *lines = Path("d.csv").read_text().splitlines()
    times = np.arange(len(lines)) % 4
    for name, rows in (("weighed", [f"{x},{n}" for x, n in zip(lines, times, strict=True)]),
                       ("repeated", [f"{x},1" for x, n in zip(lines, times, strict=True)
                                     for _ in range(n)])):
        Path(f"{name}.csv").write_text("\n".join([head + ",w", *rows]) + "\n")
    found = trained("evaluate", target, "weighed.csv", "--weight", "w", "--json", "--batch-rows",
                    "33").json["scores"]
    expected = trained("evaluate", target, "repeated.csv", "--json").json["scores"]
    assert found == pytest.approx(expected, rel=1e-5)
    assert found != pytest.approx(trained("evaluate", target, "d.csv", "--json").json["scores"])
    Path("weighed.csv").write_text("\n".join([head + ",w", *(f"{x},0" for x in lines)]) + "\n")
    for name, words in (("w", "'w' is zero in every row"), ("v", "'v' is missing"),
                        ("kind", "'kind' must hold numbers")):
        assert words in trained.fails("evaluate", target, "weighed.csv", "--weight", name)


@pytest.mark.parametrize("target", ["kind", "y"])
def test_rows_without_the_truth_are_not_scored_where_that_is_said(target: str,
                                                                  trained: Here) -> None:
    lines = Path("d.csv").read_text().splitlines()
    at, full = lines[0].split(",").index(target), lines[:80]
    cells = lines[5].split(",")
    cells[at] = ""
    Path("held.csv").write_text("\n".join([*full[:5], ",".join(cells), *full[5:]]) + "\n")
    Path("clean.csv").write_text("\n".join(full) + "\n")
    line = trained.fails("evaluate", target, "held.csv")
    assert "row 4 " in line and "(--missing-target drop)" in line
    done = trained("evaluate", target, "held.csv", "--missing-target", "drop", "--json",
                   "--batch-rows", "30")
    clean = trained("evaluate", target, "clean.csv", "--json", "--batch-rows", "30")
    assert done.err == "fastbp: held.csv: 1 rows without a target dropped\n"
    assert done.json == clean.json | {"data": "held.csv", "dropped": 1}
    lines = Path("held.csv").read_text().splitlines()
    lines[60] = re.sub("red|green|blue", "pink", lines[60])
    Path("held.csv").write_text("\n".join(lines) + "\n")
    line = trained.fails("evaluate", target, "held.csv", "--missing-target", "drop")
    assert "'pink'" in line and "row 59 " in line


@pytest.mark.parametrize("end", ["csv", "tsv", "csv.gz", "tsv.gz", "parquet", "feather", "arrow",
                                 "-"])
def test_predictions_are_the_models(end: str, trained: Here) -> None:
    from pyarrow import ipc, parquet

    model = fastbp.load_model("kind/model.safetensors")
    proba = model.predict_proba("d.csv")
    out = "-" if end == "-" else f"p.{end}"
    done = trained("predict", "kind", "d.csv", "-o", out, "--batch-rows", "64")
    assert done.status == 0 and not done.err
    if end == "parquet":
        rows: Any = parquet.read_table(out).to_pylist()
        assert parquet.ParquetFile(out).num_row_groups == 4
    elif end in ("feather", "arrow"):
        with ipc.open_file(out) as file:
            rows, groups = file.read_all().to_pylist(), file.num_record_batches
        assert groups == 4
    else:
        text = done.out if end == "-" else (
            gzip.decompress(Path(out).read_bytes()).decode() if end.endswith("gz")
            else Path(out).read_text())
        rows = list(csv.DictReader(io.StringIO(text), delimiter="\t" if "tsv" in end else ","))
    assert list(rows[0]) == ["prediction", "probability=no", "probability=yes"]
    assert [r["prediction"] for r in rows] == list(model.predict("d.csv"))
    np.testing.assert_allclose([float(r["probability=yes"]) for r in rows], proba[:, 1],
                               rtol=1e-6)
    assert trained("predict", "kind", "d.csv", "--no-probabilities").out.startswith(
        "prediction\n")


def test_numbers_and_networks_alone_predict_too(trained: Here) -> None:
    done = trained("predict", "y", "d.csv")
    np.testing.assert_allclose([float(x) for x in done.out.splitlines()[1:]],
                               fastbp.load_model("y/model.safetensors").predict("d.csv"))
    net = classifier()
    net.save("net.safetensors")
    X = np.random.default_rng(0).normal(size=(9, net.n_in)).astype(np.float32)
    np.save("X.npy", X)
    rows = list(csv.DictReader(io.StringIO(trained("predict", "net.safetensors", "X.npy").out)))
    assert [int(r["prediction"]) for r in rows] == list(net.predict_classes(X))
    T = net.predict_classes(X)
    np.savez("XT.npz", X=X, y=T)
    done = trained("evaluate", "net.safetensors", "XT.npz", "--json")
    assert done.json["scores"]["accuracy"] == 1 and done.json["rows"] == 9


@pytest.mark.skipif(os.name != "posix", reason="bash")
def test_a_pipe_that_closes_is_no_error(trained: Here) -> None:
    table(trained.folder / "long.csv", 20000)
    command = f"{sys.executable} -m fastbp predict kind"
    done = subprocess.run(["bash", "-c", f"{command} long.csv | head -2; exit $PIPESTATUS"],
                          cwd=trained.folder, capture_output=True, text=True)
    assert len(done.stdout.splitlines()) == 2 and done.stderr == ""
    assert done.returncode == 128 + 13  # as of any program that SIGPIPE ends
    done = subprocess.run(["bash", "-c", f"{command} d.csv -o out.csv >&-"], cwd=trained.folder,
                          capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr and Path(trained.folder, "out.csv").exists()
    done = subprocess.run(["bash", "-c", f"{command} d.csv >&-"], cwd=trained.folder,
                          capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "fastbp: error: stdout is closed\n")
    done = subprocess.run(["bash", "-c", f"{sys.executable} -m fastbp train d.csv --target kind "
                           "--epochs 2 --no-report --json -o closed 2>&-"],
                          cwd=trained.folder, capture_output=True, text=True)
    assert json.loads(done.stdout)["epochs"] == 2  # and nothing else


def test_a_pipe_closes_where_no_signal_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object, **__: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    for name in ("stdout", "stderr"):  # click puts others in their place
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.delattr(signal, "SIGPIPE", raising=False)  # as on Windows
    monkeypatch.setattr(click.Group, "invoke", closed)
    assert main(["datasets"]) == 128 + 13


@pytest.mark.skipif(os.name != "posix", reason="permissions, links and pipes of Unix")
def test_predictions_go_where_they_are_told(trained: Here) -> None:
    """A file keeps its permissions, a link its file; a pipe takes the rows."""
    expected = trained("predict", "kind", "d.csv").out
    Path("real.csv").write_text("earlier")
    Path("real.csv").chmod(0o600)
    Path("link.csv").symlink_to("real.csv")
    assert trained("predict", "kind", "d.csv", "-o", "link.csv").status == 0
    assert Path("link.csv").is_symlink() and Path("real.csv").read_text() == expected
    assert Path("real.csv").stat().st_mode & 0o777 == 0o600
    os.mkfifo("pipe.csv")
    reader = subprocess.Popen(["cat", "pipe.csv"], stdout=subprocess.PIPE, text=True)
    assert trained("predict", "kind", "d.csv", "-o", "pipe.csv").status == 0
    assert reader.communicate(timeout=60)[0] == expected
    assert "pipe.csv is no regular file" in trained.fails("predict", "kind", "pipe.csv")
    assert sorted(p.name for p in Path().glob(".*.csv*")) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_full_stdout_is_named(trained: Here) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "fastbp", "predict", "kind", "d.csv"],
                              stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("fastbp: error: stdout: No space left on device")


@pytest.mark.parametrize("bad", ["\u00e9", "\n", '"'])
def test_what_cannot_stand_between_fields_is_refused(bad: str, trained: Here) -> None:
    done = trained("predict", "kind", "d.csv", "--delimiter", bad)
    assert done.status == 2 and "Traceback" not in done.err
    assert f"'--delimiter': {bad!r} cannot stand between fields" in done.err


def test_predictions_do_not_replace_what_they_are_of(trained: Here) -> None:
    before = Path("d.csv").read_bytes()
    os.link("d.csv", "e.csv")
    for out in ("d.csv", "e.csv"):
        done = trained("predict", "kind", "d.csv", "-o", out)
        assert done.status == 2 and f"{out} would replace DATA" in done.err
    assert Path("d.csv").read_bytes() == before


def test_an_export_does_not_replace_the_model(trained: Here) -> None:
    file = trained.folder / "kind" / "model.safetensors"
    before = file.read_bytes()
    for model in ("kind", file):
        done = trained("export", model, "-o", "kind/model.safetensors")
        assert done.status == 2 and "would replace MODEL" in done.err
    assert file.read_bytes() == before


def test_letters_that_the_locale_lacks(trained: Here) -> None:
    russian = {**os.environ, "PYTHONIOENCODING": "cp1251"}  # neither ² nor é
    done = process("evaluate", "y", "d.csv", folder=trained.folder, env=russian)
    assert done.returncode == 0 and "R\\xb2 " in done.stdout and not done.stderr
    words = np.where(np.arange(50) % 2, "é", "e")
    table(trained.folder / "words.csv", 50, word=words)
    assert trained("train", "words.csv", "--target", "word", "--epochs", "1", "--no-report", "-q",
                   "-o", "words").status == 0
    done = process("predict", "words", "words.csv", folder=trained.folder, env=russian)
    assert done.returncode == 1 and "can't encode" in done.stderr
    asked = {**os.environ, "PYTHONIOENCODING": "cp1251:replace"}
    done = process("predict", "words", "words.csv", folder=trained.folder, env=asked)
    assert done.returncode == 0 and not done.stderr and "?" in done.stdout
    done = process("evaluate", "y", "d.csv", folder=trained.folder, env=asked)
    assert done.returncode == 0 and "R? " in done.stdout


def test_info_has_a_line_a_column_whatever_its_name(run: Here) -> None:
    rows = [["a\nb", "c\x1b[2J", "y"], *([str(i), "pq"[i % 2] + "\n", str(i)] for i in range(9))]
    with open("d.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert run("train", "d.csv", "--target", "y", "--task", "regression", "--epochs", "1", "-q",
               "--no-report", "-o", "m").status == 0
    out = run("info", "m").out
    assert "\ncolumn      a b: number" in out and "\x1b" not in out
    assert "\ncolumn      c\ufffd[2J: 2 categories (p , q )" in out


def test_scores_are_scikit_learns(trained: Here) -> None:
    from sklearn import metrics

    rows = list(csv.DictReader(Path("d.csv").read_text().splitlines()))
    kind, y = np.array([r["kind"] for r in rows]), np.array([float(r["y"]) for r in rows])
    model, number = (fastbp.load_model(f"{n}/model.safetensors") for n in ("kind", "y"))
    P, labels = model.predict_proba("d.csv")[:, 1], model.predict("d.csv")
    found = trained("evaluate", "kind", "d.csv", "--json", "--batch-rows", "33").json["scores"]
    assert found == pytest.approx({
        "accuracy": metrics.accuracy_score(kind, labels),
        "balanced_accuracy": metrics.balanced_accuracy_score(kind, labels),
        "f1": metrics.f1_score(kind, labels, average="macro"),
        "log_loss": metrics.log_loss(kind == "yes", P),
        "roc_auc": metrics.roc_auc_score(kind, P),
        "brier": metrics.brier_score_loss(kind, P, pos_label="yes")}, rel=1e-5)
    found = trained("evaluate", "y", "d.csv", "--json").json["scores"]
    guess = number.predict("d.csv")
    assert found == pytest.approx({
        "r2": metrics.r2_score(y, guess), "mae": metrics.mean_absolute_error(y, guess),
        "rmse": metrics.mean_squared_error(y, guess) ** 0.5}, rel=1e-5)
    out = trained("evaluate", "y", "d.csv").out
    assert out.startswith("200 rows\nR² ") and "root mean squared error" in out


def test_scores_that_rows_do_not_define_are_none() -> None:
    three = Target("t", "classification", ["a", "b", "c"])
    P = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    found = scores.scores(three, np.array([0, 1]), P)
    assert found["roc_auc"] is None and found["accuracy"] == found["balanced_accuracy"] == 1
    assert found["brier"] == pytest.approx((0.09 + 0.04 + 0.01 + 0.01 + 0.04 + 0.01) / 2)
    assert "ROC AUC undefined" in scores.lines(found)
    one = scores.scores(Target("t", "regression"), np.array([1.0]), np.array([2.0]))
    assert one == {"r2": None, "mae": 1.0, "rmse": 1.0}
    truth, more = np.array([0, 1, 2]), np.vstack([P, [1, 0, 0]])  # a row that weighs nothing
    assert scores.scores(three, truth, more, np.array([1.0, 1.0, 0.0])) == pytest.approx(found)
    assert scores.scores(Target("t", "regression"), np.array([1.0, 3.0]), np.array([2.0, 2.0]),
                         np.array([4.0, 0.0])) == one


def test_info_tells_what_is_in_the_file(trained: Here) -> None:
    out = trained("info", "kind").out
    for text in ("Dense(5, 128", "column      z: number",
                 "colour: 3 categories (blue, green, red), onehot",
                 "target      kind: classification, no, yes", f"fastbp      {fastbp.__version__}"):
        assert text in out, text
    found = trained("info", "y/model.safetensors", "--json").json
    assert (found["inputs"], found["outputs"], found["dtype"]) == (5, 1, "float32")
    assert found["matmul_precision"] == "highest" and "products    of" not in out
    assert found["bytes"] == Path("y/model.safetensors").stat().st_size
    assert found["target"]["task"] == "regression" and found["config"]["epochs"] == 5
    assert found["parameters"] == fastbp.load("y/model.safetensors").n_params


@pytest.mark.parametrize("end", ["onnx", "c", "pt", "safetensors"])
def test_exports_say_what_the_model_says(end: str, trained: Here) -> None:
    out = Path(f"m.{end}")
    needed = {"onnx": "onnxruntime", "pt": "torch"}.get(end)
    if needed:
        pytest.importorskip(needed)
    done = trained("export", "kind", "-o", out)
    assert done.status == 0
    assert done.out == f"{'torch' if end == 'pt' else end} written to m.{end}\n"
    net = fastbp.load("kind/model.safetensors")
    if end == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(out)
        assert {i.name for i in session.get_inputs()} == {"x", "z", "colour"}
    elif end == "c":
        assert "#include" in out.read_text()
    elif end == "pt":
        import torch

        tensors = torch.load(out)
        np.testing.assert_array_equal(tensors["0.weight"].numpy(), net.layers[0].weight)
    else:
        np.testing.assert_array_equal(fastbp.load(out).params, net.params)


def test_an_export_without_its_package_or_ending(trained: Here,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    assert trained("export", "kind", "-o", "m.xyz").status == 2
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "fastbp[torch]" in trained.fails("export", "kind", "-o", "m.pt")
    line = trained.fails("export", "kind", "-o", "none/m.c")
    assert "none/m.c" in line and not Path("m.pt").exists()


def test_datasets_are_listed(run: Here) -> None:
    found = {e["name"]: e for e in run("datasets", "--json").json}
    assert found["digits"] == {"name": "digits", "rows": 1797, "columns": 64,
                               "task": "classification", "classes": 10}
    assert found["diabetes"]["task"] == "regression"
    assert "1,797 rows   64 columns  classification, 10 classes" in run("datasets").out


def test_warmup_leaves_nothing_to_compile(run: Here) -> None:
    env = {**os.environ, "FASTBP_CACHE_DIR": str(run.folder / "cache")}
    there = partial(process, folder=run.folder, env=env)
    done = there("warmup", "--dtype", "float32", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    folder = Path(found["folder"])
    before = {path.name for path in folder.iterdir()}
    assert found["compiled"] == found["kernels"] == len(before) > 60
    for more in ((), ("--optimizer", "lion", "--activation", "silu", "--batch-norm", "--dropout",
                      "0.1", "--l2", "0.1", "--class-weight", "balanced", "--average", "0.9"),
                 ("--hidden", "700,600"), ("--stream",)):
        assert there("train", "iris", "--epochs", "2", "--overwrite", *more).returncode == 0
    assert there("predict", "fastbp-iris", "iris").returncode == 0
    code = """
import fastbp, fastbp.data, numpy as np, pandas as pd

class Twice(fastbp.Layer):
    def forward(self, x):
        return 2 * x

    def backward(self, dy):
        return 2 * dy

X, T = np.ones((4, 2)), np.ones((4, 3))
net = fastbp.Network([fastbp.Dense(2, 3)], 'l2')
net.input_gradient(X, T), net.jacobian(X)
net.partial_fit(X, T)
fastbp.fit_stream(net, [(X, T)] * 2, epochs=1)
fastbp.fit_lbfgs(net, X, T)
fastbp.fit_many([net], X, T, epochs=1)
fastbp.Network([fastbp.Dense(2, 3), Twice()], 'l2').fit(X, T, epochs=1)

x, z = np.random.default_rng(0).normal(size=40), np.arange(40)
holes, words = np.where(z > 30, np.nan, x), np.array(['u', 'v'] * 20)
for i, columns in enumerate(({'x': x, 'z': z}, {'x': x}, {'x': x.astype('f4')}, {'z': z},
                             {'x': holes, 'z': z}, {'x': x, 'w': words}, {'b': z > 5},
                             {'x': x.astype('f4'), 'w': words})):
    frame = pd.DataFrame(columns)
    frame.to_csv(f'{i}.csv', index=False), frame.to_parquet(f'{i}.parquet')
    for table in (columns, frame, f'{i}.csv', f'{i}.parquet'):
        pre = fastbp.data.learn(table).preprocessor
        pre.transform(fastbp.data.open_table(table).read(pre.names))
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=run.folder, env=env)
    assert {path.name for path in folder.iterdir()} == before
    again = json.loads(there("warmup", "--dtype", "float32", "--json").stdout)
    assert again["compiled"] == 0


def test_warmup_without_a_cache_says_so(run: Here) -> None:
    done = process("warmup", folder=run.folder, env={**os.environ, "FASTBP_CACHE_DIR": ""})
    assert done.returncode == 1 and "FASTBP_CACHE_DIR" in done.stderr


def test_warmup_of_a_folder_that_is_only_read_says_so(
        run: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root would be told that it can
    assert "its folder cannot be written" in run.fails("warmup", "--dtype", "float32")


def test_bench_compares_with_what_is_installed(run: Here) -> None:
    pytest.importorskip("threadpoolctl")
    done = run("bench", "5-8-3:8", "--peer", "numpy", "--seconds", "0.02", "--json")
    assert done.status == 0, done.err
    found = done.json
    assert found["us_per_step"] > 0 and 0 < found["share_of_peak"] < 1
    assert found["peers"]["numpy"]["over_fastbp"] == pytest.approx(
        found["peers"]["numpy"]["us_per_step"] / found["us_per_step"])
