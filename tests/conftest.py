"""Settings and fixtures of the whole suite."""

import hypothesis
import numpy as np
import pytest

# Compilation makes first examples slow, and CI must find the same ones again.
hypothesis.settings.register_profile("fastbp", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.load_profile("fastbp")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
