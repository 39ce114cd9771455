"""Softmax of (x, 0, 1), and its Jacobian at one row, one backward for each output."""

import matplotlib.pyplot as plt
import numpy as np

from fastbp import Softmax

x = np.linspace(-4, 6, 201)
layer = Softmax()
figure, (left, right) = plt.subplots(1, 2)
left.plot(x, layer.forward(np.stack([x, 0 * x, 0 * x + 1], 1)), label=["$y_1$", "$y_2$", "$y_3$"])
left.set(title="Softmax of $(x, 0, 1)$", xlabel="$x$")
left.legend()

row = np.array([[2.0, 0.0, 1.0]])
layer.forward(np.repeat(row, 3, 0))
J = layer.backward(np.eye(3))
right.grid(False)
image = right.imshow(J, cmap="coolwarm", vmin=-0.25, vmax=0.25)
for (i, j), value in np.ndenumerate(J):
    right.text(j, i, f"{value:.3f}", ha="center", va="center")
right.set(title="$J$ at $(2, 0, 1)$", xticks=range(3), yticks=range(3))
figure.colorbar(image, shrink=0.8)
