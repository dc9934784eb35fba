"""Implicit derivatives against closed forms and differences of the solver itself."""

import numpy as np
import pytest

import difftensor as dif
from difftensor import implicit
from difftensor._core.tape import tick
from difftensor.errors import BatchedValueError


def test_square_root_to_order_two_in_all_modes():
    f = lambda a: implicit.root(lambda x, a: x * x - a, np.sqrt, a)  # noqa: E731
    assert float(f(4.0)) == 2.0
    np.testing.assert_allclose(dif.grad(f)(4.0), 0.25, rtol=1e-15)
    np.testing.assert_allclose(dif.grad(dif.grad(f))(4.0), -1 / 32, rtol=1e-14)
    np.testing.assert_allclose(dif.jvp(f, (4.0,), (2.0,))[1], 0.5, rtol=1e-15)
    np.testing.assert_allclose(dif.jvp(dif.grad(f), (4.0,), (1.0,))[1], -1 / 32, rtol=1e-14)
    np.testing.assert_allclose(dif.grad(lambda a: dif.jvp(f, (a,), (1.0,))[1])(4.0), -1 / 32, rtol=1e-14)


def test_fourth_derivative():
    f = lambda a: implicit.root(lambda x, a: x * x - a, np.sqrt, a)  # noqa: E731
    g = dif.grad(dif.grad(dif.grad(dif.grad(f))))
    np.testing.assert_allclose(g(4.0), -15 / 16 * 4.0**-3.5, rtol=1e-12)


def dottie(a):
    x = 1.0
    for _ in range(200):
        x = np.cos(a * x)
    return x


def test_fixed_point():
    g = lambda a: implicit.fixed_point(lambda x, a: np.cos(a * x), dottie, a)  # noqa: E731
    x = dottie(1.0)
    s, c = np.sin(x), np.cos(x)
    slope = -x * s / (1 + s)  # x' = -sin(a x) (x + a x')
    np.testing.assert_allclose(dif.grad(g)(1.0), slope, rtol=1e-13)
    curve = -(c * (x + slope) ** 2 + 2 * s * slope) / (1 + s)
    np.testing.assert_allclose(dif.grad(dif.grad(g))(1.0), curve, rtol=1e-12)


def test_the_tape_does_not_know_the_iterations():
    def solver(n):
        def solve(a):
            x = 1.0
            for _ in range(n):
                x = dif.cos(a * x)
            return x

        return solve

    lengths = []
    for n in (200, 400):
        def f(a, n=n):
            start = tick()
            y = implicit.fixed_point(lambda x, a: np.cos(a * x), solver(n), a)
            lengths.append(tick() - start)
            return y

        dif.grad(f)(1.0)
    assert lengths[0] == lengths[1]


def test_argmin_with_a_closure_and_a_pytree(rng):
    M = rng.normal(size=(3, 3))
    H = M @ M.T + np.eye(3)

    def f(p, a):
        x = dif.concatenate([p["x"], p["y"]])
        return 0.5 * x @ H @ x - a @ x

    def solve(a):
        x = np.linalg.solve(H, a)
        return {"x": x[:1], "y": x[1:]}

    a = rng.normal(size=3)
    J = dif.jacobian(lambda a: dif.concatenate(dif.tree.leaves(implicit.argmin(f, solve, a))))(a)
    np.testing.assert_allclose(J, np.linalg.inv(H), rtol=1e-11)


@pytest.mark.parametrize("method", ["dense", "krylov"])
def test_linear_solve(method, rng):
    D = np.array([1.0, 2.0, 3.0])
    b = rng.normal(size=3)

    def matvec(x, k):
        return k * D * x + 0.1 * x[::-1]

    def f(k, b):
        return dif.sum(implicit.linear_solve(lambda x: matvec(x, k), b, method=method) ** 2)

    def plain(k, b):
        return dif.sum(dif.linalg.solve(k * np.diag(D) + 0.1 * np.eye(3)[::-1], b) ** 2)

    np.testing.assert_allclose(f(2.0, b), plain(2.0, b), rtol=1e-11)
    for ours, theirs in zip(dif.grad(f, (0, 1))(2.0, b), dif.grad(plain, (0, 1))(2.0, b), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    np.testing.assert_allclose(dif.hessian(f)(2.0, b), dif.hessian(plain)(2.0, b), rtol=1e-8)


def test_matrix_free_of_a_large_symmetric_system():
    n = 2000
    b = np.sin(np.arange(n) * 0.01)

    def laplace(x, k):
        y = (2 + k) * x
        y = y - dif.concatenate([x[1:], np.zeros(1)]) - dif.concatenate([np.zeros(1), x[:-1]])
        return y

    def f(k):
        return dif.sum(implicit.linear_solve(lambda x: laplace(x, k), b, symmetric=True) * b)

    h = 1e-4
    np.testing.assert_allclose(dif.grad(f)(0.5), (f(0.5 + h) - f(0.5 - h)) / (2 * h), rtol=1e-6)


def test_singular_equations_say_so():
    with pytest.raises(np.linalg.LinAlgError, match="singular at the solution"):
        dif.grad(lambda a: implicit.root(lambda x, a: (x - 1) ** 2 * a, lambda a: 1.0, a))(2.0)
    with pytest.raises(ValueError, match="2 equations for 1 unknowns"):
        dif.grad(lambda a: implicit.root(lambda x, a: dif.array([x, a]), lambda a: 1.0, a))(2.0)


def test_inside_vmap_equations_use_batched_values_of_their_surroundings(rng):
    M, b = rng.normal(size=(4, 3, 3)) * 0.1 + 2 * np.eye(3), rng.normal(size=3)

    def newton(m):
        x = m[0] * 0
        for _ in range(60):
            x = x - 0.3 * (m @ x + 0.1 * x**3 - b)
        return x

    def closed(m):
        steady = m.detach() if isinstance(m, dif.Tensor) else m
        return dif.sum(dif.implicit.root(lambda x: m @ x + 0.1 * x**3 - b, lambda: newton(steady)) ** 2)

    def unrolled(m):
        return dif.sum(newton(m) ** 2)

    for t in (lambda f: f, dif.grad, dif.hessian, lambda f: dif.jacobian(dif.grad(f), mode="rev")):
        np.testing.assert_allclose(dif.vmap(t(closed))(M), [t(unrolled)(m) for m in M], atol=1e-9)
    total = lambda f: lambda M: dif.sum(dif.vmap(f)(M) ** 2)  # noqa: E731
    np.testing.assert_allclose(dif.grad(total(closed))(M), dif.grad(total(unrolled))(M), atol=1e-9)
    np.testing.assert_allclose(dif.hvp(total(closed))(M, M), dif.hvp(total(unrolled))(M, M), atol=1e-9)


def test_hessians_in_many_directions(rng):
    """Rules of implicit functions want numbers: the sweeps go one by one."""
    c = rng.uniform(1, 2, 12)

    def f(c):
        return dif.sum(dif.implicit.root(lambda x, c: x**2 - c, dif.sqrt, c) ** 3)

    np.testing.assert_allclose(dif.hessian(f)(c), np.diag(0.75 / np.sqrt(c)), atol=1e-9)


@pytest.mark.parametrize(
    "equation",
    [lambda z, a: z * z - a, lambda z, a: dif.grad(lambda z: (z**3 / 3 - a * z).sum())(z)],
    ids=["direct", "a gradient"],
)
def test_a_solution_per_example_beside_a_batched_closure(equation):
    """The examples are taken one by one, so all of them at once in the equations would be summed."""
    a = np.array([1.0, 2.0, 3.0])
    x = np.sqrt(a)

    def solved(a):
        return dif.vmap(lambda x, a: dif.implicit.root(lambda z: equation(z, a), x))(x, a)

    with pytest.raises(BatchedValueError, match="pass it as an argument"):
        solved(a)

    def passed(a):
        return dif.vmap(lambda x, a: dif.implicit.root(equation, x, a))(x, a).sum()

    np.testing.assert_allclose(dif.grad(passed)(a), 0.5 / np.sqrt(a), rtol=1e-12)


def test_systems_in_rows():
    """Many small systems at once, to order 4, are the same systems one by one."""
    a = np.array([0.5, 1.0, 2.0])

    def equations(x, a):  # x0^2 + x1 = a, x0 x1 = 0.1 a
        return dif.stack([x[:, 0] ** 2 + x[:, 1] - a, x[:, 0] * x[:, 1] - 0.1 * a], axis=1)

    def solve(a):
        x = np.stack([np.sqrt(a), 0.1 * np.sqrt(a)], axis=1)
        for _ in range(30):
            F = np.stack([x[:, 0] ** 2 + x[:, 1] - a, x[:, 0] * x[:, 1] - 0.1 * a], axis=1)
            J = np.stack([np.stack([2 * x[:, 0], np.ones(3)], 1), np.stack([x[:, 1], x[:, 0]], 1)], axis=1)
            x = x - np.linalg.solve(J, F[..., None])[..., 0]
        return x

    def each(f, order):
        g = f
        for _ in range(order):
            g = (lambda h: dif.grad(lambda a: h(a).sum()))(g)
        return g(a)

    x = solve(a)
    for order in (1, 2, 3, 4):
        rows = each(lambda a: implicit.root(equations, x, a, method="rows")[:, 1], order)
        dense = each(lambda a: implicit.root(equations, x, a, method="dense")[:, 1], order)
        np.testing.assert_allclose(rows, dense, rtol=1e-9)
    with pytest.raises(ValueError, match="systems, unknowns"):
        dif.grad(lambda a: implicit.root(lambda x, a: x * x - a, np.sqrt(4.0), a, method="rows"))(4.0)
