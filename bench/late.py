"""Late training steps against early ones, as a network learns: fastbp and PyTorch.

    pip install -e ".[peers]"
    python -m bench.late

A network of 128-256-128-10, ReLU and Adam, learns classes by a random linear map, an epoch of
each library in turn. Units that die leave moments that fade into subnormal numbers, whose
products take a processor many times as long; fastbp flushes them to zero. So does PyTorch with
``torch.set_flush_denormal``: it runs both ways.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from fastbp import History
from fastbp.peers.fastbp import FastbpBackend
from fastbp.peers.workload import Workload

#: Epochs of about 250 steps.
EPOCHS = 48


class Learnable(Workload):
    """A workload whose classes are a function of its inputs."""

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs, and the largest of ten random sums of each."""
        X, _ = super().data()
        teacher = np.random.default_rng(1).standard_normal((self.sizes[0], self.sizes[-1]))
        return X, (X @ teacher.astype(X.dtype)).argmax(axis=1)


WORK = Learnable("late", (128, 256, 128, 10), 256, "relu", "adam")


def fastbp_epoch() -> Callable[[], History]:
    """A function that trains fastbp one more epoch at each call; already compiled."""
    FastbpBackend(WORK).epochs(1)
    own, optimizer = FastbpBackend(WORK), WORK.make_optimizer()
    return lambda: own.network.fit(own.X, own.T, epochs=1, batch_size=WORK.batch,
                                   optimizer=optimizer, warm_start=True)


def torch_epoch(flush: bool) -> Callable[[], object]:
    """The same for PyTorch, on all threads; ``flush`` flushes subnormal numbers to zero."""
    import torch

    from fastbp.peers.torch import TorchBackend

    own = TorchBackend(WORK, torch.get_num_threads())

    def epoch() -> None:
        torch.set_flush_denormal(flush)
        own.epochs(1)
        torch.set_flush_denormal(False)

    return epoch


def microseconds(epoch: Callable[[], object]) -> float:
    """Microseconds a step, over one epoch."""
    began = time.perf_counter()
    epoch()
    return (time.perf_counter() - began) / WORK.batches * 1e6


def main() -> None:
    """Print the first, a middle and the last epoch of each."""
    sides = {"fastbp": fastbp_epoch(), "PyTorch": torch_epoch(False),
             "PyTorch, told to flush": torch_epoch(True)}
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(EPOCHS):
        for name, epoch in sides.items():
            found[name].append(microseconds(epoch))
    print(f"| us a step in epoch | 2 | {EPOCHS // 2} | {EPOCHS} | last / second |\n"
          "|---|---:|---:|---:|---:|")
    for name, times in found.items():
        second, middle, last = times[1], times[EPOCHS // 2 - 1], times[-1]
        print(f"| {name} | {second:.0f} | {middle:.0f} | {last:.0f} | {last / second:.2f} |")


if __name__ == "__main__":
    main()
