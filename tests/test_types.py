"""What type checkers, help and completion tell users of the options."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import fastbp
from fastbp import Network, fit_many, online, training
from fastbp.options import CommonOptions, MoreOptions

#: A user's program; a line with an error says its code.
PROGRAM = '''
from typing import Any

import numpy as np
from numpy.typing import NDArray
from fastbp import Dense, EarlyStopping, History, Layer, Loss, Network, Tanh, fit_many

X = np.zeros((8, 2))
net = Network([Dense(2, 2)], "MSELoss")
history: History = net.fit(X, X, epochs=3, callbacks=[EarlyStopping()], metrics=["mae"])
history = net.partial_fit(X, X, optimizer="sgd", l2=0.1)
figures: dict[str, float] = net.evaluate(X, X, metrics=["mae"])
histories: list[History] = fit_many([net], X, X, epochs=3, options=[{"l1": 0.1}], n_threads=1)
net.fit(X, X, epoch=3)  # call-arg
net.fit(X, X, epochs="x")  # arg-type
net.partial_fit(X, X, shufle=False)  # call-arg
net.partial_fit(X, X, epochs=3)  # call-arg
net.partial_fit(X, X, verbose="x")  # arg-type
net.evaluate(X, X, metric=["mae"])  # call-arg
fit_many([net], X, X, epoch=3)  # call-arg
fit_many([net], X, X, epochs="x")  # arg-type

net.layers[0].weight[0, :] = 0
net.layers[0].trainable = "x"  # assignment
net.layers[0].connect("x")  # arg-type
first, *_ = net.layers
if isinstance(first, Dense):
    first.weight.fill(0)
dense = Dense(2, 2)
mine = net.layers[0] is dense or type(net.layers[0]) is Dense
more: list[Layer] = [*net.layers, dense]
Dense(2, 2).forward(X, allow_nonfinite=False)
Tanh().forward(X, allow_nonfinite=False).sum()


class Scale(Layer):
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"a": (self.n_in,)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.parameters()["a"][...] = 1

    def forward(self, X: NDArray[Any]) -> NDArray[Any]:
        self.X = X
        return X * self.parameters()["a"]

    def backward(self, dY: NDArray[Any]) -> NDArray[Any]:
        self.gradients()["a"][...] = (dY * self.X).sum(axis=0)
        return dY * self.parameters()["a"]


class Plain(Loss):
    def forward(self, X: NDArray[Any], T: NDArray[Any]) -> float:
        self.d = X - T
        return float((self.d**2).sum())

    def backward(self) -> NDArray[Any]:
        return np.asarray(2 * self.d)


class Weighted(Plain):
    def forward(self, X: Any, T: Any, sample_weight: Any = None) -> float:
        return super().forward(X, T)


class Wrong(Layer):
    def forward(self, X: NDArray[Any]) -> str:  # override
        return ""


Network([Dense(2, 2), Scale(), Scale()], Weighted()).fit(X, X)
'''


def test_a_program_of_a_user_is_checked(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    told = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent",
         "--hide-error-context", "--no-error-summary", "--no-pretty", "--config-file", os.devnull,
         "--cache-dir", str(tmp_path / "cache"), program.name],
        capture_output=True, text=True, cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(Path(fastbp.__file__).parent.parent)}).stdout
    found = [line.split(":")[1] + line[line.rindex("["):]
             for line in told.splitlines() if " error: " in line]
    assert found == [f"{i}[{line.split('  # ')[1]}]"
                     for i, line in enumerate(PROGRAM.splitlines(), 1) if "  # " in line], told


@pytest.mark.parametrize("function", [training.fit, online.partial_fit, training.evaluate])
def test_methods_show_the_options_of_the_functions(function: Callable[..., Any]) -> None:
    net, name = fastbp.Network([fastbp.Dense(1, 1)], "MSELoss"), function.__name__
    assert inspect.signature(getattr(Network, name)) == inspect.signature(function)
    assert [*inspect.signature(getattr(net, name)).parameters] == [
        *inspect.signature(function).parameters][1:]
    assert inspect.getdoc(getattr(net, name)) == inspect.getdoc(function)


def test_methods_are_shown_before_anything_is_trained() -> None:
    code = """
import inspect, pydoc, sys
from fastbp import Network
assert "fastbp.training" not in sys.modules
assert "epochs: 'int' = 10" in pydoc.render_doc(Network, renderer=pydoc.plaintext)
assert "clip_norm" in inspect.signature(Network.partial_fit).parameters
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("function", "without", "options"), [
    (online.partial_fit, {"epochs", "warm_start"}, MoreOptions),
    (fit_many, set(), CommonOptions)])
def test_options_that_are_passed_on_are_those_of_fit(
        function: Callable[..., Any], without: set[str], options: Any) -> None:
    own, of_fit = (inspect.signature(f).parameters for f in (function, training.fit))
    assert set(of_fit) - set(own) == without | {"network"} - set(own)
    assert not any(p.kind is p.VAR_KEYWORD for p in own.values())
    assert all((own[name].default, own[name].annotation)
               == (of_fit[name].default, of_fit[name].annotation) for name in {*own} & {*of_fit})
    hints = {name: hint.__forward_arg__ for name, hint in options.__annotations__.items()}
    named = {*function.__annotations__, *without, "network"}
    assert hints == {name: p.annotation for name, p in of_fit.items() if name not in named}
    assert not options.__required_keys__
    assert get_type_hints(function)  # all of its names are there when the program runs
