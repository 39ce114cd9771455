"""The sum of an array and a multiple of another."""

from __future__ import annotations

from .._jit import CONTRACT, kernel


@kernel(fastmath=CONTRACT)
def add_scaled(y, scale, x):
    """y += scale * x, rounded once, as in the tile."""
    for j in range(y.size):
        y[j] += scale * x[j]
