"""Features of a table are those of scikit-learn's steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from fastbp import data
from fastbp.data import Boolean, Categorical, Numeric, Preprocessor, columns
from fastbp.data.moments import Moments

from .tables import frame, written


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 200), st.integers(1, 4), st.lists(st.integers(1, 199), max_size=5),
       st.sampled_from([0.0, 1.0, 1e6, -1e9]), st.floats(1e-3, 1e3), st.integers(0, 9))
def test_moments_are_standard_scalers(n: int, k: int, cuts: list[int], offset: float,
                                      spread: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = offset + spread * rng.standard_normal((n, k))
    X[rng.random((n, k)) < 0.1] = np.nan
    X[0] = offset
    found, edges = Moments(k), [0, *sorted(c for c in cuts if c < n), n]
    for lo, hi in zip(edges, edges[1:], strict=False):
        found.add(X[lo:hi])
    known = np.isfinite(X)
    np.testing.assert_array_equal(found.count, known.sum(axis=0))
    np.testing.assert_allclose(found.mean, np.nanmean(X, axis=0), rtol=1e-9, atol=1e-9 * spread)
    several = known.sum(axis=0) > 1
    own = np.nanstd(X, axis=0)[several]
    np.testing.assert_allclose(found.scale()[several], own, rtol=1e-5)


def test_moments_hold_where_sums_of_squares_do_not() -> None:
    X = 1e8 + np.random.default_rng(0).standard_normal((10_000, 1))
    found = Moments(1)
    for i in range(0, 10_000, 97):
        found.add(X[i:i + 97])
    np.testing.assert_allclose(found.scale(), X.std(axis=0), rtol=1e-7)
    flat = Moments(1)
    flat.add(np.full((50, 1), 0.1))
    assert flat.scale()[0] == 1.0 and flat.spread()[0] == 0.0


@pytest.mark.parametrize("dtype", ["f4", "u1", "i2", "?"])
def test_moments_are_of_all_rows_in_double_precision(dtype: str) -> None:
    rng = np.random.default_rng(0)
    X = (rng.normal(1e4, 1, (9000, 2)) if dtype == "f4" else rng.integers(0, 200, (9000, 2))
         ).astype(dtype)
    found = Moments(2)
    found.add(X)
    assert found.count.tolist() == [9000, 9000]
    np.testing.assert_allclose(found.mean, X.mean(axis=0, dtype="f8"), rtol=1e-12)
    np.testing.assert_allclose(found.scale(), X.astype("f8").std(axis=0), rtol=1e-10)


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".feather"])
def test_features_are_scikit_learns(tmp_path: Path, kind: str,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastbp.data.text._BLOCK_BYTES", 2048)
    monkeypatch.setattr("fastbp.data.preprocess._ROWS", 64)
    df = frame()
    path = written(tmp_path, df, kind)
    learned = data.learn(path, "kind")
    assert learned.n_rows == 300 and learned.target is not None
    assert learned.target.classes == ["no", "yes"]
    X = learned.preprocessor.transform(data.open_table(path).read())
    numbers = StandardScaler().fit_transform(df[["age", "income"]])
    words = OneHotEncoder(sparse_output=False).fit_transform(df[["colour"]])
    own = np.column_stack([numbers, words, df["member"]])
    np.testing.assert_allclose(X, own, rtol=1e-5, atol=1e-6)
    assert X.dtype == np.float32 and X.flags.c_contiguous
    assert learned.preprocessor.feature_names == [
        "age", "income", "colour=blue, dark", "colour=green", "colour=red", "member"]
    np.testing.assert_array_equal(learned.target.encode(df["kind"]), df["kind"] == "yes")
    raw = data.learn(path, "kind", standardize=False, encoding={"colour": "ordinal"},
                     drop=["age"]).preprocessor
    own = np.column_stack([df["income"], OrdinalEncoder().fit_transform(df[["colour"]]),
                           df["member"]])
    np.testing.assert_allclose(raw.transform(df), own, rtol=1e-6)


def test_matrices_and_columns_give_the_same_features() -> None:
    X = np.random.default_rng(0).normal(5, 3, (3000, 7)).astype("f4")
    names = [f"x{i}" for i in range(7)]
    for drop in ([], ["x6"], ["x2"]):
        whole = data.learn(columns.Matrix(names, X), drop=drop).preprocessor
        apart = data.learn({n: X[:, i] for i, n in enumerate(names)}, drop=drop).preprocessor
        assert [c.name for c in whole.columns] == [c.name for c in apart.columns]
        a = whole.transform(columns.Matrix(names, X))
        b = whole.transform({n: X[:, i] for i, n in enumerate(names)})
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, apart.transform(columns.Matrix(names, X)), atol=1e-6)
        out = np.full(a.shape, np.nan, "f4")
        assert whole.transform(columns.Matrix(names, X), out=out) is out
        np.testing.assert_array_equal(out, a)
    beside = columns.Matrix(names[:-1], X[:, :-1], {"x6": X[:, -1].astype("f8")})
    for drop in ([], ["x0", "x1"]):
        pre = data.learn(beside, drop=drop).preprocessor
        np.testing.assert_array_equal(
            pre.transform(beside), pre.transform({n: X[:, i] for i, n in enumerate(names)}))
    with pytest.raises(ValueError, match="column 'x6' is missing; the table has 'x0', "):
        pre.transform(columns.Matrix(names[:-1], X[:, :-1]))
    X[5, 3] = np.nan
    filled = whole.transform(columns.Matrix(names, X))
    assert filled[5, 2] == 0  # x2 is dropped; the mean fills
    X[7, 1] = np.inf
    with pytest.raises(ValueError, match="'x1' holds infinity in row 7"):
        whole.transform(columns.Matrix(names, X))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 2100), st.integers(1, 50), st.sampled_from(["f4", "f8", "i2", "u1", ">f4"]),
       st.sampled_from(["f4", "f8"]), st.sampled_from(["", "strided", "readonly"]),
       st.booleans(), st.integers(0, 99))
def test_any_columns_of_numbers_by_their_formula(n: int, k: int, dtype: str, to: str, kind: str,
                                                 hole: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = rng.normal(50, 9, (k, n, 2)).astype(dtype)
    table = {f"x{i}": whole[i, :, 0] if kind == "strided" else whole[i, :, 0].copy()
             for i in range(k)}
    mean, scale = rng.normal(size=k), rng.uniform(0.5, 2, k)
    pre = Preprocessor([Numeric(name, mean[i], scale[i], 7.5)
                        for i, name in enumerate(table)])
    if hole and whole.dtype.kind == "f":
        table["x0"][n // 2] = np.nan
    given = np.nan_to_num(np.column_stack(list(table.values())).astype("f8"), nan=7.5)
    for values in table.values():
        values.flags.writeable = kind != "readonly"
    place = np.full((n + 2, k), 9, to)
    pre.transform(table, out=place[1:-1], dtype=to)
    np.testing.assert_array_equal(place[1:-1], ((given - mean) / scale).astype(to))
    assert (place[[0, -1]] == 9).all()
    wide = np.zeros((n, k + 1), to)
    np.testing.assert_array_equal(pre.transform(table, out=wide[:, 1:], dtype=to), place[1:-1])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_features_have_all_digits_of_their_type(dtype: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(1e6, 1, (2100, 3))
    for mean, scale in ((0.0, 1.0), (1e6, 3.0)):
        pre = Preprocessor([Numeric(name, mean, scale) for name in "abc"])
        for order in (slice(None), slice(None, None, -1)):  # columns beside each other, or not
            names = list("abc"[order])
            found = pre.transform(columns.Matrix(names, X[:, order]), dtype=dtype)
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, ((X - mean) / scale).astype(dtype))
    mixed = Preprocessor([Numeric("a", 1e6, 3.0), Boolean("b", 0.1), Categorical("c", ("u", "v"))])
    found = mixed.transform({"a": X[:, 0], "b": [None, True] * 1050, "c": ["u", "v"] * 1050},
                            dtype=dtype)
    odd = np.arange(2100) % 2
    np.testing.assert_array_equal(found, np.column_stack([
        (X[:, 0] - 1e6) / 3, np.where(odd, 1, 0.1), 1 - odd, odd]).astype(dtype))


words = st.one_of(st.none(), st.text(max_size=3))
values = st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-9, 9))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(values, words, st.sampled_from([True, False, None])), min_size=1,
                max_size=20), st.integers(1, 20))
def test_any_table_with_missing_values(rows: list[Any], piece: int) -> None:
    named = {name: np.array([r[i] for r in rows] + [None], object)[:-1]
             for i, name in enumerate("nwb")}
    empty = [name for name in named if all(v is None for v in named[name])]
    if len(empty) == 3:
        with pytest.raises(ValueError, match="no value in any row"):
            data.learn(named)
        return
    learned = data.learn(named, drop=empty, max_categories=50).preprocessor
    X = learned.transform(named)
    df = pd.DataFrame({name: pd.Series(named[name], dtype=object) for name in "nwb"})
    at = 0
    for entry in learned.columns:
        width, own = len(entry.feature_names), df[entry.name]
        found = X[:, at:at + width]
        if entry.name == "w":
            full = own.fillna(sorted(own.dropna().value_counts().items(),
                                     key=lambda kv: (-kv[1], kv[0]))[0][0])
            cats = sorted(set(full))
            np.testing.assert_array_equal(found, [[w == c for c in cats] for w in full])
        elif entry.name == "n":
            number = own.astype(float)
            full = number.fillna(number.mean())
            scale = number.std(ddof=0)
            scale = scale if scale > 1e-9 * max(1, abs(number.mean())) else None
            if scale is not None:
                np.testing.assert_allclose(found[:, 0], (full - number.mean()) / scale,
                                           rtol=1e-4, atol=1e-4)
        else:
            yes = own.dropna().astype(float)
            np.testing.assert_array_equal(
                found[:, 0], own.astype(float).fillna(float(yes.mean() >= 0.5)))
        at += width
    assert at == learned.n_features == len(learned.feature_names)
    again = data.Preprocessor.from_dict(learned.to_dict())
    np.testing.assert_array_equal(again.transform(named), X)
    assert again == learned and hash(again) == hash(learned)


def test_damaged_descriptions_are_refused() -> None:
    p = data.learn({"c": np.array(["a", "b"]), "x": np.arange(2)}).preprocessor
    good = p.to_dict()
    for bad in ({}, good | {"format": "fastbp-preprocessing-9"}, good | {"columns": [{}]},
                good | {"columns": None}, good | {"columns": []},
                good | {"columns": [{"kind": "numeric", "name": "x", "scale": 0}]},
                good | {"columns": [{"kind": "numeric", "name": "x", "mean": float("nan")}]},
                good | {"columns": [*good["columns"], good["columns"][0]]}):
        with pytest.raises(ValueError):
            data.Preprocessor.from_dict(bad)
    for arguments in (("t", "classification"), ("t", "classification", ["a"]),
                      ("t", "classification", ["a", "a"]),
                      ("t", "classification", [float("nan"), 1.0]),
                      ("t", "classification", [1.0, float("inf")]),
                      ("t", "regression", ["a", "b"]),
                      ("t", "regression", None, 0.0, 0.0), ("t", "art")):
        with pytest.raises(ValueError):
            data.Target(*arguments)
    with pytest.raises(ValueError, match="format"):
        data.Target.from_dict({"format": "fastbp-target-9"})
    with pytest.raises(ValueError, match="damaged"):
        data.Target.from_dict({"format": "fastbp-target-1", "colour": 1})
    target = data.Target("t", "classification", ["a", "b"])
    with pytest.raises(ValueError, match=r"target 't' holds .*'z'.* in row 4"):
        target.encode(np.array(["a", "z"]), first_row=3)
    likewise = data.Target("t", "classification", ["2", "10", "x"])
    assert likewise.encode(np.array([10.0, 2.0])).tolist() == [1, 0]
    with pytest.raises(ValueError, match="has no value in row 1"):
        target.encode(np.array(["a", None], object))


@pytest.mark.parametrize(("place", "change"), [
    (0, {"categories": [], "fill": None}), (0, {"encoding": "binary"}), (0, {"unknown": "guess"}),
    (0, {"fill": "z"}), (0, {"categories": ["a", "a"]}), (1, {"fill": float("nan")}),
    (1, {"scale": float("inf")}), (1, {"scale": -1.0}), (2, {"fill": float("inf")}),
    (2, {"fill": "yes"})], ids=str)
def test_columns_of_other_values_are_refused(place: int, change: dict[str, Any]) -> None:
    good = data.learn({"c": np.array(["a", "b"]), "x": np.arange(2),
                       "b": np.array([True, False])}).preprocessor.to_dict()
    data.Preprocessor.from_dict(good)
    good["columns"][place] |= change
    with pytest.raises(ValueError):
        data.Preprocessor.from_dict(good)


def test_parts_of_a_preprocessor_are_columns_and_words() -> None:
    with pytest.raises(TypeError, match="columns must hold Numeric, .* got 'x'"):
        Preprocessor(["x"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"na_values must be words, got \[3\]"):
        Preprocessor([Numeric("x")], [3])  # type: ignore[list-item]
    described = Preprocessor([Numeric("x")], ["?"]).to_dict()
    with pytest.raises(ValueError, match="damaged"):
        Preprocessor.from_dict(described | {"na_values": [None]})


@pytest.mark.parametrize("column", [Numeric("x", 0.0, 2.0), Numeric("x", 3.0, 1.0),
                                    Numeric("x", 3.0, 2.0, 7.0), Numeric("x")])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_a_matrix_is_shifted_and_scaled(column: Numeric, dtype: str) -> None:
    X = np.array([[1, 5], [2, 6]], dtype)
    found = Preprocessor([column]).transform(columns.Matrix(["x", "other"], X))
    np.testing.assert_array_equal(found[:, 0], (X[:, 0] - column.mean) / column.scale)


@pytest.mark.parametrize("X", [[["1", "u"]], [[1, 3 + 2j]], [["2020-01-01", "2020-01-02"]]])
def test_matrices_of_anything_but_numbers_are_refused_as_columns_are(X: Any,
                                                                     tmp_path: Path) -> None:
    """Of complex numbers half was dropped; words ended in an error of NumPy."""
    whole = np.array(X, "M8[D]" if "2020-01-01" in X[0] else None)
    np.save(tmp_path / "a.npy", whole)
    pre = Preprocessor([Numeric("x0"), Numeric("x1")])
    told = "holds dates or times" if whole.dtype.kind == "M" else "must hold numbers, got "
    for call in (lambda: data.learn(tmp_path / "a.npy", numeric=["x0", "x1"]),
                 lambda: pre.transform(data.open_table(tmp_path / "a.npy").read())):
        with pytest.raises(ValueError, match=f"^column 'x[01]' {told}"):
            call()
    np.save(tmp_path / "a.npy", np.array([["1", "2"], ["3", "4"]]))
    learned = data.learn(tmp_path / "a.npy", numeric=["x0", "x1"]).preprocessor
    np.testing.assert_array_equal(learned.transform(data.open_table(tmp_path / "a.npy").read()),
                                  [[-1, -1], [1, 1]])


def test_tables_stay_as_they_were() -> None:
    pre = Preprocessor([Numeric("x", fill=7.0), data.Boolean("b", fill=1.0)])
    table = {name: np.array([1.0, np.nan, 0.0]) for name in "xb"}
    np.testing.assert_array_equal(pre.transform(table), [[1, 1], [7, 1], [0, 0]])
    assert all(np.isnan(values[1]) for values in table.values())


def test_columns_that_do_not_fit() -> None:
    p = data.learn({"c": np.array(["a", "b"]), "x": np.arange(2), "b": np.array([True, False])},
                   missing="error").preprocessor
    good = {"c": np.array(["a"]), "x": np.array([1.0]), "b": np.array([1])}
    assert p.transform(good).shape == (1, 4)
    for bad, message in (({"c": ["a"], "x": [1.0]}, "column 'b' is missing; the table has"),
                         (good | {"b": [2]}, "'b' must hold true or false, got 2 in row 0"),
                         (good | {"b": ["maybe"]}, "'b' must hold true or false, got 'maybe' in"),
                         (good | {"x": ["u"]}, "'x' must hold numbers, got 'u' in row 0"),
                         (good | {"x": [np.nan]}, "'x' has no value in row 0.*impute"),
                         (good | {"c": [None]}, "'c' has no value in row 0"),
                         (good | {"x": [1e300]}, "feature 'x' is too large for float32"),
                         (good | {"x": [1, 2]}, "different lengths"),
                         (good | {"x": [[1]]}, "must be 1-D")):
        with pytest.raises(ValueError, match=message):
            p.transform({k: np.array(v) for k, v in bad.items()})
    np.testing.assert_array_equal(p.transform(good | {"b": np.array(["True"])}), p.transform(good))
    target = data.learn({"x": np.arange(4.0), "y": np.array([0.0, 1, 0, 1])}, "y").target
    assert target is not None
    for classes, word in ((["1", "2", "none"], "1.0"), (["false", "maybe", "true"], "False")):
        encode = data.Target("t", "classification", classes).encode
        assert encode(np.array([word])) == 0
        with pytest.raises(ValueError, match="none of the classes"):
            encode(np.array(["0.0"]))
    with pytest.raises(ValueError, match="holds 3 in row 1 .* none of the classes"):
        target.encode(np.array([1.0, 3.0]))
    yes = data.Target("t", "classification", [False, True])
    for own, words in ((target, ["0", "1.0", "0"]), (yes, ["False", "true", "false"])):
        np.testing.assert_array_equal(own.encode(np.array(words, object)), [0, 1, 0])
        with pytest.raises(ValueError, match="holds 'x' in row 3 .* none of the classes"):
            own.encode(np.array([*words, "x"], object))  # the odd one, for which all are words
    for out in (np.empty((2, 4), "f4"), np.empty((1, 4))):
        with pytest.raises(ValueError, match="out must be"):
            p.transform(good, out=out)
    assert p.transform(good | {"x": [1e300]}, dtype="float64")[0, 2] > 1e299
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64', got 'int8'"):
        p.transform(good, dtype="int8")


@pytest.mark.parametrize("as_matrix", [False, True])
def test_where_features_cannot_go_is_named(as_matrix: bool) -> None:
    X = np.ones((3, 2), "f4")
    pre = Preprocessor([Numeric("a", 0.5, 2.0), Numeric("b", 0.5, 2.0)])
    table = columns.Matrix(["a", "b"], X) if as_matrix else {"a": X[:, 0].copy(),
                                                             "b": X[:, 1].copy()}
    still = np.zeros((3, 2), "f4")
    still.flags.writeable = False
    with pytest.raises(ValueError, match="out must be .*read-only"):
        pre.transform(table, out=still)
    assert not still.any()
    with pytest.raises(TypeError, match="out must be a NumPy array, got list"):
        pre.transform(table, out=still.tolist())  # type: ignore[arg-type]


def test_whole_numbers_of_many_digits_scale_and_fill_a_column() -> None:
    for column in (Numeric("a", mean=10**30, scale=10**30, fill=10**30),
                   Numeric("a", mean=1e30, scale=1e30, fill=1e30)):
        X = Preprocessor([column]).transform({"a": np.array([0.0, np.nan, 1e30])})
        np.testing.assert_allclose(X, [[-1], [0], [0]])
