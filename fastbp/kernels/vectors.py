"""Vectors and register tiles of this machine, and rows padded to whole vectors."""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np

#: Bytes in the vector that every padded row is a multiple of.
VECTOR_BYTES = 64

#: Rows of the tiles of 1, 2, ... vectors by instruction set: as many as its registers hold,
#: beside a pointer for each row. Wide tiles load the caches less than tall ones.
SHAPES = {"avx512": (8, 8, 8, 6), "avx2": (6,), "neon": (6,), "generic": (2,)}

#: Whether this machine's processor is of the family.
X86, ARM = (platform.machine().lower() in names for names in (
    ("x86_64", "amd64", "i386", "i686"), ("aarch64", "arm64")))
#: Inline-assembly constraint for a floating-point register, where it is known.
REGISTER = {"x86_64": ",v", "amd64": ",v", "aarch64": ",w", "arm64": ",w"}.get(
    platform.machine().lower(), "")


def host_isa() -> str:
    """Instruction set by LLVM's report of the host; ``FASTBP_ISA`` forces one."""
    forced = os.environ.get("FASTBP_ISA")
    if forced:
        if forced not in SHAPES:
            raise ValueError(f"FASTBP_ISA={forced!r} is not one of {sorted(SHAPES)}")
        return forced
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return "avx512"
    if features.get("avx2") and features.get("fma"):
        return "avx2"
    return "neon" if features.get("neon") else "generic"


def pad(n: int, dtype: Any) -> int:
    """Round ``n`` up to whole vectors of ``dtype``."""
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    return -(-int(n) // lanes) * lanes


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> np.ndarray:
    """Zeros that start on the boundary of a vector."""
    raw = np.zeros(size * dtype.itemsize + VECTOR_BYTES, np.uint8)
    skip = -raw.ctypes.data % VECTOR_BYTES
    return raw[skip:skip + size * dtype.itemsize].view(dtype)


def row_length(n: int, dtype: Any) -> int:
    """Row stride in elements for rows of ``n``: whole vectors, and never whole pages.

    Rows a multiple of 4 KiB apart share a few sets of the caches and evict each other:
    a product of 2048 columns loses a tenth of its speed.
    """
    size = np.dtype(dtype).itemsize
    length = pad(n, dtype)
    return length + VECTOR_BYTES // size if length * size % 4096 == 0 else length
