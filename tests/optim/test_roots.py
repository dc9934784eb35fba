"""Roots and fixed points."""

import pickle

import numpy as np
import pytest

import difftensor as dif
import optim
from optim import root_scalar


def test_powell_system():
    # M. J. D. Powell's badly scaled function, as a system of two equations
    result = optim.root(
        lambda x: dif.stack([1e4 * x[0] * x[1] - 1, dif.exp(-x[0]) + dif.exp(-x[1]) - 1.0001]), [0.0, 1.0]
    )
    assert result.success
    np.testing.assert_allclose(sorted(result.x), [1.098159327e-5, 9.106146740], rtol=1e-8)


def test_least_value_is_no_root():
    result = optim.root(lambda x: x**2 + 1, [3.0])
    assert not result.success and "no root" in result.message


def test_pytree_of_unknowns():
    result = optim.root(lambda p: dif.stack([p["a"] + p["b"] - 3, p["a"] * p["b"] - 2]), {"a": 0.0, "b": 3.0})
    assert result.success
    np.testing.assert_allclose([result.x["a"], result.x["b"]], [1, 2])


def test_number_of_equations_must_match():
    with pytest.raises(ValueError, match="least_squares"):
        optim.root(lambda x: dif.stack([x[0], x[0] - 1, x[0] + 1]), [0.0])


def test_bracketed_roots_many_at_once():
    c = np.array([0.1, 2.0, 9.0, 1e6])
    result = root_scalar(lambda x, c: x**2 - c, args=(c,), bracket=(0.0, 1e4))
    assert result.success and result.converged.all()
    np.testing.assert_allclose(result.x, np.sqrt(c), rtol=1e-11)


def test_bracket_needs_two_signs():
    with pytest.raises(ValueError, match="same sign"):
        root_scalar(lambda x: x**2 + 1, bracket=(-1.0, 1.0))


def test_newton_many_at_once():
    result = root_scalar(lambda x: np.exp(x) - 2, x0=np.array([-1.0, 0.0, 5.0]))
    assert result.success
    np.testing.assert_allclose(result.x, np.log(2), rtol=1e-14)
    failed = root_scalar(lambda x: x**2 + 1, x0=1.0)
    assert not failed.success


def test_scalar_agrees_with_brentq():
    from scipy.optimize import brentq

    f = lambda x: np.cos(x) - x**3
    np.testing.assert_allclose(root_scalar(f, bracket=(0, 1)).x, brentq(f, 0, 1, xtol=1e-15), rtol=1e-12)


def test_fixed_point_is_faster_than_iteration():
    # a linear map of spectral radius 0.95 takes plain iteration hundreds of steps
    A = np.diag([0.95, 0.5, -0.3])
    b = np.ones(3)
    result = optim.fixed_point(lambda x: A @ x + b, np.zeros(3))
    assert result.success and result.nit < 20
    np.testing.assert_allclose(result.x, np.linalg.solve(np.eye(3) - A, b), rtol=1e-9)


def test_fixed_point_failure_is_an_answer():
    result = optim.fixed_point(lambda x: x + 1.0, 0.0, maxiter=20)
    assert not result.success


def test_fixed_point_shows_its_course_and_stops_on_request(capsys):
    seen = []

    def watch(intermediate_result):
        seen.append(intermediate_result.optimality)
        if len(seen) == 3:
            raise StopIteration

    result = optim.fixed_point(np.cos, 1.0, callback=watch, progress=True)
    assert result.reason == "callback" and not result.success and result.nit == 3
    assert len(result.trace) == 4 and result.trace.optimality[1:] == seen
    assert "nfev=4" in capsys.readouterr().err
    whole = optim.fixed_point(np.cos, 1.0)
    rest = optim.fixed_point(np.cos, 1.0, resume=pickle.loads(pickle.dumps(result.state)))
    assert rest.success and rest.x == whole.x and rest.nit == whole.nit  # bit for bit
    np.testing.assert_array_equal(whole.fun, np.cos(whole.x))


def test_fixed_point_keeps_the_best_point():
    result = optim.fixed_point(lambda x: 3.7 * x * (1 - x), 0.3, memory=0, maxiter=30)  # chaotic
    assert not result.success and result.reason == "max steps"
    assert result.optimality == min(result.trace.optimality)

    def interrupted(x):
        if len(calls) > 2:
            raise KeyboardInterrupt
        calls.append(x)
        return np.cos(x)

    calls = []
    result = optim.fixed_point(interrupted, 1.0, options={"on_interrupt": "return"})
    assert result.reason == "interrupted" and result.nit == 2


def test_fixed_point_returns_from_where_the_map_is_undefined():
    with np.errstate(all="ignore"):
        result = optim.fixed_point(lambda x: np.sqrt(x - 1) + 0.9, np.array([2.5]))  # the secant leads below 1
        nowhere = optim.fixed_point(np.log, np.array([-1.0]))
    assert result.success and np.isfinite(result.x).all()
    assert nowhere.reason == "not finite" and not nowhere.success


def test_a_pole_is_no_root():
    """1 / (x - c) changes its sign at c; tan has both."""
    c = np.array([1.0, 2.0, np.pi / 2])
    result = optim.root_scalar(lambda x: 1 / (x - c), bracket=(0, 3.3))
    assert not result.success and not result.converged.any() and "pole" in result.message
    result = optim.root_scalar(np.tan, bracket=(np.array([1.0, 2.0]), np.array([2.0, 4.0])))
    assert result.converged.tolist() == [False, True] and abs(result.x[1] - np.pi) < 1e-12
    steep = optim.root_scalar(lambda x: 1e12 * np.sinh(50 * (x - 0.3)), bracket=(0, 1))
    assert steep.success and abs(steep.x - 0.3) < 1e-12
