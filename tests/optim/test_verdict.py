"""`success` is a claim about the point: functions whose infimum, saddles and plateaus are known."""

import numpy as np
import pytest

import difftensor as dif
import optim

METHODS = ["bfgs", "l-bfgs", "cg", "newton-cg", "trust-exact", "trust-ncg", "trust-krylov", "dogleg"]
t = np.linspace(0, 4, 30)
exp = dif.exp

NO_MINIMUM = {
    "exp": (lambda x: exp(-x[0]), [0.0]),
    "exp above 1": (lambda x: 1 + exp(-x[0]), [0.0]),
    "in units of 1e-8": (lambda x: 1 + exp(-1e8 * x[0]), [0.0]),
    "exp along a diagonal": (lambda x: 1 + exp(-x[0] - x[1]) + (x[0] - x[1]) ** 2, [1.0, 0.5]),
    "hyperbola": (lambda x: 1 / (1 + (x[0] + x[1]) ** 2) + (x[0] - x[1]) ** 2, [1.0, 0.5]),
    "curved valley": (lambda x: (x[0] * x[1] - 1) ** 2 + x[0] ** 2, [1.0, 1.0]),
    "arctan": (lambda x: -dif.arctan(x[0]), [1.0]),
    "separable classes": (lambda x: sum(dif.log(1 + exp(-(v @ x))) for v in np.array([[1, 1], [2, -1], [1, 0]])),
                          [0.0, 0.0]),
    "a line as an exponential": (lambda p: dif.sum((p[0] * exp(-p[1] * t) + p[2] - 0.3 + 0.2 * t) ** 2),
                                 [1.0, 0.5, 0.0]),
    "cubic": (lambda x: x[0] ** 3, [1.0]),
    "cubic beside a square": (lambda x: x[0] ** 3 + x[1] ** 2, [1.0, 1.0]),
    "cubic along a diagonal": (lambda x: (x[0] + x[1]) ** 2 + (x[0] - x[1]) ** 3, [1.0, 0.0]),
    "quintic": (lambda x: x[0] ** 5 + x[1] ** 2, [1.0, 1.0]),
    "at a cubic saddle": (lambda x: x[0] ** 3 + x[1] ** 2, [0.0, 1.0]),
    "at a quartic saddle": (lambda x: x[0] ** 2 - x[1] ** 4, [1.0, 0.0]),
    # G. Peano's: a minimum along every straight line through 0
    "Peano": (lambda x: (x[1] - x[0] ** 2) * (x[1] - 3 * x[0] ** 2), [0.0, 0.0]),
    "slope below gtol": (lambda x: 1e-7 * x[0], [1.0]),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NO_MINIMUM)
def test_no_success_where_there_is_no_minimum(name, method):
    fun, x0 = NO_MINIMUM[name]
    with np.errstate(all="ignore"):
        result = optim.minimize(fun, np.array(x0), method=method)
        assert not result.success, (result.x, result.message)
        if method in ("bfgs", "trust-exact"):
            assert not optim.minimize_batch(fun, np.array([x0]), method=method).success.any()
            x = dif.vmap(lambda s: optim.minimize(lambda x: fun(s * x) / s, np.array(x0), method=method).success)(
                np.ones(2)
            )
            assert not x.any()


@pytest.mark.parametrize("seed", [119, 123, 149, 171, 187, 192])
@pytest.mark.parametrize("method", METHODS)
def test_a_fit_that_runs_down_a_valley(seed, method):
    # from these starts a exp(-b t) + c flattens to a line, a c -> -infinity, b -> 0, where no minimum is
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(1, 3), rng.uniform(0.5, 2)
    y = a * np.exp(-b * t) + 0.01 * rng.normal(size=30)
    with np.errstate(all="ignore"):
        result = optim.minimize(
            lambda p: dif.sum((p[0] * exp(-p[1] * t) + p[2] - y) ** 2), 3 * rng.normal(size=3), method=method
        )
    assert result.success == (result.fun < 0.01), (result.x, result.message)


MINIMA = {
    "small units": (lambda x: (x[0] - 1e-8) ** 2 + (x[1] - 2e-8) ** 2, [5e-8, 0.0], [1e-8, 2e-8]),
    "large units": (lambda x: (x[0] / 1e8 - 1) ** 2 + (x[1] / 1e8 - 2) ** 2, [3e8, 1e8], [1e8, 2e8]),
    "small values": (lambda x: 1e-20 * ((x[0] - 1) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2), [-1.2, 1.0], [1.0, 1.0]),
    "both": (lambda x: 1e-20 * ((1e8 * x[0] - 1) ** 2 + (1e8 * x[1] - 2) ** 2), [0.0, 0.0], [1e-8, 2e-8]),
    "eighth power": (lambda x: (x[0] - 1) ** 8, [3.0], [1.0]),
    "saturated": (lambda x: (dif.tanh(x[0]) - 0.5) ** 2, [25.0], [np.arctanh(0.5)]),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MINIMA)
def test_minima_in_any_units(name, method):
    fun, x0, x = MINIMA[name]
    result = optim.minimize(fun, np.array(x0), method=method)
    assert result.success, result.message
    np.testing.assert_allclose(result.x, x, rtol=0.1 if name == "eighth power" else 1e-2, atol=1e-3 * np.abs(x).max())


@pytest.mark.parametrize("method", METHODS)
def test_minima_that_are_lines_and_curves(method):
    for fun, x0 in (
        (lambda x: 1 + (x[0] + x[1] - 1) ** 2, [0.0, 0.0]),
        (lambda x: 1 + (x[0] * x[1] - 1) ** 2, [1.0, 0.3]),
        (lambda x: 1 + (x[0] ** 2 + x[1] ** 2 - 1) ** 2, [1.0, 0.3]),
    ):
        result = optim.minimize(fun, np.array(x0), method=method)
        assert result.success and result.fun - 1 < 1e-12, result.message


def test_values_alone_tell_nelder_mead():
    for fun, x0 in ((lambda x: 1 + np.exp(-x[0]), [0.0]), (lambda x: 1 / (1 + x[0] ** 2), [1.0]),
                    (lambda x: 1 / (1 + np.exp(-x[0])), [40.0])):  # fmt: skip
        with np.errstate(all="ignore"):
            assert not optim.minimize(fun, x0, method="nelder-mead").success


def test_the_message_says_what_happened():
    result = optim.minimize(lambda x: 1 + exp(-x[0]) + x[1] ** 2, [0.0, 1.0], method="trust-exact")
    assert "x[0]" in result.message and "start elsewhere" in result.message


def test_kinks_do_not_break_line_searches():
    # slopes that only change their sign leave the parabola through both ends without curvature
    for method in METHODS:
        for fun, x0 in ((lambda x: abs(x[0] - 1), [3.0]), (lambda x: dif.sqrt(x[0] ** 2 + x[1] ** 2), [3.0, 4.0])):
            with np.errstate(all="ignore"):
                assert optim.minimize(fun, x0, method=method).fun < 1e-6


@pytest.mark.parametrize("method", ["bfgs", "l-bfgs", "cg", "newton-cg"])
def test_limits_hold_where_a_solution_is_doubted(method):
    """A valley whose floor has no curvature: the run goes on beyond it, but not beyond what was asked for."""
    calls = []

    def f(x):
        calls.append(1)
        return (x[0] ** 2 + x[1] ** 2) * x[2] ** 2

    for steps in (5, 30):
        result = optim.minimize(f, np.array([1.0, 0.5, 0.3]), method=method, options={"maxiter": steps})
        assert result.nit <= steps + 1  # a step out of a saddle counts besides
    calls.clear()
    result = optim.minimize(f, np.array([1.0, 0.5, 0.3]), method=method, options={"max_evaluations": 40})
    assert len(calls) < 100


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_minus_a_fidelity_is_as_low_as_float64_can_tell(seed):
    """f is a small difference of large terms: at the solution it and the small eigenvalues of its Hessian, many where
    20 controls have 2 conditions to meet, are rounding."""
    x, z, n, dt = np.array([[0, 1], [1, 0]]), np.diag([1.0, -1.0]), 20, 0.2

    def infidelity(u):
        U = np.eye(2)
        for k in range(n):
            U = dif.linalg.expm(-1j * dt * (0.5 * z + u[k] * x)) @ U
        return 1 - abs(dif.trace(x @ U) / 2) ** 2

    r = optim.minimize(infidelity, 0.5 + 0.1 * np.random.default_rng(seed).normal(size=n))
    assert r.success, r.message
    assert abs(r.fun) < 1e-14


def test_the_same_terms_do_not_hide_a_saddle():
    r = optim.minimize(lambda x: 1 - np.cos(x[0]) * np.cos(x[1]) * (1 + 1e-3 * x[2] ** 2), np.array([0.3, 0.2, 0.0]))
    assert not r.success or r.fun < -1e-3


def test_rounding_does_not_hide_a_kink():
    r = optim.minimize(lambda x: 1 + np.max(np.abs(x - 0.3) * np.array([1.0, 10.0])), np.array([1.0, 1.0]), method="cg")
    assert not r.success or r.fun <= 1 + 1e-12
