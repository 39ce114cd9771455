"""Figures of a training run, by name."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np


class History(dict[str, list[float]]):
    """Figures by name, one entry per epoch: "loss", "samples_per_s", "val_loss", ... An epoch
    that a callback has ended before its last step is not validated: it has no "val_...".

    Numbers that a callback puts into ``logs`` under a new name are figures too: NaN in epochs
    before one that has them, and lists end with the last such epoch."""

    @property
    def history(self) -> dict[str, list[float]]:
        """The same dict, under the name that Keras uses."""
        return self

    def append(self, logs: dict[str, float]) -> None:
        """Add the figures of an epoch."""
        self.extend({name: [value] for name, value in logs.items()})

    def add(self, logs: dict[str, float]) -> None:
        """Add more figures of the last epoch; what is no number is left out."""
        at = len(self.get("loss", ())) - 1
        for name, value in logs.items():
            if (number := as_number(value)) is not None:
                values = self.setdefault(name, [])
                values.extend([math.nan] * (at - len(values)))
                values[at:] = [number]

    def extend(self, logs: dict[str, list[float]]) -> None:
        """Add the figures of several epochs."""
        for name, values in logs.items():
            self.setdefault(name, []).extend(values)


def as_name(name: Any) -> str:
    """What a callback has put as a name, as text."""
    return name if isinstance(name, str) else str(name)


def as_number(value: Any) -> float | None:
    """What ``float`` makes of a scalar, a tensor of no dimensions too; None of text, of what a
    mask hides, and of what is no real number."""
    kind = getattr(getattr(value, "dtype", None), "kind", "f")  # a tensor's dtype has none
    if kind in "biuf" and value is not np.ma.masked and not getattr(value, "ndim", 0) and (
            not isinstance(value, (str, bytes, bytearray))):
        with suppress(Exception):  # whatever a tensor's ``__float__`` raises
            return float(value)
    return None
