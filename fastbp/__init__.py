"""fastbp: small and medium neural networks, trained fast on CPUs."""

from typing import TYPE_CHECKING, Any

from . import data, schedules
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
from .lbfgs import fit_lbfgs
from .losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    CustomLoss,
    FocalLoss,
    HingeLoss,
    HuberLoss,
    L2Loss,
    Loss,
    MAELoss,
    MSELoss,
    PoissonLoss,
    QuantileLoss,
    SigmoidBinaryCrossEntropyLoss,
    SigmoidFocalLoss,
    SoftmaxCrossEntropyLoss,
)
from .many import fit_many
from .model import Model, load_model
from .network import Network
from .optimizers import SGD, Adagrad, Adam, AdamW, Lion, Optimizer, RMSprop
from .schedules import Schedule
from .streaming import fit_stream

if TYPE_CHECKING:
    from .estimators import MLPClassifier, MLPRegressor

__version__ = "0.1.0"

__all__ = [
    "Adagrad", "Adam", "AdamW", "BatchNorm", "BinaryCrossEntropyLoss", "CSVLog", "Callback",
    "Checkpoint", "CrossEntropyLoss", "CustomLoss", "Dense", "Dropout", "ELU", "EarlyStopping",
    "FocalLoss", "GELU", "HingeLoss", "History", "HuberLoss", "Identity", "JSONLines", "L2Loss",
    "Layer", "LayerNorm", "LeakyReLU", "Lion", "LogSoftmax", "Loss", "MAELoss", "MLPClassifier",
    "MLPRegressor", "MSELoss", "Model", "Network", "Optimizer", "PoissonLoss", "ProgressBar",
    "QuantileLoss", "RMSprop", "ReLU", "ReduceOnPlateau", "SGD", "Schedule", "SiLU", "Sigmoid",
    "SigmoidBinaryCrossEntropyLoss", "SigmoidFocalLoss", "Softmax", "SoftmaxCrossEntropyLoss",
    "Softplus", "StopOnNaN", "Tanh", "TensorBoard", "TimeLimit", "data", "fit_lbfgs", "fit_many",
    "fit_stream", "gradcheck", "load", "load_model", "schedules",
]


def __getattr__(name: str) -> Any:
    """The estimators, which import scikit-learn, when they are asked for."""
    if name in ("MLPClassifier", "MLPRegressor"):
        from . import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
