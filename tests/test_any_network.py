"""Networks, batches and rules drawn at random: the engine against the textbook loop.

Sizes are those at which the plan cuts, packs, shares or pads in another way.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import fastbp
from fastbp import sharing
from fastbp.layers import dense
from fastbp.rules import Rules
from fastbp.run import Run

SIZES = st.sampled_from([1, 2, 3, 5, 8, 16, 17, 33, 64, 100, 128, 129, 257, 300, 512, 513, 601,
                         1030])
CHAINS = st.one_of(  # of few lengths each, or most have one layer
    *(st.lists(SIZES, min_size=n, max_size=n) for n in (2, 3, 3, 4, 4)),
    st.tuples(st.integers(1, 5), st.sampled_from([257, 300, 513, 601])).map(list))  # in shards
ROWS = st.sampled_from([1, 7, 32, 64, 100, 256, 257, 300, 1100, 2000])
MIDDLE = st.sampled_from([None, "ReLU", "ReLU", "ReLU", "Tanh", "GELU", "BatchNorm", "LayerNorm",
                          "Dropout"])
RULES = st.sampled_from([{}, {"l1": 0.01}, {"l2": 0.1}, {"clip_value": 0.01}, {"clip_norm": 0.1},
                         {"max_norm": 1.0}, {"average": 0.9}])
OPTIMIZERS = st.sampled_from([fastbp.SGD(0.05), fastbp.SGD(0.05, 0.9, nesterov=True),
                              fastbp.SGD(0.05, weight_decay=0.01)])


@settings(max_examples=400, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=CHAINS,
       middle=st.lists(MIDDLE, min_size=3, max_size=3),
       loss=st.sampled_from(["SoftmaxCrossEntropyLoss", "l2", "mae"]), rows=ROWS, batch=ROWS,
       rules=RULES, optimizer=OPTIMIZERS, weighted=st.booleans(), threads=st.integers(1, 4),
       wide=st.sampled_from([dense.WIDE, dense.WIDE, 4096, 0]), panels=st.booleans(),
       held=st.one_of(st.just(set()), st.sets(st.integers(0, 6), min_size=1)),
       seed=st.integers(0, 9))
def test_engine_and_textbook_agree(sizes: list[int], middle: list[str | None], loss: str,
                                   rows: int, batch: int, rules: dict[str, float],
                                   optimizer: fastbp.Optimizer, weighted: bool, threads: int,
                                   wide: int, panels: bool, held: set[int], seed: int,
                                   teams: None) -> None:
    assume(rows * sum(m * n for m, n in zip(sizes, sizes[1:], strict=False)) < 5e8)  # some seconds
    rng = np.random.default_rng(seed)
    X, T = rng.normal(size=(rows, sizes[0])), np.abs(rng.normal(size=(rows, sizes[-1])))
    weights = rng.uniform(0.5, 2, rows) if weighted else None
    found: list[Any] = []
    for compiled, size in ((True, threads), (True, 1), (False, 1)):
        layers: list[fastbp.Layer] = []
        for m, n, name in zip(sizes, sizes[1:], middle, strict=False):
            layers += [fastbp.Dense(m, n), *([getattr(fastbp, name)()] if name else [])]
        for k in held & set(range(len(layers))):
            layers[k].trainable = False
        net = fastbp.Network(layers, loss, dtype="float64", seed=seed)
        learning = [layer for layer in layers if layer.shapes()]
        learning[-1].trainable |= not any(layer.trainable for layer in learning)
        made = Rules(**rules, weight_decay=optimizer.weight_decay)  # type: ignore[arg-type]
        run = Run(net, X, T, min(batch, rows), optimizer, True, weights=weights, rules=made)
        run.compiled = compiled
        cut = {"CUT_BYTES" if panels else "PANEL_BYTES": 0}
        with patch.object(dense, "WIDE", wide), patch.multiple(sharing, **cut):  # bytes
            for _ in range(2):
                run.advance(1, size)
        found.append((net.params, run.errors[0]))
    (params, error), (alone, same), (book, expected) = found
    assert (params == alone).all() and error == same
    np.testing.assert_allclose(error, expected, rtol=1e-9)
    np.testing.assert_allclose(params, book, rtol=1e-8, atol=1e-9 * np.abs(book).max())
