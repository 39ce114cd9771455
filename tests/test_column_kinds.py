"""What a column is taken for: numbers, categories, true and false; from any library."""

from __future__ import annotations

import json
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from sklearn.preprocessing import OrdinalEncoder

from fastbp import data
from fastbp.data.features import Categorical

from .tables import written


def test_dictionaries_are_categories_and_decimals_numbers(tmp_path: Path) -> None:
    import decimal

    found = pa.table({"d": pa.array(["u", "v", None, "u"]).dictionary_encode(),
                      "m": pa.array([decimal.Decimal("1.5")] * 4)})
    for path in (tmp_path / "t.parquet", tmp_path / "t.feather"):
        (pa.parquet.write_table if path.suffix == ".parquet" else pa.feather.write_feather)(
            found, path)
        opened = data.open_table(path)
        assert opened.kinds == {"d": "categorical", "m": "numeric"}
        assert opened.read()["d"].tolist() == ["u", "v", None, "u"]
        assert opened.read()["m"].tolist() == [1.5] * 4


def test_decimals_of_a_frame_are_numbers_as_those_of_its_file(tmp_path: Path) -> None:
    import decimal

    df = pd.DataFrame({"m": [decimal.Decimal("1.5"), None, decimal.Decimal("-2.25"), 3],
                       "y": [0, 1, 0, 1]})
    df.to_parquet(tmp_path / "t.parquet")
    assert data.open_table(df).kinds["m"] == "numeric"
    found, there = (data.learn(source).preprocessor for source in (df, tmp_path / "t.parquet"))
    assert found == there
    target = data.learn(df[["y", "m"]].dropna(), "m", task="classification").target
    assert target is not None and target.classes == [-2.25, 1.5, 3.0]
    assert target.encode(df["m"].dropna()).tolist() == [1, 0, 2]


def test_columns_can_be_forced() -> None:
    t = {"code": np.array([7, 7, 11]), "size": np.array(["1.5", "2", "3"], object),
         "y": np.array([0.5, 1.5, 2.5])}
    p = data.learn(t, "y", categorical=["code"], numeric=["size"], standardize=False).preprocessor
    assert p.feature_names == ["code=7", "code=11", "size"]
    np.testing.assert_array_equal(p.transform(t), [[1, 0, 1.5], [1, 0, 2], [0, 1, 3]])
    as_floats = t | {"code": np.array([7.0, 7.0, 11.0])}
    np.testing.assert_array_equal(p.transform(as_floats), p.transform(t))
    with pytest.raises(ValueError, match="column 'size' must hold numbers, got 'big' in row 1"):
        p.transform(t | {"size": np.array(["1", "big", "2"], object)})


@pytest.mark.parametrize("kind", [".parquet", ".feather", "frame"])
def test_what_pandas_says_of_columns(tmp_path: Path, kind: str) -> None:
    df = pd.DataFrame({"i": pd.Categorical([1, 2, 3, 1]), "b": pd.Categorical([True, False] * 2),
                       "x": [1.0, 2, 3, 4]})
    df = df[df["x"] > 1]  # an index with a gap
    source = df if kind == "frame" else written(tmp_path, df, kind)
    p = data.learn(source).preprocessor
    assert p.feature_names == ["i=1", "i=2", "i=3", "b=false", "b=true", "x"]
    assert data.Table.read(data.open_table(source)).keys() == {"i", "b", "x"}


@pytest.mark.skipif(not hasattr(pa, "string_view"), reason="this pyarrow has no views")
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_words_of_polars(tmp_path: Path, rows: int) -> None:
    words = pa.array(["a", None, "b", "a", "b"], pa.string_view())
    coded = pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 1, 1], pa.uint32()),
                                           pa.array(["u", "v", "unused"], pa.string_view()))
    found = pa.table({"w": words, "c": coded, "x": [1.0, 2, 3, 4, 6]})
    with pa.ipc.new_file(tmp_path / "a.arrow", found.schema) as file:
        file.write_table(found, rows)
    columns = data.open_table(tmp_path / "a.arrow").read()
    assert columns["w"].tolist() == ["a", None, "b", "a", "b"]
    assert columns["c"].tolist() == ["v", "u", None, "v", "v"]
    learned = data.learn(tmp_path / "a.arrow", "x").preprocessor
    assert learned.feature_names == ["w=a", "w=b", "c=u", "c=v"]


def test_a_matrix_of_words(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.array([["a", "u"], ["b", "v"]]))
    assert data.learn(tmp_path / "s.npy", "x1").preprocessor.feature_names == ["x0=a", "x0=b"]


@pytest.mark.parametrize(("values", "categories"), [
    ([True, False] * 50 + [None, True] * 50, ("false", "true")),
    ([1, 20] * 50 + [None, 20] * 50, ("1", "20")),
    ([2**60, 2**60 + 1] * 50 + [None, 2**60 + 1] * 50, (str(2**60), str(2**60 + 1)))])
def test_categories_are_the_same_from_every_file(tmp_path: Path, values: list[Any],
                                                 categories: tuple[str, ...]) -> None:
    found = pa.table({"f": values, "a": [1.0, 2.0] * 100})
    pa.parquet.write_table(found, tmp_path / "a.parquet", row_group_size=100)
    pa.feather.write_feather(found, tmp_path / "a.feather", chunksize=100)
    sources = [tmp_path / "a.parquet", tmp_path / "a.feather", tmp_path / "a.csv",
               pd.DataFrame({"f": pd.Series(values, dtype=float if 20 in values else object),
                             "a": [1.0, 2.0] * 100})]  # of floats pandas writes 1.0
    sources[-1].to_csv(tmp_path / "a.csv", index=False)
    learned = [data.learn(source, categorical=["f"]).preprocessor for source in sources]
    assert [p.columns[0].categories for p in learned] == [categories] * len(sources)
    X = [p.transform(data.Table.read(p.typed(data.open_table(s)))) for p in learned
         for s in sources]
    assert all(np.array_equal(x, X[0]) for x in X)


class Polars:
    """A column as polars has it: missing values make floats even of its objects."""

    def __init__(self, values: list[Any], dtype: Any) -> None:
        self.values, self.dtype = values, dtype

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found = np.array(self.values, float if None in self.values else None)
        return found if dtype is None else found.astype(dtype)

    def to_list(self) -> list[Any]:
        return self.values


@pytest.mark.parametrize("make", [
    lambda values: Polars(values, "Int64"), lambda values: Polars(values, "UInt64"), pa.array,
    lambda values: pa.chunked_array([values[:2], values[2:]])])
def test_whole_numbers_of_others_beyond_floats_stay_apart(make: Any) -> None:
    columns = {"b": make([2**60, 2**60 + 1, None, 2**60 + 2]), "s": make([1, None, 2, 2]),
               "y": make([0, 1, 0, 1])}
    learned = data.learn(columns, "y", categorical=["b", "s"])
    big, small = (column.categories for column in learned.preprocessor.columns)
    assert big == (str(2**60), str(2**60 + 1), str(2**60 + 2)) and small == ("1", "2")
    np.testing.assert_array_equal(learned.preprocessor.transform(columns)[:, :3],
                                  [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])
    with pytest.raises(ValueError, match="'b' has no value in row 2"):
        data.learn(columns, "b")
    whole = {"b": make([2**60, 2**60 + 1, 2**60]), "y": make([0, 1, 0])}
    target = data.learn(whole, "b", task="classification").target
    assert target is not None and target.classes == [2**60, 2**60 + 1]
    assert data.open_table(columns).read()["s"].dtype == float


@pytest.mark.parametrize("kind", ["Int64", "UInt64", "int64[pyarrow]"])
def test_whole_numbers_of_pandas_beyond_floats_stay_apart(kind: str) -> None:
    df = pd.DataFrame({"b": pd.array([2**60, 2**60 + 1, None, 2**60 + 2], dtype=kind),
                       "s": pd.array([1, None, 2, 2], dtype=kind), "y": [0, 1, 0, 1]})
    found = data.learn(df, "y", categorical=["b", "s"]).preprocessor
    big, small = (column.categories for column in found.columns)
    assert big == (str(2**60), str(2**60 + 1), str(2**60 + 2)) and small == ("1", "2")
    np.testing.assert_array_equal(found.transform(df)[:, :3],
                                  [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])
    assert data.open_table(df).read()["s"].dtype == float
    with pytest.raises(ValueError, match="'b' has no value in row 2"):
        data.learn(df, "b")
    for ends in ([2**53, 2**53 + 1], [-2**53, -2**53 - 1]):  # the first floats that are equal
        if min(ends) > 0 or kind != "UInt64":
            edge = pd.DataFrame({"b": pd.array([*ends, None], dtype=kind)})
            assert data.open_table(edge).read()["b"].tolist()[:2] == ends
    labels = df.dropna()
    target = data.learn(labels, "b", task="classification").target
    assert target is not None and target.classes == [2**60, 2**60 + 2]
    assert target.encode(labels["b"]).tolist() == [0, 1]


@pytest.mark.parametrize("values", [
    [2**60, 2**60 + 1, 5, 5, 1, None, 2, 2], [-2**60, -2**60 - 1, 5, 5, 1, None, 2, 2],
    [2**60, 2**60 + 1, 5, 5, -2**60, None, -2**60 - 1, 5]])
def test_whole_numbers_stay_apart_beside_pieces_with_missing_ones(tmp_path: Path,
                                                                  values: list[Any]) -> None:
    """Those are floats, and made floats of all: two categories became one."""
    pa.parquet.write_table(pa.table({"f": values, "y": [1.0, 2.0] * 4}),
                           tmp_path / "a.parquet", row_group_size=4)
    pre = data.learn(tmp_path / "a.parquet", "y", categorical=["f"]).preprocessor
    X = pre.transform(data.open_table(tmp_path / "a.parquet").read())
    names = [pre.feature_names[code] for code in X.argmax(axis=1)]
    assert names == [f"f={value or pre.columns[0].fill}" for value in values]
    small = pd.DataFrame({"f": pd.array([2**53, 1, 1, None], dtype="Int64")})
    pa.parquet.write_table(pa.Table.from_pandas(small), tmp_path / "b.parquet", row_group_size=2)
    assert data.open_table(tmp_path / "b.parquet").read()["f"].dtype == float


@pytest.mark.parametrize("kind", [".parquet", ".feather", ".csv", "frame"])
@pytest.mark.parametrize("values", [range(30), [1.5, 2.0, 30.0] * 10])
def test_numbers_that_are_categorical_are_classes(tmp_path: Path, kind: str,
                                                  values: Any) -> None:
    df = pd.DataFrame({"x": np.arange(60.0), "y": [*values, *values]})

    def task(**options: Any) -> str:
        target = data.learn(df if kind == "frame" else written(tmp_path, df, kind), "y",
                            **options).target
        assert target is not None
        return target.task

    assert task() == task(categorical=["y"], task="regression") == "regression"
    assert task(categorical=["y"]) == "classification"
    df["y"] = df["y"].astype("category")  # which no CSV says
    assert task() == ("regression" if kind == ".csv" else "classification")
    assert task(task="regression") == "regression"


def test_what_masked_arrays_hide_is_missing() -> None:
    hidden = [False, False, False, True]
    table = {name: np.ma.array(values, mask=hidden) for name, values in {
        "f": [1.0, 2.0, 3.0, 999.0], "i": [1, 2, 3, 999], "b": [True, True, False, False],
        "w": ["u", "v", "u", "other"]}.items()}
    found = data.learn(table).preprocessor
    assert found.feature_names == ["f", "i", "b", "w=u", "w=v"]
    np.testing.assert_array_equal(found.transform(table)[3], [0, 0, 1, 1, 0])
    with pytest.raises(ValueError, match="target 'f' has no value in row 3"):
        data.learn(table, "f")
    with pytest.raises(ValueError, match="target 'f' has no value in row 3"):
        data.Target("f", "regression").encode(table["f"])


@pytest.mark.parametrize("none", [np.nan, float("nan"), None, pd.NA])
def test_nothing_in_a_list_of_words_is_missing(none: Any) -> None:
    table = {"w": ["u", none, "v", "u"], "y": [1.5, 2.0, 3.0, 5.0]}
    found = data.learn(table).preprocessor
    assert found.feature_names == ["w=u", "w=v", "y"]
    np.testing.assert_array_equal(found.transform(table)[:, :2], [[1, 0], [1, 0], [0, 1], [1, 0]])
    with pytest.raises(ValueError, match="column 'w' has no value in row 1"):
        data.learn(table, "y", missing="error")
    with pytest.raises(ValueError, match="target 'w' has no value in row 1"):
        data.learn(table, "w")
    with pytest.raises(ValueError, match="target 'w' has no value in row 1"):
        data.Target("w", "classification", ["nan", "u", "v"]).encode(table["w"])
    assert data.learn(data.open_table(table, drop_missing="w"), "w").n_rows == 3
    table["b"] = [none, True, False, True]
    assert [type(c).__name__ for c in data.learn(table, "y").preprocessor.columns] == [
        "Categorical", "Boolean"]


@pytest.mark.parametrize(("values", "kind"), [
    ([np.bool_(True), None, np.bool_(False)], "boolean"), ([np.int64(3), None, 2.5], "numeric"),
    ([np.float32(1), np.float32("nan")], "numeric"), ([np.str_("u"), "v", None], "categorical"),
    (["u", np.float32("nan"), pd.NaT, "v"], "categorical"), ([None, np.float32("nan")], "empty"),
    ([time(9), None], "datetime"), ([timedelta(9), date(2020, 1, 1)], "datetime"),
    ([True, 1], "numeric"), ([True, "u"], "other"), ([1, "u"], "other"), ([b"u"], "other")])
def test_kinds_of_objects(values: list[Any], kind: str) -> None:
    assert data.open_table({"x": np.array(values, object)}).kinds == {"x": kind}
    if kind == "categorical":
        found = data.learn({"x": np.array(values, object)}).preprocessor
        assert found.feature_names == ["x=u", "x=v"]


@pytest.mark.parametrize("kind", [".parquet", ".feather", "frame"])
def test_dates_are_no_categories(tmp_path: Path, kind: str) -> None:
    df = pd.DataFrame({"d": pd.Categorical(pd.date_range("2020", periods=4)), "y": range(4)})
    source = df if kind == "frame" else written(tmp_path, df, kind)
    assert data.open_table(source).kinds["d"] in ("datetime", "other")
    with pytest.raises(ValueError, match="column 'd' holds"):
        data.learn(source, "y")


@pytest.mark.parametrize("values", [
    [-1.0, 1.0, 2.5], [np.float32(-1), np.float32(1), np.float32(2.5)], ["-1.00", "1.0", "2.5"]])
def test_a_number_is_one_category_however_it_is_written(values: list[Any]) -> None:
    pre = data.learn({"f": np.array([-1, 1, 2.5])}, categorical=["f"]).preprocessor
    assert pre.feature_names == ["f=-1", "f=1", "f=2.5"]
    np.testing.assert_array_equal(pre.transform({"f": np.array(values, object)}), np.eye(3))
    flags = data.learn({"f": np.array([False, True])}, categorical=["f"]).preprocessor
    for both in ([np.bool_(False), np.bool_(True)], ["False", "TRUE"]):
        np.testing.assert_array_equal(flags.transform({"f": np.array(both, object)}), np.eye(2))


def test_dates_to_predict_from_are_told() -> None:
    pre = data.learn({"x": [1.0, 2.0], "c": ["a", "b"]}).preprocessor
    dates = np.array(["2020-01-01", "2020-01-02"], "M8[D]")
    for name in ("x", "c"):
        with pytest.raises(ValueError, match=f"column '{name}' holds dates or times"):
            pre.transform({"x": np.ones(2), "c": np.array(["a", "b"]), name: dates})


def test_a_list_of_booleans_and_other_numbers_is_one_of_numbers() -> None:
    found = data.open_table({"x": [True, np.nan, 2.5]}).read()["x"]
    np.testing.assert_array_equal(found, [1, np.nan, 2.5])


def test_words_of_a_category_may_look_like_numbers_in_another_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("f,y\n1.0,2\n,3\n2.0,5\n")
    p = data.learn(path, "y", categorical=["f"]).preprocessor
    assert p.feature_names == ["f=1", "f=2"]
    np.testing.assert_array_equal(p.transform({"f": np.array([2, 1])}), [[0, 1], [1, 0]])
    path.write_text("f,y\n007,2\n7,3\n")
    assert data.learn(path, "y", categorical=["f"]).preprocessor.feature_names == [
        "f=007", "f=7"]
    p = data.learn({"f": np.array(["1.0", "True", "x"])}).preprocessor
    assert p.feature_names == ["f=1.0", "f=True", "f=x"]  # words stay what they are
    for value in (1.0, True):
        assert p.transform({"f": np.array([value])}).sum() == 1


class Enum:
    """A dtype as polars has it."""

    categories = ("S", "M", "L")


@pytest.mark.parametrize(("values", "known"), [
    ([10, 2, 1, 2], ("1", "2", "10")), ([-1.5, 0.25, -10.0, 3.0], ("-10", "-1.5", "0.25", "3")),
    (["10", "9", "007", "7"], ("007", "7", "9", "10")), (["10", "9", "x", "x"], ("10", "9", "x")),
    (["b", "a", "nan", "1"], ("1", "a", "b", "nan")), (["2", "nan", "10", "2"],
                                                       ("10", "2", "nan")),
    ([True, False, True, True], ("false", "true")),
    (pd.Categorical(["S", "L", "M", "S"], ["S", "M", "L", "XL"], ordered=True), ("S", "M", "L")),
    (pd.Categorical(["S", "L", "M", "S"], ["S", "M", "L", "XL"]), ("L", "M", "S")),
    (pd.Categorical([3, 1, 20, None], [20, 3, 1], ordered=True), ("20", "3", "1")),
    (Polars(["L", "S", "M", "S"], Enum()), ("S", "M", "L"))])
@pytest.mark.parametrize("encoding", ["ordinal", "onehot"])
def test_categories_are_in_the_order_of_their_dtype_or_values(
        values: Any, known: tuple[str, ...], encoding: str) -> None:
    columns = {"c": values if isinstance(values, (Polars, pd.Categorical)) else np.array(values),
               "y": [1.0, 2.5, 3.0, 4.0]}
    table = data.open_table(columns, drop_missing=["y"])
    for source in (columns, table):
        pre = data.learn(source, "y", categorical=["c"], encoding=encoding).preprocessor
        assert pre.columns[0].categories == known
    X = pre.transform({"c": np.array(known)})
    own = np.arange(len(known))[:, None] if encoding == "ordinal" else np.eye(len(known))
    np.testing.assert_array_equal(X, own)
    assert data.Preprocessor.from_dict(pre.to_dict()) == pre
    if encoding == "ordinal" and isinstance(values, list) and isinstance(values[0], int | float):
        np.testing.assert_array_equal(
            pre.transform(columns),
            OrdinalEncoder().fit_transform(np.array(values, float)[:, None]))


def test_a_file_keeps_the_order_of_its_categories() -> None:
    pre = data.Preprocessor([Categorical("c", ("1", "10", "2"), "ordinal")])
    again = data.Preprocessor.from_dict(json.loads(json.dumps(pre.to_dict())))
    np.testing.assert_array_equal(again.transform({"c": [1, 2, 10]}), [[0], [2], [1]])


def test_unknown_categories() -> None:
    train, new = {"c": np.array(["a", "b"])}, {"c": np.array(["b", "z", "a"])}
    with pytest.raises(ValueError, match=r"column 'c' holds 'z' in row 6.*unknown='ignore'"):
        data.learn(train).preprocessor.transform(new, first_row=5)
    for encoding, wanted in (("onehot", [[0, 1], [0, 0], [1, 0]]), ("ordinal", [[1], [-1], [0]])):
        p = data.learn(train, unknown="ignore", encoding=encoding).preprocessor
        p = data.Preprocessor.from_dict(p.to_dict())
        np.testing.assert_array_equal(p.transform(new), wanted)
