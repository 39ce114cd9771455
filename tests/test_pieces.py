"""A table read in several pieces is learnt, and its rows are told, as in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from fastbp import data
from fastbp.data import Boolean, Categorical, Numeric, Preprocessor, TableStream
from fastbp.data import table as tables
from fastbp.data.columns import Matrix

X = np.arange(12.0)


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four rows at a time, of tables and of what becomes features."""
    monkeypatch.setattr(tables, "ROWS", 4)
    monkeypatch.setattr("fastbp.data.preprocess._ROWS", 4)


@pytest.mark.parametrize("y", [
    [0.5, *[1, 2] * 5, 1], [*"abcd", *"ccdd" * 2], [7, 8, 9, 9, *[8, 9] * 4],
    [True, *[False] * 11], [*range(11), 0.25]])
@pytest.mark.parametrize("x", [X, [*"aabb", *"bbcc", *"cccc"], [None, *X[1:]], X < 3])
def test_what_is_learnt_is_of_all_pieces(x: Any, y: Any, pieces: None,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"x": np.array(x), "y": np.array(y)}
    found = data.learn(table, "y", categorical=["x"] if x is X else ())
    monkeypatch.undo()
    whole = data.learn(table, "y", categorical=["x"] if x is X else ())
    assert found.target is not None and whole.target is not None and found.n_rows == 12
    assert found.target.task == whole.target.task and found.target.classes == whole.target.classes
    assert [found.target.mean, found.target.scale] == pytest.approx(
        [whole.target.mean, whole.target.scale])
    np.testing.assert_allclose(found.preprocessor.transform(table),
                               whole.preprocessor.transform(table), atol=1e-6)


@pytest.mark.parametrize(("values", "classes"), [
    ([1, 2, 1, 2, 3, None, 3, 1], [1, 2, 3]), ([2**60, 1, 2**60 + 1, None] * 2, None),
    ([1, 2, 1, 2, 2.5, None, 1, 2], [1.0, 2.0, 2.5])])
@pytest.mark.parametrize("kind", [".parquet", ""])
def test_classes_are_whole_numbers_whatever_is_dropped(values: list[Any], kind: str,
                                                       classes: list[Any] | None, tmp_path: Path,
                                                       pieces: None) -> None:
    """A piece without missing values has integers, another floats or objects."""
    whole = 2.5 not in values
    df = pd.DataFrame({"x": np.arange(8.0),
                       "y": pd.array(values, dtype="Int64" if whole else float)})
    if kind:
        pa.parquet.write_table(pa.Table.from_pandas(df), tmp_path / "a.parquet", row_group_size=4)
    table = data.open_table(tmp_path / "a.parquet" if kind else df, drop_missing="y")
    target = data.learn(table, "y", task="classification").target
    assert target is not None
    assert repr(target.classes) == repr(classes or [1, 2**60, 2**60 + 1])
    labels = target.encode(table.read()["y"])
    assert target.decode(labels).tolist() == [value for value in values if value is not None]


def changed(values: Any, at: dict[int, Any]) -> np.ndarray:
    return np.array([at.get(i, value) for i, value in enumerate(values)], object)


@pytest.mark.parametrize(("name", "at", "message"), [
    ("x", {6: None, 9: None}, "column 'x' has no value in row 6 "),
    ("x", {6: np.inf}, "column 'x' holds infinity in row 6 "),
    ("w", {6: None, 9: None}, "column 'w' has no value in row 6 "),
    ("y", {6: None, 9: None}, "target 'y' has no value in row 6 "),
    ("h", {6: None, 9: None}, "column 'h' has no value in row 6 .* weight is needed"),
    ("h", {6: -1, 9: -2}, "column 'h' must hold weights of at least 0, got -1 in row 6 "),
    ("h", {6: np.inf}, "column 'h' holds infinity in row 6 ")])
def test_rows_to_learn_from_are_counted_through_all_pieces(name: str, at: dict[int, Any],
                                                           message: str, pieces: None) -> None:
    good = {"x": X, "w": np.array([*"abc"] * 4, object), "y": np.arange(12) % 3, "h": np.ones(12)}
    learned = data.learn(good, "y", weight="h", missing="error")
    assert learned.target is not None
    bad = good | {name: changed(good[name], at)}
    with pytest.raises(ValueError, match=message):
        data.learn(bad, "y", weight="h", missing="error")
    stream = TableStream(bad, learned.preprocessor, learned.target, weight="h", block_rows=4)
    with pytest.raises(ValueError, match=message):
        list(stream.blocks(0, 0, False))
    if name in ("y", "h"):
        with pytest.raises(ValueError, match=message):
            list(stream.targets())


def test_weights_may_be_zero_in_some_pieces(pieces: None) -> None:
    table = {"x": X, "y": X, "w": [1.0, *[0.0] * 11]}
    assert data.learn(table, "y", weight="w").n_rows == 12
    with pytest.raises(ValueError, match="column 'w' is zero in every row"):
        data.learn(table | {"w": np.zeros(12)}, "y", weight="w")


@pytest.mark.parametrize(("value", "column", "message"), [
    (np.nan, Numeric("v"), "column 'v' has no value in row 106 "),
    (np.inf, Numeric("v"), "column 'v' holds infinity in row 106 "),
    ("u", Numeric("v"), "column 'v' must hold numbers, got 'u' in row 106 "),
    (1e300, Numeric("v"), "feature 'v' is too large for float32 in row 106 "),
    (2, Boolean("v"), "column 'v' must hold true or false, got 2 in row 106 "),
    (None, Boolean("v"), "column 'v' has no value in row 106 "),
    ("u", Boolean("v"), "column 'v' must hold true or false, got 'u' in row 106 "),
    ("u", Categorical("v", ("0", "1")), "column 'v' holds 'u' in row 106 "),
    (None, Categorical("v", ("0", "1")), "column 'v' has no value in row 106 ")])
def test_rows_are_counted_from_the_first_on(value: Any, column: Any, message: str,
                                            pieces: None) -> None:
    pre = Preprocessor([Numeric("x"), column])
    with pytest.raises(ValueError, match=message):
        pre.transform({"x": X, "v": changed(np.arange(12) % 2, {6: value})}, first_row=100)
    if isinstance(value, float):
        both = Matrix(["x", "v"], np.column_stack([X, changed(X, {6: value}).astype(float)]))
        with pytest.raises(ValueError, match=message):
            pre.transform(both, first_row=100)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_matrix_is_searched_for_what_is_no_number(value: float, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastbp.data.npy._PART_BYTES", 100)
    whole = np.arange(60.0).reshape(20, 3)
    whole[13, 1] = value
    np.save(tmp_path / "a.npy", whole)
    told = "has no value" if np.isnan(value) else "holds infinity"
    with pytest.raises(ValueError, match=f"column 'x1' {told} in row 13 "):
        data.learn(tmp_path / "a.npy", missing="error")


def test_columns_beside_a_matrix_go_with_its_rows(tmp_path: Path, pieces: None) -> None:
    whole = np.arange(24.0).reshape(12, 2)
    whole[[1, 6, 7], 1] = np.nan
    np.savez(tmp_path / "a.npz", X=whole, y=np.arange(12))
    rows = data.open_table(tmp_path / "a.npz", drop_missing="x1").read()
    assert rows["y"].tolist() == [0, 2, 3, 4, 5, 8, 9, 10, 11]
    np.testing.assert_array_equal(rows["x0"], 2 * rows["y"])
