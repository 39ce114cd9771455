"""A run with its callbacks, metrics and validation data: how it begins, and ends in any case."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ._jit import thread_count
from ._validation import Array
from ._warning import warn
from .arguments import Validation, check_batch_size, figures_of
from .callbacks import Callback, Checkpoint
from .engine import EPOCH, STEP
from .history import as_name
from .metrics import Metric
from .run import Run
from .threads import Threads

#: Seconds of compiled work after which control comes back to Python.
CHUNK_SECONDS = 0.05


@dataclass
class Job:
    """A run and what goes with it. ``brief``: it is one epoch of a ``partial_fit``. ``told``: the
    user has been warned that its loss is not finite. ``own``: the weights of the rows without
    those of their classes. ``undo``: calls that take back what ``start`` and ``begin`` change.
    ``ready``: callbacks whose ``on_train_begin`` is done; ``begun``: all are. ``around``: the run
    amid which this one goes on, where a callback trains its network."""

    run: Run
    validation: Validation | None = None
    metrics: Sequence[Metric] = ()
    hooks: Sequence[Callback] = ()
    warm_start: bool = False
    resume: str | os.PathLike[str] | None = None
    n_threads: int | None = None
    brief: bool = False
    told: bool = False
    undo: Sequence[Callable[[], object]] = ()
    own: Array | None = None
    ready: list[Callback] = field(default_factory=list)
    begun: bool = False
    around: Any = None

    @property
    def unwatched(self) -> bool:
        """Whether no Python code needs to run between epochs."""
        return (self.run.whole and self.run.compiled
                and not (self.hooks or self.metrics or self.validation))

    def threads(self) -> Threads:
        """Chooser of the run's number of threads; also sets the steps of the run's first call."""
        self.run.watched = self.run.whole and (self.brief or not self.unwatched)
        threads = Threads(self.run, thread_count(self.n_threads))
        self.run.chunk = threads.first_steps(CHUNK_SECONDS) or self.run.chunk
        return threads

    def start(self) -> None:
        """Go to where the run begins: fresh, after the last fit, or at a checkpoint."""
        run = self.run
        self.around = run.network._running
        run.rates(1)  # an invalid schedule fails before anything has changed
        if not (self.brief or self.warm_start):  # rows may come one by one
            check_batch_size(run.network, run.n_rows, "the number of rows")
        if self.resume is not None or self.hooks or (self.warm_start and run.average.size):
            params = run.network.params
            self.undo = [functools.partial(np.copyto, params, params.copy()),
                         functools.partial(setattr, run.network, "last_run", run.network.last_run),
                         *(functools.partial(setattr, layer, "trainable", layer.trainable)
                           for layer in run.network.layers)]
        try:
            self._stand()
        except BaseException as error:
            do_all(self.undo, error)
            raise

    def _stand(self) -> None:
        run, last = self.run, self.run.network.last_run
        if self.warm_start and last is not None:
            run.follow(last, "partial_fit" if self.brief else "warm_start=True")
        run.first_epoch, run.first_step = int(run.cursor[EPOCH]), int(run.cursor[STEP])
        # Checkpoints come last: they save what the other callbacks have done.
        self.hooks = sorted(self.hooks, key=lambda hook: isinstance(hook, Checkpoint))
        for hook in self.hooks:
            hook.run = run
            if isinstance(hook, Checkpoint):
                hook.hooks = self.hooks
        run.figures = figures_of(run.network, self.validation, self.metrics)
        if self.resume is not None:
            from .io.checkpoint import restore

            restore(run, self.hooks, self.resume)
            done = int(run.cursor[EPOCH]) - run.first_epoch
            if 0 < run.epochs <= done:  # epochs=0 asks for no more
                given = "partial_fit" if self.brief else f"epochs={run.epochs}"
                warn(f"{os.fsdecode(self.resume)} holds a run of {done} epoch{'s' * (done > 1)} "
                     f"already, {given} adds none: the epochs of a run are counted from its start")

    def begin(self) -> bool:
        """Call ``on_train_begin`` of all hooks; True to stop. ``end`` must follow, in any case."""
        run, stop = self.run, False
        run.network._running = run
        for hook in self.hooks:
            stop = bool(hook.on_train_begin(run.network, run.epochs, run.n_rows)) or stop
            self.ready.append(hook)
        self.begun = True
        return stop

    def tell(self, event: str, *args: Any) -> bool:
        """Call every hook, whatever the others return or raise; True if one wants to stop."""
        said: list[bool] = []
        do_all([functools.partial(
            lambda hook: said.append(bool(getattr(hook, event)(*args))), hook)
            for hook in self.hooks])
        return any(said)

    def tell_end(self, epoch: int, logs: dict[str, float]) -> bool:
        """Call every hook at the end of an epoch; checkpoints, the last, save what the others
        have added to its figures, whose names are made text for all that follow."""
        own, said, steps = set(logs), list[bool](), list[Callable[[], object]]()

        def tell(hook: Callback) -> None:
            try:
                said.append(bool(hook.on_epoch_end(epoch, logs)))
            finally:
                if not all(isinstance(name, str) for name in logs):
                    named = {as_name(name): value for name, value in logs.items()}
                    logs.clear()
                    logs.update(named)

        def add() -> None:
            self.run.history.add({k: v for k, v in logs.items() if k not in own})

        for hook in self.hooks:
            steps += [add] * isinstance(hook, Checkpoint) + [functools.partial(tell, hook)]
        do_all([*steps, add])
        return any(said)

    def end(self, failed: BaseException | None = None) -> None:
        """Leave the final parameters in the network and tell all hooks, also after an error; if
        not all have begun, end those that have, and undo all changes."""
        if not self.begun:
            do_all([functools.partial(setattr, self.run.network, "_running", self.around),
                    *(hook.on_train_end for hook in self.ready), self.run.finish, *self.undo],
                   failed)
            return
        do_all([*(hook.on_last_step for hook in self.hooks), self._finish,
                *(hook.on_train_end for hook in self.hooks)], failed)

    def _finish(self) -> None:
        self.run.network._running = self.around
        try:
            self.run.finish()
        finally:
            self.run.network.last_run = self.run
            self.run.let_go()


def do_all(steps: Iterable[Callable[[], object]], failed: BaseException | None = None) -> None:
    """Take every step, whatever others raise; then raise the first error, unless that is
    ``failed``, which the caller raises. An interrupt takes precedence over an earlier error."""
    error = failed
    for step in steps:
        try:
            step()
        except BaseException as new:
            if error is None:
                error = new
                continue
            note = f"After that: {new!r}"
            if isinstance(error, Exception) and not isinstance(new, Exception):
                error, note = new, f"Before that: {error!r}"
            if hasattr(error, "add_note"):  # Python 3.11
                error.add_note(note)
    if error is not None and error is not failed:
        try:
            raise error
        finally:
            error = None  # whose traceback has this frame: they would keep each other, and all
