"""Plots of training and its outcome, by matplotlib (extra ``plot``).

Each draws on ``ax`` and returns it, or makes a figure of its own; pyplot's state is not touched.

    from fastbp import plot

    plot.history(net.fit(X, T)).figure.savefig("loss.png")
"""

from .classes import calibration, confusion_matrix, roc
from .curves import history, learning_rate
from .layers import gradients, weights
from .numbers import prediction, residuals

__all__ = ["calibration", "confusion_matrix", "gradients", "history", "learning_rate",
           "prediction", "residuals", "roc", "weights"]
