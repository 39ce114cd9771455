"""JAX on its CPU backend: a jitted step, and a whole epoch in ``lax.scan``; donated buffers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .workload import Workload

jax.config.update("jax_platforms", "cpu")  # even if there is a GPU
jax.config.update("jax_enable_x64", True)  # for the float64 row; dtypes are explicit
_ACTIVATION = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}
_map = jax.tree_util.tree_map


class JaxBackend:
    """A jitted step called from a Python loop."""

    def __init__(self, work: Workload, n_threads: int) -> None:
        self.work, self.steps = work, work.batches
        X, T = work.data()
        self.X, self.T = jnp.asarray(X), jnp.asarray(T)
        params = [jnp.asarray(a) for a in work.initial_weights()]
        moments = [_map(jnp.zeros_like, params) for _ in range(2 * (work.optimizer == "adam"))]
        self.state: Any = (params, moments, jnp.zeros((), work.dtype))
        self.rng = np.random.default_rng(1)
        self.step = jax.jit(self._step, donate_argnums=0)
        self.scan = jax.jit(self._scan, donate_argnums=0)

    def _error(self, params: list[Any], x: Any, t: Any) -> Any:
        for k in range(0, len(params), 2):
            x = x @ params[k] + params[k + 1]
            if k + 2 < len(params):
                x = _ACTIVATION[self.work.hidden](x)
        if self.work.loss == "l2":
            return 0.5 * ((x - t) ** 2).sum(axis=1).mean()
        return -jnp.take_along_axis(jax.nn.log_softmax(x), t[:, None], axis=1).mean()

    def _step(self, state: Any, X: Any, T: Any, rows: Any) -> Any:
        return self._descend(state, X[rows], T[rows])

    def _descend(self, state: Any, x: Any, labels: Any) -> Any:
        params, moments, t = state
        grads = jax.grad(self._error)(params, x, labels)
        rate, t = self.work.learning_rate, t + 1
        if self.work.optimizer == "sgd":
            return _map(lambda p, g: p - rate * g, params, grads), moments, t
        m = _map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], grads)
        v = _map(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], grads)
        size, spread = rate / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
        params = _map(lambda p, m, v: p - size * m / (jnp.sqrt(v) * spread + 1e-8), params, m, v)
        return params, [m, v], t

    def _scan(self, state: Any, X: Any, T: Any, order: Any) -> Any:
        return jax.lax.scan(lambda s, rows: (self._step(s, X, T, rows), None), state, order)[0]

    def order(self, shuffle: bool) -> np.ndarray:
        """Row numbers of each batch of an epoch, (steps, batch)."""
        n = len(self.X)
        return (self.rng.permutation(n) if shuffle else np.arange(n)).reshape(self.steps, -1)

    def epochs(self, n: int, shuffle: bool = True) -> None:
        """Train ``n`` epochs."""
        for _ in range(n):
            for rows in jnp.asarray(self.order(shuffle)):
                self.state = self.step(self.state, self.X, self.T, rows)
        jax.block_until_ready(self.state)

    def weights(self) -> list[np.ndarray]:
        """Copies of W as (m, n) and bias of each layer."""
        return [np.array(p) for p in self.state[0]]


class JaxScanBackend(JaxBackend):
    """A whole epoch in one compiled loop."""

    def epochs(self, n: int, shuffle: bool = True) -> None:
        """Train ``n`` epochs."""
        for _ in range(n):
            self.state = self.scan(self.state, self.X, self.T, jnp.asarray(self.order(shuffle)))
        jax.block_until_ready(self.state)


class JaxCalls(JaxBackend):
    """A jitted step for each batch, a NumPy array without shuffling; waits only at the end."""

    wait = False

    def __init__(self, work: Workload, n_threads: int) -> None:
        super().__init__(work, n_threads)
        self.data, self.step = work.data(), jax.jit(self._descend, donate_argnums=0)

    def epochs(self, n: int, shuffle: bool = True) -> None:
        """Train; batches are consecutive rows of the data."""
        (X, T), b = self.data, self.work.batch
        for _ in range(n):
            for i in range(0, len(X), b):
                self.state = self.step(self.state, X[i:i + b], T[i:i + b])
                if self.wait:
                    jax.block_until_ready(self.state)
        jax.block_until_ready(self.state)


class JaxWaits(JaxCalls):
    """The same, but waiting for the result of each step before the next one."""

    wait = True
