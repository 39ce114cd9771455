"""fastbp: small and medium neural networks, trained fast on CPUs."""

from .callbacks import (
    Callback,
    Checkpoint,
    CSVLog,
    EarlyStopping,
    JSONLines,
    ProgressBar,
    ReduceOnPlateau,
    StopOnNaN,
    TensorBoard,
    TimeLimit,
)
from .gradcheck import gradcheck
from .history import History
from .io import load
from .layers import BatchNorm, Dense, Dropout, Layer, LayerNorm, ReLU, Sigmoid, Softmax, Tanh
from .losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    L2Loss,
    Loss,
    SigmoidBinaryCrossEntropyLoss,
    SoftmaxCrossEntropyLoss,
)
from .many import fit_many
from .network import Network
from .optimizers import SGD, Adam, Optimizer

__version__ = "0.1.0"

__all__ = [
    "Adam", "BatchNorm", "BinaryCrossEntropyLoss", "CSVLog", "Callback", "Checkpoint",
    "CrossEntropyLoss", "Dense", "Dropout", "EarlyStopping", "History", "JSONLines", "L2Loss",
    "Layer", "LayerNorm", "Loss", "Network", "Optimizer", "ProgressBar", "ReLU",
    "ReduceOnPlateau", "SGD", "Sigmoid", "SigmoidBinaryCrossEntropyLoss", "Softmax",
    "SoftmaxCrossEntropyLoss", "StopOnNaN", "Tanh", "TensorBoard", "TimeLimit", "fit_many",
    "gradcheck", "load",
]
