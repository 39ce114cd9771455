"""Rows without a target, and rows with weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastbp import data
from fastbp.data import table as tables
from fastbp.data.stream import TableStream

from .tables import frame, in_groups


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".feather", ""])
@pytest.mark.parametrize("target", ["kind", "income"])
def test_rows_without_a_target_are_as_if_not_there(tmp_path: Path, kind: str, target: str,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastbp.data.text._BLOCK_BYTES", 2048)
    monkeypatch.setattr(tables, "ROWS", 300)
    df, lacks = frame(1000), np.random.default_rng(1).random(1000) < 0.2
    df.loc[lacks, target] = None
    df.loc[lacks, "colour"] = "of none of the others"
    df.loc[lacks, "age"] = 10**6
    clean = data.open_table(in_groups(tmp_path / f"clean{kind}", df, ~lacks))
    source = in_groups(tmp_path / f"all{kind}", df, np.ones(1000, bool))
    with pytest.raises(ValueError, match=rf"no value in row {np.argmax(lacks)} .*drop such rows "
                                         rf"\(drop_missing=\['{target}'\]\)"):
        data.learn(source, target)
    table = data.open_table(source, drop_missing=target)
    learned, expected = data.learn(table, target), data.learn(clean, target)
    assert learned.preprocessor == expected.preprocessor and table.dropped == lacks.sum()
    assert learned.n_rows == expected.n_rows == 1000 - lacks.sum()
    assert learned.target is not None and expected.target is not None
    assert learned.target.to_dict() == expected.target.to_dict()
    pre = learned.preprocessor
    rows, own = pre.typed(table).read(), pre.typed(clean).read()
    for name in df:
        np.testing.assert_array_equal(rows[name], own[name])
    assert set(table.read(["age"])) == {"age"}
    again = data.open_table(source, drop_missing=target)
    pre.typed(again).read()
    assert again.dropped == table.dropped == lacks.sum()  # whoever reads it, and how often
    for given_rows in (None, learned.n_rows):
        streams = [TableStream(one, pre, learned.target, n_rows=given_rows, block_rows=256)
                   for one in (table, clean)]
        assert streams[0].n_rows == streams[1].n_rows
        for shuffle in (False, True):
            for a, b in zip(*(s.blocks(1, 7, shuffle) for s in streams), strict=True):
                np.testing.assert_array_equal(a[0], b[0])
                np.testing.assert_array_equal(a[1], b[1])


@pytest.mark.parametrize("kind", [".csv", ".parquet", ""])
def test_rows_are_counted_with_those_that_were_dropped(tmp_path: Path, kind: str) -> None:
    df = frame(300)
    df.loc[[3, 80, 150], "kind"] = None
    learned = data.learn(df, drop=["kind"])
    df.loc[200, "income"] = np.nan
    table = data.open_table(in_groups(tmp_path / f"d{kind}", df, np.ones(300, bool)),
                            drop_missing=["kind"])
    with pytest.raises(ValueError, match="'income' has no value in row 200 "):
        data.learn(table, "kind", missing="error")
    df.loc[200, "income"] = np.inf
    table = data.open_table(in_groups(tmp_path / f"d{kind}", df, np.ones(300, bool)),
                            drop_missing=["kind"])
    with pytest.raises(ValueError, match="'income' holds infinity in row 200 "):
        data.learn(table, "kind")
    target = data.Target("kind", "classification", ["no", "yes"])
    stream = TableStream(table, learned.preprocessor, target)
    row = "part 2: .*row 60 " if kind == ".parquet" else "row 200 "
    with pytest.raises(ValueError, match=row):
        list(stream.blocks(0, 0, False))
    df.loc[200, "kind"] = "odd"
    odd = TableStream(data.open_table(in_groups(tmp_path / f"d{kind}", df, np.ones(300, bool)),
                                      drop_missing="kind"), learned.preprocessor, target)
    with pytest.raises(ValueError, match="'odd' in row 200 "):
        list(odd.targets())


def test_rows_that_cannot_be_dropped() -> None:
    good = {"x": np.arange(4.0), "y": [None, 1, None, 2], "z": ["a", None, "b", None]}
    for unfit in (3, None):
        with pytest.raises(TypeError, match=f"drop_missing must be names of columns, got {unfit}"):
            data.open_table(good, drop_missing=unfit)
    with pytest.raises(ValueError, match="column 'w' is missing: the table has 'x', 'y', 'z'"):
        data.open_table(good, drop_missing="w")
    table = data.open_table(good, drop_missing=["y", "z"])
    with pytest.raises(ValueError, match="the table has no row with a value in 'y', 'z'"):
        data.learn(table, "y")
    twice = data.open_table(data.open_table(good, drop_missing="y"), drop_missing=["x"])
    assert twice.read()["x"].tolist() == [1, 3]
    assert set(twice.read(["z"])) == {"z"}
    odd = {"x": [0.0, 1.0, 2.0, np.inf], "y": [None, 1, 3, 2], "z": ["a", None, "b", "a"]}
    twice = data.open_table(data.open_table(odd, drop_missing="y"), drop_missing="z")
    with pytest.raises(ValueError, match="'x' holds infinity in row 3 "):
        data.learn(twice, "y")
    with pytest.raises(ValueError, match="'z' has no value in any row that has one in 'y'"):
        data.learn(data.open_table(good, drop_missing="y"), "y")


def test_targets_and_weights_of_streams_name_the_row_of_the_table() -> None:
    n = 70_000  # more than one piece
    good = {"x": np.arange(n) % 7, "w": np.ones(n), "t": np.array(["u", "v"] * (n // 2), object)}
    learned = data.learn(good, "t", drop=["w"])
    assert learned.target is not None
    for name, value, message in (("t", "q", "target 't' holds 'q' in row 69001 "),
                                 ("t", None, "target 't' has no value in row 69001 "),
                                 ("w", np.nan, "column 'w' has no value in row 69001 ")):
        bad = good | {name: good[name].copy()}
        bad[name][69_001] = value
        stream = TableStream(bad, learned.preprocessor, learned.target, weight="w",
                             block_rows=1000)
        for read in (stream.targets, lambda s=stream: s.blocks(0, 0, False)):
            with pytest.raises(ValueError, match=message):
                list(read())


@pytest.mark.parametrize("kind", [".csv", ".parquet", ""])
def test_a_column_of_weights_is_no_feature(tmp_path: Path, kind: str) -> None:
    df = frame()
    source = in_groups(tmp_path / f"d{kind}", df, np.ones(len(df), bool))
    learned = data.learn(source, "kind", weight="age")
    assert learned.preprocessor == data.learn(source, "kind", drop=["age"]).preprocessor
    assert learned.target is not None
    stream = TableStream(source, learned.preprocessor, learned.target, weight="age")
    np.testing.assert_array_equal(np.concatenate([b[2] for b in stream.blocks(0, 0, False)]),
                                  df["age"])
    numbered = df.rename(columns={"age": 0})  # a name that counts as false
    learned = data.learn(numbered, "kind", weight=0)  # type: ignore[arg-type]
    assert 0 not in learned.preprocessor.names and learned.target is not None
    stream = TableStream(numbered, learned.preprocessor, learned.target,
                         weight=0)  # type: ignore[arg-type]
    assert [len(block) for block in stream.blocks(0, 0, False)] == [3]
    assert [len(told) for told in stream.targets()] == [2]


@pytest.mark.parametrize(("weights", "message"), [
    ([1, None, 2], "column 'w' has no value in row 1 .*, where a weight is needed"),
    ([1, 2, -0.5], r"column 'w' must hold weights of at least 0, got -0\.5 in row 2 "),
    ([1, np.inf, 2], "column 'w' holds infinity in row 1 "),
    ([1, 2, "much"], "column 'w' must hold numbers, got 'much' in row 2 "),
    ([0, 0, 0], "column 'w' is zero in every row: no row would have a weight")])
def test_weights_that_are_none_are_refused_by_row(weights: list[Any], message: str) -> None:
    good = {"x": np.arange(3.0), "y": ["a", "b", "a"]}
    with pytest.raises(ValueError, match=message):
        data.learn(good | {"w": weights}, "y", weight="w")
    learned = data.learn(good, "y")
    assert learned.target is not None
    if any(weights):
        stream = TableStream(good | {"w": weights}, learned.preprocessor, learned.target,
                             weight="w")
        with pytest.raises(ValueError, match=message):
            list(stream.blocks(0, 0, False))
    for options, words in (({"weight": "y"}, "weight 'y' is the target too"),
                           ({"weight": "v"}, "column 'v' is missing"),
                           ({"weight": "x", "categorical": ["x"]}, "weight 'x' is among")):
        with pytest.raises(ValueError, match=words):
            data.learn(good, "y", **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"weight must be the name of a column, got \['x'\]"):
        data.learn(good, "y", weight=["x"])  # type: ignore[arg-type]
