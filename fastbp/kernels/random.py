"""Counter-based random numbers: a value is a function of its key, never of what ran before.

So a shuffle depends on (seed, epoch) alone: on no thread, chunk or resumed position.
The mixer is the finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014). For many rows the
permutation is a cipher: row numbers, written as pairs of digits, pass through a Feistel network,
repeatedly until the result is again the number of a row (Black & Rogaway, CT-RSA 2002). Its
rounds use the multipliers of MurmurHash3 (Appleby).
"""

from __future__ import annotations

import math

import numpy as np

from .._jit import DISABLED, kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_U32 = np.uint32
_GOLDEN32, _N1, _N2 = _U32(0x9E3779B9), _U32(0x85EBCA6B), _U32(0xC2B2AE35)
_S13, _S16 = _U32(13), _U32(16)
#: Up to this many rows are shuffled by swaps: every order is equally likely, and all stay in the
#: L2 cache. With more, swaps are random accesses to memory, serial, 10 to 20 ns a row.
SWAPPED = 131072


@kernel
def mix(z):
    """Scramble 64 bits."""
    z = z + _GOLDEN
    z = (z ^ (z >> _S30)) * _M1
    z = (z ^ (z >> _S27)) * _M2
    return z ^ (z >> _S31)


if DISABLED:  # plain NumPy warns of the intended overflow
    mix = np.errstate(over="ignore")(mix)


@kernel
def _swap(order, key):
    """A permutation by Fisher-Yates shuffling."""
    for i in range(order.size):
        order[i] = i
    for i in range(order.size - 1, 0, -1):
        bits = mix(key ^ np.uint64(i)) >> _S32
        j = np.int64((bits * np.uint64(i + 1)) >> _S32)  # i + 1 < 2^32 rows
        order[i], order[j] = order[j], order[i]


@kernel(forceinline=True)
def _turn(x, y, m, key):
    """(x + a hash of y and ``key``) modulo m: one step of the Feistel network."""
    h = _U32(_U32(y ^ key) * _N1)
    h = _U32(_U32(h ^ (h >> _S13)) * _N2)
    z = _U32(x + (_U32((h >> _S16) * m) >> _S16))  # m <= 2^16
    return _U32(z - m) if z >= m else z


@kernel(forceinline=True)
def _encipher(high, low, height, width, key):
    """A permutation of the pairs of digits below (height, width), returned as one number."""
    for _ in range(3):
        high, key = _turn(high, low, height, key), _U32(key + _GOLDEN32)
        low, key = _turn(low, high, width, key), _U32(key + _GOLDEN32)
    return np.int64(_U32(_U32(high * width) + low))  # < 2^32 rows


@kernel(interleave=2, lanes=16)  # 32-bit numbers, which become 64-bit ones at the end
def _encipher_line(line, high, height, width, key):
    for j in range(line.size):
        line[j] = _encipher(high, _U32(j), height, width, key)


@kernel
def encipher(order, key, first, last, width):
    """Write lines ``first`` to ``last`` - 1 of a permutation in lines of ``width`` numbers."""
    n = order.size
    w, h = _U32(width), _U32((n + width - 1) // width)
    for i in range(first, last):
        line, high = order[i * width:min((i + 1) * width, n)], n - 1
        _encipher_line(line, _U32(i), h, w, key)
        for j in range(line.size):
            high = max(high, line[j])
        if high >= n:
            for j in range(line.size):
                while line[j] >= n:
                    line[j] = _encipher(_U32(line[j] // width), _U32(line[j] % width), h, w, key)


if DISABLED:
    _turn, _encipher = (np.errstate(over="ignore")(f) for f in (_turn, _encipher))


@kernel(cold=True)
def shuffle_share(worker, size, order, seed, epoch):
    """Write one thread's share, of ``size``, of the permutation of (seed, epoch) to ``order``."""
    key = mix(np.uint64(seed) ^ mix(np.uint64(epoch)))
    if order.size > SWAPPED:
        width = np.int64(math.ceil(math.sqrt(order.size)))
        lines = (order.size + width - 1) // width
        encipher(order, _U32(key >> _S32), lines * worker // size, lines * (worker + 1) // size,
                 width)
    elif worker == 0:
        _swap(order, key)


@kernel
def shuffle(order, seed, epoch):
    """Write the permutation of (seed, epoch) into ``order``."""
    shuffle_share(0, 1, order, seed, epoch)
