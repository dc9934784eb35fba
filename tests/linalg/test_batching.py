"""vmap of linear algebra and Fourier transforms against a loop, with derivatives; large matrices whose factors
are kept.
"""

import numpy as np
import pytest

import difftensor as dif
from difftensor import linalg
from tests.linalg.differences import check, slope


def stack(rng, *shape):
    return rng.standard_normal(shape) + 3 * np.eye(*shape[-2:])


def symmetric(a):
    return a + np.swapaxes(a, -1, -2)


ONE = {
    "inv": np.linalg.inv,
    "det": np.linalg.det,
    "slogdet": lambda a: np.linalg.slogdet(a)[1],
    "cholesky": lambda a: np.linalg.cholesky(a @ np.swapaxes(a, -1, -2)),
    "qr": lambda a: np.linalg.qr(a)[1],
    "qr wide": lambda a: np.linalg.qr(a[:2])[1],
    "eigh": lambda a: np.linalg.eigh(symmetric(a))[0],
    "eigh b": lambda a: linalg.eigh(symmetric(a), b=a @ np.swapaxes(a, -1, -2))[0],
    "eigvals": lambda a: abs(np.linalg.eigvals(a)).sum(),
    "svd": lambda a: abs(np.linalg.svd(a)[0]),
    "svd hermitian": lambda a: np.linalg.svd(symmetric(a), hermitian=True)[1],
    "pinv": np.linalg.pinv,
    "norm": np.linalg.norm,
    "norm nuc": lambda a: np.linalg.norm(a, "nuc"),
    "norm 1": lambda a: np.linalg.norm(a, 1),
    "norm axis": lambda a: np.linalg.norm(a, axis=0),
    "cond": np.linalg.cond,
    "matrix_power": lambda a: np.linalg.matrix_power(a, 3),
    "expm": linalg.expm,
    "logm": lambda a: linalg.logm(a @ np.swapaxes(a, -1, -2)),
    "sqrtm": lambda a: linalg.sqrtm(a @ np.swapaxes(a, -1, -2)),
    "funm": lambda a: linalg.funm(symmetric(a), np.sin),
    "polar": lambda a: linalg.polar(a)[0],
    "spectral_projector": lambda a: linalg.spectral_projector(symmetric(a), subset_by_index=(0, 1)),
    "projector by value": lambda a: linalg.spectral_projector(symmetric(a), subset_by_value=(-100, 5)),
    "solve": lambda a: np.linalg.solve(a, a[0]),
    "lstsq": lambda a: np.linalg.lstsq(a[:, :2], a[:, 2])[0],
    "multi_dot": lambda a: np.linalg.multi_dot([a, a, a]),
    "tensorinv": lambda a: np.linalg.tensorinv(a, ind=1),
    "fft": lambda a: abs(np.fft.fft(a)),
    "irfft": lambda a: np.fft.irfft(a, axis=0),
    "rfftn": lambda a: abs(np.fft.rfftn(a)),
    "fftshift": np.fft.fftshift,
}


@pytest.mark.parametrize("name", ONE)
def test_vmap_is_a_loop(rng, name):
    f, a = ONE[name], stack(rng, 4, 3, 3)
    np.testing.assert_allclose(dif.vmap(f)(a), np.stack([f(x) for x in a]), rtol=1e-9, atol=1e-9)
    g = dif.grad(lambda x: np.sum(f(x)))
    np.testing.assert_allclose(dif.vmap(g)(a), np.stack([g(x) for x in a]), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
@pytest.mark.parametrize("shape", [(3,), (3, 2), (4, 3, 2)])
def test_vmap_of_solve(rng, axes, shape):
    a = stack(rng, 5, 3, 3) if axes[0] == 0 else stack(rng, 3, 3)
    b = rng.standard_normal((5, *shape) if axes[1] == 0 else shape)
    rows = [np.linalg.solve(a[i] if axes[0] == 0 else a, b[i] if axes[1] == 0 else b) for i in range(5)]
    np.testing.assert_allclose(dif.vmap(np.linalg.solve, in_axes=axes)(a, b), rows, rtol=1e-10)


# Large matrices: LAPACK factors go from the forward to the backward pass.
# -------------------------------------------------


@pytest.mark.parametrize("found", [True, False])
@pytest.mark.parametrize("dtype", [float, complex])
def test_factored(rng, dtype, found, monkeypatch):
    """Also where LAPACK's routines cannot be found."""
    from difftensor.linalg import _lapack

    if not found:
        monkeypatch.setattr(_lapack, "available", lambda char: False)
    n = 120
    a = rng.standard_normal((n, n)) + (1j * rng.standard_normal((n, n)) if dtype is complex else 0)
    a = a / np.sqrt(n) / 2 + np.eye(n)
    b = rng.standard_normal(n).astype(dtype)
    for f in (np.linalg.solve, lambda a, b: np.linalg.solve(a, b[:, None] * np.ones(3))):
        check(rng, f, a, b, h=3e-4, tol=1e-6)
    check(rng, np.linalg.det, a, h=3e-4, tol=1e-6)
    check(rng, np.linalg.slogdet, a, h=3e-4, tol=1e-6)
    np.testing.assert_allclose(np.linalg.det(dif.tensor(a, requires_grad=True)).item(), np.linalg.det(a), rtol=1e-10)


def test_factored_keeps_float32(rng):
    a = (rng.standard_normal((120, 120)) / 20 + np.eye(120)).astype(np.float32)
    b = rng.standard_normal(120).astype(np.float32)
    for f in (np.linalg.solve, lambda a, b: np.linalg.slogdet(a)[1] * b, lambda a, b: np.linalg.det(a) * b):
        y, pull = dif.vjp(f, a, b)
        assert y.dtype == np.float32
        assert [g.dtype for g in pull(y)] == [np.float32] * 2


def test_det_of_large_singular(rng):
    """det(a + t e) near a matrix of rank n-1 is linear in t to first order."""
    n = 110
    q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    s = np.linspace(0.8, 1.2, n)
    s[40] = 0
    a, e = (q * s) @ q.T, rng.standard_normal((n, n))
    gradient = dif.grad(np.linalg.det)(a)
    expected = slope(lambda t: np.linalg.det(a + t * e), 1e-4)
    assert abs(expected) > 1e-6
    np.testing.assert_allclose(np.sum(gradient * e), expected, rtol=1e-6)
    exact = np.zeros((n, n))
    exact[0, 0] = 1  # an exactly singular LU
    assert np.linalg.det(dif.tensor(exact, requires_grad=True)).item() == 0
    np.testing.assert_array_equal(dif.grad(np.linalg.det)(exact), 0)
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        dif.grad(lambda a: np.linalg.solve(a, np.ones(n)).sum())(exact)


@pytest.mark.parametrize("by", ["blocks", "LAPACK"])
def test_solve_triangular_of_large_matrices(rng, monkeypatch, by):
    from difftensor.linalg import _lapack
    from difftensor.linalg._triangular import solve_lower_or_upper as solve_triangular

    if by == "blocks":
        monkeypatch.setattr(_lapack, "triangular_available", lambda char: False)
    for n in (65, 130, 200):
        a, b = np.tril(rng.standard_normal((n, n))) / n + np.eye(n), rng.standard_normal((n, 3))
        np.testing.assert_allclose(a @ solve_triangular(a, b, True), b, atol=1e-12)
        np.testing.assert_allclose(a.T @ solve_triangular(a.T, b, False), b, atol=1e-12)
