"""The rules of the house: floors, one place that compiles, kernels that cannot fail."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastbp
from fastbp.layers import LAYERS
from fastbp.losses import LOSSES
from fastbp.optimizers import OPTIMIZERS

ROOT = Path(fastbp.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in SOURCES}
#: First match names the floor; machinery and network stand on steps of their own.
FLOORS = [("_garbage", -1.2), ("_warning", -1.2), ("_convention", -1.1), ("_compiler", -1.0),
          ("_cache", -0.5), ("_cgroup", -0.5), ("_extras", 0.0), ("_typing", 0.0), ("_jit", 0.0),
          ("_validation", 0.0), ("ahead", 0.0), ("interrupts", 0.0), ("table", 0.5),
          ("_configured", 0.5),
          ("kernels", 1.0), ("initializers", 2.0), ("schedules", 2.0), ("layers", 2.1),
          ("optimizers", 2.1), ("losses", 2.2), ("panels", 3.0), ("tasks", 3.0), ("way", 3.0),
          ("sharing", 3.05), ("plan", 3.1), ("rows", 3.1), ("updates", 3.1),
          ("engine", 3.2), ("history", 4.0), ("chain", 4.0), ("outputs", 4.0), ("doors", 4.0),
          ("rules", 4.0), ("trainable", 4.0), ("metrics", 4.0),
          ("weights", 4.0), ("callbacks", 4.0), ("options", 4.0), ("summary", 4.0),
          ("portable", 4.0), ("portable_run", 4.0), ("textbook", 4.0), ("network", 4.1),
          ("step_sizes", 4.1), ("run", 4.15), ("arguments", 4.16),
          ("threads", 4.16), ("job", 4.17), ("training", 4.2), ("lbfgs", 4.2),
          ("sensitivity", 4.2), ("peak", 4.2), ("layer_statistics", 4.2), ("gradients", 4.2),
          ("sources", 4.2), ("online", 4.25), ("many", 4.3), ("streaming", 4.3), ("io", 5.0),
          ("datasets", 5.0),
          ("estimators", 5.0), ("plot", 5.0), ("data", 5.0), ("peers", 5.0), ("report", 5.05),
          ("model", 5.05), ("cli", 5.9), ("__init__", 6.0), ("__main__", 6.0)]
#: Methods of Network that open doors to the floors above, when called.
UPWARD = {("doors", "training"), ("doors", "online"), ("doors", "io"), ("doors", "sensitivity"),
          ("callbacks", "io"), ("job", "io")}
HEAVY = ("sklearn", "rich", "mlxtend", "pandas", "scipy", "torch", "onnx", "keras", "asv",
         "matplotlib", "argparse", "pyarrow")


def floor(module: str) -> float:
    return next(level for name, level in FLOORS if module.split(".")[0] == name)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports(path: Path) -> list[tuple[str, bool]]:
    """Modules of fastbp that a file imports, and whether only inside a function."""
    tree, found = TREES[path], []
    package = ["fastbp", *path.relative_to(ROOT).parent.parts]
    typing = [n for n in ast.walk(tree) if isinstance(n, ast.If)
              and "TYPE_CHECKING" in ast.unparse(n.test)]
    skip = {id(x) for n in typing for x in ast.walk(n)}
    lazy = {id(x) for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.Lambda))
            for x in ast.walk(n)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "_Door":  # by name
            found.append((ast.literal_eval(node.args[0]), True))
        if id(node) in skip or not isinstance(node, ast.ImportFrom) or node.level == 0:
            continue
        base = package[1:len(package) - node.level + 1]
        names = [node.module] if node.module else [a.name for a in node.names]
        found += [(".".join([*base, n]) or "__init__", id(node) in lazy) for n in names]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_imports_point_down_the_floors(path: Path) -> None:
    own = module_of(path)
    for other, lazy in imports(path):
        if other.startswith("__version__"):
            continue
        if lazy and (own.split(".")[0], other.split(".")[0]) in UPWARD:
            continue
        assert floor(other) <= floor(own), f"{own} imports {other}"


def test_the_import_rule_sees_something() -> None:
    assert ("kernels.vectors", False) in imports(ROOT / "layers" / "base.py")
    assert {("training", True), ("io", True)} <= {*imports(ROOT / "doors.py")}
    assert floor("network") > floor("engine") > floor("plan") > floor("layers.dense")


def test_only_jit_compiles() -> None:
    for path, tree in TREES.items():
        if path.name == "_jit.py" or path.parts[-2:] == ("peers", "jax.py"):  # JAX's own jit
            continue
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        names |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        names |= {a.name for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))
                  for a in n.names}
        assert not names & {"njit", "jit", "vectorize", "guvectorize", "cfunc"}, path


def decorated(tree: ast.AST, *names: str) -> list[ast.FunctionDef]:
    def is_one(d: ast.expr) -> bool:
        d = d.func if isinstance(d, ast.Call) else d
        return isinstance(d, ast.Name) and d.id in names

    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)
            and any(map(is_one, n.decorator_list))]


#: What kernels may call by a dot: numbers of NumPy and math, and what allocates nothing.
SCALARS = {f"np.{name}" for name in ("float32", "float64", "int32", "int64", "uint32", "uint64",
                                     "sqrt")}
METHODS = {"type", "view"}  # of x.dtype; of numbers and arrays
ALLOCATING = (ast.List, ast.ListComp, ast.Dict, ast.DictComp, ast.Set, ast.SetComp,
              ast.GeneratorExp, ast.JoinedStr, ast.MatMult)


def allocations(function: ast.AST) -> set[str]:
    """What may allocate: calls of NumPy and methods other than the ones above, and displays."""
    nodes = [*ast.walk(function)]
    return {type(n).__name__ for n in nodes if isinstance(n, ALLOCATING)} | {
        ast.unparse(n.func) for n in nodes
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
        and n.func.attr not in METHODS
        and ast.unparse(n.func) not in SCALARS and ast.unparse(n.func.value) != "math"}


@pytest.mark.parametrize("line", [
    *(f"np.{name}(x)" for name in (
        "empty", "zeros", "ones", "full", "copy", "dot", "empty_like", "zeros_like", "ones_like",
        "full_like", "arange", "linspace", "array", "asarray", "concatenate", "stack", "sum",
        "random.rand")),
    "x.copy()", "x[1:].copy()", "x.astype(np.float64)", "x.dtype.type(1) * x.sum()",
    "x.reshape(2).copy()", "x @ x", "[1]", "[i for i in x]", "{1: 2}", "{1}", "sum(i for i in x)"])
def test_the_rule_of_kernels_sees_what_allocates(line: str) -> None:
    assert allocations(ast.parse(f"def f(x):\n    y = {line}"))


def test_the_rule_of_kernels_lets_numbers_be() -> None:
    assert not allocations(ast.parse(
        "def f(x, n):\n    x[0] = x.dtype.type(np.int32(n).view(np.float32)) + math.log(x[1])\n"
        "    g(x[2:].view(np.uint32), np.sqrt(x[3]), (1, 2))"))


KERNELS = [(path, f) for path, tree in TREES.items() for f in decorated(tree, "kernel", "driver")]


@pytest.mark.parametrize(("path", "function"), KERNELS, ids=[f.name for _, f in KERNELS])
def test_kernels_neither_raise_nor_allocate(path: Path, function: ast.FunctionDef) -> None:
    assert not any(isinstance(n, (ast.Raise, ast.Assert, ast.Try)) for n in ast.walk(function))
    assert not allocations(function)
    if function in decorated(TREES[path], "driver"):  # no reduction over prange
        for loop in (n for n in ast.walk(function) if isinstance(n, ast.For)):
            assert not any(isinstance(n, ast.AugAssign) for n in ast.walk(loop))


def test_fast_math_is_contraction_and_only_where_it_is_safe() -> None:
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "fastmath":
                text = ast.unparse(node.value)
                if path.name == "_jit.py":
                    continue
                assert text == "CONTRACT", path
                assert path.parent.name in ("optimizers", "kernels"), path
    from fastbp._jit import CONTRACT, kernel

    assert frozenset({"contract"}) == CONTRACT
    with pytest.raises(ValueError, match="nnan"):
        kernel(lambda x: x, fastmath=frozenset({"nnan"}))


@pytest.mark.parametrize("table", [LAYERS, LOSSES, OPTIMIZERS], ids=["layers", "losses", "opt"])
def test_registered_parts_are_compiled_and_public(table: dict[str, type]) -> None:
    for part in table.values():
        assert getattr(part, "kernels" if table is LAYERS else "kernel") is not None
    assert all(name == c.__name__ for name, c in table.items())
    for name in table:
        assert getattr(fastbp, name) is table[name]


def public_functions() -> list[tuple[str, ast.FunctionDef]]:
    found = []
    for path, tree in TREES.items():
        kernels = set(map(id, decorated(tree, "kernel", "driver", "overload", "intrinsic")))
        scopes: list[tuple[str, ast.AST]] = [(module_of(path), tree)]
        scopes += [(f"{module_of(path)}.{n.name}", n) for n in tree.body
                   if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]
        for prefix, scope in scopes:
            for n in ast.iter_child_nodes(scope):
                if isinstance(n, ast.FunctionDef) and id(n) not in kernels and (
                        not n.name.startswith("_")):
                    found.append((f"{prefix}.{n.name}", n))
    return found


@pytest.mark.parametrize(("name", "f"), public_functions(), ids=[n for n, _ in public_functions()])
def test_public_functions_are_typed_and_described(name: str, f: ast.FunctionDef) -> None:
    if any("setter" in ast.unparse(d) for d in f.decorator_list):
        return
    arguments = [*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs]
    missing = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
    assert not missing and f.returns is not None, f"{name}: {missing}"
    assert ast.get_docstring(f), name


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_files_are_one_concept(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 350
    assert ast.get_docstring(TREES[path])
    if path.name == "_cache.py":  # it loads its own files, which nobody else may write
        text = text.replace("pickle.loads(data[32:])", "")
    assert not re.search(r"\b(eval|exec|pickle\.loads?)\(", text)


def test_import_is_light_and_does_nothing() -> None:
    code = f"""
import sys, threading
from numba.core import event
compiled = []
class Listener(event.Listener):
    def on_start(self, e): compiled.append(e)
    def on_end(self, e): pass
event.register("numba:compile", Listener())
import numba
before = set(sys.modules)
import fastbp
assert not [m for m in sys.modules if m.startswith("fastbp.")]  # names come when asked for
for name in fastbp.__all__:
    if not name.startswith("MLP"):  # scikit-learn's estimators
        getattr(fastbp, name)
heavy = [m for m in set(sys.modules) - before if m.split(".")[0] in {HEAVY!r}]
assert not heavy, heavy
assert not compiled and threading.active_count() == 1
assert "safetensors" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names() -> None:
    homes = {name: home for home, names in fastbp._HOMES.items() for name in names}
    assert {*homes, "data", "schedules"} == set(fastbp.__all__)
    typed = next(n for n in TREES[ROOT / "__init__.py"].body if isinstance(n, ast.If))
    assert {a.name: n.module for n in typed.body if isinstance(n, ast.ImportFrom)
            for a in n.names} == {**homes, "data": None, "schedules": None}
    listed = next(ast.literal_eval(n.value) for n in typed.body if isinstance(n, ast.Assign))
    assert sorted(listed) == fastbp.__all__
    for name in fastbp.__all__:
        assert getattr(fastbp, name).__doc__, name
    assert (ROOT / "py.typed").exists()
