"""An iterator run by a thread of its own, one item ahead of its consumer."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class Ahead(Generic[Item]):
    """Make the next item while the last one is in use; where no thread can be started, as at the
    program's end, make it when it is taken.

    The queues are those written in C: the ones in Python, and semaphores, may block forever after
    a Ctrl-C within one of their calls; after one within its ``join``, a thread passes for ended.

    Parameters
    ----------
    items : generator
        Run, and finally closed, by the thread.

    Attributes
    ----------
    busy : bool
        Whether the thread is at work, or about to be.
    """

    def __init__(self, items: Generator[Item, None, None]) -> None:
        self._items, self._asked, self._made = items, SimpleQueue[None](), SimpleQueue[Any]()
        self._end = SimpleQueue[None]()
        self.busy, self._over, self._ended = True, False, False
        self._asked.put(None)
        thread = Thread(target=self._work, name="fastbp-blocks", daemon=True)
        self._thread: Thread | None = thread
        try:
            thread.start()
        except RuntimeError:
            self._thread, self.busy = None, False

    def _work(self) -> None:
        try:
            while True:
                self._asked.get()
                if self._over:
                    return
                item = next(self._items)
                self.busy = False
                self._made.put(item)
                del item  # not kept alive while the next is made
        except BaseException as error:  # of any kind: ``take`` raises it
            self.busy = False
            self._made.put(error)
        finally:
            if self._over:
                self._made = SimpleQueue()  # nobody takes it; an error in it would hold all this
            try:
                self._items.close()
            finally:
                self._ended = True
                self._end.put(None)

    def take(self) -> Item:
        """The next item; raises the error if making it failed."""
        if self._thread is None:
            return next(self._items)
        item = self._made.get()
        if isinstance(item, BaseException):
            try:
                raise item
            finally:
                del item  # whose traceback has this frame: they would keep each other
        self.busy = True
        self._asked.put(None)
        taken: Item = item
        return taken

    def close(self, patience: float | None = None) -> bool:
        """End the thread, and wait until it has ended, but at most ``patience`` seconds: it closes
        the generator itself, also later. Returns whether it has ended."""
        if self._thread is None:
            self._items.close()
            return True
        self._over = True
        self._asked.put(None)
        if not self._ended:
            with suppress(Empty):
                self._end.get(timeout=patience)
                self._end.put(None)  # others may wait, too
        if self._ended:
            self._thread.join()
        return self._ended
