"""Tables in, features and targets out; files as blocks to train on."""

from .features import Boolean, Categorical, Numeric
from .learn import Learned, learn
from .preprocess import Preprocessor
from .stream import ArrayStream, TableStream
from .table import Table, open_table
from .target import Target

__all__ = ["ArrayStream", "Boolean", "Categorical", "Learned", "Numeric", "Preprocessor",
           "Table", "TableStream", "Target", "learn", "open_table"]
