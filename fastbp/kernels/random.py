"""Counter-based random numbers: a value is a function of its key, never of what ran before.

So a shuffle depends on (seed, epoch) alone: on no thread, chunk or resumed position.
The mixer is the finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
"""

from __future__ import annotations

import numpy as np

from .._jit import DISABLED, kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


@kernel
def mix(z):
    """Scramble 64 bits."""
    z = z + _GOLDEN
    z = (z ^ (z >> _S30)) * _M1
    z = (z ^ (z >> _S27)) * _M2
    return z ^ (z >> _S31)


if DISABLED:  # plain NumPy warns of the wrap-around that is wanted here
    mix = np.errstate(over="ignore")(mix)


@kernel
def shuffle(order, seed, epoch):
    """Write the permutation of (seed, epoch) into ``order``, by Fisher and Yates."""
    n = order.size
    key = mix(np.uint64(seed) ^ mix(np.uint64(epoch)))
    for i in range(n):
        order[i] = i
    for i in range(n - 1, 0, -1):
        bits = mix(key ^ np.uint64(i)) >> _S32
        j = np.int64((bits * np.uint64(i + 1)) >> _S32)  # i + 1 < 2^32 rows
        order[i], order[j] = order[j], order[i]
