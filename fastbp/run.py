"""A training run: where it stands, how it takes the next steps, how it is saved and resumed.

Everything that a step depends on is here or in the network: parameters, optimizer state,
moving average, cursor (step, epoch, position, seed). ``state`` and ``restore`` save and load
all of it, so a run that was stopped at any step goes on with the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import engine, sharing
from ._validation import Array
from .history import History
from .interrupts import held
from .kernels.launch import launch
from .kernels.random import shuffle as shuffle_rows
from .kernels.vectors import aligned_zeros
from .network import Network
from .optimizers import Optimizer
from .plan import Plan
from .portable_run import PortableRun
from .rules import Rules
from .step_sizes import StepSizes
from .table import address, has_kernels

#: X, T, weights and order of a run without rows.
_NO_ROWS = np.empty((0, 0)), np.empty((0, 0)), np.empty(0), np.empty(0, np.int64)


class Run(PortableRun):
    """One training run.

    Attributes
    ----------
    network, optimizer, rules
        What is trained, and how; the optimizer is None after pickling where it could not be.
    history : History
        Loss, metrics, ... of the epochs so far.
    slots, average : ndarray
        State of the optimizer; moving average of the parameters, empty where there is none.
    cursor : ndarray
        Step, epoch, position in the epoch, seed, whether to shuffle.
    order : ndarray
        Row numbers in the order of the epoch; for ``take`` also those of several epochs to come.
    watch : ndarray
        Ends ``take`` after an epoch in which the loss stopped falling; empty for no such watch.
    rate_scale : float
        Multiplies the learning rate; for callbacks to set.
    epochs : int
        Length of the run, for schedules.
    n_rows : int
        Rows of an epoch.
    whole, watched : bool
        Whether all of them are in memory at once; whether calls of the engine end with the epoch.
    figures : list of str
        Names of those of an epoch, without what callbacks add.
    """

    whole, watched = True, False
    #: What a ``partial_fit`` leaves to the next one, if that can continue this run.
    given: Any = None
    figures: list[str] = []

    def __init__(self, network: Network, X: Array, T: Array, batch_size: int,
                 optimizer: Optimizer, shuffle: bool, *, weights: Array | None = None,
                 rules: Rules | None = None, epochs: int = 1) -> None:
        self.network, self.optimizer, self.epochs = network, optimizer, epochs
        self.rules = rules or Rules(weight_decay=optimizer.weight_decay,
                                    decoupled=optimizer.decoupled)
        optimizer.check(network.dtype)
        self.rules.check(network.dtype)
        network.check_trainable()
        network.check_constants()
        self.begun_by = self._kind(optimizer), repr(optimizer)  # it may be changed in place
        self.slots = aligned_zeros(optimizer.n_slots * network.params.size, network.dtype)
        optimizer.initial_slots(self.slots.reshape(optimizer.n_slots, network.params.size))
        self.average = network.params.copy() if self.rules.average else self.slots[:0]
        self.cursor = np.array([0, 0, 0, network.seed, shuffle], np.int64)
        self.watch, self.rate_scale, self.chunk = np.empty(0), 1.0, 1
        self.raw = self.average
        self.compiled = network.compiled and has_kernels(type(optimizer), "kernel", "update")
        self._rules = self.rules.row()
        self._panels: tuple[Plan, tuple[Array, ...]] | None = None
        self._lasting: tuple[Any, ...] = (None,)
        self.begin(X, T, batch_size, weights)
        self._sizes = StepSizes()
        self._held: tuple[list[bool], Array] = [], self.order[:0]

    def begin(self, X: Array, T: Array, batch_size: int, weights: Array | None = None) -> None:
        """Go to the start of an epoch over these rows, with an empty history."""
        net = self.network
        self.X, self.T, self.n_rows, self.batch_size = X, T, len(X), batch_size
        self.weights = np.empty(0, net.dtype) if weights is None else weights
        self.order = np.arange(len(X), dtype=np.int64)
        self.steps_per_epoch = -(-len(X) // batch_size)
        self.cursor[engine.POSITION], self.cursor[engine.SEED] = 0, net.seed
        self.first_step, self.first_epoch = self.cursor[:engine.POSITION].tolist()
        self.mean = net._head_loss.reduction == "mean"
        self.errors, self.history = np.zeros(1), History()

    # -- steps ------------------------------------------------------------------------

    @property
    def total(self) -> float:
        """What an epoch's error is divided by: the rows, or the sum of their weights."""
        if not self.mean:
            return 1.0
        return float(self.weights.sum(dtype=np.float64)) if self.weights.size else self.n_rows

    def total_of(self, rows: int) -> float:
        """The part of ``total`` that belongs to the epoch's first ``rows``."""
        if self.mean and self.whole and self.weights.size and rows < self.n_rows:
            return float(self.weights[self.order[:rows]].sum(dtype=np.float64))
        return self.total * rows / self.n_rows if rows < self.n_rows else self.total

    def rates(self, n_steps: int) -> Array:
        """Learning rates of the next steps."""
        at = int(self.cursor[engine.STEP]) - self.first_step
        return self.epoch_rates(np.arange(at, at + n_steps) / self.steps_per_epoch)

    def epoch_rates(self, epochs: Array) -> Array:
        """Learning rates at these positions of the run, in epochs."""
        return self.optimizer.rates(epochs.astype(np.float64), self.epochs) * self.rate_scale

    def advance(self, n_steps: int, n_threads: int) -> None:
        """Take ``n_steps`` steps; ``errors[0]`` sums up the error until the end of the epoch."""
        self._check_kind()
        if self.compiled:
            self._engine(n_steps, self.plan(n_threads))
        else:
            for _ in range(n_steps):
                with held():
                    self._textbook()

    def take(self, n_steps: int, n_threads: int) -> list[float]:
        """Take compiled steps across epochs; returns the errors of the epochs that ended."""
        self._check_kind()
        before = self.cursor[engine.EPOCH]
        errors = self._engine(n_steps, self.plan(n_threads))[0].tolist()
        ended = int(self.cursor[engine.EPOCH] - before)
        if ended:
            self.errors[0] = errors[ended]
        return errors[:ended]

    def step(self, plan: Plan) -> tuple[float, float]:
        """Take one compiled step, a whole epoch, by an optimizer that the run ``keeps``; returns
        its error and learning rate."""
        errors, sizes = self._engine(1, plan)
        self.errors = errors[1:2]  # of the next epoch, in case the run is saved
        return float(errors[0]), float(sizes[0, 2])

    def plan(self, n_threads: int | None) -> Plan:
        """The plan of the steps for up to ``n_threads`` threads."""
        carried = 1 + self.optimizer.n_slots + bool(self.rules.average)
        brief = self.watched and self.steps_per_epoch < sharing.PANEL_STEPS * carried
        return self.network.plan(self.batch_size, n_threads, True, 0 if brief else carried)

    def _owned(self, plan: Plan) -> tuple[Array, ...]:
        """Parameters, slots, average and gradients in the layout that ``plan`` uses."""
        home = self.network.params, self.slots, self.average, self.network.grads
        if not plan.moves.size:
            return home
        if self._panels is None or self._panels[0] is not plan:
            n, whole = self.network.params.size, bool(self.rules.clip_norm)
            self._panels = plan, tuple(
                aligned_zeros(times * plan.copies * plan.n_params, self.network.dtype)
                for times in (1, self.slots.size // n, self.average.size // n, whole))
        return self._panels[1]

    def _lasts(self, plan: Plan, hyper: Array) -> Sequence[Any]:
        """Arguments of ``run_steps`` that hold while plan and settings do: no rows, no sizes."""
        if self._lasting[0] is not plan or self._lasting[1] is not hyper:
            net, rules = self.network, self._rules
            rules["plain"] = self.optimizer.plain and self.rules.leave_gradients
            rules["apart"] = self.rules.max_norm > 0 or any(
                x.buffers or (not x.trainable and x.shapes()) for x in net.layers)
            for name, at in self.rules.kernels(net.dtype).items():
                rules[name] = at
            norms = np.empty(plan.copies * plan.n_params if self.rules.max_norm else 0)
            self._lasting = (
                plan, hyper,
                (plan.passes, *plan.tables, plan.tasks, plan.moves, net.params, self.slots,
                 self.average, *self._owned(plan), plan.workspace),
                address("update", type(self.optimizer).kernel, net.dtype),
                (hyper, rules, np.zeros((plan.copies * plan.n_sums, 2)), norms))
        return self._lasting[2:]

    def _engine(self, n_steps: int, plan: Plan) -> tuple[Array, Array]:
        """Take steps; returns the errors of the epochs they are in, and their step sizes."""
        net = self.network
        errors = np.zeros(n_steps // self.steps_per_epoch + 2)
        errors[0] = self.errors[0]  # an epoch's sum is the same wherever a chunk ends
        self.errors = errors[:1]  # set before the call: an interrupt is raised right after it
        sizes, hyper = self._sizes.of(self.optimizer, int(self.cursor[engine.STEP]) + 1, n_steps,
                                      self.rate_scale, self.rates)
        first, update, last = self._lasts(plan, hyper)
        launch(engine.run_steps, plan.n_threads, n_steps * plan.work, *first, self.X,
               *net.split_target(self.T), self.weights, self.order, sharing.prefetches(self.X),
               self.batch_size, self.mean, update, sizes, *last, self.watch, self.cursor, errors)
        return errors, sizes

    def _textbook(self) -> None:
        """One step by the textbook loop, for a user's own layers, losses and optimizers."""
        net, cursor, rate = self.network, self.cursor, float(self.rates(1)[0])
        start = int(cursor[engine.POSITION])
        if start == 0 and cursor[engine.SHUFFLE]:
            shuffle_rows(self.order, cursor[engine.SEED], cursor[engine.EPOCH])
        rows = self.order[start:start + self.batch_size]
        weights = self.weights[rows] if self.weights.size else None
        key = int(engine.step_key(cursor[engine.SEED], cursor[engine.STEP]))
        error = net.textbook(self.X[rows], self.T[rows], sample_weight=weights, key=key)
        weight = len(rows) if weights is None else float(weights.sum(dtype=np.float64))
        still = self._still()
        net.grads[still] = 0
        error += self.rules.prepare(net, weight)
        cursor[engine.STEP] += 1
        slots = self.slots.reshape(self.optimizer.n_slots, net.params.size)
        kept = net.params[still], slots[:, still]
        done: Any = self.optimizer.update(net.params, net.grads, slots,
                                          int(cursor[engine.STEP]), rate)
        if done is not None:
            raise TypeError(f"{type(self.optimizer).__name__}.update must change params in place "
                            f"and return None, got {type(done).__name__}")
        net.params[still], slots[:, still] = kept  # padding too, unknown to a user's optimizer
        self.rules.finish(net, self.average)
        self.errors[0] += error * (weight if self.mean else 1)
        cursor[engine.POSITION] = start + len(rows)
        if start + len(rows) == len(self.X):
            cursor[engine.POSITION] = 0
            cursor[engine.EPOCH] += 1

    def _still(self) -> Array:
        """Indices of the flat parameters that steps must not change."""
        trainable = [layer.trainable for layer in self.network.layers]
        if self._held[0] != trainable:
            self._held = trainable, np.flatnonzero(self.network.untrained())
        return self._held[1]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Context in which the network has averaged parameters, if there is an average."""
        if not self.average.size:
            yield
            return
        params, raw = self.network.params, self.network.params.copy()
        try:
            with held():
                self.raw, params[...] = raw, self.average
            yield
        finally:
            with held():
                self.raw, params[...] = self.average, raw

    # -- going on later ---------------------------------------------------------------

    def _changing(self) -> dict[str, Array]:
        return {"params": self.network.params, "slots": self.slots, "average": self.average,
                "cursor": self.cursor, "errors": self.errors}

    def kept(self) -> tuple[dict[str, Array], float]:
        """Copies of all that steps change, for ``go_back``."""
        return {name: own.copy() for name, own in self._changing().items()}, self.rate_scale

    def go_back(self, kept: tuple[dict[str, Array], float]) -> None:
        """Return to the state that ``kept`` copied; the history stays."""
        arrays, self.rate_scale = kept
        for name, own in self._changing().items():
            own[...] = arrays[name]

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """(arrays, description) of the run's present state."""
        described = {"optimizer": repr(self.optimizer), "batch_size": self.batch_size,
                     "n_rows": self.n_rows, "shuffle": bool(self.cursor[engine.SHUFFLE]),
                     "weights": self.weighing(), "figures": self.figures,
                     "epochs": self.epochs, "rate_scale": self.rate_scale,
                     "first_epoch": self.first_epoch, "first_step": self.first_step,
                     "history": dict(self.history), **vars(self.rules)}
        return self._changing(), described

    def restore(self, arrays: dict[str, Array], described: dict[str, Any]) -> None:
        """Take up the state that ``state`` returned.

        Raises
        ------
        ValueError
            If rows, weights, settings, figures or shapes are not those of the saved run.
        """
        own = self.state()[1]
        for name in ("batch_size", "n_rows", "optimizer", "shuffle", "weights", "figures",
                     *vars(self.rules)):
            if (found := described.get(name, own[name])) != own[name]:  # older ones have fewer
                raise ValueError(f"the saved run has {name} {found}, this one {own[name]}")
        for name, array in self._changing().items():
            found = arrays[name]
            if (found.shape, found.dtype) != (array.shape, array.dtype):
                raise ValueError(f"the saved run has {name} of shape {found.shape} and "
                                 f"{found.dtype}, this one of {array.shape} and {array.dtype}")
        cursor = arrays["cursor"]
        if (cursor < 0).any() or cursor[engine.POSITION] >= self.n_rows:
            raise ValueError(f"the saved run stands nowhere: cursor {cursor.tolist()}")
        self.go_back((arrays, float(described["rate_scale"])))
        self.first_epoch, self.first_step = described["first_epoch"], described["first_step"]
        whole = int(self.cursor[engine.EPOCH]) - self.first_epoch  # a partial one is logged again
        self.history.update({k: list(v[:whole]) for k, v in described["history"].items()})
        if self.cursor[engine.POSITION] and self.cursor[engine.SHUFFLE]:
            shuffle_rows(self.order, self.cursor[engine.SEED], self.cursor[engine.EPOCH])

    def follow(self, earlier: Run, name: str) -> None:
        """Start where ``earlier`` ended: take its optimizer state, step and epoch counts.

        Raises
        ------
        ValueError
            If the optimizer or the network's size is another: ``name`` is what asked for it.
        """
        if not self.can_follow(earlier):
            kinds = [(run.begun_by[0] or ())[:-1] for run in (self, earlier)]
            other = " for a network of another size" * (kinds[0] == kinds[1])
            raise ValueError(f"{name} needs the optimizer of the fit before, "
                             f"{earlier.begun_by[1]}{other}, got {self.optimizer!r}")
        self.slots[...] = earlier.slots
        if self.average.size and any(np.array_equal(self.network.params, own)
                                     for own in (earlier.average, earlier.raw)):
            # Copies made amid a fit have the raw ones. Others were changed since: they count.
            net = self.network
            for layer, at in zip(net.layers, net._offsets, strict=True):
                if layer.trainable:
                    part = slice(at, at + layer.layout(net.dtype)[1])
                    net.params[part], self.average[part] = earlier.raw[part], earlier.average[part]
        self.cursor[:2] = earlier.cursor[:2]
        self.rate_scale = earlier.rate_scale

    def finish(self) -> None:
        """Leave averaged parameters in the network, and keep the raw ones to continue from."""
        self.raw = self.average
        if self.average.size:
            with held():
                self.raw = self.network.params.copy()
                self.network.params[...] = self.average
        self._panels, self._lasting = None, (None,)
        self.release()

    def release(self) -> None:
        """Drop the references to the rows."""
        self.X, self.T, self.weights, self.order = _NO_ROWS
