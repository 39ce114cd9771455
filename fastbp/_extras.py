"""Packages that are no part of the core: an import that fails tells what to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(what: str, extra: str) -> Iterator[None]:
    """Around the imports of an extra; ``what`` needs which package, for the message.

    Raises
    ------
    ImportError
        Where one of them fails.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(f'{what}: pip install "fastbp[{extra}]"') from error
