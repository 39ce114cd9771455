"""Settings and fixtures of the whole suite."""

import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from fastbp import sharing

from .commands import Here

# Compilation makes first examples slow, and CI must find the same ones again.
hypothesis.settings.register_profile("fastbp", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.load_profile("fastbp")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def teams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step and call takes as many threads as it may, however small it is."""
    for limit in ("PARALLEL_THRESHOLD", "SETTLED_WORK", "LAUNCH_WORK"):
        monkeypatch.setattr(sharing, limit, 0)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where the shell has it ignored, as of what runs in the
    background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> Here:
    """Commands in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    return Here(tmp_path, capsys)
