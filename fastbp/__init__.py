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
from .layers import (
    ELU,
    GELU,
    BatchNorm,
    Dense,
    Dropout,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    L2Loss,
    Loss,
    SigmoidBinaryCrossEntropyLoss,
    SoftmaxCrossEntropyLoss,
)
from .network import Network
from .optimizers import SGD, Adam, Optimizer

__version__ = "0.1.0"

__all__ = [
    "Adam", "BatchNorm", "BinaryCrossEntropyLoss", "CSVLog", "Callback", "Checkpoint",
    "CrossEntropyLoss", "Dense", "Dropout", "ELU", "EarlyStopping", "GELU", "History",
    "Identity", "JSONLines", "L2Loss", "Layer", "LayerNorm", "LeakyReLU", "LogSoftmax", "Loss",
    "Network", "Optimizer", "ProgressBar", "ReLU", "ReduceOnPlateau", "SGD", "SiLU", "Sigmoid",
    "SigmoidBinaryCrossEntropyLoss", "Softmax", "SoftmaxCrossEntropyLoss", "Softplus",
    "StopOnNaN", "Tanh", "TensorBoard", "TimeLimit", "gradcheck", "load",
]
