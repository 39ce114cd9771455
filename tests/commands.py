"""The command, run within this process or as one of its own, and files for it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastbp
from fastbp.cli import main
from fastbp.cli.exits import SIGNALS
from fastbp.run import Run


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The last line of stdout."""
        return json.loads(self.out.splitlines()[-1])


class Signalling:
    """A signal comes once, when a run has taken so many steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
        advance, sent = Run.advance, list[int]()

        def advanced(run: Run, n_steps: int, n_threads: int) -> None:
            advance(run, n_steps, n_threads)
            if run.cursor[0] >= steps and not sent:
                sent.append(steps)
                SIGNALS.handle(signal.SIGINT)

        monkeypatch.setattr(Run, "advance", advanced)


class Here:
    """Commands within this process, in a folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys

    def __call__(self, *argv: object) -> Done:
        self.capsys.readouterr()
        status = main([str(a) for a in argv])
        return Done(status, *self.capsys.readouterr())

    def fails(self, *argv: object, status: int = 1) -> str:
        """The one line that a command fails with."""
        done = self(*argv)
        assert done.status == status, done
        assert "Traceback" not in done.err
        lines = [x for x in done.err.splitlines() if x.startswith("fastbp: error: ")]
        assert len(lines) == 1 and done.err.splitlines()[-1] == lines[0], done.err
        assert not done.out
        return lines[0]


def told(*argv: str, data: str = "iris") -> Any:
    """The context that train makes of its arguments."""
    from fastbp.cli.train import command

    # As within the group: click keeps what the first context makes.
    return command.make_context("train", [data, *argv], help_option_names=["-h", "--help"])


def settings(*argv: str, data: str = "iris") -> dict[str, Any]:
    """What train makes of its arguments."""
    found: dict[str, Any] = told(*argv, data=data).params
    return found


#: Options of a run of a moment.
QUICK = ("--epochs", "3", "--hidden", "8", "--no-report", "--quiet")
#: Runs the command where no file may become larger.
_SMALL_FILES = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
runpy.run_module("fastbp", run_name="__main__", alter_sys=True)
"""


def process(*argv: object, folder: Path, file_bytes: int | None = None,
            **options: Any) -> subprocess.CompletedProcess[str]:
    """A process of its own, in which no file may become larger than ``file_bytes``."""
    start = ["-m", "fastbp"] if file_bytes is None else ["-c", _SMALL_FILES.format(file_bytes)]
    return subprocess.run([sys.executable, *start, *map(str, argv)], cwd=folder,
                          capture_output=True, text=True, **options)


def params(path: Path) -> Any:
    """Parameters of a model file, or of the model in a folder."""
    return fastbp.load(path / "model.safetensors" if path.is_dir() else path).params


def table(path: Path, rows: int = 200, *, seed: int = 0, delimiter: str = ",",
          **columns: Any) -> Path:
    """A file with numbers, words and two targets: a word and a number."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=rows), rng.normal(size=rows) * 30 + 100
    colour = rng.choice(["red", "green", "blue"], rows)
    kind = np.where(x + (colour == "red") > 0.3, "yes", "no")
    y = 2 * x + (colour == "blue") + 5
    found = {"x": x, "z": z, "colour": colour, "kind": kind, "y": y, **columns}
    lines = [delimiter.join(found), *(delimiter.join(map(str, row)) for row in
                                      zip(*found.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path
