"""The bundled data: real, scaled, split with care."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fastbp import datasets


@pytest.mark.parametrize(("name", "shape"), [("digits", (1797, 64)), ("mnist", (5000, 784))])
def test_load(name: str, shape: tuple[int, int]) -> None:
    data = datasets.load(name)
    assert data.X.shape == shape and data.X.dtype == np.float32
    assert data.X.min() == 0 and data.X.max() == 1
    assert data.T.dtype == np.int64 and set(data.T.tolist()) == set(range(10))
    assert data.n_classes == 10


FIRST = {"iris": ("setosa", "versicolor"), "wine": ("class_0", "class_1"),
         "breast_cancer": ("malignant", "benign")}
NAMED = {"iris": (150, 4, 3), "wine": (178, 13, 3), "breast_cancer": (569, 30, 2),
         "diabetes": (442, 10, 0)}


@pytest.mark.parametrize("name", NAMED)
def test_named_columns(name: str) -> None:
    n, m, k = NAMED[name]
    data = datasets.load(name)
    assert data.X.shape == (n, m) and data.X.dtype == np.float32 and data.n_classes == k
    assert data.feature_names is not None and len(set(data.feature_names)) == m
    if k:
        assert data.class_names is not None and len(data.class_names) == k
        assert set(data.T.tolist()) == set(range(k))
        assert data.class_names[:2] == FIRST[name]
    else:
        assert data.T.dtype == np.float32 and data.T.max() == 346
        assert len(datasets.split(data, 0.5).T_test) == 221


def test_every_dataset_is_tested() -> None:
    assert set(datasets.DATASETS) == {"digits", "mnist", *NAMED}
    with pytest.raises(ValueError, match="cats"):
        datasets.load("cats")
    with pytest.raises(TypeError, match="got 3"):
        datasets.load(3)  # type: ignore[arg-type]


def test_split_keeps_rows_together_and_classes_level() -> None:
    data = datasets.load("digits")
    s = datasets.split(data, 0.25, seed=1)
    assert len(s.X_train) + len(s.X_test) == 1797 and len(s.X_test) == 450
    whole = {x.tobytes(): t for x, t in zip(data.X, data.T, strict=True)}
    assert all(whole[x.tobytes()] == t for x, t in zip(s.X_test, s.T_test, strict=True))
    assert not {x.tobytes() for x in s.X_test} & {x.tobytes() for x in s.X_train}
    assert np.ptp(np.bincount(s.T_test)) <= 4
    assert len(datasets.split(data).T_test) == 360  # a fifth
    again, other = datasets.split(data, 0.25, seed=1), datasets.split(data, 0.25, seed=2)
    np.testing.assert_array_equal(s.X_test, again.X_test)
    assert (s.T_test != other.T_test).any()


def test_bad_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    data = datasets.load("digits")
    for size in (0.0, 1.0, -0.1):
        with pytest.raises(ValueError, match="test_size"):
            datasets.split(data, size)
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match=f"^seed must be .* got {seed}$"):
            datasets.split(data, seed=seed)
    monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)
    with pytest.raises(ImportError, match=r"fastbp\[sklearn\]"):
        datasets.split(data)
