"""From a file to the input of training: features, targets, held-out rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import datasets
from .._cgroup import memory_limit
from .._validation import Array
from ..data import Preprocessor, Table, Target, learn, open_table
from ..data.columns import Columns, rows_at, rows_of, some
from ..data.features import Numeric
from ..data.present import Chosen
from ..data.stream import TableStream
from ..data.table import ENDINGS, ROWS, Arrays
from ..data.truth import truth, truth_names
from ..data.weights import check_any
from .digest import Digest
from .exits import say
from .split import split_rows

#: Bundled data sets of images in [0, 1], which need no standardising.
IMAGES = ("digits", "mnist")
#: A file is streamed if its rows would take more than this share of the memory ...
SHARE_OF_MEMORY = 0.25
#: ... where files of these formats take this many times their size.
_UNPACKED = {".parquet": 6, ".pq": 6, ".npz": 3, ".gz": 8, ".bz2": 8, ".zst": 8, ".csv": 1.5,
             ".tsv": 1.5, ".txt": 1.5}
#: Most rows of a stream to validate on, and most to test on, about: they stay in memory.
MOST_HELD = 50_000

#: ``Table.any_row`` of rows that are not held out.
_TRAINED = "any row to train on"

#: (X, T), or (X, T, weights).
Rows = tuple[Array, ...]


@dataclass
class Prepared:
    """What a run trains on; ``train`` is arrays, or a stream of blocks.

    ``dropped`` has the number of rows without a target that were left out, by option: "data",
    "validation"; ``digest`` differs if any row does, of a stream if any target or weight does.
    """

    name: str
    preprocessor: Preprocessor
    target: Target
    n_train: int
    train: Rows | TableStream
    held: Rows | None
    test: Rows | None
    dropped: dict[str, int]
    digest: Digest

    @property
    def streamed(self) -> bool:
        """Whether the rows come block by block."""
        return isinstance(self.train, TableStream)


def name_of(data: str) -> str:
    """The bundled name, or the file's name without the endings of formats."""
    path = Path(data)
    while data not in datasets.DATASETS and path.suffix.lower() in ENDINGS:
        path = path.with_suffix("")
    return path.name or "model"


def prepare(settings: Mapping[str, Any]) -> Prepared:
    """Read, learn what the columns hold, split, transform.

    Raises
    ------
    ValueError, OSError, ImportError
        If the data cannot be read or are invalid: names file, column and row.
    """
    table = _table(settings, settings["data"])
    target = table.target if settings["target"] is None else settings["target"]
    if target is None:
        raise ValueError(f"--target is needed: {table.label} has {some(table.names)}")
    if settings["validation"] is not None and not Path(settings["validation"]).is_file():
        raise FileNotFoundError(f"--validation {settings['validation']}: no such file")
    table = _targeted(settings, table, target)
    learned = learn(table, target, **_learning(settings))
    own = learned.target
    assert own is not None
    if own.task == "regression" and settings["class_weight"] != "none":
        raise ValueError(f"--class-weight {settings['class_weight']}: target {target!r} holds "
                         "numbers, not classes")
    make = _stream if settings["stream"] else _whole
    dropped = {"data": table.dropped} if settings["missing_target"] == "drop" else {}
    table = own.typed(learned.preprocessor.typed(table))
    return make(settings, table, learned.preprocessor, own, learned.n_rows, dropped)


def _table(settings: Mapping[str, Any], data: str) -> Table:
    """Open a table as the settings say."""
    return opened(data, delimiter=settings["delimiter"], decimal=settings["decimal"],
                  na_values=settings["na"], charset=settings["charset"])


def _targeted(settings: Mapping[str, Any], table: Table, target: str) -> Table:
    """The table, if the settings say so without the rows that have no target."""
    return open_table(table, drop_missing=[target]) if settings["missing_target"] == "drop" else (
        table)


def opened(data: str, **options: Any) -> Table:
    """The table of a file or a bundled name, with options of ``open_table``; if missing, the
    message lists the bundled names."""
    if data not in datasets.DATASETS and not Path(data).exists():
        raise FileNotFoundError(f"{data}: no such file, nor a bundled data set "
                                f"({', '.join(datasets.DATASETS)})")
    return open_table(data, **options)


def _learning(settings: Mapping[str, Any]) -> dict[str, Any]:
    standardise = settings["standardise"]
    if standardise is None:
        standardise = settings["data"] not in IMAGES
    return {"task": settings["task"], "categorical": tuple(settings["categorical"]),
            "weight": settings["weight"], "drop": tuple(settings["ignore"]),
            "encoding": settings["encoding"],
            "missing": "impute" if settings["missing"] == "impute" else "error",
            "unknown": settings["unknown"], "standardize": standardise,
            "max_categories": settings["max_categories"]}


# -- in memory ------------------------------------------------------------------------


def _whole(settings: Mapping[str, Any], table: Table, seen: Preprocessor, target: Target,
           n_rows: int, dropped: dict[str, int]) -> Prepared:
    """All rows in memory. Means and scales come from the training rows only; categories and
    classes from all, so that a rare one that is only in held-out rows is known."""
    weight = settings["weight"]
    columns = table.read([*seen.names, *truth_names(target, weight)])
    T, *weights = truth(columns, target, weight)
    kept, held, test = split_rows(settings, T, target.task)
    counted = np.full(len(T), True)
    for own in weights:
        counted &= own > 0
    _tell_untrained(settings, target, T[kept][counted[kept]], lambda: T[counted])
    preprocessor = seen
    if len(kept) < n_rows:
        part = Arrays(rows_at(columns, kept), table.label)
        part.any_row = _TRAINED
        preprocessor = _measured(settings, part, seen)
    with table.counted():
        X = preprocessor.transform(columns, dtype=settings["dtype"])

    whole = X, T, *weights
    for own in weights:
        for at, what in ((kept, "train on"), (held, "validate on"), (test, "test on")):
            if len(at):
                check_any(own[at], weight, f" to {what}")

    def pick(at: Array) -> Rows | None:
        return tuple(array[at] for array in whole) if len(at) else None

    digest, other = Digest(), _from_file(settings, preprocessor, target, dropped)
    digest.add("all", whole)
    digest.add("held", other or ())
    return Prepared(name_of(settings["data"]), preprocessor, target, len(kept),
                    tuple(array[kept] for array in whole) if len(kept) < n_rows else whole,
                    other or pick(held), pick(test), dropped, digest)


def _tell_untrained(settings: Mapping[str, Any], target: Target, T: Array,
                    every: Callable[[], Array]) -> None:
    """Tell which classes have no row among those to train on with a weight above 0, whose targets
    are T; ``every``: the targets of all rows with such a weight, held out or not."""
    if target.classes is not None and len(
            gone := np.setdiff1d(np.arange(len(target.classes)), T)):
        weighted = "" if settings["weight"] is None else " with a weight above 0"
        say(f"target {target.name!r}: no row to train on{weighted} is of "
            f"{some([target.classes[i] for i in gone])}"
            f"{'; another --split-seed may help' * bool(np.isin(gone, every()).any())}")


def _trained(table: Table, target: Target, weight: str | None,
             digest: Digest | None = None) -> tuple[int, Array]:
    """Number of rows, and the classes of those with a weight above 0; targets and weights are
    added to ``digest``."""
    n, found = 0, np.zeros(0, np.int64)
    for piece in table.batches(truth_names(target, weight)):
        n += rows_of(piece)
        T, *own = truth(piece, target, weight)
        if digest is not None:
            digest.add("trained", (T, *own))
        if target.classes is not None:
            found = np.union1d(found, T[own[0] > 0] if own else T)
    return n, found


def _measured(settings: Mapping[str, Any], part: Table, seen: Preprocessor) -> Preprocessor:
    """``seen`` with means and scales from the rows of ``part`` only."""
    numbers = {entry.name for entry in seen.columns if isinstance(entry, Numeric)}
    if not numbers:
        return seen
    again = learn(part, None, **_learning(settings) | {
        "weight": None, "task": "auto", "categorical": (), "numeric": list(numbers),
        "drop": [n for n in part.names if n not in numbers]})
    by_name = {entry.name: entry for entry in again.preprocessor.columns}
    return Preprocessor([by_name.get(entry.name, entry) for entry in seen.columns],
                        seen.na_values)


def _from_file(settings: Mapping[str, Any], preprocessor: Preprocessor, target: Target,
               dropped: dict[str, int]) -> Rows | None:
    """The rows of ``--validation``; the number of those left out goes to ``dropped``."""
    if settings["validation"] is None:
        return None
    table = _table(settings, settings["validation"])
    try:
        table = _targeted(settings, table, target.name)
        found = features_of(settings, table, preprocessor, target, " to validate on")
        if dropped:
            dropped["validation"] = table.dropped
        return found
    except ValueError as error:  # the message must tell which of the two files it is about
        if table.label in str(error):
            raise
        raise ValueError(f"--validation {table.label}: {error}") from error


def features_of(settings: Mapping[str, Any], table: Table, preprocessor: Preprocessor,
                target: Target, where: str) -> Rows:
    """Features, targets and weights of all rows of a table; ``where`` they are, for messages."""
    weight = settings["weight"]
    columns = target.typed(preprocessor.typed(table)).read(
        [*preprocessor.names, *truth_names(target, weight)])
    with table.counted():
        X = preprocessor.transform(columns, dtype=settings["dtype"])
        found = X, *truth(columns, target, weight)
    if weight is not None and len(found[0]):
        check_any(found[2], weight, where)
    return found


# -- block by block -------------------------------------------------------------------


def memory() -> int:
    """Bytes of memory that this process may get: of the machine, or of its container."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(
        os, "sysconf") else 1 << 33
    return int(min(total, memory_limit()))


def is_large(data: str) -> bool:
    """Whether a file's rows would take more than SHARE_OF_MEMORY."""
    path = Path(data)
    if not path.is_file():
        return False
    size = path.stat().st_size * max(_UNPACKED.get(end.lower(), 1.0) for end in (
        path.suffixes or [""]))
    return size > SHARE_OF_MEMORY * memory()


class Share(Chosen):
    """The rows of a table whose random number in [0, 1) is in an interval.

    A row's number depends only on the seed, its part and its position there. Rows are counted by
    the columns ``counted_by``: others may be unreadable.
    """

    def __init__(self, table: Table, low: float, high: float, seed: int,
                 counted_by: Sequence[str]) -> None:
        super().__init__(table, counted_by)
        self.low, self.high, self.seed, self.any_row = low, high, seed, _TRAINED

    def typed(self, text: Sequence[str] = (), numbers: Sequence[str] = (),
              na_values: Sequence[str] = ()) -> Table:
        """The same rows of the table typed so."""
        return Share(self.table.typed(text, numbers, na_values), self.low, self.high, self.seed,
                     self.counted_by)

    def chosen(self, index: int, columns: Sequence[str] | None,
               rows: int) -> Iterator[tuple[Columns, Array]]:
        """Each piece of a part with all rows, and of which of them the number is in the
        interval."""
        draw = np.random.default_rng([self.seed, index])
        for piece in self.table.part(index, columns, rows):
            chance = draw.random(rows_of(piece))
            yield piece, (self.low <= chance) & (chance < self.high)

    def part(self, index: int, columns: Sequence[str] | None = None,
             rows: int = ROWS) -> Iterator[Columns]:
        """The rows of a part whose number is in the interval."""
        for piece, here in self.chosen(index, columns, rows):
            if len(at := np.flatnonzero(here)):
                yield rows_at(piece, at)


def _stream(settings: Mapping[str, Any], table: Table, preprocessor: Preprocessor,
            target: Target, n_rows: int, dropped: dict[str, int]) -> Prepared:
    """Rows to train on stay in the file; held-out rows are in memory, about MOST_HELD at most to
    validate on, and as many to test on."""
    most, seed, name = MOST_HELD / n_rows, settings["split_seed"], settings["weight"]
    digest = Digest()
    split = 0.0 if settings["validation"] is not None else settings["validation_split"]
    tested = min(settings["test_split"], most)
    held = min(split * (1 - tested), most)  # of the rows left, as in memory
    if tested + held == 0:
        trained = _trained(table, target, name, digest)[1]
        if name is not None:
            _tell_untrained(settings, target, trained, lambda: trained)
        source = TableStream(table, preprocessor, target, weight=name, n_rows=n_rows,
                             dtype=settings["dtype"])
        other = _from_file(settings, preprocessor, target, dropped)
        digest.add("held", other or ())
        return Prepared(name_of(settings["data"]), preprocessor, target, n_rows, source, other,
                        None, dropped, digest)

    rest = Share(table, tested + held, 1.0, seed, [target.name])
    n_train, trained = _trained(rest, target, name, digest)
    if not n_train:
        raise ValueError(f"--test-split {settings['test_split']} and --validation-split {split} "
                         f"of {n_rows} rows leave none to train on")
    _tell_untrained(settings, target, trained, lambda: _trained(table, target, name)[1])
    preprocessor = _measured(settings, rest, preprocessor)

    def part(low: float, high: float, what: str) -> Rows | None:
        if low == high:
            return None
        found = features_of(settings, Share(table, low, high, seed, [target.name]),
                            preprocessor, target, f" to {what}")
        return found if len(found[0]) else None

    source = TableStream(rest, preprocessor, target, weight=name, n_rows=n_train,
                         dtype=settings["dtype"])
    parts = (_from_file(settings, preprocessor, target, dropped)
             or part(tested, tested + held, "validate on"), part(0.0, tested, "test on"))
    for what, rows in zip(("held", "test"), parts, strict=True):
        digest.add(what, rows or ())
    return Prepared(name_of(settings["data"]), preprocessor, target, n_train, source, *parts,
                    dropped, digest)
