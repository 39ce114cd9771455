"""What an estimator refuses is named, and leaves it as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from fastbp import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(0)
X, y = rng.normal(size=(60, 4)), np.arange(60) % 3
LABELS = np.stack([y == 0, y > 1, y < 2], axis=1).astype(int)
LABELS[:20] = 0


@pytest.mark.parametrize(("call", "message"), [
    (lambda m: m.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, LABELS), "y must have one"),
    (lambda m: m.partial_fit(X, y > 0, classes=[0, 1]).partial_fit(X, LABELS), "y must have one"),
    (lambda m: m.set_params(warm_start=True).fit(X, y).fit(X, LABELS), "y must have one"),
    (lambda m: m.fit(X, y, validation_data=(X, np.eye(3)[y])), r"validation_data\[1\] must have"),
    (lambda m: m.fit(X, LABELS, validation_data=(X, y)), r"validation_data\[1\] must have 3 col"),
    (lambda m: m.fit(X, y, validation_data=(X, y + 1)), r"validation_data\[1\] has classes \[3\]"),
    (lambda m: m.partial_fit(X, LABELS, classes=[0, 1, 2]).partial_fit(X, y), "y must have 3 col"),
])
def test_several_labels_are_not_for_one_class_a_row(call: Callable[[Any], Any],
                                                   message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(MLPClassifier((4,), max_iter=2, random_state=0))
