"""Ctrl-C and its like, while something is done that must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_HELD = signal.SIGINT, signal.SIGTERM


@contextmanager
def held() -> Iterator[None]:
    """The first Ctrl-C or SIGTERM counts when the block is over, with those around it; a second
    one at once.

    Only where Python has a handler, which may raise, and in the main thread, where it would.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Callable[[int, FrameType | None], object]] = {
        number: handler for number in _HELD if callable(handler := signal.getsignal(number))}
    if any(getattr(handler, "holds", False) for handler in before.values()):
        yield
        return
    came: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))
        if len(came) > 1:
            before[number](number, frame)

    hold.holds = True  # type: ignore[attr-defined]
    for number in before:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if len(came) == 1:
            before[came[0][0]](*came[0])
