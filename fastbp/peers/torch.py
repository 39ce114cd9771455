"""PyTorch, eager and compiled: no DataLoader, fused optimizer, gather by an index tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .workload import Workload

_ACTIVATION = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid}


class TorchBackend:
    """nn.Sequential and an optimizer of torch.optim."""

    compile, precision = False, "highest"

    def __init__(self, work: Workload, n_threads: int) -> None:
        torch.set_num_threads(n_threads)
        dtype = getattr(torch, work.dtype)
        self.work, self.steps = work, work.batches
        self.X, self.T = (torch.from_numpy(a) for a in work.data())
        layers: list[torch.nn.Module] = []
        for m, n in zip(work.sizes, work.sizes[1:], strict=False):
            layers += [torch.nn.Linear(m, n, dtype=dtype), _ACTIVATION[work.hidden]()]
        self.net = torch.nn.Sequential(*layers[:-1])
        self.linear = [x for x in self.net if isinstance(x, torch.nn.Linear)]
        start = work.initial_weights()
        with torch.no_grad():
            for x, W, b in zip(self.linear, start[::2], start[1::2], strict=True):
                x.weight.copy_(torch.from_numpy(W.T.copy()))
                x.bias.copy_(torch.from_numpy(b))
        make: Any = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[work.optimizer]
        self.optimizer = make(self.net.parameters(), lr=work.learning_rate, fused=True)
        self.error = self._error
        if self.compile:
            # Compiling again for another workload would give code for dynamic shapes, and after
            # eight times none: start afresh for each workload and its shapes.
            torch.compiler.reset()
            self.error = torch.compile(self._error, dynamic=False)

    def _error(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        y = self.net(x)
        if self.work.loss == "l2":
            return 0.5 * ((y - t) ** 2).sum(dim=1).mean()
        return torch.nn.functional.cross_entropy(y, t)

    def epochs(self, n: int, shuffle: bool = True) -> None:
        """Train ``n`` epochs."""
        rows, b = len(self.X), self.work.batch
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(self.precision)  # of the whole process
        for _ in range(n):
            order = torch.randperm(rows) if shuffle else torch.arange(rows)
            for i in range(0, rows, b):
                part = order[i:i + b]
                self.step(self.X[part], self.T[part])
        torch.set_float32_matmul_precision(before)

    def step(self, x: torch.Tensor, t: torch.Tensor) -> None:
        """Forward, loss, backward, update."""
        self.optimizer.zero_grad(set_to_none=True)
        self.error(x, t).backward()
        self.optimizer.step()

    def weights(self) -> list[np.ndarray]:
        """Copies of W as (m, n) and bias of each layer."""
        return [a.detach().numpy().copy() for x in self.linear for a in (x.weight.T, x.bias)]


class MediumTorchBackend(TorchBackend):
    """With products of numbers rounded to bfloat16."""

    precision = "medium"


class TorchCalls(TorchBackend):
    """A step for each batch, a NumPy array without shuffling."""

    def epochs(self, n: int, shuffle: bool = True) -> None:
        """Train; batches are consecutive rows of the data."""
        X, T, b = self.X.numpy(), self.T.numpy(), self.work.batch
        for _ in range(n):
            for i in range(0, len(X), b):
                self.step(torch.from_numpy(X[i:i + b]), torch.from_numpy(T[i:i + b]))


class CompiledTorchBackend(TorchBackend):
    """Forward, loss and backward through torch.compile."""

    compile = True


class MediumCompiledTorchBackend(CompiledTorchBackend):
    """The same with products of numbers rounded to bfloat16."""

    precision = "medium"
