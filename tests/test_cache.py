"""The folder of compiled kernels: what its name tells apart, what is kept in it, what is refused.

``test_jit`` has what takes a process of its own.
"""

from __future__ import annotations

import builtins
import errno
import hashlib
import os
import pickle
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
import pytest

from fastbp import _cache, _jit

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
    monkeypatch.setattr("os.path.expanduser", lambda path: "home")
    assert find() is None and not [*tmp_path.iterdir()]
    monkeypatch.setattr("os.path.expanduser", lambda path: str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", "here")  # its specification: to be ignored
    assert find().parent == tmp_path / "home" / ".cache" / "fastbp"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert find().parent == tmp_path / "own" / "fastbp"


def test_a_tilde_is_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("FASTBP_CACHE_DIR", os.path.join("~", "cc"))
    assert find().parent == tmp_path / "home" / "cc"
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert find() is None and [path.name for path in tmp_path.iterdir()] == ["home"]


def test_folders_of_old_versions_are_removed_when_one_is_made(parent: Path) -> None:
    entry, old = f"shuffle-{'0f' * 16}", 91 * 86400

    def made(name: str, *files: str, days: float = 91) -> Path:
        (parent / name).mkdir(parents=True)
        for file in files:
            (parent / name / file).write_text("x")
        os.utime(parent / name, (time.time() - days * 86400,) * 2)
        return parent / name

    gone = [made("0" * 20, entry, f"{entry}.12-34.tmp"), made("1" * 20)]
    kept = [made("2" * 20, entry, days=89), made("3" * 20, entry, "notes.txt"),
            made("4" * 20, f"{'5' * 20}.d"), made("0" * 19), made("G" * 20), made("mine", entry)]
    (parent / ("6" * 20)).write_text("a file")
    folder = find()
    assert not [path for path in gone if path.exists()]
    assert all(path.exists() for path in [*kept, folder, parent / ("6" * 20)])
    assert (kept[1] / entry).exists(), "all or nothing"
    os.utime(folder, (time.time() - old,) * 2)
    made("7" * 20)
    assert find() == folder and time.time() - folder.stat().st_mtime < 86400, "it is in use"
    assert (parent / ("7" * 20)).exists(), "nothing was made, nothing looked at"


def test_what_cannot_be_removed_is_no_error(
        parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (parent / ("0" * 20)).mkdir(parents=True)
    os.utime(parent / ("0" * 20), (0, 0))

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "refused")

    with monkeypatch.context() as patch:
        for owner, name in ((Path, "rmdir"), (os, "utime")):
            patch.setattr(owner, name, refused)
        assert find() is not None and find().exists()
    assert (parent / ("0" * 20)).exists()


@pytest.mark.skipif(_jit.DISABLED, reason="nothing is compiled")
def test_only_a_folder_that_cannot_be_had_is_warned_of(
        monkeypatch: pytest.MonkeyPatch, parent: Path, package: Path) -> None:
    def compiled() -> None:
        monkeypatch.setattr(_cache, "cache_dir", find)
        _cache._warned.clear()
        _jit._compile(writes(1))(np.zeros(1))

    compiled()
    parent.rename(parent.with_name("moved"))
    parent.write_text("a file")
    with pytest.warns(RuntimeWarning, match=f"anew: {re.escape(str(parent))}.*FASTBP_CACHE_DIR"
                      ) as told:
        compiled()
    assert [warning.filename for warning in told] == [__file__]
    with pytest.raises(RuntimeWarning, match="anew"):
        compiled()
    _jit._compile(writes(2))(np.zeros(1))  # told once, also where that was an error
    monkeypatch.setenv("FASTBP_CACHE_DIR", "")
    compiled()
    monkeypatch.delenv("FASTBP_CACHE_DIR")
    for path in package.rglob("*.py"):  # in an archive no other folder would help
        path.unlink()
    compiled()


def test_an_empty_name_is_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FASTBP_CACHE_DIR", "")
    monkeypatch.chdir(tmp_path)
    assert find() is None and not [*tmp_path.iterdir()]


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_only_a_folder_that_is_ones_own_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = find()
    for mode, used in ((0o755, True), (0o775, False), (0o757, False), (0o700, True)):
        folder.chmod(mode)
        assert (find() == folder) is used
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert find() is None


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
    (_cache.config, "USING_SVML", "other"), (llvmlite, "__version__", "0.0"),
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

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "read-only")  # whether there is such a file or not

    monkeypatch.setattr(builtins, "open", opened)
    monkeypatch.setattr(os, "open", opened_low)
    monkeypatch.setattr(Path, "unlink", unlinked)


def test_a_folder_that_cannot_be_written_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = find()
    unwritable(monkeypatch)
    assert folder is not None and find() == folder


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where kernels are kept that are compiled within this process."""
    if _jit.DISABLED:
        pytest.skip("nothing is compiled")
    monkeypatch.setattr(_cache, "cache_dir", lambda: tmp_path)
    return tmp_path


def writes(number: int, module: str = "math", name: str = "outer.f") -> Callable[..., None]:
    """A function that writes a number, as if it were defined in some module."""
    space: dict[str, Any] = {"__name__": module}
    exec(f"def f(x):\n    x[0] = {number}", space)
    space["f"].__qualname__ = name
    return space["f"]


def called(make: Any, func: Callable[..., None], dtype: str = "f8") -> tuple[float, int]:
    """(what a dispatcher of the function writes, how many of its kernels the cache had)."""
    kernel, x = make(func), np.zeros(1, dtype)
    kernel(x)
    others = [kernel._twin] if getattr(kernel, "_twin", None) else [kernel]
    return float(x[0]), sum(sum(one.stats.cache_hits.values()) for one in others)


def test_each_function_type_and_option_has_an_entry_of_its_own(folder: Path) -> None:
    def contract(func: Callable[..., None]) -> Any:
        return _jit.kernel(func, fastmath=_jit.CONTRACT)

    def forced(func: Callable[..., None]) -> Any:
        return _jit.kernel(func, forceinline=True)

    cases: list[tuple[Any, dict[str, str], str]] = [
        (_jit.kernel, {}, "f8"), (_jit.kernel, {}, "f4"), (_jit.kernel, {"module": "json"}, "f8"),
        (_jit.kernel, {"name": "inner.f"}, "f8"), (contract, {}, "f8"), (forced, {}, "f8")]
    for seen, (make, place, dtype) in enumerate(cases):
        assert len([*folder.iterdir()]) == seen
        func = writes(seen + 1, **place)  # what others write would be wrong
        assert called(make, func, dtype) == (seen + 1, 0)
        assert called(make, func, dtype) == (seen + 1, 1)


def test_kernels_for_other_features_of_the_cpu_are_compiled(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NUMBA_CPU_FEATURES and NUMBA_ENABLE_AVX choose them; the host is the same."""
    assert called(_jit.kernel, writes(1)) == (1, 0)
    monkeypatch.setattr("numba.core.codegen.CPUCodegen.magic_tuple", lambda _: ("x", "y", "+z"))
    assert called(_jit.kernel, writes(2)) == (2, 0)


def test_a_kernel_for_kernels_is_kept_apart_from_that_for_python(folder: Path) -> None:
    func, types = writes(1), (_jit.numba.types.float64[::1],)
    _jit.entry_point(_jit.kernel(func), types)
    assert called(_jit.kernel, func) == (1, 0) and len([*folder.iterdir()]) == 2
    kernel = _jit.kernel(func)
    assert _jit.entry_point(kernel, types) > 0 and sum(kernel.stats.cache_hits.values()) == 1


def test_a_file_is_used_only_if_its_checksum_is_right(folder: Path) -> None:
    assert called(_jit.kernel, writes(1)) == (1, 0)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(bytes(32) + whole[32:])  # it could be read, and is not trusted
    assert called(_jit.kernel, writes(1)) == (1, 0)
    assert called(_jit.kernel, writes(1)) == (1, 1)


def test_machine_code_is_kept_once_it_is_made(folder: Path) -> None:
    types = (_jit.numba.types.float64[::1],)

    def waits(func: Callable[..., None]) -> bool:
        kernel = _jit.kernel(func)
        kernel.compile(types)
        return bool(getattr(kernel.overloads[types].library, "waits", False))

    assert [waits(writes(1)) for _ in range(2)] == [True, True], "nobody has asked for it"
    kernel = _jit.kernel(writes(1))
    address = _jit.entry_point(kernel, types)
    (file,) = folder.iterdir()
    before = file.stat().st_mtime_ns
    assert _jit.entry_point(kernel, types) == address and not waits(writes(1))
    _jit.entry_point(_jit.kernel(writes(1)), types)
    assert file.stat().st_mtime_ns == before


@pytest.mark.parametrize("payload", [b"nonsense", pickle.dumps(None), pickle.dumps((1, 2)), b""])
def test_a_whole_file_of_something_else_is_compiled_again(payload: bytes, folder: Path) -> None:
    assert called(_jit.kernel, writes(1)) == (1, 0)
    (file,) = folder.iterdir()
    file.write_bytes(hashlib.sha256(payload).digest() + payload)
    assert called(_jit.kernel, writes(1)) == (1, 0)
    assert called(_jit.kernel, writes(1)) == (1, 1)


@pytest.mark.parametrize("fails", ["open", "replace"])
def test_what_cannot_be_kept_leaves_nothing_behind(
        fails: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch:
        if fails == "open":
            unwritable(patch)
        else:
            patch.setattr(os, "replace", full)
        assert called(_jit.kernel, writes(1)) == (1, 0)
    assert not [*folder.iterdir()]


def test_a_cache_can_be_turned_off_and_emptied(folder: Path) -> None:
    def off(func: Callable[..., None]) -> Any:
        kernel = _jit._compile(func)
        kernel._cache.disable()
        return kernel

    assert called(off, writes(1)) == (1, 0) and not [*folder.iterdir()]
    assert called(_jit._compile, writes(1)) == (1, 0) and called(off, writes(1)) == (1, 0)
    kernel, other = off(writes(1)), folder / "ff-1"
    kernel._cache.enable()
    kernel(np.zeros(1))
    assert sum(kernel.stats.cache_hits.values()) == 1 and kernel.stats.cache_path == str(folder)
    other.write_text("of another kernel")
    kernel._cache.flush()
    assert [*folder.iterdir()] == [other]


@pytest.mark.skipif(_jit.DISABLED, reason="nothing is compiled")
def test_without_a_folder_there_is_nothing_to_read_or_empty(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cache, "cache_dir", lambda: None)
    kernel = _jit._compile(writes(1))
    kernel(np.zeros(1))
    kernel._cache.flush()
    assert kernel.stats.cache_path is None
