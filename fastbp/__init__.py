"""fastbp: small and medium neural networks, trained fast on CPUs."""

from typing import TYPE_CHECKING, Any

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
from .layers import Dense, Layer, ReLU, Sigmoid, Softmax, Tanh
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

if TYPE_CHECKING:
    from .estimators import MLPClassifier, MLPRegressor

__version__ = "0.1.0"

__all__ = [
    "Adam", "BinaryCrossEntropyLoss", "CSVLog", "Callback", "Checkpoint", "CrossEntropyLoss",
    "Dense", "EarlyStopping", "History", "JSONLines", "L2Loss", "Layer", "Loss",
    "MLPClassifier", "MLPRegressor", "Network",
    "Optimizer", "ProgressBar", "ReLU", "ReduceOnPlateau", "SGD", "Sigmoid",
    "SigmoidBinaryCrossEntropyLoss", "Softmax", "SoftmaxCrossEntropyLoss", "StopOnNaN", "Tanh",
    "TensorBoard", "TimeLimit", "gradcheck", "load",
]


def __getattr__(name: str) -> Any:
    """The estimators, which import scikit-learn, when they are asked for."""
    if name in ("MLPClassifier", "MLPRegressor"):
        from . import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
