"""What an error in ``fit`` leaves behind, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def as_before_on_error(estimator: Any) -> Iterator[None]:
    """If the block raises, all attributes are as before."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


@contextmanager
def named(name: str) -> Iterator[None]:
    """An error of the block begins with ``name``: scikit-learn's speak of X and y."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{name}: {error}") from error
