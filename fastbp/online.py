"""partial_fit: one more epoch over the given rows, at little more than the cost of its steps.

Meant to be called for each batch, in online or reinforcement learning or in a training loop of
one's own. A call with the same options as the one before continues its run: what that has
checked and made is used again, and only the rows are new.
"""

from __future__ import annotations

import time
from threading import get_ident
from typing import TYPE_CHECKING, Any

from ._validation import as_weights
from .arguments import check_batch_size, check_weights
from .engine import STEP
from .history import History
from .job import Job
from .layers import LAYERS
from .network import Network
from .optimizers import Optimizer
from .optimizers import get as get_optimizer
from .options import MoreOptions, passes_on
from .plan import Plan
from .run import Run
from .step_sizes import plain_settings
from .threads import Threads
from .training import fit, prepare, straight, train, warn_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Layers whose attributes, all of them, tell of each change.
_LAYERS = frozenset(LAYERS.values())
#: Options that need nothing done between steps or computed from all rows.
_SIMPLE = frozenset(("shuffle", "l1", "l2", "clip_value", "clip_norm", "max_norm"))


def partial_fit(network: Network, X: Any, T: Any, *, batch_size: int = 32,
                optimizer: Any = "adam", sample_weight: Any = None,
                n_threads: int | None = None, **options: Unpack[MoreOptions]) -> History:
    """One more epoch over X and T, with the optimizer state of the fit before.

    Takes what ``fit`` takes except ``epochs`` and ``warm_start``, and gives the same bits as
    ``fit(X, T, epochs=1, warm_start=True, ...)``: a schedule begins anew in each call, which is
    its only epoch, so set ``optimizer.learning_rate`` between calls instead. From the second
    call with the same ``batch_size``, ``shuffle``, penalties, limits and ``n_threads``, and an
    optimizer of the same kind, the overhead of a call is a tenth of the first one's; not with
    ``average``, ``class_weight``, validation data, metrics or callbacks.

    Returns
    -------
    History
        Of this epoch.

    Raises
    ------
    ValueError, TypeError
        For invalid arguments, before anything is changed.
    """
    if "epochs" in options or "warm_start" in options:
        raise TypeError("partial_fit goes on for an epoch: it takes neither epochs nor warm_start")
    optimizer = get_optimizer(optimizer)
    given = {"batch_size": batch_size, "n_threads": n_threads, **options}
    settings = _settings(network, optimizer)
    run = network.last_run
    call = None if run is None else vars(run).pop("given", None)  # not for another thread as well
    if run is not None and call is not None:
        try:
            if run.network is network and run.compiled and _same(run, call, given, optimizer,
                                                                 settings):
                return _again(run, call, optimizer, settings, X, T, batch_size, sample_weight,
                              n_threads)
        finally:
            run.given = call
    job = prepare(network, X, T, epochs=1, warm_start=True, batch_size=batch_size,
                  optimizer=optimizer, sample_weight=sample_weight, n_threads=n_threads,
                  **options)
    job.brief = True
    history = train(job)
    if _SIMPLE.issuperset(options):
        job.run.given = _Call(given, job.threads())
    return history


passes_on(partial_fit, fit, "epochs", "warm_start")


class _Call:
    """What a call leaves to the next one: its options and threads, the settings of network and
    optimizer under which nothing needs to be checked again, None for none, and a step's plan."""

    def __init__(self, options: dict[str, Any], threads: Threads) -> None:
        self.options, self.threads = options, threads
        self.settings: tuple[Any, ...] | None = None
        self._planned: tuple[int, Plan] | None = None

    def forget(self) -> None:
        """Something may have changed."""
        self.settings = self._planned = None

    def change(self, threads: Threads) -> None:
        """The batches have another size."""
        self.threads = threads
        self.forget()

    def plan(self, run: Run) -> Plan:
        """The plan of the next step."""
        size = self.threads.size
        if self._planned is None or self._planned[0] != size:
            self._planned = size, run.plan(size)
        return self._planned[1]


def _settings(network: Network, optimizer: Optimizer) -> tuple[Any, ...] | None:
    """What checks and plans depend on, beside options and the number of rows; None if unknown."""
    own = plain_settings(optimizer)
    if own is None:
        return None
    return (network._changes, network._tile_precision, network._head_loss.constants(),
            get_ident(), type(optimizer), own)


def _same(run: Run, call: _Call, given: dict[str, Any], optimizer: Optimizer,
          settings: tuple[Any, ...] | None) -> bool:
    """Whether a call with these options differs from the one before only in its rows, and perhaps
    in settings of network and optimizer, which are then forgotten."""
    if not ([*given] == [*call.options]
            and ([*map(id, given.values())] == [*map(id, call.options.values())]
                 or ([*map(type, given.values())] == [*map(type, call.options.values())]
                     and given == call.options))):
        return False
    if settings is not None and settings == call.settings:
        return True
    call.forget()
    # Another type may keep the same state, but be decoupled or not compiled.
    return (type(optimizer) is type(run.optimizer) and run.keeps(optimizer)
            and optimizer.weight_decay == run.rules.weight_decay)


def _again(run: Run, call: _Call, optimizer: Optimizer, settings: tuple[Any, ...] | None, X: Any,
           T: Any, batch_size: int, sample_weight: Any, n_threads: int | None) -> History:
    """One more epoch of a run, over these rows."""
    network, before, threads = run.network, run.batch_size, call.threads
    was = vars(run) | {"cursor": run.cursor.copy()}
    X, T = network._check_pair(X, T)
    weights = None
    if sample_weight is not None:
        weights = as_weights(sample_weight, len(X), network.dtype)
        check_weights(network, weights, None, "sample_weight")
    if call.settings is None:
        if batch_size == 1:  # a BatchNorm may learn only now
            check_batch_size(network, batch_size)
        network.check_trainable()
        optimizer.check(network.dtype)
        run.begun_by = run.begun_by[0], repr(optimizer)
        if settings is not None and all(type(layer) in _LAYERS for layer in network.layers):
            call.settings = *settings[:-1], settings[-1].copy()  # it may be changed in place
    run.optimizer = optimizer
    try:
        run.begin(X, T, min(int(batch_size), len(X)), weights)
        if run.batch_size != before:
            run.chunk = 1
            call.change(Job(run, n_threads=n_threads, brief=True).threads())
        if run.steps_per_epoch == 1:
            _step(run, call)
        else:
            run.rates(1)  # an invalid schedule raises before anything changes, as in ``fit``
            straight(Job(run), call.threads)
    except BaseException:
        if run.cursor[STEP] == was["cursor"][STEP]:  # as if there had been no call
            vars(run).update(was)
            call.change(threads)
        raise
    finally:
        run.release()
    return run.history


def _step(run: Run, call: _Call) -> None:
    """``straight`` for a single step, without ``interrupts.held``, which would double the
    overhead. After an interrupt the step may be missing in the history, which is then lost anyway.
    """
    plan, begun = call.plan(run), time.perf_counter()
    error, rate = run.step(plan)
    spent = time.perf_counter() - begun
    call.threads.told(1, spent, cut=True)
    loss = error / run.total
    run.history |= {"loss": [loss], "learning_rate": [rate], "samples_per_s": [run.n_rows / spent]}
    warn_of(run.network, loss, 0)
