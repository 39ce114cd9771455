"""Limits that a container or a scheduler sets, by Linux's control groups (cgroups).

Neither the number of cores nor the machine's memory shows them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path

#: Where this process's groups are listed, and where the groups are mounted by convention.
_LISTED, _MOUNTED = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def _groups(controller: str) -> Iterator[Path]:
    """Folders of the groups that may limit this process: its own, and those around it."""
    try:
        lines = _LISTED.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _MOUNTED / controller if controllers else _MOUNTED  # version 1, version 2
        # In a container the path may be the one outside, of which only the root exists inside.
        inner = root / path.lstrip("/")
        yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(root))


def _numbers(folder: Path, *names: str) -> list[int]:
    """Numbers in these files; none if a file is missing or says "max" or -1, no limit."""
    try:
        words = [word for name in names for word in (folder / name).read_text().split()]
    except OSError:
        return []
    return [int(word) for word in words] if all(word.isdigit() for word in words) else []


def cpu_quota() -> float:
    """CPUs whose time this process may use, by the tightest quota; infinite without one."""
    found = [math.inf]
    for folder in _groups("cpu"):
        for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
            match _numbers(folder, *names):
                case [quota, period] if quota and period:
                    found.append(quota / period)
    return min(found)


def memory_limit() -> float:
    """Bytes of memory that this process may use; infinite without a limit."""
    return min((number for folder in _groups("memory")
                for name in ("memory.max", "memory.limit_in_bytes")
                for number in _numbers(folder, name)), default=math.inf)


@functools.cache
def within_quota(n_threads: int) -> int:
    """``n_threads``, or as many as the CPU quota lets run at once if those are fewer.

    Threads beyond it use up the quota while they wait for each other; then all are stopped.
    """
    return max(1, math.ceil(min(n_threads, cpu_quota())))
