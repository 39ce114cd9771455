"""The three matrix products at the grid's shapes, one thread, fastbp's tile against BLAS."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from fastbp.kernels.matmul import matmul
from fastbp.kernels.tile import WRITE, row_length
from fastbp.peak import peak_flops

from .grid import GRID
from .timing import seconds_per_step

#: (batch, inputs, outputs) of the largest layer of each workload.
SHAPES = {name: max(((w.batch, m, n) for m, n in zip(w.sizes, w.sizes[1:], strict=False)),
                    key=lambda shape: shape[1] * shape[2]) for name, w in GRID.items()}
PRODUCTS = ("forward", "input_gradient", "weight_gradient")


class Products:
    params = (list(SHAPES), PRODUCTS, ["numpy", "fastbp"])
    param_names = ("row", "product", "backend")

    def setup(self, row: str, product: str, backend: str) -> None:
        b, m, n = SHAPES[row]
        rows, cols, inner = {"forward": (b, n, m), "input_gradient": (b, m, n),
                             "weight_gradient": (m, n, b)}[product]
        rng = np.random.default_rng(0)
        A = rng.normal(size=(rows, inner)).astype(np.float32)
        B = rng.normal(size=(inner, cols)).astype(np.float32)
        if backend == "numpy":
            C = np.empty((rows, cols), np.float32)
            limits = threadpool_limits(1, "blas")
            self.teardown = lambda *_: limits.restore_original_limits()
            left = np.ascontiguousarray(A.T).T if product == "weight_gradient" else A
            self.multiply = lambda: np.matmul(left, B, out=C)
        else:
            ld = row_length(cols, np.float32)
            wide, C = np.zeros((inner, ld), np.float32), np.empty(rows * ld, np.float32)
            wide[:, :cols] = B
            strides = (1, rows) if product == "weight_gradient" else (inner, 1)
            flat = np.ascontiguousarray(A.T if strides[0] == 1 else A).ravel()
            self.multiply = lambda: matmul(rows, cols, inner, flat, *strides, wide.ravel(), ld,
                                           C, ld, C, ld, WRITE, np.float32(0))
        self.flops = 2 * b * m * n
        self.multiply()

    def time_product(self, row: str, product: str, backend: str) -> None:
        self.multiply()


class Share:
    """Share of one core's multiply-add peak."""

    params = Products.params[:2]
    param_names = Products.param_names[:2]

    def track_share_of_peak(self, row: str, product: str) -> float:
        work = Products()
        work.setup(row, product, "fastbp")

        def many(n: int) -> None:
            for _ in range(n):
                work.multiply()

        return work.flops / seconds_per_step(many, 1, 0.1) / peak_flops(n_threads=1)
