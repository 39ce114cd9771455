"""A thousand tiny networks: fit_many, one fit after another, and the same with the peers.

    pip install -e ".[peers]" && python -m bench.many

Every network is 8-16-1, tanh, Adam, 200 rows in batches of 32, 50 epochs, with a seed of its
own. scikit-learn runs in as many processes as there are cores (joblib), PyTorch on one
thread, its best for this size; both train a part of the networks, and the time is scaled.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import fastbp

N, ROWS, BATCH, EPOCHS, SIZES = 1000, 200, 32, 50, (8, 16, 1)


def data() -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).standard_normal((ROWS, SIZES[0]), np.float32)
    return X, X[:, :1] * X[:, 1:2]


def networks(count: int) -> list[fastbp.Network]:
    m, h, n = SIZES
    return [fastbp.Network([fastbp.Dense(m, h), fastbp.Tanh(), fastbp.Dense(h, n)], "L2Loss",
                           seed=i) for i in range(count)]


def many(count: int, n_threads: int | None = None) -> float:
    """Seconds of fit_many, not counting the construction of the networks."""
    (X, T), nets = data(), networks(count)
    began = time.perf_counter()
    fastbp.fit_many(nets, X, T, epochs=EPOCHS, batch_size=BATCH, n_threads=n_threads)
    return time.perf_counter() - began


def one_by_one(count: int) -> float:
    """Seconds of ``count`` calls of fit."""
    (X, T), nets = data(), networks(count)
    began = time.perf_counter()
    for net in nets:
        net.fit(X, T, epochs=EPOCHS, batch_size=BATCH)
    return time.perf_counter() - began


def _sklearn_one(X: Any, t: Any, seed: int) -> None:
    from sklearn.neural_network import MLPRegressor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MLPRegressor(hidden_layer_sizes=SIZES[1:-1], activation="tanh", batch_size=BATCH,
                     max_iter=EPOCHS, alpha=0, n_iter_no_change=EPOCHS,
                     random_state=seed).fit(X, t)


def sklearn(count: int) -> float:
    """Seconds of scikit-learn's MLP in a warm pool of processes."""
    from joblib import Parallel, delayed

    X, T = data()
    with Parallel(n_jobs=os.cpu_count()) as pool:
        pool(delayed(_sklearn_one)(X, T[:, 0], s) for s in range(os.cpu_count() or 1))
        began = time.perf_counter()
        pool(delayed(_sklearn_one)(X, T[:, 0], s) for s in range(count))
        return time.perf_counter() - began


def torch(count: int) -> float:
    """Seconds of PyTorch, eager, fused Adam, batches sliced from one permuted tensor."""
    import torch as t

    t.set_num_threads(1)
    X, T = map(t.from_numpy, data())
    began = time.perf_counter()
    for seed in range(count):
        t.manual_seed(seed)
        m, h, n = SIZES
        net = t.nn.Sequential(t.nn.Linear(m, h), t.nn.Tanh(), t.nn.Linear(h, n))
        step = t.optim.Adam(net.parameters(), fused=True)
        for _ in range(EPOCHS):
            order = t.randperm(ROWS)
            for i in range(0, ROWS, BATCH):
                rows = order[i:i + BATCH]
                step.zero_grad()
                (0.5 * (net(X[rows]) - T[rows]).square().sum() / len(rows)).backward()
                step.step()
    return time.perf_counter() - began


def main() -> None:
    """Median seconds for N networks, in turns; the ratios; efficiency over threads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=N)
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    cores = os.cpu_count() or 1
    runs: dict[str, tuple[Callable[[int], float], int]] = {
        "fit_many": (many, given.count),
        "fit_many, 1 thread": (lambda count: many(count, 1), given.count),
        "fit, one by one": (one_by_one, given.count // 4),
        "scikit-learn": (sklearn, max(2 * cores, given.count // 25)),
        "PyTorch": (torch, max(1, given.count // 250))}
    many(10)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(given.repeat):
        for name, (run, count) in runs.items():
            times[name].append(run(count) * given.count / count)
    seconds = {name: statistics.median(spent) for name, spent in times.items()}
    print(f"| {given.count} networks | seconds | over fit_many |\n|---|---:|---:|")
    for name, spent in seconds.items():
        print(f"| {name} | {spent:.2f} | {spent / seconds['fit_many']:.1f} |")
    for name in ("fit, one by one", "fit_many, 1 thread"):
        share = seconds[name] / seconds["fit_many"] / cores
        print(f"Throughput over that of {name}: {share:.2f} x {cores} threads.")


if __name__ == "__main__":
    main()
