"""fastbp bench: what is asked of the measurement, and what is shown of it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("click")

from .commands import Here


@pytest.mark.parametrize("peers", [[], ["numpy", "torch.compile"]])
def test_bench_shows_the_better_time_of_each_library(
        run: Here, monkeypatch: pytest.MonkeyPatch, peers: list[str]) -> None:
    asked: list[Any] = []

    def record(backend: str, threads: int, us: float, agrees: bool = True) -> dict[str, Any]:
        return {"row": "5-8-3:8", "backend": backend, "threads": threads, "us": us,
                "gflops": 100 / us, "share_of_peak": 2 / us, "agrees": agrees}

    def compare(*given: Any) -> dict[str, Any]:
        asked.append(given)
        return {"cpu": "zen", "cores": 2, "versions": {}, "records": [
            record("fastbp", 1, 8.0), record("fastbp", 2, 10.0), record("numpy", 1, 50.0),
            record("numpy", 2, 40.0), record("torch", 1, 1.0, agrees=False)]}

    monkeypatch.setattr("fastbp.peers.measure.compare", compare)
    named = [part for peer in peers for part in ("--peer", peer)]
    found = run("bench", "5-8-3:8", *named, "--seconds", 3, "--json").json
    (rows, backends, seconds), = asked
    assert [row["sizes"] for row in rows] == [[5, 8, 3]] and seconds == 3
    assert backends == ["fastbp", *(peers or ["numpy", "torch", "jax", "jax.scan", "sklearn"])]
    assert (found["us_per_step"], found["threads"], found["share_of_peak"]) == (8, 1, 0.25)
    assert (found["gflops"], found["peak_gflops"]) == (12.5, 50)
    assert found["peers"] == {"numpy": {"us_per_step": 40, "threads": 2, "over_fastbp": 5}}
    lines = run("bench", "5-8-3:8", *named).out.splitlines()
    assert lines[0] == "5-8-3:8 on 2 cores (zen)" and asked[-1][-1] == 1
    assert [line.split() for line in lines[2:4]] == [
        ["fastbp", "8.0", "1", "1.00"], ["numpy", "40.0", "2", "5.00"]]
    assert lines[4].startswith("12.5 of 50.0 GFLOP/s") and lines[4].endswith("1 thread(s): 25%")


def test_fastbp_alone_needs_no_package_of_a_peer() -> None:
    """``fastbp bench`` where the packages of the extra ``peers`` are missing."""
    code = ("import sys; sys.modules['threadpoolctl'] = sys.modules['torch'] = None\n"
            "from fastbp.peers.measure import measure\n"
            "from fastbp.peers.workload import row_of\n"
            "found = measure([row_of('5-4-3:8')], 1, ['fastbp', 'numpy'], 0.01, 1)\n"
            "assert [r['backend'] for r in found] == ['fastbp'], found\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
