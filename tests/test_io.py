"""Model files: back as they were, whole or not at all, never code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import fastbp
from fastbp.layers import LAYERS
from fastbp.losses import LOSSES

from .builders import CHAINS, classifier, clusters, network
from .test_training import Scale


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


def test_saving_replaces_whole_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m"
    classifier(seed=1).save(path)
    kept = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        classifier(seed=2).save(path)
    assert path.read_bytes() == kept and list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    classifier(seed=2).save(path)
    assert path.read_bytes() != kept and list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError):
        classifier().save(tmp_path / "nowhere" / "m")


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
    {"0.bias": np.zeros(3, np.float32)}, {"extra": np.zeros(1, np.float32)}])
def test_a_changed_file_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    classifier().save(tmp_path / "m")
    rewrite(tmp_path / "m", seed=3)
    assert fastbp.load(tmp_path / "m").seed == 3
    rewrite(tmp_path / "m", **changes)
    with pytest.raises(ValueError, match="not a fastbp model"):
        fastbp.load(tmp_path / "m")


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
