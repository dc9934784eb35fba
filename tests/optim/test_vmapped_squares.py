"""`least_squares`, `curve_fit` and `fixed_point` inside `dif.vmap`: against the same problems one by one."""

import numpy as np
import pytest

import difftensor as dif
import optim

t = np.linspace(0, 4, 30)
rng = np.random.default_rng(3)
TRUTH = np.stack([rng.uniform(1, 3, 12), rng.uniform(0.5, 2, 12), 0.3 * rng.normal(size=12)], axis=1)
DATA = TRUTH[:, :1] * np.exp(-TRUTH[:, 1:2] * t) + TRUTH[:, 2:] + 0.01 * rng.normal(size=(12, 30))
START = np.array([2.0, 1.0, 0.0])


def model(x, a, b, c):
    return a * dif.exp(-b * x) + c


def squares(y, **settings):
    return optim.least_squares(lambda p: model(t, p[0], p[1], p[2]) - y, START, **settings)


def test_least_squares_takes_the_course_of_single_fits():
    x, cost, success, nit, fun = dif.vmap(lambda y: (lambda r: (r.x, r.cost, r.success, r.nit, r.fun))(squares(y)))(
        DATA
    )
    single = [squares(y) for y in DATA]
    assert success.all() and nit.tolist() == [r.nit for r in single]
    np.testing.assert_allclose(x, [r.x for r in single], rtol=1e-12)
    np.testing.assert_allclose(cost, [r.cost for r in single], rtol=1e-12)
    np.testing.assert_allclose(fun, [r.fun for r in single], atol=1e-12)


@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy", "arctan"])
def test_robust_losses(loss):
    y = DATA.copy()
    y[:, 7] += 1.0  # an outlier
    x, success = dif.vmap(lambda y: (lambda r: (r.x, r.success))(squares(y, loss=loss, f_scale=0.05)))(y)
    single = [squares(v, loss=loss, f_scale=0.05) for v in y]
    assert success.tolist() == [r.success for r in single] and success.all()
    np.testing.assert_allclose(x, [r.x for r in single], atol=1e-5)


def test_exact_data_and_one_fit_that_fails():
    y = TRUTH[:, :1] * np.exp(-TRUTH[:, 1:2] * t)  # c = 0 in all of them, and no residuals left
    y[4, 3] = np.nan
    x, success = dif.vmap(lambda y: (lambda r: (r.x, r.success))(squares(y)))(y)
    assert success.tolist() == [i != 4 for i in range(12)]
    expected = np.concatenate([TRUTH[:, :2], np.zeros((12, 1))], axis=1)
    np.testing.assert_allclose(np.delete(x, 4, 0), np.delete(expected, 4, 0), atol=1e-12)


def test_no_success_on_the_way_to_infinity():
    def away(s):
        return optim.least_squares(lambda x: dif.stack([1 + dif.exp(-x[0]) + s * x[0] ** 2, s]), np.zeros(1)).success

    with np.errstate(all="ignore"):
        assert dif.vmap(away)(np.array([0.0, 1.0])).tolist() == [False, True]


def parts(fit):
    return fit.popt, fit.pcov, fit.standard_errors, fit.params, fit.success


def test_curve_fit_with_covariance_for_every_row():
    sigma = np.full(30, 0.01)
    for given in ({}, {"sigma": sigma}, {"sigma": sigma, "absolute_sigma": True}, {"fixed": ["c"]}):
        fit = lambda y: optim.curve_fit(model, t, y, START, **given)  # noqa: B023, E731
        found = dif.vmap(lambda y: parts(fit(y)))(DATA)  # noqa: B023
        single = [fit(y) for y in DATA]
        assert found[4].all()
        for rows, name in zip(found, ("popt", "pcov", "standard_errors", "params"), strict=False):
            np.testing.assert_allclose(rows, [getattr(f, name) for f in single], rtol=1e-9, atol=1e-13)


def test_curve_fit_of_starts_sigmas_and_dicts():
    starts, sigmas = START * rng.uniform(0.8, 1.2, size=(12, 3)), rng.uniform(0.5, 1.5, size=(12, 30))
    popt, pcov = dif.vmap(lambda y, p, s: tuple(optim.curve_fit(model, t, y, p, sigma=s)))(DATA, starts, sigmas)
    for i in range(12):
        single = optim.curve_fit(model, t, DATA[i], starts[i], sigma=sigmas[i])
        np.testing.assert_allclose(popt[i], single.popt, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(pcov[i], single.pcov, rtol=1e-7)
    tree = dif.vmap(
        lambda y: optim.curve_fit(lambda x, p: p["a"] * dif.exp(-p["b"] * x), t, y, {"a": 2.0, "b": 1.0}).params
    )(DATA - TRUTH[:, 2:])
    np.testing.assert_allclose(tree["a"], TRUTH[:, 0], rtol=0.05)


def test_undetermined_parameters_have_no_finite_variance():
    def fit(y):
        f = optim.curve_fit(lambda x, a, b: a + b + 0 * x, t, y, [1.0, 1.0])
        return f.pcov, f.success

    pcov, success = dif.vmap(fit)(DATA[:3])
    assert np.isinf(pcov).all() and success.all()


def test_derivatives():
    rate = lambda y: squares(y).x[1]  # noqa: E731
    error = lambda y: optim.curve_fit(model, t, y, START).standard_errors[1]  # noqa: E731
    for f in (rate, error):
        rows = dif.vmap(dif.grad(f))(DATA[:3])
        whole = dif.grad(lambda d: dif.sum(dif.vmap(f)(d)))(DATA[:3])  # noqa: B023
        np.testing.assert_allclose(rows, [dif.grad(f)(y) for y in DATA[:3]], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(whole, rows, rtol=1e-6, atol=1e-12)
    point = lambda a: optim.fixed_point(lambda x: dif.cos(a * x), 1.0).x  # noqa: E731
    a = np.array([0.3, 0.7, 1.0])
    x = dif.vmap(point)(a)
    slope = -x * np.sin(a * x) / (1 + a * np.sin(a * x))  # of x = cos(a x)
    np.testing.assert_allclose(dif.vmap(dif.grad(point))(a), slope, rtol=1e-10)


def test_fixed_points():
    A = rng.normal(size=(9, 6, 6))
    A, b = 0.9 * A / np.linalg.norm(A, axis=(1, 2))[:, None, None], rng.normal(size=(9, 6))
    for settings in ({}, {"memory": 0}, {"damping": 0.7, "memory": 3}):

        def solve(A, b):
            r = optim.fixed_point(lambda x: dif.tanh(dif.matmul(A, x)) + b, np.zeros(6), **settings)  # noqa: B023
            return r.x, r.success, r.nit

        x, success, nit = dif.vmap(solve)(A, b)
        single = [solve(A[i], b[i]) for i in range(9)]
        assert success.all() and nit.tolist() == [s[2] for s in single]
        np.testing.assert_allclose(x, [s[0] for s in single], atol=1e-12)


def test_fixed_points_where_there_is_none():
    solve = lambda c: (lambda r: (r.x, r.success))(optim.fixed_point(lambda x: x**2 + c, 0.1))  # noqa: E731
    x, success = dif.vmap(solve)(np.array([0.1, 3.0]))  # x^2 - x + 3 has no real root
    assert success.tolist() == [True, False]
    np.testing.assert_allclose(x[0], 0.5 - 0.15**0.5, rtol=1e-10)


def test_what_has_no_form_for_a_batch_says_so():
    for settings in ({"bounds": (0, 5)}, {"method": "trf"}, {"max_nfev": 5}):
        with pytest.raises(dif.errors.BatchedValueError, match="fallback='loop'"):
            dif.vmap(lambda y: squares(y, **settings).x)(DATA)  # noqa: B023
    with pytest.raises(dif.errors.BatchedValueError, match="callback"):
        dif.vmap(lambda c: optim.fixed_point(lambda x: dif.cos(c * x), 1.0, callback=print).x)(t)
    alike = dif.vmap(lambda s: s * optim.curve_fit(model, t, DATA[0], START).popt)(np.ones(2))
    np.testing.assert_allclose(alike[1], optim.curve_fit(model, t, DATA[0], START).popt)
