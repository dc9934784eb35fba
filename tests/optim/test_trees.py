"""Pytrees of parameters: their bounds, their names, their dtypes."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pytest

import difftensor as dif
import optim


@dataclass
class Decay:
    rate: object
    amplitude: object
    name: str = field(default="", metadata={"static": True})


class Pair(NamedTuple):
    rate: object
    amplitude: object


def parts(p):
    return (p["rate"], p["amplitude"]) if isinstance(p, dict) else (p.rate, p.amplitude)


def far(p):
    """Its minimum lies at rate 5, amplitude -5, outside the boxes below."""
    rate, amplitude = parts(p)
    return (rate - 5) ** 2 + np.sum((amplitude + 5) ** 2)


@pytest.mark.parametrize("make", [dict, OrderedDict, Decay, Pair])  # OrderedDicts are not sorted when flattened
@pytest.mark.parametrize("told", ["same", "dict", "pairs"])
def test_every_part_has_its_own_bounds(make, told):
    x0 = make(rate=1.0, amplitude=np.zeros(2))
    box = {"same": make, "dict": dict, "pairs": dict}[told](rate=(0, 2), amplitude=(-1, 1))
    if told == "pairs":
        box["amplitude"] = [(-1, None), (-2, 1)]
    rate, amplitude = parts(optim.minimize(far, x0, bounds=box).x)
    assert rate == 2.0 and amplitude.tolist() == ([-1.0, -2.0] if told == "pairs" else [-1.0, -1.0])
    result = optim.minimize(far, x0, bounds={"rate": (0, 2)})
    np.testing.assert_allclose(parts(result.x)[1], -5, rtol=1e-6)


def test_bounds_that_do_not_fit():
    for x0, box, words in (
        ({"rate": 1.0, "amplitude": 0.0}, {"rates": (0, 1)}, r"\['rates'\], which x0 does not have"),
        ({"rate": 1.0, "amplitude": 0.0}, [(0, 1), (0, 1)], "x0 is a dict; bounds must be one too"),
        (Pair(1.0, 0.0), [(0, 1), (0, 1)], "the names rate, amplitude"),
        ({"rate": 1.0, "amplitude": 0.0}, {"rate": 3.0}, r"a bound is a pair \(low, high\), got 3.0"),
        ({"rate": 3.0, "amplitude": 0.0}, {"rate": (0, 1)}, r"x\['rate'\] = 3.0 is not in"),
        (Decay(1.0, np.zeros((2, 2))), {"amplitude": (0, [[1, 1], [1, -1]])}, "contradict"),
        ([np.ones(2), np.ones(1)], [(0, 2)], "2 entries"),
    ):
        with pytest.raises(ValueError, match=words):
            optim.minimize(lambda p: 0.0, x0, bounds=box)
    with pytest.raises(ValueError, match=r"x\.amplitude\[0, 1\] = 9.0 is not in"):
        optim.minimize(far, Decay(1.0, np.array([[0.0, 9.0]])), bounds=Decay(None, (-1, 1)))


def test_a_list_of_numbers_inside_a_tree_is_an_array():
    def f(p):
        return (p["a"][0] - 5) ** 2 + (p["a"][1] - 5) ** 2 + (p["a"][2] - 5) ** 2

    for box, expected in (((0, 2), [2, 2, 2]), ([(0, 1), None, (0, 3)], [1, 5, 3])):
        if isinstance(box, list):
            box = [(None, None) if b is None else b for b in box]
        x = optim.minimize(f, {"a": [0.5, 0.5, 0.5]}, bounds={"a": box}).x["a"]
        np.testing.assert_allclose([float(v) for v in x], expected, rtol=1e-6)


def test_mixed_dtypes():
    """Bounds have the precision of the vector, results that of their parts."""
    x0 = {"a": np.zeros(2, dtype=np.float32), "b": 0.05, "c": np.complex64(1j)}

    def f(p):
        return dif.sum((p["a"] - 3) ** 2) + (p["b"] - 5) ** 2 + abs(p["c"] - 2) ** 2

    x = optim.minimize(f, x0, bounds={"b": (0, 0.1)}).x
    assert x["b"] == 0.1 and x["a"].dtype == np.float32 and x["c"].dtype == np.complex64
    np.testing.assert_allclose(x["a"], 3, rtol=1e-6)
    np.testing.assert_allclose(x["c"], 2, rtol=1e-6)


def test_scalars_come_back_as_they_went():
    for x0, kind in ((1.0, np.float64), (np.float32(1), np.float32), (np.array(1.0), np.ndarray), (1, np.float64)):
        x = optim.minimize(lambda x: (x - 2) ** 2, x0).x
        assert type(x) is kind and x.shape == ()


t = np.linspace(0, 4, 30)
data = 2.5 * np.exp(-1.3 * t) + 0.01 * np.sin(50 * t)


@pytest.mark.parametrize("make", [dict, OrderedDict, Decay, Pair])
def test_names_belong_to_their_estimates(make):
    def model(t, p):
        rate, amplitude = parts(p)
        return amplitude * np.exp(-rate * t)

    fit = optim.curve_fit(model, t, data, make(rate=1.0, amplitude=1.0))
    estimates = dict(zip(fit.names, fit.popt, strict=True))
    assert abs(estimates["rate"] - 1.3) < 0.1 and abs(estimates["amplitude"] - 2.5) < 0.1
    assert type(fit.params) is make or make is OrderedDict
    rate, amplitude = parts(fit.params)
    assert (rate, amplitude) == (estimates["rate"], estimates["amplitude"]) and type(rate) is np.float64


def test_names_of_elements():
    def model(t, p):
        return p["line"].rate[0, 0] * t + p["line"].amplitude + p["w"][1] * t**2 + dif.real(p["z"] * np.exp(1j * t))

    p0 = {"line": Decay(np.ones((1, 1)), 1.0), "w": [0.0, 1.0], "z": 1j}
    fit = optim.curve_fit(lambda t, p: model(t, p) + p["w"][0] * t**3, t, data, p0)
    assert fit.names == ["line.rate", "line.amplitude", "w[0]", "w[1]", "z.real", "z.imag"]


def test_names_that_no_parameter_has():
    def model(t, a, b, c):
        return a * np.exp(-b * t) + c

    fit = optim.curve_fit(model, t, data, p0=[1, 1, 0], fixed="c")  # one name, not its letters
    assert fit.names == ["a", "b"]
    for settings in ({"fixed": "cc"}, {"fixed": ["d"]}, {"tied": {"d": lambda p: p["a"]}}):
        with pytest.raises(ValueError, match="no parameter is called .*; there are a, b, c"):
            optim.curve_fit(model, t, data, p0=[1, 1, 0], **settings)


def test_single_precision_comes_back_in_single_precision():
    x0, f = np.ones(2, dtype=np.float32), lambda x: (x - np.float32(2)) ** 2 * np.array([1, 3], dtype=np.float32)
    for x in (
        optim.minimize(lambda x: dif.sum(f(x)), x0).x,
        optim.minimize(lambda x: dif.sum(f(x)), x0, bounds=[(0, 5)] * 2).x,
        optim.minimize(lambda x: dif.sum(f(x)), x0, method="nelder-mead").x,
        optim.least_squares(lambda x: x - np.float32(2), x0).x,
        optim.root(lambda x: x - np.float32(2), x0).x,
        optim.fixed_point(lambda x: 1 + x / 2, x0).x,
    ):
        assert x.dtype == np.float32
        np.testing.assert_allclose(x, 2, rtol=1e-3)


def line(t, a, b, c):
    return a * np.exp(-b * t) + c


def test_formulas_may_use_each_other_in_any_order():
    """One that came before what it uses saw the start of that."""
    formulas = {"b": lambda p: p["a"] / 2, "c": lambda p: p["b"] / 3}
    for order in ("bc", "cb"):
        fit = optim.curve_fit(line, t, data, p0=[1.0, 1.0, 1.0], tied={name: formulas[name] for name in order})
        a, b, c = fit.params
        assert (b, c) == (a / 2, b / 3)
        assert fit.popt == optim.curve_fit(lambda t, a: line(t, a, a / 2, a / 6), t, data, p0=[1.0]).popt
    with pytest.raises(ValueError, match="depend on each other: b -> c -> b"):
        optim.curve_fit(line, t, data, tied={"b": lambda p: p["c"], "c": lambda p: p["b"]})
    with pytest.raises(KeyError, match="no parameter is called 'd'; there are a, c, b"):
        optim.curve_fit(line, t, data, tied={"b": lambda p: p["d"]})


def test_bounds_and_jacobians_of_all_parameters_when_some_are_fixed():
    def jac(t, a, b, c):
        return np.stack([np.exp(-b * t), -a * t * np.exp(-b * t), np.ones_like(t)], axis=1)

    some = optim.curve_fit(line, t, data, [1, 1, 0.1], fixed="c", bounds=([0, 0], [9, 1.2]))
    for settings in (
        {"bounds": ([0, 0, 0], [9, 1.2, 1])},
        {"bounds": ([0, 0, 0], [9, 1.2, 1]), "jac": jac},
        {"bounds": ([0, 0], [9, 1.2]), "jac": lambda *args: jac(*args)[:, :2]},
    ):
        fit = optim.curve_fit(line, t, data, [1, 1, 0.1], fixed="c", **settings)
        np.testing.assert_allclose(fit.popt, some.popt, rtol=1e-9)
        np.testing.assert_allclose(fit.pcov, some.pcov, rtol=1e-6)
    with pytest.raises(ValueError, match="a column for each free one, which are a, b"):
        optim.curve_fit(line, t, data, [1, 1, 0.1], tied={"c": lambda p: p["a"]}, jac=jac)


@pytest.mark.parametrize(
    "bounds",
    [
        {"b": (0, 1.2)},
        {"b": (0, 1.2), "c": (5, 6)},
        ({"b": 0.0}, {"b": 1.2}),
        ({"a": -9.0, "b": 0.0, "c": 5}, {"b": 1.2}),
        (-9, {"b": 1.2, "a": None}),
    ],
)
def test_bounds_of_a_dict(bounds):
    p0 = {"b": 1.0, "a": 1.0, "c": 0.1}
    fit = optim.curve_fit(lambda t, p: line(t, p["a"], p["b"], p["c"]), t, data, p0, fixed=["c"], bounds=bounds)
    assert abs(fit.params["b"] - 1.2) < 1e-6 and fit.params["c"] == 0.1 and fit.params["a"] > 2


def test_a_network_is_a_tree_of_parameters():
    from difftensor import nn

    net = nn.Sequential(nn.Linear(1, 2, rng=0), nn.Tanh(), nn.Linear(2, 1, rng=1))
    fit = optim.curve_fit(lambda t, net: net(t[:, None])[:, 0], t, data, net)
    assert type(fit.params) is nn.Sequential and len(fit.names) == 7 and fit.names[0] != fit.names[-1]
    assert abs(fit.predict() - data).max() < 0.05
    net.load_state_dict(fit.params.state_dict())
    np.testing.assert_array_equal(net(t[:, None]).detach().numpy()[:, 0], fit.predict())
    assert all(p.requires_grad for p in net.parameters())
