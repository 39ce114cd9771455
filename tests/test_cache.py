"""The folder of compiled kernels: what its name tells apart, what is kept in it, what is refused.

``test_jit`` has what takes a process of its own.
"""

from __future__ import annotations

import builtins
import errno
import os
from pathlib import Path
from typing import Any

import llvmlite.binding
import pytest

from fastbp import _cache

find = _cache.cache_dir.__wrapped__


@pytest.fixture(autouse=True)
def parent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where ``find`` makes folders."""
    monkeypatch.setenv("FASTBP_CACHE_DIR", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


def test_without_a_home_no_folder_is_made_where_one_happens_to_be(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A container's user may have none: "~" then stays as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FASTBP_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert find() is None and not [*tmp_path.iterdir()]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert find().parent == tmp_path / "own" / "fastbp"


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that stands for that of fastbp."""
    root = tmp_path / "package"
    (root / "inner").mkdir(parents=True)
    (root / "a.py").write_text("1")
    (root / "inner" / "b.py").write_text("2")
    monkeypatch.setattr(_cache, "__file__", str(root / "_cache.py"))
    return root


def test_any_change_of_the_sources_has_a_folder_of_its_own(package: Path) -> None:
    found = {find()}
    for change in (lambda: (package / "inner" / "b.py").write_text("3"),
                   lambda: (package / "a.py").rename(package / "c.py"),
                   lambda: (package / "c.py").rename(package / "inner" / "c.py"),
                   lambda: (package / "inner" / "d.py").write_text("")):
        before = len(found)
        change()
        found.add(find())
        assert len(found) == before + 1
    (package / "notes.txt").write_text("no code")
    assert find() in found and None not in found


def test_kernels_of_sources_that_cannot_be_read_are_not_cached(package: Path) -> None:
    (package / ".#a.py").symlink_to("nowhere")  # as Emacs marks a file that is being edited
    assert find() is None
    for path in package.rglob("*.py"):
        path.unlink()
    assert find() is None, "of fastbp in an archive"


@pytest.mark.parametrize(("owner", "name", "value"), [
    (_cache.config, "BOUNDSCHECK", 1), (_cache.config, "LOOP_VECTORIZE", 0),
    (_cache.config, "SLP_VECTORIZE", 1), (_cache.config, "DEBUGINFO_DEFAULT", 1),
    (_cache.config, "OPT", 0), (_cache.config, "CPU_NAME", "generic"),
    (_cache.numba, "__version__", "0.0"), (_cache.sys, "version", "3.0"),
    (llvmlite.binding, "get_host_cpu_name", lambda: "other"),
    (llvmlite.binding, "get_host_cpu_features", llvmlite.binding.FeatureMap),
    (_cache.platform, "machine", lambda: "other"),
])
def test_whatever_changes_compiled_code_has_a_folder_of_its_own(
        owner: Any, name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = find()
    monkeypatch.setattr(owner, name, value)
    assert before is not None and find() not in (before, None)


def unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can be made, as where a container's file system is read-only; root may all else."""
    whole, low = builtins.open, os.open

    def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if set(mode) & set("wxa+"):
            raise OSError(errno.EROFS, "read-only")
        return whole(file, mode, *args, **options)

    def opened_low(file: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, "read-only")
        return low(file, flags, *args, **options)

    monkeypatch.setattr(builtins, "open", opened)
    monkeypatch.setattr(os, "open", opened_low)


def test_a_folder_that_cannot_be_written_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = find()
    unwritable(monkeypatch)
    assert folder is not None and find() == folder
