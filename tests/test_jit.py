"""The ground floor: a cache that cannot hurt, threads that cannot hang."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastbp import _cache, _jit

from .programs import entries, run

_SMALL = """
import numpy as np
from fastbp.kernels.random import shuffle
order = np.empty(9, np.int64)
shuffle(order, 1, 2)
print(*order)
"""
#: The same, and the warnings; two kernels are compiled.
_TOLD = f"""
import warnings
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always", RuntimeWarning)
    {_SMALL.strip().replace(chr(10), chr(10) + "    ")}
    import fastbp.engine
    fastbp.engine.step_key(1, 2)
print(*(one.message for one in told if one.category is RuntimeWarning), sep=chr(10))
"""


def test_kernels_are_cached_privately_and_reused(tmp_path: Path) -> None:
    first = run(_SMALL, FASTBP_CACHE_DIR=str(tmp_path / "a"))
    saved = entries(tmp_path)
    assert saved and not [p for p in saved if p.suffix == ".tmp"]
    (folder,) = {p.parent for p in saved}
    assert folder.stat().st_mode & 0o777 == 0o700
    times = {p: p.stat().st_mtime_ns for p in saved}
    assert run(_SMALL, FASTBP_CACHE_DIR=str(tmp_path / "a")) == first
    assert {p: p.stat().st_mtime_ns for p in entries(tmp_path)} == times


def test_cached_kernels_need_nothing_of_what_compiles(tmp_path: Path) -> None:
    code = _SMALL + "\nimport sys; print('numba.np.linalg' in sys.modules)"
    loaded = [run(code, FASTBP_CACHE_DIR=str(tmp_path)).split()[-1] for _ in range(2)]
    assert loaded == ["True", "False"]


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "garbage"])
def test_a_damaged_cache_is_compiled_again(tmp_path: Path, damage: str) -> None:
    first = run(_SMALL, FASTBP_CACHE_DIR=str(tmp_path))
    whole = entries(tmp_path)
    for path, data in whole.items():
        path.write_bytes({"truncate": data[:len(data) // 2], "empty": b"", "garbage": b"x" * 99,
                          "flip": data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]}[damage])
    assert run(_SMALL, FASTBP_CACHE_DIR=str(tmp_path)) == first
    assert all(path.read_bytes() != b"" for path in whole)
    assert run(_SMALL, FASTBP_CACHE_DIR=str(tmp_path)) == first


def test_no_place_for_a_cache_is_no_error(tmp_path: Path) -> None:
    first = run(_SMALL, FASTBP_CACHE_DIR="")
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    for folder in (blocked, blocked / "below"):
        numbers, warning = run(_TOLD, FASTBP_CACHE_DIR=str(folder)).splitlines()
        assert numbers == first.strip()
        assert "FASTBP_CACHE_DIR" in warning and f"{folder}{os.sep}" in warning
    assert blocked.read_text() == "not a directory"


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_a_cache_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    run(_SMALL, FASTBP_CACHE_DIR=str(tmp_path))
    (folder,) = {p.parent for p in entries(tmp_path)}
    for path in entries(tmp_path):
        path.unlink()
    folder.chmod(0o777)
    (warning,) = run(_TOLD, FASTBP_CACHE_DIR=str(tmp_path)).splitlines()[1:]
    assert f"{folder} belongs to another user, or others may write to it" in warning
    assert not entries(tmp_path)


def test_the_key_names_sources_and_instruction_set(monkeypatch: pytest.MonkeyPatch,
                                                   tmp_path: Path) -> None:
    monkeypatch.setenv("FASTBP_CACHE_DIR", str(tmp_path))
    find = _cache.cache_dir.__wrapped__
    first = find()
    monkeypatch.setenv("FASTBP_ISA", "generic")
    assert first and find() != first and find() == find()
    monkeypatch.delenv("FASTBP_ISA")
    monkeypatch.setattr(_cache.numba, "__version__", "0.0")
    assert find() != first


def test_a_relative_folder_stays_where_it_was(monkeypatch: pytest.MonkeyPatch,
                                              tmp_path: Path) -> None:
    monkeypatch.setenv("FASTBP_CACHE_DIR", "kernels")
    monkeypatch.chdir(tmp_path)  # code of whatever folder one goes to later must not be run
    assert _cache.cache_dir.__wrapped__().parent == tmp_path / "kernels"


def test_kernels_with_closures_are_refused() -> None:
    inner = 3
    with pytest.raises(TypeError, match="closes over"):
        _jit.kernel(lambda x: x + inner)


_CALLS = """
import numpy as np
from fastbp._jit import kernel
@kernel
def inner(x, n):
    for i in range(n):
        x[i] += 1
@kernel
def outer(x, n):
    inner(x, n)
x = np.zeros(4)
"""


@pytest.mark.parametrize("order", ["outer(x, 2); inner(x, 3)", "inner(x, 3); outer(x, 2)",
                                   "outer(x, np.int64(2)); inner(x, 3); inner(x, np.int32(0))"])
def test_kernels_that_others_call_can_be_called_from_python(order: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(_CALLS + order + "\nprint(*x)")
    code = f"exec(compile(open({str(file)!r}).read(), {str(file)!r}, 'exec'))"
    for _ in range(2):  # compiled; from the cache
        found = run(code, FASTBP_CACHE_DIR=str(tmp_path / "c"))
        assert found.split() == ["2.0", "2.0", "1.0", "0.0"]


def test_a_first_call_of_several_threads_at_once_is_the_last_slow_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(_CALLS + """
from threading import Barrier, Thread
def call():
    start.wait()
    inner(np.zeros(4), 3)
start = Barrier(8)
threads = [Thread(target=call) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
slow = []
type(inner)._compile_for_args = lambda *args: slow.append(args)
inner(x, 3)
print(*x, len(slow))
""")
    code = f"exec(compile(open({str(file)!r}).read(), {str(file)!r}, 'exec'))"
    assert run(code, FASTBP_CACHE_DIR="").split() == ["1.0", "1.0", "1.0", "0.0", "0"]


def test_addresses_of_one_process_are_never_cached(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("""
import numpy as np
from fastbp._jit import kernel
LARGE = np.full(300_000, 7.0)  # not copied into the code, as small ones are
@kernel
def inner(x):
    x[0] = LARGE[12345]
@kernel
def outer(x):
    inner(x)
x = np.zeros(1)
outer(x)
print(*x)
""")
    code = f"exec(compile(open({str(file)!r}).read(), {str(file)!r}, 'exec'))"
    for _ in range(2):
        assert run(code, FASTBP_CACHE_DIR=str(tmp_path / "c")).split() == ["7.0"]


def test_a_pickled_kernel_can_be_called_elsewhere(tmp_path: Path) -> None:
    file, load = tmp_path / "kernel", "import numpy as np; from numba import cloudpickle as p\n"
    run(f"{load}from fastbp.kernels.add import add_scaled; open({str(file)!r}, 'wb')"
        ".write(p.dumps(add_scaled))")
    out = run(f"{load}x = np.ones(2); f = p.loads(open({str(file)!r}, 'rb').read())\n"
              "f(x, 2.0, np.arange(1.0, 3.0)); print(*x)")
    assert out.split() == ["3.0", "5.0"]


def test_no_index_is_out_of_bounds_where_numba_checks_them() -> None:
    code = """
import numpy as np
from fastbp import Dense, Network, ReLU, Softmax, CrossEntropyLoss
net = Network([Dense(5, 20), ReLU(), Dense(20, 3), Softmax()], CrossEntropyLoss())
X, T = np.random.default_rng(0).normal(size=(50, 5)), np.arange(50) % 3
losses = net.fit(X, T, epochs=3, batch_size=16, sample_weight=np.ones(50))["loss"]
print(losses[-1] < losses[0], net.predict(X).shape)
"""
    assert run(code, FASTBP_CACHE_DIR="", NUMBA_BOUNDSCHECK="1").split() == ["True", "(50,", "3)"]


_FIT = """
import numpy as np, fastbp
from fastbp import sharing
sharing.PARALLEL_THRESHOLD = sharing.SETTLED_WORK = 0
def fit():
    net = fastbp.Network([fastbp.Dense(4, 40), fastbp.Sigmoid(), fastbp.Dense(40, 2)], "L2Loss")
    X = np.random.default_rng(0).normal(size=(300, 4))
    net.fit(X, X[:, :2], epochs=3, n_threads=2)
    return net.params.tobytes(), net.textbook(X, X[:, :2])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_forked_children_train(tmp_path: Path) -> None:
    out = run(_FIT + """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of any fork with threads
here = fit()
child = os.fork()
if child == 0:
    same = fit() == here
    os._exit(0 if same else 1)
print(os.waitpid(child, 0)[1], fit() == here)
""", NUMBA_THREADING_LAYER="omp")
    assert out.split() == ["0", "True"]


def test_workqueue_alone_is_enough() -> None:
    """Two threads at once: Numba's workqueue would abort the process."""
    out = run(_FIT + """
import threading
from fastbp._jit import parallel_allowed, threading_layer
results = []
threads = [threading.Thread(target=lambda: results.append(fit())) for _ in range(3)]
[t.start() for t in threads]
[t.join() for t in threads]
print(threading_layer(), parallel_allowed(), len(set(results)))
""", NUMBA_THREADING_LAYER="workqueue")
    assert out.split() == ["workqueue", "False", "1"]


def test_thread_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_jit.config, "NUMBA_NUM_THREADS", 4)
    assert [_jit.thread_count(n) for n in (None, 1, 3, 4, 99)] == [4, 1, 3, 4, 4]


def test_a_quota_limits_threads_that_nobody_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_jit, "within_quota", lambda n: min(n, 3))
    for default, chosen, count in ((8, False, 3), (2, False, 2), (8, True, 8), (16, False, 8)):
        monkeypatch.setattr(_jit.config, "NUMBA_DEFAULT_NUM_THREADS", default)
        monkeypatch.setattr(_jit.config, "NUMBA_NUM_THREADS", min(default, 8))
        monkeypatch.setattr(_jit, "_CHOSEN", chosen)
        assert _jit.thread_count(None) == count
        assert _jit.thread_count(5) == min(default, 5)
    out = run("from fastbp._jit import _CHOSEN; print(_CHOSEN)", NUMBA_NUM_THREADS="1")
    assert out.split() == ["True"]


_PLAIN = """
import warnings
import numpy as np, fastbp
from fastbp.layers import LAYERS
from fastbp.losses import LOSSES
from fastbp.kernels.random import encipher, shuffle
def numbers():
    order = np.empty(90, np.int64)
    shuffle(order, 2**63 - 1, 3)
    yield order.copy()
    encipher(order, np.uint32(2**32 - 1), 0, 9, 10)
    yield order
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        X = rng.uniform(0.1, 0.9, (5, 4)).astype(dtype)
        for name, make in LAYERS.items():
            layer = make(4, 3, dtype=dtype) if name == "Dense" else make()
            for layer.key in (0, 2**63 + 1):
                Y = layer.forward(X)
                yield from (Y, layer.backward(Y), *layer.gradients().values())
        for make in LOSSES.values():
            loss = make()
            yield np.array(loss.forward(X, X[::-1] / 2), dtype)
            yield loss.backward()
        for optimizer in (fastbp.SGD(0.1), fastbp.SGD(0.1, 0.9, True), fastbp.Adam(0.01)):
            net = fastbp.Network([fastbp.Dense(4, 5), fastbp.Tanh(), fastbp.Dense(5, 3),
                                  fastbp.Softmax()], fastbp.CrossEntropyLoss(), dtype)
            net.fit(X, [0, 1, 2, 1, 0], epochs=2, batch_size=3, optimizer=optimizer)
            yield from (net.params.copy(), net.predict(X), net.loss_and_grad(X, [0] * 5)[1])
        net = fastbp.Network([fastbp.Dense(4, 9), fastbp.BatchNorm(), fastbp.Dropout(0.3),
                              fastbp.LayerNorm(), fastbp.Dense(9, 6), fastbp.ReLU(),
                              fastbp.Dense(6, 3)], "SoftmaxCrossEntropyLoss", dtype)
        net.fit(X, [0, 1, 2, 1, 0], epochs=3, batch_size=3, optimizer=fastbp.SGD(0.1, 0.9),
                l1=0.01, l2=0.1, clip_value=0.5, clip_norm=0.3, max_norm=1.0, average=0.9)
        yield from (net.params.copy(), net.predict(X))
for value in numbers():
    print(value.dtype.name, *value.ravel().astype(float).tolist())
"""


def test_kernels_are_right_as_plain_python() -> None:
    """NUMBA_DISABLE_JIT=1: the same numbers but for fused rounding; one can debug."""
    import numpy as np

    plain = run(_PLAIN, NUMBA_DISABLE_JIT="1").splitlines()
    compiled = run(_PLAIN).splitlines()
    assert len(plain) == len(compiled) > 40
    for a, b in zip(plain, compiled, strict=True):
        (dtype, *x), (other, *y) = a.split(), b.split()
        tolerance = 1e-12 if dtype == "float64" else 1e-5
        assert dtype == other
        np.testing.assert_allclose(np.array(x, float), np.array(y, float), rtol=tolerance,
                                   atol=tolerance)
