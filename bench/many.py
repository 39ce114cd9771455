"""A thousand tiny networks: fit_many, one fit after another, and the same with the peers.

    pip install -e ".[peers]" && python -m bench.many

Every network is 8-16-1, tanh, Adam, 200 rows in batches of 32, 50 epochs, with weights and an
order of rows of its own. JAX trains all at once (``vmap``), an epoch a call, compiled; PyTorch
both all at once, as stacked tensors, and one by one (on one thread, its best for this size);
scikit-learn in as many processes as there are cores (joblib). Those that train one by one train
a part of the networks, and the time is scaled. All must end at about the same error.
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
#: Relative difference of two mean errors from which something else was computed.
_APART = 0.1


def data() -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).standard_normal((ROWS, SIZES[0]), np.float32)
    return X, X[:, :1] * X[:, 1:2]


def networks(count: int) -> list[fastbp.Network]:
    m, h, n = SIZES
    return [fastbp.Network([fastbp.Dense(m, h), fastbp.Tanh(), fastbp.Dense(h, n)], "L2Loss",
                           seed=i) for i in range(count)]


def stacked(count: int) -> list[np.ndarray]:
    """Weights (count, n_in, n_out) and biases (count, 1, n_out) of the networks, by layer."""
    layers = [[net.layers[k] for net in networks(count)] for k in (0, 2)]
    return [np.stack([part(layer) for layer in same]) for same in layers
            for part in (lambda layer: layer.weight.T, lambda layer: layer.bias[None])]


def orders(count: int, rng: np.random.Generator) -> np.ndarray:
    """An order of the rows for each network."""
    return rng.permuted(np.tile(np.arange(ROWS, dtype=np.int32), (count, 1)), axis=1)


def _mean_error(nets: list[fastbp.Network]) -> float:
    return float(np.mean([net.loss(*data()) for net in nets]))


def many(count: int, n_threads: int | None = None) -> tuple[float, float]:
    """Seconds of fit_many, not counting the construction of the networks, and the mean error."""
    (X, T), nets = data(), networks(count)
    began = time.perf_counter()
    fastbp.fit_many(nets, X, T, epochs=EPOCHS, batch_size=BATCH, n_threads=n_threads)
    return time.perf_counter() - began, _mean_error(nets)


def one_by_one(count: int) -> tuple[float, float]:
    """The same of ``count`` calls of fit."""
    (X, T), nets = data(), networks(count)
    began = time.perf_counter()
    for net in nets:
        net.fit(X, T, epochs=EPOCHS, batch_size=BATCH)
    return time.perf_counter() - began, _mean_error(nets)


def jax(count: int) -> tuple[float, float]:
    """The same of JAX, all networks at once, not counting compilation."""
    import jax as j
    import jax.numpy as jnp

    X, T = map(jnp.asarray, data())

    def error(p: Any, X: Any, T: Any) -> Any:
        return 0.5 * jnp.square(jnp.tanh(X @ p[0] + p[1]) @ p[2] + p[3] - T).sum() / len(X)

    def step(state: Any, rows: Any) -> Any:
        p, m, v, t = state
        g, t = j.grad(error)(p, X[rows], T[rows]), t + 1
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
        v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
        c, d = 1e-3 / (1 - 0.9 ** t), 1 / jnp.sqrt(1 - 0.999 ** t)
        return [a - c * b / (jnp.sqrt(e) * d + 1e-8) for a, b, e in zip(p, m, v, strict=True)
                ], m, v, t

    steps = j.vmap(step, ((0, 0, 0, None), 0), (0, 0, 0, None))

    def epoch(state: Any, order: Any) -> Any:
        whole = ROWS // BATCH * BATCH
        parts = order[:, :whole].reshape(count, -1, BATCH).transpose(1, 0, 2)
        state = j.lax.scan(lambda state, rows: (steps(state, rows), None), state, parts)[0]
        return steps(state, order[:, whole:]) if whole < ROWS else state

    compiled, rng = j.jit(epoch, donate_argnums=0), np.random.default_rng(0)

    def begin() -> Any:
        p = [jnp.asarray(part) for part in stacked(count)]
        return p, *([jnp.zeros_like(part) for part in p] for _ in range(2)), jnp.float32(0)

    j.block_until_ready(compiled(begin(), orders(count, rng)))
    state = j.block_until_ready(begin())
    began = time.perf_counter()
    for _ in range(EPOCHS):
        state = compiled(state, orders(count, rng))
    j.block_until_ready(state)
    spent = time.perf_counter() - began
    return spent, float(j.vmap(lambda p: error(p, X, T))(state[0]).mean())


def torch_stacked(count: int, n_threads: int = 1) -> tuple[float, float]:
    """The same of PyTorch with stacked tensors and fused Adam."""
    import torch as t

    t.set_num_threads(n_threads)
    (X, T), rng = map(t.from_numpy, data()), np.random.default_rng(0)
    p = [t.from_numpy(part).requires_grad_() for part in stacked(count)]
    update = t.optim.Adam(p, fused=True)

    def errors(X: Any, T: Any) -> Any:
        out = t.baddbmm(p[3], t.tanh(t.baddbmm(p[1], X, p[0])), p[2])
        return 0.5 * (out - T).square().sum((1, 2)) / X.shape[1]

    began = time.perf_counter()
    for _ in range(EPOCHS):
        order = t.from_numpy(orders(count, rng))
        for i in range(0, ROWS, BATCH):
            rows = order[:, i:i + BATCH]
            update.zero_grad()
            errors(X[rows], T[rows]).sum().backward()
            update.step()
    spent = time.perf_counter() - began
    with t.no_grad():
        return spent, float(errors(X.expand(count, -1, -1), T.expand(count, -1, -1)).mean())


def torch(count: int) -> tuple[float, float]:
    """The same of PyTorch one by one, eager, batches sliced from one permuted tensor."""
    import torch as t

    t.set_num_threads(1)
    (X, T), weights, found = map(t.from_numpy, data()), stacked(count), []
    began = time.perf_counter()
    for k in range(count):
        m, h, n = SIZES
        net = t.nn.Sequential(t.nn.Linear(m, h), t.nn.Tanh(), t.nn.Linear(h, n))
        for own, part in zip(net.parameters(), weights, strict=True):
            own.data = t.from_numpy(part[k].T.copy()).reshape(own.shape)
        step = t.optim.Adam(net.parameters(), fused=True)
        for _ in range(EPOCHS):
            order = t.randperm(ROWS)
            for i in range(0, ROWS, BATCH):
                rows = order[i:i + BATCH]
                step.zero_grad()
                (0.5 * (net(X[rows]) - T[rows]).square().sum() / len(rows)).backward()
                step.step()
        found.append(float((0.5 * (net(X) - T).square().sum() / len(X)).detach()))
    return time.perf_counter() - began, statistics.mean(found)


def _sklearn_one(X: Any, t: Any, seed: int) -> float:
    from sklearn.neural_network import MLPRegressor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = MLPRegressor(hidden_layer_sizes=SIZES[1:-1], activation="tanh", batch_size=BATCH,
                           max_iter=EPOCHS, alpha=0, n_iter_no_change=EPOCHS,
                           random_state=seed).fit(X, t)
    return float(0.5 * np.square(net.predict(X) - t).mean())


def sklearn(count: int) -> tuple[float, float]:
    """The same of scikit-learn's MLP, with weights of its own, in a warm pool of processes."""
    from joblib import Parallel, delayed

    X, T = data()
    with Parallel(n_jobs=os.cpu_count()) as pool:
        pool(delayed(_sklearn_one)(X, T[:, 0], s) for s in range(os.cpu_count() or 1))
        began = time.perf_counter()
        found = pool(delayed(_sklearn_one)(X, T[:, 0], s) for s in range(count))
        return time.perf_counter() - began, statistics.mean(found)


def main() -> None:
    """Median seconds for N networks, in turns; the ratios; efficiency over threads.

    Raises
    ------
    ValueError
        If one ends at another error.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=N)
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    cores = os.cpu_count() or 1
    runs: dict[str, tuple[Callable[[int], tuple[float, float]], int]] = {
        "fit_many": (many, given.count),
        "fit_many, 1 thread": (lambda count: many(count, 1), given.count),
        "fit, one by one": (one_by_one, given.count // 4),
        "JAX, vmap": (jax, given.count),
        "PyTorch, stacked": (lambda count: torch_stacked(count, cores), given.count),
        "PyTorch, stacked, 1 thread": (torch_stacked, given.count),
        "scikit-learn": (sklearn, max(2 * cores, given.count // 25)),
        "PyTorch, one by one": (torch, max(1, given.count // 250))}
    many(10)
    times: dict[str, list[float]] = {name: [] for name in runs}
    errors: dict[str, float] = {}
    for _ in range(given.repeat):
        for name, (run, count) in runs.items():
            spent, errors[name] = run(count)
            times[name].append(spent * given.count / count)
            if abs(errors[name] / errors["fit_many"] - 1) > _APART:
                raise ValueError(f"other work: {name} ends at an error of {errors[name]:.4f}, "
                                 f"fit_many of {errors['fit_many']:.4f}")
    seconds = {name: statistics.median(spent) for name, spent in times.items()}
    print(f"| {given.count} networks | seconds | over fit_many |\n|---|---:|---:|")
    for name, spent in seconds.items():
        print(f"| {name} | {spent:.2f} | {spent / seconds['fit_many']:.1f} |")
    for name in ("fit, one by one", "fit_many, 1 thread"):
        share = seconds[name] / seconds["fit_many"] / cores
        print(f"Throughput over that of {name}: {share:.2f} x {cores} threads.")


if __name__ == "__main__":
    main()
