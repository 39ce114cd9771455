"""The folder of a run: earlier results stay whole until new ones are complete.

A run works in DIR/unfinished. When all is written its files are moved into DIR, the model
last; if it is stopped before, DIR is as it was, and the run can go on from DIR/unfinished.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from ..data import Preprocessor, Target
from ..engine import EPOCH, POSITION
from ..io.files import write_whole
from ..io.safetensors import read
from ..model import FILE, load_model
from . import config

MODEL, CONFIG, METRICS, REPORT, RESULT = (
    FILE, "config.toml", "metrics.jsonl", "report.html", "result.json")
CHECKPOINT, RESULTS, BEST = "checkpoint.safetensors", "results.csv", "best.toml"
#: Checkpoints of several runs.
SEVERAL = "checkpoint-*.safetensors"
#: What an unfinished run has learnt of its data, to compare when it is resumed; and its lock.
LEARNED, LOCK = "learned.json", ".lock"
#: In the order in which they are moved: none before the first, and with the model all are.
FILES = (METRICS, CHECKPOINT, REPORT, RESULTS, BEST, CONFIG, RESULT, MODEL)
#: Settings that may differ when a run is resumed.
FREE = ("threads", "time_limit", "checkpoint_every", "report", "epochs")


def learned(preprocessor: Preprocessor | None, target: Target | None, rows: int,
            digest: str) -> str:
    """What a run knows of its data, as JSON: if the text differs, so do the data."""
    return json.dumps([preprocessor and preprocessor.to_dict(), target and target.to_dict(), rows,
                       digest])


class Output:
    """DIR and DIR/unfinished.

    Parameters
    ----------
    folder : path

    Raises
    ------
    OSError
        If it cannot be made or written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.work = self.folder / "unfinished"
        self._lock: Any = None
        self._new_folder = False
        near = self.folder
        while not near.exists() and near != near.parent:
            near = near.parent
        if not near.is_dir():
            raise NotADirectoryError(f"--output {folder}: {near} is not a directory")
        if not os.access(near, os.W_OK):
            raise PermissionError(f"--output {folder}: cannot write in {near}")

    @property
    def finished(self) -> bool:
        """Whether a complete run is here."""
        return (self.folder / MODEL).exists()

    @property
    def begun(self) -> bool:
        """Whether an unfinished run is here."""
        return (self.work / CONFIG).exists()

    def plan(self, settings: dict[str, Any], *, alone: bool = True) -> str:
        """What is to be done: "new", "resume" or "done".

        Parameters
        ----------
        settings : dict
        alone : bool
            Whether this is a single run: only that can be resumed with more epochs.

        Raises
        ------
        ValueError, click.UsageError
            If earlier work is in the way.
        """
        overwrite, resume = settings["overwrite"], settings["resume"]
        self._refuse_strangers(settings)
        if not resume:
            if self.begun and not overwrite:
                raise ValueError(f"{self.folder} holds an unfinished run: --resume goes on with "
                                 "it, --overwrite starts anew")
            if self.finished and not overwrite:
                raise ValueError(
                    f"{self.folder} holds a finished run: --overwrite replaces it when the new "
                    "one is complete; or choose another --output")
            return "new"
        if self.begun:
            return self._same(settings, self.work / CONFIG, "resume", alone)
        if not self.finished or overwrite:
            return "new"
        found = self._same(settings, self.folder / CONFIG, "done", alone)
        earlier = self.result()
        more = settings["epochs"] > earlier.get("epochs", 0)
        if not (earlier or (self.folder / CHECKPOINT).exists()):
            raise ValueError(f"--resume: {self.folder} has neither {RESULT} nor {CHECKPOINT}; "
                             "--overwrite starts anew")
        if earlier.get("status") in ("early stopping", "divergence") or not more or (
                not (self.folder / CHECKPOINT).exists()):
            return found
        return "resume"  # after the time limit, or with more epochs

    def _refuse_strangers(self, settings: dict[str, Any]) -> None:
        """Refuse files that are not of a run where a run would replace or remove them."""
        for option in ("data", "validation"):
            path = Path(settings.get(option) or "")
            if path.name in FILES and path.exists() and path.resolve() == (
                    self.folder / path.name).resolve():
                raise ValueError(f"--output {self.folder} would replace {path}, which is to be "
                                 "read: choose another")
        found = [path for path in (self.work.iterdir() if self.work.is_dir() else ())
                 if path.is_dir() or not (path.name in (*FILES, LEARNED)
                                          or path.name.startswith((".", "checkpoint")))]
        ours = self.finished or self.begun or "fastbp" in self.result()
        if not (ours or settings["overwrite"]):
            found += [self.folder / name for name in FILES if (self.folder / name).exists()]
        if found:
            raise ValueError(f"--output {self.folder}: {found[0]} is not of a run of fastbp "
                             "train: move it, or choose another")

    def _same(self, settings: dict[str, Any], path: Path, found: str, alone: bool) -> str:
        """``found`` if the run of the configuration at ``path`` has these settings."""
        own = config.resolved(settings)
        there = config.defaults(own) | {"stream": own["stream"]} | config.load(path)
        for key in [*there, *own]:
            if key in FREE or own.get(key) == there.get(key):
                continue
            if settings["overwrite"]:
                return "new"
            raise ValueError(f"--resume: {path} has {key} = {there.get(key)!r}, this run "
                             f"{own.get(key)!r}; --overwrite starts anew")
        epochs, trained = own["epochs"], self._trained()
        if alone and epochs < trained:
            holds = f"a run of {trained} epochs already"
        elif not alone and epochs != there.get("epochs"):
            holds = (f"several runs of {there.get('epochs')} epochs, and only a single run goes "
                     "on with more")
        else:
            return found
        if settings["overwrite"]:
            return "new"
        raise click.UsageError(f"--resume --epochs {epochs}: {self.folder} holds {holds}; "
                               "--overwrite starts anew")

    def _trained(self) -> int:
        """Epochs that the single run here has done, including one that was begun."""
        if not self.begun:
            return int(self.result().get("epochs", 0))
        if not (self.work / CHECKPOINT).exists():
            return 0
        cursor = read(self.work / CHECKPOINT)[0].get("run/cursor", [0] * 5)
        return int(cursor[EPOCH] + (cursor[POSITION] > 0))

    def result(self) -> dict[str, Any]:
        """The finished run's result file, with the present paths; empty without one."""
        try:
            found = json.loads((self.folder / RESULT).read_text())
            return {**found, "output": str(self.folder), "model": str(self.folder / MODEL)}
        except (OSError, TypeError, ValueError):
            return {}

    def complete(self) -> None:
        """Finish moving the files of a run that was stopped while it moved them.

        Raises
        ------
        OSError
            If they cannot be moved.
        ValueError
            If another process is doing that.
        """
        if self._half_moved:
            self._enter()
            self._leave()

    @property
    def _half_moved(self) -> bool:
        """Whether all files are written but not all are moved."""
        return (self.work / LEARNED).exists() and (self.work / MODEL).exists()

    def begin(self, plan: str, settings: dict[str, Any], version: str, learned: str, *,
              alone: bool = True) -> None:
        """Make DIR/unfinished; it is empty unless a run is resumed, on the same ``learned``.

        Raises
        ------
        OSError
            If it cannot be written.
        ValueError, click.UsageError
            If another process works in it or has done so since ``plan``, or the data changed.
        """
        self._new_folder = not self.folder.exists()
        self.work.mkdir(parents=True, exist_ok=True)
        self._enter()
        try:
            if self.plan(settings, alone=alone) != plan:
                raise ValueError(f"another fastbp train has been at work in {self.folder} since "
                                 "this one started")
            if plan == "resume" and self._learned() not in (None, learned):
                if not settings["overwrite"]:
                    other = settings["validation"]
                    raise ValueError(f"--resume: {settings['data']}{f' or {other}' * bool(other)} "
                                     f"has changed since the run in {self.folder} began, or an "
                                     "earlier fastbp took other figures of it; --overwrite starts "
                                     "anew")
                plan = "new"
        except BaseException:
            self._leave()
            raise
        try:
            if plan == "new":
                self._clear()
            elif not self.begun:
                shutil.copyfile(self.folder / CHECKPOINT, self.work / CHECKPOINT)
            self.write(LEARNED, learned.encode())
            self.write(CONFIG, config.as_toml(
                settings, f"fastbp {version}; to repeat the run: fastbp train --config THIS "
                          "--output DIR"))
        except BaseException:
            self.give_up()
            raise

    def _learned(self) -> str | None:
        """What the run to resume has learnt of its data, as JSON; None if unknown."""
        try:
            if self.begun:
                return (self.work / LEARNED).read_text()
            model = load_model(self.folder / MODEL)
            return learned(model.preprocessor, model.target, model.info["rows"],
                           model.info["digest"])
        except (OSError, ValueError, KeyError):
            return None

    def _enter(self) -> None:
        """Lock other processes out; finish a move that one of them has left half done."""
        self._take_lock()
        if self._half_moved:
            self._move()

    def _take_lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # not a Unix
            return
        self._lock = open(self.work / LOCK, "w")  # noqa: SIM115
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.path.samestat(os.fstat(self._lock.fileno()), os.stat(self.work / LOCK))
        except OSError:
            held = False
        if not held:  # or held on a file that has been removed since
            self.release()
            raise ValueError(f"another fastbp train is at work in {self.folder}")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Let errors of writing that name no file, as of a full disk, name the folder."""
        try:
            yield
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise
            raise OSError(error.errno, error.strerror, str(self.work)) from error

    def write(self, name: str, data: bytes) -> None:
        """One file of the unfinished run, whole or not at all."""
        write_whole(self.work / name, data)

    def finish(self, *, whole: bool = True) -> None:
        """Move the results into place; keep checkpoints of several runs if not all are done."""
        if whole:
            for path in self.work.glob(SEVERAL):
                path.unlink()
        self._move()
        (self.release if self.begun else self.discard)()

    def _move(self) -> None:
        more = any(self.work.glob(SEVERAL))
        if (self.work / FILES[0]).exists():  # else this is done, and some files are moved
            for name in FILES:
                if self.finished and not (self.work / name).exists():
                    (self.folder / name).unlink(missing_ok=True)  # of an earlier run only
        for name in FILES:
            if name == CONFIG and more:
                write_whole(self.folder / name, (self.work / name).read_bytes())
            elif (self.work / name).exists():
                os.replace(self.work / name, self.folder / name)
        if not more:
            (self.work / LEARNED).unlink()

    def _clear(self) -> None:
        for path in self.work.iterdir():
            if path.name != LOCK:
                path.unlink()

    def discard(self) -> None:
        """Remove DIR/unfinished, and DIR if this run made it and nothing is in it."""
        with suppress(OSError):
            self._clear()  # before the lock is released
        shutil.rmtree(self.work, ignore_errors=True)
        self.release()
        # Again: NFS keeps a file, and so its folder, as long as it is open.
        for folder in (self.work, *([self.folder] if self._new_folder else [])):
            with suppress(OSError):
                folder.rmdir()

    def give_up(self) -> None:
        """After an error: keep DIR/unfinished if there is something to go on from."""
        if any(self.work.glob("*checkpoint*.safetensors")) or self._half_moved:
            self.release()
        else:
            self.discard()

    def _leave(self) -> None:
        """Release the lock; remove DIR/unfinished if it holds nothing else."""
        if any(path.name != LOCK for path in self.work.iterdir()):
            self.release()
        else:
            self.discard()

    def release(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def to_resume(self) -> str:
        """The command line that resumes the run."""
        return shlex.join(["fastbp", "train", "--config", str(self.work / CONFIG), "--output",
                           str(self.folder), "--resume"])
