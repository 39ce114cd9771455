"""scikit-learn's solvers on fastbp's engine: its update rules and its stopping rule.

For the same ``random_state`` they take the same steps as scikit-learn, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .._validation import Array
from ..callbacks import Callback
from ..losses import L2Loss
from ..network import Network
from ..optimizers import SGD, Adam, Optimizer

#: An epoch of less work than this (multiply-adds) is done before another thread has woken up.
EPOCH_WORK = 8_000_000
#: Plans of networks with ``ShareOfL2``, kept for the next ``partial_fit``.
_PLANS: WeakKeyDictionary[Network, dict[Any, Any]] = WeakKeyDictionary()


class SkAdam(Adam):
    """Adam with epsilon as in scikit-learn: added to the root of the uncorrected second moment."""

    @property
    def family(self) -> type[Optimizer]:
        """Its moments are Adam's: training of ``network_`` can go on from them, and back."""
        return Adam

    def sizes(self, rates: Array, steps: Array) -> Array:
        """lr sqrt(1 - b2^t) / (1 - b1^t) and 1."""
        size = rates * np.sqrt(1 - self.beta2 ** steps) / (1 - self.beta1 ** steps)
        return np.stack([size, np.ones_like(size)], axis=1)


class SkSGD(SGD):
    """SGD that allows a momentum of 1, and Nesterov without momentum, which is plain SGD."""

    def __init__(self, learning_rate: float, momentum: float, nesterov: bool) -> None:
        super().__init__(learning_rate, momentum=min(momentum, 0.5),
                         nesterov=nesterov and momentum > 0)
        self.momentum = momentum

    @property
    def family(self) -> type[Optimizer]:
        """Its velocity is SGD's."""
        return SGD


class ShareOfL2(L2Loss):
    """A fraction of ``L2Loss``, with its full gradient."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def constants(self) -> tuple[float, float]:
        """Factor of the sum of squares."""
        return 0.5 * self.share, 0.0


@contextmanager
def reporting(network: Network, share: float) -> Iterator[None]:
    """``network`` reports this share of its squared error, but minimises all of it.

    So does scikit-learn for several outputs: it reports their mean, plus the whole penalty.
    """
    kept = network._head_loss, network._plans
    if share != 1:
        network._head_loss, network._plans = ShareOfL2(share), _PLANS.setdefault(network, {})
    try:
        yield
    finally:
        network._head_loss, network._plans = kept


class Follow(Callback):
    """What scikit-learn does at the end of an epoch, recorded in the estimator.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    score : callable, optional
        () -> score on held-out rows, for early stopping.
    """

    def __init__(self, estimator: Any, score: Callable[[], float] | None = None) -> None:
        self.estimator, self.score = estimator, score
        self.ended = False
        self._best: Array | None = None
        # Not with a rate that changes in each epoch, or a score: these need each epoch's end.
        self.by_loss = score is None and (estimator.solver, estimator.learning_rate) != (
            "sgd", "invscaling")

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Draw the first order of the rows; the weights so far are the best."""
        self._n, self._epochs = n_samples, epochs
        if self.run.first_step == 0:  # not the run before, which goes on
            self.estimator._scheduled = 1.0
        if self.score is not None:
            self._best = network.params.copy()
        self._mix()

    def _mix(self) -> None:
        if self.estimator.shuffle:
            self.run.order = self.mixed(self.run.order)

    def mixed(self, order: Array) -> Array:
        """``order`` shuffled, with the draws of scikit-learn."""
        places = np.arange(order.size)
        self.estimator._random_state.shuffle(places)
        return order[places]

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        """Record the epoch, shuffle for the next; True to stop."""
        if not self.note(logs["loss"]) and self.estimator.n_iter_ < self._epochs:
            self._mix()
        return self.ended

    def note(self, loss: float) -> bool:
        """Record loss and score, adapt the learning rate; True to stop."""
        own = self.estimator
        own.n_iter_ += 1
        own.t_ += self._n
        own.loss_ = loss
        own.loss_curve_.append(own.loss_)
        if own.verbose:
            print(f"Iteration {own.n_iter_}, loss = {own.loss_:.8f}")
        self._count()
        if own.solver == "sgd" and own.learning_rate == "invscaling":
            before, own._scheduled = own._scheduled, (own.t_ + 1) ** -float(own.power_t)
            # A callback may have lowered the rate as well.
            self._rate(self.run.rate_scale / before * own._scheduled if before else 0.0)
        if own._no_improvement_count > own.n_iter_no_change:
            self.ended = self._give_up()
        return self.ended

    def _count(self) -> None:
        own = self.estimator
        if self.score is None:
            stuck = own.loss_ > own.best_loss_ - own.tol
            own.best_loss_ = min(own.best_loss_, own.loss_)
        else:
            with self.run.averaged():
                score = self.score()
                stuck = score < own.best_validation_score_ + own.tol
                if score > own.best_validation_score_:
                    own.best_validation_score_ = score
                    self._best = self.run.network.params.copy()
            own.validation_scores_.append(score)
            if own.verbose:
                print(f"Validation score: {score:f}")
        own._no_improvement_count = own._no_improvement_count + 1 if stuck else 0

    def _give_up(self) -> bool:
        own = self.estimator
        figure = "Training loss" if self.score is None else "Validation score"
        text = (f"{figure} did not improve more than tol={own.tol:f} for "
                f"{own.n_iter_no_change} consecutive epochs.")
        adaptive = own.solver == "sgd" and own.learning_rate == "adaptive"
        rate = own.learning_rate_init * self.run.rate_scale
        stop = not adaptive or rate <= 1e-6
        if stop:
            text += " Learning rate too small. Stopping." if adaptive else " Stopping."
        else:
            self._rate(self.run.rate_scale / 5)
            text += f" Setting learning rate to {rate / 5:f}"
            own._no_improvement_count = 0
        if own.verbose:
            print(text)
        return stop

    def _rate(self, scale: float) -> None:
        """Change the rate; velocities are scaled, as scikit-learn's include past rates."""
        if scale > 0:
            self.run.slots *= self.run.network.dtype.type(self.run.rate_scale / scale)
        self.run.rate_scale = scale

    def on_train_end(self) -> None:
        """Restore the best weights, if kept, and release the estimator."""
        if self._best is not None:
            self.run.network.params[...] = self._best
        self.estimator = self.score = None


def threads_for(network: Network, rows: int, n_threads: int | None) -> int | None:
    """One thread if an epoch is less work than waking others takes, else ``n_threads``."""
    return 1 if n_threads is None and 3 * rows * network.n_params < EPOCH_WORK else n_threads
