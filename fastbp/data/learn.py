"""What is learnt from a table before training: means, scales, categories, classes.

One pass, whose memory is bounded by one piece of the table and the limits on categories and
classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array, check_bool, check_choice, check_size
from .._warning import warn
from .columns import EXACT, Matrix, among_numbers, column, in_order, numbers, plain, rows_of, text
from .features import ENCODINGS, UNKNOWN, Boolean, Categorical, Column, Numeric, refuse_missing
from .index import Indices
from .moments import Moments
from .preprocess import Preprocessor
from .table import OTHER, Table, open_table
from .target import TASKS, Target, check_present
from .weights import check_any, row_weights

#: Most distinct whole numbers of a target that are taken as classes, and most classes at all.
FEW_CLASSES, MOST_CLASSES = 20, 1000


class Learned(NamedTuple):
    """Result of a pass over a table."""

    preprocessor: Preprocessor
    target: Target | None
    n_rows: int


class _Words:
    """Counts of distinct words, up to a limit; ``stand_in``: they are text for numbers or
    booleans; ``order``: that of their dtype, if it has one."""

    def __init__(self, name: str, most: int, stand_in: bool, order: Sequence[str]) -> None:
        self.name, self.most, self.counts = name, most, Counter[str]()
        self.stand_in, self.order = stand_in, order
        self.missing: int | None = None

    def add(self, values: Array, first_row: int) -> None:
        words, codes = text(values)
        if self.missing is None and (codes < 0).any():
            self.missing = first_row + int(np.argmax(codes < 0))
        found = np.bincount(codes[codes >= 0], minlength=len(words))
        for word, count in zip(words.tolist(), found.tolist(), strict=True):
            self.counts[plain(word) if self.stand_in else word] += count
        if len(self.counts) > self.most:
            raise ValueError(f"column {self.name!r} has more than {self.most} different values "
                             f"({', '.join(map(repr, sorted(self.counts)[:3]))}, ...): drop it "
                             f"(drop=[{self.name!r}]), or allow more than "
                             f"max_categories={self.most}{among_numbers(self.counts)}")

    def fill(self) -> str:
        return min(self.counts, key=lambda word: (-self.counts[word], word))


class _Target:
    """Classes or moments of the target, and which of the two it needs."""

    def __init__(self, name: str, task: str) -> None:
        self.name, self.task, self.moments = name, task, Moments(1)
        self.values: set[Any] | None = set()
        self.words = self.fractions = False
        self.low, self.high = np.inf, -np.inf

    def add(self, values: Array, first_row: int) -> None:
        check_present(values, self.name, first_row)
        if values.dtype == object and not any(isinstance(v, (str, bool, np.bool_))
                                              for v in values.tolist()):
            whole = np.array(values.tolist())  # integers stay exact
            values = whole if whole.dtype.kind in "iu" else numbers(values, self.name, first_row)
        words = values.dtype.kind in "bOU"
        self.words |= words
        if self.task == "regression" or not words:
            found = numbers(values, self.name, first_row)  # refuses infinity, as a class too
            if self.task != "classification" and len(found):
                self.fractions |= bool((found != np.floor(found)).any())
                self.moments.add(found[:, None])
                self.low = min(self.low, float(found.min()))
                self.high = max(self.high, float(found.max()))
        if self.values is not None and self.task != "regression":
            self.values |= set(values.tolist() if words else np.unique(values).tolist())
            if len(self.values) > MOST_CLASSES:
                if self.task == "classification" or self.words:
                    raise ValueError(f"target {self.name!r} has more than {MOST_CLASSES} "
                                     "different values: too many classes"
                                     + among_numbers(self.values))
                self.values = None

    def done(self, n_rows: int) -> Target:
        values, task = self.values, self.task
        if task == "auto":
            few = values is not None and len(values) <= FEW_CLASSES and 2 * len(values) <= n_rows
            task = "classification" if self.words or (few and not self.fractions) else "regression"
        if task == "regression":
            self.moments.check([f"target {self.name!r}"])
            if not self.moments.spread()[0]:
                if self.low < self.high:  # the squares of their distances are 0, to rounding
                    raise ValueError(f"target {self.name!r} holds numbers from {self.low:g} to "
                                     f"{self.high:g}, too close together for a standard "
                                     "deviation: give it in other units")
                raise ValueError(f"target {self.name!r} is {self.moments.mean[0]:g} in every row: "
                                 "there is nothing to predict")
            return Target(self.name, task, None, float(self.moments.mean[0]),
                          float(self.moments.scale()[0]))
        assert values is not None
        if any(isinstance(v, float) and abs(v) >= EXACT for v in values):
            raise ValueError(f"target {self.name!r} holds whole numbers of 2**53 or more as "
                             "floats, which takes some for others: give it as integers or words")
        if all(type(v) is int or isinstance(v, float) and v.is_integer() for v in values):
            values = {int(v) for v in values}  # some pieces have floats, of missing values
        return Target(self.name, task, sorted(values))


class _Features:
    """What is gathered from the columns that become features."""

    def __init__(self, kinds: Mapping[str, str], stand_ins: Collection[str], most: int,
                 table: Table) -> None:
        self.kinds, self.any_row = dict(kinds), table.any_row
        own = [name for name, kind in kinds.items() if kind != "categorical"]
        self.places = {name: i for i, name in enumerate(own)}
        self.moments = Moments(len(own))
        self.missing: dict[str, int] = {}
        self.words = {name: _Words(name, most, name in stand_ins, table.orders.get(name, ()))
                      for name, kind in kinds.items() if kind == "categorical"}

    def add(self, piece: Mapping[str, Any], first_row: int) -> None:
        names = list(self.places)
        if names and isinstance(piece, Matrix) and piece.of_numbers and all(
                name in piece.places for name in names):
            at = [piece.places[name] for name in names]
            whole = at == list(range(len(piece.names)))
            X = piece.X if whole else piece.X[:, at]
            if np.isfinite(X).all():
                self.moments.add(X)
                names = []
        for name in names:
            found, i = numbers(column(piece, name), name, first_row), self.places[name]
            self.moments.add(found[:, None], slice(i, i + 1))
            gone = np.isnan(found)
            if gone.any():
                self.missing.setdefault(name, first_row + int(np.argmax(gone)))
        for name, words in self.words.items():
            words.add(column(piece, name), first_row)

    def done(self, *, standardize: bool, impute: bool, encoding: Mapping[str, str],
             unknown: str) -> list[Column]:
        if standardize or impute:
            self.moments.check([f"column {name!r}" for name in self.places], squares=standardize)
        scales, found = self.moments.scale(), list[Column]()
        for name, kind in self.kinds.items():
            i, words = self.places.get(name, -1), self.words.get(name)
            if not (words.counts if words else self.moments.count[i]):
                raise ValueError(f"column {name!r} has no value in {self.any_row}: drop it "
                                 f"(drop=[{name!r}])")
            row = words.missing if words else self.missing.get(name)
            if row is not None and not impute:
                refuse_missing(name, np.ones(1, bool), row)
            if words:
                found.append(Categorical(name, tuple(in_order(words.counts, words.order)),
                                         encoding[name], unknown,
                                         words.fill() if impute else None))
                continue
            mean, scale = float(self.moments.mean[i]), float(scales[i])
            if kind == "boolean":
                found.append(Boolean(name, float(mean >= 0.5) if impute else None))
            else:
                found.append(Numeric(name, mean if standardize else 0.0,
                                     scale if standardize else 1.0, mean if impute else None))
        return found


def learn(source: Any, target: str | None = None, *, weight: str | None = None,
          task: str = "auto", categorical: Sequence[str] = (),
          numeric: Sequence[str] = (), drop: Sequence[str] = (), missing: str = "impute",
          encoding: str | Mapping[str, str] = "onehot", unknown: str = "error",
          standardize: bool = True, max_categories: int = 100) -> Learned:
    """Learn from one pass over a table how to make features of it.

    Parameters
    ----------
    source : Table, or what ``open_table`` takes
    target : str, optional
        Column to predict; without one all columns become features.
    weight : str, optional
        Column with the weights of the rows, for ``fit(sample_weight=)`` and ``TableStream``: it
        becomes no feature, and its values are checked. Nothing that is learnt is weighted.
    task : {"auto", "classification", "regression"}
        "auto" is classification for words, booleans, few distinct whole numbers (at most 20,
        and at most half the rows), and a column that is categorical, here or in pandas.
    categorical, numeric : sequence of str
        Columns to treat so, whatever they hold; by default words are categories and numbers
        are numbers.
    drop : sequence of str
        Columns to leave out. An index that pandas wrote with the table is a column too: of one
        that counts rows or, under a name that only pandas makes, holds another whole number in
        each, unless it is among ``numeric``, a warning tells.
    missing : {"impute", "error"}
        Replace missing values by the mean or the most frequent value; or refuse them.
    encoding : {"onehot", "ordinal"} or dict
        Of categories; with a dict by column, other columns have "onehot". "ordinal" is the
        place among the categories found, counted from 0: in the order of an ordered dtype of
        pandas or an Enum of polars, else by value if all are numbers, else by the alphabet. In
        the same order are the features of "onehot".
    unknown : {"error", "ignore"}
        What to do with categories that training has not seen.
    standardize : bool
        Scale numbers to mean 0 and variance 1.
    max_categories : int
        Most distinct values of a column of words; more are refused.

    Returns
    -------
    Learned
        ``preprocessor``, ``target``, ``n_rows``.

    Raises
    ------
    ValueError, TypeError
        For invalid arguments, missing columns, dates, columns without a value or with too many
        categories, a target with one class or with missing values, weights that are missing,
        negative, not finite or all zero.
    OSError
        If the table cannot be read.
    """
    check_choice(task, "task", ("auto", *TASKS))
    impute = check_choice(missing, "missing", ("impute", "error")) == "impute"
    check_choice(unknown, "unknown", UNKNOWN)
    standardize = check_bool(standardize, "standardize")
    most = check_size(max_categories, "max_categories")
    if not isinstance(encoding, (str, Mapping)):
        raise TypeError(f"encoding must be a string, or a dict by column, got {encoding!r}")
    for option, name in (("target", target), ("weight", weight)):
        if not isinstance(name, Hashable):
            raise TypeError(f"{option} must be the name of a column, got {name!r}")
    by_column = {} if isinstance(encoding, str) else dict(encoding)
    usual = encoding if isinstance(encoding, str) else "onehot"
    for value in (usual, *by_column.values()):
        check_choice(value, "encoding", ENCODINGS)
    lists = {"categorical": categorical, "numeric": numeric, "drop": drop}
    for option, names in lists.items():
        if isinstance(names, str) or not isinstance(names, Collection):
            raise TypeError(f"{option} must be a sequence of column names, got {names!r}")
    categorical, numeric, drop = map(list, lists.values())  # from an Index or a Series too
    table = open_table(source)
    for names in (categorical, numeric, drop, list(by_column),
                  [name for name in (target, weight) if name is not None]):
        table.check(names)
    keys: dict[Any, Any] = {name: name for name in table.kinds}
    target, weight = keys.get(target), keys.get(weight)  # NumPy's integers are no JSON
    for name in table.kinds:
        if name not in drop and not isinstance(name, (str, int)):  # a model file holds no others
            raise TypeError(f"names of columns must be strings or integers, got {name!r}")
    if target in drop:
        raise ValueError(f"target {target!r} is among the columns to drop")
    if weight is not None and (weight == target or weight in categorical):
        raise ValueError(f"weight {weight!r} is the target too" if weight == target else
                         f"weight {weight!r} is among the categorical columns")
    for name in set(categorical) & set(numeric):
        raise ValueError(f"column {name!r} is in both categorical and numeric")
    stand_ins = [n for n in categorical if table.kinds[n] in ("numeric", "boolean")]
    table = table.typed(categorical, numeric)
    kinds = {name: "categorical" if name in categorical else
             "numeric" if name in numeric else kind
             for name, kind in table.kinds.items()
             if name not in (target, weight) and name not in drop}
    _check_kinds(table, target, kinds)
    for name in by_column:
        if kinds.get(name) != "categorical":
            raise ValueError(f"encoding names column {name!r}, which gives no categories "
                             f"(with categorical=[{name!r}] it does)")
    features = _Features(kinds, stand_ins, most, table)
    guessed = task == "auto"
    if guessed and target is not None and (
            target in categorical or table.kinds[target] == "categorical"):
        task = "classification"  # numbers too, if the user calls them categorical
    wanted = None if target is None else _Target(target, task)
    indices = Indices(name for name, kind in kinds.items()
                      if kind == "numeric" and name not in numeric)
    rows, weighs = 0, np.zeros(0, bool)
    columns = [*kinds, *(name for name in (target, weight) if name is not None)]
    for piece in table.batches(columns):
        with table.counted():
            features.add(piece, rows)
            indices.add(piece, rows)
            if wanted:
                wanted.add(column(piece, wanted.name), rows)
            if weight is not None:
                own = row_weights(column(piece, weight), weight, first_row=rows)
                weighs = np.append(weighs, own.any())
        rows += rows_of(piece)
    if weight is not None:
        check_any(weighs, weight, "")
    found: dict[str, Collection[Any]] = {n: w.counts for n, w in features.words.items()}
    if wanted and wanted.values and wanted.words and guessed:
        found[wanted.name] = wanted.values
    for name, words in found.items():
        if name not in categorical and (odd := among_numbers(words)):
            warn(f"column {name!r} is taken for {len(words)} categories{odd}")
    indices.warn()
    with table.counted():
        learned = features.done(standardize=standardize, impute=impute, unknown=unknown,
                                encoding={name: by_column.get(name, usual) for name in kinds})
    return Learned(Preprocessor(learned, table.na_values),
                   wanted.done(rows) if wanted else None, rows)


def _check_kinds(table: Table, target: str | None, kinds: dict[str, str]) -> None:
    if not kinds:
        one = " (one column found: is the delimiter right?)" if len(table.kinds) == 1 else ""
        raise ValueError(f"{table.label} leaves no columns to learn from beside the target{one}")
    own = {} if target is None else {target: table.kinds[target]}
    for name in _first(kinds | own, "undecoded"):
        raise ValueError(f"{table.label}: column {name!r} is not UTF-8: save the file as UTF-8"
                         f"{OTHER}")
    for name in _first(kinds, "datetime"):
        raise ValueError(f"column {name!r} holds dates or times: turn them into numbers (year, "
                         f"hour, days since ...) or drop it (drop=[{name!r}])")
    for name in _first(kinds, "empty"):
        where, later = table.any_row, ""
        if table.looked_at:
            where, later = table.looked_at, (
                f", or say what it is (categorical=[{name!r}], in Python also numeric)")
        raise ValueError(f"column {name!r} has no value in {where}: drop it "
                         f"(drop=[{name!r}]){later}")
    for name in _first(kinds, "other"):
        raise ValueError(f"column {name!r} holds neither numbers, words nor booleans: drop it "
                         f"(drop=[{name!r}])")
    unfit = {"datetime": "holds dates or times: turn them into numbers or classes",
             "empty": f"has no value in {table.looked_at or table.any_row}",
             "other": "holds neither numbers, words nor booleans"}
    if target is not None and (kind := table.kinds[target]) in unfit:
        raise ValueError(f"target {target!r} {unfit[kind]}")


def _first(kinds: Mapping[str, str], kind: str) -> Iterable[str]:
    return [name for name, own in kinds.items() if own == kind][:1]
