"""Callbacks: what happens between chunks and epochs of training."""

from .base import Callback, Lambda, Monitor
from .checkpoint import Checkpoint
from .log import CSVLog, JSONLines, PrintEpoch, TensorBoard
from .progress import ProgressBar
from .rate import ReduceOnPlateau
from .stopping import EarlyStopping, StopOnNaN, TimeLimit

__all__ = ["CSVLog", "Callback", "Checkpoint", "EarlyStopping", "JSONLines", "Lambda", "Monitor",
           "PrintEpoch", "ProgressBar", "ReduceOnPlateau", "StopOnNaN", "TensorBoard",
           "TimeLimit"]
