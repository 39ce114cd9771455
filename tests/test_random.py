"""Random numbers by key: shuffles by swaps and by a cipher."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastbp
from fastbp.kernels.random import SWAPPED, encipher, mix, shuffle, shuffle_share


def enciphered(n: int, epoch: int) -> np.ndarray:
    """A permutation of n numbers by the cipher alone."""
    order, width = np.empty(n, np.int64), math.ceil(math.sqrt(n))
    key = np.uint32(int(mix(np.uint64(epoch))) >> 32)
    encipher(order, key, 0, -(-n // width), width)
    return order


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000, SWAPPED, SWAPPED + 1, 400_003])
def test_a_shuffle_is_a_permutation(n: int) -> None:
    order = np.full(n, -1)
    shuffle(order, 3, 0)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


@pytest.mark.parametrize("n", [10, SWAPPED + 1])
def test_seeds_and_epochs_have_orders_of_their_own(n: int) -> None:
    found = set()
    for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1), (2**63 - 1, 7)):
        order = np.empty(n, np.int64)
        shuffle(order, seed, epoch)
        found.add(order.tobytes())
    assert len(found) == 5


def test_swaps_make_each_order_as_often() -> None:
    """Each of 24 orders of 4 rows: chi-squared, 23 degrees of freedom."""
    order, counts = np.empty(4, np.int64), {}
    for epoch in range(4800):
        shuffle(order, 1, epoch)
        key = tuple(order.tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 24
    assert sum((c - 200) ** 2 / 200 for c in counts.values()) < 60  # p < 1e-4 beyond


def test_the_cipher_is_a_permutation_of_any_size() -> None:
    for n in range(1, 400):
        np.testing.assert_array_equal(np.sort(enciphered(n, n)), np.arange(n))


def test_the_cipher_puts_each_row_anywhere() -> None:
    """Where rows land, and how far from the rows beside and below them (in the table of digits):
    three chi-squared sums over 2,000 epochs of 1,024 rows, each within 5 sigma."""
    n, epochs = 1024, 2000
    places, beside, below = np.zeros((n, 64)), np.zeros(n), np.zeros(n)
    for epoch in range(epochs):
        order = enciphered(n, epoch)
        places[np.arange(n), order // 16] += 1
        beside += np.bincount((order[1:] - order[:-1]) % n, minlength=n)
        below += np.bincount((order[32:] - order[:-32]) % n, minlength=n)
    for counts, free in ((places, n * 63), (beside[1:], n - 2), (below[1:], n - 2)):
        expected = counts.mean()
        chi = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi - free) < 5 * math.sqrt(2 * free)


@pytest.mark.parametrize("n", [100, SWAPPED + 1])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 500])
def test_threads_write_one_permutation(n: int, size: int) -> None:
    whole, shared = np.empty(n, np.int64), np.full(n, -1)
    shuffle(whole, 5, 6)
    for worker in reversed(range(size)):
        shuffle_share(worker, size, shared, 5, 6)
    np.testing.assert_array_equal(whole, shared)


def test_many_rows_give_the_same_bits_on_any_team() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((SWAPPED + 77, 4), dtype=np.float32)
    T = rng.integers(0, 3, len(X))

    def fitted(threads: int) -> bytes:
        net = fastbp.Network([fastbp.Dense(4, 32), fastbp.Tanh(), fastbp.Dense(32, 3)],
                             "SoftmaxCrossEntropyLoss", seed=1)
        net.fit(X, T, epochs=2, batch_size=20_000, n_threads=threads)
        return net.params.tobytes()

    assert fitted(1) == fitted(2) == fitted(4)
