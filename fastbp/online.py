"""partial_fit: one more epoch over the given rows, at little more than the cost of its steps.

Meant to be called for each batch, in online or reinforcement learning or in a training loop of
one's own. A call with the same options as the one before continues its run: what that has
checked and made is used again, and only the rows are new.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ._validation import as_weights
from .arguments import check_batch_size, check_weights
from .engine import STEP
from .history import History
from .job import Job
from .network import Network
from .optimizers import Optimizer
from .optimizers import get as get_optimizer
from .options import MoreOptions, passes_on
from .run import Run
from .threads import Threads
from .training import fit, prepare, straight, train, warn_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

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
    optimizer of the same kind, the overhead of a call is an eighth of the first one's; not with
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
    run = _same(network, given, optimizer)
    if run is not None:
        return _again(run, optimizer, X, T, batch_size, sample_weight, n_threads)
    job = prepare(network, X, T, epochs=1, warm_start=True, batch_size=batch_size,
                  optimizer=optimizer, sample_weight=sample_weight, n_threads=n_threads,
                  **options)
    job.brief = True
    history = train(job)
    if _SIMPLE.issuperset(options):
        job.run.given = given, job.threads()
    return history


passes_on(partial_fit, fit, "epochs", "warm_start")


def _again(run: Run, optimizer: Optimizer, X: Any, T: Any, batch_size: int, sample_weight: Any,
           n_threads: int | None) -> History:
    """One more epoch of a run, over these rows."""
    network, before = run.network, run.batch_size
    was = vars(run) | {"cursor": run.cursor.copy()}
    X, T = network._check_pair(X, T)
    if batch_size == 1:  # a BatchNorm may learn only now
        check_batch_size(network, batch_size)
    weights = None
    if sample_weight is not None:
        weights = as_weights(sample_weight, len(X), network.dtype)
        check_weights(network, weights, None, "sample_weight")
    network.check_trainable()
    optimizer.check(network.dtype)
    run.optimizer = optimizer
    assert run.given is not None
    given, threads = run.given
    try:
        run.begin(X, T, min(int(batch_size), len(X)), weights)
        if run.batch_size != before:
            run.chunk = 1
            threads = Job(run, n_threads=n_threads, brief=True).threads()
            run.given = given, threads
        if run.steps_per_epoch == 1:
            _step(run, threads)
        else:
            run.rates(1)  # an invalid schedule raises before anything changes, as in ``fit``
            straight(Job(run), threads)
    except BaseException:
        if run.cursor[STEP] == was["cursor"][STEP]:  # as if there had been no call
            vars(run).update(was)
        raise
    finally:
        run.release()
    return run.history


def _step(run: Run, threads: Threads) -> None:
    """``straight`` for a single step, without ``interrupts.held``, which would double the
    overhead. After an interrupt the step may be missing in the history, which is then lost anyway.
    """
    begun = time.perf_counter()
    error, rate = run.step(threads.size)
    spent = time.perf_counter() - begun
    threads.told(1, spent, cut=True)
    loss = error / run.total
    run.history |= {"loss": [loss], "learning_rate": [rate], "samples_per_s": [run.n_rows / spent]}
    warn_of(run.network, loss, 0)


def _same(network: Network, given: dict[str, Any], optimizer: Optimizer) -> Run | None:
    """The last run, if a call with these options differs from the one before only in its rows,
    and perhaps in settings of the optimizer."""
    run = network.last_run
    if run is None or run.given is None or run.network is not network or not run.compiled:
        return None
    earlier = run.given[0]
    same = ([*given] == [*earlier]
            and ([*map(id, given.values())] == [*map(id, earlier.values())]
                 or ([*map(type, given.values())] == [*map(type, earlier.values())]
                     and given == earlier))
            # Another type may keep the same state, but be decoupled or not compiled.
            and type(optimizer) is type(run.optimizer) and run.keeps(optimizer)
            and optimizer.weight_decay == run.rules.weight_decay)
    return run if same else None
