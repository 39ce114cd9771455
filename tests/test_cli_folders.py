"""What is in the folder of a run while another one, or an error, comes in between."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("pyarrow")

from .commands import Here, Signalling, params, process

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and locks of Unix")


@pytest.mark.parametrize("again", [("--resume",), (), ("--overwrite",)])
@pytest.mark.parametrize("name", ["metrics.jsonl", "config.toml", "model.safetensors"])
def test_the_next_start_completes_moving(name: str, again: tuple[str, ...], run: Here,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", "--epochs", "2", "-q", "--no-report", "-o")
    assert run(*argv, "r", "--seeds", "0,1").status == 0  # of another kind, with other files
    assert run(*argv, "new", "--seed", "1").status == 0
    replace = os.replace

    def stopped(source: Any, place: Any) -> None:
        if Path(place) == Path("r", name):
            raise OSError(5, "Input/output error", str(place))
        replace(source, place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stopped)
        run.fails(*argv, "r", "--seed", "1", "--overwrite")
    done = run(*argv, "r", "--seed", "1", *again)
    assert done.status == (0 if again else 1)
    assert ("r is finished" in done.err) == (again == ("--resume",)), done.err
    assert {p.name for p in Path("r").iterdir()} == {p.name for p in Path("new").iterdir()}
    np.testing.assert_array_equal(params(Path("r")), params(Path("new")))
    assert Path("r/config.toml").read_text() == Path("new/config.toml").read_text()


def test_earlier_results_stay_until_new_ones_are_complete(run: Here,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", "--epochs", "5", "-q", "--no-report")
    assert run(*argv).status == 0
    folder = run.folder / "fastbp-iris"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def unchanged() -> bool:
        return before == {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}

    assert "--overwrite" in run.fails(*argv) and unchanged()
    with monkeypatch.context() as patch:
        Signalling(patch, 2)
        assert run(*argv, "--overwrite", "--seed", "1").status == 130
    assert unchanged() and (folder / "unfinished").exists()
    assert "--resume" in run.fails(*argv[:-2], "-q", "-o", "fastbp-iris")
    line = run.fails(*argv, "--resume", "--seed", "2")
    assert "seed = 1" in line and "2" in line and unchanged()
    # divergence, and a model that cannot be written
    assert run(*argv, "--overwrite", "--optimizer", "sgd", "--lr", "1e30").status == 3
    assert unchanged() and not (folder / "unfinished").exists()
    from fastbp.model import Model

    def full(model: Model, path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Model, "save", full)
        assert "No space left on device" in run.fails(*argv, "--overwrite", "--seed", "1")
    assert unchanged()
    assert run(*argv, "--overwrite", "--resume", "--seed", "1").status == 0
    assert not unchanged() and not (folder / "unfinished").exists()


def test_a_full_disk_is_one_line_and_earlier_results_stay(tmp_path: Path) -> None:
    assert process("train", "iris", "--epochs", "2", "-q", "--no-report",
                   folder=tmp_path).returncode == 0
    before = params(tmp_path / "fastbp-iris")

    done = process("train", "iris", "--epochs", "3", "-q", "--no-report", "--overwrite",
                   "--hidden", "300", folder=tmp_path, file_bytes=2000,
                   env={**os.environ, "FASTBP_CACHE_DIR": os.environ.get("FASTBP_CACHE_DIR", "")})
    assert done.returncode == 1 and not done.stdout
    assert len(done.stderr.splitlines()) == 1 and "fastbp: error:" in done.stderr
    assert "fastbp-iris" in done.stderr and "too large" in done.stderr
    np.testing.assert_array_equal(before, params(tmp_path / "fastbp-iris"))


def test_two_runs_in_one_folder_are_refused(run: Here) -> None:
    from fastbp.cli.output import Output

    folder = run.folder / "r"
    first = Output(folder)
    settings = {"data": "iris", "output": "r", "overwrite": True, "resume": False}
    first.begin(first.plan(settings), settings, "0", "")
    line = run.fails("train", "iris", "-o", folder, "-q", "--overwrite")
    assert "another fastbp train is at work" in line
    first.discard()
    assert not folder.exists()
    assert run("train", "iris", "-o", folder, "-q", "--epochs", "1", "--no-report").status == 0


@pytest.mark.parametrize("how", ["finished", "unfinished", "begun"])
@pytest.mark.parametrize("option", [(), ("--resume",)])
def test_what_another_start_has_done_meanwhile_stays(how: str, option: tuple[str, ...], run: Here,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    from fastbp.cli import main
    from fastbp.cli import run as module

    argv = ["train", "iris", "-o", "r", "--epochs", "3", "-q", "--no-report", *option]
    before, plain = dict[Path, bytes](), module.prepare

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in Path("r").rglob("*") if path.is_file()}

    def meanwhile(settings: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(module, "prepare", plain)
            if how != "finished":
                Signalling(patch, 2)
            main(argv)
        if how == "begun":  # and killed before its first checkpoint
            Path("r/unfinished/checkpoint.safetensors").unlink()
        before.update(files())
        return plain(settings)

    monkeypatch.setattr(module, "prepare", meanwhile)
    done = run(*argv)
    assert done.status == 1 and "fastbp: error: " in done.err.splitlines()[-1], done
    assert len(before) > 2 and before == files()
    monkeypatch.setattr(module, "prepare", plain)
    assert run(*argv, *(() if option else ("--overwrite",))).status == 0


def test_what_is_removed_is_locked_until_it_is_gone(run: Here,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    from fastbp.cli.output import Output

    settings = {"data": "iris", "output": "r", "overwrite": True, "resume": False}
    first, second, release, flock = Output("r"), Output("r"), Output.release, fcntl.flock
    first.begin("new", settings, "0", "")

    def released(output: Output) -> None:
        assert not Path("r/unfinished").exists()
        release(output)

    def late(*given: Any) -> None:
        first.discard()
        flock(*given)

    monkeypatch.setattr(Output, "release", released)
    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(ValueError, match="another fastbp train is at work"):
        second.begin("new", settings, "0", "")  # the lock of a file that is gone holds nobody off
