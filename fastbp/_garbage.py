"""Python's collection of garbage while many objects are made that stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_full_collections() -> Iterator[None]:
    """Leave the oldest objects to themselves: to look through all of them, time and again while
    an import or the compiler makes many, takes a third of the one, a fifteenth of a first fit,
    and more in a large program.

    Where the interpreter collects in steps, and knows no oldest objects, this changes nothing.
    """
    before = gc.get_threshold()
    held = *before[:2], 1_000_000
    gc.set_threshold(*held)
    try:
        yield
    finally:
        if gc.get_threshold() == held:  # nobody else has set it
            gc.set_threshold(*before)
