"""The progress bar, and its plain lines."""

from __future__ import annotations

import copy
import io
import pickle
import re
import sys
from typing import Any

import pytest

pytest.importorskip("click")
pytest.importorskip("pyarrow")

import fastbp
from fastbp.callbacks.progress import ProgressBar, progress

from .builders import classifier, clusters


def test_the_bar_shows_loss_accuracy_and_speed() -> None:
    from rich.console import Console

    X, T = clusters(60)
    screen = io.StringIO()
    bar = ProgressBar(Console(file=screen, force_terminal=True, width=120))
    classifier().fit(X, T, epochs=3, validation_data=(X, T), callbacks=[bar])
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert re.search(r"epoch 3/3.*loss \d+\.\d+.*accuracy \d+\.\d+%.*[\d,]+ samples/s", text)


def test_the_bar_of_a_second_fit_starts_empty() -> None:
    from rich.console import Console

    bar = ProgressBar(Console(file=io.StringIO(), force_terminal=True))
    for _ in range(2):
        bar.on_train_begin(classifier(), 2, 50)
        task = bar._bar.tasks[0]
        assert (task.completed, task.total, task.fields["figures"]) == (0, 100, "")
        bar.on_chunk_end(1, 20)
        assert task.completed == 70
        bar.on_epoch_end(1, {"loss": 1.0})
        bar.on_train_end()


def test_a_bar_can_be_copied_and_pickled() -> None:
    """As callbacks of estimators are, by clone and GridSearchCV."""
    bar = ProgressBar()
    for again in (pickle.loads(pickle.dumps(bar)), copy.deepcopy(bar)):
        X, T = clusters(30)
        classifier().fit(X, T, epochs=1, callbacks=[again])
        pickle.dumps(again)


def test_plain_lines_without_terminal_or_rich(monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    plain: Any = io.StringIO()
    lines = progress(plain)
    assert isinstance(lines, fastbp.callbacks.PrintEpoch)
    X, T = clusters(30)
    classifier().fit(X, T, epochs=2, callbacks=[lines])
    assert plain.getvalue().startswith("epoch 1/2  loss") and not capsys.readouterr().out
    assert isinstance(progress(Terminal()), ProgressBar)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert isinstance(progress(Terminal()), fastbp.callbacks.PrintEpoch)
    assert "fastbp[cli]" in capsys.readouterr().err
