"""Matrix products at the grid's shapes, one thread: fastbp's register tile, and matrix tiles (AMX)
where the processor has them, against BLAS; rows of X read in place against rows gathered first."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from fastbp.kernels.by_squares import square_product
from fastbp.kernels.matmul import matmul
from fastbp.kernels.pick import multiply_rows, multiply_terms
from fastbp.kernels.squares import has_squares
from fastbp.kernels.tile import ADD, WRITE
from fastbp.kernels.vectors import VECTOR_BYTES, row_length
from fastbp.peak import peak_flops
from fastbp.sharing import PICK_BYTES, PICK_COLUMNS

from .grid import GRID
from .timing import seconds_per_step

#: (batch, inputs, outputs) of the largest layer of each workload.
SHAPES = {name: max(((w.batch, m, n) for m, n in zip(w.sizes, w.sizes[1:], strict=False)),
                    key=lambda shape: shape[1] * shape[2]) for name, w in GRID.items()}
PRODUCTS = ("forward", "input_gradient", "weight_gradient")


class Products:
    params = (list(SHAPES), PRODUCTS, ["numpy", "fastbp", "matrix tiles"])
    param_names = ("row", "product", "backend")

    def setup(self, row: str, product: str, backend: str) -> None:
        if backend == "matrix tiles" and not has_squares():
            raise NotImplementedError("this processor has none")
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
            flat = np.zeros(A.size + VECTOR_BYTES // 4, np.float32)  # tiles read whole vectors
            flat[:A.size] = (A.T if strides[0] == 1 else A).ravel()
            self.operands = flat, wide, C
            if backend == "fastbp":
                self.multiply = lambda: matmul(rows, cols, inner, flat, *strides, wide.ravel(),
                                               ld, C, ld, C, ld, WRITE, np.float32(0))
            else:
                at = [one.ctypes.data for one in self.operands]
                self.multiply = lambda: square_product(rows, cols, inner, at[0], *strides, at[1],
                                                       ld, at[2], ld, at[2], ld, WRITE,
                                                       np.float32(0))
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


class Picked:
    """The first layer's part of a step, with rows of X read in place, or gathered first.

    Forward and weight gradient of a shuffled batch, for the most columns that a thread computes
    in place.
    """

    params = ([name for name, w in GRID.items()
               if 4 * w.sizes[0] >= PICK_BYTES and w.sizes[0] % 1024], ("gathered", "in place"))
    param_names = ("row", "rows")

    def setup(self, row: str, rows: str) -> None:
        b, m, n = GRID[row].batch, GRID[row].sizes[0], min(GRID[row].sizes[1], PICK_COLUMNS // 4)
        rng, ld, zero = np.random.default_rng(0), row_length(n, np.float32), np.float32(0)
        X, batch = rng.normal(size=(32 * b, m)).astype(np.float32), np.empty((b, m), np.float32)
        self.order, self.turn = rng.permutation(len(X)).reshape(32, b), 0
        weight, grad = (rng.normal(size=m * ld).astype(np.float32) for _ in range(2))
        y, dy = (rng.normal(size=b * ld).astype(np.float32) for _ in range(2))
        bias, flat, own = np.zeros(ld, np.float32), X.ravel(), batch.ravel()

        def gathered(lines: np.ndarray) -> None:
            np.take(X, lines, axis=0, out=batch, mode="clip")  # other modes take a buffer
            matmul(b, n, m, own, m, 1, weight, ld, y, ld, bias, 0, ADD, zero)
            matmul(m, n, b, own, 1, m, dy, ld, grad, ld, grad, ld, WRITE, zero)

        def in_place(lines: np.ndarray) -> None:
            multiply_rows(lines, m, n, m, flat, weight, ld, y, ld, bias, 0, ADD)
            multiply_terms(m, n, lines, 0, m, flat, 0, dy, ld, grad, ld, WRITE, zero)

        self.products = in_place if rows == "in place" else gathered
        self.time_products()

    def time_products(self, *_: str) -> None:
        self.turn = (self.turn + 1) % len(self.order)
        self.products(self.order[self.turn])
