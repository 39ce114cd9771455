"""Whether the rows of a run are still those with which it began."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from .._validation import Array


class Digest:
    """Of arrays that come in pieces: ``str`` of it differs if any of their numbers do."""

    def __init__(self) -> None:
        self._found = dict[tuple[str, int], "hashlib._Hash"]()

    def add(self, what: str, arrays: Iterable[Array]) -> None:
        """More rows of these arrays, which are told apart by ``what`` and by their order."""
        for i, array in enumerate(arrays):
            own = self._found.setdefault((what, i), hashlib.sha256())
            if array.size:
                own.update(np.ascontiguousarray(array).data)

    def __str__(self) -> str:
        return hashlib.sha256(repr([(key, own.hexdigest()) for key, own in sorted(
            self._found.items(), key=lambda one: one[0])]).encode()).hexdigest()
