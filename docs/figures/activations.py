"""The element-wise layers and their derivatives, as forward and backward give them."""

import matplotlib.pyplot as plt
import numpy as np

from fastbp import ReLU, Sigmoid, Tanh

X = np.linspace(-4, 4, 401)[:, None]
figure, axes = plt.subplots(1, 3)
for ax, layer in zip(axes, (Sigmoid(), Tanh(), ReLU()), strict=True):
    ax.plot(X, layer.forward(X), label="$y$")
    ax.plot(X, layer.backward(np.ones_like(X)), "--", label="$dy/dx$")
    ax.set_title(type(layer).__name__)
    ax.set_xlabel("$x$")
axes[0].legend()
