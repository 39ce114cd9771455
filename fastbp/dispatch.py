"""From the number of an op, loss or optimizer to its kernel. Nothing else.

``op`` is a row of the op table (see ``plan``); x, y, dx, dy are flat row blocks, y the
same memory as x and dx as dy for layers that work in place.
"""

from __future__ import annotations

from ._jit import kernel
from .layers import Dense, ReLU, Sigmoid, Softmax, Tanh
from .layers.activations import (
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from .layers.dense import dense_backward, dense_forward
from .layers.softmax import softmax_backward, softmax_forward
from .losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    L2Loss,
    SigmoidBinaryCrossEntropyLoss,
    SoftmaxCrossEntropyLoss,
)
from .losses.cross_entropy import (
    binary_cross_entropy,
    cross_entropy,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
)
from .losses.squared import l2
from .optimizers import SGD, Adam
from .optimizers.adam import adam_step_sizes, adam_update
from .optimizers.sgd import sgd_update

DENSE, SIGMOID, TANH, RELU, SOFTMAX = (
    c.kind for c in (Dense, Sigmoid, Tanh, ReLU, Softmax))
L2, CROSS_ENTROPY, SOFTMAX_CE, BINARY_CE, SIGMOID_BCE = (
    c.kind for c in (L2Loss, CrossEntropyLoss, SoftmaxCrossEntropyLoss, BinaryCrossEntropyLoss,
                     SigmoidBinaryCrossEntropyLoss))
SGD_KIND, ADAM_KIND = (c.kind for c in (SGD, Adam))


@kernel(inline=True)
def forward(op, params, x, y):
    kind, ldx, ldy = op["kind"], op["ld_in"], op["ld_out"]
    if kind == DENSE:
        dense_forward(x, ldx, op["n_in"], op["n_out"], params[op["param"]:], y, ldy)
    elif kind == SIGMOID:
        sigmoid_forward(y)
    elif kind == TANH:
        tanh_forward(y)
    elif kind == RELU:
        relu_forward(y)
    elif kind == SOFTMAX:
        softmax_forward(x, y, op["n_out"], ldy)


@kernel(inline=True)
def backward(op, mirror, y, dy, dx):
    kind = op["kind"]
    if kind == DENSE:
        dense_backward(dy, op["ld_out"], op["n_in"], op["n_out"], mirror, dx, op["ld_in"])
    elif kind == SIGMOID:
        sigmoid_backward(y, dy)
    elif kind == TANH:
        tanh_backward(y, dy)
    elif kind == RELU:
        relu_backward(y, dy)
    elif kind == SOFTMAX:
        softmax_backward(y, dy, dx, op["n_out"], op["ld_out"])


@kernel(inline=True)
def loss(kind, x, t, weight, n, ld, error, dx):
    if kind == L2:
        l2(x, t, weight, n, ld, error, dx)
    elif kind == CROSS_ENTROPY:
        cross_entropy(x, t, weight, n, ld, error, dx)
    elif kind == SOFTMAX_CE:
        softmax_cross_entropy(x, t, weight, n, ld, error, dx)
    elif kind == BINARY_CE:
        binary_cross_entropy(x, t, weight, n, ld, error, dx)
    elif kind == SIGMOID_BCE:
        sigmoid_binary_cross_entropy(x, t, weight, n, ld, error, dx)


@kernel(inline=True)
def step_sizes(kind, rate, step, hyper):
    """What of a step's size is the same for all parameters."""
    if kind == ADAM_KIND:
        return adam_step_sizes(rate, step, hyper)
    return rate, 0.0


@kernel(inline=True)
def update(kind, p, g, s0, s1, sizes, hyper):
    """Correct the piece ``p`` of the parameters; s0 and s1 are its slots."""
    if kind == SGD_KIND:
        sgd_update(p, g, s0, sizes[0], hyper)
    elif kind == ADAM_KIND:
        adam_update(p, g, s0, s1, sizes[0], sizes[1], hyper)
