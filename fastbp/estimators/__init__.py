"""Drop-in replacements of scikit-learn's MLPClassifier and MLPRegressor."""

from .._extras import needs

with needs("MLPClassifier and MLPRegressor need scikit-learn", "sklearn"):
    import sklearn  # noqa: F401

from .classifier import MLPClassifier
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
