"""Which of Numba's threading layers is taken, and when none is, without starting a thread."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from fastbp import _jit


@pytest.fixture(autouse=True)
def nothing_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has had no parallel region yet."""
    def unknown() -> str:
        raise ValueError("no threading layer is initialized")

    monkeypatch.setattr(_jit.numba, "threading_layer", unknown)
    monkeypatch.setattr(_jit, "_preload_tbb", lambda: None)


@pytest.mark.parametrize(("wanted", "has", "expected"), [
    ("default", {"tbb", "omp"}, "tbb"), ("default", {"omp"}, "omp"),
    ("default", set(), "workqueue"), ("safe", {"tbb", "omp"}, "tbb"),
    ("safe", {"omp"}, "workqueue"),
    ("forksafe", {"tbb", "omp"}, "tbb"), ("forksafe", {"omp"}, "workqueue"),
    ("threadsafe", {"omp"}, "omp"), ("threadsafe", {"tbb", "omp"}, "tbb"),
    ("threadsafe", set(), "workqueue"), ("omp", {"tbb", "omp"}, "omp"),
    ("OMP", {"tbb", "omp"}, "omp"), ("tbb", {"tbb", "omp"}, "tbb"),
    ("workqueue", {"tbb", "omp"}, "workqueue"),
])
def test_the_layer_is_the_first_there_is_of_those_wanted(
        wanted: str, has: set[str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_jit.config, "THREADING_LAYER", wanted)
    monkeypatch.setattr(_jit.config, "THREADING_LAYER_PRIORITY", ["tbb", "omp", "workqueue"])
    monkeypatch.setattr(_jit, "_has_layer", has.__contains__)
    assert _jit.threading_layer.__wrapped__() == expected
    monkeypatch.setattr(_jit.numba, "threading_layer", lambda: "omp")
    assert _jit.threading_layer.__wrapped__() == "omp", "what Numba uses already"


@pytest.mark.parametrize(("wanted", "has", "loaded"), [
    ("default", {"omp"}, False), ("default", set(), True), ("tbb", {"omp"}, True),
    ("safe", {"omp"}, True), ("omp", set(), False), ("threadsafe", {"omp"}, False)])
def test_tbb_is_loaded_only_where_it_would_be_used(
        wanted: str, has: set[str], loaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    monkeypatch.setattr(_jit.config, "THREADING_LAYER", wanted)
    monkeypatch.setattr(_jit.config, "THREADING_LAYER_PRIORITY", ["tbb", "omp", "workqueue"])
    monkeypatch.setattr(_jit, "_has_layer", has.__contains__)
    monkeypatch.setattr(_jit, "_preload_tbb", lambda: loads.append(1))
    _jit.threading_layer.__wrapped__()
    assert bool(loads) == loaded


def test_a_layer_whose_library_is_missing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> Any:
        raise ImportError(f"{name}: libtbb.so.12: cannot open shared object file")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(importlib, "import_module", fails)
    assert not _jit._has_layer("tbb")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not _jit._has_layer("omp")


def test_a_library_of_tbb_that_cannot_be_loaded_is_told(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    _jit._preload_tbb()  # none is there
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libtbb.so.12").write_text("no library")
    with pytest.warns(RuntimeWarning, match="libtbb.so.12 cannot be loaded"):
        _jit._preload_tbb()
    given: list[Any] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name, mode: given.append((name, mode)))
    _jit._preload_tbb()
    assert given == [(str(tmp_path / "lib" / "libtbb.so.12"), ctypes.RTLD_GLOBAL)]


@pytest.mark.parametrize(("forked", "disabled", "layer", "allowed"), [
    (False, False, "omp", True), (True, False, "omp", False), (False, True, "omp", False),
    (False, False, "workqueue", False), (False, False, "tbb", True)])
def test_regions_are_parallel_only_where_that_is_safe(
        forked: bool, disabled: bool, layer: str, allowed: bool,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_jit, "_forked", forked)
    monkeypatch.setattr(_jit, "DISABLED", disabled)
    monkeypatch.setattr(_jit, "threading_layer", lambda: layer)
    assert _jit.parallel_allowed() == allowed
    twins = _jit.driver(lambda: None)
    twins.serial, twins.parallel = (lambda: "serial"), (lambda: "parallel")
    assert twins() == ("parallel" if allowed else "serial")
