"""One seed, one result: threads, layouts, chunks and repeats change no bit."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import _jit, sharing
from fastbp.layers import LAYERS, dense

from .builders import classifier, clusters

_MANY = """
import hashlib, sys
from unittest.mock import patch
import numba
import numpy as np
import fastbp
from fastbp import optimizers, sharing, _jit
from fastbp.kernels import launch
from fastbp.layers import dense
sharing.PARALLEL_THRESHOLD = sharing.SETTLED_WORK = 0
sharing.LAUNCH_WORK = sharing.SHARD_ACTIVATIONS = 0
sharing._SHARD_ROWS = sharing._SHARD_BLOCK = 8
few_weights, sharing.FEW_WEIGHTS = sharing.FEW_WEIGHTS, 0
rng = np.random.default_rng(0)
X, T = rng.normal(size=(333, 30)), rng.integers(0, 5, 333)
few, wide = X[:, :4], X[:, 4:7]
layer, expected = fastbp.Dense(30, 70, dtype="float64"), _jit.threading_layer()
found = set()
for threads in (1, 2, 4, 8):
    numba.set_num_threads(threads)
    for repeat in range(int(sys.argv[1])):
        launch._PATIENCE = 60.0 if repeat < 2 else 0.005  # at first all are complete
        launch._WAKING = launch._PATIENCE
        digest = hashlib.sha256()
        for name, optimizer in sorted(optimizers.OPTIMIZERS.items()):
            momentum = [optimizer(0.01), optimizer(0.01, 0.9, True)] if name == "SGD" else []
            for made in momentum or [optimizer(0.01)]:
                net = fastbp.Network([fastbp.Dense(30, 70), fastbp.Tanh(), fastbp.Dense(70, 5),
                                      fastbp.Softmax()], fastbp.CrossEntropyLoss(), "float32")
                net.fit(X, T, epochs=2, batch_size=100, optimizer=made, n_threads=threads)
                assert net.plan(100, threads).n_threads == threads
                assert net.plan(100, threads).head["shards"] == 0
                digest.update(net.params.tobytes())
                with patch.multiple(sharing, FEW_WEIGHTS=few_weights, SHARD_ACTIVATIONS=1 << 60):
                    for rules in {}, {"l2": 0.01, "clip_norm": 0.1}:
                        net.fit(X, T, epochs=2, batch_size=99, optimizer=made, n_threads=threads,
                                **rules)  # then a batch of 36
                        digest.update(repr(net.last_run.history["loss"]).encode())
                    head = net.plan(99, threads, training=True, carried=1).head
                assert head["shards"] == 4 and (head["partial"] >= 0) == (threads in (2, 4))
                digest.update(net.params.tobytes())
                net = fastbp.Network([fastbp.Dense(4, 33), fastbp.Tanh(), fastbp.Dense(33, 3)],
                                     fastbp.L2Loss())
                net.fit(few, wide, epochs=2, batch_size=150, optimizer=made, n_threads=threads)
                assert net.plan(150, threads).head["shards"] == sharing.SHARDS
                digest.update(net.params.tobytes())
                net = fastbp.Network([fastbp.Dense(30, 70), fastbp.ReLU(), fastbp.Dense(70, 40),
                                      fastbp.ReLU(), fastbp.Dense(40, 5)],
                                     "SoftmaxCrossEntropyLoss")
                with patch.object(dense, "WIDE", 0), patch.object(sharing, "PANEL_BYTES", 0):
                    net.fit(X, T, epochs=2, batch_size=100, optimizer=made, n_threads=threads)
                    ops = net.plan(100, threads, training=True).ops
                assert ops["by_columns"].any() == (threads > 1) and not ops["width"].any()
                digest.update(net.params.tobytes())
                net = fastbp.Network([fastbp.Dense(30, 256), fastbp.ReLU(), fastbp.Dense(256, 256),
                                      fastbp.ReLU(), fastbp.Dense(256, 5)],
                                     "SoftmaxCrossEntropyLoss")
                with patch.multiple(sharing, PICK_BYTES=0, CUT_BYTES=0):
                    for rules in {}, {"l2": 0.01, "clip_norm": 0.1}:
                        net.fit(X[:45], T[:45], epochs=2, batch_size=15, optimizer=made,
                                n_threads=threads, **rules)
                        digest.update(repr(net.last_run.history["loss"]).encode())
                    ops = net.plan(15, threads, training=True, carried=1).ops
                assert (ops["width"][[0, 2]] > 0).all() == (threads > 1)
                assert (ops["first"][0] != 0) == (threads > 1)  # 256 columns are too many for one
                digest.update(net.params.tobytes())
        Y = layer.forward(X)
        digest.update(Y.tobytes() + layer.backward(Y).tobytes() + layer.weight_grad.tobytes())
        found.add(digest.hexdigest())
assert numba.threading_layer() == expected or expected == "workqueue"
print(expected, *found)
"""


def _many(layer: str, repeats: int) -> list[str]:
    env = {**os.environ, "NUMBA_NUM_THREADS": "8", "NUMBA_THREADING_LAYER": layer}
    out = subprocess.run([sys.executable, "-c", _MANY, str(repeats)], env=env,
                         capture_output=True, text=True, check=True)
    return out.stdout.split()


def test_threads_layers_and_repeats_give_the_same_bits() -> None:
    """1, 2, 4 and 8 threads, all regimes, every optimizer, every threading layer there is."""
    layers = [name for name in ("omp", "tbb", "workqueue") if _jit._has_layer(name)
              or name == "tbb" and (Path(sys.prefix) / "lib" / "libtbb.so.12").exists()]
    found = [_many(name, 20) for name in layers]
    assert [f[0] for f in found] == layers
    assert all(len(f) == 2 for f in found)
    assert len({f[1] for f in found}) == 1


#: (sizes around the layer, batch, limits of the plan, shards): how a batch is shared out.
REGIMES: dict[str, Any] = {
    "four shards": ((8, 37, 3), 257, {}, 4),
    "four shards of one set": ((8, 37, 3), 257, {"COPIED_BYTES": 0}, 4),
    "eight shards": ((9, 400, 4), 1025, {}, 8),
    "sixteen shards": ((8, 37, 3), 1100, {"SHARD_ACTIVATIONS": 0}, 16),
    "shards of long rows": ((600, 2, 3), 700, {}, 4),
    "rows": ((30, 70, 3), 100, {"FEW_WEIGHTS": 0}, 0),
    "columns": ((128, 513, 3), 45, {"PANEL_BYTES": 0}, 0),
    "panels": ((128, 513, 3), 45, {"CUT_BYTES": 0}, 0)}


@pytest.mark.usefixtures("teams")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_has_the_same_bits_in_every_regime(
        name: str, regime: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (n_in, width, n_out), batch, limits, shards = REGIMES[regime]
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 4)
    for limit, value in limits.items():
        monkeypatch.setattr(sharing, limit, value)
    if regime == "columns":
        monkeypatch.setattr(dense, "WIDE", 0)
    rng, found = np.random.default_rng(0), set()
    X, T = rng.normal(size=(2 * batch + 3, n_in)), rng.normal(size=(2 * batch + 3, n_out))
    for threads in (1, 2, 4):
        layer = fastbp.Dense(width, width) if name == "Dense" else LAYERS[name]()
        net = fastbp.Network([fastbp.Dense(n_in, width), layer, fastbp.Dense(width, n_out)], "l2",
                             dtype, 1)
        history = net.fit(X, T, epochs=2, batch_size=batch, optimizer=fastbp.SGD(1e-5, 0.9),
                          n_threads=threads)
        assert np.isfinite(net.params).all()
        assert net.last_run is not None
        plan = net.last_run.plan(threads)
        assert plan.n_threads == threads
        # Two dense layers may have too many weights; batch norm knows of all rows.
        assert name == "Dense" or plan.head["shards"] == (0 if name == "BatchNorm" else shards)
        assert plan.ops["by_columns"].any() == (regime in ("columns", "panels") and threads > 1)
        assert plan.ops["width"].any() == (regime == "panels" and threads > 1)
        if regime.startswith("four shards") and name not in ("Dense", "BatchNorm"):
            assert plan.copies == (threads if regime == "four shards" else 1)
        found.add((weights(net), repr(history["loss"])))
    assert len(found) == 1


def weights(net: fastbp.Network) -> str:
    return hashlib.sha256(net.params.tobytes()).hexdigest()


def fitted(X: object, T: object, **options: object) -> str:
    net = classifier()
    net.fit(X, T, epochs=3, batch_size=17, **options)  # type: ignore[arg-type]
    return weights(net)


@pytest.mark.usefixtures("teams")
def test_repeats_and_memory_layouts() -> None:
    X, T = clusters(101)
    X = X.astype(np.float32)
    first = fitted(X, T)
    strided = np.zeros((202, 13), np.float32)
    strided[::2, 1:13:2] = X
    offset = np.zeros(X.size + 1, np.float32)[1:].reshape(X.shape)
    offset[...] = X
    for other in (X.copy(), np.asfortranarray(X), strided[::2, 1:13:2], offset,
                  X.astype(np.float64), X.tolist(), X.astype(">f4")):
        assert fitted(other, T) == first
    for _ in range(5):
        assert fitted(X, T, n_threads=2) == first
    assert fitted(X, T.astype(np.int8), n_threads=1) == first


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_chunks_change_nothing(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    X, T = clusters(300)
    first = fitted(X, T)
    for module in "job", "training":
        monkeypatch.setattr(f"fastbp.{module}.CHUNK_SECONDS", seconds)
    assert fitted(X, T) == first


def test_shuffling_depends_on_the_seed_alone() -> None:
    X, T = clusters(60)
    nets = [classifier(seed=s) for s in (0, 0, 1)]
    start = nets[0].params.copy()
    for net in nets:
        net.params[...] = start
        net.fit(X, T, epochs=1, batch_size=7)
    assert weights(nets[0]) == weights(nets[1]) != weights(nets[2])
    assert fitted(X, T, shuffle=False) != fitted(X, T)


@pytest.mark.usefixtures("teams")
def test_concurrent_fits_do_not_meet() -> None:
    X, T = clusters(400)
    alone, found = fitted(X, T), []

    def run() -> None:
        found.append(fitted(X, T, n_threads=2))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == [alone] * 4
