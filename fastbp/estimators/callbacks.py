"""Support of scikit-learn's callbacks (its API since 1.9), called for each epoch of a fit.

They are set by ``set_callbacks``, a method that the estimators lack with older releases.
fastbp's own callbacks go in the parameter ``callbacks``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from ..callbacks import Callback
from ..network import Network

__all__ = ["CallbackSupportMixin", "Relay", "begin_fit", "end_fit", "with_callbacks"]

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before 1.9
    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Placeholder for the class, which this release does not have."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """The method itself."""
        return method


class Relay(Callback):
    """Reports each epoch to scikit-learn's callbacks, as a task of ``context``.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext
        Context of the fit.
    estimator : estimator
    given : dict
        X, y and metadata of the fit, for the hooks that ask for them.
    """

    def __init__(self, context: Any, estimator: Any, given: dict[str, Any]) -> None:
        self.context, self.estimator, self.given = context, estimator, given
        self._task: Any = None

    def _begin(self) -> None:
        self._task = self.context.subcontext(task_name="epoch")
        self._task.call_on_fit_task_begin(estimator=self.estimator, **self.given,
                                          reconstruction_attributes=self._fitted)

    def _fitted(self) -> dict[str, Any]:
        """Attributes of the estimator as fitted so far, with a copy of the network."""
        own = {name: value for name, value in vars(self.estimator).items()
               if name not in self.estimator.get_params(deep=False)
               and "callback" not in name and name != "network_"}
        with self.run.averaged():
            return own | {"network_": copy.deepcopy(self.estimator.network_)}

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """The first epoch begins."""
        self._begin()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        """An epoch ends, and the next begins; True if a callback asks to stop."""
        stop = bool(self._task.call_on_fit_task_end(
            estimator=self.estimator, **self.given, reconstruction_attributes=self._fitted))
        if not stop and epoch + 1 < self.run.epochs:
            self._begin()
        return stop

    def on_train_end(self) -> None:
        """Release the estimator."""
        self.estimator = self.context = None


def begin_fit(estimator: Any, epochs: int, X: Any, y: Any, sample_weight: Any) -> Relay | None:
    """Tell the callbacks, if there are any, that a fit of ``epochs`` begins."""
    if not hasattr(estimator, "_init_callback_context"):
        return None
    context = estimator._init_callback_context(max_subtasks=epochs)
    given = {"X": X, "y": y, "metadata": (
        None if sample_weight is None else {"sample_weight": sample_weight})}
    context.call_on_fit_task_begin(estimator=estimator, **given)
    return Relay(context, estimator, given) if getattr(estimator, "_skl_callbacks", ()) else None


def end_fit(estimator: Any, relay: Relay | None, X: Any, y: Any) -> None:
    """Tell the callbacks that the fit has ended."""
    if relay is not None:
        estimator._callback_fit_ctx.call_on_fit_task_end(estimator=estimator, X=X, y=y)
