"""Numbers, words and comments as C99 source, whatever they hold.

The source is a ``string.Template``, so any $ that is not for a name of it must be escaped.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from .._validation import Array

_PER_LINE = 6


def to_dtype(values: Any, dtype: np.dtype[Any]) -> Array:
    """Rounded to ``dtype``, to infinity if too large."""
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(dtype)


def literally(text: str) -> str:
    """``text`` with each $ escaped."""
    return text.replace("$", "$$")


def number(value: Any) -> str:
    """An exact hexadecimal literal of a NumPy float.

    Raises
    ------
    ValueError
        For NaN and infinity.
    """
    if not np.isfinite(value):
        raise ValueError(f"C has no literal of {value}: a number is too large for "
                         f"{np.asarray(value).dtype}")
    text = re.sub(r"\.?0*p", "p", float(value).hex(), count=1)
    return text + "f" if np.asarray(value).dtype == np.float32 else text


def word(text: str) -> str:
    """A string literal in UTF-8, without trigraphs.

    Raises
    ------
    ValueError
        For characters that it cannot hold: NUL, and half of a surrogate pair.
    """
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError(f"C has no string of {text!r}")
    bytes_ = "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?$' else f"\\{b:03o}"
                     for b in text.encode())
    return f'"{bytes_}"'


def plain(value: Any) -> str:
    """A class as a C literal."""
    if isinstance(value, str):
        return word(value)
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    return number(np.float64(value)) if isinstance(value, float) else f"{value}LL"


def comment(text: str) -> str:
    """An ASCII comment, in which ``text`` cannot end it."""
    safe = text.encode("ascii", "backslashreplace").decode()
    safe = safe.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
    lines = [line.rstrip(" \\\r") for line in safe.replace("\r", "\n").split("\n")]
    return "/* " + "\n * ".join(lines).replace("\n * \n", "\n *\n") + "\n */"


def array(name: str, values: Array, kind: str) -> str:
    """A static table of numbers."""
    flat = [number(v) for v in np.ravel(values)]
    rows = [", ".join(flat[i:i + _PER_LINE]) for i in range(0, len(flat), _PER_LINE)]
    return f"static const {kind} {name}[{len(flat)}] = {{\n    " + ",\n    ".join(rows) + "};\n"


def words(name: str, values: Any, kind: str) -> str:
    """A table of classes or categories."""
    rows = ",\n    ".join(map(plain, values))
    return f"{kind} {name}[{len(values)}] = {{\n    {rows}}};\n"
