"""Each optimizer against its formula in plain loops, and a hand-worked step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.optimizers import OPTIMIZERS, get
from fastbp.optimizers.base import BLOCK
from fastbp.run import Run

from . import naive
from .builders import Scale, classifier, clusters, data, network

CASES: dict[str, list[dict[str, Any]]] = {
    "SGD": [{}, {"learning_rate": 0.3}, {"momentum": 0.9}, {"momentum": 0.5, "nesterov": True},
            {"weight_decay": 0.1}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.3}],
    "Adam": [{}, {"learning_rate": 0.1, "beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3},
             {"beta1": 0.0, "beta2": 0.0}, {"weight_decay": 0.1},
             {"learning_rate": 0.1, "beta2": 0.5, "amsgrad": True}],
    "AdamW": [{}, {"learning_rate": 0.1, "weight_decay": 0.5},
              {"learning_rate": 0.05, "beta2": 0.5, "amsgrad": True}],
    "RMSprop": [{}, {"momentum": 0.9}, {"centered": True}, {"weight_decay": 0.1},
                {"learning_rate": 0.001, "alpha": 0.8, "epsilon": 1e-4, "momentum": 0.5,
                 "centered": True, "weight_decay": 0.05}],
    "Adagrad": [{}, {"learning_rate": 0.1, "lr_decay": 0.5}, {"initial_accumulator_value": 0.3},
                {"weight_decay": 0.1, "epsilon": 1e-4}],
    "Lion": [{}, {"learning_rate": 0.01, "beta1": 0.5, "beta2": 0.5, "weight_decay": 0.3}],
}
ALL = [(name, arguments) for name, cases in CASES.items() for arguments in cases]


def fresh_slots(optimizer: fastbp.Optimizer, n: int, dtype: str = "float64") -> np.ndarray:
    slots = np.full((optimizer.n_slots, n), np.nan, dtype)
    optimizer.initial_slots(slots)
    return slots


def test_every_optimizer_has_cases_and_a_naive_twin() -> None:
    assert set(CASES) == set(naive.OPTIMIZERS) == set(OPTIMIZERS)


def test_no_more_state_is_kept_than_the_formula_has() -> None:
    found = [[OPTIMIZERS[name](**own).n_slots for own in cases] for name, cases in CASES.items()]
    assert found == [[0, 0, 1, 1, 0, 1], [2, 2, 2, 2, 3], [2, 2, 3], [1, 2, 2, 1, 3], [1, 1, 1, 1],
                     [1, 1]]
    for name, arguments in ALL:
        optimizer = OPTIMIZERS[name](**arguments)
        assert len({*optimizer.slot_names}) == optimizer.n_slots


def test_plain_steps_are_those_of_descent_alone() -> None:
    class Own(fastbp.SGD):
        kernel = fastbp.Adam.kernel

    assert fastbp.SGD().plain and fastbp.SGD(0.5, weight_decay=0.1).plain  # decay: see ``rules``
    assert not any(x.plain for x in (fastbp.SGD(momentum=1e-9), Own(), fastbp.Adam()))


@pytest.mark.parametrize(("kind", "names"), [
    (fastbp.Adam, ("beta1", "beta2")), (fastbp.AdamW, ("beta1", "beta2")),
    (fastbp.Lion, ("beta1", "beta2")), (fastbp.RMSprop, ("alpha", "momentum")),
    (fastbp.SGD, ("momentum",))], ids=lambda x: getattr(x, "__name__", ""))
def test_decays_are_from_zero_up_to_below_one(kind: Any, names: tuple[str, ...]) -> None:
    for name in names:
        for value in (0, 1e-9, 0.6, np.nextafter(1, 0)):
            assert getattr(kind(**{name: value}), name) == value
        for value in (-1e-9, 1, 1.05, 2, np.nan):
            with pytest.raises(ValueError, match=f"^{name} must be in"):
                kind(**{name: value})


@pytest.mark.parametrize(("name", "arguments"), ALL)
def test_settings_count_that_are_set_later(name: str, arguments: dict[str, Any]) -> None:
    """The state that they need is there: a kernel that has none would write beyond its end."""
    X = np.random.default_rng(0).normal(size=(40, 5))
    made, changed, found = OPTIMIZERS[name](**arguments), OPTIMIZERS[name](), []
    for key, value in arguments.items():
        setattr(changed, key, value)
    for optimizer in (made, changed):
        net = fastbp.Network([fastbp.Dense(5, 3)], "mse")
        net.fit(X, X[:, :3], epochs=2, optimizer=optimizer)
        found.append(net.params)
    np.testing.assert_array_equal(*found)


def test_settings_that_need_more_state_are_refused_amid_a_run() -> None:
    class More(fastbp.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            self.run.optimizer.amsgrad = True  # type: ignore[attr-defined]

    X = np.random.default_rng(0).normal(size=(40, 5))
    net = fastbp.Network([fastbp.Dense(5, 3)], "mse")
    with pytest.raises(ValueError, match="amsgrad=True.* another number of state vectors"):
        net.fit(X, X[:, :3], epochs=2, optimizer="adam", callbacks=[More()])


@pytest.mark.parametrize("layers", [[], [Scale()]], ids=["engine", "textbook"])
def test_state_of_another_meaning_is_refused_amid_a_run(layers: list[fastbp.Layer]) -> None:
    class Other(fastbp.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            rule.momentum, rule.centered = 0.0, True

    rule, X = fastbp.RMSprop(momentum=0.5), np.random.default_rng(0).normal(size=(40, 5))
    net = fastbp.Network([fastbp.Dense(5, 3), *layers], "mse")
    with pytest.raises(ValueError, match="centered=True.* vectors, or of another meaning, than "):
        net.fit(X, X[:, :3], epochs=2, optimizer=rule, callbacks=[Other()])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "arguments"), ALL)
def test_twenty_steps_are_the_naive_loop(name: str, arguments: dict[str, Any], dtype: str) -> None:
    n = 37
    rng = np.random.default_rng(0)
    optimizer = OPTIMIZERS[name](**arguments)
    params = rng.normal(size=n).astype(dtype)
    slots = fresh_slots(optimizer, n, dtype)
    expected: list[float] = [float(p) for p in params]
    states: list[dict[str, float]] = [{} for _ in range(n)]
    for step in range(1, 21):
        grads = rng.normal(size=n).astype(dtype)
        grads.flags.writeable = False
        optimizer.update(params, grads, slots, step, optimizer.learning_rate)
        expected = [naive.OPTIMIZERS[name](p, float(g), s, step, **arguments)
                    for p, g, s in zip(expected, grads, states, strict=True)]
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(params, expected, rtol=tolerance, atol=tolerance)


def test_hand_worked_steps() -> None:
    def one(optimizer: fastbp.Optimizer, steps: int) -> float:
        p, slots = np.array([1.0]), fresh_slots(optimizer, 1)
        for t in range(1, steps + 1):
            optimizer.update(p, np.array([2.0]), slots, t, optimizer.learning_rate)
        return float(p[0])

    assert one(fastbp.SGD(0.1), 1) == pytest.approx(0.8)
    assert one(fastbp.SGD(0.1, momentum=0.5), 2) == pytest.approx(1 - 0.1 * 2 - 0.1 * 3)
    assert one(fastbp.SGD(0.1, 0.5, True), 1) == pytest.approx(1 - 0.1 * (2 + 0.5 * 2))
    # Bias-corrected moments of a constant gradient are g and g^2: each step is lr * sign(g).
    assert one(fastbp.Adam(0.1), 3) == pytest.approx(0.7, abs=1e-7)
    assert one(fastbp.Adam(0.1, amsgrad=True), 1) == pytest.approx(0.9, abs=1e-7)
    assert one(fastbp.SGD(0.1, weight_decay=0.5), 1) == pytest.approx(1 - 0.1 * (2 + 0.5))
    assert one(fastbp.AdamW(0.1, weight_decay=0.5), 1) == pytest.approx(0.95 - 0.1, abs=1e-7)
    # v = 0.01 * 4; a step is lr * 2 / 0.2.
    assert one(fastbp.RMSprop(0.01), 1) == pytest.approx(0.9, abs=1e-7)
    assert one(fastbp.RMSprop(0.01, momentum=0.5), 1) == pytest.approx(0.9, abs=1e-7)
    # v = 0.75 * 4 = 3, m = 0.75 * 2, v - m^2 = 0.75.
    assert one(fastbp.RMSprop(0.1, 0.25, centered=True), 1) == pytest.approx(
        1 - 0.2 / 0.75**0.5)
    # v = 4, then 8; the second rate is halved.
    assert one(fastbp.Adagrad(0.1, lr_decay=1.0), 2) == pytest.approx(0.9 - 0.05 * 2 / 8**0.5)
    assert one(fastbp.Adagrad(0.1, initial_accumulator_value=5), 1) == pytest.approx(
        1 - 0.1 * 2 / 3)
    assert one(fastbp.Lion(0.1), 3) == pytest.approx(0.7)
    assert one(fastbp.Lion(0.1, weight_decay=0.5), 1) == pytest.approx(0.95 - 0.1)


def torch_optimizer(name: str, arguments: dict[str, Any], params: list[Any]) -> Any:
    """The optimizer of torch.optim with fastbp's defaults and arguments."""
    torch = pytest.importorskip("torch")
    given = OPTIMIZERS[name](**arguments).config()
    names = {"learning_rate": "lr", "epsilon": "eps"}
    if "beta1" in given:
        given["betas"] = given.pop("beta1"), given.pop("beta2")
    return getattr(torch.optim, name)(params, **{names.get(k, k): v for k, v in given.items()})


def hundred_steps(name: str, arguments: dict[str, Any]) -> np.ndarray:
    """Five parameters, gradients that lean one way; numbers that any machine can make."""
    optimizer, params = OPTIMIZERS[name](**arguments), np.linspace(-1, 1, 5)
    slots = fresh_slots(optimizer, 5)
    for t in range(1, 101):
        optimizer.update(params, gradients(t), slots, t, optimizer.learning_rate)
    return params


def gradients(t: int) -> np.ndarray:
    return np.sin(t * np.arange(1.0, 6.0)) + np.array([0.5, -0.2, 0.0, 0.1, -0.6])


@pytest.mark.parametrize(("name", "arguments"), [c for c in ALL if c[0] != "Lion"])
def test_a_hundred_steps_are_those_of_torch(name: str, arguments: dict[str, Any]) -> None:
    """torch.optim has no Lion."""
    torch = pytest.importorskip("torch")
    p = torch.nn.Parameter(torch.linspace(-1, 1, 5, dtype=torch.float64))
    optimizer = torch_optimizer(name, arguments, [p])
    for t in range(1, 101):
        p.grad = torch.from_numpy(gradients(t))
        optimizer.step()
    np.testing.assert_allclose(hundred_steps(name, arguments), p.detach().numpy(), rtol=1e-10,
                               atol=1e-12)


#: What torch 2.13.0 makes of the hundred steps above for the last case of each optimizer, for
#: machines without it: ``print(p.tolist())`` in the test above. Lion: the naive loop.
AFTER_A_HUNDRED: dict[str, list[float]] = {
    "SGD": [-1.6433482043393384, 0.6572839310452521, 0.00725894761579641,
            -0.3121799073588335, 2.000438519358548],
    "Adam": [-5.287580036898947, 1.5255840637537341, -0.08772219492437108,
            -0.48998561113629785, 5.923092243897547],
    "AdamW": [-3.040180979477026, 0.5141369168833957, -0.04168755134792242,
            -0.008837119879005277, 3.3507048176361547],
    "RMSprop": [-1.1320858761492183, -0.43772845566896873, -0.002404507309432906,
            0.46810135057159885, 1.1602315295789898],
    "Adagrad": [-1.0890937455536016, -0.44716634067312677, -0.004431384550972785,
            0.4717184013554703, 1.104045033046076],
    "Lion": [-1.2743762441451236, -0.09384603759993045, -0.015681420157616185,
            0.16012001171256612, 1.605536727740507],
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_hundred_steps_give_the_stored_numbers(name: str) -> None:
    np.testing.assert_allclose(hundred_steps(name, CASES[name][-1]), AFTER_A_HUNDRED[name],
                               rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "arguments"), ALL)
def test_longer_than_a_block(name: str, arguments: dict[str, Any], dtype: str) -> None:
    """Bits do not depend on where a piece of the parameters ends."""
    n = 2 * BLOCK + 5
    rng = np.random.default_rng(0)
    optimizer = OPTIMIZERS[name](**arguments)
    whole, *grads = rng.normal(size=(5, n)).astype(dtype)
    pieces, slots = whole.copy(), fresh_slots(optimizer, n, dtype)
    own = slots.copy()
    for t, grad in enumerate(grads, 1):
        optimizer.update(whole, grad, slots, t, 0.1)
        for i in range(0, n, 1003):
            part = slice(i, i + 1003)
            optimizer.update(pieces[part], grad[part], own[:, part], t, 0.1)
    np.testing.assert_array_equal(whole, pieces)
    np.testing.assert_array_equal(slots, own)


@pytest.mark.parametrize(("name", "arguments"), ALL)
def test_nan_passes(name: str, arguments: dict[str, Any]) -> None:
    optimizer, params = OPTIMIZERS[name](**arguments), np.ones(9)
    slots, grads = fresh_slots(optimizer, 9), np.where(np.arange(9) == 4, np.nan, 1.0)
    optimizer.update(params, grads, slots, 1, 0.1)
    optimizer.update(params, np.ones(9), slots, 2, 0.1)
    np.testing.assert_array_equal(np.isnan(params), np.isnan(grads))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_centered_spread_that_rounds_below_zero(dtype: str) -> None:
    optimizer = fastbp.RMSprop(1e-3, 0.9, centered=True)
    params, slots = np.zeros(64, dtype), fresh_slots(optimizer, 64, dtype)
    for t in range(1, 400):  # of a constant gradient the spread goes to 0
        optimizer.update(params, np.linspace(0.1, 3, 64).astype(dtype), slots, t, 1e-3)
    assert np.isfinite(params).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_is_what_the_engine_does(name: str) -> None:
    """Both ways, with rates that change: the engine decays, ``update`` decays."""
    X, T = data("tanh-l2", 40)
    nets = [network("tanh-l2") for _ in range(2)]
    for i, net in enumerate(nets):
        optimizer = OPTIMIZERS[name](fastbp.schedules.Cosine(0.1), weight_decay=0.5)
        run = Run(net, X, T, 16, optimizer, True, epochs=3)
        run.compiled = i == 0
        run.advance(6, 1)
    np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=1e-9, atol=1e-11)
    plain = network("tanh-l2")
    plain.fit(X, T, epochs=2, batch_size=16, optimizer=OPTIMIZERS[name](0.1, weight_decay=0.0))
    assert np.abs(nets[0].params).sum() < np.abs(plain.params).sum()


@pytest.mark.parametrize(("name", "arguments"), ALL)
def test_repr_and_names(name: str, arguments: dict[str, Any]) -> None:
    optimizer = OPTIMIZERS[name](**arguments)
    twin = eval(repr(optimizer), {name: OPTIMIZERS[name]})  # noqa: S307
    assert twin.config() == optimizer.config() and arguments.items() <= twin.config().items()
    assert type(get(name.lower())) is type(optimizer) and get(optimizer) is optimizer


@pytest.mark.parametrize(("make", "error"), [
    (lambda: fastbp.SGD(0), ValueError), (lambda: fastbp.SGD(-1), ValueError),
    (lambda: fastbp.SGD(float("nan")), ValueError), (lambda: fastbp.SGD("fast"), TypeError),
    (lambda: fastbp.SGD(momentum=1.0), ValueError),
    (lambda: fastbp.SGD(momentum=-0.1), ValueError),
    (lambda: fastbp.SGD(nesterov=True), ValueError),
    (lambda: fastbp.SGD(momentum=0.5, nesterov=1), TypeError),
    (lambda: fastbp.Adam(beta1=1.0), ValueError), (lambda: fastbp.Adam(beta2=2), ValueError),
    (lambda: fastbp.Adam(epsilon=0), ValueError), (lambda: get("newton"), ValueError),
    (lambda: get(3), TypeError),
    (lambda: fastbp.SGD(weight_decay=-1), ValueError),
    (lambda: fastbp.SGD(weight_decay=True), TypeError),
    (lambda: fastbp.Adam(amsgrad=1), TypeError),
    (lambda: fastbp.AdamW(weight_decay=float("inf")), ValueError),
    (lambda: fastbp.RMSprop(alpha=1.0), ValueError),
    (lambda: fastbp.RMSprop(epsilon=0), ValueError),
    (lambda: fastbp.RMSprop(momentum=1), ValueError),
    (lambda: fastbp.RMSprop(centered="yes"), TypeError),
    (lambda: fastbp.Adagrad(lr_decay=-1), ValueError),
    (lambda: fastbp.Adagrad(epsilon=-1), ValueError),
    (lambda: fastbp.Adagrad(initial_accumulator_value=-0.1), ValueError),
    (lambda: fastbp.Lion(beta1=-0.1), ValueError), (lambda: fastbp.Lion(beta2=1), ValueError),
    (lambda: fastbp.Lion(fastbp.schedules.Cosine), TypeError)])
def test_bad_arguments(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"got "):
        make()


@pytest.mark.parametrize(("optimizer", "name"), [
    (fastbp.Adam(epsilon=1e-40), "epsilon"), (fastbp.RMSprop(epsilon=1e-40), "epsilon"),
    (fastbp.Adagrad(initial_accumulator_value=1e300), "initial_accumulator_value")])
def test_settings_beyond_the_dtype(optimizer: fastbp.Optimizer, name: str) -> None:
    optimizer.check(np.dtype("float64"))
    net = fastbp.Network([fastbp.Dense(2, 1)], "L2Loss")
    with pytest.raises(ValueError, match=f"^{name} must be in .* for float32, got 1e"):
        net.fit(np.ones((3, 2)), np.ones(3), epochs=1, optimizer=optimizer)


@pytest.mark.parametrize("rate", [-0.1, np.nan, np.inf, None, "fast", True])
def test_a_rate_that_is_set_later_is_looked_at(rate: Any) -> None:
    net, (X, T) = classifier(), clusters(20)
    before, optimizer = net.params.copy(), fastbp.SGD(0.1)
    optimizer.learning_rate = rate
    with pytest.raises((ValueError, TypeError), match="learning_rate must be"):
        net.fit(X, T, epochs=1, optimizer=optimizer)
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize("rate", [-0.1, np.nan, None, "fast", True])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_rate_that_is_set_amid_a_run_is_looked_at(rate: Any, compiled: bool) -> None:
    class Set(fastbp.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            self.run.optimizer.learning_rate = rate
            kept.append(self.run.network.params.copy())

    net, (X, T), kept = classifier(), clusters(20), list[np.ndarray]()
    vars(net)["compiled"] = compiled
    with pytest.raises((ValueError, TypeError), match="learning_rate must be"):
        net.fit(X, T, epochs=3, optimizer=fastbp.SGD(0.1), callbacks=[Set()])
    np.testing.assert_array_equal(net.params, *kept)


def test_a_rate_of_any_type_counts_as_the_number_that_it_is() -> None:
    X, T = clusters(20)
    nets = [classifier() for _ in range(2)]
    for net, rate in zip(nets, (np.float16(0.1), float(np.float16(0.1))), strict=True):
        optimizer = fastbp.SGD(1.0)
        optimizer.learning_rate = rate
        run = Run(net, net.check_input(X), net.check_target(T), 5, optimizer, False)
        run.rate_scale = 1 / 3
        run.advance(4, 1)
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
