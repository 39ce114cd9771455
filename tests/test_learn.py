"""What is learnt of a table: its task and its target; what cannot be learnt from."""

from __future__ import annotations

import warnings
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fastbp import Dense, Model, Network, data, load_model
from fastbp.data import index
from fastbp.data.table import ROWS

from .tables import written


@pytest.mark.parametrize(("values", "task", "classes"), [
    (np.array(["b", "a"] * 5), "classification", ["a", "b"]),
    (np.array([True, False] * 5), "classification", [False, True]),
    (np.array([3, 1, 2] * 5), "classification", [1, 2, 3]),
    (np.array([3.0, 1.0] * 5), "classification", [1, 3]),
    (np.array([0.5, 1.0] * 5), "regression", None), (np.arange(10), "regression", None),
    (np.arange(2000) // 2, "regression", None), (np.arange(4000) // 2, "regression", None),
    (np.array([1, 2] * 5, object), "classification", [1, 2])])
def test_the_task_is_guessed(values: np.ndarray, task: str, classes: Any) -> None:
    x = np.arange(len(values))
    found = data.learn({"x": x, "y": values}, "y").target
    assert found is not None and (found.task, found.classes) == (task, classes)
    assert data.Target.from_dict(found.to_dict()).to_dict() == found.to_dict()
    if classes:
        indices = found.encode(values)
        assert indices.dtype == np.int64
        np.testing.assert_array_equal(found.decode(indices), values)
        np.testing.assert_array_equal(found.decode(np.eye(len(classes))[indices]), values)
    else:
        T = found.encode(values)
        assert T.shape == (len(values), 1) and T.dtype == np.float32
        assert abs(T.mean()) < 1e-5 and abs(T.std() - 1) < 1e-5
        np.testing.assert_allclose(found.decode(T), values, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("classes", [[1, 2**63, 2**63 + 1], [-1, 2**63, 2**63 + 1], [1, 2]])
def test_whole_numbers_as_classes_come_back_as_they_are(classes: list[int]) -> None:
    target = data.Target("y", "classification", classes)
    found = target.decode(np.arange(len(classes)))
    assert found.tolist() == classes and found.dtype.kind == ("O" if min(classes) < 0 else
                                                             "u" if max(classes) > 2 else "i")


@pytest.mark.parametrize("name", [0, "", "y", -1])
def test_the_target_may_have_any_name_of_a_column(name: Any) -> None:
    found = data.learn({name: np.array(["a", "b"] * 5), "x": np.arange(10.0)}, name)
    assert found.target is not None and found.target.name == name
    assert found.preprocessor.feature_names == ["x"]


def test_names_that_are_integers_of_numpy_are_kept_in_files(tmp_path: Path) -> None:
    df = pd.DataFrame(np.random.default_rng(0).random((20, 5))).drop(columns=1)
    for names in (df.columns[-2:], np.array([3, 4])):
        target, weight = names
        found = data.learn(df, target, weight=weight, numeric=[np.int64(0)])
        assert found.target is not None and type(found.target.name) is int
        assert found.preprocessor.names == [0, 2]
        network = Network([Dense(2, 1)], "MSELoss")
        Model(network, found.preprocessor, found.target).save(tmp_path / "m.safetensors")
        again = load_model(tmp_path / "m.safetensors")
        assert again.target is not None and again.target.name == 3
        np.testing.assert_array_equal(again.predict(df), again.predict(dict(df)))


@pytest.mark.parametrize("name", [("k", "a"), np.int64(0), None, 1.5])
def test_names_that_no_model_file_keeps_are_refused(name: Any) -> None:
    t = {name: np.arange(10.0), "x": np.arange(10.0), "y": np.array(["a", "b"] * 5)}
    with pytest.raises(TypeError, match="names of columns must be strings or integers, got"):
        data.learn(t, "y")
    assert data.learn(t, "y", drop=[name]).preprocessor.feature_names == ["x"]


def test_rows_are_read_as_what_they_were_learnt_as(tmp_path: Path) -> None:
    """A postcode with a leading zero is no number, where it is said to be none."""
    lines = [f"{code},{'no' if code == '01' else 'yes'}" for code in ("01", "1") * 5]
    (tmp_path / "codes.csv").write_text("\n".join(["code,y", *lines, ""]))
    t = data.open_table(tmp_path / "codes.csv")
    pre, target, _ = data.learn(t, "y", categorical=["code"])
    rows = pre.typed(t).read()
    np.testing.assert_array_equal(pre.transform(rows), np.eye(2)[target.encode(rows["y"])])


@pytest.mark.parametrize("rows", [10, 60, 5000])
def test_a_constant_target_is_refused_whatever_its_rounding(rows: int) -> None:
    y = np.full(rows, 0.1)
    with pytest.raises(ValueError, match=r"target 'y' is 0\.1 in every row"):
        data.learn({"x": np.arange(rows), "y": y}, "y")
    y[0] = np.nextafter(np.float32(0.1), np.float32(1))  # small is not constant
    assert data.learn({"x": np.arange(rows), "y": y}, "y").target is not None


def test_the_task_can_be_said() -> None:
    t = {"x": np.arange(6), "y": np.array([1, 2, 1, 2, 1, 2])}
    found = data.learn(t, "y", task="regression").target
    assert found is not None and found.mean == 1.5 and found.scale == 0.5
    found = data.learn(t | {"y": np.array([1.5, 2, 1.5, 2, 2, 2])}, "y",
                       task="classification").target
    assert found is not None and found.classes == [1.5, 2.0]
    assert found.decode([[0.2], [0.8]]).tolist() == [1.5, 2.0]


@pytest.mark.parametrize(("rows", "distinct", "task"), [
    (40, 20, "classification"), (39, 20, "regression"), (42, 21, "regression"),
    (4, 2, "classification"), (3, 2, "regression")])
def test_few_whole_numbers_are_classes(rows: int, distinct: int, task: str) -> None:
    found = data.learn({"x": np.arange(rows), "y": np.arange(rows) % distinct}, "y").target
    assert found is not None and found.task == task


def test_as_many_categories_and_classes_as_are_allowed() -> None:
    t = {"x": np.array(["a", "b", "c", "c"] * 250), "y": np.array([f"k{i}" for i in range(1000)])}
    learned = data.learn(t, "y", max_categories=3)
    assert learned.target is not None and learned.target.n_outputs == 1000
    assert learned.preprocessor.feature_names == ["x=a", "x=b", "x=c"]


@pytest.mark.parametrize("names", [("c", "d"), (0, 1)])
def test_columns_that_encoding_does_not_name_are_onehot(names: tuple[Any, Any]) -> None:
    t = {name: np.array(["a", "b", "a"]) for name in names} | {"y": [1.0, 2.0, 4.0]}
    pre = data.learn(t, "y", encoding={names[0]: "ordinal"}).preprocessor
    assert pre.feature_names == [names[0], f"{names[1]}=a", f"{names[1]}=b"]
    for name in (0, "", "e"):  # also names that count as false
        if name not in names:
            with pytest.raises(ValueError, match=f"column {name!r} is missing"):
                data.learn(t, "y", encoding={name: "ordinal"})


def test_one_output_above_the_threshold_is_the_second_class() -> None:
    decode = data.Target("y", "classification", ["no", "yes"]).decode
    P = np.array([[0.5], [0.6], [0.9]])
    assert decode(P).tolist() == ["no", "yes", "yes"]
    assert decode(P, 0.6).tolist() == ["no", "no", "yes"]
    assert decode(P, 0.0).tolist() == ["yes"] * 3


def test_targets_are_columns_of_numbers_that_are_finite() -> None:
    target = data.Target("y", "regression", None, 1.0, 2.0)
    for values in ([3, 5], [[3], [5]]):
        np.testing.assert_array_equal(target.encode(np.array(values)), [[1], [2]])
    with pytest.raises(ValueError, match=r"target 'y' must be 1-D, got shape \(2, 2\)"):
        target.encode(np.ones((2, 2)))
    with pytest.raises(ValueError, match="'y' holds infinity in row 11 "):
        target.encode(np.array([1, np.inf]), first_row=10)
    for mean, scale in ((np.nan, 1), (np.inf, 1), (0, -1), (0, np.inf), (0, np.nan)):
        with pytest.raises(ValueError, match=f"target 'y' has mean {mean}, scale {scale}"):
            data.Target("y", "regression", None, mean, scale)


X3 = np.arange(3)


@pytest.mark.parametrize(("columns", "options", "message"), [
    ({"x": X3, "y": ["a"] * 3}, {}, "target 'y' has one class only, 'a'"),
    ({"x": X3, "y": [1.5] * 3}, {}, "target 'y' is 1.5 in every row"),
    ({"x": X3, "y": ["a", None, "b"]}, {}, "target 'y' has no value in row 1"),
    ({"x": X3, "y": [1, 2, np.nan]}, {}, "target 'y' has no value in row 2"),
    ({"x": X3, "y": ["1", "2", "u"]}, {"task": "regression"}, "'y' must hold numbers, got 'u'"),
    ({"x": X3, "y": ["a", 1, "b"]}, {}, "'y' holds neither numbers, words nor"),
    ({"x": X3, "y": X3.astype("M8[D]")}, {}, "target 'y' holds dates or times: turn them into"),
    ({"x": X3, "y": [None] * 3}, {}, "target 'y' has no value in any row"),
    ({"x": X3, "z": X3}, {}, "column 'y' is missing"),
    ({"y": X3}, {}, "one column found: is the delimiter right"),
    ({"x": X3, "y": X3}, {"drop": ["q"]}, "column 'q' is missing"),
    ({"x": X3, "y": X3}, {"numeric": ["q"]}, "column 'q' is missing"),
    ({"x": X3, "y": X3}, {"categorical": ["q"]}, "column 'q' is missing"),
    ({"x": X3, "y": X3}, {"drop": ["y"]}, "among the columns to drop"),
    ({"x": [None] * 3, "y": X3}, {}, r"'x' has no value in any row.*drop=\['x'\]"),
    ({"x": [np.nan] * 3, "y": X3}, {}, "'x' has no value in any row"),
    ({"x": [1, np.nan, 2], "y": X3}, {"missing": "error"}, "'x' has no value in row 1"),
    ({"x": ["a", "b", None], "y": X3}, {"missing": "error"}, "'x' has no value in row 2"),
    ({"x": ["a", "b", "c"], "y": X3}, {"max_categories": 2},
     r"more than 2 different values.*drop=\['x'\]\), or allow more than max_categories=2$"),
    ({"x": [*map(str, range(20)), "?"], "y": [*range(21)]}, {"max_categories": 20},
     r"max_categories=20; nearly all are numbers, beside '\?': leave such cells empty"),
    ({"x": [0.5] * 1001, "y": [*map(str, range(1000)), "n/a"]}, {},
     "too many classes; nearly all are numbers, beside 'n/a': leave"),
    ({"x": [1, np.inf, 2], "y": X3}, {}, "'x' holds infinity in row 1"),
    ({"x": np.array(["2020-01-01"] * 3, "M8[D]"), "y": X3}, {}, r"dates or times.*drop=\['x'\]"),
    ({"x": [date(2020, 1, 1), None, date(2020, 1, 2)], "y": X3}, {}, "'x' holds dates or times"),
    ({"x": pd.date_range("2020", periods=3, tz="UTC"), "y": X3}, {}, "'x' holds dates or times"),
    ({"x": [(1,), (2,), (3,)], "y": X3}, {}, "must be 1-D|neither numbers"),
    ({"x": X3, "y": X3}, {"missing": "guess"}, "missing must be one of"),
    ({"x": X3, "y": X3}, {"task": "art"}, "task must be one of"),
    ({"x": X3, "y": X3}, {"encoding": "binary"}, "encoding must be one of"),
    ({"x": X3, "y": X3}, {"unknown": "guess"}, "unknown must be one of"),
    ({"x": X3, "y": X3}, {"max_categories": 0}, "max_categories"),
    ({"x": X3, "y": X3}, {"drop": "x"}, "drop must be a sequence of column names"),
    ({"x": X3, "y": X3}, {"drop": 3}, "drop must be a sequence of column names, got 3"),
    ({"x": X3, "y": X3}, {"encoding": ["onehot"]}, "encoding must be a string, or a dict"),
    ({"x": X3, "y": X3}, {"encoding": {"x": "ordinal"}}, "encoding names column 'x', which"),
    ({"x": X3, "y": X3}, {"numeric": ["x"], "categorical": ["x"]}, "'x' is in both"),
    ({"x": X3, "y": np.array([2.0**53, 1, 2])}, {"task": "classification"}, "holds whole .*53"),
    ({"x": X3, "y": np.array([-2.0**53, 1, 2])}, {"task": "classification"}, "holds whole .*53"),
    ({"x": [1e200, 2, 3], "y": X3}, {}, "column 'x' holds numbers too large to square"),
    ({"x": [1.7e308, 1.7e308, 1e308], "y": X3}, {"standardize": False},
     r"column 'x' holds numbers too large to add up \(beyond 1e304 or so\), which have no mean"),
    ({"x": X3, "y": [-1e160, 0.5, 1e308]}, {"task": "regression"},
     "target 'y' holds numbers too large to square"),
    ({"x": X3, "y": [1e-200, 2e-200, 3e-200]}, {"task": "regression"},
     "'y' holds numbers from 1e-200 to 3e-200, too close together for a standard deviation"),
    ({"x": X3, "y": np.array([1, 2, np.inf])}, {"task": "classification"},
     "'y' holds infinity in row 2"),
    ({"x": ["1", "2", "1_000"], "y": X3}, {"numeric": ["x"]},
     "'x' must hold numbers, got '1_000' in row 2"),
    ({"x": np.array(["1", "2", "1_000"]), "y": X3}, {"numeric": ["x"]},
     "'x' must hold numbers, got '1_000' in row 2"),
    ({"x": [1, None, 10**400], "y": X3}, {"numeric": ["x"]},
     "'x' must hold numbers, got 10{400} in row 2"),
    ({"x": [1, None, b"1_0"], "y": X3}, {"numeric": ["x"]},
     "'x' must hold numbers, got b'1_0' in row 2"),
    ({"x": X3, "y": X3}, {"standardize": 1}, "standardize must be")])
def test_what_cannot_be_learnt_from(columns: Any, options: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        data.learn({k: np.array(v, object) if isinstance(v, list) else v
                    for k, v in columns.items()}, "y", **options)
    assert "\n" not in str(caught.value)


def test_numbers_that_are_not_standardized_need_no_standard_deviation() -> None:
    found = data.learn({"x": np.array([1e160, 2e160]), "y": np.array([0.5, 1])}, "y",
                       standardize=False)
    assert found.preprocessor.columns == (data.Numeric("x", fill=1.5e160),)


def test_columns_that_begin_late_are_not_called_empty(tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"target must be the name of a column, got \['y'\]"):
        data.learn({"x": X3, "y": X3}, ["y"])  # type: ignore[arg-type]
    monkeypatch.setattr("fastbp.data.text._BLOCK_BYTES", 64)
    path = tmp_path / "late.csv"
    path.write_text("s,y\n" + ",1\n" * 60 + "a,2\nb,3\n")
    with pytest.raises(ValueError, match=r"'s' has no value in the first 4 MiB: drop .*, or say"):
        data.learn(path, "y")
    assert data.learn(path, "y", categorical=["s"]).preprocessor.feature_names == ["s=a", "s=b"]
    with pytest.raises(ValueError, match="target 's' has no value in the first 4 MiB"):
        data.learn(path, "s")
    for end, rows in ((".csv", "any row"), (".csv.gz", "the first 4 MiB")):  # as far as one sees
        few = written(tmp_path, pd.DataFrame({"s": [None] * 2, "y": [1, 2]}), end)
        with pytest.raises(ValueError, match=f"'s' has no value in {rows}: drop"):
            data.learn(few, "y")


def test_dates_in_files_are_refused_by_name(tmp_path: Path) -> None:
    df = pd.DataFrame({"when": pd.date_range("2020", periods=4), "x": [1, 2, 3, 4],
                       "y": ["a", "b"] * 2})
    for kind in (".csv", ".parquet", ".arrow"):
        path = written(tmp_path, df, kind)
        with pytest.raises(ValueError, match="column 'when' holds dates or times"):
            data.learn(path, "y")
        assert data.learn(path, "y", drop=["when"]).preprocessor.feature_names == ["x"]


def test_columns_of_a_data_frame_that_share_a_name_are_told() -> None:
    """pandas gives both where one is asked for: "must be 1-D" said nothing of why."""
    pd = pytest.importorskip("pandas")
    good = pd.DataFrame({"a": range(20), "b": range(20), "y": ["u", "v"] * 10})
    twice = pd.concat([good, good[["a"]]], axis=1)
    pre = data.learn(good, "y").preprocessor
    for call in (lambda: data.learn(twice, "y"), lambda: pre.transform(twice)):
        with pytest.raises(ValueError, match="^the table has 2 columns named 'a'"):
            call()
    with pytest.raises(ValueError, match="column 'a' must be 1-D"):
        data.learn({"a": good[["a"]], "y": good["y"]}, "y")


def test_numbers_of_an_index_are_compared_below_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MOST", 100)
    found, mixed = index.Indices(["", "x", "Unnamed: 3"]), np.arange(400)[::-1]
    for at in range(0, 400, 20):
        piece = dict.fromkeys(("", "x", "Unnamed: 3"), mixed[at:at + 20])
        found.add(piece, at)
    assert all(len(one.seen) == 100 for one in found.found.values())
    grown = index.Indices([""])
    for at in (0, 10, 37, 38, 74, 75, 99, 98, 150):
        grown.add({"": np.array([at])}, at)
    assert list(grown.found) == [""]
    grown.add({"": np.array([75])}, 200)
    assert not grown.found
    used = index.Indices(["index", "level_3"])  # of these nothing is kept
    used.add(dict.fromkeys(("index", "level_3"), np.arange(20)), 0)
    assert not any(len(one.seen) for one in used.found.values()) and len(used.found) == 2
    found.add({"": mixed[:20], "Unnamed: 3": mixed[380:]}, 400)
    assert list(found.found) == [""]  # its numbers are beyond the bound
    found.add({"": np.array([500, 500])}, 420)
    assert not found.found  # within a piece all are compared


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "Unnamed: 12", "Unnamed: 0.1", "index",
                                  "level_0", "__index_level_0__"])
def test_a_column_that_counts_rows_as_an_index_is_told(name: str) -> None:
    """In sorted rows it tells the target, and no row to predict has such a number."""
    n = 2 * ROWS + 5  # the rows come in pieces

    def told(of: Any, **options: Any) -> list[Any]:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            data.learn({name: of, "x": np.arange(n), "y": np.arange(n) % 3}, "y", **options)
        return found

    for start in (0, 1, 7):
        (found,) = told(np.arange(start, start + n))
        assert str(found.message) == (
            f"column {name!r} counts rows from {start} on, as an index that was written with "
            f"the table: leave it out (drop=[{name!r}]), or it becomes a feature")
        assert found.filename == __file__
    assert len(told(np.arange(n) + 0.0)) == 1
    gaps = np.arange(n) * 3 + 2_000_000  # of rows that were dropped
    assert "counts rows from 2000000 on" in str(told(gaps)[0].message)
    other, late, half = np.arange(n), np.arange(n), np.arange(n) * 1.0
    other[3], late[ROWS], half[-1] = 4, ROWS - 1, n + 0.5
    missing = np.where(np.arange(n) == 5, np.nan, np.arange(n))
    for of in (other, late, half, np.zeros(n), np.where(np.arange(n) == 5, 7.0, np.nan)):
        assert not told(of)
    mixed = np.random.default_rng(0).permutation(2 * n)[:n]  # as ``train_test_split`` does
    if name in ("index", "level_0"):  # people use these, too
        assert not [of for of in (missing, gaps[::-1], mixed) if told(of)]
    else:
        assert "counts rows from 0 on" in str(told(missing)[0].message)
        for of in (mixed, gaps[::-1], np.where(np.arange(n) == 5, np.nan, mixed)):
            assert (f"column {name!r} numbers rows from {np.nanmin(of):.0f} to "
                    f"{np.nanmax(of):.0f} in another order, as an index that was written with "
                    f"the table: leave it out (drop=[{name!r}])") in str(told(of)[0].message)
        twice, early = mixed.copy(), mixed.copy()
        twice[-1], early[1] = mixed[0], mixed[0]
        assert not told(twice) and not told(early) and not told(mixed - n)
    assert not told(np.arange(n), drop=[name])
    assert not told(np.arange(n), numeric=[name])
