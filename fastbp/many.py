"""Many small networks at once: one network a thread, side by side, without Python between steps.

A network of a few kilobytes cannot keep two cores busy, but two networks can. Each is trained by
the same compiled steps as alone, so it gets the same bits.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from ._jit import thread_count
from ._validation import Array, as_array, check_threads, named
from ._warning import collected, warn
from .arguments import check_callbacks, check_network
from .history import History
from .interrupts import held
from .job import Job
from .layers import Layer
from .network import Network
from .optimizers import Optimizer
from .options import CommonOptions, passes_on
from .table import has_kernels
from .training import fit, prepare, train

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Options that a network may have.
_NAMES = frozenset(inspect.signature(prepare).parameters) - {"network", "X", "T"}


def fit_many(networks: Iterable[Network], X: Any, T: Any, *,
             rows: Sequence[Any] | None = None,
             options: Sequence[dict[str, Any]] | None = None, n_threads: int | None = None,
             on_done: Callable[[int, History], Any] | None = None,
             **common: Unpack[CommonOptions]) -> list[History]:
    """Train many networks side by side, each as ``network.fit`` would alone.

    Parameters
    ----------
    networks : iterable of Network
        All different objects; seeds, sizes and losses as you like.
    X, T : array_like, or lists of as many as there are networks
        Data for all of them, or a list of data for each.
    rows : sequence of index arrays, optional
        Rows of X and T that each network learns from: folds, segments, bootstraps.
        A common ``sample_weight`` has weights for all rows of X, one in ``options`` for ``rows``.
    options : sequence of dict, optional
        Options of ``fit`` for each network; override ``common``.
    n_threads : int, optional
        Largest number of networks trained at a time.
    on_done : callable, optional
        Called with (number, history) when a network is trained, in the calling thread.
    **common
        Options of ``fit`` for all networks: epochs, batch_size, optimizer, ... A callback follows
        one run, so callbacks for several networks go in ``options``, new objects for each.

    Returns
    -------
    list of History
        In the order of ``networks``. There is no Python between steps where there are no
        validation data, metrics or callbacks.

    Raises
    ------
    ValueError, TypeError
        For invalid arguments; errors of ``fit`` name the network, and networks that were trained
        before it keep what they have learnt. For an option that ``fit`` does not have, and a
        callback object that several networks would share, before anything is changed.
    """
    if not isinstance(networks, Iterable):
        raise TypeError(f"networks must be a sequence of Network, got {networks!r}")
    nets = list(networks)
    for i, net in enumerate(nets):
        check_network(net, f"networks[{i}]")
    if len({id(net) for net in nets}) < len(nets):
        raise ValueError(f"networks holds one network twice among its {len(nets)}")
    for name, given in (("rows", rows), ("options", options)):
        if given is None:
            continue
        if isinstance(given, str) or not isinstance(given, (Sequence, np.ndarray)):
            raise TypeError(f"{name} must be a sequence, got {given!r}")
        if len(given) != len(nets):
            raise ValueError(f"{name} must have one entry a network, {len(nets)}, got "
                             f"{len(given)}")
    for i, own in enumerate(options or ()):
        if not isinstance(own, dict):
            raise TypeError(f"options[{i}] must be a dict, got {own!r}")
    if on_done is not None and not callable(on_done):
        raise TypeError(f"on_done must be a function, got {on_done!r}")
    n_threads = check_threads(n_threads)
    given = _given(dict(common), [{}] * len(nets) if options is None else options)
    _check_losses(nets, given)
    data = _Data(nets, X, T, rows, common.get("sample_weight"))
    plans, stop = _Plans(), threading.Event()
    data.check_rows()

    def one(i: int) -> History | None:
        if stop.is_set():
            return None
        with collected() as told[i], named(f"networks[{i}]"):
            return _fit(nets[i], *data.of(i), data.weighed(i, given[i]), plans, stop)

    found, size = list[History](), max(1, min(thread_count(n_threads), len(nets)))
    turns, helped = _Turns(one, len(nets)), False
    told: list[list[tuple[str, type[Warning]]]] = [[] for _ in nets]
    with ThreadPoolExecutor(size) as pool:
        try:
            # No more threads may be there to start, as at the program's end.
            with suppress(RuntimeError), held():
                for _ in range(size):
                    pool.submit(turns.take_all)
                    helped = True
            future: Future[History | None] | None
            for i, future in enumerate(turns.futures):
                if not helped:
                    turns.take()
                future.exception()  # waits for the end
                for text, category in told[i]:
                    warn(f"networks[{i}]: {text}", category)
                history = future.result()
                assert history is not None
                found.append(history)
                if on_done is not None:
                    on_done(i, history)
        except BaseException:
            stop.set()
            raise
        finally:
            future = None  # it may hold an error, whose traceback has this frame
            turns.futures.clear()
    return found


passes_on(fit_many, fit)


def _given(common: dict[str, Any], options: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The options of each network; refuses unknown ones, and a callback object that two of them
    share."""
    common = {**common, "callbacks": check_callbacks(common.get("callbacks", ()))}
    given, owners = [], dict[int, int]()
    for i, own in enumerate(options):
        for name in {**common, **own}:
            if name not in _NAMES:
                raise TypeError(f"networks[{i}]: fit() got an unexpected keyword argument "
                                f"{name!r}")
        hooks = check_callbacks({**common, **own}["callbacks"], f"callbacks of networks[{i}]")
        for hook in hooks:
            if owners.setdefault(id(hook), i) != i:
                raise ValueError(
                    f"callbacks must not share objects between networks: {type(hook).__name__} is "
                    f"given for networks[{owners[id(hook)]}] and networks[{i}]; give each its own "
                    "by options=[{'callbacks': [...]}, ...]")
        given.append({**common, **own, "callbacks": hooks})
    return given


def _check_losses(nets: Sequence[Network], given: Sequence[dict[str, Any]]) -> None:
    """Refuse a loss object that two networks share and call from Python: between ``forward`` and
    ``backward`` it keeps the rows of one."""
    owners = dict[int, int]()
    for i, (net, own) in enumerate(zip(nets, given, strict=True)):
        rule = own.get("optimizer")
        if net.compiled and (not isinstance(rule, Optimizer)
                             or has_kernels(type(rule), "kernel", "update")):
            continue
        first = owners.setdefault(id(net._head_loss), i)
        if first != i:
            raise ValueError(
                f"networks[{first}] and networks[{i}] share one {type(net._head_loss).__name__} "
                "as loss, and are not compiled as a whole: give each its own")


class _Turns:
    """Calls ``one(i)`` for i = 0, 1, ... in turn, each made by the thread that takes it."""

    def __init__(self, one: Callable[[int], History | None], n: int) -> None:
        self.one, self.futures = one, [Future[History | None]() for _ in range(n)]
        self._left = SimpleQueue[int]()
        for i in range(n):
            self._left.put(i)

    def take(self) -> bool:
        """Make the next call; False if there is none left."""
        try:
            i = self._left.get_nowait()
        except Empty:
            return False
        try:
            self.futures[i].set_result(self.one(i))
        except BaseException as error:  # of any kind: ``result`` raises it
            self.futures[i].set_exception(error)
        return True

    def take_all(self) -> None:
        """Make calls as long as there are any."""
        while self.take():
            pass


class _Data:
    """X and T of each network; shared data is converted and checked once for each dtype."""

    def __init__(self, nets: Sequence[Network], X: Any, T: Any, rows: Any, weights: Any) -> None:
        self.nets, self.weights = nets, weights
        # NumPy would take a tuple for one index on each axis.
        self.rows = None if rows is None else [
            list(own) if isinstance(own, tuple) else own for own in rows]
        self.lists = isinstance(X, list) and isinstance(T, list) and len(X) == len(T) == len(
            nets) and all(map(_is_data, X, T))
        if not self.lists and isinstance(X, list) and isinstance(T, list) and X and all(
                np.ndim(x) == 2 and np.ndim(t) > 0 and len(x) == len(t)
                for x, t in zip(X, T, strict=False)):
            raise ValueError(f"X is a list of {len(X)} arrays and T of {len(T)}, for {len(nets)} "
                             "networks: give one to each, or one array to all")
        self.X, self.T = X, T
        self._lock, self._checked = threading.Lock(), dict[Any, tuple[Array, Array]]()

    def of(self, i: int) -> tuple[Any, Any]:
        """The data of network ``i``."""
        if self.lists and self.rows is None:
            return self.X[i], self.T[i]
        X, T = self._whole(i)
        return (X, T) if self.rows is None else (X[self.rows[i]], T[self.rows[i]])

    def _whole(self, i: int) -> tuple[Array, Array]:
        """X and T of network ``i``, before ``rows`` are selected."""
        net = self.nets[i]
        return net._check_pair(self.X[i], self.T[i]) if self.lists else self._shared(net)

    def weighed(self, i: int, options: dict[str, Any]) -> dict[str, Any]:
        """``options`` of network ``i``, a common ``sample_weight`` reduced to its rows."""
        own = options.get("sample_weight")
        if self.rows is None or own is None or own is not self.weights:
            return options
        weights, n = as_array(own, "sample_weight"), len(self._whole(i)[0])
        if weights.shape != (n,):
            raise ValueError(f"sample_weight must have shape ({n},), got {weights.shape}")
        return {**options, "sample_weight": weights[self.rows[i]]}

    def check_rows(self) -> None:
        """Refuse row numbers that X does not have, before any network is trained."""
        if self.rows is None:
            return
        for i, rows in enumerate(self.rows):
            with named(f"networks[{i}]"):
                n = len(self._whole(i)[0])
            if isinstance(rows, slice):
                rows = np.arange(n)[rows]
            found = as_array(rows, f"rows[{i}]")
            if found.dtype == bool and found.shape == (n,):
                found = np.flatnonzero(found)
            if found.ndim != 1 or found.size == 0:
                raise ValueError(f"rows[{i}] must hold the numbers of rows, got {rows!r}")
            if found.dtype.kind not in "ui":
                raise TypeError(f"rows[{i}] must hold integers, got {rows!r}")
            if (bad := (found < -n) | (found >= n)).any():
                raise ValueError(f"rows[{i}] holds {found[bad][0]}, and X has {n} rows")

    def _shared(self, net: Network) -> tuple[Array, Array]:
        first = net.layers[0]  # its ``as_rows`` may accept one shape of rows only
        shape = "" if type(first).as_rows is Layer.as_rows else repr(first)
        key = (net.dtype, net.n_in, net.n_out, type(net.loss_function), net.allow_nonfinite, shape)
        with self._lock:
            if key not in self._checked:
                X, T = net._check_pair(self.X, self.T)
                # Labels are copied: callbacks of one network may write to them while others learn.
                self._checked[key] = X, T.copy() if T.ndim == 1 else T
            return self._checked[key]


def _is_data(x: Any, t: Any) -> bool:
    """Whether x and t, items of two lists, are the data of a network, and not one row of data for
    all; x with more than two axes (see ``Flatten``) are data if there are as many targets."""
    return np.ndim(x) == 2 or (np.ndim(x) > 2 and np.ndim(t) > 0 and len(x) == len(t))


class _Plans(threading.local):
    """Each thread's plans: networks of one shape use the same op table and workspace in turn."""

    def __init__(self) -> None:
        self.known: dict[Any, Any] = {}

    def lend(self, job: Job) -> None:
        """Give the job's network the plan of an earlier one of the same shape, if there is one."""
        net, batch = job.run.network, job.run.batch_size
        key = (batch, net.dtype, net._n_train, net._head_loss.address(net.dtype),
               net._head_loss.constants(), net._tile_precision,
               *[(type(x), repr(x), x.constants(), x.trainable) for x in net.layers])
        if key not in self.known:
            self.known[key] = net.plan(batch, 1, training=True)
        net._plans[net._plan_key(batch, 1, True, 0)] = self.known[key]


def _fit(net: Network, X: Any, T: Any, options: dict[str, Any], plans: _Plans,
         stop: threading.Event) -> History:
    job = prepare(net, X, T, **options)
    job.n_threads = 1
    if not job.unwatched or job.resume:
        return train(job, stop.is_set)
    plans.lend(job)
    try:
        return train(job, stop.is_set)
    finally:
        net._plans.clear()  # the next network uses the plan
