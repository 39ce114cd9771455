"""Settings and fixtures of the whole suite."""

import hypothesis
import numpy as np
import pytest

from fastbp import plan as planning

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
        monkeypatch.setattr(planning, limit, 0)
