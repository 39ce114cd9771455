"""Conversion of users' targets and outputs to what plots and tables need."""

from __future__ import annotations

from collections.abc import Sequence, Set
from numbers import Real
from typing import Any

import numpy as np

from .._extras import needs
from .._validation import Array, as_array, check_mask, same_length


def scores(output: Any, name: str = "output", threshold: float | None = None) -> Array:
    """Outputs of a classifier as float64, a column for each class.

    A single column is that of class 1: class 0 gets what is larger where that is not above
    ``threshold``; by default the rest to 1 if all lie in [0, 1], else the negative.

    Raises
    ------
    ValueError, TypeError
        If it is not a matrix of numbers.
    """
    Y = as_array(output, name).astype(np.float64)
    if Y.ndim == 1:
        Y = Y[:, None]
    if Y.ndim != 2 or not Y.shape[1]:
        raise ValueError(f"{name} must have a row for each target, got shape {Y.shape}")
    if Y.shape[1] > 1:
        return Y
    if threshold is None:
        threshold = 0.5 if ((Y >= 0) & (Y <= 1) | np.isnan(Y)).all() else 0.0
    return np.hstack([2 * threshold - Y, Y])


def loose(A: Any, name: str) -> Array:
    """``A`` as an array of any type, without masked elements; objects that are all numbers or
    booleans get the dtype of such.

    Raises
    ------
    ValueError
        For masked elements, and rows of different lengths.
    """
    check_mask(A, name)
    try:
        array = np.asarray(A)
    except ValueError:
        raise ValueError(f"{name} is not a rectangular array") from None
    if array.dtype == object and all(isinstance(value, (bool, np.bool_, Real))
                                     for value in array.flat):
        return np.array(array.ravel().tolist()).reshape(array.shape)
    return array


def words(array: Array) -> bool:
    """Whether an array holds text."""
    return array.dtype.kind in "US" or (
        array.dtype.kind == "O" and any(isinstance(value, str) for value in array.flat))


def check_names(classes: Sequence[Any] | None) -> None:
    """Refuse names of classes that cannot be counted.

    Raises
    ------
    TypeError
        Shows them.
    """
    if classes is not None and (isinstance(classes, Set) or not (  # a set has no order
            hasattr(classes, "__len__") and hasattr(classes, "__iter__"))):
        raise TypeError(f"classes must be a sequence of names, got {classes!r}")


def kinds(classes: Sequence[Any]) -> str:
    """Kinds of dtypes whose values are looked up in ``classes``: "iuf" if these are numbers, "b"
    if they are booleans, none if they are names."""
    held = {np.asarray(value).dtype.kind for value in classes}
    return next((alike for alike in ("iuf", "b") if held and held <= set(alike)), "")


def are_probabilities(Y: Array) -> bool:
    """Whether each row of ``Y`` lies in [0, 1] and sums to 1, up to rounding."""
    with np.errstate(invalid="ignore"):
        return bool(len(Y) and (Y >= -1e-6).all() and (np.abs(Y.sum(axis=1) - 1) < 1e-3).all())


def labels(T: Any, n_classes: int | None, classes: Sequence[Any] | None,
           name: str = "T") -> Array:
    """Targets as class indices (n,), from indices, one column of them, or rows with one 1.

    Words are looked up in ``classes``; so are numbers if these are numbers, and booleans if these
    are booleans, else no and yes. ``n_classes`` is None if unknown.

    Raises
    ------
    ValueError, TypeError
        For other targets, or classes out of range, or one that is looked up and there twice.
    """
    array = loose(T, name)
    check_names(classes)
    if classes is not None and (array.ndim == 1 or array.shape[1:] == (1,)) and (
            array.dtype.kind in "OUS" or array.dtype.kind in kinds(classes)):
        values = array.ravel().tolist()
        try:
            place = {value: i for i, value in enumerate(classes)}
        except TypeError:  # lists, say
            raise TypeError(f"classes must be a sequence of names, got {classes!r}") from None
        if len(place) < len(classes):
            twice = next(value for i, value in enumerate(classes) if place[value] != i)
            raise ValueError(f"classes holds {twice!r} more than once: {name} is looked up there")
        at = [_looked_up(value, place) for value in values]
        if None in at:
            known = ", ".join(map(str, list(classes)[:10])) + ", ..." * (len(classes) > 10)
            raise ValueError(f"{name} holds {values[at.index(None)]!r}, which is none of the "
                             f"classes: {known}")
        array = np.array(at, np.int64)
    try:
        array = as_array(array, name)
    except TypeError as error:
        hint = "; give the classes it holds, as classes=clf.classes_"
        raise TypeError(f"{error}{hint * (classes is None and words(array))}") from None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    elif array.ndim == 2 and array.shape[1]:
        if n_classes not in (None, array.shape[1]):
            raise ValueError(f"{name} has {array.shape[1]} columns, for {n_classes} classes")
        array = array.argmax(axis=1)
    if array.ndim != 1:
        raise ValueError(f"{name} must be class indices or rows with one 1, got shape "
                         f"{array.shape}")
    with np.errstate(invalid="ignore"):  # from NaN, and from numbers that are too large
        found = array.astype(np.int64)
    most = np.inf if n_classes is None else n_classes
    wrong = (found != array) | (found < 0) | (found >= most)
    if wrong.any():
        where = int(np.argmax(wrong))
        upper = "" if n_classes is None else f" below {n_classes}"
        raise ValueError(f"{name}[{where}] is {array[where].item()!r}, no class index{upper}")
    return found


def _looked_up(value: Any, place: dict[Any, int]) -> int | None:
    try:
        return place.get(value)
    except TypeError:  # a list, say
        return None


def names(classes: Sequence[Any] | None, count: int) -> list[str]:
    """Names of ``count`` classes: those given, or their indices.

    Raises
    ------
    ValueError, TypeError
        If there are more or fewer, or ``classes`` is not a sequence.
    """
    check_names(classes)
    if classes is None:
        return [str(i) for i in range(count)]
    if len(classes) != count:
        raise ValueError(f"classes has {len(classes)} names for {count} outputs")
    return [str(name) for name in classes]


def pair(T: Any, output: Any, classes: Sequence[Any] | None,
         threshold: float | None = None) -> tuple[Array, Array]:
    """Class indices (n,) and scores (n, k) of the same rows.

    Raises
    ------
    ValueError, TypeError
        As ``labels`` and ``scores``, and for lengths that differ.
    """
    Y = scores(output, threshold=threshold)
    found = labels(T, Y.shape[1], classes)
    same_length(found, Y, "T", "output")
    return found, Y


def numbers(T: Any, output: Any) -> tuple[Array, Array]:
    """Targets and outputs of a regression as float64 matrices of one shape.

    Raises
    ------
    ValueError, TypeError
        If they are not matrices of numbers, or shapes differ.
    """
    found = [as_array(A, name).astype(np.float64) for A, name in ((T, "T"), (output, "output"))]
    rows, Y = (A[:, None] if A.ndim == 1 else A for A in found)
    if rows.shape != Y.shape or rows.ndim != 2:
        raise ValueError(f"T of shape {found[0].shape} and output of shape {found[1].shape} do "
                         "not go together")
    return rows, Y


def metrics() -> Any:
    """``sklearn.metrics``.

    Raises
    ------
    ImportError
        Without scikit-learn.
    """
    with needs("plots of outcomes need scikit-learn", "plot"):
        from sklearn import metrics as found
    return found
