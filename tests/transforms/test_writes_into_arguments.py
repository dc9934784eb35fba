"""Functions that write into what they are given: derivatives are those of the same function without writes."""

import numpy as np
import pytest

import difftensor as dif

A, V = np.array([0.3, 0.7, -0.4]), np.array([1.0, -0.5, 0.25])


def agree(f, plain, x=A, v=V):
    """Value and derivatives of both orders, in every mode; the argument is as before."""
    before = x.copy()
    np.testing.assert_allclose(f(dif.tensor(x)).item(), plain(x), rtol=1e-15)
    g = dif.grad(plain)(x)
    np.testing.assert_allclose(dif.grad(f)(x), g, rtol=1e-14)
    for stream in (False, True):
        np.testing.assert_allclose(dif.jvp(f, (x,), (v,), stream=stream)[1], g @ v, rtol=1e-14)
    h = dif.hvp(plain)(x, v)
    np.testing.assert_allclose(dif.hvp(f)(x, v), h, rtol=1e-13)
    np.testing.assert_allclose(dif.grad(lambda x: dif.grad(f)(x) @ v)(x), h, rtol=1e-13)
    rows = dif.vmap(dif.grad(f))(np.stack([x, v]))
    np.testing.assert_allclose(rows, [g, dif.grad(plain)(v)], rtol=1e-13)
    np.testing.assert_array_equal(x, before)


def doubled(x):
    x *= 2.0
    return (x**3).sum()


def doubled_in_part(x):
    v = x[1:]
    v *= 2.0
    return (x**3).sum()


@pytest.mark.parametrize("f", [doubled, doubled_in_part])
def test_checkpoint(f):
    plain = {doubled: lambda x: ((2 * x) ** 3).sum(), doubled_in_part: lambda x: (x**3 * [1, 8, 8]).sum()}[f]
    agree(dif.checkpoint(f), plain)
    agree(lambda x: dif.checkpoint(f)(np.sin(x)) + x.sum(), lambda x: plain(np.sin(x)) + x.sum())


@pytest.mark.parametrize("buffer", [lambda: np.zeros(3), lambda: dif.zeros(3)], ids=["ndarray", "Tensor"])
def test_a_checkpoint_with_a_buffer(buffer):
    """Each run gets it as it was at the call."""

    def add(x, work):
        work += 1.0
        return (x * work.sum()).sum()

    f = lambda x: dif.checkpoint(add)(x * x, buffer())  # noqa: E731
    np.testing.assert_allclose(dif.grad(f)(A), 6 * A)
    _, pull = dif.vjp(f, A)
    for _ in range(2):
        np.testing.assert_allclose(pull(1.0)[0], 6 * A)


def step(u, i):
    u += 0.1 * np.sin(u) * (i + 1)
    return u


@pytest.mark.parametrize("memory", [1, 2, 10])
def test_checkpoint_loop(memory):
    loop = lambda x: (dif.checkpoint_loop(step, x, 7, memory=memory) ** 2).sum()  # noqa: E731

    def plain(x):
        for i in range(7):
            x = x + 0.1 * np.sin(x) * (i + 1)
        return (x**2).sum()

    agree(loop, plain)
    x = dif.tensor(A)
    with dif.no_grad():
        loop(x)
    np.testing.assert_array_equal(x.numpy(), A)


def test_a_rule_of_custom_jvp():
    square = dif.custom_jvp(lambda x: x**2)

    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        t *= 2.0 * x
        return x**2, t

    square.defjvp(rule)
    agree(lambda x: square(np.sin(x)).sum() + np.sin(x).sum(), lambda x: (np.sin(x) ** 2 + np.sin(x)).sum())


def test_a_rule_of_custom_vjp():
    square = dif.custom_vjp(lambda x: x**2)

    def bwd(x, g):
        g *= 2.0 * x
        return (g,)

    square.defvjp(lambda x: (x**2, x), bwd)
    agree(lambda x: (square(x) + x).sum(), lambda x: (x**2 + x).sum())
    g = np.ones(3)
    np.testing.assert_allclose(dif.vjp(square, A)[1](g)[0], 2 * A)
    np.testing.assert_array_equal(g, 1.0)
    np.testing.assert_allclose(dif.grad(square)(3.0), 6.0)


def test_equations():
    def F(x, a):
        x *= x
        x -= a
        return x

    f = lambda a: (dif.implicit.root(F, np.sqrt, a * a + 1.0) ** 3).sum()  # noqa: E731
    plain = lambda a: ((a * a + 1.0) ** 1.5).sum()  # noqa: E731
    np.testing.assert_allclose(dif.grad(f)(A), dif.grad(plain)(A), rtol=1e-13)
    np.testing.assert_allclose(dif.hvp(f)(A, V), dif.hvp(plain)(A, V), rtol=1e-12)
    np.testing.assert_allclose(dif.jvp(f, (A,), (V,))[1], dif.grad(plain)(A) @ V, rtol=1e-13)
