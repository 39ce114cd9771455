"""predict, evaluate, info, export: models of any kind, files of any name."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("pyarrow")

import click

from fastbp import Dense, Network, Softmax, load_model
from fastbp.cli import scores
from fastbp.cli.predict import _columns
from fastbp.cli.writers import open_writer
from fastbp.data import Target, learn
from fastbp.model import Model

from .commands import Here, table


@pytest.fixture
def rows(run: Here) -> np.ndarray:
    """x.csv: three features, then their class t, number u and weight w."""
    found = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    lines = [",".join(map(repr, [*map(float, x), i % 2, i / 4, i % 3]))
             for i, x in enumerate(found)]
    Path("x.csv").write_text("\n".join(["a,b,c,t,u,w", *lines]) + "\n")
    return found


@pytest.mark.parametrize(("loss", "outputs", "names"), [
    ("mse", 1, ["prediction"]), ("mse", 3, ["y0", "y1", "y2"]),
    ("SigmoidBinaryCrossEntropyLoss", 2, ["y0", "y1"]),
    ("SigmoidBinaryCrossEntropyLoss", 1, ["prediction", "probability=0", "probability=1"]),
    ("HingeLoss", 2, ["y0", "y1"])])
def test_outputs_of_a_network_alone_have_names(loss: str, outputs: int, names: list[str],
                                               run: Here) -> None:
    net, X = Network([Dense(3, outputs)], loss), np.random.default_rng(1).normal(size=(5, 3))
    net.save("net")
    np.save("X.npy", X)
    told = list(csv.DictReader(io.StringIO(run("predict", "net", "X.npy").out)))
    assert list(told[0]) == names and len(told) == 5
    values = np.array([[float(row[name]) for name in names] for row in told])
    if names[0] == "y0" or loss == "mse":
        expected = net.predict(X) if loss in ("mse", "HingeLoss") else net.predict_proba(X)
    else:
        P = net.predict_proba(X)
        expected = np.column_stack([P > 0.5, 1 - P, P])
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.parametrize(("value", "told"), [(np.nan, "nan"), (-np.inf, "-inf"),
                                             (1e39, "1e+39")])
def test_rows_that_a_network_alone_refuses_are_those_of_the_file(value: float, told: str,
                                                                 run: Here) -> None:
    X = np.zeros((70_000, 3))
    X[66_000, 1], X[69_000, 0] = value, np.nan
    np.save("X.npy", X)
    np.savez("d.npz", X=X, y=np.zeros(70_000))
    Network([Dense(3, 1)], "mse").save("net")
    line = f"holds {told} in row 66000 (counted from 0), where a finite float32 is needed"
    out = ("-o", "p.csv")
    for argv in (("predict", "net", "X.npy", *out),
                 ("predict", "net", "X.npy", *out, "--batch-rows", "500"),
                 ("evaluate", "net", "d.npz", "--target", "y")):
        failed = run.fails(*argv)
        assert f"column 'x1' {line}" in failed and "allow_nonfinite" not in failed
    for given in ("X.npy", {f"x{i}": X[:, i] for i in range(3)}):
        with pytest.raises(ValueError, match=f"^column 'x1' {re.escape(line)}$"):
            load_model("net").predict(given)
    open_net = Network([Dense(3, 1)], "mse", allow_nonfinite=True)
    open_net.save("open")
    np.testing.assert_array_equal(load_model("open").predict("X.npy")[:, 0],
                                  open_net.predict(X)[:, 0])


def test_truth_and_weights_beside_the_rows_are_no_features(rows: np.ndarray, run: Here) -> None:
    net = Network([Dense(3, 2), Softmax()], "CrossEntropyLoss")
    net.save("net")
    lines = [line.split(",") for line in Path("x.csv").read_text().splitlines()]
    Path("x.csv").write_text("\n".join(",".join([*line[:4], line[5]]) for line in lines))
    found = run("evaluate", "net", "x.csv", "--target", "t", "--weight", "w", "--json")
    assert found.status == 0, found.err
    truth, weights = np.arange(30) % 2, np.arange(30) % 3
    expected = scores.scores(Target("t", "classification", [0, 1]), truth,
                             net.predict_proba(rows), weights.astype(float))
    assert found.json["scores"] == pytest.approx(expected) and found.json["rows"] == 30
    Network([Dense(3, 2)], "mse").save("two")
    assert "2 outputs that are no classes" in run.fails("evaluate", "two", "x.csv", "--target",
                                                        "t")


def test_the_target_of_a_model_without_columns_is_no_input(rows: np.ndarray, run: Here) -> None:
    """In ``predict`` of the command as in ``evaluate`` and ``Model.predict``."""
    net = Network([Dense(3, 1)], "mse")
    Model(net, None, Target("u", "regression")).save("m")
    lines = [line.split(",") for line in Path("x.csv").read_text().splitlines()]
    Path("u.csv").write_text("\n".join(",".join([*line[:3], line[4]]) for line in lines) + "\n")
    told = list(csv.DictReader(io.StringIO(run("predict", "m", "u.csv").out)))
    np.testing.assert_allclose([float(row["prediction"]) for row in told],
                               load_model("m").predict("u.csv"), rtol=1e-6)
    assert run("evaluate", "m", "u.csv", "--json").json["rows"] == 30


def test_the_truth_may_have_another_name_and_is_in_the_same_units(
        rows: np.ndarray, run: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    learned = learn("x.csv", "u", drop=["t", "w"], task="regression")
    assert learned.target is not None and learned.target.scale != 1
    Model(Network([Dense(3, 1)], "mse"), learned.preprocessor, learned.target).save("m")
    Path("y.csv").write_text(Path("x.csv").read_text().replace(",u,", ",price,", 1))
    told = run("evaluate", "m", "x.csv", "--json").json["scores"]
    assert run("evaluate", "m", "y.csv", "--target", "price", "--json").json["scores"] == told
    assert "'u'" in run.fails("evaluate", "m", "y.csv")
    guess = load_model("m").predict("x.csv")
    assert told["mae"] == pytest.approx(np.abs(guess - np.arange(30) / 4).mean(), rel=1e-5)
    monkeypatch.setattr(scores, "scores", lambda *_: {"r2": -np.inf, "mae": 1.0})
    assert run("evaluate", "m", "x.csv", "--json").json["scores"] == {"r2": None, "mae": 1.0}


def test_rates_are_scored_against_counts(rows: np.ndarray, run: Here) -> None:
    net = Network([Dense(3, 1)], "PoissonLoss")
    counts = np.arange(30.0)
    np.savez("y.npz", X=rows, y=counts)
    mae = np.abs(np.exp(net.predict(rows)[:, 0]) - counts).mean()
    net.save("alone")
    Model(net, None, Target("y", "regression")).save("model")
    for name in ("alone", "model"):
        found = run("evaluate", name, "y.npz", "--json").json["scores"]
        assert found["mae"] == pytest.approx(mae, rel=1e-5)
    whole = scores.of_network(net, Target("y", "regression"), rows, counts[:, None])
    assert whole["mae"] == pytest.approx(mae, rel=1e-5)


@pytest.mark.parametrize("outputs", [1, 3])
def test_margins_are_scored_as_classes(outputs: int, rows: np.ndarray, run: Here) -> None:
    net, truth = Network([Dense(3, outputs)], "HingeLoss"), np.arange(30) % max(outputs, 2)
    np.savez("y.npz", X=rows, y=truth)
    net.save("alone")
    Model(net, None, Target("y", "classification", [*range(max(outputs, 2))])).save("model")
    right = (net.predict_classes(rows) == truth).mean()
    for name in ("alone", "model"):
        found = run("evaluate", name, "y.npz", "--json").json
        assert found["task"] == "classification" and found["scores"]["accuracy"] == right
        assert list(found["scores"]) == ["accuracy", "balanced_accuracy", "f1"]
    net.layers[0].weight[...] = 1e38
    net.save("diverged")
    np.savez("y.npz", X=100 * np.abs(rows), y=truth)
    found = run("evaluate", "diverged", "y.npz", "--json").json
    assert set(found["scores"].values()) == {None}
    np.savez("y.npz", X=rows, y=rows[:, 0])
    assert "which is none of the classes" in run.fails("evaluate", "alone", "y.npz")
    Model(Network([Dense(3, 2)], "mse"), None, Target("y", "classification", [0, 1])).save("m")
    np.savez("y.npz", X=rows, y=truth % 2)
    assert "needs a loss of classes, not MSELoss()" in run.fails("evaluate", "m", "y.npz")


def test_the_threshold_of_a_loss_decides_between_two_classes() -> None:
    net = Network([Dense(1, 1)], "HingeLoss")
    net.layers[0].weight[...], net.layers[0].bias[...] = 1, 0
    model = Model(net, None, Target("t", "classification", ["no", "yes"]))
    X = np.array([[-0.5], [0.25], [0.75]], np.float32)
    assert _columns(model, X, True)["prediction"].tolist() == ["no", "yes", "yes"]


def test_tables_of_other_delimiters_and_without_rows(rows: np.ndarray, run: Here) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    learned = learn("x.csv", "t", drop=["u", "w"])
    Model(Network([Dense(3, 2), Softmax()], "CrossEntropyLoss"), learned.preprocessor,
          learned.target).save("m")
    Path("s.csv").write_text(Path("x.csv").read_text().replace(",", "|"))
    for argv in (("predict", "m"), ("evaluate", "m")):
        plain = run(*argv, "x.csv").out
        assert plain and run(*argv, "s.csv", "--delimiter", "|").out == plain
    empty = pa.table({name: pa.array([], pa.float64()) for name in "abct"})
    parquet.write_table(empty, "none.parquet")
    for argv in (("predict", "m"), ("evaluate", "m"), ("predict", "m", "-o", "p.csv")):
        assert "none.parquet has no rows" in run.fails(*argv[:2], "none.parquet", *argv[2:])
    assert not Path("p.csv").exists()


def test_info_tells_how_columns_were_learnt(run: Here) -> None:
    words = [f"w{i % 9}" for i in range(60)]
    table(run.folder / "d.csv", 60, many=words, few=["" if i == 9 else f"v{i % 8}"
                                                     for i in range(60)])
    text = Path("d.csv").read_text().splitlines()
    text[5] = ",".join(["", *text[5].split(",")[1:]])
    Path("d.csv").write_text("\n".join(text) + "\n")
    learned = learn("d.csv", "kind", missing="impute")
    net = Network([Dense(learned.preprocessor.n_features, 2), Softmax()], "CrossEntropyLoss")
    Model(net, learned.preprocessor, learned.target, {
        "rows": 48, "scores": {"accuracy": 0.5}, "scores_on": "test"}).save("m")
    lines = run("info", "m").out.splitlines()
    assert "rows        48" in lines and "accuracy          0.5  (test)" in lines
    of = {line.split()[1][:-1]: line for line in lines if line.startswith("column ")}
    assert "9 categories (w0, w1, w2, w3, w4, w5, w6, w7, ...), onehot" in of["many"]
    assert "8 categories (v0, v1, v2, v3, v4, v5, v6, v7), onehot, missing become v" in of["few"]
    assert f"missing become {learned.preprocessor.columns[0].fill}" in of["x"]
    assert "3 categories (blue, green, red), onehot" in of["colour"]
    found = run("info", "m", "--json").json
    assert (found["rows"], found["scores"], found["scores_on"]) == (48, {"accuracy": 0.5}, "test")
    assert [c["name"] for c in found["columns"]] == list(learned.preprocessor.names)


def test_an_export_has_the_format_it_is_told_and_errors_name_the_file(
        rows: np.ndarray, run: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    Network([Dense(3, 2)], "mse").save("net")
    done = run("export", "net", "-o", "made.txt", "--format", "c")
    assert done.out == "c written to made.txt\n"
    assert "void made_predict(" in Path("made.txt").read_text()
    assert run("export", "net", "-o", "x.onnx", "--format", "safetensors").status == 0
    assert load_model("x.onnx").network.n_in == 3
    done = run("export", "net", "-o", "made")
    assert done.status == 2 and "name a --format, or one of the endings .onnx" in done.err

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", ".made.c.xyz")

    monkeypatch.setattr("os.fsync", full)
    assert run.fails("export", "net", "-o", "made.c").endswith(
        "error: made.c: No space left on device")
    assert not Path("made.c").exists()

    def missing(*_: object) -> None:  # as PyTorch for a library: without a number, of no file
        raise OSError("libcublas.so.12: cannot open shared object file")

    monkeypatch.setattr("fastbp.io.torch.to_torch_state_dict", missing)
    assert run.fails("export", "net", "-o", "made.pt").endswith(
        "error: libcublas.so.12: cannot open shared object file")


# -- files of predictions -------------------------------------------------------------


def _written(name: str, *pieces: dict[str, Any]) -> bytes:
    with open_writer(name) as writer:
        for piece in pieces:
            writer.write({key: np.array(values) for key, values in piece.items()})
    return Path(name).read_bytes()


def test_the_ending_in_any_case_tells_the_format(run: Here) -> None:
    pieces = {"a": [1, 2], "b": ["x", "é"]}, {"a": [3], "b": ["z"]}
    assert _written("d.CSV", *pieces).decode() == "a,b\n1,x\n2,é\n3,z\n"
    assert _written("d.csv.TSV", *pieces).decode() == "a\tb\n1\tx\n2\té\n3\tz\n"
    packed = _written("d.TSV.GZ", *pieces)
    assert gzip.decompress(packed).decode() == "a\tb\n1\tx\n2\té\n3\tz\n"
    assert packed[3] == 0 and packed[4:8] == bytes(4)  # no name, no time: the same bytes again
    for name in ("d.pq", "d.PARQUET"):
        assert _written(name, *pieces)[:4] == b"PAR1"
    for name in ("d.ipc", "d.Arrow", "d.feather"):
        assert _written(name, *pieces)[:6] == b"ARROW1"
    for name in ("d.json", "d", "d.gz", "d.parquet.gz", ".csv"):
        with pytest.raises(click.UsageError, match="is none of .csv"):
            open_writer(name)


@pytest.mark.parametrize("name", ["d.csv", "d.csv.gz", "d.parquet", "d.arrow"])
def test_a_file_that_is_not_complete_does_not_replace_another(name: str, run: Here) -> None:
    Path(name).write_text("earlier")
    with pytest.raises(KeyboardInterrupt), open_writer(name) as writer:
        writer.write({"a": np.arange(3)})
        raise KeyboardInterrupt
    assert Path(name).read_text() == "earlier"
    assert [path.name for path in run.folder.iterdir()] == [name]


def test_scores_of_several_classes_are_scikit_learns() -> None:
    from sklearn import metrics

    rng = np.random.default_rng(0)
    T, P = rng.integers(0, 3, 60), rng.dirichlet(np.ones(4), 60)
    own = Target("t", "classification", list("abcd"))
    found = scores.scores(own, T, P)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(T, P, labels=range(4)))
    assert found["roc_auc"] is None  # of the fourth there are no rows
    T[:5], w = 3, rng.random(60)
    found = scores.scores(own, T, P, w)
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(
        T, P, multi_class="ovr", sample_weight=w))
    assert found["brier"] == pytest.approx(np.average(
        np.square(P - np.eye(4)[T]).sum(axis=1), weights=w))
    assert json.dumps(scores.as_json({"a": float("nan"), "b": 1.0, "c": "x"})) == (
        '{"a": null, "b": 1.0, "c": "x"}')
