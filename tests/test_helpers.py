"""What much else stands on: optional packages, garbage collection, an iterator ahead."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Generator, Iterator

import pytest

from fastbp import _cache, _jit
from fastbp._extras import needs
from fastbp._garbage import no_full_collections
from fastbp.ahead import Ahead


@pytest.mark.parametrize("error", [ImportError("libx: broken"), ModuleNotFoundError("x")])
def test_a_package_that_is_missing_or_broken_is_named_with_its_cause(error: ImportError) -> None:
    message = r'^plots need x: pip install "fastbp\[plot\]"$'
    with pytest.raises(ImportError, match=message) as found, needs("plots need x", "plot"):
        raise error
    assert found.value.__cause__ is error
    with pytest.raises(KeyError), needs("plots need x", "plot"):
        raise KeyError


@pytest.fixture
def thresholds() -> Iterator[tuple[int, ...]]:
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)


def test_thresholds_of_the_collector_that_others_set_meanwhile_stay(
        thresholds: tuple[int, ...]) -> None:
    with no_full_collections():
        gc.set_threshold(500, 5, 6)
        others = gc.get_threshold()
    assert gc.get_threshold() == others


def test_thresholds_of_the_collector_are_what_they_were_however_blocks_meet(
        thresholds: tuple[int, ...]) -> None:
    for first, second in ((0, 1), (1, 0)):  # of threads, the first to begin may end first
        blocks = no_full_collections(), no_full_collections()
        for block in blocks:
            block.__enter__()
        blocks[first].__exit__(None, None, None)
        blocks[second].__exit__(None, None, None)
        assert gc.get_threshold() == thresholds


@pytest.mark.skipif(_jit.DISABLED, reason="nothing is compiled")
def test_loops_have_vectors_as_long_as_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM would take half of them where it expects AVX-512 to lower the clock."""
    def double(x):  # type: ignore[no-untyped-def]
        for i in range(x.size):
            x[i] += x[i]

    monkeypatch.setattr(_cache, "cache_dir", lambda: None)
    kernel, types = _jit.kernel(double), (_jit.numba.types.float32[::1],)
    _jit.entry_point(kernel, types)
    code = kernel.overloads[types].library.get_llvm_str()
    assert '"prefer-vector-width"="512"' in code


class Item:
    """Can be referred to weakly."""


def test_one_item_is_made_ahead_and_none_is_kept() -> None:
    dropped, closed, kept = threading.Event(), threading.Event(), list[bool]()

    def items() -> Generator[Item, None, None]:
        try:
            for _ in range(9):
                item = Item()
                reference = weakref.ref(item)
                yield item
                del item
                assert dropped.wait(60)
                kept.append(reference() is not None)
        finally:
            closed.set()

    ahead = Ahead(items())
    first = ahead.take()
    del first
    dropped.set()
    second = ahead.take()
    assert kept[0] is False and isinstance(second, Item)
    ahead.close()
    assert closed.is_set() and not any(kept) and not ahead._thread.is_alive()


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_an_error_of_the_thread_is_raised_by_who_takes(error: type[BaseException]) -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        raise error

    ahead = Ahead(items())
    assert ahead.take() == 1
    with pytest.raises(error):
        ahead.take()
    assert not ahead.busy
    ahead.close()


def test_a_thread_is_busy_until_it_has_made_the_next() -> None:
    go = threading.Semaphore(0)

    def items() -> Generator[int, None, None]:
        for n in range(2):
            assert go.acquire(timeout=60)
            yield n

    ahead = Ahead(items())
    assert ahead._thread.daemon
    for n in range(2):
        assert ahead.busy
        go.release()
        for _ in range(6000):
            if not ahead.busy:
                break
            time.sleep(0.01)
        assert not ahead.busy and ahead.take() == n
    with pytest.raises(StopIteration):
        ahead.take()
    assert not ahead.busy
    ahead.close()
