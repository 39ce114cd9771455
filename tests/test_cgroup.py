"""Limits of control groups, from files laid out as Linux does."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fastbp import _cgroup
from fastbp.cli import prepare

Layout = Callable[[str, dict[str, str]], None]


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Write the list of this process's groups, and files below the mount point."""
    monkeypatch.setattr(_cgroup, "_LISTED", tmp_path / "listed")
    monkeypatch.setattr(_cgroup, "_MOUNTED", tmp_path / "mounted")

    def write(listed: str, files: dict[str, str]) -> None:
        (tmp_path / "listed").write_text(listed)
        for name, text in files.items():
            path = tmp_path / "mounted" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")

    return write


V1 = "9:name=systemd:/\n4:memory:/jobs/a\n1:cpu,cpuacct:/jobs/a\n0::/\n"
V2 = "0::/jobs/a\n"


@pytest.mark.parametrize(("listed", "files", "quota"), [
    ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),  # a container: its group is the root
    (V2, {"jobs/a/cpu.max": "max 100000", "jobs/cpu.max": "400000 100000"}, 4),
    (V2, {"jobs/a/cpu.max": "300000 100000", "jobs/cpu.max": "400000 100000"}, 3),
    ("0::/outside/name\n", {"cpu.max": "200000 50000"}, 4),  # no such folder inside
    (V2, {"jobs/a/cpu.max": "max 100000", "jobs/b/cpu.max": "100000 100000"}, math.inf),
    (V2, {}, math.inf),
    (V1, {"cpu/jobs/a/cpu.cfs_quota_us": "250000", "cpu/jobs/a/cpu.cfs_period_us": "100000"}, 2.5),
    (V1, {"cpu/jobs/a/cpu.cfs_quota_us": "-1", "cpu/jobs/a/cpu.cfs_period_us": "100000"},
     math.inf),
    (V1, {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
    (V1, {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "0"}, math.inf),
    (V1, {"cpu/cpu.cfs_quota_us": "0", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
    (V1, {"memory/cpu.cfs_quota_us": "100000", "memory/cpu.cfs_period_us": "100000"}, math.inf),
    ("2:cpuset:/sets/b\n1:cpu,cpuacct:/jobs/a\n",
     {"cpu/sets/b/cpu.cfs_quota_us": "100000", "cpu/sets/b/cpu.cfs_period_us": "100000",
      "cpu/jobs/a/cpu.cfs_quota_us": "250000", "cpu/jobs/a/cpu.cfs_period_us": "100000"}, 2.5),
    ("0::/pod:a:b\n", {"pod:a:b/cpu.max": "150000 100000"}, 1.5),
])
def test_the_tightest_quota_of_the_groups_around_counts(
        layout: Layout, listed: str, files: dict[str, str], quota: float) -> None:
    layout(listed, files)
    assert _cgroup.cpu_quota() == quota


@pytest.mark.parametrize(("listed", "files", "limit"), [
    (V2, {"jobs/a/memory.max": "max", "jobs/memory.max": "4000"}, 4000),
    ("0::/\n", {"memory.max": "5000"}, 5000),
    (V1, {"memory/jobs/a/memory.limit_in_bytes": "6000",
          "memory/memory.limit_in_bytes": "9223372036854771712"}, 6000),
    (V1, {}, math.inf),
])
def test_the_tightest_limit_of_memory(layout: Layout, listed: str, files: dict[str, str],
                                      limit: float) -> None:
    layout(listed, files)
    assert _cgroup.memory_limit() == limit


def test_without_control_groups_nothing_is_limited(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cgroup, "_LISTED", tmp_path / "missing")
    assert _cgroup.cpu_quota() == _cgroup.memory_limit() == math.inf


@pytest.mark.parametrize(("quota", "counts"), [
    (math.inf, [1, 2, 8]), (4.0, [1, 2, 4]), (1.5, [1, 2, 2]), (1.0, [1, 1, 1]), (0.2, [1, 1, 1])])
def test_threads_within_a_quota(quota: float, counts: list[int],
                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cgroup, "cpu_quota", lambda: quota)
    assert [_cgroup.within_quota.__wrapped__(n) for n in (1, 2, 8)] == counts


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="no sysconf on Windows")
@pytest.mark.parametrize("limit", [5000.0, math.inf])
def test_the_command_counts_on_the_memory_of_its_container(
        limit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "memory_limit", lambda: limit)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert prepare.memory() == min(machine, limit)
