"""Tables, and files of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet


def frame(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "age": rng.integers(0, 90, n), "income": rng.lognormal(9, 2, n),
        "colour": rng.choice(["red", "green", "blue, dark"], n),
        "member": rng.random(n) < 0.3, "kind": rng.choice(["yes", "no"], n)})


def written(folder: Path, df: pd.DataFrame, kind: str, rows: int = 70) -> Path:
    path = folder / f"data{kind}"
    if kind in (".csv", ".csv.gz"):
        df.to_csv(path, index=False)
    elif kind == ".tsv":
        df.to_csv(path, index=False, sep="\t")
    elif kind == ".parquet":
        pa.parquet.write_table(pa.Table.from_pandas(df), path, row_group_size=rows)
    else:
        pa.feather.write_feather(pa.Table.from_pandas(df), path, chunksize=rows)
    return path


FILES = [".csv", ".csv.gz", ".tsv", ".parquet", ".feather", ".arrow"]


def in_groups(path: Path, df: pd.DataFrame, kept: np.ndarray) -> Any:
    """A table of these rows, whose groups would have 70 with the others."""
    if path.suffix == "":
        return df[kept]
    if path.suffix == ".csv":
        df[kept].to_csv(path, index=False)
        return path
    schema = pa.Table.from_pandas(df, preserve_index=False).schema
    with (pa.parquet.ParquetWriter(path, schema) if path.suffix == ".parquet" else
          pa.ipc.new_file(path, schema)) as file:
        for i in range(0, len(df), 70):
            own = df[i:i + 70][kept[i:i + 70]]
            file.write_table(pa.Table.from_pandas(own, schema, preserve_index=False))
    return path
