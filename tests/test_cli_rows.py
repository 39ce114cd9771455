"""fastbp train: which rows are read, and how: files, weights, validation and test."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("pyarrow")

import fastbp
from fastbp.cli import prepare
from fastbp.data import TableStream, learn, open_table

from .commands import QUICK, Here, params, table


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


@pytest.mark.filterwarnings("default:column '' counts")
def test_an_index_in_the_file_is_told_and_can_be_left_out(run: Here) -> None:
    rows = table(run.folder / "d.csv").read_text().splitlines()
    (run.folder / "i.csv").write_text("\n".join(
        f"{k or ''},{row}" if k == 0 else f"{k + 6},{row}" for k, row in enumerate(rows)))
    for way in ("--stream", "--no-stream"):
        options = ("i.csv", "--target", "kind", "--overwrite", *QUICK, way)
        assert run("train", *options).err.splitlines() == [
            "fastbp: warning: column '' counts rows from 7 on, as an index that was written "
            "with the table: leave it out (--ignore ''), or it becomes a feature"]
        done = run("train", *options, "--ignore", "")
        assert done.status == 0 and not done.err


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


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_validation_is_a_share_of_what_the_test_leaves(stream: str, run: Here) -> None:
    data = table(run.folder / "d.csv", 2000)
    done = run("train", data, "--target", "kind", "--test-split", "0.6", "--validation-split",
               "0.6", stream, *QUICK, "--json")
    assert done.status == 0, done.err
    assert done.json["rows"] == pytest.approx(0.4 * 0.4 * 2000, rel=0.2)


def test_a_share_is_the_same_in_any_pieces_and_shares_make_the_whole() -> None:
    whole = prepare.opened("diabetes")
    parts = [prepare.Share(whole, low, high, 3, ["bmi"]) for low, high in ((0, 0.3), (0.3, 1))]
    first, second = (p.read() for p in parts)
    assert 80 < len(first["bmi"]) < 190
    assert sorted([*first["bmi"], *second["bmi"]]) == sorted(whole.read()["bmi"])
    small = [x for piece in parts[0].batches(rows=7) for x in piece["bmi"]]
    assert small == list(first["bmi"])


@pytest.mark.parametrize("way", ["--stream", "--no-stream"])
@pytest.mark.parametrize("row", [7, 150, 199])  # to train, to validate and to test on
@pytest.mark.parametrize("gone", [0, 5])
def test_rows_are_counted_with_those_that_are_held_out(gone: int, row: int, way: str,
                                                       run: Here) -> None:
    x, y = np.arange(200.0), np.arange(200.0).astype(object)
    x[row], y[:gone] = 1e39, ""
    line = run.fails("train", table(run.folder / "d.csv", x=x, y=y), "--target", "y",
                     "--no-standardise", "--test-split", "0.3", "--validation-split", "0.4",
                     "--missing-target", "drop", *QUICK, way)
    assert f"'x' is too large for float32 in row {row} (counted from 0)" in line


def test_rows_of_shares_are_counted_over_all_parts(tmp_path: Path) -> None:
    from pyarrow import parquet
    from pyarrow import table as columns

    rows = np.arange(90)
    parquet.write_table(columns({"x": rows}), tmp_path / "d.parquet", row_group_size=40)
    share = prepare.Share(open_table(tmp_path / "d.parquet"), 0.2, 0.7, 1, ["x"])
    kept = share.read()["x"]
    assert [share.told(f"in row {i} (counted from 0)") for i in range(len(kept))] == [
        f"in row {row} (counted from 0)" for row in kept]
    own = np.concatenate([piece["x"] for piece in share.part(2)])
    assert [share.told(f"row {i} (counted from 0)", 2) for i in range(len(own))] == [
        f"row {row - 80} (counted from 0)" for row in own]
    beyond = f"row {len(kept)} (counted from 0)"
    assert share.told(beyond) == beyond and share.told("row of none") == "row of none"


def test_a_split_that_is_not_stratified_or_leaves_a_class_out_is_told(run: Here) -> None:
    def said(kinds: list[str], *more: str) -> list[str]:
        table(run.folder / "d.csv", len(kinds), kind=kinds)
        done = run("train", "d.csv", "--target", "kind", "--ignore", "y", *QUICK, *more,
                   "--overwrite")
        assert done.status == 0, done.err
        return [line for line in done.err.splitlines() if " row" in line]

    assert not said(["a", "b"] * 10 + ["c"])  # rare: in training
    assert not said(["a", "b", "c", "d"], "--validation-split", "0")
    assert said(["a", "b", "c", "d"] * 3, "--validation-split", "0.2") == [
        "fastbp: --validation-split 0.2 of 12 rows is not stratified: both sides would need rows "
        "of 4 classes"]
    assert said(["a", "b", "c", "d"]) == [
        "fastbp: --validation-split 0.2 of 4 rows is not stratified: both sides would need rows "
        "of 4 classes",
        "fastbp: target 'kind': no row to train on is of 'c'; another --split-seed may help"]
    # single rows stay in training where the others are too few for a share of each class
    many = [*(f"k{i}" for i in range(40)), *"aabbccdd"]
    assert said(many) == [
        "fastbp: --validation-split 0.2 of 48 rows is not stratified: both sides would need rows "
        "of 4 classes",
        "fastbp: --validation-split 0.2 of 48 rows holds out 2: a class of a single row stays in "
        "training"]
    # too few to be split alone
    assert said(["a", "a", "b", "c", "d"], "--validation-split", "0.6")[0] == (
        "fastbp: --validation-split 0.6 of 5 rows is not stratified: both sides would need rows "
        "of 1 classes")
    (told,) = said(["a"] * 40 + ["b"], "--stream", "--validation-split", "0.99")
    assert told == (
        "fastbp: target 'kind': no row to train on is of 'b'; another --split-seed may help")


@pytest.mark.parametrize("way", ["--stream", "--no-stream"])
def test_rows_of_weight_0_train_no_class(way: str, run: Here) -> None:
    kinds = ["a", "b", "c"] * 20
    table(run.folder / "d.csv", 60, kind=kinds, w=[int(kind != "b") for kind in kinds])
    for split in ("0", "0.2"):
        done = run("train", "d.csv", "--target", "kind", "--ignore", "y", "--weight", "w", *QUICK,
                   way, "--validation-split", split, "--overwrite")
        assert done.status == 0
        assert [line for line in done.err.splitlines() if " no row" in line] == [
            "fastbp: target 'kind': no row to train on with a weight above 0 is of 'b'"]
    table(run.folder / "d.csv", 41, kind=["a"] * 40 + ["b"], w=[2] * 41)
    done = run("train", "d.csv", "--target", "kind", "--ignore", "y", "--weight", "w", *QUICK,
               "--stream", "--validation-split", "0.99", "--overwrite")
    assert "with a weight above 0 is of 'b'; another --split-seed may help\n" in done.err
