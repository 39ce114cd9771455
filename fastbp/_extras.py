"""Optional packages: if an import fails, the message tells what to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(what: str, extra: str) -> Iterator[None]:
    """Context for the imports of an extra; ``what`` says for the message what needs which package.

    Raises
    ------
    ImportError
        If one of them fails.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(f'{what}: pip install "fastbp[{extra}]"') from error
