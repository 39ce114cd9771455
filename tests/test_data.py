"""Tables: read, learnt from in one pass, turned into features; and what is refused."""

from __future__ import annotations

import json
import sys
import warnings
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from fastbp import data, datasets
from fastbp.data import Numeric, Preprocessor, arrow, columns, npy
from fastbp.data import table as tables
from fastbp.data.moments import Moments
from fastbp.data.stream import ArrayStream, TableStream


def frame(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "age": rng.integers(0, 90, n), "income": rng.lognormal(9, 2, n),
        "colour": rng.choice(["red", "green", "blue, dark"], n),
        "member": rng.random(n) < 0.3, "kind": rng.choice(["yes", "no"], n)})


def written(folder: Path, df: pd.DataFrame, kind: str, rows: int = 70) -> Path:
    path = folder / f"data{kind}"
    if kind in (".csv", ".csv.gz"):
        df.to_csv(path, index=False)
    elif kind == ".tsv":
        df.to_csv(path, index=False, sep="\t")
    elif kind == ".parquet":
        pa.parquet.write_table(pa.Table.from_pandas(df), path, row_group_size=rows)
    else:
        pa.feather.write_feather(pa.Table.from_pandas(df), path, chunksize=rows)
    return path


FILES = [".csv", ".csv.gz", ".tsv", ".parquet", ".feather", ".arrow"]


# -- reading --------------------------------------------------------------------------------


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


def test_words_for_nothing_are_those_of_pandas(tmp_path: Path) -> None:
    words = ["None", "<NA>", "NA", "N/A", "n/a", "#N/A", "nan", "NaN", "-nan", "null", "NULL", "",
             "none", "NONE", "na", "nil", "-", "?", "missing"]
    path = tmp_path / "t.csv"
    path.write_text("w,n\n" + "".join(f"{word},1\n" for word in ["a", *words]) + "b,None\n")
    found, expected = data.open_table(path).read(), pd.read_csv(path)
    assert [w is None for w in found["w"]] == expected["w"].isna().tolist()
    np.testing.assert_array_equal(found["n"], expected["n"])


def test_commas_before_fractions(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a;b;y\n1,5;-2,5e1;u\n2;;v\n-0,25;3;u\n")
    (tmp_path / "t.tsv").write_text("a\tb\n1,5\t7\n")
    table = data.open_table(tmp_path / "t.csv", decimal=",")
    np.testing.assert_array_equal(np.column_stack([table.typed(na_values=["?"]).read()[name]
                                                   for name in "ab"]),
                                  [[1.5, -25], [2, np.nan], [-0.25, 3]])
    assert data.open_table(tmp_path / "t.tsv", decimal=",").read()["a"] == 1.5
    assert data.open_table(tmp_path / "t.csv", delimiter=";").kinds["a"] == "categorical"


GROUPED = "without the commas in them: leave those out"
SIGNS = "with signs of percent or of money: leave those out"
DECIMAL = "where commas are decimal points: in text say so (decimal=',')"


@pytest.mark.parametrize("words, said", [
    ([f"{i},5" for i in range(20)], DECIMAL), ([f"{i},500" for i in range(20)], GROUPED),
    ([f"0,{i}" for i in range(100, 120)], DECIMAL), (["3", "-1,2e-5", " ,5", "+4,"], DECIMAL),
    ([*(f"{i},500,000" for i in range(1, 21)), "0,5"], GROUPED),
    ([f"{i},{i},{i}" for i in range(20)], ""), ([f"{i},5 EUR" for i in range(20)], ""),
    ([f"{i / 4}%" for i in range(20)], SIGNS), ([f"-{i} %" for i in range(20)], SIGNS),
    ([f"${i}.50" for i in range(20)], SIGNS), ([f"{i} \u20ac" for i in range(20)], SIGNS),
    ([f"-$.{i}" for i in range(20)], SIGNS), ([f"${i}%x" for i in range(20)], ""),
    ([f"#{i}" for i in range(20)], ""), (["%", "$", "%%"], ""),
    ([*(f"{i},5" for i in range(20)), "a", "b", "c"], "")])
def test_numbers_with_commas_or_signs_are_told(words: list[str], said: str) -> None:
    assert columns.among_numbers(words) == (
        said and f"; nearly all are numbers {said}, and the column is one of numbers")


def test_words_said_to_be_missing_are(tmp_path: Path) -> None:
    path, clean = tmp_path / "t.csv", tmp_path / "clean.csv"
    lines = ["n,w,b,z,y", "1,u,true,3,1", "?,-,?,-,0", "3,v,false,?,1", "?,u,true,5,0"]
    path.write_text("\n".join(lines) + "\n")
    clean.write_text("\n".join(lines).replace("?", "").replace("-", "") + "\n")
    table = data.open_table(path, na_values=["?", "-"])
    assert table.kinds == data.open_table(clean).kinds | {"z": "numeric"}
    learned, expected = data.learn(table, "y"), data.learn(str(clean), "y")
    pre = Preprocessor.from_dict(learned.preprocessor.to_dict())
    assert pre == learned.preprocessor != expected.preprocessor
    assert pre.columns == expected.preprocessor.columns
    X = expected.preprocessor.transform(data.open_table(clean).read())
    # The words go with what was learnt, and with a stream.
    np.testing.assert_array_equal(pre.transform(pre.typed(data.open_table(path)).read()), X)
    found = [block[0] for block in data.TableStream(path, pre, learned.target).blocks(0, 0, False)]
    np.testing.assert_array_equal(np.concatenate(found), X)
    one = data.open_table(path, na_values="?").typed(text=["n"])
    assert one.typed(na_values=["-"]).read()["n"].tolist() == ["1", None, "3", None]
    assert one.kinds["z"] == "categorical"


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


def test_a_missing_column_is_told_beside_those_of_a_long_frame() -> None:
    with pytest.raises(ValueError, match=r"the table has 'a', 'b'$"):
        columns.column(pd.DataFrame({"a": range(20), "b": range(20)}), "c")


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


def test_whole_numbers_at_the_top_bind_nothing_below(tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastbp.data.text._BLOCK_BYTES", 64)
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + "1,2\n" * 40 + "0.5,3\n" + "1,\n")
    x = data.open_table(path).read(["x", "y"])
    assert x["x"][40] == 0.5 and np.isnan(x["y"][41])
    path.write_text("y,x\n" + "2,1\n" * 40 + "3,many\n")
    for wanted in (None, ["x"]):
        with pytest.raises(ValueError, match=r"a\.csv: column 'x' was taken for numbers from .* "
                                             r"and holds 'many' in row 40 .*=\['x'\]\)$"):
            data.open_table(path).read(wanted)
    assert data.open_table(path).typed(text=["x"]).read()["x"][40] == "many"
    with pytest.raises(ValueError, match=r"a\.csv: column 'x' must hold numbers, got 'many' in r"):
        data.open_table(path).typed(numbers=["x"]).read()
    for top, late, taken in (("0x10", "u" * 55, "numbers"), ("true", "maybe", "true and false"),
                             ("2020-02-02", "never", "dates or times")):
        path.write_text(f"x,y\n{(top + ',1' + chr(10)) * 40}{late},2\n")
        with pytest.raises(ValueError, match=f"'x' was taken for {taken} from") as caught:
            data.open_table(path).read()
        assert len(str(caught.value)) < len(str(path)) + 200
        assert data.learn(path, "y", categorical=["x"]).preprocessor.n_features == 2


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


def test_bundled_names_and_tables_in_memory() -> None:
    iris = data.open_table("iris")
    assert iris.target == "target" and iris.n_rows == 150
    assert set(iris.read()["target"]) == {"setosa", "versicolor", "virginica"}
    assert data.open_table(iris) is iris
    for name in datasets.DATASETS:
        found = data.open_table(name)
        assert found.target in found.names
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


@pytest.mark.parametrize("end", [".csv", ".csv.gz"])
@pytest.mark.parametrize(("charset", "words"), [
    ("latin-1", "größe Zürich Genève"), ("cp1252", "größe 9€ –"), ("gbk", "尺寸 北京 上海"),
    ("shift_jis", "大きさ 東京 表"), ("utf-16", "größe 北京 😀"), ("utf-8-sig", "größe 北京 😀"),
    ("UTF8", "größe 北京 😀")])
def test_text_of_other_encodings(tmp_path: Path, charset: str, words: str, end: str,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastbp.data.text._BLOCK_BYTES", 2048)  # characters across blocks
    name, *values = words.split()
    df = pd.DataFrame({name: np.resize(np.array(values, object), 999), "y": np.arange(999.0)})
    path = tmp_path / f"a{end}"
    df.to_csv(path, index=False, encoding=charset)
    found = data.open_table(path, charset=charset)
    assert found.kinds == {name: "categorical", "y": "numeric"}
    for table in (found, found.typed([name]), found.typed(na_values=["?"])):
        rows = table.read()
        assert rows[name].tolist() == df[name].tolist() and rows["y"].tolist() == list(df["y"])


def test_what_is_not_of_the_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("x,y\n1,größe\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.csv is not ascii: byte 0xf6 is no character"):
        data.open_table(path, charset="ascii")
    path.write_bytes(("x,y\n" + "1,2\n" * 2_000_000).encode() + b"1,\x81\n")
    with pytest.raises(ValueError, match=r"a\.csv is not cp1252: byte 0x81 is no character"):
        data.open_table(path, charset="cp1252").read()
    for wrong in ("nope", "base64", "rot13", ""):
        with pytest.raises(ValueError, match=f"charset must be .* got '{wrong}'"):
            data.open_table(path, charset=wrong)
    with pytest.raises(TypeError, match="charset must be .* got None"):
        data.open_table("iris", charset=None)  # type: ignore[arg-type]


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


def packed(path: Path, content: bytes) -> Path:
    how = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
    with pa.output_stream(str(path), compression=how.get(path.suffix.lower())) as file:
        file.write(content)
    return path


@pytest.mark.parametrize("name", ["A.CSV", "A.CSV.GZ", "a.tsv.Bz2", "a.csv.ZST", "a.csv.LZ4"])
def test_endings_are_read_whatever_their_case(tmp_path: Path, name: str) -> None:
    text = b"x,y\n1,u\n".replace(b",", b"\t" if "tsv" in name else b",")
    found = data.open_table(packed(tmp_path / name, text)).read()
    assert found["x"].tolist() == [1] and found["y"].tolist() == ["u"]
    for content in (b"x,y\n1,2\n", b"") if len(name) > 5 else ():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            data.open_table(tmp_path / name)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.bz2", "a.csv.zst"])
@pytest.mark.parametrize("values", ["uv", "12"])
@pytest.mark.parametrize("block", [48, 1000, 2**22])
def test_quotes_that_never_close_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             name: str, values: str, block: int) -> None:
    monkeypatch.setattr("fastbp.data.text._BLOCK_BYTES", block)
    u, v = values
    for top, end in ((40, 1), (40, 60), (0, 9), (0, 60)):
        text = "x,z,y\n" + f"1,2,{u}\n" * top + f',,"{v}\n' + f"1,2,{u}\n" * end
        for content in (text, text[:-1], text.replace("\n", "\r\n"), text + "\n\n"):
            path = packed(tmp_path / name, content.encode())
            for wanted in (None, ["x"], ["y", "x"]):
                with pytest.raises(ValueError, match=rf"row {top} \(counted from 0") as caught:
                    data.open_table(path).read(wanted)
                told = str(caught.value)
                assert str(path) in told and "quote" in told and "never closes" in told


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize(("end", "value"), [
    ('5" pipe', '5" pipe'), ('"u\nv"', "u\nv"), ('"\n"', "\n"), ('"a ""b""\n"', 'a "b"\n'),
    ('"u"', "u"), ('"u\nv"w"', 'u\nvw"'), ('"u\nv"" "', 'u\nv" '), ("", None), (r"u\n", r"u\n")])
def test_quotes_that_close_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str,
                                end: str, value: str | None) -> None:
    monkeypatch.setattr("fastbp.data.text._BLOCK_BYTES", 40)
    for tail in ("", "\n", "\r\n", "\n\n\n"):
        content = "x,y\n" + '1,"u"\n' * 12 + "2," + end + tail
        for many in range(12):  # ends of blocks at any place
            path = packed(tmp_path / name, b"x" * many + content.encode())
            x = "x" * (many + 1)
            assert data.open_table(path).read()["y"].tolist() == ["u"] * 12 + [value]
            assert data.open_table(path).read([x])[x].tolist() == [1] * 12 + [2]


def test_quotes_in_the_only_column(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.csv", b'y\nu\n\n"v\nw"\n')
    assert data.open_table(path).read()["y"].tolist() == ["u", "v\nw"]
    packed(path, b'y\nu\n\n"v\nw\n')
    with pytest.raises(ValueError, match=r"a\.csv: the quote .* 'y' in row 1 .* never"):
        data.learn(path)


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
    with pytest.raises(ValueError, match="different lengths"):
        data.open_table({"a": [1], "b": [1, 2]})
    with pytest.raises(ValueError, match="no rows"):
        data.open_table({"a": []})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'pip install "fastbp\[data\]"'):
        data.open_table(tmp_path / "a.csv")


# -- learning -------------------------------------------------------------------------------


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
       st.sampled_from(["", "strided", "readonly"]), st.booleans(), st.integers(0, 99))
def test_any_columns_of_numbers_by_their_formula(n: int, k: int, dtype: str, kind: str,
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
    place = np.full((n + 2, k), 9, "f4")
    pre.transform(table, out=place[1:-1])
    np.testing.assert_array_equal(place[1:-1], ((given - mean) / scale).astype("f4"))
    assert (place[[0, -1]] == 9).all()
    wide = np.zeros((n, k + 1), "f4")
    np.testing.assert_array_equal(pre.transform(table, out=wide[:, 1:]), place[1:-1])


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


def test_columns_can_be_forced() -> None:
    t = {"code": np.array([7, 7, 11]), "size": np.array(["1.5", "2", "3"], object),
         "y": np.array([0.5, 1.5, 2.5])}
    p = data.learn(t, "y", categorical=["code"], numeric=["size"], standardize=False).preprocessor
    assert p.feature_names == ["code=11", "code=7", "size"]
    np.testing.assert_array_equal(p.transform(t), [[0, 1, 1.5], [0, 1, 2], [1, 0, 3]])
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

    def __init__(self, values: list[int | None], dtype: str) -> None:
        self.values, self.dtype = values, dtype

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found = np.array(self.values, float if None in self.values else int)
        return found if dtype is None else found.astype(dtype)

    def to_list(self) -> list[int | None]:
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
    labels = df.dropna()
    target = data.learn(labels, "b", task="classification").target
    assert target is not None and target.classes == [2**60, 2**60 + 2]
    assert target.encode(labels["b"]).tolist() == [0, 1]


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


def test_unknown_categories() -> None:
    train, new = {"c": np.array(["a", "b"])}, {"c": np.array(["b", "z", "a"])}
    with pytest.raises(ValueError, match=r"column 'c' holds 'z' in row 6.*unknown='ignore'"):
        data.learn(train).preprocessor.transform(new, first_row=5)
    for encoding, wanted in (("onehot", [[0, 1], [0, 0], [1, 0]]), ("ordinal", [[1], [-1], [0]])):
        p = data.learn(train, unknown="ignore", encoding=encoding).preprocessor
        p = data.Preprocessor.from_dict(p.to_dict())
        np.testing.assert_array_equal(p.transform(new), wanted)


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
    ({"x": [1e200, 2, 3], "y": X3}, {}, "column 'x' holds numbers too large to square"),
    ({"x": X3, "y": [-1e160, 0.5, 1e308]}, {"task": "regression"},
     "target 'y' holds numbers too large to square"),
    ({"x": X3, "y": X3}, {"standardize": 1}, "standardize must be")])
def test_what_cannot_be_learnt_from(columns: Any, options: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        data.learn({k: np.array(v, object) if isinstance(v, list) else v
                    for k, v in columns.items()}, "y", **options)
    assert "\n" not in str(caught.value)


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


def test_dates_in_files_are_refused_by_name(tmp_path: Path) -> None:
    df = pd.DataFrame({"when": pd.date_range("2020", periods=4), "x": [1, 2, 3, 4],
                       "y": ["a", "b"] * 2})
    for kind in (".csv", ".parquet", ".arrow"):
        path = written(tmp_path, df, kind)
        with pytest.raises(ValueError, match="column 'when' holds dates or times"):
            data.learn(path, "y")
        assert data.learn(path, "y", drop=["when"]).preprocessor.feature_names == ["x"]


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
                      ("t", "classification", ["a", "a"]), ("t", "regression", ["a", "b"]),
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
    for classes, written in ((["1", "2", "none"], "1.0"), (["false", "maybe", "true"], "False")):
        encode = data.Target("t", "classification", classes).encode
        assert encode(np.array([written])) == 0
        with pytest.raises(ValueError, match="none of the classes"):
            encode(np.array(["0.0"]))
    with pytest.raises(ValueError, match="holds 3 in row 1 .* none of the classes"):
        target.encode(np.array([1.0, 3.0]))
    yes = data.Target("t", "classification", [False, True])
    for own, words in ((target, ["0", "1.0", "0"]), (yes, ["False", "true", "false"])):
        np.testing.assert_array_equal(own.encode(np.array(words, object)), [0, 1, 0])
        with pytest.raises(ValueError, match="holds 'x' in row 3 .* none of the classes"):
            own.encode(np.array([*words, "x"], object))  # the odd one, for which all are words
    with pytest.raises(ValueError, match="out must be"):
        p.transform(good, out=np.empty((2, 4), "f4"))


# -- rows without a target ------------------------------------------------------------------


def _in_groups(path: Path, df: pd.DataFrame, kept: np.ndarray) -> Any:
    """A table of these rows, whose groups would have 70 with the others."""
    if path.suffix == "":
        return df[kept]
    if path.suffix == ".csv":
        df[kept].to_csv(path, index=False)
        return path
    schema = pa.Table.from_pandas(df, preserve_index=False).schema
    with (pa.parquet.ParquetWriter(path, schema) if path.suffix == ".parquet" else
          pa.ipc.new_file(path, schema)) as file:
        for i in range(0, len(df), 70):
            own = df[i:i + 70][kept[i:i + 70]]
            file.write_table(pa.Table.from_pandas(own, schema, preserve_index=False))
    return path


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
    clean = data.open_table(_in_groups(tmp_path / f"clean{kind}", df, ~lacks))
    source = _in_groups(tmp_path / f"all{kind}", df, np.ones(1000, bool))
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
    table = data.open_table(_in_groups(tmp_path / f"d{kind}", df, np.ones(300, bool)),
                            drop_missing=["kind"])
    with pytest.raises(ValueError, match="'income' has no value in row 200 "):
        data.learn(table, "kind", missing="error")
    df.loc[200, "income"] = np.inf
    table = data.open_table(_in_groups(tmp_path / f"d{kind}", df, np.ones(300, bool)),
                            drop_missing=["kind"])
    with pytest.raises(ValueError, match="'income' holds infinity in row 200 "):
        data.learn(table, "kind")
    target = data.Target("kind", "classification", ["no", "yes"])
    stream = TableStream(table, learned.preprocessor, target)
    row = "part 2: .*row 60 " if kind == ".parquet" else "row 200 "
    with pytest.raises(ValueError, match=row):
        list(stream.blocks(0, 0, False))
    df.loc[200, "kind"] = "odd"
    odd = TableStream(data.open_table(_in_groups(tmp_path / f"d{kind}", df, np.ones(300, bool)),
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
    with pytest.raises(ValueError, match="'z' has no value in any row that has one in 'y'"):
        data.learn(data.open_table(good, drop_missing="y"), "y")


# -- streams --------------------------------------------------------------------------------


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
    source = _in_groups(tmp_path / f"d{kind}", df, np.ones(len(df), bool))
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


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".feather"])
def test_streams_give_each_row_once(tmp_path: Path, kind: str) -> None:
    df = frame(1000)
    path = written(tmp_path, df, kind, rows=37)
    learned = data.learn(path, "kind", drop=["member", "colour"])
    assert learned.target is not None
    stream = TableStream(path, learned.preprocessor, learned.target, weight="age",
                         block_rows=256)
    own = learned.preprocessor.transform(df)
    assert stream.n_rows == 1000 and len({r.tobytes() for r in own}) == 1000

    def epoch(number: int, shuffle: bool) -> list[Any]:
        return [tuple(a.copy() for a in b) for b in stream.blocks(number, 7, shuffle)]

    straight = epoch(0, False)
    np.testing.assert_array_equal(np.concatenate([b[0] for b in straight]), own)
    np.testing.assert_array_equal(np.concatenate([b[1] for b in straight]), df["kind"] == "yes")
    np.testing.assert_array_equal(np.concatenate([b[2] for b in straight]), df["age"])
    labels = np.concatenate([t[0] for t in stream.targets()])
    np.testing.assert_array_equal(labels, df["kind"] == "yes")
    one, again, other = epoch(1, True), epoch(1, True), epoch(2, True)
    target = dict(zip([r.tobytes() for r in own], df["kind"] == "yes", strict=True))
    for blocks in (one, other):
        assert max(len(b[0]) for b in blocks) <= 256
        rows = np.concatenate([b[0] for b in blocks])
        assert {r.tobytes() for r in rows} == set(target) and len(rows) == 1000
        for X, T, _ in blocks:
            np.testing.assert_array_equal(T, [target[r.tobytes()] for r in X])
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
    if kind != ".csv":
        assert (one[0][0][:50] != other[0][0][:50]).any()
        place = {r.tobytes(): i // 37 for i, r in enumerate(own)}
        assert len({place[r.tobytes()] for r in one[0][0]}) >= 5  # several groups in a block


def test_array_streams_take_lists_and_frames() -> None:
    X, T = np.arange(30.0).reshape(10, 3), np.arange(10)
    for pair in ((X.tolist(), T.tolist()), (pd.DataFrame(X), pd.Series(T))):
        stream = ArrayStream(*pair, block_rows=4)
        found = list(stream.blocks(0, 0, False))
        np.testing.assert_array_equal(np.concatenate([b[0] for b in found]), X)
        np.testing.assert_array_equal(np.concatenate([b[1] for b in found]), T)


def test_array_streams_refuse_what_fit_refuses() -> None:
    X, T = np.arange(30.0).reshape(10, 3), np.arange(10)
    with pytest.raises(ValueError, match="X has masked elements"):
        ArrayStream(np.ma.masked_greater(X, 20), T)
    with pytest.raises(ValueError, match="weights has masked elements"):
        ArrayStream(X, T, np.ma.masked_greater(T, 5))
    with pytest.raises(TypeError, match="X is a sparse matrix"):
        ArrayStream(scipy.sparse.csr_array(X), T)
    with pytest.raises(TypeError, match="T must hold real numbers, got None"):
        ArrayStream(X, None)


def test_archives_that_are_called_npy_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.ones((3, 2)))
    whole = (tmp_path / "a.npz").read_bytes()
    for content in (whole, whole[:40]):
        (tmp_path / "a.npy").write_bytes(content)
        for what in (data.open_table, lambda path: ArrayStream(path, np.ones(3))):
            with pytest.raises(ValueError, match=r"a\.npy is not a readable \.npy file"):
                what(tmp_path / "a.npy")


def test_array_streams(tmp_path: Path) -> None:
    X, T = np.arange(3000, dtype="f4").reshape(1000, 3), np.arange(1000)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "T.npy", T)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for source in (X, tmp_path / "X.npy", str(tmp_path / "X.npy"), mapped):
        stream = ArrayStream(source, tmp_path / "T.npy", block_rows=96)
        assert stream.n_rows == 1000
        straight = list(stream.blocks(0, 0, False))
        np.testing.assert_array_equal(np.concatenate([b[0] for b in straight]), X)
        np.testing.assert_array_equal(np.concatenate([t for t, in stream.targets()]), T)
        mixed = list(stream.blocks(0, 0, True))
        for A, t in mixed:
            np.testing.assert_array_equal(A, X[t])
        assert sorted(np.concatenate([t for _, t in mixed]).tolist()) == T.tolist()
        assert np.ptp(mixed[0][1] // 12) > 8 and len(mixed[0][0]) == 96
    part = ArrayStream(mapped[100:200], T[100:200])
    np.testing.assert_array_equal(
        np.concatenate([b[0] for b in part.blocks(0, 0, False)]), X[100:200])
    with pytest.raises(ValueError, match="as many rows"):
        ArrayStream(X, T[:-1])
    with pytest.raises(ValueError, match="no rows"):
        ArrayStream(X[:0], T[:0])
    with pytest.raises(FileNotFoundError):
        ArrayStream(tmp_path / "none.npy", T)
    content = (tmp_path / "X.npy").read_bytes()
    stream = ArrayStream(tmp_path / "X.npy", T)
    (tmp_path / "X.npy").write_bytes(content[:-4])
    with pytest.raises(ValueError, match="ends before row 1000"):
        list(stream.blocks(0, 0, False))
    with pytest.raises(ValueError, match="not a readable"):
        ArrayStream(tmp_path / "X.npy", T)


def test_whole_numbers_of_many_digits_scale_and_fill_a_column() -> None:
    for column in (Numeric("a", mean=10**30, scale=10**30, fill=10**30),
                   Numeric("a", mean=1e30, scale=1e30, fill=1e30)):
        X = Preprocessor([column]).transform({"a": np.array([0.0, np.nan, 1e30])})
        np.testing.assert_allclose(X, [[-1], [0], [0]])


def test_words_among_numbers_are_told(tmp_path: Path) -> None:
    """Where "?" is a missing value, a column of numbers would become a hundred without a sound."""
    path = tmp_path / "t.csv"
    path.write_text("age,letter,y\n" + "".join(f"{i},a{i % 12},{i % 40}\n" for i in range(50))
                    + "?,b,?\n")
    with pytest.warns(UserWarning) as told:
        data.learn(str(path), "y")
    assert sorted(str(w.message) for w in told) == [
        f"column {name!r} is taken for {count} categories; nearly all are numbers, beside '?': "
        "leave such cells empty, or in text name them (na_values=['?']), and the column is one of "
        "numbers"
        for name, count in (("age", 51), ("y", 41))]
    assert {w.filename for w in told} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.learn(str(path), "y", categorical=["age"], task="classification")
        data.learn({"x": ["1", "2", "3+", "?"], "z": ["1", "2", "3", "4"], "y": [1, 2, 3, 4]}, "y")


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
