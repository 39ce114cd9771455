"""Tables in, features and targets out."""

from .preprocess import Boolean, Categorical, Numeric, Preprocessor
from .table import Table, open_table
from .target import Target

__all__ = ["Boolean", "Categorical", "Numeric", "Preprocessor", "Table", "Target", "open_table"]
