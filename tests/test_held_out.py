"""Rows that are held out by ``fit``, and the weights of rows and of classes."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from fastbp.weights import class_weights

from .builders import classifier, clusters


def test_rows_that_are_kept_stay_in_their_order() -> None:
    X, T = clusters(200)
    held, own = np.zeros(200, bool), np.arange(200.0)
    held[np.random.default_rng([0, 200]).permutation(200)[:50]] = True
    one, twin = classifier(), classifier()
    options: dict[str, Any] = {"epochs": 2, "metrics": ["log_loss"]}
    found = one.fit(X, T, validation_split=0.25, sample_weight=own, **options)
    same = twin.fit(X[~held], T[~held], sample_weight=own[~held], **options,
                    validation_data=(X[held], T[held], own[held]))
    np.testing.assert_array_equal(one.params, twin.params)
    assert [*found] == [*same] and found["val_loss"] == same["val_loss"]


def test_accuracy_comes_first_and_once() -> None:
    X, T = clusters(40)
    for metrics, names in (((), ["accuracy"]), (["log_loss"], ["accuracy", "log_loss"]),
                           (["log_loss", "accuracy"], ["log_loss", "accuracy"])):
        found = classifier().fit(X, T, epochs=1, validation_data=(X, T), metrics=metrics)
        assert [name for name in found if name.startswith("val_")] == [
            "val_loss", *(f"val_{name}" for name in names)]


@pytest.mark.parametrize("weights", [np.ones((40, 1)), np.ones((40, 4)), np.ones((1, 40)), 1.0])
def test_weights_of_another_shape_than_one_a_row_are_refused(weights: Any) -> None:
    for options in ({"sample_weight": weights},
                    {"validation_data": (*clusters(40), weights)}):
        with pytest.raises(ValueError, match=r"must have shape \(40,\), got \("):
            classifier().fit(*clusters(40), epochs=1, **options)


def test_weights_of_classes_by_any_mapping() -> None:
    T = np.array([0, 1, 2, 1])
    for given in ({1: 3, 2: 0.5}, MappingProxyType({1: 3, 2: 0.5}), {np.int8(1): 3, 2: 0.5}):
        found = class_weights(T, given, 3, None, np.dtype("float32"))
        assert found.dtype == np.float32 and found.tolist() == [1, 3, 0.5, 3]
    with pytest.raises(ValueError, match=r"names class 1.0, outside \[0, 3\)"):
        class_weights(T, {1.0: 3}, 3, None, np.dtype("float32"))


@pytest.mark.parametrize("rows", [[[1, 1, 0], [1, 0, 0]], [[0, 0, 0], [1, 0, 0]], [[2, -1, 0]],
                                  [[2], [0]], [[0.5, 0.5]]])
def test_rows_of_no_class_or_of_several_have_no_weight(rows: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="needs one class for each row"):
        class_weights(np.array(rows), "balanced", len(rows[0]), None, np.dtype("float64"))
