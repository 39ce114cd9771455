"""Programs of a process of their own, and the files that they leave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run(code: str, **env: str) -> str:
    """What ``code`` prints; a warning is an error."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True,
                          text=True, env={**os.environ, **env}, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def entries(parent: Path) -> dict[Path, bytes]:
    """The files below a folder, with what they hold."""
    return {p: p.read_bytes() for p in parent.rglob("*") if p.is_file()}
