"""Streams of blocks, from tables and arrays."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from fastbp import data
from fastbp.data.stream import ArrayStream, TableStream
from fastbp.sources import Blocks

from .tables import frame, written


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".feather"])
def test_streams_give_each_row_once(tmp_path: Path, kind: str) -> None:
    df = frame(1000)
    path = written(tmp_path, df, kind, rows=37)
    learned = data.learn(path, "kind", drop=["member", "colour"])
    assert learned.target is not None
    stream = TableStream(path, learned.preprocessor, learned.target, weight="age",
                         block_rows=256)
    own = learned.preprocessor.transform(df)
    assert stream.n_rows == 1000 and len({r.tobytes() for r in own}) == 1000

    def epoch(number: int, shuffle: bool) -> list[Any]:
        return list(stream.blocks(number, 7, shuffle))  # those given before stay as they are

    straight = epoch(0, False)
    np.testing.assert_array_equal(np.concatenate([b[0] for b in straight]), own)
    np.testing.assert_array_equal(np.concatenate([b[1] for b in straight]), df["kind"] == "yes")
    np.testing.assert_array_equal(np.concatenate([b[2] for b in straight]), df["age"])
    labels = np.concatenate([t[0] for t in stream.targets()])
    np.testing.assert_array_equal(labels, df["kind"] == "yes")
    one, again, other = epoch(1, True), epoch(1, True), epoch(2, True)
    target = dict(zip([r.tobytes() for r in own], df["kind"] == "yes", strict=True))
    for blocks in (one, other):
        assert max(len(b[0]) for b in blocks) <= 256
        rows = np.concatenate([b[0] for b in blocks])
        assert {r.tobytes() for r in rows} == set(target) and len(rows) == 1000
        for X, T, _ in blocks:
            np.testing.assert_array_equal(T, [target[r.tobytes()] for r in X])
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
    if kind != ".csv":
        assert (one[0][0][:50] != next(stream.blocks(1, 8, True))[0][:50]).any()
        assert (one[0][0][:50] != other[0][0][:50]).any()
        place = {r.tobytes(): i // 37 for i, r in enumerate(own)}
        assert len({place[r.tobytes()] for r in one[0][0]}) >= 5  # several groups in a block


def test_array_streams_take_lists_and_frames() -> None:
    X, T = np.arange(30.0).reshape(10, 3), np.arange(10)
    for pair in ((X.tolist(), T.tolist()), (pd.DataFrame(X), pd.Series(T))):
        stream = ArrayStream(*pair, block_rows=4)
        found = list(stream.blocks(0, 0, False))
        np.testing.assert_array_equal(np.concatenate([b[0] for b in found]), X)
        np.testing.assert_array_equal(np.concatenate([b[1] for b in found]), T)


def test_array_streams_refuse_what_fit_refuses() -> None:
    X, T = np.arange(30.0).reshape(10, 3), np.arange(10)
    with pytest.raises(ValueError, match="X has masked elements"):
        ArrayStream(np.ma.masked_greater(X, 20), T)
    with pytest.raises(ValueError, match="weights has masked elements"):
        ArrayStream(X, T, np.ma.masked_greater(T, 5))
    with pytest.raises(TypeError, match="X is a sparse matrix"):
        ArrayStream(scipy.sparse.csr_array(X), T)
    with pytest.raises(TypeError, match="T must hold real numbers, got None"):
        ArrayStream(X, None)


def test_archives_that_are_called_npy_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.ones((3, 2)))
    whole = (tmp_path / "a.npz").read_bytes()
    for content in (whole, whole[:40]):
        (tmp_path / "a.npy").write_bytes(content)
        for what in (data.open_table, lambda path: ArrayStream(path, np.ones(3))):
            with pytest.raises(ValueError, match=r"a\.npy is not a readable \.npy file"):
                what(tmp_path / "a.npy")


def test_array_streams(tmp_path: Path) -> None:
    X, T = np.arange(3000, dtype="f4").reshape(1000, 3), np.arange(1000)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "T.npy", T)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for source in (X, tmp_path / "X.npy", str(tmp_path / "X.npy"), mapped):
        stream = ArrayStream(source, tmp_path / "T.npy", block_rows=96)
        assert stream.n_rows == 1000
        straight = list(stream.blocks(0, 0, False))
        np.testing.assert_array_equal(np.concatenate([b[0] for b in straight]), X)
        np.testing.assert_array_equal(np.concatenate([t for t, in stream.targets()]), T)
        mixed = list(stream.blocks(0, 0, True))
        for A, t in mixed:
            np.testing.assert_array_equal(A, X[t])
        assert sorted(np.concatenate([t for _, t in mixed]).tolist()) == T.tolist()
        assert np.ptp(mixed[0][1] // 12) > 8 and len(mixed[0][0]) == 96
        assert (mixed[0][1] != next(stream.blocks(0, 1, True))[1]).any()
    for some in (mapped[:, 1:], mapped[::2], mapped.T, mapped[50:][10:30]):  # where they lie apart
        found = list(ArrayStream(some, np.arange(len(some)), block_rows=7).blocks(0, 0, False))
        np.testing.assert_array_equal(np.concatenate([b[0] for b in found]), some)
    part = ArrayStream(mapped[100:200], T[100:200])
    np.testing.assert_array_equal(
        np.concatenate([b[0] for b in part.blocks(0, 0, False)]), X[100:200])
    with pytest.raises(ValueError, match="as many rows"):
        ArrayStream(X, T[:-1])
    with pytest.raises(ValueError, match="no rows"):
        ArrayStream(X[:0], T[:0])
    with pytest.raises(FileNotFoundError):
        ArrayStream(tmp_path / "none.npy", T)
    content = (tmp_path / "X.npy").read_bytes()
    stream = ArrayStream(tmp_path / "X.npy", T)
    (tmp_path / "X.npy").write_bytes(content[:-4])
    with pytest.raises(ValueError, match="ends before row 1000"):
        list(stream.blocks(0, 0, False))
    with pytest.raises(ValueError, match="not a readable"):
        ArrayStream(tmp_path / "X.npy", T)


def test_blocks_of_a_list_come_in_a_new_order_in_each_epoch() -> None:
    blocks = Blocks([([[k]], [k]) for k in range(9)])
    orders = [[block[1][0] for block in blocks.blocks(epoch, seed, True)]
              for seed in (0, 1) for epoch in range(3)]
    assert all(sorted(order) == list(range(9)) for order in orders)
    assert len(set(map(tuple, orders))) == 6, "by seed and epoch"
    assert [block[1][0] for block in blocks.blocks(2, 1, True)] == orders[-1]
    assert [block[1][0] for block in blocks.blocks(2, 1, False)] == list(range(9))


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".feather", ".npy"])
def test_streams_are_pickled_amid_their_blocks(tmp_path: Path, kind: str) -> None:
    """For processes of the user's own, and beside a checkpoint."""
    if kind == ".npy":
        np.save(tmp_path / "X.npy", np.arange(600.0).reshape(200, 3))
        mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
        sources: list[Any] = [ArrayStream(X, np.arange(200), np.ones(200), block_rows=64)
                              for X in (tmp_path / "X.npy", mapped, mapped[:, :2], mapped + 0)]
        sources.append(ArrayStream(mapped[20:60], np.arange(40), np.ones(40), block_rows=16))
    else:
        path = written(tmp_path, frame(200), kind, rows=37)
        learned = data.learn(path, "kind", drop=["member", "colour"])
        assert learned.target is not None
        sources = [TableStream(path, learned.preprocessor, learned.target, weight="age",
                               block_rows=64)]
    for source in sources:
        given = source.blocks(1, 7, True)
        first = next(given)
        again = pickle.loads(pickle.dumps(source))
        blocks = list(again.blocks(1, 7, True))
        for one, other in zip([first, *given], blocks, strict=True):
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a, b)
        assert again.n_rows == source.n_rows == sum(len(block[0]) for block in blocks)


def test_what_is_unfit_is_told_by_part_and_row(tmp_path: Path) -> None:
    df = pd.DataFrame({"x": np.arange(12.0), "y": np.arange(12) % 2})
    df.to_parquet(tmp_path / "good.parquet")
    learned = data.learn(tmp_path / "good.parquet", "y", missing="error")
    assert learned.target is not None
    df.loc[9, "x"] = np.nan
    df.to_parquet(tmp_path / "bad.parquet", row_group_size=4)
    stream = TableStream(tmp_path / "bad.parquet", learned.preprocessor, learned.target)
    for shuffle in (False, True):
        with pytest.raises(ValueError, match=r"bad\.parquet, part 2: .*'x' .*in row 1 "):
            list(stream.blocks(0, 0, shuffle))
