"""Hooks into training, called between chunks of compiled steps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .._validation import check_choice, check_real, check_size
from ..history import as_number

if TYPE_CHECKING:
    from ..network import Network
    from ..run import Run

#: Words in the names of figures for which less, and for which more is better.
_LESS = {"loss", "logloss", "error", "err", "mse", "rmse", "mae", "mape", "deviance", "brier",
         "perplexity", "distance", "divergence"}
_MORE = {"accuracy", "acc", "f1", "f1score", "auc", "rocauc", "prauc", "r2", "d2", "precision",
         "recall", "score", "auroc", "auprc", "ap", "map", "kappa", "mcc", "iou", "dice", "bleu",
         "sensitivity", "specificity", "correlation", "similarity", "jaccard", "ndcg",
         "explained"}


def more_is_better(figure: str) -> bool | None:
    """Whether more of a figure is better, by the words between the "_" of its name; None if they
    do not tell."""
    words = re.split(r"[\W_]+", figure.lower().removeprefix("val_"))
    known = {*words, *(word.rstrip("0123456789") for word in words)}  # err2 is an err
    if known & _LESS:
        return words[0] in ("neg", "d2")  # as scikit-learn names errors that it has turned round
    return True if known & _MORE else None


class Callback:
    """Base of callbacks: override what you need. Return True from a hook to stop.

    Attributes
    ----------
    run : Run
        The training run; set before ``on_train_begin``.

    Examples
    --------
    >>> import fastbp
    >>> class GoodEnough(fastbp.Callback):
    ...     def on_epoch_end(self, epoch, logs):
    ...         return logs["loss"] < 0.01
    >>> net = fastbp.Network([fastbp.Dense(1, 1)], "L2Loss")
    >>> history = net.fit([[0.0], [1.0]], [[1.0], [3.0]], epochs=1000, optimizer=fastbp.SGD(0.3),
    ...                   callbacks=[GoodEnough()])
    >>> history["loss"][-1] < 0.01 < history["loss"][-2]
    True
    """

    run: Run

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> bool | None:
        """Before the first step; True: take no step at all."""

    def on_chunk_end(self, epoch: int, samples: int) -> bool | None:
        """After some steps (50 ms or so), ``samples`` rows into ``epoch``."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool | None:
        """After an epoch (counted from 0), with its figures. A number put into ``logs`` under a
        new name, which becomes text, goes to the callbacks after this one and the history."""

    def on_last_step(self) -> None:
        """After the last step, before the final (averaged) parameters are put into the network."""

    def on_train_end(self) -> None:
        """After the last step, also when stopped or interrupted."""

    def state(self) -> dict[str, Any]:
        """State for a checkpoint: numbers, and arrays of the parameters' shape."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what ``state`` returned."""


class Monitor(Callback):
    """Base of callbacks that follow one figure and remember its best value.

    Parameters
    ----------
    monitor : str
        A figure of the epoch: "loss", "val_loss", "val_accuracy", ...
    patience : int
        Epochs in a row without improvement that are tolerated.
    min_delta : float
        Improvements up to this do not count.
    mode : {"auto", "min", "max"}
        Whether less is better. "auto" goes by the words of the name, between "_": less where one
        is loss, error, mse, mae, distance or the like (other than in scikit-learn's neg_... and
        d2_...), else more where one is accuracy, score, f1, auc, r2, precision or the like; a
        name that has neither is refused at the start of ``fit``.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    _saved: Run | None = None

    def __init__(self, monitor: str, patience: int, min_delta: float, mode: str) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be the name of a figure, got {monitor!r}")
        self.monitor, self.patience = monitor, check_size(patience, "patience", 0)
        self.min_delta = check_real(min_delta, "min_delta")
        self.mode = check_choice(mode, "mode", ("auto", "min", "max"))
        more = mode == "max" or (mode == "auto" and more_is_better(monitor))
        self.sign = 1.0 if more else -1.0
        self.reset()

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Start afresh, unless a checkpoint has been restored for this run."""
        if self._saved is None or self._saved is not self.run:
            self.reset()
        self._saved = None

    def reset(self) -> None:
        """Forget what was seen."""
        self.best, self.wait = float("-inf"), 0

    def improved(self, logs: dict[str, float]) -> bool:
        """Take an epoch into account; returns whether it is the best so far.

        Raises
        ------
        ValueError
            If the figure is not among the epoch's, or no number.
        """
        self.check(sorted(logs))
        number = as_number(logs[self.monitor])
        if number is None:
            raise ValueError(f"monitor={self.monitor!r} must be a number in each epoch, got "
                             f"{logs[self.monitor]!r}")
        value = self.sign * number
        if value > self.best + self.min_delta:
            self.best, self.wait = value, 0
            return True
        self.wait += 1
        return False

    def check(self, figures: list[str]) -> None:
        """Refuse ``figures`` without the one to follow.

        Raises
        ------
        ValueError
            Names both.
        """
        if self.monitor not in figures:
            raise ValueError(f"monitor={self.monitor!r} is not among the figures of an epoch, "
                             f"{figures}")

    def check_mode(self) -> None:
        """Refuse mode "auto" for a figure whose name tells nothing.

        Raises
        ------
        ValueError
            Names the figure.
        """
        if self.mode == "auto" and more_is_better(self.monitor) is None:
            raise ValueError(f"the name in monitor={self.monitor!r} does not tell whether less or "
                             'more is better: give mode="min" or mode="max"')

    def state(self) -> dict[str, Any]:
        """Best value and epochs since, and what they are of."""
        return {"best": self.best, "wait": self.wait, "monitor": self.monitor, "sign": self.sign}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up value and epochs.

        Raises
        ------
        ValueError
            If they are of another figure or mode, or no run can have saved them.
        """
        own = self.monitor, self.sign
        found = state.get("monitor", self.monitor), state.get("sign", self.sign)
        if found != own:
            saved, here = (f"monitor={monitor!r} with mode={'max' if sign > 0 else 'min'!r}"
                           for monitor, sign in (found, own))
            raise ValueError(f"the saved {type(self).__name__} has {saved}, this one {here}")
        best, wait = float(state["best"]), int(state["wait"])
        if best != best or wait != state["wait"]:
            raise ValueError(f"the saved {type(self).__name__} has best={best} and "
                             f"wait={state['wait']}")
        self.best, self.wait = best, wait
        self._saved = self.run


class Lambda(Callback):
    """A function of (epoch, logs) after each epoch; True stops.

    Parameters
    ----------
    function : callable

    Raises
    ------
    TypeError
        If it cannot be called.
    """

    def __init__(self, function: Any) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable, got {function!r}")
        self.function = function

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool | None:
        """Call it."""
        return self.function(epoch, logs)
