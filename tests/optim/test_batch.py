"""Batches of problems: closed forms, the same problems one by one, and derivatives."""

import mpmath
import numpy as np
import pytest

import difftensor as dif
import optim
from optim.rules import KERNELS


def bowl(x, a, Q):
    """A convex quadratic with minimizer a."""
    return 0.5 * dif.sum((x - a) * dif.matmul(Q, x - a))


def rosenbrock(x, b):
    return (1 - x[0]) ** 2 + b * (x[1] - x[0] ** 2) ** 2


@pytest.fixture
def bowls():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(7, 3))
    M = rng.normal(size=(7, 3, 3))
    return a, 0.3 * M @ M.transpose(0, 2, 1) + np.eye(3)


def test_newton_solves_quadratics_in_one_step(bowls):
    a, Q = bowls
    result = optim.minimize_batch(bowl, np.zeros((7, 3)), (a, Q))
    assert result.success.all() and (result.nit == 1).all()
    np.testing.assert_allclose(result.x, a, atol=1e-12)


def test_newton_agrees_with_minimize_one_by_one():
    b = np.array([1.0, 10.0, 100.0, 1000.0])
    x0 = np.tile([-1.2, 1.0], (4, 1))
    result = optim.minimize_batch(rosenbrock, x0, (b,), gtol=1e-10)
    assert result.success.all(), result.message
    np.testing.assert_allclose(result.x, 1.0, atol=1e-9)
    one = [optim.minimize(rosenbrock, x0[i], args=(b[i],), method="trust-exact").fun for i in range(4)]
    assert (result.fun <= np.array(one) + 1e-12).all()


def test_the_function_runs_once_for_all():
    calls = []

    def counted(x, b):
        calls.append(1)
        return rosenbrock(x, b)

    few, many = [], []
    for count, seen in ((2, few), (200, many)):
        calls.clear()
        optim.minimize_batch(counted, np.tile([-1.2, 1.0], (count, 1)), (np.full(count, 100.0),))
        seen.append(len(calls))
    assert few == many


@pytest.mark.parametrize("rule", sorted(KERNELS))
def test_rules_take_the_course_of_single_problems(rule, bowls):
    a, Q = bowls
    steps = 25
    result = optim.minimize_batch(bowl, np.zeros((7, 3)), (a, Q), method=rule, lr=0.05, max_steps=steps, gtol=0.0)
    for i in range(7):
        w = dif.tensor(np.zeros(3), requires_grad=True)
        kind = {"sgd": "SGD", "adagrad": "Adagrad", "rmsprop": "RMSprop", "adadelta": "Adadelta", "adam": "Adam",
                "adamax": "Adamax", "adamw": "AdamW", "rprop": "Rprop", "nadam": "NAdam",
                "radam": "RAdam"}[rule]  # fmt: skip
        opt = getattr(optim, kind)([w], lr=0.05)
        for _ in range(steps):
            opt.zero_grad()
            bowl(w, a[i], Q[i]).backward()
            opt.step()
        np.testing.assert_allclose(result.x[i], w.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_adam_converges_and_stops(bowls):
    a, Q = bowls
    result = optim.minimize_batch(bowl, np.zeros((7, 3)), (a, Q), method="adam", lr=0.05)
    assert result.success.all()
    np.testing.assert_allclose(result.x, a, atol=1e-5)
    assert len(set(result.nit.tolist())) > 1  # each stops when it is done


def test_pytrees_and_shared_arguments():
    def fun(p, a, common):
        return (p["u"] - a) ** 2 + dif.sum((p["v"] - common) ** 2)

    start = {"u": np.zeros(4), "v": np.zeros((4, 2))}
    result = optim.minimize_batch(fun, start, (np.arange(4.0), np.array([1.0, 2.0])), in_axes=(0, None))
    np.testing.assert_allclose(result.x["u"], np.arange(4.0), atol=1e-12)
    np.testing.assert_allclose(result.x["v"], np.tile([1.0, 2.0], (4, 1)), atol=1e-12)


def test_a_saddle_and_an_infinite_start_are_no_success():
    def fun(x, s):
        return s * x[0] ** 2 + x[0] ** 4 + x[1] ** 2

    result = optim.minimize_batch(fun, np.zeros((2, 2)), (np.array([1.0, -1.0]),))
    assert result.success.tolist() == [True, False]
    with np.errstate(all="ignore"):
        bad = optim.minimize_batch(lambda x: dif.sum(x - dif.log(x)), np.array([[2.0], [-1.0]]))
    assert bad.success.tolist() == [True, False] and "number 1" in bad.message


def test_derivatives_of_the_solutions(bowls):
    a, Q = bowls

    def total(a):
        return dif.sum(optim.minimize_batch(bowl, np.zeros((7, 3)), (a, Q)).x ** 3)

    np.testing.assert_allclose(dif.grad(total)(a), 3 * a**2, rtol=1e-8, atol=1e-10)

    def root_of(c):  # x^3 = c
        f = lambda x, c: 0.25 * x[0] ** 4 - c * x[0]  # noqa: E731
        return dif.sum(optim.minimize_batch(f, np.ones((3, 1)), (c,), gtol=1e-12).x)

    c = np.array([1.0, 2.0, 5.0])
    np.testing.assert_allclose(dif.grad(root_of)(c), c ** (-2 / 3) / 3, rtol=1e-8)
    np.testing.assert_allclose(dif.grad(lambda c: dif.sum(dif.grad(root_of)(c)))(c), -2 / 9 * c ** (-5 / 3), rtol=1e-7)


def test_wrong_calls():
    with pytest.raises(ValueError, match="knows"):
        optim.minimize_batch(rosenbrock, np.zeros((2, 2)), (np.ones(2),), method="dogleg")
    with pytest.raises(ValueError, match="batch axis"):
        optim.minimize_batch(rosenbrock, {"a": np.zeros(2), "b": np.zeros(3)})


def test_fifth_derivative_of_the_solutions():
    """x^4 / 4 + x^2 / 2 - a x has its minimum where x^3 + x = a; the derivatives of that root by its series."""
    x0 = np.array([0.5, 1.0, 2.0])
    a = x0**3 + x0
    g = lambda a: optim.minimize_batch(  # noqa: E731
        lambda x, a: x[0] ** 4 / 4 + x[0] ** 2 / 2 - a * x[0], x0[:, None] + 0.1, (a,), gtol=1e-12
    ).x.sum()
    for _ in range(5):
        g = (lambda h: dif.grad(lambda a: h(a).sum()))(g)

    def fifth(near, t):
        return float(mpmath.diff(lambda t: mpmath.findroot(lambda z: z**3 + z - t, near), t, 5))

    expected = list(map(fifth, x0, a))
    np.testing.assert_allclose(g(a), expected, rtol=1e-9)


@pytest.mark.parametrize("method", ["newton", "trust-exact", "bfgs", "adam"])
def test_callbacks_and_lines_follow_the_course(method, capsys):
    seen = []

    def watch(result):
        seen.append((result.fun.copy(), result.success.sum()))
        if len(seen) == 5:
            raise StopIteration

    x0 = np.tile([-1.2, 1.0], (3, 1))
    b = np.array([0.0, 10.0, 100.0])
    result = optim.minimize_batch(rosenbrock, x0, (b,), method=method, callback=watch, progress=True)
    assert len(seen) == 5 and result.nit.max() <= 5 and not result.success.all()
    np.testing.assert_array_equal(result.fun, seen[-1][0])
    np.testing.assert_allclose(result.fun, [rosenbrock(x, v) for x, v in zip(result.x, b, strict=True)], rtol=1e-12)
    assert "of 3 left" in capsys.readouterr().err


def test_values_at_the_solutions_have_derivatives():
    """By the envelope theorem, d/dt min_x f(x, t) = f_t: here -4 (x - w t)^3 w, and x by bisection."""
    w = np.arange(3.0)

    def least(t):
        return optim.minimize_batch(lambda x, w: (x[0] - w * t) ** 4 + (x[0] - 1) ** 2, np.zeros((3, 1)), (w,)).fun

    x = optim.root_scalar(lambda x: 4 * (x - 2.0 * w) ** 3 + 2 * (x - 1), bracket=(-9.0, 9.0)).x
    np.testing.assert_allclose(dif.jacobian(least)(2.0), -4 * (x - 2.0 * w) ** 3 * w, rtol=1e-8)
