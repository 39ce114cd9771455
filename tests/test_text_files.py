"""Text files: dialects, encodings, quotes, words for nothing."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from fastbp import data
from fastbp.data import Preprocessor, columns


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
    further = one.typed(na_values=["-"]).read()
    assert further["n"].tolist() == ["1", None, "3", None]
    assert further["w"].tolist() == ["u", None, "v", "u"]
    assert one.kinds["z"] == "categorical"


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
                                             r"and holds 'many' in row 40 .*: name such words as "
                                             r"missing \(na_values=\['many'\]\), or it as "
                                             r"categorical \(categorical=\['x'\]\)$"):
            data.open_table(path).read(wanted)
    assert data.open_table(path).typed(text=["x"]).read()["x"][40] == "many"
    with pytest.raises(ValueError, match=r"a\.csv: column 'x' must hold numbers, got 'many' in r"):
        data.open_table(path).typed(numbers=["x"]).read()
    for top, late, taken in (("0x10", "u", "numbers"), ("true", "u" * 55, "true and false"),
                             ("2020-02-02", "never", "dates or times")):
        path.write_text(f"x,y\n{(top + ',1' + chr(10)) * 40}{late},2\n")
        with pytest.raises(ValueError, match=f"'x' was taken for {taken} from") as caught:
            data.open_table(path).read()
        assert len(str(caught.value)) < len(str(path)) + 200 and "u" * 51 not in str(caught.value)
        assert data.learn(path, "y", categorical=["x"]).preprocessor.n_features == 2


def test_hexadecimal_words_are_no_missing_ones(tmp_path: Path) -> None:
    """Arrow infers them as whole numbers, and does not read them as fractions."""
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + "0x1f,1\n0x2e,2\n" * 9)
    with pytest.raises(ValueError, match=r"column 'x' was taken for numbers and holds '0x1f' in "
                                         r"row 0 \(counted from 0\): name it as categorical "
                                         r"\(categorical=\['x'\]\)$"):
        data.open_table(path).read()
    assert data.learn(path, "y", categorical=["x"]).preprocessor.n_features == 2


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
    path.write_text("a\n1\n", encoding="utf-16")
    for name in ("utf-8", "UTF8", "U8"):  # one encoding, however it is named
        with pytest.raises(ValueError, match="UTF-16"):
            data.open_table(path, charset=name)


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
