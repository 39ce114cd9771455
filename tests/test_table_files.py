"""Tables of any kind of file are read as they were written; what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from fastbp import data, datasets
from fastbp.data import arrow, columns, npy

from .tables import FILES, frame, written


@pytest.mark.parametrize("kind", FILES)
def test_files_are_what_pandas_wrote(tmp_path: Path, kind: str,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastbp.data.text._BLOCK_BYTES", 2048)  # several blocks of text
    df = frame()
    found = data.open_table(written(tmp_path, df, kind))
    assert found.kinds == {"age": "numeric", "income": "numeric", "colour": "categorical",
                           "member": "boolean", "kind": "categorical"}
    assert found.n_rows in (None, len(df)) and (found.n_rows is None) == ("sv" in kind)
    assert found.n_parts == (1 if "sv" in kind else 5)
    whole = found.read()
    for name in df:
        np.testing.assert_array_equal(whole[name], df[name].to_numpy())
    pieces = list(found.batches(["income", "kind"], rows=64))
    assert len(pieces) >= 5 and all(set(p) == {"income", "kind"} for p in pieces)
    assert max(len(p["kind"]) for p in pieces) <= 64
    np.testing.assert_array_equal(np.concatenate([p["income"] for p in pieces]), df["income"])


@pytest.mark.parametrize("kind", FILES)
def test_missing_values_are_nan_or_none(tmp_path: Path, kind: str) -> None:
    df = pd.DataFrame({"n": [1.0, np.nan, 3.0], "w": ["a", None, "b"],
                       "b": pd.array([True, None, False], dtype="boolean"),
                       "i": pd.array([1, 2, None], dtype="Int64")})
    whole = data.open_table(written(tmp_path, df, kind)).read()
    np.testing.assert_array_equal(whole["n"], [1, np.nan, 3])
    np.testing.assert_array_equal(whole["b"].astype(float), [1, np.nan, 0])
    np.testing.assert_array_equal(whole["i"], [1, 2, np.nan])
    assert whole["w"].tolist() == ["a", None, "b"]


def test_a_missing_column_is_told_beside_those_of_a_long_frame() -> None:
    with pytest.raises(ValueError, match=r"the table has 'a', 'b'$"):
        columns.column(pd.DataFrame({"a": range(20), "b": range(20)}), "c")


def test_npy_and_npz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy, "_PART_BYTES", 100)
    X = np.arange(60, dtype="f4").reshape(20, 3)
    np.save(tmp_path / "X.npy", X)
    found = data.open_table(tmp_path / "X.npy")
    assert (found.names, found.n_rows, found.n_parts) == (["x0", "x1", "x2"], 20, 3)
    np.testing.assert_array_equal(found.read()["x1"], X[:, 1])
    np.testing.assert_array_equal(next(found.part(2))["x0"], X[16:, 0])
    fields = np.array([(1, 2.5), (3, 4.5)], [("a", "i4"), ("b", "f8")])
    np.save(tmp_path / "fields.npy", fields)
    assert data.open_table(tmp_path / "fields.npy").read()["b"].tolist() == [2.5, 4.5]
    np.savez(tmp_path / "d.npz", X=X.reshape(20, 3, 1), y=np.arange(20))
    both = data.open_table(tmp_path / "d.npz")
    assert both.names == ["x0", "x1", "x2", "y"] and both.target == "y"
    np.testing.assert_array_equal(both.read()["y"], np.arange(20))
    np.savez(tmp_path / "e.npz", u=np.arange(3), v=np.array(["a", "b", "c"]))
    assert data.open_table(tmp_path / "e.npz").kinds == {"u": "numeric", "v": "categorical"}


def test_shapes_of_numpy_files(tmp_path: Path) -> None:
    X = np.arange(24.0).reshape(4, 3, 2)
    np.save(tmp_path / "a.npy", X)
    found = data.open_table(tmp_path / "a.npy")
    assert found.names == [f"x{i}" for i in range(6)] and found.n_rows == 4
    np.testing.assert_array_equal(found.read()["x5"], X[:, 2, 1])
    np.save(tmp_path / "a.npy", X[:, 0, 0])
    np.testing.assert_array_equal(data.open_table(tmp_path / "a.npy").read()["x0"], X[:, 0, 0])
    for empty in (np.ones((0, 3)), np.ones((3, 0)), np.array(1.0)):
        np.save(tmp_path / "a.npy", empty)
        with pytest.raises(ValueError, match=r"a\.npy has no rows: shape"):
            data.open_table(tmp_path / "a.npy")
    for arrays, target in (({"X": X}, None), ({"X": X, "y": np.ones((4, 1))}, "y"),
                           ({"a": X[:, 0, 0], "y": np.ones(4)}, "y"),
                           ({"a": X[:, 0, 0]}, None)):
        np.savez(tmp_path / "a.npz", **arrays)
        found = data.open_table(tmp_path / "a.npz")
        assert found.target == target
        assert target is None or found.read()["y"].tolist() == [1.0] * 4
    for arrays in ({}, {"X": X, "z": np.ones(4)}, {"X": X, "y": np.ones(4), "z": np.ones(4)}):
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(ValueError, match=r"a\.npz must hold arrays X \(n, m\) and y \(n,\)"):
            data.open_table(tmp_path / "a.npz")


@pytest.mark.parametrize("kind", [".parquet", ".feather"])
def test_columns_as_other_libraries_write_them(tmp_path: Path, kind: str) -> None:
    def file(table: Any) -> Path:
        path = tmp_path / f"a{kind}"
        (pa.parquet.write_table if kind == ".parquet" else pa.feather.write_feather)(table, path)
        return path

    found = data.open_table(file(pa.table({"w": pa.array(["u", None], pa.large_string()),
                                           "n": pa.nulls(2), "h": pa.array([1, 2], pa.float32()),
                                           "x": pa.array([[1], [2]]),
                                           "t": pa.array([1, 2], pa.time32("s")),
                                           "d": pa.array([1, 2], pa.duration("s"))})))
    assert found.kinds == {"w": "categorical", "n": "empty", "h": "numeric", "x": "other",
                           "t": "datetime", "d": "datetime"}
    assert found.read(["w", "n"])["w"].tolist() == ["u", None]
    assert found.read(["n"])["n"].tolist() == [None, None]
    df = frame(20)
    kept = pa.Table.from_pandas(df[df["member"]])  # whose index has become a column
    assert len(kept.schema) > len(df.columns)
    assert data.open_table(file(kept)).names == list(df)
    with pytest.raises(ValueError, match=f"a{kind} has no rows"):
        data.open_table(file(pa.table({"x": pa.array([], pa.float64())})))


@pytest.mark.parametrize("name", ["a.tsv.csv", "a.csv.tsv", "a.parquet.csv", "a.tsv.txt"])
def test_the_last_ending_tells_the_format(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x,y\n1,2\n".replace(",", "\t" if name[-3:] == "tsv" else ","))
    assert data.open_table(tmp_path / name).kinds == {"x": "numeric", "y": "numeric"}


def test_bundled_names_and_tables_in_memory() -> None:
    iris = data.open_table("iris")
    assert iris.target == "target" and iris.n_rows == 150
    assert set(iris.read()["target"]) == {"setosa", "versicolor", "virginica"}
    assert data.open_table(iris) is iris
    for name in datasets.DATASETS:
        found = data.open_table(name)
        assert found.target in found.names
        assert f'"{name}"' in str(data.open_table.__doc__)
    df = frame(5)
    assert data.open_table(df).names == list(df)
    np.testing.assert_array_equal(data.open_table({"a": [1, 2]}).read()["a"], [1, 2])
    with pytest.raises(TypeError, match=r"of pandas, got .*pyarrow\.lib\.Table'>: give its "
                                        r"\.to_pandas\(\) or \.to_pydict\(\)"):
        data.learn(pa.table({"a": [1, 2]}))


@pytest.mark.parametrize("classes", [[3, 5], [False, True], [0.5, 1.0], ["a", "b"]])
def test_classes_may_be_an_array(classes: list[Any]) -> None:
    target = data.Target("y", "classification", np.array(classes))  # type: ignore[arg-type]
    again = data.Target.from_dict(json.loads(json.dumps(target.to_dict())))
    assert again.classes == classes and list(map(type, again.classes)) == list(map(type, classes))


@pytest.mark.parametrize("names", [np.array, pd.Index, pd.Series])
def test_names_of_columns_may_be_an_array(names: Any) -> None:
    t = {"a": [1, 2, 1, 2], "b": [3, 4, 5, 6], "c": [0.5, 1.0, 1.5, 2.0], "y": [0, 1, 0, 1]}
    found = data.learn(t, "y", categorical=names(["a", "b"]), drop=names(["c"])).preprocessor
    assert found == data.learn(t, "y", categorical=["a", "b"], drop=["c"]).preprocessor
    assert list(data.open_table("iris").read(names(["target"]))) == list(
        data.open_table("iris").read(["target"]))


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.csv", b"", "is an empty file"), ("a.parquet", b"", "is an empty file"),
    ("a.csv", b"x,y\n", "has a header but no rows"),
    ("a.csv", b"x;y;z\n1;2;3\n", r"one column found, 'x;y;z', with delimiter ','.*delimiter=';'"),
    ("a.tsv", b"x,y\n1,2\n", r"one column found.*delimiter=','"),
    ("a.csv", "\ufeffx;größe\r\n1,5;2\r\n".encode(), r"one column found, 'x;größe',.*='\;'"),
    ("a.csv", "x,größe\n1,2\n".encode("latin-1"),
     "the header is not UTF-8: save the file as UTF-8, or .*charset='cp1252'"),
    ("a.csv", "x,y\n1,café\n".encode("latin-1"), "is not UTF-8, save it as UTF-8.*'y'"),
    ("a.csv", "\ufeffx\ty\n1\t2\n".encode("utf-16-le"), "is UTF-16, save it as UTF-8"),
    ("a.csv", "\ufeffx,y\n1,2\n".encode("utf-16-be"), "is UTF-16, save it as UTF-8"),
    ("a.csv", b"x,x\n1,2\n", "two columns named 'x'"),
    ("a.csv", b"x,y\n1,2\n1,2,3\n", "not a readable CSV"),
    ("a.parquet", b"PAR1 and no more", "not a readable Parquet file, or cut short"),
    ("a.arrow", b"ARROW1 and no more", "not a readable Arrow file, or cut short"),
    ("a.npy", b"\x93NUMPY", "not a readable .npy file"),
    ("a.npz", b"PK\x03\x04 and no more", "not a readable .npz file"),
    ("a.xlsx", b"PK", r"\.xlsx is none of \.csv"), ("a", b"x", "nor a bundled name .*iris")])
def test_bad_files_are_one_line_with_their_name(tmp_path: Path, name: str, content: bytes,
                                                message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        data.open_table(tmp_path / name).read()
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


class Counting:
    """A schema that counts how often its names, a list each time, are asked for."""

    pandas_metadata, asked = None, 0

    def __init__(self, names: list[str]) -> None:
        self.schema = pa.schema([(name, pa.float64()) for name in names])

    def __iter__(self) -> Any:
        return iter(self.schema)

    def __len__(self) -> int:
        return len(self.schema)

    @property
    def names(self) -> list[str]:
        self.asked += 1
        return self.schema.names


def test_a_wide_file_is_not_searched_for_each_of_its_names() -> None:
    schema = Counting([f"x{i}" for i in range(100)])
    assert list(arrow.kinds_of(schema, Path("a"))) == schema.schema.names
    assert schema.asked <= 1
    with pytest.raises(ValueError, match="two columns named 'x2'"):
        arrow.kinds_of(Counting(["x1", "x2", "x3", "x2"]), Path("a"))


def test_files_cut_short(tmp_path: Path) -> None:
    df = frame(2000)
    for kind in (".parquet", ".arrow"):
        path = written(tmp_path, df, kind)
        whole = path.read_bytes()
        for share in (0.3, 0.9):
            path.write_bytes(whole[:int(len(whole) * share)])
            with pytest.raises(ValueError, match="cut short"):
                data.open_table(path).read()
    damaged = bytearray(whole_parquet := written(tmp_path, df, ".parquet").read_bytes())
    damaged[100:4000] = bytes(3900)  # the footer is whole, pages are not
    assert len(damaged) == len(whole_parquet)
    (tmp_path / "data.parquet").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"data\.parquet"):
        data.open_table(tmp_path / "data.parquet").read()
    np.save(tmp_path / "X.npy", np.ones((100, 10)))
    content = (tmp_path / "X.npy").read_bytes()
    opened = data.open_table(tmp_path / "X.npy")
    (tmp_path / "X.npy").write_bytes(content[:-1000])
    with pytest.raises(ValueError, match="ends in row 87, it should have 100"):
        opened.read()
    with pytest.raises(ValueError, match=r"not a readable \.npy file"):
        data.open_table(tmp_path / "X.npy")


@pytest.mark.parametrize("kind", [*FILES, "npy"])
def test_a_relative_path_keeps_its_place(tmp_path: Path, kind: str,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    df = frame()[["age", "income"]]
    if kind == "npy":
        np.save(tmp_path / "t.npy", np.ascontiguousarray(df))
        path = tmp_path / "t.npy"
    else:
        path = written(tmp_path, df, kind)
    monkeypatch.chdir(tmp_path)
    found = data.open_table(path.name)
    monkeypatch.chdir("/")
    assert found.label == path.name
    whole = found.read(), found.typed(numbers=["age"], na_values=["-"]).read()
    for table in whole:
        np.testing.assert_array_equal([*table.values()], df.to_numpy().T)


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".arrow"])
def test_files_that_are_gone_are_not_called_cut_short(tmp_path: Path, kind: str) -> None:
    table = data.open_table(path := written(tmp_path, frame(9), kind))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.name):
        table.read()


def test_other_files_of_arrow_are_named(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2]})
    with pa.ipc.new_stream(str(tmp_path / "s.arrow"), table.schema) as out:
        out.write_table(table)
    with pytest.raises(ValueError, match=r"s\.arrow is an Arrow stream, .* by pyarrow"):
        data.open_table(tmp_path / "s.arrow")
    (tmp_path / "f.feather").write_bytes(b"FEA1" + bytes(60) + b"FEA1")
    with pytest.raises(ValueError, match=r"f\.feather is of Feather's first version"):
        data.open_table(tmp_path / "f.feather")


def test_bad_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        data.open_table(tmp_path / "none.csv")
    with pytest.raises(TypeError, match="got <class 'int'>$"):
        data.open_table(3)
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match="delimiter"):
        data.open_table(tmp_path / "a.csv", delimiter="::")
    with pytest.raises(ValueError, match="delimiter and decimal must differ, both are ','"):
        data.open_table(tmp_path / "a.csv", delimiter=",", decimal=",")
    with pytest.raises(ValueError, match="decimal must be .*, got ';'"):
        data.open_table(tmp_path / "a.csv", decimal=";")
    for unfit in (3, [None], {"?": 1, 2: 3}):
        with pytest.raises(TypeError) as caught:
            data.open_table(tmp_path / "a.csv", na_values=unfit)
        assert str(caught.value) == f"na_values must be words, got {unfit!r}"
    with pytest.raises(ValueError, match=r"^na_values are words of text files, got '\?' for iris"):
        data.open_table("iris", na_values="?")
    with pytest.raises(ValueError, match=r"column 'z' is missing: .*a\.csv has 'x', 'y'"):
        data.open_table(tmp_path / "a.csv").read(["z"])
    np.save(tmp_path / "f.npy", np.asfortranarray(np.ones((4, 3))))
    with pytest.raises(ValueError, match="Fortran"):
        data.open_table(tmp_path / "f.npy")
    np.savez(tmp_path / "g.npz", X=np.ones((3, 2)), y=np.ones(2))
    with pytest.raises(ValueError, match="X has 3 rows, y has 2"):
        data.open_table(tmp_path / "g.npz")
    np.savez(tmp_path / "g.npz", X=np.ones((3, 2)), y=np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"g\.npz: X has 3 rows, y has shape \(3, 4\)"):
        data.open_table(tmp_path / "g.npz")
    np.savez(tmp_path / "h.npz", X=np.ones((0, 3)), y=np.ones(0))
    with pytest.raises(ValueError, match=r"h\.npz: X has no values, its shape is \(0, 3\)"):
        data.open_table(tmp_path / "h.npz")
    with pytest.raises(ValueError, match="rows must be at least 1"):
        next(data.open_table("iris").batches(rows=0))
    with pytest.raises(ValueError, match="different lengths"):
        data.open_table({"a": [1], "b": [1, 2]})
    with pytest.raises(ValueError, match="no rows"):
        data.open_table({"a": []})
    with pytest.raises(ValueError, match="the table has no columns"):
        data.open_table({})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'pip install "fastbp\[data\]"'):
        data.open_table(tmp_path / "a.csv")
