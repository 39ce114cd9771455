"""Columns of a table and the features made of them: numbers, booleans, words."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from .._validation import Array, check_choice
from ..kernels.standardize import standardize
from .columns import first, missing, numbers, plain, text

#: Dtypes that compiled code reads without conversion.
PLAIN = (np.dtype(np.float32), np.dtype(np.float64))
ENCODINGS, UNKNOWN = ("onehot", "ordinal"), ("error", "ignore")


@dataclass(frozen=True)
class Numeric:
    """One feature, (value - mean) / scale; missing values become ``fill`` or are refused."""

    name: str
    mean: float = 0.0
    scale: float = 1.0
    fill: float | None = None

    def __post_init__(self) -> None:
        _to_floats(self, "mean", "scale", "fill")
        if self.scale <= 0:
            raise ValueError(f"column {self.name!r} has scale {self.scale:g}, which is not above "
                             "0")

    @property
    def feature_names(self) -> list[str]:
        """The name of the column."""
        return [self.name]

    def write(self, values: Array, out: Array, first_row: int = 0) -> None:
        """Put the feature of each value into ``out`` (n, 1)."""
        feature, plain = out[:, 0], values.dtype in PLAIN and values.flags.c_contiguous
        if plain and standardize(values, self.mean, self.scale, feature):
            return
        found = numbers(values, self.name, first_row)
        fill_missing(found, self.name, self.fill, first_row)
        standardize(found, self.mean, self.scale, feature)


@dataclass(frozen=True)
class Boolean:
    """One feature, 0 or 1; missing values become ``fill``, or are refused."""

    name: str
    fill: float | None = None

    def __post_init__(self) -> None:
        _to_floats(self, "fill")

    @property
    def feature_names(self) -> list[str]:
        """The name of the column."""
        return [self.name]

    def write(self, values: Array, out: Array, first_row: int = 0) -> None:
        """Put the feature of each value into ``out`` (n, 1)."""
        if values.dtype.kind in "OU" and any(isinstance(v, str) for v in values.tolist()):
            # A file's column is text if it has any other word.
            words = {"true": 1.0, "false": 0.0}
            values = np.array([words.get(v.lower(), v) if isinstance(v, str) else v
                               for v in values.tolist()], object)
        found = numbers(values, self.name, first_row, "true or false")
        odd = ~np.isin(found, (0, 1)) & ~np.isnan(found)
        if odd.any():
            raise ValueError(f"column {self.name!r} must hold true or false, got "
                             f"{found[odd][0]:g} in {first(odd, first_row)}")
        fill_missing(found, self.name, self.fill, first_row)
        out[:, 0] = found


@dataclass(frozen=True)
class Categorical:
    """Words: one feature for each, 0 or 1 ("onehot"), or a single one, its index ("ordinal").

    A word that is not among ``categories`` is refused ("error"), or gives 0 for all features,
    -1 if ordinal ("ignore").
    """

    name: str
    categories: tuple[str, ...]
    encoding: str = "onehot"
    unknown: str = "error"
    fill: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "categories", tuple(self.categories))
        if not all(isinstance(word, str) for word in self.categories):
            raise TypeError(f"column {self.name!r} has categories that are no text: "
                            f"{self.categories}")
        check_choice(self.encoding, "encoding", ENCODINGS)
        check_choice(self.unknown, "unknown", UNKNOWN)
        if len(set(self.categories)) < max(len(self.categories), 1):
            raise ValueError(f"column {self.name!r} needs different categories, got "
                             f"{self.categories}")
        if self.fill is not None and self.fill not in self.categories:
            raise ValueError(f"column {self.name!r} has fill {self.fill!r}, which is not among "
                             "its categories")

    @property
    def feature_names(self) -> list[str]:
        """column=category, or the name of the column."""
        if self.encoding == "ordinal":
            return [self.name]
        return [f"{self.name}={category}" for category in self.categories]

    def write(self, values: Array, out: Array, first_row: int = 0) -> None:
        """Put the features of each value into ``out`` (n, number of features)."""
        places = {word: i for i, word in enumerate(self.categories)}
        alike = {plain(word): i for word, i in places.items()}  # files may have 1.0 or True
        words, codes = text(values)
        mapped = np.array([places.get(w, alike.get(plain(w), -1)) for w in words] + [-1], np.int64)
        absent, found = codes < 0, mapped[codes]
        if absent.any():
            if self.fill is None:
                refuse_missing(self.name, absent, first_row)
            found[absent] = places[str(self.fill)]
        new = found < 0
        if new.any() and self.unknown == "error":
            word = words[codes[np.argmax(new)]]
            raise ValueError(f"column {self.name!r} holds {word!r} in {first(new, first_row)}, "
                             "which training has not seen (trained with unknown='ignore' it is "
                             "let in)")
        if self.encoding == "ordinal":
            out[:, 0] = found
            return
        out[...] = 0
        rows = np.flatnonzero(~new)
        out[rows, found[rows]] = 1


Column = Numeric | Boolean | Categorical
KINDS: dict[str, type[Column]] = {"numeric": Numeric, "boolean": Boolean,
                                  "categorical": Categorical}


def _to_floats(column: Any, *names: str) -> None:
    """Make these attributes finite floats: NumPy has no integer type for very large numbers."""
    for key in names:
        value: float | None = getattr(column, key)
        if value is None and key == "fill":
            continue
        if not isinstance(value, Real):
            raise TypeError(f"column {column.name!r} has {key} {value!r}, which is no number")
        if not abs(value) <= sys.float_info.max:
            raise ValueError(f"column {column.name!r} has {key} {value}")
        object.__setattr__(column, key, float(value))


def refuse_missing(name: str, where: Array, first_row: int) -> None:
    """Raise for the first row that has no value."""
    raise ValueError(f"column {name!r} has no value in {first(where, first_row)}: fill it, drop "
                     "the row, or train with missing='impute'")


def fill_missing(found: Array, name: str, fill: float | None, first_row: int) -> None:
    """Replace NaN by ``fill``; refuse it if that is None."""
    gone = missing(found)
    if gone.any():
        if fill is None:
            refuse_missing(name, gone, first_row)
        found[gone] = fill
