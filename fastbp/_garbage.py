"""Garbage collection while many lasting objects are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_full_collections() -> Iterator[None]:
    """Do not collect the oldest generation: an import or the compiler makes many objects, and
    looking through all again and again takes a third of an import, a fifteenth of a first fit,
    and more in a large program.

    No effect if the interpreter collects incrementally, without an oldest generation.
    """
    before = gc.get_threshold()
    held = *before[:2], 1_000_000
    gc.set_threshold(*held)
    try:
        yield
    finally:
        if gc.get_threshold() == held:  # nobody else has set it
            gc.set_threshold(*before)
