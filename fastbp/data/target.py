"""The column to predict: classes as indices, numbers standardised, and the way back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from .._validation import Array, check_choice
from .columns import array, first, missing, numbers, plain, text

if TYPE_CHECKING:
    from .table import Table

FORMAT = "fastbp-target-1"
TASKS = ("classification", "regression")
Class = str | int | float | bool


def _kind(value: Any) -> type | None:
    """Text, number or boolean; None for anything else."""
    return next((kind for kind, types in ((bool, (bool, np.bool_)), (float, Real),
                                          (str, str)) if isinstance(value, types)), None)


def check_present(values: Array, name: str, first_row: int) -> None:
    """Refuse a target without a value, naming its first row."""
    gone = missing(values)
    if gone.any():
        raise ValueError(f"target {name!r} has no value in {first(gone, first_row)}: drop such "
                         f"rows (drop_missing=[{name!r}])")


class Target:
    """The column to predict.

    Parameters
    ----------
    name : str
        Name of the column.
    task : {"classification", "regression"}
    classes : sequence of str, int, float or bool
        In the order of the outputs; two or more, only for classification.
    mean, scale : float
        For regression: a network is trained on (value - mean) / scale.

    Raises
    ------
    ValueError, TypeError
        For classes that do not fit the task or each other or are not finite, or a scale that is
        not above 0.
    """

    def __init__(self, name: str, task: str, classes: Sequence[Class] | None = None,
                 mean: float = 0.0, scale: float = 1.0) -> None:
        self.name, self.task = name, check_choice(task, "task", TASKS)
        self.classes = None if classes is None else [  # Python's own types, for the model file
            value.item() if isinstance(value, np.generic) else value for value in classes]
        self.mean, self.scale = float(mean), float(scale)
        if (self.classes is None) != (task == "regression"):
            raise ValueError(f"target {name!r}: classes are for classification, and there they "
                             f"must be given; got {self.classes} for {task}")
        if self.classes is not None:
            if len(set(map(_kind, self.classes))) > 1 or None in map(_kind, self.classes):
                raise TypeError(f"target {name!r} must have classes of one kind, text, numbers or "
                                f"booleans, got {self.classes}")
            if any(isinstance(value, float) and not math.isfinite(value)
                   for value in self.classes):
                raise ValueError(f"target {name!r} must have finite classes, got {self.classes}")
            if len(self.classes) < 2:
                raise ValueError(f"target {name!r} has one class only, {self.classes[0]!r}: there "
                                 "is nothing to tell apart" if self.classes else
                                 f"target {name!r} has no classes")
            if len(set(self.classes)) < len(self.classes):
                raise ValueError(f"target {name!r} names a class twice: {self.classes}")
        if not (math.isfinite(self.mean) and math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"target {name!r} has mean {mean}, scale {scale}")

    @property
    def n_outputs(self) -> int:
        """Number of outputs of a network: one for each class, or one for regression."""
        return 1 if self.classes is None else len(self.classes)

    @property
    def _words(self) -> bool:
        return self.classes is not None and all(isinstance(c, str) for c in self.classes)

    def typed(self, table: Table) -> Table:
        """``table`` with this column read as words if the classes are words."""
        return table.typed([self.name] if self._words else [])

    def encode(self, values: Any, *, first_row: int = 0) -> Array:
        """The column as a network trains on it.

        Parameters
        ----------
        values : array_like, shape (n,)
        first_row : int
            Number of the first row, for messages.

        Returns
        -------
        ndarray
            Class indices (n,), int64; or standardised numbers (n, 1), float32.

        Raises
        ------
        ValueError
            For a missing value or an unknown class: names the row.
        """
        values = array(values)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1:
            raise ValueError(f"target {self.name!r} must be 1-D, got shape {values.shape}")
        check_present(values, self.name, first_row)
        if self.classes is None:
            found = numbers(values, self.name, first_row)
            with np.errstate(over="ignore"):
                return ((found - self.mean) / self.scale).astype(np.float32)[:, None]
        return self._indices(values, first_row)

    def _indices(self, values: Array, first_row: int) -> Array:
        assert self.classes is not None
        if values.dtype.kind in "buif" and self._words:
            words, codes = text(values)  # a file whose words all look like numbers
            values = words[codes]
        places = {value: i for i, value in enumerate(self.classes)}
        if values.dtype == object or values.dtype.kind == "U":
            codes = np.fromiter((places.get(v, -1) for v in values.tolist()), np.int64,
                                len(values))
        else:
            different, inverse = np.unique(values, return_inverse=True)
            own = [places.get(v, -1) for v in different.tolist()]
            codes = np.array(own, np.int64)[inverse.reshape(-1)]
        new = codes < 0
        if new.any():  # files may have 1.0 or True; and a column with one odd word is all words
            alike = {plain(str(name)): i for i, name in enumerate(self.classes)}
            codes[new] = [alike.get(plain(str(v)), -1) for v in values[new].tolist()]
            new = codes < 0
        if new.any():
            value = values[new].tolist()[0]
            value = int(value) if isinstance(value, float) and value.is_integer() else value
            raise ValueError(f"target {self.name!r} holds {value!r} in "
                             f"{first(new, first_row)}, which is none of the classes "
                             f"{self.classes[:10]}{'...' if len(self.classes) > 10 else ''}")
        return codes

    def decode(self, outputs: Any, threshold: float = 0.5) -> Array:
        """Outputs of a network in the words or numbers of the column.

        Parameters
        ----------
        outputs : array_like
            Probabilities (n, classes), or of the second class alone (n, 1); class indices
            (n,), integers; or standardised numbers (n, 1).
        threshold : float
            A single output above it means the second class.

        Returns
        -------
        ndarray, shape (n,)
        """
        outputs = np.asarray(outputs)
        if self.classes is None:
            return outputs.reshape(len(outputs)).astype(np.float64) * self.scale + self.mean
        if outputs.ndim == 2:
            outputs = (outputs.argmax(axis=1) if outputs.shape[1] > 1
                       else (outputs[:, 0] > threshold).astype(np.int64))
        classes: list[Any] = self.classes
        found = np.array(classes)
        if found.dtype.kind == "f" and all(isinstance(value, int) for value in classes):
            # NumPy makes floats of integers from 2**63 on beside smaller ones: some become equal.
            found = np.array(classes, np.uint64 if min(classes) >= 0 else object)
        return found[outputs]

    def to_dict(self) -> dict[str, Any]:
        """Description in types of JSON."""
        return {"format": FORMAT, "name": self.name, "task": self.task, "classes": self.classes,
                "mean": self.mean, "scale": self.scale}

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> Target:
        """The target described by ``to_dict``.

        Raises
        ------
        ValueError
            If it is of another format, or damaged.
        """
        entries = dict(described)
        if entries.pop("format", None) != FORMAT:
            raise ValueError(f"target of format {described.get('format')!r}, expected {FORMAT!r}")
        try:
            return cls(**entries)
        except (TypeError, OverflowError) as error:
            raise ValueError(f"target is damaged: {error}") from error

    def __repr__(self) -> str:
        what = f"{len(self.classes)} classes" if self.classes is not None else (
            f"mean {self.mean:g}, scale {self.scale:g}")
        return f"Target({self.name!r}, {self.task!r}, {what})"
