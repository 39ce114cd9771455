"""Weights to PyTorch and back; files that PyTorch reads by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import fastbp
from fastbp.io.torch import MODULES
from fastbp.layers import LAYERS

from . import exports
from .builders import CHAINS, Scale
from .builders import network as chain_network

torch = pytest.importorskip("torch")
nn, prune = torch.nn, pytest.importorskip("torch.nn.utils.prune")


def run(module: Any, X: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(X)).numpy()


def close(found: Any, wanted: Any) -> None:
    assert exports.far(found, wanted) <= (1e-5 if wanted.dtype == np.float32 else 1e-7)


def test_every_layer_has_its_module() -> None:
    assert set(MODULES) == set(LAYERS.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", exports.CASES)
def test_every_layer_there_and_back(case: str, dtype: str) -> None:
    network, X = exports.around(case, dtype), exports.rows(dtype=dtype)
    module = fastbp.to_torch(network)
    assert not module.training
    close(run(module, X), network.predict(X))
    again = fastbp.from_torch(module)
    assert repr(again) == repr(network)
    np.testing.assert_array_equal(again.params, network.params)
    module[0].weight.data += 1  # a copy: the network keeps its own
    np.testing.assert_array_equal(again.params, network.params)
    assert list(fastbp.to_torch_state_dict(network)) == list(module.state_dict())


def test_what_is_not_trained_there_is_not_here() -> None:
    network = fastbp.Network([fastbp.Dense(5, 4), fastbp.BatchNorm(), fastbp.ReLU(),
                              fastbp.Dense(4, 3)], "SoftmaxCrossEntropyLoss")
    network.layers[0].trainable = network.layers[1].trainable = False
    module = fastbp.to_torch(network)
    assert [p.requires_grad for p in module.parameters()] == [False] * 4 + [True] * 2
    module[3].bias.requires_grad_(False)  # the weight is enough
    again = fastbp.from_torch(module)
    assert [x.trainable for x in again.layers] == [False, False, True, True]


def test_a_file_goes_into_linear_by_name(tmp_path: Path) -> None:
    from safetensors.torch import load_file as load_tensors

    network = exports.around("Tanh")
    network.save(tmp_path / "m.safetensors")
    X = exports.rows()
    module = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    assert module.load_state_dict(load_tensors(tmp_path / "m.safetensors")).missing_keys == []
    close(run(module, X), network.predict(X))
    tensors = load_file(tmp_path / "m.safetensors")
    first = nn.Linear(5, 7)
    first.load_state_dict({k[2:]: torch.from_numpy(v) for k, v in tensors.items()
                           if k.startswith("0.")})
    close(run(first, X), network.layers[0].forward(X))


@pytest.mark.parametrize("chain", CHAINS)
def test_a_file_of_any_chain_is_a_state_dict(chain: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file as load_tensors

    network = exports.shaken(chain_network(chain))
    network.save(tmp_path / "m")
    module = fastbp.to_torch(chain_network(chain, seed=9))
    module.load_state_dict(load_tensors(tmp_path / "m"))
    X = exports.rows(dtype="float64")
    close(run(module, X), network.predict(X))
    other = chain_network(chain, seed=8)
    assert fastbp.from_torch(load_tensors(tmp_path / "m"), other) is other
    np.testing.assert_array_equal(other.params, network.params)


def odd() -> Any:
    """Nested, with what needs no weights, or has none where fastbp has some."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(5, 6, bias=False), nn.BatchNorm1d(6, affine=False),
                                    nn.Sequential(nn.LeakyReLU(0.2))),
        nn.Dropout(0.3), nn.Linear(6, 4), nn.LayerNorm(4, bias=False), nn.Identity(),
        nn.LayerNorm(4, elementwise_affine=False), nn.Linear(4, 3), nn.Softmax(dim=1)).eval()


def test_modules_as_people_write_them() -> None:
    module, X = odd(), exports.rows()
    module[1][1].running_mean += 0.3
    module[4].weight.data *= 2
    network = fastbp.from_torch(module)
    close(network.predict(X), run(module, X))
    assert isinstance(network.loss_function, fastbp.CrossEntropyLoss)
    assert fastbp.from_torch(module, loss="focal").loss_function.config() == {}
    assert fastbp.from_torch(module, dtype="float64").dtype == np.float64
    assert fastbp.from_torch(module.double()).dtype == np.float64
    half = fastbp.from_torch(odd().to(torch.bfloat16))
    assert half.dtype == np.float32
    close(half.predict(X), run(odd().to(torch.bfloat16).float(), X))
    alone = fastbp.from_torch(nn.Linear(5, 2))
    assert repr(alone.layers) == "(Dense(5, 2),)"


def test_a_state_dict_fills_a_network_whatever_its_prefixes(tmp_path: Path) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*[part for _ in range(11)
                                        for part in (nn.Linear(5, 5), nn.Tanh())])

        def forward(self, x: Any) -> Any:
            return self.body(x)

    torch.manual_seed(1)
    module, X = Model(), exports.rows()
    tensors = {k: v.detach().numpy() for k, v in module.state_dict().items()}
    save_file(tensors, tmp_path / "m")  # sorted as text: 10 before 2
    make = [part for _ in range(11) for part in (fastbp.Dense(5, 5), fastbp.Tanh())]
    network = fastbp.Network(make, "mse")
    fastbp.from_torch(load_file(tmp_path / "m"), network)
    close(network.predict(X), run(module, X))
    network = fastbp.Network([fastbp.Dense(5, 4), fastbp.ReLU(), fastbp.Dense(4, 5)], "mse")
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.another = nn.Linear(5, 4), nn.Linear(4, 5)

        def forward(self, x: Any) -> Any:
            return self.another(torch.relu(self.first(x)))

    fastbp.from_torch(Named(), network)
    wanted = fastbp.to_torch_state_dict(network)
    names = zip(wanted, ("late2.weight", "late2.bias", "early1.weight", "early1.bias"),
                strict=True)
    found = fastbp.Network([fastbp.Dense(5, 4), fastbp.ReLU(), fastbp.Dense(4, 5)], "mse", seed=7)
    fastbp.from_torch({own: wanted[name] for name, own in names}, found)
    np.testing.assert_array_equal(found.params, network.params)
    named = Named()
    fastbp.from_torch(named, network)
    close(network.predict(X), run(named, X))


def test_what_does_not_fit_changes_nothing() -> None:
    network = exports.around("ReLU", "float32")
    before = network.params.copy()
    good = fastbp.to_torch_state_dict(exports.around("ReLU", "float32"))
    for change in ({"0.weight": torch.zeros(5, 7)}, {"2.bias": None}, {"0.extra": torch.zeros(1)},
                   {"7.weight": torch.zeros(1)},
                   {"0.bias": torch.zeros(7, dtype=torch.complex64)},
                   {"0.bias": torch.full((7,), 1e300, dtype=torch.float64)}):
        tensors = {k: v for k, v in (good | change).items() if v is not None}
        with pytest.raises(ValueError, match="tensors|shape|0.bias must hold real|beyond float32"):
            fastbp.from_torch(tensors, network)
    np.testing.assert_array_equal(network.params, before)
    with pytest.raises(TypeError, match="network to fill"):
        fastbp.from_torch(good)
    with pytest.raises(TypeError, match="loss and dtype"):
        fastbp.from_torch(good, network, loss="mse")
    with pytest.raises(TypeError, match="state dict, got int"):
        fastbp.from_torch(3)


@pytest.mark.parametrize(("make", "error", "match"), [
    (lambda: nn.Conv1d(3, 3, 1), TypeError, "Conv1d"), (lambda: nn.PReLU(), TypeError, "PReLU"),
    (lambda: nn.Softplus(beta=2), ValueError, "beta"),
    (lambda: nn.Softplus(threshold=0.1), ValueError, "threshold=0.1"),
    (lambda: nn.Softplus(threshold=10), ValueError, "threshold=10"),
    (lambda: nn.Softmax(dim=0), ValueError, "dim=0"),
    (lambda: nn.Flatten(0), ValueError, "start_dim"),
    (lambda: nn.Dropout(1.0), ValueError, "Dropout.*rate"),
    (lambda: nn.BatchNorm1d(3, track_running_stats=False), ValueError, "track_running_stats"),
    (lambda: nn.BatchNorm1d(3, momentum=None), ValueError, "momentum"),
    (lambda: nn.LayerNorm((2, 3)), ValueError, "not a row"),
    (lambda: type("Own", (nn.Linear,), {})(3, 3), TypeError, "Own"),
    (lambda: type("Twice", (nn.Sequential,), {"forward": lambda self, x: 2 * x})(nn.ReLU()),
     TypeError, "Twice")])
def test_modules_without_an_equal_are_named(make: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        fastbp.from_torch(nn.Sequential(nn.Linear(3, 3), make()))


def test_an_error_that_takes_more_than_a_text_is_named_too() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd")

    module = torch.nn.Softplus()
    module.beta = Odd()  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"Softplus\(.*\): 'utf-8' codec can't decode .*: odd$"):
        fastbp.from_torch(module)


def test_numbers_beyond_the_dtype_of_a_new_network_are_named() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        module[2].bias[1] = torch.inf  # what a module holds, a network may hold
        assert fastbp.from_torch(module, dtype="float32").layers[2].bias[1] == np.inf
        module[2].bias[0] = 1e300
    assert fastbp.from_torch(module).layers[2].bias[0] == 1e300
    with pytest.raises(ValueError, match=r"2\.bias holds numbers beyond float32"):
        fastbp.from_torch(module, dtype="float32")
    with pytest.raises(ValueError, match=r"0\.weight must hold real numbers, got dtype complex64"):
        fastbp.from_torch(nn.Linear(3, 3, dtype=torch.complex64))


@pytest.mark.parametrize(("make", "match"), [
    (lambda: nn.LayerNorm(3, elementwise_affine=False), "LayerNorm.*rows of 12"),
    (lambda: nn.LayerNorm(3), "LayerNorm.*rows of 12"),
    (lambda: nn.BatchNorm1d(4, affine=False), "BatchNorm1d.*rows of 12"),
    (lambda: nn.Softmax(-1), "Softmax.*before the first Flatten"),
    (lambda: nn.LogSoftmax(-1), "LogSoftmax.*before the first Flatten")])
def test_what_sees_one_axis_of_several_is_refused(make: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        fastbp.from_torch(nn.Sequential(nn.ReLU(), make(), nn.Flatten(), nn.Linear(12, 2)))


@pytest.mark.parametrize("dim", [-1, 1])
def test_a_flatten_of_what_is_flat_changes_nothing(dim: int) -> None:
    X = exports.rows()
    module = nn.Sequential(nn.Linear(5, 3), nn.Softmax(dim), nn.Flatten())
    network = fastbp.from_torch(nn.Sequential(module, nn.Flatten()))
    assert [type(layer) for layer in network.layers] == [fastbp.Dense, fastbp.Softmax]
    assert isinstance(network.loss_function, fastbp.CrossEntropyLoss)
    close(network.predict(X), run(module, X))
    between = nn.Sequential(nn.Linear(5, 3), nn.LogSoftmax(dim), nn.Flatten(), nn.Linear(3, 2))
    close(fastbp.from_torch(between).predict(X), run(between, X))
    with pytest.raises(ValueError, match="takes 12 inputs, .* gives 3"):  # of several axes
        fastbp.from_torch(nn.Sequential(*between[:3], nn.Linear(12, 2)))


def test_softplus_is_the_curve_in_float64() -> None:
    network = fastbp.Network([fastbp.Flatten((1,)), fastbp.Softplus()], "mse", "float64")
    X = np.array([[20.01], [39.0], [41.0]])
    np.testing.assert_allclose(run(fastbp.to_torch(network), X), network.predict(X), rtol=1e-15)


def pruned() -> Any:
    return prune.l1_unstructured(nn.Linear(3, 3), "weight", 0.5)


def unhooked() -> Any:
    module = pruned()
    module._forward_pre_hooks.clear()
    return module


def computed() -> Any:
    module = nn.Linear(3, 3)
    weight = module.weight.detach()
    del module.weight
    module.weight = weight
    return module


def hooked(module: Any, before: bool = False) -> Any:
    register = module.register_forward_pre_hook if before else module.register_forward_hook
    register(lambda *_: None)
    return module


@pytest.mark.filterwarnings("ignore:.*_norm")
@pytest.mark.parametrize(("make", "match"), [
    (pruned, "Linear.*forward hooks, as of pruning"),
    (lambda: nn.utils.weight_norm(nn.Linear(3, 3)), "Linear.*forward hooks"),
    (lambda: nn.utils.spectral_norm(nn.Linear(3, 3)), "Linear.*forward hooks"),
    (lambda: hooked(nn.ReLU()), r"ReLU\(\) has forward hooks"),
    (lambda: hooked(nn.Sequential(nn.ReLU()), before=True), r"Sequential\((.|\n)*forward hooks"),
    (unhooked, r"Linear.*has tensors \['bias', 'weight_mask', 'weight_orig'\], expected "
               r"\['bias', 'weight'\]"),
    (computed, r"Linear.*has tensors \['bias'\], expected")])
def test_modules_whose_weights_are_not_all_there_is_are_named(make: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        fastbp.from_torch(nn.Sequential(nn.Linear(3, 3), nn.Sequential(make())))


def test_modules_that_share_a_tensor_are_named() -> None:
    one, tied = nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3)))
    norm = nn.BatchNorm1d(3, affine=False)
    tied[1][0].weight = tied[0].weight
    network = fastbp.Network([fastbp.Dense(3, 3), fastbp.ReLU(), fastbp.Dense(3, 3)], "mse")
    before = network.params.copy()
    for module, names in ((nn.Sequential(one, nn.ReLU(), one), r"0\.weight and 2\.weight"),
                          (tied, r"0\.weight and 1\.0\.weight"),
                          (nn.Sequential(norm, norm), r"0\.running_mean and 1\.running_mean")):
        for target in (None, network):
            with pytest.raises(ValueError, match=f"^{names} are one tensor"):
                fastbp.from_torch(module, target)
    np.testing.assert_array_equal(network.params, before)
    fastbp.from_torch(tied.state_dict(), network)  # who asks for two gets two
    np.testing.assert_array_equal(network.layers[0].weight, network.layers[2].weight)
    body = nn.Sequential(one, nn.ReLU(), nn.Linear(3, 3))
    module = nn.ModuleDict({"first": one, "body": body})
    with pytest.raises(ValueError, match="give the Sequential within"):
        fastbp.from_torch(module)
    fastbp.from_torch(body)
    relu = nn.ReLU()
    fastbp.from_torch(nn.Sequential(nn.Linear(3, 3), relu, nn.Linear(3, 3), relu))


def test_layers_of_the_users_own_are_refused() -> None:
    with pytest.raises(TypeError, match="Scale"):
        fastbp.to_torch(fastbp.Network([fastbp.Dense(2, 2), Scale()], "mse"))
    with pytest.raises(TypeError, match="got list"):
        fastbp.to_torch([])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no layers"):
        fastbp.from_torch(nn.Sequential())


def test_what_holds_a_network_is_told_which_attribute_to_give() -> None:
    classifier = fastbp.MLPClassifier((2,), solver="sgd", random_state=0)
    classifier.partial_fit([[0.0], [1.0]], [0, 1], classes=[0, 1])
    for given, name in ((classifier, "network_"), (fastbp.Model(classifier.network_), "network")):
        with pytest.raises(TypeError, match=rf"got {type(given).__name__}: give its \.{name}$"):
            fastbp.to_torch(given)
    with pytest.raises(TypeError, match="got int$"):
        fastbp.to_torch(3)
