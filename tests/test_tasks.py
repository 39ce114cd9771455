"""Shares of the parameters: each belongs to one task, high ones are of whole register tiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp.kernels.split import SQUARE
from fastbp.kernels.tile import TILE_ROWS
from fastbp.kernels.vectors import pad
from fastbp.layers.base import SQUARE_TASK_ROW
from fastbp.table import ON_TILES, OP
from fastbp.tasks import share_parameters


def ops_of(*shapes: tuple[int, int, int], mirror: int = 0) -> np.ndarray:
    """Ops of ``n_rows`` x ``n_out`` parameters, in panels of ``width`` columns where not 0."""
    ops = np.zeros(len(shapes), OP)
    for op, (rows, columns, width) in zip(ops, shapes, strict=True):
        op["n_rows"], op["n_out"], op["width"], op["mirror"] = rows, columns, width, mirror
    return ops


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(shapes=st.lists(st.tuples(st.integers(1, 900), st.integers(1, 1100)), min_size=1,
                       max_size=3), threads=st.integers(1, 4), panels=st.booleans(),
       mirror=st.sampled_from([0, ON_TILES]))
def test_each_parameter_belongs_to_one_task(
        dtype: str, shapes: list[tuple[int, int]], threads: int, panels: bool,
        mirror: int) -> None:
    kind = np.dtype(dtype)
    ops = ops_of(*((m, n, pad(-(-n // threads), kind) if panels else 0) for m, n in shapes),
                 mirror=mirror)
    tasks = share_parameters(ops, range(len(ops)), kind, threads)
    for k, (m, n) in enumerate(shapes):
        owners = np.zeros((m, n), int)
        for task in tasks[tasks["op"] == k]:
            assert task["last"] <= m and task["right"] <= n
            owners[task["first"]:task["last"], task["left"]:task["right"]] += 1
        assert (owners == 1).all()
    lanes = pad(1, kind)
    assert not (tasks["first"] % lanes).any() and not (tasks["left"] % lanes).any()


@pytest.mark.parametrize("m, n, threads", [
    (785, 512, 1), (785, 512, 4), (2049, 2048, 2), (1025, 1024, 4), (257, 256, 2)])
def test_high_tiles_are_of_whole_register_tiles(m: int, n: int, threads: int) -> None:
    tasks = share_parameters(ops_of((m, n, 0)), [0], np.dtype("float32"), threads)
    heights = (tasks["last"] - tasks["first"])[tasks["last"] < m]
    assert heights.size and (heights % TILE_ROWS[-1] == 0).all()


def test_few_rows_left_over_have_no_tile_of_their_own() -> None:
    tasks = share_parameters(ops_of((2049, 2048, 0)), [0], np.dtype("float32"), 1)
    heights = tasks["last"] - tasks["first"]
    assert heights.min() > heights.max() // 4


@pytest.mark.parametrize("m, n, threads", [
    (785, 512, 1), (1025, 1024, 2), (2049, 2048, 2), (2049, 1040, 1), (501, 250, 2)])
def test_on_matrix_tiles_they_are_wide_and_of_whole_ones(m: int, n: int, threads: int) -> None:
    ops = ops_of((m, n, 0), mirror=ON_TILES)
    tasks = share_parameters(ops, [0], np.dtype("float32"), threads)
    heights = (tasks["last"] - tasks["first"])[tasks["last"] < m]
    widths = tasks["right"] - tasks["left"]
    assert (heights % (2 * SQUARE) == 0).all()
    assert widths.min() > widths.max() // 2
    assert min(4 * n, SQUARE_TASK_ROW) // 2 < 4 * widths.max() <= SQUARE_TASK_ROW
