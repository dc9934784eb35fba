"""Derivatives inside derivatives: perturbation confusion, mixtures of the modes, closures, hooks between the levels."""

import math
import warnings
from itertools import product

import numpy as np
import pytest

import difftensor as dif


def rev(f):
    """Derivative of a function of one number, by reverse mode."""
    return dif.grad(f)


def fwd(f):
    """The same by forward mode."""
    return lambda x: dif.jvp(f, (x,), (1.0,))[1]


BOTH = {"rev": rev, "fwd": fwd}
TWICE = [pytest.param(a, b, id=f"{m}-{n}") for (m, a), (n, b) in product(BOTH.items(), repeat=2)]


def iterated(modes, f):
    for mode in modes:
        f = mode(f)
    return f


# Perturbation confusion ---------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def quiet():
    """Functions whose derivative is zero by design warn of lost gradients; here that is what is tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dif.errors.LostGradientWarning)
        yield


@pytest.mark.parametrize("outer, inner", TWICE)
def test_siskind_and_pearlmutter(outer, inner):
    """J. M. Siskind, B. A. Pearlmutter, "Perturbation confusion and referential transparency", IFL 2005."""
    assert outer(lambda x: x * inner(lambda y: x + y)(1.0))(1.0) == 1.0


@pytest.mark.parametrize("outer, inner", TWICE)
def test_inner_derivative_of_a_product(outer, inner):
    """d/dx x (d/dy x y)(2) = d/dx x^2 = 2x."""
    assert outer(lambda x: x * inner(lambda y: x * y)(2.0))(5.0) == 10.0


@pytest.mark.parametrize("outer, inner", TWICE)
def test_inner_point_depends_on_the_outer_variable(outer, inner):
    """d/dx (d/dy y^3 x)(y = x^2) = d/dx 3 x^5 = 15 x^4."""
    x = 1.3
    assert math.isclose(outer(lambda x: inner(lambda y: y**3 * x)(x * x))(x), 15 * x**4, rel_tol=1e-13)


@pytest.mark.parametrize("outer, inner", TWICE)
def test_inner_function_ignores_its_argument(outer, inner):
    """The inner derivative is zero although the inner function depends on the outer variable."""
    assert outer(lambda x: x * inner(lambda y: x * x)(1.0))(3.0) == 0.0


@pytest.mark.parametrize("outer, inner", TWICE)
def test_the_amazing_bug(outer, inner):
    """O. Manzyuk, B. A. Pearlmutter, A. A. Radul, D. R. Rush, J. M. Siskind, "Perturbation confusion in forward
    automatic differentiation of higher-order functions", JFP 29 (2019) e12.

    The derivative of the curried shift s(u)(f)(x) = f(x + u), applied twice to h, must give h''.
    """

    def s(u):
        return lambda f: lambda x: f(x + u)

    def derivative_of_shift(mode, f):
        return lambda x: mode(lambda u: s(u)(f)(x))(0.0)

    x = 0.7
    first = derivative_of_shift(inner, np.exp)
    second = derivative_of_shift(outer, first)
    assert math.isclose(first(x), math.exp(x), rel_tol=1e-14)
    assert math.isclose(second(x), math.exp(x), rel_tol=1e-14)


@pytest.mark.parametrize("outer, inner", TWICE)
def test_a_function_that_returns_functions(outer, inner):
    """The same with both applications inside of one derivative: D_u [s(u)(s(u)(h))(x)] = 2 h'(x) at u = 0."""

    def s(u):
        return lambda f: lambda x: f(x + u)

    x = 0.4
    assert math.isclose(outer(lambda u: s(u)(s(u)(np.sin))(x))(0.0), 2 * math.cos(x), rel_tol=1e-14)
    assert math.isclose(outer(lambda v: inner(lambda u: s(v)(s(u)(np.sin))(x))(0.0))(0.0), -math.sin(x), rel_tol=1e-14)


def test_three_levels():
    """d/dx x d/dy (y d/dz (x + y + z^2)|z=y)|y=x = d/dx x (4x) = 8x."""
    for a, b, c in product(BOTH.values(), repeat=3):
        assert a(lambda x: x * b(lambda y: y * c(lambda z: x + y + z * z)(y))(x))(3.0) == 24.0  # noqa: B023


# High orders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modes", list(product(BOTH, repeat=3)), ids="-".join)
def test_all_mixtures_of_order_three(modes):
    x = 0.8
    f = iterated([BOTH[m] for m in modes], lambda x: np.sin(x) * x**2)
    expected = -6 * x * math.sin(x) + (6 - x * x) * math.cos(x)
    assert math.isclose(f(x), expected, rel_tol=1e-13)


@pytest.mark.parametrize("mode", BOTH.values(), ids=BOTH)
def test_four_times_the_same_mode(mode):
    x = 0.6
    assert math.isclose(iterated([mode] * 4, np.sin)(x), math.sin(x), rel_tol=1e-13)
    assert math.isclose(iterated([mode] * 4, np.tanh)(x), tanh_4(x), rel_tol=1e-12)


def tanh_4(x):
    """d^4 tanh = 8 t (1 - t^2) (2 - 3 t^2), t = tanh x."""
    t = math.tanh(x)
    return 8 * t * (1 - t * t) * (2 - 3 * t * t)


@pytest.mark.parametrize("modes", ["rrrrrr", "ffffff", "rfrfrf", "ffrrff"])
def test_sixth_derivatives(modes):
    x = 1.2
    mixture = [rev if m == "r" else fwd for m in modes]
    assert math.isclose(iterated(mixture, np.exp)(x), math.exp(x), rel_tol=1e-13)
    assert math.isclose(iterated(mixture, np.log)(x), -120 / x**6, rel_tol=1e-12)
    assert math.isclose(iterated(mixture, lambda x: x**7)(x), 5040 * x, rel_tol=1e-13)


def test_mixed_partials_of_vectors():
    """d^3/dx^3 of sum(exp(A x)) contracted with three vectors, in every mixture."""
    rng = np.random.default_rng(0)
    a, x, u, v, w = rng.standard_normal((3, 2)), *rng.standard_normal((4, 2))

    def f(x):
        return np.exp(a @ x).sum()

    expected = (np.exp(a @ x) * (a @ u) * (a @ v) * (a @ w)).sum()
    along = {
        "rev": lambda f, t: lambda x: (dif.grad(f)(x) * t).sum(),
        "fwd": lambda f, t: lambda x: dif.jvp(f, (x,), (t,))[1],
    }
    for modes in product(along, repeat=3):
        g = f
        for mode, t in zip(modes, (u, v, w), strict=True):
            g = along[mode](g, t)
        assert math.isclose(g(x), expected, rel_tol=1e-13), modes


def test_hessian_in_four_ways():
    def f(x):
        return np.sin(x[0] * x[1]) + x[1] ** 3 * x[2]

    x = np.array([0.3, 1.1, -0.4])
    ways = [dif.jacobian(dif.jacobian(f, mode=a), mode=b)(x) for a, b in product(("rev", "fwd"), repeat=2)]
    p, s, c = x[0] * x[1], math.sin(x[0] * x[1]), math.cos(x[0] * x[1])
    exact = [
        [-(x[1] ** 2) * s, c - p * s, 0],
        [c - p * s, -(x[0] ** 2) * s + 6 * x[1] * x[2], 3 * x[1] ** 2],
        [0, 3 * x[1] ** 2, 0],
    ]
    for h in (*ways, dif.hessian(f)(x)):
        np.testing.assert_allclose(h, exact, rtol=1e-13, atol=1e-13)


# vjp, jvp and their pulls -------------------------------------------------------------------------------------------


def test_jvp_of_vjp_and_vjp_of_jvp():
    rng = np.random.default_rng(1)
    x, v, w = rng.standard_normal((3, 4))
    second = -np.sin(x) * v * w
    np.testing.assert_allclose(dif.jvp(lambda x: dif.vjp(np.sin, x)[1](w)[0], (x,), (v,))[1], second, rtol=1e-14)
    np.testing.assert_allclose(dif.vjp(lambda x: dif.jvp(np.sin, (x,), (v,))[1], x)[1](w)[0], second, rtol=1e-14)


def test_derivative_of_a_vjp_with_respect_to_its_cotangent():
    """pull(g) is linear in g: its derivative in g along w is pull(w)."""
    x, g, w = np.array([0.3, 1.0]), np.array([2.0, -1.0]), np.array([0.5, 3.0])
    _, pull = dif.vjp(lambda x: np.exp(x) * x[::-1], x)
    np.testing.assert_allclose(dif.jvp(lambda g: pull(g)[0], (g,), (w,))[1], pull(w)[0], rtol=1e-15)
    np.testing.assert_allclose(
        dif.jacobian(lambda g: pull(g)[0])(g).T, dif.jacobian(lambda x: np.exp(x) * x[::-1])(x), rtol=1e-15
    )


def test_derivative_of_a_jvp_with_respect_to_its_tangent():
    x, t, w = np.array([0.3, 1.0]), np.array([2.0, -1.0]), np.array([0.5, 3.0])
    found = dif.vjp(lambda t: dif.jvp(np.sin, (x,), (t,))[1], t)[1](w)[0]
    np.testing.assert_allclose(found, np.cos(x) * w, rtol=1e-15)


def test_pull_and_push_may_be_called_again():
    x = np.array([0.5, 2.0])
    _, pull = dif.vjp(lambda x: x**3, x)
    _, push = dif.linearize(lambda x: x**3, x)
    for g in (np.ones(2), np.array([2.0, 0.0]), np.ones(2)):
        np.testing.assert_allclose(pull(g)[0], 3 * x**2 * g, rtol=1e-15)
        np.testing.assert_allclose(push(g), 3 * x**2 * g, rtol=1e-15)


def test_pull_called_inside_another_derivative():
    """pull closes over a tape of the outer variable; called twice, its contributions add."""

    def f(x):
        y, pull = dif.vjp(np.sin, x)
        return (pull(y)[0] * pull(2 * y)[0]).sum()  # 2 sin^2 cos^2

    x = np.array([0.4, 1.3])
    np.testing.assert_allclose(dif.grad(f)(x), 2 * np.sin(2 * x) * np.cos(2 * x), rtol=1e-14)
    t = dif.jvp(f, (x,), (np.ones(2),))[1]
    assert math.isclose(t, (2 * np.sin(2 * x) * np.cos(2 * x)).sum(), rel_tol=1e-14)


def test_a_pull_that_leaves_its_function():
    """The pull of an inner vjp, called after the outer derivative's function, is a constant function."""
    kept = []

    def f(x):
        kept.append(dif.vjp(lambda y: x * y, 3.0)[1])
        return x * x

    assert dif.grad(f)(2.0) == 4.0
    assert float(kept[0](1.0)[0]) == 2.0


# Closures -----------------------------------------------------------------------------------------------------------


def test_closure_over_a_tensor_that_requires_a_gradient():
    """grad with respect to x of w x^2 at 3 is 6 w; its backward() reaches w."""
    w = dif.tensor(2.0, requires_grad=True)
    g = dif.grad(lambda x: w * x * x)(3.0)
    assert isinstance(g, dif.Tensor)
    g.backward()
    assert w.grad.item() == 6.0


def test_argument_is_a_tensor_that_requires_a_gradient():
    x = dif.tensor(3.0, requires_grad=True)
    g = dif.grad(lambda x: x**3)(x)
    g.backward()
    assert g.item() == 27.0
    assert x.grad.item() == 18.0
    y, dy = dif.jvp(lambda x: x**3, (x,), (1.0,))
    x.zero_grad()
    (y + dy).backward()
    assert x.grad.item() == 27.0 + 18.0


def test_backward_inside_grad():
    """A training step inside of a function that is differentiated: d/da of (d/dw a w^2)(w = 3) = 6."""

    def f(a):
        w = dif.tensor(3.0, requires_grad=True)
        (a * w * w).backward()
        return w.grad * 1.0

    assert dif.grad(f)(5.0) == 6.0


def test_create_graph():
    x = dif.tensor([1.0, 2.0], requires_grad=True)
    (x**4).sum().backward(create_graph=True)
    first = x.grad
    np.testing.assert_array_equal(first.detach().numpy(), [4, 32])
    x.grad = None
    first.sum().backward(create_graph=True)
    np.testing.assert_array_equal(x.grad.detach().numpy(), [12, 48])
    second, x.grad = x.grad, None
    second.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [24, 48])


def test_gradient_penalty():
    """||grad_x f||^2 trained through, with modules of both styles mixed: d/dw (w^2) with f = w . x."""
    w = dif.tensor([1.0, -2.0], requires_grad=True)
    g = dif.grad(lambda x: (w * x).sum())(np.zeros(2))
    (g * g).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), [2.0, -4.0])


def test_two_outer_variables_and_one_inner():
    def f(a, b):
        return dif.grad(lambda x: a * x**2 + b * a * x)(3.0)  # 6 a + a b

    assert [float(v) for v in dif.grad(f, (0, 1))(2.0, 5.0)] == [11.0, 2.0]


def test_grad_in_a_loop_over_closures():
    fs = [lambda x, k=k: x**k for k in range(1, 5)]
    total = dif.grad(lambda x: sum(dif.grad(f)(x) for f in fs))(2.0)
    assert total == 0 + 2 + 6 * 2 + 12 * 4


def test_newton_step_differentiated():
    """x1 = x0 - f'(x0)/f''(x0) of f = (x^2 - a)^2, differentiated in a."""

    def step(a):
        f = lambda x: (x * x - a) ** 2
        x = 2.0
        return x - dif.grad(f)(x) / dif.grad(dif.grad(f))(x)

    a, x = 3.0, 2.0
    num, den = 4 * x * (x * x - a), 12 * x * x - 4 * a
    exact = -(-4 * x * den + 4 * num) / den**2
    assert math.isclose(dif.grad(step)(a), exact, rel_tol=1e-13)
    assert math.isclose(fwd(step)(a), exact, rel_tol=1e-13)


# no_grad ------------------------------------------------------------------------------------------------------------


def test_no_grad_inside():
    """What is computed under no_grad is a constant."""

    def f(x):
        with dif.no_grad():
            c = x * x
        return c * x

    assert dif.grad(f)(3.0) == 9.0
    assert fwd(f)(3.0) == 9.0


@pytest.mark.parametrize("outer, inner", TWICE)
def test_transformation_under_no_grad(outer, inner):
    """It records inside, and its result is a constant of the outer function."""

    def f(x):
        with dif.no_grad():
            c = inner(lambda y: y**3)(x)
        return c * x

    assert outer(f)(2.0) == 12.0


@pytest.mark.parametrize("outer, inner", TWICE)
def test_transformation_of_a_closure_under_no_grad(outer, inner):
    """The inner function closes over the outer variable: a constant all the same. d/dx c x, c = d/dy x y^2 at 1."""

    def f(x):
        with dif.no_grad():
            c = inner(lambda y: x * y * y)(1.0)
        return c * x

    assert outer(f)(3.0) == 6.0


def test_no_grad_outside():
    with dif.no_grad():
        assert dif.grad(lambda x: x**2)(3.0) == 6.0
        assert dif.grad(dif.grad(lambda x: x**3))(3.0) == 18.0
        assert dif.hessian(lambda x: (x**3).sum())(np.array([2.0]))[0, 0] == 12.0
    w = dif.tensor(2.0, requires_grad=True)
    with dif.no_grad():
        g = dif.grad(lambda x: w * x)(1.0)
        y, pull = dif.vjp(lambda x: w * x, 1.0)
        c = pull(1.0)[0]
        t = dif.jvp(lambda x: w * x, (1.0,), (1.0,))[1]
    for v in (g, y, c, t):
        assert float(v) == 2.0


def test_enable_grad_inside_no_grad():
    w = dif.tensor(2.0, requires_grad=True)
    with dif.no_grad():
        with dif.enable_grad():
            y = w * w
        assert y.requires_grad
        assert not (w * w).requires_grad


def test_detach_stops_the_outer_derivative_too():
    assert dif.grad(lambda x: x * dif.grad(lambda y: y * y)(x.detach()))(3.0) == 6.0
    assert dif.grad(lambda x: x * dif.grad(lambda y: y * y)(x))(3.0) == 12.0


# What comes out -----------------------------------------------------------------------------------------------------


def test_results_are_plain_when_nobody_watches():
    y, g = dif.value_and_grad(dif.grad(lambda x: x**3))(2.0)
    assert isinstance(y, np.float64)
    assert isinstance(g, np.float64)


def test_leaves_are_dead_after_their_function():
    """A Tensor that escaped from its function is a constant for whoever meets it."""
    kept = []

    def f(x):
        kept.append(x)
        return x * x

    dif.grad(f)(2.0)
    y = dif.grad(lambda z: z * kept[0])(5.0)
    assert isinstance(y, np.float64)
    assert y == 2.0


def test_writes_inside_nested_functions():
    """d/dx of d/dy of u[1] with u[0] = x y, u[1] = u[0]^2: 2 x^2 y, then 4 x y."""

    def inner(x, y):
        u = dif.zeros(2)
        u[0] = x * y
        u[1] = u[0] ** 2
        return u[1]

    for a, b in product(BOTH.values(), repeat=2):
        assert math.isclose(a(lambda x: b(lambda y: inner(x, y))(3.0))(2.0), 24.0)  # noqa: B023


def test_a_scalar_s_cotangent_meets_one_through_an_index():
    A = np.array([[2.0, 1.0], [1.0, 3.0]])

    def f(k):  # log(trace) + log(trace of the square of A k / trace) = log(k) and a constant
        s = np.trace(A * k)
        p = A * k / s
        return np.log(s) + np.log(np.trace(p @ p))

    third = dif.grad(dif.grad(dif.grad(f)))(1.3)
    np.testing.assert_allclose(third, 2 / 1.3**3, rtol=1e-13)
