"""Means and variances of columns, part by part.

Those of each part are merged into those of the parts before (Chan, Golub & LeVeque, 1979), which
is stable where sums of squares are not:

    n = n1 + n2,  d = m2 - m1,  m = m1 + d n2 / n,  M = M1 + M2 + d^2 n1 n2 / n
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._validation import Array


class Moments:
    """Count, mean and sum of squared deviations of k columns, without NaN.

    Parameters
    ----------
    k : int
    """

    def __init__(self, k: int) -> None:
        self.count, self.mean, self.squares = np.zeros(k), np.zeros(k), np.zeros(k)

    def add(self, values: Array, at: slice = slice(None)) -> None:
        """Add rows (n, columns) to the moments of the columns ``at``."""
        with np.errstate(over="ignore", invalid="ignore"):  # see ``check``
            for i in range(0, len(values), 4096):  # float64 copies of a part that stays in cache
                self._merge(values[i:i + 4096].astype(np.float64), at)

    def _merge(self, part: Array, at: slice) -> None:
        known = ~np.isnan(part)
        count = known.sum(axis=0).astype(np.float64)
        part = np.where(known, part, 0)
        mean = part.sum(axis=0) / np.maximum(count, 1)
        squares = np.square(np.where(known, part - mean, 0)).sum(axis=0)
        total = self.count[at] + count
        share, away = count / np.maximum(total, 1), mean - self.mean[at]
        self.squares[at] += squares + np.square(away) * self.count[at] * share
        self.mean[at] += away * share
        self.count[at] = total

    def check(self, names: Sequence[str], *, squares: bool = True) -> None:
        """Refuse columns, by name, whose sums overflow float64; those of squares by default.

        Raises
        ------
        ValueError
            If there are numbers beyond some 1e150, without ``squares`` beyond some 1e304.
        """
        what = ("square (beyond 1e150 or so), which have no standard deviation" if squares else
                "add up (beyond 1e304 or so), which have no mean")
        for name, found in zip(names, self.squares if squares else self.mean, strict=True):
            if not np.isfinite(found):
                raise ValueError(f"{name} holds numbers too large to {what}")

    def spread(self) -> Array:
        """Standard deviations (divided by n); 0 where a column is constant to rounding."""
        spread = np.sqrt(self.squares / np.maximum(self.count, 1))
        return np.where(spread > 1e-14 * np.abs(self.mean), spread, 0.0)

    def scale(self) -> Array:
        """The same, but 1 where a column is constant."""
        spread = self.spread()
        return np.where(spread, spread, 1.0)
