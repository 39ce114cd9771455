"""Input checks: users pass arrays of any kind, kernels get checked, contiguous ones."""

from __future__ import annotations

import codecs
import math
import numbers
import os
import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Precisions of products, from all of float32 down (see ``Network``).
PRECISIONS = ("highest", "high", "medium")
#: Largest size of an array for which one bool per element stays in the caches.
_CACHED = 1 << 20
#: Largest sum of weights, so that 1 / sum is not subnormal.
_MOST_WEIGHT = 1e300
#: Smallest normal number and largest number.
_RANGES = {np.dtype(t): (float(np.finfo(t).tiny), float(np.finfo(t).max)) for t in ("f4", "f8")}


@contextmanager
def named(name: str) -> Iterator[None]:
    """A TypeError or ValueError of the block begins with ``name``, and is of the same type."""
    try:
        yield
    except (TypeError, ValueError) as error:
        text = f"{name}: {error}"
        try:
            again = type(error)(text)
        except Exception:  # a type that needs more arguments, as UnicodeDecodeError
            again = (ValueError if isinstance(error, ValueError) else TypeError)(text)
        raise again from error


def check_dtype(dtype: Any) -> np.dtype[Any]:
    """float32 or float64 as a native NumPy dtype."""
    try:
        found = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        raise TypeError(f"dtype must be 'float32' or 'float64', got {dtype!r}") from None
    for known in (np.dtype(np.float32), np.dtype(np.float64)):
        if found == known:
            return known  # NumPy's own object, so that ``is`` can compare it
    raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")


def check_size(value: Any, name: str, minimum: int = 1) -> int:
    """An integer of at least ``minimum``; not a bool."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value!r}")
    return int(value)


def check_threads(value: Any) -> int | None:
    """A number of threads, or None for as many as pay."""
    return None if value is None else check_size(value, "n_threads")


def check_real(value: Any, name: str, low: float = 0.0, high: float = np.inf, *,
               open_low: bool = False, open_high: bool = True) -> float:
    """A finite number in the interval from ``low`` to ``high``."""
    if type(value) is not float and (isinstance(value, (bool, np.bool_))
                                     or not isinstance(value, numbers.Real)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # an integer of many digits
        number = math.inf
    below = number <= low if open_low else number < low
    above = number >= high if open_high else number > high
    if not math.isfinite(number) or below or above:
        left, right = "(" if open_low else "[", ")" if open_high else "]"
        raise ValueError(f"{name} must be in {left}{low}, {high}{right}, got {value!r}")
    return number


def check_range(value: float, name: str, dtype: np.dtype[Any], *, zero: bool = True) -> None:
    """Refuse a number that ``dtype`` would make 0 or infinite; 0 itself passes if ``zero``."""
    tiny, most = _RANGES[dtype]
    if not (tiny <= value <= most or (zero and value == 0)):
        raise ValueError(f"{name} must be in [{tiny:.3g}, {most:.3g}]{' or 0' * zero} for "
                         f"{dtype}, got {value!r}")


def check_constants(part: Any, dtype: np.dtype[Any]) -> None:
    """Refuse constants of a layer or loss that ``dtype`` would make 0 or infinite. Others may be
    infinite, as a bound that is none."""
    settings = part.config()
    for value in part.constants():
        if abs(value) == math.inf:
            continue
        name = next((name for name, own in settings.items() if own is value), "constant")
        check_range(abs(value), f"{name} of {part!r}", dtype,
                    zero=name not in ("epsilon", "delta"))


def check_bool(value: Any, name: str) -> bool:
    """A bool, Python's or NumPy's."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_seed(value: Any, name: str) -> int:
    """An integer from 0 up to below 2**63."""
    seed = check_size(value, name, 0)
    if seed >= 2**63:
        raise ValueError(f"{name} must be below 2**63, got {value!r}")
    return seed


class _Checked:
    """An attribute that becomes ``check(value, name, ...)`` whenever it is set. It is read as fast
    as any other: only what has ``__get__`` is asked."""

    def __init__(self, check: Callable[..., Any], *args: Any, **options: Any) -> None:
        self.check, self.args, self.options = check, args, options

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, owner: Any, value: Any) -> None:
        vars(owner)[self.name] = self.check(value, self.name, *self.args, **self.options)


def checked(check: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """For the body of a class: an attribute that is checked whenever it is set, by
    ``check(value, name, *args, **options)``."""
    return _Checked(check, *args, **options)


def check_choice(value: Any, name: str, choices: Any) -> str:
    """One of ``choices``, by exact name."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    if value not in choices:
        raise ValueError(f"{name} must be one of {sorted(choices)}, got {value!r}")
    return value


def check_charset(charset: Any) -> str:
    """Python's name of an encoding of text."""
    if not isinstance(charset, str):
        raise TypeError(f"charset must be the name of an encoding of text, got {charset!r}")
    try:
        found = codecs.lookup(charset)
        "".encode(charset)  # refuses codecs that are not for text
    except (LookupError, ValueError):
        raise ValueError(f"charset must be an encoding of text that Python knows, such as "
                         f"'cp1252' or 'gbk', got {charset!r}") from None
    return found.name


def as_path(path: Any, name: str = "path") -> str:
    """A path as text. A number would mean an open file, and "" the current folder: refused."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {path!r}")
    text = os.fsdecode(path)
    if not text or "\0" in text:
        raise ValueError(f"{name} must be a path, got {path!r}")
    return text


def check_mask(X: Any, name: str) -> None:
    """Refuse masked elements, which an array made of ``X`` would show as numbers."""
    if type(X).__name__ == "MaskedArray" and np.any(X.mask):
        raise ValueError(f"{name} has masked elements: fill them, or drop their rows")


def as_array(X: Any, name: str) -> Array:
    """``X`` as a numeric array; refuses sparse, masked, ragged and non-numeric ones."""
    if type(X) is np.ndarray and X.dtype.kind in "buif":
        return X
    if hasattr(X, "toarray") and hasattr(X, "nnz"):
        raise TypeError(f"{name} is a sparse matrix ({type(X).__name__}); "
                        f"pass {name}.toarray() if it fits in memory")
    if X is None:
        raise TypeError(f"{name} must hold real numbers, got None")
    check_mask(X, name)
    try:
        array = np.asarray(X)
    except ValueError:
        raise ValueError(f"{name} is not a rectangular array of numbers") from None
    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"{name} must hold real numbers, got {_first_other(array)}") from None
        except OverflowError:
            raise ValueError(f"{name} holds an integer too large for float64") from None
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array


def _first_other(array: Array) -> str:
    """The first element of an object array that is no number, and where it stands."""
    for index, value in np.ndenumerate(array):
        try:
            float(value)
        except (TypeError, ValueError):
            return f"{reprlib.repr(value)} at {index}"
    return f"dtype {array.dtype}"


def as_matrix(X: Any, name: str, dtype: np.dtype[Any], n_columns: int | None = None, *,
              allow_nonfinite: bool = False) -> Array:
    """``X`` as C-contiguous (rows, columns) of ``dtype``; a copy only where needed."""
    array = as_array(X, name)
    if array.ndim != 2:
        raise ValueError(f"{name} must be 2-D (rows, columns), got shape {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"{name} is empty: shape {array.shape}")
    if n_columns is not None and array.shape[1] != n_columns:
        raise ValueError(f"{name} must have {n_columns} columns, got shape {array.shape}")
    result = array
    if array.dtype != dtype or not array.flags.c_contiguous:
        with np.errstate(over="ignore"):
            result = np.ascontiguousarray(array, dtype=dtype)
    if not allow_nonfinite:
        check_finite(result, name, "; allow_nonfinite=True lets it in")
    return result


def as_vector(X: Any, name: str, size: int, dtype: np.dtype[Any]) -> Array:
    """``X`` as finite (size,) of ``dtype``; a row or a column will do."""
    array = as_array(X, name)
    if array.size != size or max(array.shape, default=1) != size:
        raise ValueError(f"{name} must have shape ({size},), got shape {array.shape}")
    with np.errstate(over="ignore"):
        result = array.ravel().astype(dtype)
    check_finite(result, name)
    return result


def all_finite(array: Array) -> bool:
    """Whether there is neither NaN nor infinity, in one pass at the speed of memory."""
    if array.size > _CACHED:
        flat = array.ravel()
        with np.errstate(over="ignore", invalid="ignore"):  # not np.dot: threads of BLAS would
            total = np.einsum("i,i", flat, flat)  # spin on cores that a team needs
        if np.isfinite(total):  # a finite sum of squares proves it; else look at each element
            return True
    return bool(np.count_nonzero(np.isfinite(array)) == array.size)


def check_finite(array: Array, name: str, advice: str = "") -> None:
    """Refuse NaN and infinity, naming the first."""
    if not all_finite(array):
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} holds {array[where]} at {where} "
                         f"(after conversion to {array.dtype}){advice}")


def as_labels(T: Any, name: str, n_classes: int) -> Array:
    """Class indices as int64, each within [0, n_classes)."""
    array = as_array(T, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} as class indices must be 1-D, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} is empty: shape {array.shape}")
    if array.dtype.kind not in "bui" and (broken := array != np.floor(array)).any():
        raise TypeError(f"{name} as class indices must be integers, got {array[broken][:3]}")
    if array.dtype == np.int64 and array.view(np.uint64).max() < n_classes:  # negatives are huge
        return np.ascontiguousarray(array)
    low, high = array.min(), array.max()
    if low < 0 or high >= n_classes:
        worst = low if low < 0 else high
        raise ValueError(f"{name} holds label {worst}, outside [0, {n_classes})")
    return np.ascontiguousarray(array, dtype=np.int64)


def flushed(array: Array, dtype: np.dtype[Any]) -> Array:
    """``array`` as contiguous ``dtype``, subnormal numbers replaced by 0, as the engine does."""
    result = np.ascontiguousarray(array, dtype=dtype)
    small = (np.abs(result) < np.finfo(dtype).tiny) & (result != 0)
    return np.where(small, dtype.type(0), result) if small.any() else result


def as_weights(weights: Any, rows: int, dtype: np.dtype[Any],
               name: str = "sample_weight", *, zeros: bool = False) -> Array | None:
    """Weights of rows (n,) as ``dtype``: finite, at least 0, not all 0 unless ``zeros``."""
    if weights is None:
        return None
    array = as_array(weights, name)
    if array.shape != (rows,):
        raise ValueError(f"{name} must have shape ({rows},), got {array.shape}")
    with np.errstate(over="ignore"):
        result = flushed(array, dtype)
    check_finite(result, name)
    if (result < 0).any():
        raise ValueError(f"{name} must be at least 0, got {result.min()}")
    if not zeros and not result.any():
        raise ValueError(f"{name} is zero for every row")
    with np.errstate(over="ignore"):
        total = result.sum(dtype=np.float64)
    if total > _MOST_WEIGHT:
        raise ValueError(f"{name} must sum to at most {_MOST_WEIGHT:g}, got {total:g}")
    return result


def same_length(X: Array, T: Array, x_name: str = "X", t_name: str = "T") -> None:
    """Refuse pairs of different length."""
    if len(X) != len(T):
        raise ValueError(f"{x_name} has {len(X)} rows, {t_name} has {len(T)}")
