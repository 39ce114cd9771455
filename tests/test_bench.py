"""The benchmark suite covers every part and measures the right thing."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("threadpoolctl")

import fastbp
from bench import (
    bench_layers,
    bench_losses,
    bench_online,
    bench_optimizers,
    bench_predict,
    bench_products,
    bench_training,
    online,
    precision,
)
from bench.bench_training import BACKENDS
from bench.grid import GRID
from bench.peers import RESULTS, lead, report
from bench.timing import seconds_per_step
from fastbp._jit import DISABLED
from fastbp.kernels.vectors import pad
from fastbp.layers import LAYERS
from fastbp.losses import LOSSES
from fastbp.optimizers import OPTIMIZERS
from fastbp.peak import peak_flops
from fastbp.peers.measure import AGREEMENT, CALLS, PEERS, PRECISIONS, best
from fastbp.peers.workload import Workload, read, row_of

ROOT = Path(__file__).parent.parent


def test_every_registered_part_has_a_benchmark() -> None:
    assert set(bench_layers.CASES) == set(LAYERS)
    assert set(bench_losses.CASES) == set(LOSSES)
    assert set(bench_optimizers.CASES) == set(OPTIMIZERS)


def test_the_grid_is_the_agreed_one() -> None:
    assert len(GRID) == 16
    assert bench_training.Training.params == (list(GRID), ["numpy", "fastbp"])
    digits = GRID["digits"]
    assert digits.flops == 32 * (6 * (64 * 100 + 100 * 10) - 2 * 64 * 100)
    for work in GRID.values():
        assert work.batches >= 2


SMALL = [w for w in GRID.values() if w.flops < 3e7 and w.batch < 1000]

@pytest.mark.parametrize("work", SMALL, ids=[w.name for w in SMALL])
def test_both_sides_start_alike_and_learn_alike(work: Workload) -> None:
    sides = [make(work) for make in BACKENDS.values()]
    start = [side.weights() for side in sides]
    for a, b, c in zip(*start, work.initial_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    for side in sides:
        side.epochs(1, shuffle=False)
    ours, theirs = (work.error(side.weights()) for side in sides)
    assert ours < work.error(start[0])
    assert ours == pytest.approx(theirs, rel=AGREEMENT)


@pytest.mark.parametrize("name", [name for name in CALLS if not name.startswith("sklearn")])
@pytest.mark.parametrize("loss", ["l2", "softmax_cross_entropy"])
def test_calls_for_each_batch_take_the_steps_of_a_fit(name: str, loss: str) -> None:
    module, kind = CALLS[name]
    if module not in ("fastbp", "numpy"):
        pytest.importorskip(module)
    work = Workload("t", (5, 7, 3), 8, "relu", "adam", loss, "float64")
    whole = BACKENDS["fastbp"](work)
    calls = getattr(importlib.import_module(f"fastbp.peers.{module}"), kind)(work, n_threads=1)
    for side in (whole, calls):
        side.epochs(2, shuffle=False)
    for a, b in zip(whole.weights(), calls.weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", PRECISIONS)
def test_precisions_of_peers_are_of_the_same_step(name: str,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    module, kind = PRECISIONS[name]
    if module == "torch":
        pytest.importorskip(module)
    work = Workload("t", (5, 7, 3), 8, "relu", "adam", dtype="float64")
    own = getattr(importlib.import_module(f"fastbp.peers.{module}"), kind)
    assert own.precision == {"high": "high", "medium": "medium"}.get(name.split(".")[-1],
                                                                     "highest")
    if "compile" in name:
        return
    whole, other = BACKENDS["fastbp"](work), own(work, n_threads=1)
    used = set()
    if module == "torch":
        precision_now, step = sys.modules["torch"].get_float32_matmul_precision, other.step
        monkeypatch.setattr(other, "step", lambda *pair: (used.add(precision_now()), step(*pair)))
    for side in (whole, other):
        side.epochs(2, shuffle=False)
    for a, b in zip(whole.weights(), other.weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert (used or {other.network.matmul_precision}) == {own.precision}
    assert module != "torch" or precision_now() == "highest"


def test_the_table_of_precisions_is_that_of_the_last_run() -> None:
    results = json.loads(precision.RESULTS.read_text())
    assert precision.report(results) in (ROOT / "bench" / "README.md").read_text()
    assert all(record["agrees"] for record in results["records"])
    for level, share in results["accuracy"].items():
        assert precision.accuracy(level, 0) == pytest.approx(share, abs=0.02)  # of 1,000 digits


def test_calls_of_scikit_learn_take_as_many_steps() -> None:
    sklearn = pytest.importorskip("fastbp.peers.sklearn")
    work = Workload("t", (5, 7, 3), 8, "relu", "sgd")
    whole, calls = sklearn.SklearnBackend(work, 1), sklearn.SklearnCalls(work, 1)
    for side in (whole, calls):
        side.epochs(1, shuffle=False)
    for a, b in zip(whole.weights(), calls.weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_readme_shows_the_last_figures_of_calls() -> None:
    text = online.report(json.loads(online.RESULTS.read_text()))
    shown = (ROOT / "README.md").read_text()
    assert text in shown and "| digits | " in text
    bench = bench_online.Calls()
    for backend in ("numpy", "fastbp"):
        bench.setup("iris", backend)
        bench.time_an_epoch_of_calls("iris", backend)


@pytest.mark.parametrize("hidden", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("loss", ["l2", "softmax_cross_entropy"])
def test_the_baseline_takes_the_same_steps(hidden: str, optimizer: str, loss: str,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """On one batch, for ten epochs, unshuffled: weights must agree."""
    monkeypatch.setattr(Workload, "batches", property(lambda self: 1))
    work = Workload("t", (5, 7, 6, 3), 8, hidden, optimizer, loss, "float64")
    ours, baseline = BACKENDS["fastbp"](work), BACKENDS["numpy"](work)
    ours.epochs(10, shuffle=False)
    baseline.epochs(10, shuffle=False)
    for a, b in zip(ours.weights(), baseline.weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_peers_report_leaves_out_what_differs() -> None:
    def record(backend: str, threads: int, us: float, agrees: bool = True) -> dict[str, object]:
        return {"row": "r", "backend": backend, "threads": threads, "us": us, "agrees": agrees,
                "share_of_peak": 0.5}

    records = [record("fastbp", 1, 10), record("fastbp", 2, 5), record("torch", 1, 20),
               record("torch", 2, 30), record("jax", 1, 1, agrees=False), record("numpy", 1, 40)]
    assert {k: v["us"] for k, v in best(records)["r"].items()} == {
        "fastbp": 5, "torch": 20, "numpy": 40}
    text = report({"records": records, "versions": {"numpy": "2"}, "cores": 2, "cpu": "c"})
    assert "| r | 5.0 | 40.0 | 20.0 | 50% (50%) | 4.00 | 8.0 |" in text and "fastbp: 8.00" in text
    alone = {**record("fastbp", 1, 7), "row": "no peer has it"}
    text = report({"records": [*records, alone], "versions": {}, "cores": 2, "cpu": "c"})
    assert "| 7.0 | - | - | 50% (50%) | nan | nan |" in text
    assert "best peer over fastbp: 4.00." in text
    assert set(PEERS) >= set(BACKENDS)


def test_rows_from_the_command_line() -> None:
    (work,) = read([row_of("20-50-3:64:tanh:adam")]).values()
    assert (work.sizes, work.batch) == ((20, 50, 3), 64)
    assert (work.hidden, work.optimizer) == ("tanh", "adam")
    assert work.loss == "softmax_cross_entropy" and work.dtype == "float32"
    (work,) = read([row_of("4-3:2:relu:sgd:l2:float64")]).values()
    assert work.loss == "l2" and work.dtype == "float64"
    for text, word in (("foo", "parts"), ("4-3:2:relu:sgd:l2:float32:1", "parts"),
                       ("4-x:2", "sizes must .*'x'"), ("4-3:", "batch must"),
                       ("4:2", "sizes"), ("0-3:2", "sizes"), ("4-3:0", "batch"),
                       ("4-\u00b2:2", "sizes must .*'\u00b2'"),
                       ("4-3:2:foo", "hidden"), ("4-3:2:relu:lion", "optimizer"),
                       ("4-3:2:relu:sgd:l1", "loss"), ("4-3:2:relu:sgd:l2:int8", "dtype")):
        with pytest.raises(ValueError, match=word):
            row_of(text)


def test_timing_and_peak() -> None:
    calls: list[int] = []
    assert seconds_per_step(calls.append, 10, 0.01, 3) > 0 and len(calls) == 5
    assert peak_flops("float32", 1) > 1.3 * peak_flops("float64", 1) > 0
    for arguments, message in ((("int32",), "dtype must"), (("float32", 0), "n_threads must")):
        with pytest.raises(ValueError, match=message):
            peak_flops(*arguments)


def test_predict_benchmark_checks_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, right = bench_predict.Predict(), fastbp.Network.predict
    for backend in ("numpy", "fastbp"):
        bench.setup(3, backend)
        bench.time_predict(3, backend)
    monkeypatch.setattr(fastbp.Network, "predict", lambda net, X: right(net, X) + 1e-4)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        bench.setup(3, "fastbp")


def test_the_last_row_of_a_product_has_room_for_whole_vectors() -> None:
    bench, (b, m, _) = bench_products.Products(), bench_products.SHAPES["iris"]
    bench.setup("iris", "weight_gradient", "fastbp")
    flat = bench.operands[0]
    assert flat.size >= (b - 1) * m + pad(m, flat.dtype) > b * m


def test_asv_finds_the_suite() -> None:
    config = json.loads((ROOT / "asv.conf.json").read_text())
    assert "pythons" not in config  # asv takes the one that runs it, which is there
    assert config["benchmark_dir"] == "bench" and config["branches"] == ["HEAD"]
    names = {n.name for path in (ROOT / "bench").glob("bench_*.py")
             for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)}
    for prefix in ("time_", "timeraw_", "track_", "peakmem_"):
        assert any(n.startswith(prefix) for n in names), prefix
    pytest.importorskip("asv_runner")
    code = ("from asv_runner._aux import update_sys_path\n"
            "from asv_runner.discovery import disc_benchmarks\n"
            "update_sys_path('bench')\n"
            "print(*(b.name for b in disc_benchmarks('bench')))")
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True,
                           text=True, cwd=ROOT).stdout.split()
    assert len(found) > 15  # helpers of the suite are none, and each is found once
    assert {name for name in found if not name.startswith("bench_") or name.count(".") != 2
            } == set()


@pytest.mark.skipif(DISABLED, reason="nothing is compiled then")
def test_memory_of_a_fit_is_not_the_compilers(tmp_path: Path) -> None:
    code = ("import os, bench.bench_memory as b\n"
            "count = lambda: sum(len(f) for _, _, f in os.walk(os.environ['FASTBP_CACHE_DIR']))\n"
            "suite = b.Memory()\nsuite.setup()\nbefore = count()\n"
            "suite.peakmem_fit()\nprint(before, count())")
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True,
                         cwd=ROOT, env={**os.environ, "FASTBP_CACHE_DIR": str(tmp_path)}).stdout
    before, after = map(int, out.split())
    assert before == after > 0


def test_layers_are_timed_as_they_train() -> None:
    for name in ("Dropout", "BatchNorm"):
        suite = bench_layers.Layers()
        suite.setup(name, "float32")
        trained = suite.dY.copy()
        suite.layer.key = 0
        assert not np.allclose(suite.layer.forward(suite.X), trained, atol=1e-3)


@pytest.mark.parametrize(("page", "mark", "results"), [
    ("README.md", "--report -->", RESULTS),
    ("bench/README.md", "--report, of peers_zen5.json -->", RESULTS.with_name("peers_zen5.json")),
    ("bench/README.md", "--report, of peers_busy.json -->", RESULTS.with_name("peers_busy.json"))])
def test_tables_show_the_figures_of_their_runs(page: str, mark: str, results: Path) -> None:
    text = (ROOT / page).read_text()
    shown = text.split(f"bench.peers {mark}\n")[1].split("\n<!-- end")[0]
    assert shown == report(json.loads(results.read_text()))


def test_the_readme_opens_with_the_range_of_its_table() -> None:
    of = [lead(own) for own in best(json.loads(RESULTS.read_text())["records"]).values()]
    first = (ROOT / "README.md").read_text().split("```")[0]
    assert f"On the {len(of)} networks" in first
    assert f"{min(of):.1f} to {max(of):.1f} times" in first


def test_asv_can_import_every_module_without_the_peers() -> None:
    names = [f"bench.{path.stem}" for path in (ROOT / "bench").glob("*.py")]
    code = ("import importlib, sys\n"
            "for name in ('sklearn', 'torch', 'jax', 'matplotlib', 'onnx', 'pyarrow'):\n"
            "    sys.modules[name] = None\n"
            f"for name in {names}:\n    importlib.import_module(name)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          cwd=ROOT)
    assert len(names) > 15 and done.returncode == 0, done.stderr
