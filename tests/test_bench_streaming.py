"""The benchmark of streams leaves the folder that it is given as it was."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("resource")

from bench import streaming


def test_files_of_the_folder_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows, asked = 100, list[str]()

    def fresh(folder: Any, *given: Any) -> Any:
        kind = given[-1]
        if "generate" in given:
            assert given[:2] == ("--gib", rows * 512 / 2**30)
            return streaming.generate(Path(folder), kind, rows)
        asked.append(kind)
        if kind == "npy":
            X, T = (np.load(Path(folder) / f"{name}.npy") for name in "XT")
            assert X.shape == (rows, 128) and len(T) == rows
        elif kind == "parquet":
            table = parquet.read_table(Path(folder) / "t.parquet")
            assert table.shape == (rows, 129)
        return {"rows_per_s": {"npy": 30.0, "parquet": 60.0}.get(kind, 20.0 * len(asked)),
                "peak_mb": 7.0, "learn_s": 0.0}

    kept = [tmp_path / name for name in ("X.npy", "T.npy", "t.parquet")]
    for path in kept:
        path.write_text(f"the user's {path.name}")
    monkeypatch.setattr(streaming, "GROUP", 64)
    monkeypatch.setattr(streaming, "_fresh", fresh)
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path), "--gib", str(rows * 512 / 2**30),
                                      "--repeat", "1"])
    streaming.main()
    assert asked == ["memory", "npy", "memory", "memory", "parquet", "memory"]
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert all(path.read_text() == f"the user's {path.name}" for path in kept)
    out = capsys.readouterr().out
    assert "100 rows" in out and "| npy | 30 | 0.75 | 7 | 0.0 |" in out
    assert "| parquet | 60 | 0.60 | 7 | 0.0 |" in out
