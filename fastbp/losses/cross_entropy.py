"""Cross-entropy, on probabilities and fused with the layer that makes them.

    CrossEntropyLoss                   E = -sum_i t_i log x_i            dx = -t / x
    SoftmaxCrossEntropyLoss            E = sum_i t_i (lse(x) - x_i)      dx = y sum(t) - t
    BinaryCrossEntropyLoss             E = -sum_i (t_i log x_i + (1 - t_i) log(1 - x_i))
                                                        dx = (x - t) / (x (1 - x))
    SigmoidBinaryCrossEntropyLoss      the same of x = sigmoid(z)        dz = sigmoid(z) - t

per row, with y = softmax(x). lse(x) = max + log1p(sum of e^(x_k - max) over the other k):
for a confident row a plain log of the sum would lose every digit. ``label_smoothing`` first
smooths the targets, see ``smoothing``. Source: seed text, section "Loss layer for discrete
values".
"""

from __future__ import annotations

import math

import numpy as np

from .._jit import kernel
from ..kernels.arrays import lanes_of, row_of, stack_array
from ..kernels.passes import down_columns, if_equal, rounded_product
from ..kernels.reduce import entropy_terms, row_max
from ..kernels.vmath import exp, log1p, select, sigmoid, softplus
from ..layers.activations import Sigmoid
from ..layers.base import Layer
from ..layers.softmax import Softmax, exp_rows
from .base import Loss
from .columns import COLUMN, LANES, from_columns, to_columns
from .smoothing import YES_OR_NO, Smoothed, smooth_targets


@kernel
def cross_entropy(h, x, t, weight, error, dx):
    """One block; a term with t = 0 counts 0 even at x = 0, and stays NaN at NaN."""
    n, ld = h["n"], h["ld"]
    smooth_targets(h, t, n)
    for r in range(weight.size):
        w, total = weight[r], x.dtype.type(0)
        for i in range(r * ld, r * ld + n):
            if t[i] == 0:
                total += x[i] - x[i]
                dx[i] = x[i] - x[i]
            else:
                total -= t[i] * x.dtype.type(math.log(x[i]))
                dx[i] = -w * t[i] / x[i]
        for i in range(r * ld + n, r * ld + ld):
            dx[i] = 0
        error[r] = w * total


#: Up to this many classes each lane of a vector holds a row: otherwise sums across lanes and one
#: logarithm a row cost more than three transposes, which need rows of whole vectors.
_FEW = np.int64(32)
#: Bytes for the logits of ``LANES`` rows, and for 6 numbers of each row.
_TABLE, _VECTORS = 32 * LANES * 8, 6 * COLUMN


def _below(z, t, high, zero):
    gap = if_equal(z, high, zero, high - z)  # 0 for equal infinities, too
    return (gap,), (t, if_equal(t, zero, zero, t * gap))


def _powers(p, zero, one):
    return (), (if_equal(p, one, one, zero), if_equal(p, one, zero, p))


#: Passes over the classes, with rows as lanes: the highest logit; the gap of each below it, with
#: the sums of t and of t * gap; how many powers e^-gap are 1, and the sum of the others; and the
#: gradient, rounded as in the computation row by row.
highest = down_columns(lambda z: ((), (z,)), 1, highest=True)
below = down_columns(_below, 2)
powers = down_columns(_powers, 2)
slopes = down_columns(lambda p, t, scale, w: ((rounded_product(p, scale) - w * t,), ()))


@kernel
def across(x, t, n, ld, weight, error, dx):
    """As ``softmax_cross_entropy``, for a few classes."""
    table, targets, own = (stack_array(x, _TABLE), stack_array(x, _TABLE),
                           stack_array(x, _VECTORS))
    zero, one = x.dtype.type(0), x.dtype.type(1)
    high, tops, rest = row_of(own, 0, LANES), row_of(own, 1, LANES), row_of(own, 2, LANES)
    mass, gaps, w = row_of(own, 3, LANES), row_of(own, 4, LANES), row_of(own, 5, LANES)
    for lo in range(0, weight.size, LANES):
        count, m = to_columns(x, t, weight, lo, n, ld, table, targets, w, gaps)
        for r in range(m):
            high[r] = -np.inf
            tops[r] = rest[r] = mass[r] = zero
        highest(n, m, m, (table,), (), (), (), (), (high,))
        below(n, m, m, (table, targets), (high,), (zero,), (), (table,), (mass, gaps))
        for i in range(n * m):
            table[i] = exp(-table[i])
        powers(n, m, m, (table,), (), (zero, one), (), (), (tops, rest))
        for r in range(m):
            others = rest[r] + (tops[r] - one)
            gaps[r] = w[r] * (gaps[r] + mass[r] * log1p(others))
            mass[r] = w[r] * mass[r] / (one + others)
        slopes(n, m, m, (table, targets), (mass, w), (), (), (table,), ())
        from_columns(table, gaps, lo, n, count, m, ld, error, dx)


@kernel
def softmax_cross_entropy(h, x, t, weight, error, dx):
    """One block on logits."""
    n, ld = h["n"], h["ld"]
    zero, one = x.dtype.type(0), x.dtype.type(1)
    smooth_targets(h, t, n)
    if n <= _FEW and ld % lanes_of(x) == 0:
        across(x, t, n, ld, weight, error, dx)
        return
    exp_rows(x, dx, n, ld)
    for r in range(weight.size):
        z, p = row_of(x, r, ld), row_of(dx, r, ld)
        target, w = row_of(t, r, ld), weight[r]
        # e^0 = 1 of the largest is left out of the rest, exactly
        rest, tops, mass, gaps = entropy_terms(z, p, target, n, row_max(z, n))
        rest += tops - one
        error[r] = w * (gaps + mass * log1p(rest))
        scale = w * mass / (one + rest)
        for i in range(ld):
            p[i] = select(i < n, p[i] * scale - w * target[i], zero)


@kernel
def binary_cross_entropy(h, x, t, weight, error, dx):
    """One block on probabilities; terms with weight 0 count 0."""
    n, ld = h["n"], h["ld"]
    one = x.dtype.type(1)
    smooth_targets(h, t, YES_OR_NO)
    for r in range(weight.size):
        w, total = weight[r], x.dtype.type(0)
        for i in range(r * ld, r * ld + n):
            p, g = x[i], x[i] - x[i]
            total += g
            if t[i] != 0:
                total -= t[i] * x.dtype.type(math.log(p))
                g -= t[i] / p
            if t[i] != 1:
                total -= (one - t[i]) * x.dtype.type(math.log1p(-p))
                g += (one - t[i]) / (one - p)
            dx[i] = w * g
        for i in range(r * ld + n, r * ld + ld):
            dx[i] = 0
        error[r] = w * total


@kernel(forceinline=True)
def binary_error(z, t, zero, one):
    """Error of one logit: t softplus(-z) + (1 - t) softplus(z)."""
    up = select(t == zero, zero, t * softplus(-z))
    return up + select(t == one, zero, (one - t) * softplus(z))


@kernel
def binary_across(x, t, n, ld, weight, error, dx):
    """As ``sigmoid_binary_cross_entropy``, for a few outputs."""
    table, targets = stack_array(x, _TABLE), stack_array(x, _TABLE)
    total, w = stack_array(x, COLUMN), stack_array(x, COLUMN)
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for lo in range(0, weight.size, LANES):
        count, m = to_columns(x, t, weight, lo, n, ld, table, targets, w, total)
        for k in range(n):
            z, target = row_of(table, k, m), row_of(targets, k, m)
            for r in range(m):
                total[r] += binary_error(z[r], target[r], zero, one)
                z[r] = w[r] * (sigmoid(z[r]) - target[r])
        for r in range(m):
            total[r] *= w[r]
        from_columns(table, total, lo, n, count, m, ld, error, dx)


@kernel
def sigmoid_binary_cross_entropy(h, x, t, weight, error, dx):
    """One block on logits."""
    n, ld, zero, one = h["n"], h["ld"], x.dtype.type(0), x.dtype.type(1)
    smooth_targets(h, t, YES_OR_NO)
    if n <= _FEW and ld % lanes_of(x) == 0:
        binary_across(x, t, n, ld, weight, error, dx)
        return
    for r in range(weight.size):
        w, total = weight[r], zero
        for i in range(r * ld, r * ld + n):
            total += binary_error(x[i], t[i], zero, one)
            dx[i] = w * (sigmoid(x[i]) - t[i])
        for i in range(r * ld + n, r * ld + ld):
            dx[i] = zero
        error[r] = w * total


class SoftmaxCrossEntropyLoss(Smoothed):
    """Cross-entropy of softmax(X) for logits X, as one numerically safe operation.

    Targets are class indices (b,) or rows of probabilities (b, n). With sum(t) = 1 per
    row, dX = (softmax(X) - T) / b.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows of a batch.
    label_smoothing : float
        Share s in [0, 1) of the target, spread evenly over all n classes: (1 - s) t + s / n.

    Raises
    ------
    TypeError, ValueError
        For another reduction, or a label_smoothing that is no number in [0, 1).
    """

    labels = True
    probabilities = "softmax"
    kernel = softmax_cross_entropy


class CrossEntropyLoss(Smoothed):
    """E = -sum_i t_i log x_i per row on probabilities X, mean over rows; dX = -T / X / b.

    Targets are class indices (b,) or rows of probabilities (b, n). After ``Softmax`` a
    network fuses the two.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows of a batch.
    label_smoothing : float
        Share s in [0, 1) of the target, spread evenly over all n classes: (1 - s) t + s / n.

    Raises
    ------
    TypeError, ValueError
        For another reduction, or a label_smoothing that is no number in [0, 1).
    """

    labels = True
    probabilities = "identity"
    kernel = cross_entropy

    def fuse(self, layer: Layer) -> Loss | None:
        """``SoftmaxCrossEntropyLoss`` if the layer is ``Softmax``."""
        if type(layer) is not Softmax:
            return None
        return self._as(SoftmaxCrossEntropyLoss())


class SigmoidBinaryCrossEntropyLoss(Smoothed):
    """Binary cross-entropy of sigmoid(Z) for logits Z, as one numerically safe operation.

    dZ = (sigmoid(Z) - T) / b.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows of a batch.
    label_smoothing : float
        Share s in [0, 1) of the target, spread evenly over yes and no: (1 - s) t + s / 2.

    Raises
    ------
    TypeError, ValueError
        For another reduction, or a label_smoothing that is no number in [0, 1).
    """

    fractions = True
    probabilities = "sigmoid"
    kernel = sigmoid_binary_cross_entropy


class BinaryCrossEntropyLoss(Smoothed):
    """E = -sum_i (t_i log x_i + (1 - t_i) log(1 - x_i)) per row on probabilities X.

    Targets are (b, n), or (b,) where n is 1. After ``Sigmoid`` a network fuses the two.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows of a batch.
    label_smoothing : float
        Share s in [0, 1) of the target, spread evenly over yes and no: (1 - s) t + s / 2.

    Raises
    ------
    TypeError, ValueError
        For another reduction, or a label_smoothing that is no number in [0, 1).
    """

    fractions = True
    probabilities = "identity"
    kernel = binary_cross_entropy

    def fuse(self, layer: Layer) -> Loss | None:
        """``SigmoidBinaryCrossEntropyLoss`` if the layer is ``Sigmoid``."""
        if type(layer) is not Sigmoid:
            return None
        return self._as(SigmoidBinaryCrossEntropyLoss())
