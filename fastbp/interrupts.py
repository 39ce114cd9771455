"""Ctrl-C and SIGTERM during operations that must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_HELD = signal.SIGINT, signal.SIGTERM


@contextmanager
def held() -> Iterator[None]:
    """Defer a first Ctrl-C or SIGTERM to the end of the (outermost) block; a second one acts at
    once, after the first.

    Only signals with a Python handler, which may raise, and only in the main thread, where it
    would run.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Callable[[int, FrameType | None], object]] = {
        number: handler for number in _HELD if callable(handler := signal.getsignal(number))}
    if any(getattr(handler, "holds", False) for handler in before.values()):
        yield
        return
    came, waiting = 0, list[tuple[int, FrameType | None]]()

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came += 1
        waiting.append((number, frame))
        if came > 1:
            handle()

    def handle() -> None:
        while waiting:  # a handler may raise: the end of the block comes back to the rest
            number, frame = waiting.pop(0)
            before[number](number, frame)

    hold.holds = True  # type: ignore[attr-defined]
    for number in before:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        handle()
