"""Squares of roots are smooth: |z|^2, |r|^2 and sqrt(s)^2 have their derivatives at 0 too, to every order."""

import numpy as np
import pytest

import difftensor as dif

SQUARES = {  # all of them are sum(x^2)
    "abs(x)**2": lambda x: np.sum(abs(x) ** 2),
    "np.abs(x)**2.0": lambda x: np.sum(np.abs(x) ** 2.0),
    "np.square": lambda x: np.sum(np.square(np.abs(x))),
    "np.power": lambda x: np.sum(np.power(np.abs(x), np.float64(2))),
    "norm": lambda x: np.linalg.norm(x) ** 2,
    "norm of rows": lambda x: np.sum(np.linalg.norm(np.outer(x, [0.6, 0.8]), axis=1) ** 2),
    "norm with axes kept": lambda x: np.sum(np.linalg.norm(x[:, None], axis=1, keepdims=True) ** 2),
    "sqrt": lambda x: np.sqrt(np.sum(x * x)) ** 2,
    "hypot": lambda x: np.sum(np.hypot(0.6 * x, 0.8 * x) ** 2),
    "hypot with a constant": lambda x: np.sum(np.hypot(x, np.zeros(3)) ** 2),
}


@pytest.mark.parametrize("x", [np.zeros(3), np.array([0.0, 0.3, -2.0])], ids=["at 0", "beside it"])
@pytest.mark.parametrize("name", SQUARES)
def test_derivatives(name, x):
    f, v = SQUARES[name], np.array([1.0, -0.5, 2.0])
    assert f(dif.tensor(x)) == f(x)
    np.testing.assert_allclose(dif.grad(f)(x), 2 * x, atol=1e-15)
    np.testing.assert_allclose(dif.jvp(f, (x,), (v,))[1], 2 * x @ v, atol=1e-15)
    np.testing.assert_allclose(dif.hessian(f)(x), 2 * np.eye(3), atol=1e-14)
    np.testing.assert_allclose(dif.hvp(f)(x, v), 2 * v, atol=1e-14)
    np.testing.assert_allclose(dif.grad(lambda x: dif.jvp(f, (x,), (v,))[1])(x), 2 * v, atol=1e-14)
    np.testing.assert_allclose(dif.vmap(dif.hessian(f))(np.stack([x, 1 + x])), [2 * np.eye(3)] * 2, atol=1e-14)
    third = dif.jacobian(dif.hessian(lambda x: f(x) * x[0]))(x)  # of x0 (x0^2 + x1^2 + x2^2)
    assert third[0, 0, 0] == pytest.approx(6)
    assert third[0, 1, 1] == pytest.approx(2)


def test_wave_functions():
    """The kinetic energy of a constant wave: all differences are 0, and the Hessian is twice the Laplacian."""
    n = 6
    D = np.roll(np.eye(n), 1, axis=1) - np.eye(n)

    def energy(parts):
        psi = parts[:n] + 1j * parts[n:]
        return np.sum(np.abs(np.roll(psi, -1) - psi) ** 2)

    expected = np.kron(np.eye(2), 2 * D.T @ D)
    np.testing.assert_allclose(dif.hessian(energy)(np.ones(2 * n)), expected, atol=1e-14)
    np.testing.assert_allclose(dif.hvp(energy)(np.ones(2 * n), np.arange(12.0)), expected @ np.arange(12.0), atol=1e-12)
    z = np.array([0, 1 + 2j])
    np.testing.assert_allclose(dif.grad(lambda z: np.sum(np.abs(z) ** 2))(z), 2 * z)
    np.testing.assert_allclose(dif.grad(lambda z: np.linalg.norm(z) ** 2)(z), 2 * z)
    big = np.linspace(-1, 1, 300_001)  # past the size from which arrays are done on all cores
    np.testing.assert_array_equal(dif.grad(lambda x: np.sum(np.abs(x) ** 2))(big), 2 * big)


def test_square_of_a_square_root_is_what_it_is_of():
    assert dif.grad(lambda s: np.sqrt(s) ** 2)(0.0) == 1.0
    assert dif.grad(lambda s: np.sqrt(s) ** 2 * s)(0.0) == 0.0
    s = dif.tensor([0.0, 4.0], requires_grad=True)
    y = np.sqrt(s) ** 2
    y *= 3.0  # a result, not the leaf itself
    y.sum().backward()
    np.testing.assert_array_equal(s.grad.numpy(), [3.0, 3.0])


def test_other_powers_and_writes_are_left_alone():
    x = np.array([0.5, -2.0])
    np.testing.assert_allclose(dif.grad(lambda x: np.sum(np.abs(x) ** 3))(x), 3 * x * np.abs(x))
    np.testing.assert_allclose(dif.grad(lambda x: np.sum(np.sqrt(x * x) ** 4))(x), 4 * x**3)

    def into(x):
        y = dif.zeros(2)
        np.square(np.abs(x), out=y)
        return np.sum(y * y)

    np.testing.assert_allclose(dif.grad(into)(x), 4 * x**3)

    def changed(x):  # the root's operand is written to between root and square
        u = x * 1.0
        r = np.abs(u)
        u[0] = 7.0
        return np.sum(r**2)

    np.testing.assert_allclose(dif.grad(changed)(x), 2 * x)
