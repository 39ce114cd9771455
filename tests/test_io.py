"""Model files: back as they were, whole or not at all, never code."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import safetensors
from safetensors.numpy import load_file, save_file

import fastbp
from fastbp.callbacks import Checkpoint, CSVLog, JSONLines
from fastbp.cli.writers import Writer
from fastbp.io.files import beside, check_place, write_whole
from fastbp.io.safetensors import describe, read, write
from fastbp.layers import LAYERS
from fastbp.losses import LOSSES

from .builders import CHAINS, Scale, classifier, clusters, network

SAFETENSORS = tuple(map(int, safetensors.__version__.split(".")[:2]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("chain", CHAINS)
def test_round_trip(chain: str, dtype: str, tmp_path: Path) -> None:
    net = network(chain, dtype, "sum", seed=5)
    net.save(tmp_path / "m")
    again = fastbp.load(tmp_path / "m")
    assert repr(again) == repr(net) and again.seed == 5
    np.testing.assert_array_equal(again.params, net.params)
    X = np.random.default_rng(0).normal(size=(4, 5))
    np.testing.assert_array_equal(again.predict(X), net.predict(X))


def test_round_trip_of_every_argument(tmp_path: Path) -> None:
    assert {"bias", "weight_init"} <= set(fastbp.Dense(
        2, 2, bias=False, weight_init="he_normal").config())
    net = fastbp.Network([fastbp.Dense(2, 3, bias=False, weight_init="he_normal")],
                         fastbp.L2Loss("sum"), allow_nonfinite=True)
    net.save(tmp_path / "m")
    again = fastbp.load(tmp_path / "m")
    assert repr(again.layers) == repr(net.layers) and again.allow_nonfinite
    assert again.loss_function.config() == {"reduction": "sum"}
    assert {type(x).__name__ for c in CHAINS for x in network(c).layers} == set(LAYERS)
    assert {type(network(c).loss_function).__name__ for c in CHAINS} <= set(LOSSES)


def test_tensors_are_written_as_others_read_them(tmp_path: Path) -> None:
    net = classifier()
    net.save(tmp_path / "m.safetensors")
    tensors = load_file(tmp_path / "m.safetensors")
    assert set(tensors) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    for name, value in net.named_parameters().items():
        np.testing.assert_array_equal(tensors[name], value)
        assert tensors[name].flags.c_contiguous


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_saving_replaces_whole_files_only(error: type[BaseException], tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m"
    classifier(seed=1).save(path)
    kept = path.read_bytes()

    def fail(*_: Any) -> None:
        raise error("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(error, match="disk full"):
        classifier(seed=2).save(path)
    assert path.read_bytes() == kept and list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    classifier(seed=2).save(path)
    assert path.read_bytes() != kept and list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="nowhere.*model"):
        classifier().save(tmp_path / "nowhere" / "model")


def test_saving_keeps_permissions_and_links(tmp_path: Path) -> None:
    path, link = tmp_path / "m", tmp_path / "link"
    classifier(seed=1).save(path)
    path.chmod(0o600)
    link.symlink_to("m")
    classifier(seed=2).save(link)
    assert link.is_symlink() and path.stat().st_mode & 0o777 == 0o600
    assert fastbp.load(path).seed == 2
    for name in ("n" * 250, os.fsencode(tmp_path / "bytes")):
        classifier(seed=3).save(tmp_path / name if isinstance(name, str) else name)
    assert fastbp.load(os.fsencode(tmp_path / "bytes")).seed == 3
    with pytest.raises(IsADirectoryError):
        classifier().save(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="links and permissions of Unix")
def test_what_open_would_not_write_is_refused(tmp_path: Path) -> None:
    for name in "new/", "new/.":
        for place in f"{tmp_path}/{name}", os.fsencode(f"{tmp_path}/{name}"):
            with pytest.raises(IsADirectoryError, match=name):
                classifier().save(place)
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for save in (classifier().save, check_place, Writer):
        with pytest.raises(OSError, match="[Ll]evels of symbolic links.*a'"):
            save(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert (tmp_path / "a").is_symlink()


@pytest.mark.skipif(os.name != "posix", reason="permissions of Unix")
def test_saving_leaves_the_umask_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one for all threads: some wrote files of mode 0666 while another read it."""
    def umask(mask: int) -> int:
        raise AssertionError(mask)

    scratch, replace = list[int](), os.replace

    def moved(source: Any, place: Any) -> None:
        scratch.append(os.stat(source).st_mode & 0o777)
        replace(source, place)

    monkeypatch.setattr(os, "umask", umask)
    monkeypatch.setattr(os, "replace", moved)
    path = tmp_path / "m"
    path.touch(0o600)
    handle, name = beside(path)
    os.close(handle)
    assert os.stat(name).st_mode & 0o777 == 0o600  # never more open than what it replaces
    path.chmod(0o666)
    for place in path, tmp_path / "new":
        classifier().save(place)
    assert scratch[0] == 0o666


@pytest.mark.skipif(os.name != "posix", reason="permissions of Unix")
def test_a_new_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        for name in "ab":  # the second time, too
            classifier().save(tmp_path / name)
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o640
    finally:
        assert os.umask(before) == 0o027


@pytest.mark.skipif(os.name != "posix", reason="folders are opened on Unix")
def test_a_file_and_its_name_are_on_the_disk(tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    synced, path = list[bool](), tmp_path / "m"
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(stat.S_ISDIR(os.fstat(fd).st_mode)))
    classifier(seed=1).save(path)
    assert synced == [False, True]
    own = os.open

    def refuse(name: Any, *rest: Any, **options: Any) -> int:
        if os.path.isdir(name):
            raise PermissionError
        return own(name, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)  # a folder that is not to be read
    classifier(seed=2).save(path)
    assert fastbp.load(path).seed == 2


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="numbers of files as names")
def test_a_pipe_is_a_place_whatever_is_beside_it() -> None:
    ends = os.pipe()
    check_place(f"/dev/fd/{ends[1]}")
    for end in ends:
        os.close(end)


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="numbers of files as names")
@pytest.mark.parametrize("linked", [False, True])
def test_an_open_file_goes_on_where_it_stands(tmp_path: Path, linked: bool) -> None:
    """As standard output does that a shell has appended to a file: ``>> log``."""
    place, link = tmp_path / "log", tmp_path / "link"
    with open(place, "wb") as out:
        out.write(b"before")
        out.flush()
        name = f"/dev/fd/{out.fileno()}"
        link.symlink_to(name)
        check_place(link if linked else name)
        write_whole(link if linked else name, b" amid")
        out.write(b" after")
    assert place.read_bytes() == b"before amid after"
    assert sorted(os.listdir(tmp_path)) == ["link", "log"]
    for put in (write_whole, lambda at, _: check_place(at)):
        with pytest.raises(OSError, match=name):  # closed
            put(name, b"late")
        for number in ("9" * 30, "\u0661"):  # too large, and an Arabic one
            with pytest.raises(OSError, match=number):
                put(f"/dev/fd/{number}", b"")


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="numbers of files as names")
def test_what_was_printed_comes_before_a_file_on_stdout(tmp_path: Path) -> None:
    code = """
from fastbp.io.files import write_whole
print("before")
write_whole("/dev/stdout", b"amid ")
print("after")
"""
    with open(tmp_path / "out", "w") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True, timeout=300)
    assert (tmp_path / "out").read_text() == "before\namid after\n"


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="numbers of files as names")
def test_a_file_open_for_reading_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"before")
    with open(tmp_path / "log", "rb") as file:
        name = f"/dev/fd/{file.fileno()}"
        for put in (write_whole, lambda at, _: check_place(at)):
            with pytest.raises(OSError, match=name):
                put(name, b"amid")
    assert (tmp_path / "log").read_bytes() == b"before"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes by name are of Unix")
def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("pipe")
    for path in (pipe, link):
        found: list[bytes] = []
        reader = Thread(target=lambda into=found: into.append(pipe.read_bytes()), daemon=True)
        reader.start()
        classifier(seed=4).save(path)
        reader.join(20)
        (tmp_path / "m").write_bytes(found[0])
        assert fastbp.load(tmp_path / "m").seed == 4
    assert pipe.is_fifo() and link.is_symlink()


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("kind", ["bfloat16", "float8_e4m3fn"])
def test_tensors_that_numpy_does_not_have_are_refused(tmp_path: Path, kind: str,
                                                      own: bool) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_tensors

    metadata = {"fastbp": describe(classifier())} if own else None
    save_tensors({"w": torch.zeros(2, dtype=getattr(torch, kind))}, tmp_path / "m", metadata)
    for load in (fastbp.load, fastbp.load_model):
        with pytest.raises(ValueError, match="m is not a fastbp model"):
            load(tmp_path / "m")


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100, b"\x80\x04K\x01."])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ValueError, match="not a fastbp model"):
        fastbp.load(tmp_path / "m")
    with pytest.raises(FileNotFoundError, match="missing"):
        fastbp.load(tmp_path / "missing")


def rewrite(path: Path, **changes: Any) -> None:
    """Change entries of the description, or tensors by name."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        description = json.loads(file.metadata()["fastbp"])
    tensors = load_file(path)
    for key, value in changes.items():
        if key in description:
            description[key] = value
        elif value is None:
            del tensors[key]
        else:
            tensors[key] = value
    save_file(tensors, path, {"fastbp": json.dumps(description)})


@pytest.mark.parametrize("changes", [
    {"format": "other"}, {"layers": [{"type": "os.system"}]}, {"layers": [{"type": "Layer"}]},
    {"layers": [{"type": "Dense", "n_in": 6, "n_out": 4, "evil": 1}]}, {"layers": []},
    {"loss": {"type": "__import__"}}, {"dtype": "int8"}, {"0.bias": None},
    {"0.bias": np.zeros(3, np.float32)}, {"0.bias": np.zeros(20, bool)},
    {"0.bias": np.zeros(20, np.int32)},
    pytest.param({"0.bias": np.zeros(20, np.complex64)}, marks=pytest.mark.skipif(
        SAFETENSORS < (0, 7), reason="safetensors 0.7 has complex numbers")),
    {"0.bias": np.full(20, 1e300)},
    {"layers": [{"type": "Dense", "n_in": 10**7, "n_out": 10**7}], "n_in": 10**7},
    {"extra": np.zeros(1, np.float32)}])
def test_a_changed_file_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    classifier().save(tmp_path / "m")
    rewrite(tmp_path / "m", seed=3)
    assert fastbp.load(tmp_path / "m").seed == 3
    rewrite(tmp_path / "m", **changes)
    with pytest.raises(ValueError, match="not a fastbp model"):
        fastbp.load(tmp_path / "m")


def test_metadata_nested_without_end_are_refused(tmp_path: Path) -> None:
    tensors = {"0.bias": np.zeros(20, np.float32)}
    save_file(tensors, tmp_path / "m", {"fastbp": "[" * 10**5})
    with pytest.raises(ValueError, match="not a fastbp model"):
        fastbp.load(tmp_path / "m")


def test_a_tensor_beyond_the_dtype_is_named(tmp_path: Path) -> None:
    net = classifier()
    net.layers[0].bias[:2] = np.inf, np.nan  # what a network holds, a file may hold
    net.save(tmp_path / "m")
    np.testing.assert_array_equal(fastbp.load(tmp_path / "m").params, net.params)
    rewrite(tmp_path / "m", **{"0.bias": np.full(20, 1e300)})
    with pytest.raises(ValueError, match=r"0\.bias holds numbers beyond float32"):
        fastbp.load(tmp_path / "m")


def test_a_number_is_no_path_and_stays_open(tmp_path: Path) -> None:
    classifier().save(tmp_path / "m")
    with open(tmp_path / "m", "rb") as file:
        for load in (fastbp.load, fastbp.load_model):
            with pytest.raises(TypeError, match="path must be a path, got [0-9]"):
                load(file.fileno())
        assert file.read(1)


@pytest.mark.parametrize("path", [3, ["m"], "", b"", "a\0b"], ids=repr)
def test_what_is_no_path_is_named(path: Any) -> None:
    net = classifier()
    error = ValueError if isinstance(path, (str, bytes)) else TypeError
    for call in (net.save, fastbp.Model(net).save, fastbp.load, fastbp.load_model, Checkpoint,
                 CSVLog, JSONLines, lambda path: fastbp.to_c(net, path)):
        with pytest.raises(error, match=re.escape(f"path must be a path, got {path!r}")):
            call(path)


def test_layers_of_the_users_own_cannot_be_saved(tmp_path: Path) -> None:
    net = fastbp.Network([fastbp.Dense(2, 2), Scale()], "L2Loss")
    with pytest.raises(TypeError, match="Scale"):
        net.save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_training_goes_on_from_a_file(tmp_path: Path) -> None:
    X, T = clusters()
    net = classifier()
    net.fit(X, T, epochs=5)
    net.save(tmp_path / "m")
    again = fastbp.load(tmp_path / "m")
    error = again.loss(X, T)
    assert error == net.loss(X, T)
    again.fit(X, T, epochs=5)
    assert again.loss(X, T) < error


def crooked() -> dict[str, Any]:
    """The same numbers in every order that memory can have them."""
    A = np.arange(24, dtype=np.float32).reshape(4, 6)
    return {"transposed": A.T, "fortran": np.asfortranarray(A), "every other": A[::2, 1::3],
            "backwards": A[::-1, ::-1], "repeated": np.broadcast_to(A[0], (3, 6)),
            "offset": A[1:, 2:], "three axes": A.reshape(2, 3, 4).transpose(2, 0, 1),
            "number": np.array(3.5, np.float64), "plain": A, "foreign": A.astype(">f4")}


def test_whatever_the_order_in_memory_the_bytes_are_right(tmp_path: Path) -> None:
    wanted = crooked()
    write(tmp_path / "m", wanted, {"fastbp": "{}"})
    tensors, _ = read(tmp_path / "m")
    assert tensors.keys() == wanted.keys()
    for name, value in wanted.items():
        assert tensors[name].shape == value.shape and tensors[name].flags.c_contiguous, name
        np.testing.assert_array_equal(tensors[name], value, err_msg=name)


def test_a_weight_of_any_order_in_memory_is_saved_as_it_is(tmp_path: Path) -> None:
    net = classifier()
    weight = net.layers[0].weight
    assert not weight.flags.c_contiguous  # as (out, in) it is a transposed view
    weight[...] = np.asfortranarray(np.random.default_rng(0).normal(size=weight.shape))[::-1]
    net.save(tmp_path / "m")
    np.testing.assert_array_equal(load_file(tmp_path / "m")["0.weight"], weight)


def test_the_version_stands_in_the_file(tmp_path: Path) -> None:
    from safetensors import safe_open

    classifier().save(tmp_path / "m")
    with safe_open(tmp_path / "m", "numpy") as file:
        metadata = file.metadata()
    assert metadata["fastbp.version"] == fastbp.__version__
    assert json.loads(metadata["fastbp"])["format"] == "fastbp-network-1"


@pytest.mark.parametrize(("changes", "match"), [
    ({"format": "fastbp-network-2"}, r"format is 'fastbp-network-2'.*'fastbp-network-1'"),
    ({"layers": [{"type": "Conv"}]}, r"'Conv' is none of \['BatchNorm'")])
def test_a_file_of_another_version_says_so(tmp_path: Path, changes: dict[str, Any],
                                           match: str) -> None:
    path = tmp_path / "m"
    classifier().save(path)
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=match) as error:
        fastbp.load(path)
    assert "written by" not in str(error.value) and str(path) in str(error.value)
    tensors, metadata = read(path)
    save_file(tensors, path, metadata | {"fastbp.version": "7.0"})
    with pytest.raises(ValueError, match=rf"7\.0, this is {fastbp.__version__}.*{match}"):
        fastbp.load(path)


@pytest.mark.parametrize(("classes", "error", "match"), [
    (5, TypeError, "sequence of labels, got 5"), ({"a"}, TypeError, "sequence of labels, got {'a"),
    ("abcd", TypeError, "'abcd'"), (b"abcd", TypeError, "b'abcd'"),
    (dict.fromkeys("abcd"), TypeError, "got {'a': None"),
    (np.array(1.0), TypeError, r"array\(1"), (list("abbc"), ValueError, "must differ.*'b'"),
    ([1, 1.0, 2, 3], ValueError, "must differ"), ([np.nan, 1.0, 2, 3], ValueError, "finite.*nan"),
    (["a", "b"], ValueError, "must be 4 for 4 outputs")])
def test_classes_of_exports_are_checked(classes: Any, error: Any, match: str) -> None:
    for export in (fastbp.to_c, fastbp.to_sklearn):
        with pytest.raises(error, match=f"classes .*{match}"):
            export(classifier(), classes=classes)


@pytest.mark.parametrize(("package", "extra", "call"), [
    ("onnx", "onnx", lambda: fastbp.to_onnx(classifier())),
    ("torch", "torch", lambda: fastbp.to_torch(classifier())),
    ("torch", "torch", lambda: fastbp.from_torch(classifier())),
    ("keras", "keras", lambda: fastbp.to_keras(classifier())),
    ("sklearn", "sklearn", lambda: fastbp.to_sklearn(classifier()))])
def test_what_is_not_installed_is_named(package: str, extra: str, call: Any,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    if package == "sklearn":
        monkeypatch.delitem(sys.modules, "sklearn.neural_network", raising=False)
    with pytest.raises(ImportError, match=rf'pip install "fastbp\[{extra}\]"'):
        call()
