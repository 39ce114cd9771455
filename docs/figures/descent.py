"""One input, one output, two parameters: the error over both, and the way down."""

import matplotlib.pyplot as plt
import numpy as np

from fastbp import SGD, Dense, L2Loss, Network, Tanh

rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, (40, 1))
T = np.tanh(2.0 * X - 0.5)
net = Network([Dense(1, 1), Tanh()], loss=L2Loss(), dtype="float64")
weight, bias = net.layers[0].weight, net.layers[0].bias
w, b = np.meshgrid(np.linspace(-1, 3, 60), np.linspace(-2, 2, 60))
E = np.empty_like(w)
for at in np.ndindex(w.shape):
    weight[...], bias[...] = w[at], b[at]
    E[at] = net.loss(X, T)

weight[...], bias[...] = -0.5, 1.5
path = [(weight[0, 0], bias[0])]
loss = []
for epoch in range(60):
    history = net.fit(X, T, epochs=1, batch_size=40, optimizer=SGD(1.0), warm_start=epoch > 0)
    loss += history["loss"][-1:]
    path.append((weight[0, 0], bias[0]))

figure, (left, right) = plt.subplots(1, 2)
left.contour(w, b, E, 25, linewidths=0.8)
left.plot(*zip(*path, strict=True), "k.-", markersize=4)
left.set(title="$E$ and the steps", xlabel="$w$", ylabel="bias")
right.semilogy(loss)
right.set(title="$E$ by epoch", xlabel="epoch")
