"""Focal loss: cross-entropy in which rows that are already correct count little.

    FocalLoss          E = -sum_i t_i (1 - p_i)^gamma log p_i             p = softmax(x)
                       dx_i = v_i - p_i sum_k v_k
                       v_i = t_i (1 - p_i)^gamma (gamma p_i log p_i / (1 - p_i) - 1)
    SigmoidFocalLoss   E = sum_i a_i q_i^gamma c_i                        p = sigmoid(x)
                       q_i = t_i (1 - p_i) + (1 - t_i) p_i, how wrong p_i is
                       c_i = -t_i log p_i - (1 - t_i) log(1 - p_i)
                       a_i = t_i alpha + (1 - t_i) (1 - alpha), or 1
                       dx_i = a_i q_i^gamma (p_i - t_i
                                             - gamma c_i (2 t_i - 1) p_i (1 - p_i) / q_i)

per row. 1 - p and log p come from the sum over the other classes, so that a confident row
keeps its digits. Source: T.-Y. Lin et al., Focal loss for dense object detection, ICCV 2017.
"""

from __future__ import annotations

from typing import Any

from .._jit import kernel
from .._validation import check_real, checked
from ..kernels.arrays import row_of
from ..kernels.reduce import entropy_terms, row_max
from ..kernels.vmath import log1p, select, sigmoid, softplus
from ..layers.softmax import exp_rows
from .base import Loss


@kernel
def power(q, gamma):
    """q^gamma; a square, the usual case, without a logarithm."""
    return q * q if gamma == 2 else q**gamma


@kernel
def class_terms(z, powers, i, high, rest, log_total, gamma):
    """(-(1 - p)^gamma log p, v / t, 1 - p) of class i of logits z; ``powers`` are e^(z - high).

    ``rest`` is the sum of powers less the 1 of the highest, ``log_total`` is log1p of it.
    """
    x, e, one, zero = z[i], powers[i], z.dtype.type(1), z.dtype.type(0)
    top = x == high
    gap = select(top, zero, high - x) + log_total  # -log p
    p, q = e / (one + rest), select(top, rest, one + rest - e) / (one + rest)
    focus = power(q, gamma)
    # p log p / (1 - p) has limits: -1 at p = 1, and 0 at p = 0
    slope = select(q == zero, one, select(p == zero, zero, p * gap) / select(q == zero, one, q))
    return focus * gap, -focus * (gamma * slope + one), q


@kernel
def focal(h, x, t, weight, error, dx):
    """One block on logits; ``a`` is gamma. A class with t = 0 counts 0."""
    n, ld = h["n"], h["ld"]
    gamma, zero, one = x.dtype.type(h["a"]), x.dtype.type(0), x.dtype.type(1)
    exp_rows(x, dx, n, ld)
    for r in range(weight.size):
        w, total, pull = weight[r], zero, zero
        z, b, out = row_of(x, r, ld), row_of(t, r, ld), row_of(dx, r, ld)
        high = row_max(z, n)
        rest, tops, _, _ = entropy_terms(z, out, b, n, high)
        rest += tops - one
        log_total = log1p(rest)
        for i in range(n):
            if b[i] != zero:
                cost, v, _ = class_terms(z, out, i, high, rest, log_total, gamma)
                total += b[i] * cost
                pull += b[i] * v
        for i in range(n):
            p = out[i] / (one + rest)
            g = -pull * p
            if b[i] != zero:  # v - p sum v, with its own term of the sum as v (1 - p)
                _, v, q = class_terms(z, out, i, high, rest, log_total, gamma)
                g = b[i] * v * q - p * (pull - b[i] * v)
            out[i] = w * g
        for i in range(n, ld):
            out[i] = zero
        error[r] = w * (total + (rest - rest))  # NaN in a class with t = 0 passes too


@kernel
def sigmoid_focal(h, x, t, weight, error, dx):
    """One block on logits; ``a`` is gamma, ``b`` alpha or -1 for none."""
    n, ld = h["n"], h["ld"]
    gamma, zero, one = x.dtype.type(h["a"]), x.dtype.type(0), x.dtype.type(1)
    balanced = h["b"] < 0
    yes = one if balanced else x.dtype.type(h["b"])
    no = one if balanced else one - yes
    for r in range(weight.size):
        w, total = weight[r], zero
        for i in range(r * ld, r * ld + n):
            z, b = x[i], t[i]
            p, other = sigmoid(z), sigmoid(-z)
            q = b * other + (one - b) * p
            cost = select(b == zero, zero, b * softplus(-z))
            cost += select(b == one, zero, (one - b) * softplus(z))
            scale = (b * yes + (one - b) * no) * power(q, gamma)
            # p (1 - p) / q; if entirely wrong it is 0, which prevails over an infinite cost
            slope = select(q == zero, one, p * other / select(q == zero, one, q))
            slope = select(slope == zero, zero, slope * cost)
            total += scale * cost
            gap = (one - b) * p - b * other  # p - b, with all digits near b
            dx[i] = w * (scale * (gap - gamma * (b + b - one) * slope))
        for i in range(r * ld + n, r * ld + ld):
            dx[i] = zero
        error[r] = w * total


class FocalLoss(Loss):
    """E = -sum_i t_i (1 - p_i)^gamma log p_i per row, p = softmax(X) for logits X.

    Targets are class indices (b,) or rows of probabilities (b, n). With gamma 0 it is
    ``SoftmaxCrossEntropyLoss``.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows of a batch.
    gamma : float
        At least 0; the larger, the less do rows count that are already correct.

    Raises
    ------
    TypeError, ValueError
        For another reduction, or a gamma that is no number of at least 0.
    """

    labels = True
    probabilities = "softmax"
    _config_defaults = {**Loss._config_defaults, "gamma": 2.0}
    kernel = focal

    gamma: float = checked(check_real)

    def __init__(self, reduction: str = "mean", *, gamma: float = 2.0) -> None:
        super().__init__(reduction)
        self.gamma = gamma

    def constants(self) -> tuple[float, float]:
        """Gamma."""
        return self.gamma, 0.0


def _check_alpha(value: Any, name: str) -> float | None:
    return None if value is None else check_real(value, name, 0.0, 1.0, open_high=False)


class SigmoidFocalLoss(Loss):
    """Focal loss of outputs that are each a yes or no, on logits; sum over outputs.

    Targets are (b, n), or (b,) where n is 1, in [0, 1]. With gamma 0 and no alpha it is
    ``SigmoidBinaryCrossEntropyLoss``.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows of a batch.
    gamma : float
        At least 0; the larger, the less do outputs count that are already correct.
    alpha : float or None
        Weight in [0, 1] of a yes, against 1 - alpha of a no; None weighs neither.

    Raises
    ------
    TypeError, ValueError
        For another reduction, or gamma or alpha out of range.
    """

    fractions = True
    probabilities = "sigmoid"
    _config_defaults = {**Loss._config_defaults, "gamma": 2.0, "alpha": None}
    kernel = sigmoid_focal

    gamma: float = checked(check_real)
    alpha: float | None = checked(_check_alpha)

    def __init__(self, reduction: str = "mean", *, gamma: float = 2.0,
                 alpha: float | None = None) -> None:
        super().__init__(reduction)
        self.gamma = gamma
        self.alpha = alpha

    def constants(self) -> tuple[float, float]:
        """Gamma, and alpha or -1."""
        return self.gamma, -1.0 if self.alpha is None else self.alpha
