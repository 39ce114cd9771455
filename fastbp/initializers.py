"""Initial weights. Their variance keeps that of activations (He), or of both activations
and gradients (Glorot), the same from layer to layer.

    glorot_uniform  U(-a, a), a = sqrt(6 / (n_in + n_out))     Glorot & Bengio 2010, eq. 16
    glorot_normal   N(0, 2 / (n_in + n_out))
    he_uniform      U(-a, a), a = sqrt(6 / n_in)               He et al. 2015, eq. 10
    he_normal       N(0, 2 / n_in)
    zeros           0
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._validation import Array, check_choice

Initializer = Callable[[np.random.Generator, int, int], Array]


def glorot_uniform(rng: np.random.Generator, n_in: int, n_out: int) -> Array:
    """(n_out, n_in) samples of U(-a, a), a = sqrt(6 / (n_in + n_out))."""
    bound = np.sqrt(6.0 / (n_in + n_out))
    return rng.uniform(-bound, bound, (n_out, n_in))


def glorot_normal(rng: np.random.Generator, n_in: int, n_out: int) -> Array:
    """(n_out, n_in) samples of N(0, 2 / (n_in + n_out))."""
    return rng.normal(0.0, np.sqrt(2.0 / (n_in + n_out)), (n_out, n_in))


def he_uniform(rng: np.random.Generator, n_in: int, n_out: int) -> Array:
    """(n_out, n_in) samples of U(-a, a), a = sqrt(6 / n_in)."""
    bound = np.sqrt(6.0 / n_in)
    return rng.uniform(-bound, bound, (n_out, n_in))


def he_normal(rng: np.random.Generator, n_in: int, n_out: int) -> Array:
    """(n_out, n_in) samples of N(0, 2 / n_in)."""
    return rng.normal(0.0, np.sqrt(2.0 / n_in), (n_out, n_in))


def zeros(rng: np.random.Generator, n_in: int, n_out: int) -> Array:
    """(n_out, n_in) zeros; the generator is not used."""
    return np.zeros((n_out, n_in))


INITIALIZERS: dict[str, Initializer] = {
    f.__name__: f for f in (glorot_uniform, glorot_normal, he_uniform, he_normal, zeros)
}


def get(initializer: str | Initializer, name: str) -> Initializer:
    """The initializer of this name; a function (rng, n_in, n_out) -> (n_out, n_in) as it is."""
    if callable(initializer):
        return initializer
    return INITIALIZERS[check_choice(initializer, name, INITIALIZERS)]
