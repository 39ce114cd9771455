"""Drop-in replacements of scikit-learn's MLPClassifier and MLPRegressor."""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError("MLPClassifier and MLPRegressor need scikit-learn: pip install "
                      '"fastbp[sklearn]"') from error

from .classifier import MLPClassifier
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
