"""An iterator run by a thread of its own, one item ahead of who takes them."""

from __future__ import annotations

from collections.abc import Generator
from threading import Event, Semaphore, Thread
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class Ahead(Generic[Item]):
    """Make the next item while the last one is in use.

    Parameters
    ----------
    items : generator
        Run, and in the end closed, by the thread.

    Attributes
    ----------
    busy : bool
        Whether the thread is at work, or about to be.
    """

    def __init__(self, items: Generator[Item, None, None]) -> None:
        self._items, self._ready, self._free = items, Semaphore(0), Semaphore(1)
        self._stop, self._slot = Event(), list[Any]()
        self.busy = True
        self._thread = Thread(target=self._work, name="fastbp-blocks", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            while True:
                self._free.acquire()
                if self._stop.is_set():
                    return
                self._slot.append(next(self._items))
                self.busy = False
                self._ready.release()
        except BaseException as error:  # for who waits, whatever it is
            self._slot.append(error)
            self.busy = False
            self._ready.release()
        finally:
            self._items.close()

    def take(self) -> Item:
        """The next item, or what went wrong making it."""
        self._ready.acquire()
        item = self._slot.pop()
        if isinstance(item, BaseException):
            raise item
        self.busy = True
        self._free.release()
        taken: Item = item
        return taken

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._free.release()
        self._thread.join()
        self._slot.clear()
