"""Rows that are held out by ``fit``, and the weights of rows and of classes."""

from __future__ import annotations

from typing import Any

import numpy as np

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
