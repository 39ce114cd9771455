"""The benchmark suite covers every part and measures the right thing."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

pytest.importorskip("threadpoolctl")

from bench import (
    bench_layers,
    bench_losses,
    bench_online,
    bench_optimizers,
    bench_predict,
    bench_products,
    bench_training,
    constants,
    drawn,
    estimators,
    growth,
    late,
    latency,
    machine,
    many,
    online,
    precision,
    scaling,
    startup,
)
from bench.command import parse
from bench.grid import GRID
from bench.peers import RESULTS, report
from bench.timing import seconds_per_step
from fastbp import fit_many
from fastbp._jit import DISABLED, thread_count
from fastbp.kernels.squares import has_squares
from fastbp.kernels.vectors import pad
from fastbp.layers import LAYERS
from fastbp.losses import LOSSES
from fastbp.optimizers import OPTIMIZERS
from fastbp.peak import peak_flops
from fastbp.peers import measure
from fastbp.peers.fastbp import BACKENDS
from fastbp.peers.measure import AGREEMENT, CALLS, PEERS, PRECISIONS, _apart, best, lead
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


def test_predict_benchmark_checks_its_answer() -> None:
    bench = bench_predict.Predict()
    for backend in ("numpy", "fastbp"):
        bench.setup(3, backend)
        bench.time_predict(3, backend)


def test_the_last_row_of_a_product_has_room_for_whole_vectors() -> None:
    bench, (b, m, _) = bench_products.Products(), bench_products.SHAPES["iris"]
    bench.setup("iris", "weight_gradient", "fastbp")
    flat = bench.operands[0]
    assert flat.size >= (b - 1) * m + pad(m, flat.dtype) > b * m


def test_asv_finds_the_suite() -> None:
    config = json.loads((ROOT / "asv.conf.json").read_text())
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


@pytest.mark.skipif(DISABLED, reason="a team is one thread then")
def test_what_two_threads_cost_each_other() -> None:
    assert machine.sweep(np.arange(256, dtype=np.float32), 2) == 2 * sum(range(0, 256, 16))
    assert machine.loads() > 0
    assert machine.complete_seconds(machine.meet, 5) > 0
    arrays = np.zeros((2, 256), np.float32)
    assert machine.complete_seconds(machine.exchange, 4, arrays, True) > 0
    np.testing.assert_array_equal(arrays, [np.arange(3, 259)] * 2)


@pytest.mark.skipif(DISABLED, reason="too slow in plain Python")
def test_products_are_told_by_the_state_of_the_core(capsys: pytest.CaptureFixture[str]) -> None:
    with patch.multiple(machine, ROWS=("rl",), TURNS=3):
        for best, alone in ((1.0, True), (1e30, False)):  # bytes/s
            machine.products(best)
            head, _, *lines = capsys.readouterr().out.splitlines()
            assert head.count("alone") == head.count("beside others") == 1 + has_squares()
            assert [line.split("|")[2].strip() for line in lines] == list(bench_products.PRODUCTS)
            for line in lines:
                cells = [cell.strip() for cell in line.split("|")[3:-1]]
                assert set(cells[alone::2]) == {"-"}
                assert all(re.fullmatch(r"\d+\.\d\d \(3\)", c) for c in cells[not alone::2])


def test_networks_are_drawn_within_bounds_and_told_by_their_ratios() -> None:
    rows = drawn.draw(30, 1)
    assert rows == drawn.draw(30, 1) != drawn.draw(30, 2)
    assert len({row["name"] for row in rows}) == 30
    for row in rows:
        (work,) = read([row]).values()
        assert work == read([row_of(row["name"])])[row["name"]] and work.flops <= drawn.FLOPS
        assert drawn.INPUTS[0] <= work.sizes[0] <= drawn.INPUTS[1]
        assert all(drawn.UNITS[0] <= n <= drawn.UNITS[1] for n in work.sizes[1:-1])

    def record(row: str, backend: str, threads: int, us: float, agrees: bool = True) -> Any:
        return {"row": row, "backend": backend, "threads": threads, "us": us, "agrees": agrees}

    found = drawn.ratios([
        record("a", "fastbp", 1, 10), record("a", "fastbp", 2, 8), record("a", "numpy", 1, 40),
        record("a", "jax.scan", 2, 16), record("b", "fastbp", 1, 5), record("b", "numpy", 1, 25),
        record("b", "jax.scan", 1, 1, agrees=False)])
    assert found == {"a": {"numpy": 5, "jax.scan": 2}, "b": {"numpy": 5}}
    text = drawn.report(found)
    assert "| numpy | 2 | 5.00 | 5.00 | 5.00 | 5.00 | 5.00 |" in text
    assert "| best of them | 2 | 2.00 | 2.00 | 3.50 | 5.00 | 3.16 |" in text
    assert text.index("    a  numpy 5.00, jax.scan 2.00") < text.index("    b  numpy 5.00")
    text = drawn.report({"a": {"numpy": 3.0}, "b": {"numpy": 2.0}})
    assert text.index("    b  numpy 2.00") < text.index("    a  numpy 3.00")


def test_growth_changes_one_size_at_a_time() -> None:
    for axis, smallest in growth.AXES.items():
        flops = [growth.workload(axis, smallest * f)[0].flops for f in growth.FACTORS]
        rows = [growth.workload(axis, smallest * f)[1] for f in growth.FACTORS]
        grows = rows if axis == "rows" else flops
        assert all(a < b for a, b in zip(grows, grows[1:], strict=False))
        assert len(set(rows if axis != "rows" else flops)) == 1


def test_a_late_epoch_goes_on_from_an_early_one() -> None:
    epoch = late.fastbp_epoch()
    losses = [epoch()["loss"][-1] for _ in range(3)]
    assert losses[0] < 2 and losses[2] < losses[1] < 0.7 * losses[0]


def test_onnx_runtime_computes_the_same_network() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=s).astype("f4") for s in ((64, 100), 100, (100, 10), 10)]
    X = rng.normal(size=(1, 64)).astype("f4")
    z = np.maximum(X @ weights[0] + weights[1], 0) @ weights[2] + weights[3]
    p = np.exp(z - z.max())
    np.testing.assert_allclose(latency.onnx_session(weights)(X), p / p.sum(), atol=1e-5)


def test_a_thousand_networks_are_timed_alike() -> None:
    assert all(f(2) > 0 for f in (many.many, many.one_by_one))
    (one,), (other,) = (many.networks(1) for _ in range(2))
    X, T = many.data()
    one.fit(X, T, epochs=1, batch_size=many.BATCH)
    fit_many([other], X, T, epochs=1, batch_size=many.BATCH)
    np.testing.assert_array_equal(one.params, other.params)


def test_the_work_of_a_step_is_the_planners() -> None:
    work, kept = constants.work_of(64, 32), constants.sharing.PARALLEL_THRESHOLD
    for limit, several in ((work, True), (work + 1, False)):
        with constants.constants(PARALLEL_THRESHOLD=limit):
            net = Workload("", (64, 64, 10), 32, "relu", "sgd").network()
            assert (net.plan(32, 2).n_threads > 1) == (several and thread_count(2) > 1)
        assert kept == constants.sharing.PARALLEL_THRESHOLD != limit
    with pytest.raises(KeyError), constants.constants(PARALLEL_THRESHOLD=work):
        raise KeyError
    assert kept == constants.sharing.PARALLEL_THRESHOLD


def test_steps_with_shards_are_shared_by_threads_from_less_work_on(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 8)
    workload = Workload("", (8, 8, 10), 128, "relu", "sgd")
    work = workload.network().plan(128, 1, training=True).work
    for limit, several in ((work, 2), (work + 1, 1)):  # two shards
        with constants.constants(SHARDED_THRESHOLD=limit, PARALLEL_THRESHOLD=1 << 60):
            net = workload.network()
            assert net.plan(128, 8).n_threads == 1  # what does not train has none
            assert net.plan(128, 8, training=True).n_threads == several


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


def test_new_processes_are_timed_and_weighed(tmp_path: Path) -> None:
    code = "print(len(bytearray(64 << 20)) / 2**20)"
    spent, numbers = startup.process(code, str(tmp_path))
    assert spent > 0 and numbers == [64.0]
    assert set(startup.CASES) == {"import numba", "import fastbp", "import torch",
                                  "first fit, cached"}
    if sys.platform == "linux":
        assert 0 < startup.megabytes(str(tmp_path)) < 150


def test_rows_and_defaults_of_the_commands(monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "digits", "5-8-3:8", "--repeat", "2"])
    arguments, rows = parse("text", ("big",), ("fastbp",), 0.5, 3)
    assert (arguments.backends, arguments.budget, arguments.repeat) == (["fastbp"], 0.5, 2)
    assert [row["sizes"] for row in rows] == [[64, 100, 10], [5, 8, 3]]
    monkeypatch.setattr(sys, "argv", ["x"])
    assert [row["name"] for row in parse("", ("big",), ("fastbp",), 1, 1)[1]] == ["big"]
    assert [row["name"] for row in parse("", (), ("fastbp",), 1, 1)[1]] == list(GRID)
    for given, message in ((["nosuch"], "a row is one of xor.*'nosuch'"),
                           (["4-x:2"], "sizes must .*'x'"), (["--repeat", "0"], "--repeat"),
                           (["--budget", "0"], "--budget"), (["--budget", "nan"], "--budget"),
                           (["--backends", "numpy"], "fastbp must be among")):
        monkeypatch.setattr(sys, "argv", ["x", *given])
        with pytest.raises(SystemExit) as ended:
            parse("", (), ("fastbp",), 1, 1)
        assert ended.value.code == 2 and re.search(message, capsys.readouterr().err)


def test_scaling_is_what_was_measured(tmp_path: Path) -> None:
    assert [scaling.settings(n) for n in (1, 2, 6, 16)] == [
        [1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8, 16]]
    results = json.loads(scaling.RESULTS.read_text())
    shown = (ROOT / "bench" / "README.md").read_text()
    shown = shown.split("bench.scaling --report -->\n")[1].split("\n<!-- end")[0]
    assert shown == scaling.report(results)

    def record(backend: str, threads: int, us: float) -> dict[str, object]:
        return {"row": "r", "backend": backend, "threads": threads, "us": us, "agrees": True,
                "share_of_peak": 0.5, "gflops": 50.0 * threads}

    text = scaling.report({"versions": {}, "cpu": "c", "records": [
        record("fastbp", 1, 100), record("fastbp", 2, 40), record("torch", 1, 90),
        record("torch", 2, 80)]})
    assert "| r | 100 (1.0) | 40 (2.5) | 50% | 2.00 (at 2) |" in text
    assert "| multiply-adds, GFLOP/s | 100 (1.0) | 200 (2.0) | | |" in text
    pytest.importorskip("matplotlib")
    scaling.plot(results, tmp_path / "plot.svg")
    assert all(name in (tmp_path / "plot.svg").read_text() for name in scaling.ROWS)


def test_no_number_of_cores_beyond_the_quota_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(scaling, "cores", lambda: list(range(8)))
    monkeypatch.setattr(scaling, "within_quota", lambda n: min(n, 3))
    monkeypatch.setattr(scaling, "measured", lambda *all_of_them: given.extend(all_of_them))
    for name in ("report", "plot"):
        monkeypatch.setattr(scaling, name, lambda *_: "")
    scaling.main()
    assert given[-1] == [1, 2, 3]


def test_halves_of_a_core_come_after_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    siblings = {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}
    monkeypatch.setattr(Path, "exists", lambda path: True)
    monkeypatch.setattr(Path, "read_text",
                        lambda path: siblings[int(path.parts[-3].removeprefix("cpu"))])
    assert _apart([0, 1, 2, 3]) == [0, 1, 2, 3] and _apart([0, 2, 3]) == [0, 3, 2]
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert _apart([0, 2, 3]) == [0, 2, 3]


def test_peers_run_on_one_thread_and_on_all_within_the_quota(
        monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Any] = []

    def run(command: list[str], env: dict[str, str], check: bool) -> Any:
        jobs.append(json.loads(command[-1]))
        assert env["OMP_NUM_THREADS"] == env["NUMBA_NUM_THREADS"] == str(jobs[-1]["threads"])
        Path(jobs[-1]["out"]).write_text("[]")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(measure, "cores", lambda: list(range(8)))
    monkeypatch.setattr(measure.subprocess, "run", run)
    for quota, threads in ((2, [1, 2]), (1, [1]), (99, [1, 8])):
        monkeypatch.setattr(measure, "within_quota", lambda n, most=quota: min(n, most))
        jobs.clear()
        assert measure.compare([])["cores"] == threads[-1]
        assert [job["threads"] for job in jobs] == threads
        assert all(len(job["cores"]) == job["threads"] for job in jobs)


def test_estimators_of_both_libraries_score_alike() -> None:
    for name in ("iris", "diabetes"):
        scores, ratio = estimators.compare(name, "adam", seeds=1, folds=2, max_iter=3)
        np.testing.assert_allclose(scores["fastbp"], scores["sklearn"], atol=1e-6)
        assert ratio > 0


def test_asv_can_import_every_module_without_the_peers() -> None:
    names = [f"bench.{path.stem}" for path in (ROOT / "bench").glob("*.py")]
    code = ("import importlib, sys\n"
            "for name in ('sklearn', 'torch', 'jax', 'matplotlib', 'onnx', 'pyarrow'):\n"
            "    sys.modules[name] = None\n"
            f"for name in {names}:\n    importlib.import_module(name)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          cwd=ROOT)
    assert len(names) > 15 and done.returncode == 0, done.stderr
