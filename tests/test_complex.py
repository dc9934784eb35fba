"""Complex numbers: the convention, real-linear functions, holomorphic derivatives, in both modes."""

import cmath
import math

import mpmath
import numpy as np
import pytest

import difftensor as dif
from difftensor.testing import check_grads


def split_gradient(f, z, h=1e-6):
    """df/dx + i df/dy by central differences: the direction of steepest ascent of a real function."""
    z = np.asarray(z, dtype=complex)
    g = np.zeros(z.shape, complex)
    for k in np.ndindex(z.shape):
        for unit in (1, 1j):
            e = np.zeros(z.shape, complex)
            e[k] = unit * h
            g[k] += unit * (f(z + e) - f(z - e)) / (2 * h)
    return g


REAL = {
    "|z|^2": lambda z: (abs(z) ** 2).sum(),
    "|z|": lambda z: abs(z).sum(),
    "Re z^2": lambda z: (z * z).real.sum(),
    "Im z^3": lambda z: (z**3).imag.sum(),
    "arg z": lambda z: np.angle(z).sum(),
    "z conj z": lambda z: (z * z.conj()).real.sum(),
    "norm": lambda z: np.linalg.norm(z),
    "vdot": lambda z: np.vdot(z, z * 1j + 2).real,
    "exp": lambda z: abs(np.exp(1j * z)).sum(),
    "fft": lambda z: (abs(np.fft.fft(z)) ** 2).sum(),
    "mixed with reals": lambda z: (z * np.arange(1.0, z.size + 1)).imag.sum() + z.real.prod(),
    "parts": lambda z: (np.real(z) * np.imag(z)).sum(),
    "power": lambda z: abs(z ** (1 + 2j)).sum(),
    "where": lambda z: np.where(z.real > 0, abs(z), z.imag).sum(),
    "matmul": lambda z: abs(z @ np.outer(z, z.conj()) @ z.conj()),
    "mean and var": lambda z: z.mean().real + np.var(z),
}


@pytest.mark.parametrize("name", REAL)
def test_the_gradient_is_the_direction_of_steepest_ascent(name, rng):
    f = REAL[name]
    z = rng.uniform(0.5, 1.5, 3) + 1j * rng.uniform(-1, 1, 3)
    np.testing.assert_allclose(dif.grad(f)(z), split_gradient(f, z), rtol=1e-7, atol=1e-8)
    w = dif.tensor(z, requires_grad=True)
    f(w).backward()
    np.testing.assert_allclose(w.grad.numpy(), dif.grad(f)(z), rtol=1e-14)


@pytest.mark.peers("torch")
@pytest.mark.parametrize("name", ["|z|^2", "|z|", "Re z^2", "Im z^3", "z conj z", "exp"])
def test_the_convention_is_pytorchs(name, rng):
    import torch

    z = rng.standard_normal(3) + 1j * rng.standard_normal(3)
    t = torch.tensor(z, requires_grad=True)
    value = {
        "|z|^2": lambda: (t.abs() ** 2).sum(),
        "|z|": lambda: t.abs().sum(),
        "Re z^2": lambda: (t * t).real.sum(),
        "Im z^3": lambda: (t**3).imag.sum(),
        "z conj z": lambda: (t * t.conj()).real.sum(),
        "exp": lambda: torch.exp(1j * t).abs().sum(),
    }[name]()
    value.backward()
    np.testing.assert_allclose(dif.grad(REAL[name])(z), t.grad.numpy(), rtol=1e-12)


def test_gradient_descent_descends():
    """x -= lr grad, as for real numbers: |z - c|^2 goes to its minimum."""
    z, c = 3.0 - 2.0j, -1.0 + 0.5j
    for _ in range(100):
        z = z - 0.1 * dif.grad(lambda z: abs(z - c) ** 2)(z)
    assert z == pytest.approx(c, abs=1e-8)


HOLOMORPHIC = {
    "exp": (np.exp, mpmath.exp),
    "sin": (np.sin, mpmath.sin),
    "log": (np.log, mpmath.log),
    "sqrt": (np.sqrt, mpmath.sqrt),
    "tanh": (np.tanh, mpmath.tanh),
    "arctan": (np.arctan, mpmath.atan),
    "arcsin": (np.arcsin, mpmath.asin),
    "arccosh": (np.arccosh, mpmath.acosh),
    "arctanh": (np.arctanh, mpmath.atanh),
    "cube": (lambda z: z**3, lambda z: z**3),
    "power": (lambda z: z ** (0.5 + 1j), lambda z: z ** mpmath.mpc(0.5, 1)),
    "reciprocal": (lambda z: 1 / z, lambda z: 1 / z),
    "composed": (lambda z: np.exp(1j * z) / (1 + z * z), lambda z: mpmath.exp(1j * z) / (1 + z * z)),
}


@pytest.mark.parametrize("name", HOLOMORPHIC)
@pytest.mark.parametrize("z", [0.3 + 0.7j, -1.4 + 0.2j, 2.0 - 1.5j])
def test_holomorphic_derivatives_to_order_three(name, z):
    f, exact = HOLOMORPHIC[name]
    g = f
    for order in (1, 2, 3):
        g = dif.grad(g, holomorphic=True)
        with mpmath.workdps(40):
            expected = complex(mpmath.diff(exact, mpmath.mpc(z), order))
        assert g(z) == pytest.approx(expected, rel=1e-11)


def test_jacobians_of_holomorphic_maps_are_equal_in_both_modes(rng):
    a = rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3))
    z = rng.standard_normal(3) + 1j * rng.standard_normal(3)
    f = lambda z: np.sin(a @ z) * z[0]
    rev, fwd = (dif.jacobian(f, mode=m, holomorphic=True)(z) for m in ("rev", "fwd"))
    expected = np.cos(a @ z)[:, None] * a * z[0] + np.outer(np.sin(a @ z), [1, 0, 0])
    np.testing.assert_allclose(rev, expected, rtol=1e-13)
    np.testing.assert_allclose(fwd, expected, rtol=1e-13)


def test_jacobians_between_real_and_complex(rng):
    x = rng.standard_normal(3)
    np.testing.assert_allclose(dif.jacobian(lambda x: np.exp(1j * x))(x), np.diag(1j * np.exp(1j * x)), rtol=1e-14)
    for mode in ("rev", "fwd"):
        found = dif.jacobian(lambda x: np.exp(1j * x), mode=mode)(x)
        np.testing.assert_allclose(found, np.diag(1j * np.exp(1j * x)), rtol=1e-14)
    z = x + 1j * x[::-1]
    np.testing.assert_allclose(dif.jacobian(lambda z: abs(z) ** 2)(z), np.diag(2 * z), rtol=1e-13)


def test_vjp_is_the_adjoint(rng):
    """vjp returns J^H w: for a linear map, A^H w."""
    a = rng.standard_normal((2, 3)) + 1j * rng.standard_normal((2, 3))
    z = rng.standard_normal(3) + 1j * rng.standard_normal(3)
    w = rng.standard_normal(2) + 1j * rng.standard_normal(2)
    _, pull = dif.vjp(lambda z: a @ z, z)
    np.testing.assert_allclose(pull(w)[0], a.conj().T @ w, rtol=1e-13)
    _, push = dif.linearize(lambda z: a @ z, z)
    np.testing.assert_allclose(push(z * 1j), a @ z * 1j, rtol=1e-13)


def test_real_arguments_get_real_gradients(rng):
    """Whatever complex numbers are met on the way."""
    x = rng.standard_normal(4)
    for f in (
        lambda x: (abs(np.fft.fft(x)) ** 2).sum(),
        lambda x: abs(np.exp(1j * x) + x).sum(),
        lambda x: (x * (1 + 2j)).imag.sum(),
        lambda x: abs(x + 1j * x**2).sum(),
        lambda x: ((x + 0j) ** 2).real.sum(),
        lambda x: np.linalg.norm(np.array([1j, 2, 3, 4]) * x),
        lambda x: (np.multiply(1j, x) * np.conj(np.multiply(1j, x))).real.sum(),
    ):
        g = dif.grad(f)(x)
        assert g.dtype == np.float64
        check_grads(f, x, order=2)


def test_a_complex_intermediate_of_a_real_chain_passes_no_imaginary_part():
    """d/dx Re((1 + i) x * (1 + i) x) = Re(4 i x) = 0."""
    assert dif.grad(lambda x: (((1 + 1j) * x) ** 2).real)(3.0) == 0.0
    assert dif.grad(lambda x: (((1 + 1j) * x) ** 2).imag)(3.0) == 12.0


def test_second_derivatives_through_complex_numbers():
    """|exp(i k x)|^2 is one; |sum exp(i k_j x)|^2 is an interference pattern with known derivatives."""
    k = np.array([1.0, 2.5, 4.0])

    def intensity(x):
        return abs(np.exp(1j * k * x).sum()) ** 2

    x = 0.7
    d = k[:, None] - k
    exact = [
        (np.cos(d * x)).sum(),
        (-d * np.sin(d * x)).sum(),
        (-(d**2) * np.cos(d * x)).sum(),
        (d**3 * np.sin(d * x)).sum(),
    ]
    f = intensity
    for order in range(4):
        assert float(f(x)) == pytest.approx(exact[order], rel=1e-12)
        f = dif.grad(f)
    fwd = lambda f: lambda x: dif.jvp(f, (x,), (1.0,))[1]
    assert fwd(fwd(intensity))(x) == pytest.approx(exact[2], rel=1e-12)
    assert fwd(dif.grad(intensity))(x) == pytest.approx(exact[2], rel=1e-12)
    assert dif.grad(fwd(intensity))(x) == pytest.approx(exact[2], rel=1e-12)


def test_hessian_vector_products_of_real_functions_of_complex_numbers(rng):
    """jvp of the gradient, in complex directions, against differences of the gradient."""
    f = lambda z: (abs(z * z + 1) ** 2).sum() + (z**3).imag.sum()
    z, v = (rng.standard_normal(3) + 1j * rng.standard_normal(3) for _ in range(2))
    h = 1e-5
    expected = (dif.grad(f)(z + h * v) - dif.grad(f)(z - h * v)) / (2 * h)
    np.testing.assert_allclose(dif.jvp(dif.grad(f), (z,), (v,))[1], expected, rtol=1e-6)


def test_views_of_parts_are_written_and_read(rng):
    def f(x):
        z = dif.zeros(3, dtype=complex)
        z.real = x
        z.imag = x**2
        z[0] = z[1] * 1j
        return (abs(z) ** 2).sum() + (z.real * z.imag).sum()

    check_grads(lambda x: f(dif.asarray(x)), rng.uniform(0.5, 1, 3), order=2)


def test_complex64_is_kept(rng):
    z = (rng.standard_normal(3) + 1j * rng.standard_normal(3)).astype(np.complex64)
    g = dif.grad(lambda z: (abs(z) ** 2).sum())(z)
    assert g.dtype == np.complex64
    np.testing.assert_allclose(g, 2 * z, rtol=1e-6)
    x = z.real.copy()
    assert dif.grad(lambda x: abs(x * np.complex64(1j)).sum())(x).dtype == np.float32


def test_python_complex_numbers_are_arguments():
    assert dif.grad(lambda z: abs(z) ** 2)(3 + 4j) == pytest.approx(6 + 8j)
    assert dif.grad(cmath_free, holomorphic=True)(0.3 + 0.1j) == pytest.approx(cmath.exp(0.3 + 0.1j) * (1 + 0.3 + 0.1j))


def cmath_free(z):
    return z * np.exp(z)


def test_phases_and_absolute_values_at_branch_cuts():
    """NumPy's branches: the derivative of log just above and below the negative axis is 1/z on both sides."""
    for z in (-1 + 0.0j, complex(-1, -0.0), -2 + 1e-12j):
        assert dif.grad(np.log, holomorphic=True)(z) == pytest.approx(1 / z)
    assert dif.grad(np.angle)(1 + 0j) == pytest.approx(1j)
    assert dif.grad(lambda x: np.angle(np.exp(1j * x)))(0.4) == pytest.approx(1.0)
    assert dif.grad(lambda x: np.angle(np.exp(1j * x), deg=True))(0.4) == pytest.approx(180 / math.pi)
