"""The asv dashboard of the last commits, in one command.

    python -m bench.dashboard                          # three commits, the whole suite
    python -m bench.dashboard --commits 5 --bench Training --quick
    asv preview                                        # then look at it

Pages are in ``.asv/html``; ``pytest tests/test_dashboard.py`` checks them in a browser.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def asv(*arguments: str) -> None:
    """Run asv; its own exit status on failure."""
    done = subprocess.run([sys.executable, "-m", "asv", *arguments], cwd=ROOT)
    if done.returncode not in (0, 2):  # 2: some benchmarks failed, the others have results
        raise SystemExit(done.returncode)


def main() -> None:
    """Run the suite on each commit, oldest first, and publish."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commits", type=int, default=3, help="how many, from HEAD back")
    parser.add_argument("--bench", default="", help="regular expression of benchmarks")
    parser.add_argument("--quick", action="store_true", help="each benchmark once")
    arguments = parser.parse_args()
    asv("machine", "--yes")
    commits = subprocess.run(
        ["git", "rev-list", "--first-parent", f"-{arguments.commits}", "HEAD"], cwd=ROOT,
        check=True, capture_output=True, text=True).stdout.split()
    for commit in reversed(commits):
        asv("run", "--launch-method=spawn", "--skip-existing-successful",
            *(["--quick"] if arguments.quick else []),
            *(["--bench", arguments.bench] if arguments.bench else []), f"{commit}^!")
    asv("publish")


if __name__ == "__main__":
    main()
