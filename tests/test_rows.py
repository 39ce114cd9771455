"""Rows that are prefetched: those that will be read, and no others."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import fastbp
from fastbp import sharing

_ASKED = """
import os
os.environ["NUMBA_DISABLE_JIT"] = "1"
import numpy as np
import fastbp
from fastbp import sharing, rows

asked, found = set(), []
copy_row = rows.copy_row

def ask(source, place, count):
    assert 0 <= place and 0 < count and place + count <= source.size
    if count > 1:  # a class is not copied
        asked.add((place, count))

def copy(to, at, source, place, count):
    found.append((place, count) in asked)
    asked.discard((place, count))
    copy_row(to, at, source, place, count)

rows.prefetch_row, rows.copy_row = ask, copy
sharing.PREFETCH_BYTES, sharing._ROWS_LARGE = 0, 16
rng = np.random.default_rng(0)
X = rng.normal(size=(100, 3)).astype("f4")
layers = [fastbp.Dense(3, 4), fastbp.{norm}, fastbp.Tanh(), fastbp.Dense(4, 2)]
net = fastbp.Network(layers, "{loss}")
T = rng.integers(0, 2, 100) if "Softmax" in "{loss}" else rng.normal(size=(100, 2)).astype("f4")
net.fit(X, T, epochs=3, batch_size=32)
print(len(asked), *map(int, found))
"""


@pytest.mark.parametrize("norm", ["Identity()", "BatchNorm()"])
@pytest.mark.parametrize("loss", ["L2Loss", "SoftmaxCrossEntropyLoss"])
def test_all_but_the_first_rows_of_an_epoch_are_prefetched(norm: str, loss: str) -> None:
    code = _ASKED.format(norm=norm, loss=loss)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    left, *found = map(int, done.stdout.split())
    assert left == 0
    each, kinds = len(found) // 3, 2 if loss == "L2Loss" else 1
    assert each == 100 * kinds
    for start in range(0, len(found), each):
        assert found[start:start + each].count(0) == 16 * kinds  # the first block


_COMING = """
import os
os.environ["NUMBA_DISABLE_JIT"] = "1"
import numpy as np
import fastbp
from fastbp import sharing, updates

found, call = set(), updates.call_first_gradient

def first_gradient(at, args):
    op, ws, X, source, rows = args[:5]
    found.add((int(source[0]), int(rows), int(op["coming"])))
    call(at, args)

updates.call_first_gradient = first_gradient
X, T = np.ones((130, 130), "f4"), np.arange(130) % 3
for sharing.PREFETCH_BYTES in 0, X.nbytes + 1:
    net = fastbp.Network([fastbp.Dense(130, 16), fastbp.Dense(16, 3)], "SoftmaxCrossEntropyLoss")
    net.fit(X, T, epochs=2, batch_size=40, shuffle=False)
    assert not net.plan(40, None, training=True, carried=3).ops["coming"].any()
    print(sorted(found))
    found.clear()
"""


def test_rows_read_in_place_are_prefetched_where_a_whole_batch_follows() -> None:
    done = subprocess.run([sys.executable, "-c", _COMING], capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[(0, 40, 40), (40, 40, 40), (80, 40, 0), (120, 10, 0)]",
        "[(0, 40, 0), (40, 40, 0), (80, 40, 0), (120, 10, 0)]"]


@pytest.mark.usefixtures("teams")
@pytest.mark.parametrize("loss", ["L2Loss", "SoftmaxCrossEntropyLoss"])
@pytest.mark.parametrize("batch", [64, 1000, 1100])
def test_prefetching_changes_no_bit(loss: str, batch: int,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches, blocks, shards and epochs whose ends meet anyhow, on any number of threads."""
    rng, found = np.random.default_rng(0), set()
    X = rng.normal(size=(22999, 24)).astype("f4")
    assert sharing.prefetches(X) and not sharing.prefetches(X[:100])
    T = rng.integers(0, 3, len(X)) if loss != "L2Loss" else rng.normal(size=(len(X), 3))
    for threads, least in (1, X.nbytes + 1), (1, 0), (2, 0), (3, 0):
        monkeypatch.setattr(sharing, "PREFETCH_BYTES", least)
        net = fastbp.Network([fastbp.Dense(24, 16), fastbp.Tanh(), fastbp.Dense(16, 3)], loss)
        net.fit(X, T, epochs=3, batch_size=batch, n_threads=threads)
        found.add(net.params.tobytes())
    assert len(found) == 1
