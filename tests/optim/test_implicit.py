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
