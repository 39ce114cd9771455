"""Training on a file larger than memory should hold: peak memory, and speed against in-memory.

    python -m bench.streaming FOLDER

writes random rows of 128 numbers and a label into FOLDER, 4 GiB as .npy and once more as
Parquet (row groups of 32,768), trains an epoch on each in a fresh process, in turns with the
same network on rows that fit in memory, and deletes the files. Parquet includes preprocessing:
a pass that learns means and scales, then standardised features in each epoch.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

N_IN, N_OUT, HIDDEN, BATCH = 128, 10, (256, 128), 256
GROUP = 32_768
#: Rows of the in-memory runs, 128 MiB, and their epochs.
FITTING, EPOCHS = 262_144, 4


def generate(folder: Path, kind: str, rows: int) -> None:
    """Write the rows, group by group: classes by a random linear map of the features."""
    rng, teacher = np.random.default_rng(0), np.random.default_rng(1).normal(size=(N_IN, N_OUT))
    writer: Any = None
    X = T = None
    if kind == "npy":
        X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, (rows, N_IN))
        T = np.lib.format.open_memmap(folder / "T.npy", "w+", np.int64, (rows,))
    for at in range(0, rows, GROUP):
        part = rng.standard_normal((min(GROUP, rows - at), N_IN), np.float32)
        labels = (part @ teacher.astype(np.float32)).argmax(axis=1)
        if X is not None and T is not None:
            X[at:at + GROUP], T[at:at + GROUP] = part, labels
            continue
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.table({f"x{i}": part[:, i] for i in range(N_IN)} | {"y": labels})
        if writer is None:
            writer = parquet.ParquetWriter(folder / "t.parquet", table.schema,
                                           use_dictionary=False)
        writer.write_table(table, row_group_size=GROUP)
    if writer is not None:
        writer.close()


def network() -> Any:
    """The network that all runs train."""
    from fastbp import Dense, Network, ReLU

    widths, layers = [N_IN, *HIDDEN], list[Any]()
    for m, n in zip(widths, HIDDEN, strict=False):
        layers += [Dense(m, n), ReLU()]
    return Network([*layers, Dense(widths[-1], N_OUT)], "SoftmaxCrossEntropyLoss")


def measure(folder: Path, kind: str) -> dict[str, float]:
    """Rows a second and peak memory (MB) of one run in this process."""
    from fastbp import fit_stream
    from fastbp.data import ArrayStream, TableStream, learn

    rng, learnt = np.random.default_rng(2), 0.0
    warm = rng.standard_normal((4 * BATCH, N_IN), np.float32), rng.integers(0, N_OUT, 4 * BATCH)
    network().fit(*warm, batch_size=BATCH, epochs=1)
    if kind == "memory":
        X = rng.standard_normal((FITTING, N_IN), np.float32)
        T = rng.integers(0, N_OUT, FITTING)
        began = time.perf_counter()
        network().fit(X, T, batch_size=BATCH, epochs=EPOCHS)
        speed = EPOCHS * FITTING / (time.perf_counter() - began)
    else:
        source: Any
        began = time.perf_counter()
        if kind == "npy":
            source = ArrayStream(folder / "X.npy", folder / "T.npy")
        else:
            learned = learn(folder / "t.parquet", "y")
            assert learned.target is not None
            source = TableStream(folder / "t.parquet", learned.preprocessor, learned.target)
        learnt = time.perf_counter() - began
        began = time.perf_counter()
        fit_stream(network(), source, batch_size=BATCH, epochs=1)
        speed = source.n_rows / (time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {"rows_per_s": speed, "peak_mb": peak, "learn_s": learnt}


def _fresh(*arguments: Any) -> Any:
    """What another process prints."""
    done = subprocess.run([sys.executable, "-m", "bench.streaming", *map(str, arguments)],
                          check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout or "null")


def main() -> None:
    """Generate, measure in turns, delete, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gib", type=float, default=4.0, help="size of each file")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", choices=("generate", "measure"), help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    given = parser.parse_args()
    rows = int(given.gib * 2**30) // (4 * N_IN)
    if given.only == "generate":
        generate(given.folder, given.kind, rows)
        return
    if given.only == "measure":
        print(json.dumps(measure(given.folder, given.kind)))
        return
    free = shutil.disk_usage(given.folder).free
    if free < 3 * given.gib * 2**30:
        raise SystemExit(f"{given.folder} has {free / 2**30:.1f} GiB free, "
                         f"{3 * given.gib:.1f} are needed")
    files = ("npy", "parquet")
    found: dict[str, list[dict[str, float]]] = {"npy": [], "parquet": [], "memory": []}
    shares: dict[str, list[float]] = {kind: [] for kind in files}
    # A folder of their own: files of these names in the one that is given may be a user's.
    with tempfile.TemporaryDirectory(prefix="fastbp-", dir=given.folder) as folder:
        for kind in files:
            _fresh(folder, "--gib", given.gib, "--only", "generate", "--kind", kind)
        for _ in range(given.repeat):
            for kind in files:
                runs = {k: _fresh(folder, "--only", "measure", "--kind", name)
                        for k, name in (("before", "memory"), (kind, kind), ("after", "memory"))}
                found[kind].append(runs[kind])
                found["memory"] += [runs["before"], runs["after"]]
                around = (runs["before"]["rows_per_s"] + runs["after"]["rows_per_s"]) / 2
                shares[kind].append(runs[kind]["rows_per_s"] / around)
    print(f"| {given.gib:g} GiB, {rows:,} rows | rows/s | over in-memory | peak MB | learn s |\n"
          "|---|---:|---:|---:|---:|")
    for kind, runs in found.items():
        speed = statistics.median(run["rows_per_s"] for run in runs)
        share = f"{statistics.median(shares[kind]):.2f}" if kind in shares else "1"
        peak, learnt = (max(run[key] for run in runs) for key in ("peak_mb", "learn_s"))
        print(f"| {kind} | {speed:,.0f} | {share} | {peak:.0f} | {learnt:.1f} |")


if __name__ == "__main__":
    main()
