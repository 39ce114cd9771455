"""Training on data that does not fit in memory, block by block, as if all of it were there.

While the engine trains on one block, a thread reads the next one, checks it, puts the rows that
filled no batch of the block before in front, and shuffles. The blocks depend on source, seed
and epoch alone, so results depend neither on timing nor on the number of threads, and a run
that was stopped goes on with the same bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ._cgroup import within_quota
from ._validation import Array, check_size
from .ahead import Ahead
from .arguments import check_network
from .callbacks import Callback
from .engine import EPOCH, POSITION, SEED, SHUFFLE, STEP
from .history import History
from .interrupts import held
from .kernels.launch import cores
from .kernels.random import shuffle as shuffle_rows
from .network import Network
from .run import Run
from .sources import Blocks, CheckedBlocks, Source
from .training import prepare, train
from .weights import checksum

#: Seconds to wait at the end for the source: it may block for as long as it likes.
_PATIENCE = 0.5
#: Sources that may still be read, by what ends that: it lives as long as its thread.
_late = WeakKeyDictionary[Ahead[Any], Any]()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_late.clear)  # their threads are not in the child


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
    by_class : ndarray, optional
        Weight of each class, where these weigh the rows.
    """

    whole = False

    def __init__(self, pattern: Run, make: Callable[..., Iterable[Any]], n_rows: int,
                 batch_size: int, weighted: bool, by_class: Array | None = None) -> None:
        super().__init__(pattern.network, pattern.X[:0], pattern.T[:0], batch_size,
                         pattern.optimizer, bool(pattern.cursor[SHUFFLE]), rules=pattern.rules,
                         epochs=pattern.epochs)
        self.n_rows, self.steps_per_epoch = n_rows, -(-n_rows // batch_size)
        self.make: Callable[..., Iterable[Any]] | None = make
        self.weighted, self._weight, self._rows = weighted, 0.0, 0
        self._by_class = np.empty(0) if by_class is None else by_class
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

    def weighing(self) -> str:
        """Which weights the rows have; their own would have to be read to be compared."""
        if self._by_class.size:
            return f"of classes, {checksum(self._by_class)}"
        return "of the source" if self.weighted else "none"

    def advance(self, n_steps: int, n_threads: int) -> None:
        """Take ``n_steps`` steps, over as many blocks as they need."""
        while n_steps:
            if not self._left:
                self._place()
            count, team = min(n_steps, self._left), n_threads
            if self._ahead is not None and self._ahead.busy:
                most = within_quota(len(cores()))
                if n_threads >= most:
                    # The reading thread would hold up a full team: leave it a core for a while.
                    count, team = min(count, -(-self.chunk // 10)), max(1, most - 1)
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

    def _bare(self) -> dict[str, Any]:
        return super()._bare() | {"make": None, "_ahead": None, "_left": 0}

    def finish(self) -> None:
        """Leave the final parameters, end the reading thread, drop the rows."""
        make, ahead = self.make, self._ahead
        self._ahead, self.make, self._left = None, None, 0
        try:
            if ahead is not None:
                _late[ahead] = getattr(make, "origin", None)
                if ahead.close(_PATIENCE):
                    del _late[ahead]
        finally:  # also where a Ctrl-C ends the wait
            super().finish()


def _join(rest: tuple[Array | None, ...], block: Any) -> Any:
    if not rest or rest[0] is None or not len(rest[0]):
        return block
    return tuple(None if b is None else np.concatenate([a, b])
                 for a, b in zip(rest, block, strict=True))


def _await(source: Any) -> None:
    """Wait until no ended run reads ``source``, which may have one position for all."""
    for reference in _late.keyrefs():
        ahead = reference()
        if ahead is not None and _late.get(ahead) is source:
            ahead.close()


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
    A thread reads the source, a block ahead; where it still blocks when training ends, by an
    error, Ctrl-C or a callback, it is left to end by itself; the next fit of that source waits.

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
    _await(source)
    if not isinstance(source, Source):
        source = Blocks(source)
    n_rows = check_size(source.n_rows, "source.n_rows")
    blocks = CheckedBlocks(network, source, class_weight)
    job = prepare(
        network, *blocks.example, epochs=epochs, batch_size=batch_size, optimizer=optimizer,
        shuffle=shuffle, validation_data=validation_data, metrics=metrics, l1=l1, l2=l2,
        clip_value=clip_value, clip_norm=clip_norm, max_norm=max_norm, average=average,
        callbacks=callbacks, verbose=verbose, warm_start=warm_start, resume=resume,
        n_threads=n_threads)
    job.run = StreamRun(job.run, blocks, n_rows, min(batch_size, n_rows), blocks.weighted,
                        blocks.by_class)
    return train(job)
