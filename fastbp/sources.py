"""Where the rows of a stream come from: sources of blocks, and blocks as the engine takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ._validation import Array, as_array, as_weights, same_length
from .kernels.random import shuffle as shuffle_rows
from .losses.base import check_weighs
from .network import Network
from .weights import balanced, class_weights, labels_of


@runtime_checkable
class Source(Protocol):
    """What ``fit_stream`` trains on: blocks of rows, read again in each epoch.

    Blocks are copied, so the same arrays may be filled again and again; not those of a class that
    says ``fresh = True`` beside its ``blocks``, which nothing but the engine may use any more.
    Those of a class derived from it, or of an object, are copied where it has ``blocks`` of its
    own or says ``fresh = False``.
    """

    n_rows: int

    def blocks(self, epoch: int, seed: int, shuffle: bool) -> Iterable[tuple[Any, ...]]:
        """(X, T) or (X, T, weights) of each block; the same for the same arguments."""
        ...


class Blocks:
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


class CheckedBlocks:
    """The blocks of a source, checked and in the form that the engine takes.

    Parameters
    ----------
    network : Network
    source : Source
    class_weight : dict or "balanced", optional
        Multiplies the weights of the rows; "balanced" reads all targets first.

    Attributes
    ----------
    origin : source or blocks
        What the user gave.
    example : tuple of ndarray
        X and T of one row.
    weighted : bool
        Whether rows have weights.
    by_class : ndarray
        Weight of each class; empty without ``class_weight``.

    Raises
    ------
    ValueError, TypeError
        If the source has no rows, or the first block or ``class_weight`` is invalid.
    """

    def __init__(self, network: Network, source: Source, class_weight: Any) -> None:
        self.network, self.source = network, source
        self.origin = source.given if isinstance(source, Blocks) else source
        self.fresh = _fresh(source)
        found = next((block for block in _blocks(source, 0, network.seed, False)
                      if _rows(block)), None)
        if found is None:
            raise ValueError(f"source has no rows, its n_rows is {source.n_rows}")
        X, T, weights = self._checked(found)
        self.example = X[:1].copy(), T[:1].copy()
        self.weighted = weights is not None or class_weight is not None
        if isinstance(class_weight, str) and class_weight == "balanced":
            class_weight = _balance(network, source)
        self.class_weight, self.by_class = class_weight, np.empty(0)
        if self.weighted:
            check_weighs(network._head_loss, "weights of a block" if class_weight is None
                         else "class_weight")
        if class_weight is not None:  # one row's class may have no weight: not by ``prepare``
            class_weights(T[:1], class_weight, network.n_out, None, network.dtype)
            every = np.arange(max(network.n_out, 2))
            self.by_class = class_weights(every, class_weight, len(every), None, network.dtype)
            if not self.by_class.any():
                raise ValueError("class_weight is zero for every class")

    def __call__(self, epoch: int, seed: int, shuffle: bool) -> Iterator[Any]:
        """Blocks (X, T, weights) of an epoch.

        Raises
        ------
        ValueError, TypeError
            If one is invalid, or unlike the first.
        """
        k = -1
        for given in _blocks(self.source, epoch, seed, shuffle):
            k += 1
            X, T, weights = self._checked(given)
            del given  # not kept while the next is made
            if not len(X):
                continue
            if self.class_weight is not None:
                weights = class_weights(T, self.class_weight, self.network.n_out, weights,
                                        self.network.dtype)
            own = f"block {k + 1}, as epoch {epoch + 1} reads them,"
            if (weights is not None) != self.weighted:
                raise ValueError(f"{own} has {'no ' if self.weighted else ''}weights, unlike the "
                                 "first block of the source")
            if T.ndim != self.example[1].ndim:
                raise ValueError(f"{own} has targets of shape {T.shape}, unlike the first block "
                                 "of the source: class indices or rows, in all of them")
            yield X, T, weights

    def _checked(self, given: Any) -> tuple[Array, Array, Array | None]:
        """A block in the form that the engine takes."""
        network = self.network
        if not _rows(given):
            return (np.empty((0, network.n_in), network.dtype), np.empty((0, network.n_out)), None)
        X = self._own(network.check_input(given[0], "X of a block"), given[0])
        T = self._own(network.check_target(given[1], "T of a block"), given[1])
        if T.ndim == 1:  # labels index: another thread may have written to those given
            T = network.check_target(T, "T of a block")
        same_length(X, T, "X of a block", "T of a block")
        if len(given) == 2:
            return X, T, None
        weights = as_weights(given[2], len(X), network.dtype, "weights of a block", zeros=True)
        return X, T, None if weights is None else self._own(weights, given[2])

    def _own(self, checked: Array, given: Any) -> Array:
        """What the source cannot write to any more; read-only arrays are another type to compiled
        code."""
        apart = self.fresh or (isinstance(given, np.ndarray)
                               and not np.may_share_memory(checked, given))
        return checked if apart and checked.flags.writeable else np.array(checked)


def _fresh(source: Any) -> bool:
    """Whether the class whose ``blocks`` they are says so, and nothing derived from it else."""
    own = getattr(source, "__dict__", {})
    for names in (own, *map(vars, type(source).__mro__)):
        if "blocks" in names or names.get("fresh", True) is not True:
            return names is not own and names.get("fresh") is True
    return False


def _blocks(source: Source, epoch: int, seed: int, shuffle: bool) -> Iterable[tuple[Any, ...]]:
    found: Any = source.blocks(epoch, seed, shuffle)
    if not isinstance(found, Iterable):
        raise TypeError("blocks(epoch, seed, shuffle) of source must return blocks (X, T), got "
                        f"{type(found).__name__}")
    return found


def _rows(block: Any) -> int:
    if (not isinstance(block, (tuple, list)) or len(block) not in (2, 3)
            or not isinstance(block[0], Sized)):
        raise TypeError(f"blocks must be (X, T) or (X, T, weights), got {type(block).__name__}; a "
                        "source of them is [(X, T)], a data.ArrayStream or a data.TableStream")
    try:
        return len(block[0])
    except TypeError:  # of a sparse matrix or a number: refused by name
        return as_array(block[0], "X of a block").size


def _balance(network: Network, source: Any) -> dict[int, float]:
    """Balanced class weights, from one pass over the targets."""
    counts, targets = np.zeros(()), getattr(source, "targets", None)
    given = ((None, *pair) for pair in targets()) if callable(targets) else (
        _blocks(source, 0, network.seed, False))
    for _, T, *own in given:
        if not len(T):
            continue
        T = network.check_target(T, "T of a block")
        weights = as_weights(own[0] if own else None, len(T), network.dtype,
                             "weights of a block", zeros=True)
        labels, n_classes = labels_of(T, network.n_out)
        counts = counts + np.bincount(labels, weights, n_classes)
    if not counts.any():
        raise ValueError("the weights of the source are zero for every row")
    return dict(enumerate(balanced(counts).tolist()))
