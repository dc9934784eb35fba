"""Derivatives of solutions against closed forms."""

import numpy as np
import pytest

import difftensor as dif
import optim


def test_root_to_second_order():
    def solution(t):
        return optim.root(lambda x: x**2 - t, [1.0]).x[0]

    np.testing.assert_allclose(dif.grad(solution)(2.0), 0.5 / np.sqrt(2), rtol=1e-12)
    np.testing.assert_allclose(dif.grad(dif.grad(solution))(2.0), -0.25 * 2**-1.5, rtol=1e-10)


def test_parameter_through_args():
    def solution(t):
        return optim.root(lambda x, t: x**3 - t, [1.0], args=(t,)).x[0]

    np.testing.assert_allclose(dif.grad(solution)(8.0), 1 / 12, rtol=1e-12)


def test_minimizer_of_a_ridge_problem():
    rng = np.random.default_rng(2)
    A, b = rng.normal(size=(8, 3)), rng.normal(size=8)

    def solution(t):
        return optim.minimize(lambda x: dif.sum((A @ x - b) ** 2) + t * dif.sum(x**2), np.zeros(3), tol=1e-9).x

    # x = (A^T A + t)^{-1} A^T b, so dx/dt = -(A^T A + t)^{-1} x
    M = A.T @ A + 0.7 * np.eye(3)
    x = np.linalg.solve(M, A.T @ b)
    for i in range(3):
        first = dif.grad(lambda t, i=i: solution(t)[i])
        np.testing.assert_allclose(first(0.7), -np.linalg.solve(M, x)[i], rtol=1e-7)
        np.testing.assert_allclose(dif.grad(first)(0.7), 2 * np.linalg.solve(M, np.linalg.solve(M, x))[i], rtol=1e-6)


def test_active_bounds_do_not_move():
    def solution(t):
        return optim.minimize(
            lambda x: (x[0] - t) ** 2 + (x[1] - t) ** 2 + x[0] * x[1], [0.0, 0.0], bounds=[(None, 0.1), (None, None)]
        ).x

    # x0 stays at 0.1; x1 = t - 0.05
    assert dif.grad(lambda t: solution(t)[0])(2.0) == 0
    np.testing.assert_allclose(dif.grad(lambda t: solution(t)[1])(2.0), 1.0, rtol=1e-6)


def test_least_squares_fit_with_respect_to_data():
    A = np.stack([np.ones(5), np.arange(5.0)], axis=1)

    def slope(y):
        return optim.least_squares(lambda x: A @ x - y, np.zeros(2)).x[1]

    y = np.array([1.0, 2.0, 2.5, 4.5, 5.0])
    # the second row of the pseudoinverse
    np.testing.assert_allclose(dif.grad(slope)(y), [-0.2, -0.1, 0, 0.1, 0.2], atol=1e-12)


def test_fixed_point():
    def solution(t):
        return optim.fixed_point(lambda x: dif.cos(t * x), 1.0).x

    x = solution(1.0)
    # x = cos(t x): dx/dt = -x sin / (1 + t sin)
    np.testing.assert_allclose(dif.grad(solution)(1.0), -x * np.sin(x) / (1 + np.sin(x)), rtol=1e-9)


def test_undetermined_solution_has_no_derivative():
    with pytest.raises(ValueError, match="singular"):
        dif.grad(lambda t: optim.minimize(lambda x: (x[0] + x[1] - t) ** 2, [0.0, 0.0]).x[0])(1.0)


def test_large_problems_need_no_matrix():
    """x minimizes |x - a|^2/2 + |Dx|^2 over x >= -0.6: a tridiagonal system in the variables no bound holds."""
    n = 700
    a = np.sin(np.arange(n) / 30.0)
    K = 5.0 * np.eye(n) - 2 * np.eye(n, k=1) - 2 * np.eye(n, k=-1)
    K[0, 0] = K[-1, -1] = 3.0
    w = np.cos(np.arange(n))

    def fun(x, a):
        return 0.5 * dif.sum((x - a) ** 2) + dif.sum((x[1:] - x[:-1]) ** 2)

    def total(a, bounds):
        r = optim.minimize(fun, np.zeros(n), args=(a,), method="l-bfgs", bounds=bounds, options={"gtol": 1e-9})
        return dif.sum(w * r.x)

    np.testing.assert_allclose(dif.grad(total)(a, None), np.linalg.solve(K, w), rtol=1e-6, atol=1e-7)
    bounds = [(-0.6, None)] * n
    x = optim.minimize(fun, np.zeros(n), args=(a,), method="l-bfgs", bounds=bounds, options={"gtol": 1e-9}).x
    free = x > -0.6
    assert 500 < free.sum() < n
    expected = np.zeros(n)
    expected[free] = np.linalg.solve(K[np.ix_(free, free)], w[free])
    np.testing.assert_allclose(dif.grad(total)(a, bounds), expected, rtol=1e-6, atol=1e-7)


def test_transformations_under_no_grad_hand_out_arrays():
    """What the solvers rely on: a live leaf in the closure does not turn derivatives into tracked Tensors."""
    live = dif.tensor(np.array([1.0, 2.0]), requires_grad=True)
    x = np.array([3.0, 4.0])

    def fun(x):
        return dif.sum(live * x**2)

    with dif.no_grad():
        y, pull = dif.vjp(fun, x)
        found = [pull(1.0)[0], dif.grad(fun)(x), dif.hvp(fun)(x, np.ones(2)), dif.hessian(fun)(x)]
    assert all(type(a) is np.ndarray for a in found) and not isinstance(y, dif.Tensor)
    np.testing.assert_allclose(found[0], [6, 16])
    np.testing.assert_allclose(found[3], np.diag([2.0, 4.0]))


def test_third_derivatives_of_a_solution():
    """The minimizer of x^4 / 4 - a x is a^(1/3)."""
    solution = lambda a: optim.minimize(lambda x: x[0] ** 4 / 4 - a * x[0], np.array([1.0])).x[0]  # noqa: E731
    g = dif.grad(dif.grad(dif.grad(solution)))(2.0)
    np.testing.assert_allclose(g, 10 / 27 * 2.0 ** (-8 / 3), rtol=1e-5)


def differences(f, p, h=1e-4):
    return (float(f(p + h)) - float(f(p - h))) / (2 * h)


T = np.linspace(0, 2, 12)
Y = 2 * np.exp(-T) + 0.05 * np.cos(9 * T)


def decay(t, a, b):
    return a * np.exp(-b * t)


def bowl(p):
    return optim.minimize(lambda x: np.sum((x - p) ** 4) + np.sum((x - 1.0) ** 2) + x[0] * x[1], np.zeros(2))


def budget(p):
    return optim.minimize(
        lambda x: np.sum((x - 3.0) ** 2), np.zeros(2), constraints=[{"type": "ineq", "fun": lambda x: p - x.sum()}]
    )


def fit(p, **how):
    return optim.curve_fit(decay, T, p * Y, [1.0, 1.0], **how)


@pytest.mark.parametrize(
    "f",
    [
        lambda p: bowl(p).fun,
        lambda p: bowl(p).covariance()[0, 1],
        lambda p: budget(p).fun,
        lambda p: budget(p).multipliers[0] ** 2,
        lambda p: optim.least_squares(lambda x: decay(T, *x) - p * Y, [1.0, 1.0]).cost,
        lambda p: optim.least_squares(lambda x: decay(T, *x) - p * Y, [1.0, 1.0]).fun[2],
        lambda p: optim.fixed_point(lambda x: np.cos(0.4 * p * x), 0.5).fun,
        lambda p: fit(p).popt[0],
        lambda p: fit(p)[0][0],
        lambda p: fit(p, loss="huber", f_scale=0.05).popt[0],
        lambda p: fit(p, fixed=["b"]).params[0],
        lambda p: fit(p).standard_errors[1] + fit(p).pcov[0, 1] + fit(p).sum_of_squares,
        lambda p: optim.curve_fit(lambda t, a, b: p * decay(t, a, b), T, Y, [1.0, 1.0]).popt[0],
        lambda p: optim.curve_fit(decay, p * T, Y, [1.0, 1.0]).popt[1],
        lambda p: optim.curve_fit(decay, T, Y, [1.0, 1.0], sigma=1 + p * T).popt[0],
        lambda p: optim.curve_fit(decay, T, [p * y for y in Y], [1.0, 1.0], sigma=np.diag(1 + p * T)).popt[0],
        lambda p: optim.root_scalar(lambda x: x**3 - p, bracket=(0, 2 * p)).x,
        lambda p: optim.root_scalar(lambda x, p: x**3 - p, args=(p,), x0=1.0).root,
        lambda p: optim.root_scalar(lambda x: x**3 - p * np.arange(1.0, 4.0), bracket=(0, 9)).x.sum(),
    ],
)
def test_everything_a_result_says_about_the_solution_has_its_derivative(f):
    """Beside x: values, multipliers and uncertainties, where a lost derivative would go unnoticed (p is added)."""
    np.testing.assert_allclose(dif.grad(lambda p: f(p) + p)(2.0), differences(f, 2.0) + 1, rtol=1e-5)


@pytest.mark.parametrize(
    "f",
    [
        lambda p: bowl(p).jac[0],
        lambda p: bowl(p).hess_inv[0, 0],
        lambda p: optim.minimize(lambda x: np.sum((x - p) ** 4 + x**2), [0.0], options={"max_steps": 1}).x[0],
        lambda p: optim.minimize(lambda x: np.sum((x - p) ** 4 + x**2), [0.0], options={"max_steps": 1}).fun,
        lambda p: optim.root_scalar(lambda x: x * x + p, x0=1.0).x,
        lambda p: fit(p, loss="huber", f_scale=0.05).standard_errors[0],
    ],
)
def test_what_has_no_derivative_refuses(f):
    with pytest.raises(dif.errors.MissingDerivativeError, match="detach"):
        dif.grad(lambda p: f(p) + p)(2.0)


@pytest.mark.parametrize("form", ["both", "apart"])
def test_gradients_of_ones_own(form):
    """Of real and of complex parameters, as (value, gradient) or apart."""

    def value(z, c):
        return dif.sum(dif.real((z - c) * dif.conj(z - c)) * (1 + np.arange(2)))

    def gradient(z, c):  # of steepest ascent
        return 2 * (z - c) * (1 + np.arange(2))

    def solution(t):
        c = dif.array([t, t * (2 - 1j)])
        if form == "both":
            z = optim.minimize(lambda z: (value(z, c), gradient(z, c)), np.zeros(2) + 0j, jac=True)
        else:
            z = optim.minimize(value, np.zeros(2) + 0j, args=(c,), jac=gradient)
        return dif.concatenate([dif.real(z.x), dif.imag(z.x), z.fun.reshape(1)])

    np.testing.assert_allclose(dif.jacobian(solution)(0.7), [1, 2, 0, -1, 0], atol=1e-9)


def test_what_has_no_derivative_says_so():
    def held(t):
        return optim.minimize(lambda x: (x[0] - 3) ** 2, [0.1], bounds=[(0, t)]).x[0]

    with pytest.raises(dif.errors.MissingDerivativeError, match="write it as a constraint"):
        dif.grad(held)(0.5)
    constraint = lambda t: {"type": "ineq", "fun": lambda x: t - x[0]}
    freed = lambda t: optim.minimize(lambda x: (x[0] - 3) ** 2, [0.1], constraints=constraint(t)).x[0]
    np.testing.assert_allclose(dif.grad(freed)(0.5), 1.0, rtol=1e-9)
    t = np.linspace(0, 1, 6)
    with pytest.raises(dif.errors.MissingDerivativeError, match="intervals"):
        dif.grad(lambda y: optim.curve_fit(lambda t, a, b: a + b * t, t, y).profile("a")[0])(np.sin(t))
