"""The folder of compiled kernels: what its name tells apart, what is kept in it, what is refused.

``test_jit`` has what takes a process of its own.
"""

from __future__ import annotations

from pathlib import Path

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
