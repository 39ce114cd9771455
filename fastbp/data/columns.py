"""Columns of a table as arrays: what is missing, what is a number, what is text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np

from .._validation import Array

#: Arrays of one length by the names of their columns.
Columns = Mapping[str, Array]
#: float64 makes some whole numbers beyond this equal, and the one after it equal to it.
EXACT = 2**53


class Matrix(Mapping[str, Array]):
    """The columns of a matrix by name. Code that knows it uses the whole matrix, which is faster.

    Parameters
    ----------
    names : sequence of str
    X : ndarray, shape (n, len(names))
    others : mapping from str to ndarray, shape (n,)
        Columns beside the matrix.
    """

    def __init__(self, names: Sequence[str], X: Array,
                 others: Mapping[str, Array] | None = None) -> None:
        if X.ndim != 2 or X.shape[1] != len(names):
            raise ValueError(f"a matrix of {len(names)} columns has shape (n, {len(names)}), "
                             f"got {X.shape}")
        self.names, self.X, self.others = tuple(names), X, dict(others or {})
        self.places = {name: i for i, name in enumerate(self.names)}

    def __getitem__(self, name: str) -> Array:
        return self.others[name] if name in self.others else self.X[:, self.places[name]]

    def __iter__(self) -> Iterator[str]:
        yield from self.names
        yield from self.others

    def __len__(self) -> int:
        return len(self.names) + len(self.others)

    @property
    def of_numbers(self) -> bool:
        """Whether the whole matrix can be used, not words, dates or complex numbers."""
        return self.X.dtype.kind in "buif"

    def rows(self, at: slice | Array) -> Matrix:
        """Some of the rows; those of a slice are not copied."""
        return Matrix(self.names, self.X[at],
                      {name: values[at] for name, values in self.others.items()})


def ways_of(source: Any) -> str:
    """How to make a table of ``source``, which is not one, for messages."""
    names = ("to_frame",) if hasattr(source, "to_frame") else ("to_pandas", "to_dict", "to_pydict")
    ways = [f".{name}()" for name in names if hasattr(source, name)]
    # The labels of a row of pandas are names of columns.
    row = hasattr(source, "iloc") and any(isinstance(label, str) for label in source.index)
    or_row = ", or if it is a row give df.iloc[[i]] in place of df.iloc[i]" * row
    return f": give its {' or '.join(ways)}{or_row}" if ways else ""


def rows_of(table: Mapping[str, Any]) -> int:
    """Number of rows.

    Raises
    ------
    ValueError
        If the table has no columns, or columns of different lengths.
    """
    if isinstance(table, Matrix):
        return len(table.X)
    lengths = {str(name): len(table[name]) for name in table}
    if not lengths:
        raise ValueError("the table has no columns")
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of the table have different lengths: {lengths}")
    return next(iter(lengths.values()))


def _concatenated(parts: Sequence[Array]) -> Array:
    """Parts of a column: beside one that missing values made floats, integers stay what they are
    if float64 would make some of them equal."""
    found: Array = np.concatenate(parts)
    if found.dtype.kind == "f" and any(part.dtype.kind in "iu" and len(part) and (
            part.max() > EXACT or part.min() < -EXACT) for part in parts):
        return np.concatenate([part.astype(object) for part in parts])
    return found


def join(pieces: Sequence[Columns], names: Sequence[str]) -> Columns:
    """The rows of all pieces, in order."""
    if len(pieces) == 1:
        return pieces[0]
    if pieces and all(isinstance(piece, Matrix) for piece in pieces):
        matrices: list[Any] = list(pieces)
        return Matrix(matrices[0].names, np.concatenate([m.X for m in matrices]),
                      {name: _concatenated([m.others[name] for m in matrices])
                       for name in matrices[0].others})
    return {name: _concatenated([piece[name] for piece in pieces]) if pieces else np.empty(0)
            for name in names}


def rows_at(columns: Columns, at: slice | Array) -> Columns:
    """Some of the rows; those of a slice are not copied."""
    if isinstance(columns, Matrix):
        return columns.rows(at)
    return {name: columns[name][at] for name in columns}


def packed(pieces: Iterable[Columns], names: Sequence[str], rows: int) -> Iterator[Columns]:
    """The same rows in pieces of ``rows``, the last one smaller, whatever those given are.

    What is summed or mixed piece by piece then has the same bits however a file is cut.
    """
    waiting, n = list[Columns](), 0
    for piece in pieces:
        waiting.append(piece)
        n += rows_of(piece)
        if n < rows:
            continue
        whole, at = join(waiting, names), 0
        while n - at >= rows:
            yield rows_at(whole, slice(at, at + rows))
            at += rows
        waiting, n = [rows_at(whole, slice(at, None))], n - at
    if n:
        yield join(waiting, names)


def array(values: Any) -> Array:
    """A NumPy array; integers with missing values, of pandas, polars and pyarrow, as floats if
    each is exact as one.

    Masked elements become missing values. So does NaN in a list of words or booleans, of which
    NumPy would make a word, or numbers of the booleans.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        known: Array = values.data.astype(object)
        known[np.ma.getmaskarray(values)] = None
        return known
    found, own = np.asarray(values), getattr(values, "dtype", getattr(values, "type", None))
    if found.dtype.kind == "f" and re.match(r"u?int\d", str(own).lower()) and (
            np.abs(found) >= EXACT).any():
        ways = (getattr(values, name, None) for name in ("to_pylist", "to_list"))
        make = next(filter(None, ways), None)  # polars and pyarrow go through floats to objects
        return np.asarray(make() if make else values, object)
    if own is None and found.ndim == 1 and found.dtype.kind in "Uf":
        words = found.dtype.kind == "U"
        gone = np.fromiter(map(_is_missing, values), bool) if words else np.isnan(found)
        if gone.any() and not gone.all() and (words or all(
                isinstance(value, (bool, np.bool_)) for value in compress(values, ~gone))):
            found = (found if words else found.astype(bool)).astype(object)
            found[gone] = None
    return found


def one(name: Any, values: Any) -> Array:
    """The values of a column as a 1-D array; of two that share a name pandas gives both."""
    found = array(values)
    names = list(getattr(values, "columns", ()))
    if len(names) > 1 and len(set(names)) == 1:
        raise ValueError(f"the table has {len(names)} columns named {name!r}")
    if found.ndim != 1:
        raise ValueError(f"column {name!r} must be 1-D, got shape {found.shape}")
    return found


def some(names: Iterable[str]) -> str:
    """Names for messages: only the first ten if there are more."""
    known = list(names)  # the len of a DataFrame would be its number of rows
    return ", ".join(map(repr, known[:10])) + (", ..." if len(known) > 10 else "")


def column(table: Mapping[str, Any], name: str) -> Array:
    """One column as a 1-D array.

    Raises
    ------
    ValueError
        If there is none of this name, or it holds dates.
    """
    if name not in table:
        raise ValueError(f"column {name!r} is missing; the table has {some(table)}")
    values = one(name, table[name])
    if values.dtype.kind in "mM":
        raise ValueError(f"column {name!r} holds dates or times: turn them into numbers "
                         "(year, hour, days since ...) or drop the column")
    return values


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(value != value)


def missing(values: Array) -> Array:
    """Where a column has no value: None, NaN, pandas' NA."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype == object:
        return np.fromiter(map(_is_missing, values), bool, len(values))
    return np.zeros(len(values), bool)


def first(where: Array, first_row: int) -> str:
    """Number of the first true row, for messages."""
    return f"row {first_row + int(np.argmax(where))} (counted from 0)"


def numbers(values: Array, name: str, first_row: int = 0, what: str = "numbers") -> Array:
    """A column as float64, NaN where a value is missing; messages say that it must hold ``what``.

    Raises
    ------
    ValueError
        For text that is not a number, and for infinity: names column, row and value.
    """
    try:  # objects too, with None as NaN: NumPy is fastest
        found = values.astype(np.float64) if values.dtype.kind in "buifO" else None
    except (TypeError, ValueError, OverflowError):
        found = None
    if found is not None and values.dtype == object and any(
            issubclass(kind, (str, bytes)) for kind in set(map(type, values))):
        found = None  # NumPy reads "1_0" as 10
    if found is None:
        found = np.empty(len(values))
        for i, value in enumerate(values.tolist()):
            try:
                found[i] = np.nan if _is_missing(value) else _number(value)
            except (TypeError, ValueError, OverflowError):
                raise ValueError(f"column {name!r} must hold {what}, got {value!r} in row "
                                 f"{first_row + i} (counted from 0)") from None
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = not np.isfinite(found.sum())
    if suspect and np.isinf(found).any():
        raise ValueError(f"column {name!r} holds infinity in "
                         f"{first(np.isinf(found), first_row)}")
    return found


def text(values: Array) -> tuple[Array, Array]:
    """(distinct values as strings, sorted; index of each row's value in them, -1 if missing).

    A whole number gives the same string as an integer and as a float.
    """
    gone = missing(values)
    kept = values[~gone]
    if values.dtype == object:
        words = np.array([_word(v) for v in kept], object)
    elif values.dtype.kind == "U":
        words = kept
    else:  # few distinct numbers: convert each only once
        different, places = np.unique(kept, return_inverse=True)
        words = np.array([_word(v) for v in different.tolist()], object)[places.reshape(-1)]
    index: dict[str, int] = {}
    codes = np.fromiter((index.setdefault(w, len(index)) for w in words.tolist()), np.int64,
                        len(words))
    known = sorted(index)
    place = np.empty(len(known), np.int64)
    for new, word in enumerate(known):
        place[index[word]] = new
    result = np.full(len(values), -1, np.int64)
    if known:
        result[~gone] = place[codes]
    return np.array(known, object), result


def _word(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def order_of(values: Any) -> tuple[str, ...]:
    """The categories of an ordered dtype, of pandas or polars, as ``text`` writes them."""
    dtype = getattr(values, "dtype", None)
    if getattr(dtype, "ordered", False) is True or type(dtype).__name__ == "Enum":
        return tuple(map(_word, array(getattr(dtype, "categories", ())).tolist()))
    return ()


def in_order(words: Iterable[str], order: Sequence[str] = ()) -> list[str]:
    """Distinct words as in ``order``; others by value if all are numbers, else as text."""
    found = sorted(words)
    if all(map(_is_number, found)) and not any(np.isnan(list(map(float, found)))):
        found.sort(key=float)
    places = {word: i for i, word in enumerate(order)}
    return sorted(found, key=lambda word: places.get(word, len(places)))


def plain(word: str) -> str:
    """A word as ``text`` writes the number or boolean that it means: "1.0" is 1, "True" true."""
    if word.lower() in ("true", "false"):
        return word.lower()
    return re.sub(r"^(-?\d+)\.0*$", r"\1", word)


def among_numbers(words: Iterable[Any]) -> str:
    """Advice for a message if nearly all of these distinct words are numbers, as in a column with
    "?" for missing values, with commas or with percent signs; otherwise empty."""
    words = list(map(str, words))
    others = sorted(word for word in words if not _is_number(word))
    if 0 < 10 * len(others) <= len(words):
        return (f"; nearly all are numbers, beside {', '.join(map(repr, others[:3]))}: leave such "
                f"cells empty, or in text name them (na_values={others[:3]}), and the column is "
                "one of numbers")
    for form, what in _FORMS.items():
        left = [word for word in others if not re.fullmatch(form, word.strip())]
        if len(left) < len(others) and 10 * len(left) <= len(words):
            return f"; nearly all are numbers {what}, and the column is one of numbers"
    return ""


#: Patterns of numbers that are read as words, and the advice for each.
_FORMS = {
    r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?": "without the commas in them: leave those out",
    r"[-+]?\d*,\d*([eE][-+]?\d+)?":
        "where commas are decimal points: in text say so (decimal=',')",
    r"[-+]?[$\u20ac\u00a3]? ?[-+]?(\d+\.?\d*|\.\d+) ?[%$\u20ac\u00a3]?":
        "with signs of percent or of money: leave those out"}


def _number(value: Any) -> float:
    """float(value), but of text without "_", which only programs have in numbers."""
    if (isinstance(value, str) and "_" in value) or (isinstance(value, bytes) and b"_" in value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _is_number(word: str) -> bool:
    try:
        _number(word)
    except ValueError:
        return False
    return True
