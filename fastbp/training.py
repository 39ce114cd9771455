"""fit: epochs, shuffling, chunks of compiled steps, validation, history."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import engine
from ._jit import thread_count
from ._validation import Array, check_bool, check_size, same_length
from .callbacks import Callback, PrintEpoch
from .kernels.random import shuffle as shuffle_rows
from .kernels.team import launch
from .network import Network
from .optimizers import Optimizer
from .optimizers import get as get_optimizer
from .plan import aligned_zeros
from .table import RULES, address

#: Seconds of compiled work after which control comes back to Python.
CHUNK_SECONDS = 0.05


class History(dict[str, list[float]]):
    """Figures by name, one entry an epoch: "loss", "samples_per_s", "val_loss", ..."""

    @property
    def history(self) -> dict[str, list[float]]:
        """The same dict, under the name that Keras gives it."""
        return self

    def append(self, logs: dict[str, float]) -> None:
        """Add the figures of an epoch."""
        for name, value in logs.items():
            self.setdefault(name, []).append(value)


def fit(network: Network, X: Any, T: Any, *, epochs: int = 10, batch_size: int = 32,
        optimizer: Any = "adam", shuffle: bool = True, validation_data: Any = None,
        callbacks: Sequence[Callback] = (), verbose: int = 0,
        n_threads: int | None = None) -> History:
    """Train ``network`` on X and T.

    Parameters
    ----------
    network : Network
    X : array_like, shape (n, n_in)
    T : array_like, shape (n, n_out), or class indices (n,) where the loss takes them
    epochs : int
        Passes over the data.
    batch_size : int
        Rows a step; the last batch of an epoch may be smaller.
    optimizer : Optimizer or str
        An optimizer, or the name of one with default settings: "sgd", "adam", "adamw", ...
    shuffle : bool
        New order each epoch, by the network's seed.
    validation_data : (X, T), optional
        Evaluated after each epoch.
    callbacks : sequence of Callback
    verbose : int
        0 is silent, 1 prints a line an epoch.
    n_threads : int, optional
        At most so many threads; the result does not depend on it.

    Returns
    -------
    History
        Per epoch: ``loss`` (mean over the batches as they were trained),
        ``samples_per_s``, and ``val_loss``, ``val_accuracy`` with validation data.

    Raises
    ------
    ValueError, TypeError
        For unfit arguments, before anything is changed.
    """
    X, T = network._check_pair(X, T)
    epochs = check_size(epochs, "epochs", 0)
    batch_size = min(check_size(batch_size, "batch_size"), len(X))
    shuffle = check_bool(shuffle, "shuffle")
    verbose = check_size(int(verbose) if isinstance(verbose, bool) else verbose, "verbose", 0)
    optimizer = get_optimizer(optimizer)
    if n_threads is not None:
        n_threads = check_size(n_threads, "n_threads")
    for hook in callbacks:
        if not isinstance(hook, Callback):
            raise TypeError(f"callbacks must hold Callback objects, got {hook!r}")
    validation = _check_validation(network, validation_data)
    run = _Run(network, X, T, batch_size, optimizer, shuffle, epochs)
    hooks = [*callbacks, *([PrintEpoch()] if verbose else [])]
    return _loop(run, epochs, validation, hooks, thread_count(n_threads))


def _check_validation(network: Network, data: Any) -> tuple[Array, Array] | None:
    if data is None:
        return None
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"validation_data must be a pair (X, T), got {type(data).__name__}")
    X, T = (network.check_input(data[0], "validation_data[0]"),
            network.check_target(data[1], "validation_data[1]"))
    same_length(X, T, "validation_data[0]", "validation_data[1]")
    return X, T


class _Run:
    """One training run: where it stands, and how to take the next steps."""

    def __init__(self, network: Network, X: Array, T: Array, batch_size: int,
                 optimizer: Optimizer, shuffle: bool, epochs: int = 1) -> None:
        self.network, self.X, self.T = network, X, T
        self.batch_size, self.optimizer, self.epochs = batch_size, optimizer, epochs
        self.steps_per_epoch = -(-len(X) // batch_size)
        self.slots = aligned_zeros(optimizer.n_slots * network.params.size, network.dtype)
        optimizer.initial_slots(self.slots.reshape(optimizer.n_slots, network.params.size))
        self.order = np.arange(len(X))
        self.rules = np.zeros(1, RULES)
        self.rules["weight_decay"] = optimizer.weight_decay
        self.rules["decoupled"] = optimizer.decoupled
        self.weights = self.average = np.empty(0, network.dtype)
        self.cursor = np.array([0, 0, 0, network.seed, shuffle], np.int64)
        self.errors = np.zeros(1)
        self.mean = network._head_loss.reduction == "mean"
        self.compiled = network.compiled and type(optimizer).kernel is not None

    def advance(self, n_steps: int, n_threads: int) -> None:
        """Take ``n_steps`` steps; ``errors`` counts those up to the end of the epoch."""
        if self.compiled:
            self._engine(n_steps, n_threads)
        else:
            for _ in range(n_steps):
                self._textbook()

    def _rates(self, n_steps: int) -> Array:
        """Learning rates of the next steps."""
        steps = self.cursor[engine.STEP] + np.arange(n_steps)
        return self.optimizer.rates(steps / self.steps_per_epoch, self.epochs)

    def _engine(self, n_steps: int, n_threads: int) -> None:
        net, plan = self.network, self.network.plan(self.batch_size, n_threads)
        rates = self._rates(n_steps)
        steps = self.cursor[engine.STEP] + 1 + np.arange(n_steps)
        sizes = np.column_stack([self.optimizer.sizes(rates, steps), rates])
        errors = np.zeros(n_steps // self.steps_per_epoch + 2)
        launch(engine.run_steps, plan.n_threads, plan.passes, plan.ops, plan.tasks, plan.head,
               net.params, net.grads, self.slots, self.average, plan.workspace, self.X,
               *net.split_target(self.T), self.weights, self.order, self.batch_size, self.mean,
               address("update", type(self.optimizer).kernel, net.dtype), sizes,
               self.optimizer.hyper(), self.rules, np.zeros((len(plan.tasks), 2)),
               np.empty(0), self.cursor, errors)
        self.errors[0] += errors[0]

    def _textbook(self) -> None:
        """One step as the text writes it; for layers and losses of the user's own."""
        net, cursor = self.network, self.cursor
        start = int(cursor[engine.POSITION])
        if start == 0 and cursor[engine.SHUFFLE]:
            shuffle_rows(self.order, cursor[engine.SEED], cursor[engine.EPOCH])
        rows = self.order[start:start + self.batch_size]
        error = net.textbook(self.X[rows], self.T[rows])
        rate = float(self._rates(1)[0])
        cursor[engine.STEP] += 1
        slots = self.slots.reshape(self.optimizer.n_slots, net.params.size)
        self.optimizer.update(net.params, net.grads, slots, int(cursor[engine.STEP]), rate)
        self.errors[0] += error * (len(rows) if self.mean else 1)
        cursor[engine.POSITION] = start + len(rows)
        if start + len(rows) == len(self.X):
            cursor[engine.POSITION] = 0
            cursor[engine.EPOCH] += 1


def _loop(run: _Run, epochs: int, validation: tuple[Array, Array] | None,
          hooks: Sequence[Callback], n_threads: int) -> History:
    history, chunk, n = History(), 1, len(run.X)
    for hook in hooks:
        hook.on_train_begin(run.network, epochs, n)
    try:
        for epoch in range(epochs):
            run.errors[0], taken, stop = 0.0, 0, False
            began = time.perf_counter()
            while taken < run.steps_per_epoch and not stop:
                count = min(chunk, run.steps_per_epoch - taken)
                before = time.perf_counter()
                run.advance(count, n_threads)
                spent = time.perf_counter() - before
                taken += count
                # Aim at CHUNK_SECONDS, growing gently: a first call may have compiled.
                chunk = max(1, int(min(count * CHUNK_SECONDS / spent, 4 * chunk + 1)))
                done = min(taken * run.batch_size, n)
                stop = _tell(hooks, "on_chunk_end", epoch, done)
            logs = {"loss": run.errors[0] / (n if run.mean else 1),
                    "samples_per_s": done / (time.perf_counter() - began)}
            logs |= _validate(run.network, validation)
            history.append(logs)
            stop = _tell(hooks, "on_epoch_end", epoch, logs) or stop
            if not np.isfinite(logs["loss"]):
                warnings.warn(f"loss is {logs['loss']} in epoch {epoch + 1}; a smaller "
                              "learning_rate may help", RuntimeWarning, stacklevel=4)
            if stop:
                break
    finally:
        for hook in hooks:
            hook.on_train_end()
    return history


def _tell(hooks: Sequence[Callback], event: str, *args: Any) -> bool:
    """Call every hook, whatever the others say; True when one wants to stop."""
    return any([bool(getattr(hook, event)(*args)) for hook in hooks])  # noqa: C419


def _validate(network: Network, data: tuple[Array, Array] | None) -> dict[str, float]:
    """Loss and, for cross-entropies, accuracy on held-out rows."""
    if data is None:
        return {}
    X, T = data
    logs = {"val_loss": network.loss(X, T)}
    if network.loss_function.probabilities is not None:
        single = network.n_out == 1
        true = T[:, 0] > 0.5 if single else T if T.ndim == 1 else T.argmax(axis=1)
        logs["val_accuracy"] = float(np.mean(network.predict_classes(X) == true))
    return logs
