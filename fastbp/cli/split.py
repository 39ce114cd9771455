"""Which rows to train on, and which to hold out."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._extras import needs
from .._validation import Array
from .exits import say


def split_rows(settings: Mapping[str, Any], T: Array, task: str) -> tuple[Array, Array, Array]:
    """Rows to train on, to validate, to test; stratified by class if possible: a class
    of a single row stays in training."""
    share = 0.0 if settings["validation"] is not None else settings["validation_split"]
    kept, test = _hold_out(np.arange(len(T)), T, settings["test_split"], settings["split_seed"],
                           task, "--test-split")
    kept, held = _hold_out(kept, T, share, settings["split_seed"], task, "--validation-split")
    return kept, held, test


def _hold_out(at: Array, T: Array, share: float, seed: int, task: str,
              option: str) -> tuple[Array, Array]:
    if share == 0:
        return at, at[:0]
    given = f"{option} {share} of {len(at)} rows"
    count = -(-len(at) * share // 1)  # rounded as by scikit-learn
    if count >= len(at):
        raise ValueError(f"{given} leaves none to train on")
    with needs("splitting data needs scikit-learn", "cli"):
        from sklearn.model_selection import train_test_split
    split = functools.partial(train_test_split, test_size=share, random_state=seed)
    left = at[:0]
    if task == "classification":
        _, which, found = np.unique(T[at], return_inverse=True, return_counts=True)
        shared = found[which] > 1  # a single row cannot be on both sides
        n_classes, n_rows = np.count_nonzero(found > 1), np.count_nonzero(shared)
        fewer = -(-n_rows * share // 1)
        if fewer < n_rows:
            at, left = at[shared], at[~shared]
        if 0 < n_classes <= min(fewer, n_rows - fewer):
            split = functools.partial(split, stratify=T[at])
        else:
            say(f"{given} is not stratified: both sides would need rows of "
                f"{n_classes or len(found)} classes")
        if len(left) and fewer < count / 2:
            say(f"{given} holds out {fewer:.0f}: a class of a single row stays in training")
    kept, held = split(at)
    return np.concatenate([kept, left]), held
