"""Training on data that does not fit in memory, block by block, as if all of it were there.

While the engine trains on one block, a thread reads the next one, checks it, puts the rows that
filled no batch of the block before in front, and shuffles. The blocks depend on source, seed
and epoch alone, so results depend neither on timing nor on the number of threads, and a run
that was stopped goes on with the same bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from ._validation import Array, as_weights, check_size, same_length
from .ahead import Ahead
from .arguments import check_network
from .callbacks import Callback
from .engine import EPOCH, POSITION, SEED, SHUFFLE, STEP
from .history import History
from .interrupts import held
from .kernels.random import shuffle as shuffle_rows
from .kernels.team import cores
from .losses.base import check_weighs
from .network import Network
from .run import Run
from .training import prepare, train
from .weights import balanced, class_weights, labels_of


@runtime_checkable
class Source(Protocol):
    """What ``fit_stream`` trains on: blocks of rows, read again in each epoch."""

    n_rows: int

    def blocks(self, epoch: int, seed: int, shuffle: bool) -> Iterable[tuple[Any, ...]]:
        """(X, T) or (X, T, weights) of each block; the same for the same arguments."""
        ...


class _Blocks:
    """A user's blocks as a source: rows are counted once; a sequence is shuffled each epoch."""

    def __init__(self, given: Iterable[tuple[Any, ...]]) -> None:
        if not isinstance(given, Iterable):
            raise TypeError("source must have n_rows and blocks(epoch, seed, shuffle), or be "
                            f"blocks (X, T) that can be read again, got {type(given).__name__}")
        if iter(given) is given:
            raise TypeError("source is an iterator, which ends after one epoch: give a list, or "
                            "an object whose __iter__ begins anew")
        self.given = given
        self.n_rows = sum(map(_rows, given))

    def blocks(self, epoch: int, seed: int, shuffle: bool) -> Iterator[tuple[Any, ...]]:
        """The blocks, shuffled by seed and epoch if they are a sequence."""
        if not (shuffle and isinstance(self.given, Sequence)):
            yield from self.given
            return
        order = np.arange(len(self.given), dtype=np.int64)
        shuffle_rows(order, seed, epoch)
        for i in order.tolist():
            yield self.given[i]


class _Block(NamedTuple):
    """Rows in memory, their order, and the number of steps they give."""

    X: Array
    T: Array
    weights: Array | None
    order: Array
    steps: int
    first: bool


class StreamRun(Run):
    """A run whose rows come block by block; its cursor gives the position in the whole epoch.

    Parameters
    ----------
    pattern : Run
        Has the network, optimizer and rules; its rows are only an example.
    make : function (epoch, seed, shuffle) -> blocks (X, T, weights), checked
    n_rows : int
        Of an epoch.
    batch_size : int
    weighted : bool
        Whether rows have weights.
    """

    whole = False

    def __init__(self, pattern: Run, make: Callable[..., Iterable[Any]], n_rows: int,
                 batch_size: int, weighted: bool) -> None:
        super().__init__(pattern.network, pattern.X[:0], pattern.T[:0], batch_size,
                         pattern.optimizer, bool(pattern.cursor[SHUFFLE]), rules=pattern.rules,
                         epochs=pattern.epochs)
        self.n_rows, self.steps_per_epoch = n_rows, -(-n_rows // batch_size)
        self.make: Callable[..., Iterable[Any]] | None = make
        self.weighted, self._weight, self._rows = weighted, 0.0, 0
        self._inner, self._left, self._ahead = self.cursor.copy(), 0, None

    _ahead: Ahead[_Block] | None

    @property
    def total(self) -> float:
        """What an epoch's error is divided by, extrapolated from the rows seen so far."""
        if not (self.mean and self.weighted):
            return super().total
        if not self._weight and self._rows < self.n_rows:  # more may come
            return 0.0
        if not self._weight:
            raise ValueError("the weights of the source are zero for every row")
        return self._weight * self.n_rows / self._rows

    def advance(self, n_steps: int, n_threads: int) -> None:
        """Take ``n_steps`` steps, over as many blocks as they need."""
        while n_steps:
            if not self._left:
                self._place()
            count, team = min(n_steps, self._left), n_threads
            if self._ahead is not None and self._ahead.busy and n_threads == len(cores()):
                # The reading thread would hold up a full team: leave it a core for a while.
                count, team = min(count, -(-self.chunk // 10)), max(1, n_threads - 1)
            with held():  # meanwhile the position is split over two cursors
                n_steps -= self._steps(count, team)

    def _steps(self, count: int, n_threads: int) -> int:
        """Take ``count`` of the block's steps; returns how many were taken."""
        whole = self.cursor
        self._inner[[STEP, EPOCH]] = whole[[STEP, EPOCH]]
        self.cursor = self._inner  # the engine's position is within the block
        try:
            super().advance(count, n_threads)
        finally:  # also where the last one fails
            taken = int(self._inner[STEP] - whole[STEP])
            self.cursor, self._left = whole, self._left - taken
            whole[STEP] += taken
            whole[POSITION] += taken * self.batch_size
            if whole[POSITION] >= self.n_rows:
                whole[POSITION], whole[EPOCH] = 0, whole[EPOCH] + 1
        return taken

    def _place(self) -> None:
        """Replace the finished block by the next one."""
        skip = 0
        if self._ahead is None:  # after a resume, too: then blocks before the position are skipped
            self._ahead = Ahead(self._mixed(int(self.cursor[EPOCH])))
            skip = int(self.cursor[POSITION]) // self.batch_size
        # Free the old rows before waiting for the next.
        self.release()
        while True:
            block = self._ahead.take()
            if block.first:
                self._weight, self._rows = 0.0, 0
            rows = block.order[:block.steps * self.batch_size]
            self._rows += len(rows)
            if block.weights is not None:
                self._weight += float(block.weights[rows].sum(dtype=np.float64))
            if skip < block.steps:
                break
            skip -= block.steps
        self.X, self.T, self.order = block.X, block.T, block.order
        # Of the network's dtype even if empty: compiled code takes no other.
        self.weights = (np.empty(0, self.network.dtype) if block.weights is None
                        else block.weights)
        self._left = block.steps - skip
        self._inner[[POSITION, SHUFFLE]] = skip * self.batch_size, 0

    def _mixed(self, epoch: int) -> Generator[_Block, None, None]:
        """Blocks from ``epoch`` on, each preceded by the rows left over from the one before."""
        make, seed = self.make, int(self.cursor[SEED])
        shuffled = bool(self.cursor[SHUFFLE])
        while make is not None and epoch < self.first_epoch + self.epochs:
            rest: tuple[Array | None, ...] = ()
            seen, first = 0, True
            blocks = iter(make(epoch, seed, shuffled))
            for k, block in enumerate(blocks):
                seen += len(block[0])
                if seen == self.n_rows:  # look for surplus rows: the last epoch would not read on
                    seen += sum(len(more[0]) for more in islice(blocks, 1))
                if seen > self.n_rows:
                    break
                joined = _join(rest, block)
                del block
                X, n = joined[0], len(joined[0])
                order = np.arange(n, dtype=np.int64)
                if shuffled:
                    shuffle_rows(order, seed, epoch + (k << 32))
                used = n if seen == self.n_rows else n // self.batch_size * self.batch_size
                steps = -(-used // self.batch_size)
                rest = tuple(None if a is None else a[order[used:]] for a in joined)
                if steps:
                    yield _Block(X, joined[1], joined[2], order, steps, first)
                    first = False
                del X, joined
            if seen != self.n_rows:
                raise ValueError(f"source gave {'more than ' if seen > self.n_rows else ''}"
                                 f"{min(seen, self.n_rows)} rows in epoch {epoch + 1}, its "
                                 f"n_rows is {self.n_rows}")
            epoch += 1

    def finish(self) -> None:
        """Leave the final parameters, end the reading thread, drop the rows."""
        if self._ahead is not None:
            self._ahead.close()
        self._ahead, self.make, self._left = None, None, 0
        super().finish()


def _join(rest: tuple[Array | None, ...], block: Any) -> Any:
    if not rest or rest[0] is None or not len(rest[0]):
        return block
    return tuple(None if b is None else np.concatenate([a, b])
                 for a, b in zip(rest, block, strict=True))


def fit_stream(network: Network, source: Any, *, epochs: int = 10, batch_size: int = 32,
               optimizer: Any = "adam", shuffle: bool = True, class_weight: Any = None,
               validation_data: Any = None, metrics: Sequence[Any] = (), l1: float = 0.0,
               l2: float = 0.0, clip_value: float = 0.0, clip_norm: float = 0.0,
               max_norm: float = 0.0, average: float = 0.0, callbacks: Sequence[Callback] = (),
               verbose: int = 0, warm_start: bool = False,
               resume: str | os.PathLike[str] | None = None,
               n_threads: int | None = None) -> History:
    """Train ``network`` on blocks of rows, of which two are in memory at a time.

    Steps have ``batch_size`` rows whatever the blocks: rows left over go to the next block.
    Rows are shuffled within a block; the source shuffles the blocks and what they contain.

    Parameters
    ----------
    network : Network
    source : Source, or blocks (X, T) or (X, T, weights)
        ``fastbp.data.TableStream`` for files of columns, ``fastbp.data.ArrayStream`` for .npy;
        a list of blocks; any object that can be iterated again and again.
    class_weight : dict or "balanced", optional
        As in ``fit``; "balanced" reads all targets first.
    validation_data : (X, T) or (X, T, sample_weight), optional
        Rows in memory, evaluated after each epoch. ``metrics`` are measured on them.
    epochs, batch_size, optimizer, shuffle, metrics, l1, l2, clip_value, clip_norm, max_norm, \
average, callbacks, verbose, warm_start, resume, n_threads
        As in ``fit``. A checkpoint can be taken and resumed anywhere in an epoch.

    Returns
    -------
    History
        As of ``fit``.

    Raises
    ------
    ValueError, TypeError
        For invalid arguments, before anything is changed; for invalid blocks, as they are read.
    OSError, ImportError
        As ``fit``.
    """
    check_network(network)
    batch_size = check_size(batch_size, "batch_size")
    if metrics and validation_data is None:
        raise ValueError(f"metrics={metrics!r} of a stream are measured on validation_data, and "
                         "none is given")
    if not isinstance(source, Source):
        source = _Blocks(source)
    n_rows = check_size(source.n_rows, "source.n_rows")
    by_class: dict[str, Any] = {}  # filled below, before "make" is called

    def make(epoch: int, seed: int, mixed: bool) -> Iterator[Any]:
        for k, given in enumerate(source.blocks(epoch, seed, mixed)):
            block = _checked(network, given)
            if not len(block[0]):
                continue
            if class_weight is not None:
                block = *block[:2], class_weights(block[1], by_class["is"], network.n_out,
                                                  block[2], network.dtype)
            own = f"block {k + 1}, as epoch {epoch + 1} reads them,"
            if (block[2] is not None) != weighted:
                raise ValueError(f"{own} has {'no ' if weighted else ''}weights, unlike the first "
                                 "block of the source")
            if block[1].ndim != n_axes:
                raise ValueError(f"{own} has targets of shape {block[1].shape}, unlike the first "
                                 "block of the source: class indices or rows, in all of them")
            yield block

    example = next((b for b in source.blocks(0, network.seed, False) if len(b[0])), None)
    if example is None:
        raise ValueError(f"source has no rows, its n_rows is {n_rows}")
    X, T, weights = _checked(network, example)
    balances = isinstance(class_weight, str) and class_weight == "balanced"
    by_class["is"] = _balance(network, source) if balances else class_weight
    weighted, n_axes = weights is not None or class_weight is not None, T.ndim
    if weighted:
        check_weighs(network._head_loss, "weights of a block" if class_weight is None
                     else "class_weight")
    if class_weight is not None:  # not in prepare: the class of its one row may have weight 0
        class_weights(T[:1], by_class["is"], network.n_out, None, network.dtype)
        every = np.arange(max(network.n_out, 2))
        if not class_weights(every, by_class["is"], len(every), None, network.dtype).any():
            raise ValueError("class_weight is zero for every class")
    job = prepare(
        network, X[:1], T[:1], epochs=epochs, batch_size=batch_size, optimizer=optimizer,
        shuffle=shuffle, validation_data=validation_data,
        metrics=metrics, l1=l1, l2=l2, clip_value=clip_value, clip_norm=clip_norm,
        max_norm=max_norm, average=average, callbacks=callbacks, verbose=verbose,
        warm_start=warm_start, resume=resume, n_threads=n_threads)
    job.run = StreamRun(job.run, make, n_rows, min(batch_size, n_rows), weighted)
    del X, T, weights, example
    return train(job)


def _rows(block: Any) -> int:
    if (not isinstance(block, (tuple, list)) or len(block) not in (2, 3)
            or not isinstance(block[0], Sized)):
        raise TypeError(f"blocks must be (X, T) or (X, T, weights), got {type(block).__name__}; a "
                        "source of them is [(X, T)], a data.ArrayStream or a data.TableStream")
    return len(block[0])


def _checked(network: Network, given: Any) -> tuple[Array, Array, Array | None]:
    """A block in the form that the engine takes."""
    if not _rows(given):
        return (np.empty((0, network.n_in), network.dtype), np.empty((0, network.n_out)), None)
    X, T = network.check_input(given[0], "X of a block"), network.check_target(given[1],
                                                                               "T of a block")
    same_length(X, T, "X of a block", "T of a block")
    weights = as_weights(given[2] if len(given) == 3 else None, len(X), network.dtype,
                         "weights of a block", zeros=True)
    # Read-only arrays are another type to compiled code.
    return _writeable(X), _writeable(T), None if weights is None else _writeable(weights)


def _writeable(array: Array) -> Array:
    return array if array.flags.writeable else array.copy()


def _balance(network: Network, source: Any) -> dict[int, float]:
    """Balanced class weights, from one pass over the targets."""
    counts, targets = np.zeros(()), getattr(source, "targets", None)
    given = ((None, *pair) for pair in targets()) if targets else (
        source.blocks(0, network.seed, False))
    for _, T, *own in given:
        if not len(T):
            continue
        T = network.check_target(T, "T of a block")
        weights = as_weights(own[0] if own else None, len(T), network.dtype,
                             "weights of a block", zeros=True)
        labels, n_classes = labels_of(T, network.n_out)
        counts = counts + np.bincount(labels, weights, n_classes)
    return dict(enumerate(balanced(counts).tolist()))
