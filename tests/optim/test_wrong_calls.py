"""Calls that mean nothing, or something else than what was computed: each an error that says what to do."""

from collections import OrderedDict

import numpy as np
import pytest

import difftensor as dif
import optim

t = np.linspace(0, 4, 30)
data = 2 * np.exp(-t) + 0.01 * np.sin(37 * t)


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def decay(t, a, b):
    return a * np.exp(-b * t)


@pytest.mark.parametrize(
    ("call", "words"),
    [  # what would be broadcast, silently
        (lambda: optim.fixed_point(lambda x: np.sum(np.cos(x)), np.ones(3)), r"like x0, \(3,\), got shape \(\)"),
        (lambda: optim.fixed_point(lambda x: np.cos(x)[:1], np.ones(3)), r"got shape \(1,\)"),
        (lambda: optim.fixed_point(lambda x: np.cos(x) * np.ones(3), 1.0), r"like x0, \(\), got shape \(3,\)"),
        (lambda: optim.fixed_point(lambda p: {"b": np.cos(p["a"])}, {"a": 1.0}), "like x0, .*'a'.*, got .*'b'"),
        (lambda: optim.fixed_point(lambda x: None, np.ones(3)), "like x0, an array, got NoneType"),
        (lambda: optim.curve_fit(decay, t[:, None], data), r"model returns shape \(30, 1\) for ydata of shape \(30,\)"),
        (lambda: optim.curve_fit(decay, t, data[:, None]), r"shape \(30,\) for ydata of shape \(30, 1\)"),
        (lambda: optim.curve_fit(decay, t, data[:-1]), r"shape \(30,\) for ydata of shape \(29,\)"),
        (lambda: optim.curve_fit(decay, t, data, sigma=np.ones(5)), r"sigma has shape \(5,\)"),
        (lambda: optim.least_squares(lambda x: x - 2, [1.0, 2.0], jac=lambda x: np.ones((3, 2))), r"\(2, 2\)"),
        (
            lambda: optim.least_squares(lambda x: x[0] * t[:3] - x[1], [1.0, 2.0], jac=lambda x: [t[:3], -np.ones(3)]),
            r"jac must return shape \(3, 2\), .* got \(2, 3\)",
        ),
        # what is no start, no bracket, no bounds
        (lambda: optim.multistart(np.sum, [0.0, 0.0], starts=0), "number of starts"),
        (lambda: optim.multistart(np.sum, [0.0, 0.0], starts=np.zeros((4, 3))), r"\(k, 2\), got shape \(4, 3\)"),
        (lambda: optim.root_scalar(np.arctan, bracket=(-np.inf, 2)), "finite"),
        (lambda: optim.root_scalar(np.sin, bracket=(0, 1, 2)), "two ends, got 3"),
        (lambda: optim.least_squares(lambda x: x, np.ones(3), bounds=[(0, 1)] * 3), r"\(lower, upper\) here"),
        # what does not depend on x
        (lambda: optim.least_squares(lambda x: np.ones(3), [1.0]), "does not depend on x"),
        (lambda: optim.root(lambda x: np.ones(1), [1.0]), "does not depend on x"),
        (lambda: optim.curve_fit(decay, t, data).profile("c"), "no free parameter is called 'c'; there are a, b"),
    ],
)
def test_values(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: optim.minimize(lambda x: (np.sum(x**2), 2 * x), [1.0]), "returned a tuple, .* jac=True"),
        (lambda: optim.minimize(lambda x: [np.sum(x**2)], [1.0]), "returned a list"),
        (lambda: optim.minimize(lambda x: np.sum(x**2), [1.0], callback="print"), "callback must be a function"),
        (lambda: optim.fixed_point(lambda z: z * 1j, [1.0]), "complex, and x0 is real"),
        (lambda: optim.curve_fit(decay, t, data, nan_policy="omit"), r"no settings \['nan_policy'\]"),
    ],
)
def test_types(call, words):
    with pytest.raises(TypeError, match=words):
        call()


def test_answers_of_callbacks():
    """An array is no answer; True stops."""
    seen = []

    def f(x):
        return np.sum((x - 1) ** 4)

    assert optim.minimize(f, [5.0, 6.0], callback=lambda x: seen.append(x) or x).success and len(seen) > 3
    assert optim.minimize(f, [5.0, 6.0], callback=lambda x: np.True_).nit == 1


def test_fixed_points_of_complex_numbers_and_trees():
    f = lambda z: np.exp(-z) * (1 + 0.5j)
    z = optim.fixed_point(f, 0.5 + 0.1j).x
    assert abs(z - f(z)) < 1e-12
    slope = dif.grad(lambda a: np.real(optim.fixed_point(lambda z: a * np.exp(-z) * (1 + 0.5j), 0.5 + 0.1j).x))(1.0)
    np.testing.assert_allclose(slope, (z / (1 + z)).real, rtol=1e-10)  # dz (1 + z) = z da at a = 1

    p = optim.fixed_point(lambda p: OrderedDict(b=np.cos(p["b"]), a=0.5 * p["b"]), OrderedDict(b=1.0, a=0.0)).x
    np.testing.assert_allclose([p["a"], p["b"]], [0.36954256660757, 0.73908513321516], rtol=1e-11)


def test_residuals_in_a_tree():
    result = optim.root(lambda p: {"sum": p["a"] + p["b"] - 3, "product": p["a"] * p["b"] - 2}, {"a": 0.0, "b": 3.0})
    np.testing.assert_allclose([result.x["a"], result.x["b"]], [1, 2])
    x = optim.least_squares(lambda x: {"data": x[0] - np.arange(3.0), "prior": 0.1 * x}, [5.0, 5.0]).x
    np.testing.assert_allclose(x, [3 / 3.01, 0], atol=1e-12)


def test_a_jacobian_of_complex_residuals():
    z = np.exp(1j * t)
    x = optim.least_squares(lambda x: x[0] * z + x[1] - (2 * z + 3), [0.0, 0.0], jac=lambda x: np.stack([z, z**0], 1)).x
    np.testing.assert_allclose(x, [2, 3], rtol=1e-12)


def test_starts_between_bounds_that_are_missing():
    f = lambda x: np.sum((x - [5, -5, 0.2]) ** 2)
    best = optim.multistart(f, bounds=[(1, None), (None, np.inf), (0, 0.1)], starts=3, rng=0)
    np.testing.assert_allclose(best.x, [5, -5, 0.1], atol=1e-6)


def test_scipys_words():
    one = optim.curve_fit(decay, t, data, maxfev=3)
    assert one.reason == "max evaluations"
    assert optim.least_squares(lambda x: x - 2, [1.0], ftol=None, xtol=None, gtol=1e-10).success


def test_reports_say_what_does_not_hold():
    held = optim.curve_fit(decay, t, data, bounds=([0, 0], [1.5, 3])).report()
    assert "a at a bound: standard errors" in held and "b at a bound" not in held
    two = optim.curve_fit(decay, t[:2], data[:2]).report()
    assert "as many parameters as data" in two and "%]" not in two and "inf%" not in two
    flat = optim.curve_fit(lambda t, a, b: a + b * t, t, np.ones(30) + 0.1 * (-1) ** np.arange(30.0), p0=[1, 0])
    assert all(len(line) < 90 for line in flat.report().splitlines()[3:])


def test_states_of_other_runs():
    x0 = np.full(4, -1.2)
    early = optim.minimize(rosenbrock, x0, options={"maxiter": 3})
    with pytest.raises(TypeError, match=r"result\.state"):
        optim.minimize(rosenbrock, x0, resume=early)
    with pytest.raises(ValueError, match="BFGSState .* not of the method 'l-bfgs', which goes on from a LBFGSState"):
        optim.minimize(rosenbrock, x0, method="l-bfgs", resume=early.state)
    with pytest.raises(ValueError, match="4 variables, x0 has 3"):
        optim.minimize(rosenbrock, x0[:3], resume=early.state)
    with pytest.raises(ValueError, match="'raise' or 'return'"):
        optim.minimize(rosenbrock, x0, options={"on_interrupt": "ignore"})


def test_batches_and_their_arguments():
    f = lambda p, c: dif.sum((p - c) ** 2)
    for args, words in (
        ((np.ones(4),), r"3 problems, so args\[0\] needs an axis 0 of that length, and has the shapes \[\(4,\)\]"),
        ((2.0,), "for what all problems share, use in_axes=None"),
    ):
        with pytest.raises(ValueError, match=words):
            optim.minimize_batch(f, np.ones((3, 2)), args)
    np.testing.assert_allclose(optim.minimize_batch(f, np.ones((3, 2)), (2.0,), in_axes=None).x, 2)
    with pytest.raises(ValueError, match="no problem to solve"):
        optim.minimize_batch(f, np.ones((0, 2)), (np.ones(0),))


def test_options():
    x0 = np.full(4, -1.2)
    for options, words in (
        (["maxiter", 3], "options must be a dict"),
        ({"maxiter": "3"}, "'maxiter' must be a number"),
        ({"gtol": [1e-3]}, "'gtol' must be a number"),
    ):
        with pytest.raises(TypeError, match=words):
            optim.minimize(rosenbrock, x0, options=options)
    with pytest.raises(TypeError, match="known are amsgrad, betas, .* weight_decay"):
        optim.minimize(rosenbrock, x0, method="adam", options={"learning_rate": 0.1})
    assert optim.minimize(rosenbrock, x0, options={"gtol": None, "maxiter": None}).success
    assert optim.minimize(rosenbrock, x0, method=optim.methods.BFGS, options={"c1": 1e-3}).method == "bfgs"
