"""fit: arguments, epochs, chunks of compiled steps, validation, history."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._validation import (
    as_path,
    as_weights,
    check_bool,
    check_real,
    check_size,
    check_threads,
)
from ._warning import warn
from .arguments import (
    Validation,
    check_batch_size,
    check_callbacks,
    check_monitors,
    check_outputs,
    check_validation,
    check_weights,
    hold_out,
    measured,
)
from .callbacks import Callback, EarlyStopping, PrintEpoch
from .engine import EPOCH, POSITION, STEP
from .history import History
from .interrupts import held
from .job import CHUNK_SECONDS, Job
from .layers import LAYERS, Sigmoid, Softmax
from .metrics import Metric, check_metrics, get_metrics, measure
from .network import Network
from .optimizers import get as get_optimizer
from .rules import Rules
from .run import Run
from .threads import Threads
from .weights import class_weights


def fit(network: Network, X: Any, T: Any, *, epochs: int = 10, batch_size: int = 32,
        optimizer: Any = "adam", shuffle: bool = True, sample_weight: Any = None,
        class_weight: Any = None, validation_data: Any = None, validation_split: float = 0.0,
        metrics: Sequence[str | Callable[..., float]] = (), l1: float = 0.0, l2: float = 0.0,
        clip_value: float = 0.0, clip_norm: float = 0.0, max_norm: float = 0.0,
        average: float = 0.0, callbacks: Sequence[Callback] = (), verbose: int = 0,
        warm_start: bool = False, resume: str | os.PathLike[str] | None = None,
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
        Rows a step; the last batch of an epoch may be smaller. At least 2 for ``BatchNorm``.
    optimizer : Optimizer or str
        An optimizer, or the name of one with default settings: "sgd", "adam", "adamw", ...
    shuffle : bool
        New order each epoch, by the network's seed.
    sample_weight : array_like, shape (n,), optional
        Weight of each row, at least 0; the mean over a batch is weighted.
    class_weight : dict or "balanced", optional
        Weight of each class, times ``sample_weight``, in training alone; "balanced" is
        n / (classes * count), of all rows, those held out too.
    validation_data : (X, T) or (X, T, sample_weight), optional
        Evaluated after each epoch.
    validation_split : float
        Share of the rows, drawn by the network's seed, to hold out and evaluate instead.
    metrics : sequence of str or callable
        Names in ``fastbp.metrics`` or functions (T, output) -> number, measured each epoch
        on the validation data as "val_NAME"; without any, on the training data as "NAME".
        "f1" is the mean over the classes ("macro"); "rmse" is the root of the mean over all
        outputs (scikit-learn's the mean of each output's root); "mse", "rmse", "mae" and "r2" are
        of probabilities under a cross-entropy, and of rates under ``PoissonLoss``. Those of
        classes and probabilities are NaN, the best of no epoch, if any output is not finite.
    l1, l2, clip_value, clip_norm, max_norm : float
        Penalties and limits, 0 for none; see ``fastbp.rules``.
    average : float
        Decay of a moving average of the parameters, buffers included, which is used for
        validation and left in the network at the end; 0 for none.
    callbacks : sequence of Callback
    verbose : int
        0 is silent, 1 prints a line an epoch.
    warm_start : bool
        Continue with the optimizer state, step and epoch counts of the last fit, and with the
        factor by which ``ReduceOnPlateau`` has lowered its rates. A schedule begins anew. After
        ``fastbp.load`` there is no last fit: files of ``save`` hold no state of an optimizer.
    resume : path, optional
        A checkpoint of this very run: continue from there, up to ``epochs`` in all; a warning
        tells that it has as many already.
    n_threads : int, optional
        Largest number of threads, by default one a core, within the CPU quota of a container;
        the result does not depend on it.

    Returns
    -------
    History
        Per epoch: ``loss`` (mean over the batches as they were trained, penalties
        included), ``learning_rate`` (of the epoch's first step), ``samples_per_s``, and
        ``val_loss``, ``val_accuracy`` and metrics.

    Raises
    ------
    ValueError, TypeError
        For invalid arguments, before anything is changed.
    OSError
        If ``resume`` cannot be read.
    ImportError
        For a metric that needs scikit-learn, without it.
    """
    return train(prepare(**locals()))


def prepare(network: Network, X: Any, T: Any, *, epochs: int = 10, batch_size: int = 32,
            optimizer: Any = "adam", shuffle: bool = True, sample_weight: Any = None,
            class_weight: Any = None, validation_data: Any = None,
            validation_split: float = 0.0, metrics: Sequence[Any] = (), l1: float = 0.0,
            l2: float = 0.0, clip_value: float = 0.0, clip_norm: float = 0.0,
            max_norm: float = 0.0, average: float = 0.0, callbacks: Sequence[Callback] = (),
            verbose: int = 0, warm_start: bool = False, resume: Any = None,
            n_threads: int | None = None) -> Job:
    """Check the arguments of ``fit`` and make the job for ``train``; changes nothing.

    Raises
    ------
    ValueError, TypeError
        As ``fit``.
    """
    X, T = network._check_pair(X, T)
    check_outputs(network)
    epochs = check_size(epochs, "epochs", 0)
    batch_size = check_batch_size(network, batch_size)
    shuffle, warm_start = check_bool(shuffle, "shuffle"), check_bool(warm_start, "warm_start")
    if isinstance(verbose, (bool, np.bool_)):
        verbose = int(verbose)
    verbose = check_size(verbose, "verbose", 0)
    optimizer = get_optimizer(optimizer)
    rules = Rules(l1, l2, clip_value, clip_norm, max_norm, average, optimizer.weight_decay,
                  type(optimizer).decoupled)
    found = get_metrics(metrics)
    resume = None if resume is None else as_path(resume, "resume")
    n_threads = check_threads(n_threads)
    hooks = [*check_callbacks(callbacks), *([PrintEpoch()] if verbose else [])]
    weights = own = as_weights(sample_weight, len(X), network.dtype)
    if class_weight is not None:
        weights = class_weights(T, class_weight, network.n_out, own, network.dtype)
    validation = check_validation(network, validation_data)
    split = check_real(validation_split, "validation_split", 0.0, 1.0)
    if split:
        if validation is not None:
            raise ValueError("validation_split and validation_data cannot both be given, got "
                             f"validation_split={validation_split!r}")
        X, T, weights, validation = hold_out(network, X, T, weights, own, split)
    check_weights(network, weights, validation, "class_weight" if class_weight is not None
                  else "sample_weight")
    check_metrics(found, network, T if validation is None else validation.T)
    check_monitors(hooks, network, validation, found)
    run = Run(network, X, T, min(batch_size, len(X)), optimizer, shuffle, weights=weights,
              rules=rules, epochs=epochs)
    return Job(run, validation, found, hooks, warm_start, resume, n_threads, own=own)


# ``partial_fit`` and ``fit_many`` pass options on: the error for an unknown one names ``fit``.
prepare.__qualname__ = "fit"


def train(job: Job, stopped: Callable[[], bool] = lambda: False) -> History:
    """Take a run through its epochs, in chunks of steps, with validation, history and callbacks
    between them; ends early once ``stopped`` returns True."""
    job.start()
    run = job.run
    try:
        threads = job.threads()
        stop = job.begin() or any(
            hook.stopped for hook in job.hooks if isinstance(hook, EarlyStopping))
        if job.unwatched:
            straight(job, threads, stopped)
        else:
            while run.cursor[EPOCH] - run.first_epoch < run.epochs and not stop:
                stop = _epoch(job, int(run.cursor[EPOCH]) - run.first_epoch, threads, stopped)
    except BaseException as error:
        job.end(error)
        raise
    job.end()
    return run.history


def straight(job: Job, threads: Threads, stopped: Callable[[], bool] = lambda: False) -> None:
    """All epochs in calls of CHUNK_SECONDS, for runs with nothing to do in between."""
    run, n, whole = job.run, job.run.n_rows, job.run.steps_per_epoch
    last, total = run.first_epoch + run.epochs, run.total
    while run.cursor[EPOCH] < last and not stopped():
        done = int(run.cursor[EPOCH]) * whole + int(run.cursor[POSITION]) // run.batch_size
        count, epoch = min(run.chunk, last * whole - done), len(run.history.get("loss", ()))
        begun, before = int(run.cursor[STEP]), time.perf_counter()
        with held():
            losses = [loss / total for loss in run.take(count, threads.size)]
            # Fewer than ``count`` where the engine's watch has ended the call.
            spent, taken = time.perf_counter() - before, int(run.cursor[STEP]) - begun
            run.history.extend({
                "loss": losses,
                "learning_rate": run.epoch_rates(epoch + np.arange(len(losses))).tolist(),
                "samples_per_s": [taken / whole * n / spent] * len(losses)})
        threads.pace(run, taken, spent, CHUNK_SECONDS)
        if not job.told and not all(map(math.isfinite, losses)):
            first = next(k for k, loss in enumerate(losses) if not math.isfinite(loss))
            job.told = warn_of(run.network, losses[first], epoch + first)


def warn_of(network: Network, loss: float, epoch: int) -> bool:
    """Warn the user of a loss that is not finite; returns whether it is not."""
    if math.isfinite(loss):
        return False
    hint, last, own = "a smaller learning_rate may help", network.layers[-1], network.loss_function
    if (own.probabilities == "identity" and type(last) in LAYERS.values()
            and not isinstance(last, (Softmax, Sigmoid))):
        hint = f"{own!r} takes probabilities: end with Softmax() or Sigmoid(), not with {last!r}"
    elif network.allow_nonfinite:
        hint += ", or data without the NaN and infinity that allow_nonfinite=True lets in"
    warn(f"loss is {loss} in epoch {epoch + 1}; {hint}", RuntimeWarning)
    return True


def _epoch(job: Job, epoch: int, threads: Threads, stopped: Callable[[], bool]) -> bool:
    """One epoch, or the rest of it; returns whether to stop."""
    run = job.run
    n, began, stop = run.n_rows, time.perf_counter(), False
    taken = begun_at = int(run.cursor[POSITION]) // run.batch_size
    # The rate at the start of the epoch, even if a resumed run is within it.
    rate, whole = float(run.epoch_rates(np.array([epoch]))[0]), run.steps_per_epoch
    failed: BaseException | None = None
    while taken < whole and not stop:
        count, before = min(run.chunk, whole - taken), time.perf_counter()
        if (job.hooks or job.metrics) and run.whole and run.T.ndim == 1:
            first, last = taken * run.batch_size, (taken + count) * run.batch_size
            # Labels are checked again: a user's callback or metric may have written to them.
            run.network.check_target(run.T[run.order[first:last]] if taken else run.T)
        try:
            run.advance(count, threads.size)
            spent, error = time.perf_counter() - before, float(run.errors[0])
            threads.pace(run, count, spent, CHUNK_SECONDS)
            taken += count
            stop = job.tell("on_chunk_end", epoch, min(taken * run.batch_size, n)) or stopped()
        except BaseException as raised:
            if int(run.cursor[EPOCH]) - run.first_epoch <= epoch:
                raise
            # The epoch is complete: raised once all hooks have been told.
            failed, error, taken = raised, float(run.errors[0]), whole
    with held():
        done = min(taken * run.batch_size, n)
        seen, total = done - begun_at * run.batch_size, run.total_of(done)
        logs = {"loss": error / total if total else 0.0, "learning_rate": rate,
                "samples_per_s": seen / (time.perf_counter() - began)}
        if int(run.cursor[EPOCH]) - run.first_epoch <= epoch:
            # Stopped within the epoch, or gone back: its figures are of the rows seen so far.
            run.history.append(logs)
            return True
        run.errors[0] = 0.0
        with run.averaged():
            logs |= _validate(job)
        run.history.append(logs)
        job.told = job.told or warn_of(run.network, logs["loss"], epoch)
        stop = job.tell_end(epoch, logs) or stop
        if failed is not None:
            try:
                raise failed
            finally:
                failed = None  # as in ``do_all``
    return stop


def _validate(job: Job) -> dict[str, float]:
    """Loss and metrics on held-out rows, or metrics on the training data if there are none."""
    run, data = job.run, job.validation
    if data is not None:
        found = _figures(run.network, data, job.metrics, job.n_threads)
        return {f"val_{name}": value for name, value in found.items()}
    if not job.metrics:
        return {}
    return measure(run.network, run.network._predict(run.X, job.n_threads), run.T, job.metrics,
                   job.own)


def _figures(network: Network, data: Validation, metrics: Sequence[Metric],
             n_threads: int | None = None) -> dict[str, float]:
    # Labels are checked again: a user's callbacks may have written to them.
    T = network.check_target(data.T) if data.T.ndim == 1 else data.T
    loss, Y, fused = network._judge(data.X, T, data.weights, n_threads)
    return {"loss": loss} | measure(network, Y, T, measured(network, data, metrics),
                                    data.weights, fused=fused)


def evaluate(network: Network, X: Any, T: Any, *, sample_weight: Any = None,
             metrics: Sequence[str | Callable[..., float]] = ()) -> dict[str, float]:
    """The figures that ``fit`` would give for these rows as validation data.

    Parameters
    ----------
    network : Network
    X, T : array_like
        Rows and targets, as ``fit`` takes them.
    sample_weight : array_like, shape (n,), optional
        Weight of each row, at least 0, in all figures.
    metrics : sequence of str or callable
        As ``fit`` takes them.

    Returns
    -------
    dict
        ``loss``, penalties left out; ``accuracy`` where the loss is of classes; each metric.

    Raises
    ------
    ValueError, TypeError
        For invalid arguments.

    Examples
    --------
    >>> from fastbp import Dense, Network
    >>> net = Network([Dense(1, 1, weight_init="zeros")], "MSELoss")
    >>> net.evaluate([[1.0], [2.0]], [[1.0], [3.0]], metrics=["mae"])
    {'loss': 5.0, 'mae': 2.0}
    """
    X, T = network._check_pair(X, T)
    weights, found = as_weights(sample_weight, len(X), network.dtype), get_metrics(metrics)
    check_metrics(found, network, T)
    check_weights(network, weights, None, "sample_weight")
    return _figures(network, Validation(X, T, weights), found)
