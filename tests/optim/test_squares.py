"""Least squares and curve fitting against certified values and closed forms."""

import numpy as np
import pytest

import difftensor as dif
import optim

from .problems import nist

STARTS = [(p, k) for p in nist.ALL for k in (0, 1)]


@pytest.fixture(scope="module")
def fits():
    with np.errstate(all="ignore"):
        return {(p.name, k): optim.curve_fit(p.model, p.x, p.y, p.starts[k]) for p, k in STARTS}


@pytest.mark.parametrize(("regression", "k"), STARTS, ids=lambda v: getattr(v, "name", str(v)))
def test_nist_certified_values(fits, regression, k):
    fit = fits[regression.name, k]
    assert fit.success, fit.message
    # NIST certifies 11 digits
    np.testing.assert_allclose(fit.popt, regression.certified, rtol=1e-10)
    if regression.name == "Lanczos1":
        # Its residuals are rounding errors of the data (sum of squares 1.4e-25), beyond float64.
        assert fit.sum_of_squares < 2e-25
        return
    np.testing.assert_allclose(fit.standard_errors, regression.deviations, rtol=1e-8)
    np.testing.assert_allclose(fit.sum_of_squares, regression.sum_of_squares, rtol=1e-8)


def test_linear_model_has_the_textbook_covariance():
    rng = np.random.default_rng(3)
    x = np.linspace(0, 1, 30)
    y = 2 + 3 * x + 0.1 * rng.normal(size=30)
    A = np.stack([np.ones(30), x], axis=1)
    fit = optim.curve_fit(lambda x, a, b: a + b * x, x, y)
    popt, pcov = fit
    expected, rss, *_ = np.linalg.lstsq(A, y, rcond=None)
    np.testing.assert_allclose(popt, expected, rtol=1e-12)
    np.testing.assert_allclose(pcov, np.linalg.inv(A.T @ A) * rss[0] / 28, rtol=1e-10)
    # for a linear model the profile is the t interval
    np.testing.assert_allclose(fit.profile("b"), fit.intervals()[1], rtol=1e-6)


def test_sigma_absolute_and_covariance():
    rng = np.random.default_rng(4)
    x = np.linspace(0, 1, 20)
    s = 0.1 + x
    y = 1 - x + s * rng.normal(size=20)
    A = np.stack([np.ones(20), x], axis=1) / s[:, None]
    fit = optim.curve_fit(lambda x, a, b: a + b * x, x, y, sigma=s, absolute_sigma=True)
    np.testing.assert_allclose(fit.pcov, np.linalg.inv(A.T @ A), rtol=1e-10)
    full = optim.curve_fit(lambda x, a, b: a + b * x, x, y, sigma=np.diag(s**2), absolute_sigma=True)
    np.testing.assert_allclose(full.popt, fit.popt, rtol=1e-10)


def test_names_fixed_tied_and_pytrees():
    x = np.linspace(0, 3, 40)
    y = 2 * np.exp(-0.7 * x) + 0.5

    def model(x, a, k, c):
        return a * dif.exp(-k * x) + c

    fit = optim.curve_fit(model, x, y, [1.0, 1.0, 0.5], fixed=["c"])
    assert fit.names == ["a", "k"]
    np.testing.assert_allclose(fit.params, [2, 0.7, 0.5], rtol=1e-9)
    tied = optim.curve_fit(model, x, y, [1.0, 1.0, 0.0], tied={"c": lambda p: p["a"] / 4})
    np.testing.assert_allclose(tied.params, [2, 0.7, 0.5], rtol=1e-9)

    def of_dict(x, p):
        return p["a"] * dif.exp(-p["k"] * x) + p["c"]

    named = optim.curve_fit(of_dict, x, y, {"a": 1.0, "k": 1.0, "c": 0.0})
    assert named.names == ["a", "c", "k"]
    np.testing.assert_allclose([named.params[k] for k in "akc"], [2, 0.7, 0.5], rtol=1e-9)
    assert "a" in named.report() and "std. error" in named.report()


def test_undetermined_parameter_is_said():
    x = np.linspace(0, 1, 10)
    fit = optim.curve_fit(lambda x, a, b: (a + b) * x, x, 3 * x + 0.01 * np.cos(9 * x), [1.0, 1.0])
    assert np.isinf(fit.pcov).all() and "do not determine" in fit.report()


def test_bounds_hold_and_others_are_optimal():
    t = np.linspace(0, 1, 15)
    A = np.stack([np.ones(15), t, t**2], axis=1)
    y = 1 + 2 * t - 3 * t**2
    result = optim.least_squares(lambda x: A @ x - y, np.zeros(3), bounds=([-np.inf, -np.inf, -1], np.inf))
    from scipy.optimize import lsq_linear

    expected = lsq_linear(A, y, bounds=([-np.inf, -np.inf, -1], np.inf), tol=1e-14).x
    assert result.success and result.x[2] == -1 and result.active_mask.tolist() == [0, 0, -1]
    np.testing.assert_allclose(result.x, expected, atol=1e-9)


@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy", "arctan"])
def test_robust_losses_agree_with_scipy(loss):
    from scipy.optimize import least_squares

    rng = np.random.default_rng(5)
    x = np.linspace(0, 2, 50)
    y = 1.5 * np.exp(-x) + 0.02 * rng.normal(size=50)
    y[::9] += 1.0

    def residuals(p):
        return p[0] * dif.exp(-p[1] * x) - y

    ours = optim.least_squares(residuals, [1.0, 0.5], loss=loss, f_scale=0.1)
    theirs = least_squares(residuals, [1.0, 0.5], loss=loss, f_scale=0.1, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    assert ours.success
    np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-5)
    assert ours.cost <= theirs.cost * (1 + 1e-10)


def test_own_jacobian_and_complex_residuals():
    result = optim.least_squares(
        lambda x: np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]]), [-1.2, 1.0],
        jac=lambda x: np.array([[-20 * x[0], 10], [-1, 0]]),
    )  # fmt: skip
    np.testing.assert_allclose(result.x, [1, 1], atol=1e-12)


def test_bad_data_is_named():
    with pytest.raises(ValueError, match=r"ydata\[1\]"):
        optim.curve_fit(lambda x, a: a * x, [1.0, 2.0], [1.0, np.nan])
    with pytest.raises(ValueError, match="sigma must be positive"):
        optim.curve_fit(lambda x, a: a * x, [1.0, 2.0], [1.0, 2.0], sigma=[1.0, 0.0])


@pytest.mark.parametrize("radius", [1e-3, 1e-100, 1e-155, 1e-200])
def test_steps_to_a_boundary_of_any_size(radius):
    from optim.trust.secular import boundary_multiplier

    values, along = np.array([0.5, 1.0, 4.0]), np.array([1.0, -2.0, 0.5])
    with np.errstate(over="ignore"):
        lam = boundary_multiplier(values, along, radius)
    assert np.linalg.norm(along / radius / (values + lam)) == pytest.approx(1.0, rel=1e-3)
