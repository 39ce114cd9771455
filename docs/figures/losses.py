"""Error and gradient of one row, as forward and backward of the losses give them."""

import matplotlib.pyplot as plt
import numpy as np

from fastbp import CrossEntropyLoss, L2Loss


def curves(loss, rows, target):
    """E and dE/dx_1 for each row alone."""
    pairs = [(loss.forward(row[None], target), loss.backward()[0, 0]) for row in rows]
    return np.array(pairs).T


x = np.linspace(-2, 4, 121)
p = np.linspace(0.02, 0.98, 121)
figure, (left, right) = plt.subplots(1, 2)
for ax, axis, pairs in (
        (left, x, curves(L2Loss(), x[:, None], [[1.0]])),
        (right, p, curves(CrossEntropyLoss(), np.stack([p, 1 - p], 1), [[1.0, 0.0]]))):
    ax.plot(axis, pairs[0], label="$E$")
    ax.plot(axis, pairs[1], "--", label=r"$\delta x$")
    ax.legend()
left.set(title="L2Loss, $t = 1$", xlabel="$x$")
right.set(title="CrossEntropyLoss, $t = (1, 0)$", xlabel="$x_1$", ylim=(-10, 5))
