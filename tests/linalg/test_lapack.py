"""The routines that are called by hand, against NumPy: every dtype, layout and size, empty and singular ones too."""

import numpy as np
import pytest

import difftensor as dif
from difftensor.linalg import _lapack
from difftensor.linalg._factor import Factorization
from difftensor.linalg._triangular import solve_lower_or_upper

CHARS = "fdFD"
SIZES = [1, 2, 7, 65, 130]
LAYOUTS = {
    "C": lambda x: np.array(x, order="C"),
    "F": lambda x: np.array(x, order="F"),
    "strided": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
    "block": lambda x: np.pad(x, 2)[2:-2, 2:-2],
    "reversed": lambda x: np.array(x[::-1, ::-1])[::-1, ::-1],
    "constant": lambda x: np.broadcast_to(x, (2, *x.shape))[1],
}


def close(x, y, char):
    assert x.dtype.char == char
    bound = 5e-3 if char in "fF" else 1e-10
    np.testing.assert_allclose(x, y, rtol=bound, atol=bound)


def matrix(rng, m, n, char):
    """Far from singular: the identity dominates."""
    x = rng.standard_normal((m, n)) + (1j * rng.standard_normal((m, n)) if char in "FD" else 0)
    return (x / (2 * m**0.5) + np.eye(m, n)).astype(char)


def served(available, char):
    if not available(np.dtype(char)):
        pytest.skip("NumPy's LAPACK shows no symbols here")


@pytest.fixture(params=CHARS)
def char(request):
    served(_lapack.available, request.param)
    return request.param


@pytest.mark.parametrize("n", SIZES)
def test_factors(rng, char, n):
    a, b = matrix(rng, n, n, char), matrix(rng, n, 3, char)
    kept = a.copy(), b.copy()
    found = Factorization(*_lapack.factors(a), False)
    for f, m in ((found, a), (found.flipped(), a.T)):
        close(f.solve(b), np.linalg.solve(m, b), char)
        close(f.solve(b[:, :1]), np.linalg.solve(m, b[:, :1]), char)
        close(f.solve(b[:, 0]), np.linalg.solve(m, b[:, 0]), char)
        close(f.solve(b[:, :0]), np.zeros((n, 0)), char)
        close(f.solve(np.tile(b, (1, 60))), np.tile(np.linalg.solve(m, b), (1, 60)), char)
        close(f.inverse_transposed(), np.linalg.inv(m).T, char)
    sign, log = found.sign_and_log()
    expected = np.linalg.slogdet(a)
    close(sign, expected[0], char)
    close(log, expected[1], char.lower())
    close(found.det, np.linalg.det(a), char)
    np.testing.assert_array_equal(a, kept[0])
    np.testing.assert_array_equal(b, kept[1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_factors(rng, char, layout):
    a, b = (LAYOUTS[layout](matrix(rng, 40, n, char)) for n in (40, 3))
    close(Factorization(*_lapack.factors(a), False).solve(b), np.linalg.solve(a, b), char)
    close(Factorization(*_lapack.factors(a), True).solve(b), np.linalg.solve(a.T, b), char)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_triangular(rng, char, n, layout):
    served(_lapack.triangular_available, char)
    a = np.tril(matrix(rng, n, n, char))
    m, b = LAYOUTS[layout](a), LAYOUTS[layout](matrix(rng, n, 4, char))
    dirty = m + np.triu(np.full((n, n), np.nan, char), 1) if n > 1 else m  # the other triangle is not read
    for matrices, lower in (((m, dirty), True), ((m.T, dirty.T), False)):
        expected = np.linalg.solve(matrices[0], b)
        for each in matrices:
            close(_lapack.triangular_solve(each, b, lower), expected, char)
            close(_lapack.triangular_solve(each, b[:, :1], lower), expected[:, :1], char)
            wide = np.tile(b, (1, 50))
            close(_lapack.triangular_solve(each, wide, lower), np.tile(expected, (1, 50)), char)
        close(_lapack.triangular_inverse(matrices[0], lower), np.linalg.inv(matrices[0]), char)


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("k", [1, 5, 2000])
def test_triangular_in_place(rng, char, order, k):
    served(_lapack.triangular_available, char)
    a = np.tril(matrix(rng, 20, 20, char))
    b = np.array(matrix(rng, 20, k, char), order=order)
    expected = np.linalg.solve(a, b)
    x = _lapack.triangular_solve(a, b, True, overwrite=True)
    assert np.shares_memory(x, b)
    close(b, expected, char)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_cholesky(rng, char, n, layout):
    served(_lapack.triangular_available, char)
    a = matrix(rng, n, n, char)
    a = a @ a.conj().T
    y = _lapack.cholesky(LAYOUTS[layout](a))
    close(y, np.linalg.cholesky(a), char)
    assert not np.triu(y, 1).any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (9, 4), (70, 65)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_qr(rng, char, shape, layout):
    served(_lapack.qr_available, char)
    a = matrix(rng, *shape, char)
    q, r = _lapack.qr(LAYOUTS[layout](a))
    expected = np.linalg.qr(a)
    close(q, expected[0], char)
    close(r, expected[1], char)
    assert not np.tril(r, -1).any()


@pytest.mark.parametrize("adjoint", [False, True])
def test_add_product(rng, char, adjoint):
    served(_lapack.triangular_available, char)
    big = matrix(rng, 20, 30, char)
    a, b, c = (big[3:8, 2:6] if adjoint else big[3:7, 2:7]), big[10:15, 5:11], big[15:19, 20:26]
    expected = big.copy()
    expected[15:19, 20:26] += -2 * ((a.conj().T if adjoint else a) @ b)
    _lapack.add_product(c, -2, a, b, adjoint=adjoint)
    close(big, expected, char)


@pytest.mark.parametrize("n", [2, 40, 120])
def test_singular(n):
    """The errors are NumPy's, forward and backward."""
    zero = dif.tensor(np.zeros((n, n)), requires_grad=True)
    one = np.ones(n)
    for f in (
        lambda a: np.linalg.solve(a, one),
        lambda a: np.linalg.solve(a, one[:, None] * np.ones(n)),
        np.linalg.inv,
        lambda a: dif.linalg.solve_triangular(a, one),
    ):
        with pytest.raises(np.linalg.LinAlgError, match="Singular"):
            f(zero)
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        np.linalg.cholesky(-np.eye(n) + zero)
    y = np.linalg.slogdet(zero)
    assert (y.sign.item(), y.logabsdet.item()) == (0, -np.inf)
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        y.logabsdet.backward()
    np.testing.assert_array_equal(dif.grad(np.linalg.det)(np.zeros((n, n))), 0 if n > 1 else 1)


@pytest.mark.parametrize("n", [50, 120])
def test_nan(n):
    """It passes through as in NumPy."""
    a = np.eye(n)
    a[3, 2] = np.nan
    x = dif.tensor(a, requires_grad=True)
    for f in (lambda a: np.linalg.solve(a, np.ones(n)), np.linalg.det, lambda a: np.linalg.slogdet(a)[1]):
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(np.isnan(f(x).detach().numpy()), np.isnan(f(a)))


@pytest.mark.parametrize("f", [np.linalg.cholesky, np.linalg.det, np.linalg.inv, lambda a: np.linalg.solve(a, a + 1)])
@pytest.mark.parametrize("n", [50, 120, 450])
def test_foreign_byte_order(rng, f, n):
    a = matrix(rng, n, n, "d")
    a = a @ a.T
    y, pull = dif.vjp(f, a.astype(">f8"))
    np.testing.assert_allclose(y, f(a), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(pull(np.ones(y.shape))[0], dif.grad(lambda a: f(a).sum())(a), rtol=1e-8)


@pytest.mark.parametrize("n", [0, 1, 40, 65, 130, 450])
@pytest.mark.parametrize("char", CHARS)
def test_gradient_of_cholesky(rng, char, n):
    """Every block size: c_A = sym(L^-T Phi(L^T c_L) L^-1) by NumPy's inverses, for cotangents with another triangle."""
    a, g = matrix(rng, n, n, char), matrix(rng, n, n, char)
    a = a @ a.conj().T
    low, pull = dif.vjp(np.linalg.cholesky, a)
    close(low, np.linalg.cholesky(a), char)
    p = np.tril(low.conj().T @ g)
    p[np.diag_indices(n)] /= 2
    p = (p + p.conj().T) / 2
    w = np.linalg.inv(low) if n else low
    expected = w.conj().T @ p @ w
    for order in "CF":
        [c] = pull(np.array(g, order=order))
        close(c, expected, char)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("k", [1, 3, 150])
def test_gradient_of_triangular_systems(rng, lower, k):
    """Only the triangle that is read has a gradient, whatever the number of blocks of rows."""
    a, b, g = matrix(rng, 150, 150, "d"), matrix(rng, 150, k, "d"), rng.standard_normal((150, k))
    a = np.tril(a) if lower else np.triu(a)
    x, pull = dif.vjp(lambda a, b: solve_lower_or_upper(a, b, lower), a, b)
    ca, cb = pull(g)
    expected = np.linalg.solve(a.T, g)
    np.testing.assert_allclose(cb, expected, rtol=1e-9, atol=1e-12)
    half = np.tril if lower else np.triu
    np.testing.assert_allclose(ca, half(-expected @ x.T), rtol=1e-9, atol=1e-10)
    assert not (ca - half(ca)).any()


def test_factors_belong_to_one_matrix(rng):
    """A place for factors that meets another matrix factors that one."""
    from difftensor.linalg._factor import Factors
    from difftensor.linalg._solve import _solve

    keep = Factors()
    a, c, b = matrix(rng, 5, 5, "d"), matrix(rng, 5, 5, "d") + 1, rng.standard_normal((5, 2))
    first, pull_first = dif.vjp(lambda a: _solve(a, b, keep), a)
    second, pull_second = dif.vjp(lambda a: _solve(a, b, keep), c)
    for m, x, pull in ((a, first, pull_first), (c, second, pull_second)):
        np.testing.assert_allclose(x, np.linalg.solve(m, b))
        g = np.ones((5, 2))
        np.testing.assert_allclose(pull(g)[0], -np.linalg.solve(m.T, g) @ x.T, rtol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("char", CHARS)
def test_inverses_of_small_matrices(rng, n, char):
    """One ill-conditioned matrix among good ones; transposes share the work."""
    from difftensor.linalg._small import Inverse

    a, b = np.stack([matrix(rng, n, n, char) for _ in range(6)]), np.stack([matrix(rng, n, 2, char) for _ in range(6)])
    a[3] = np.eye(n)
    a[3, -1] = a[3, 0] + (1e-2 if char in "fF" else 1e-5) * a[3, -1] if n > 1 else 1e-5
    found = Inverse(a)
    for each, m in ((found, a), (found.flipped(), a.swapaxes(-1, -2)), (found.flipped().flipped(), a)):
        expected = np.linalg.inv(m)
        np.testing.assert_allclose(each.matrices(), expected, rtol=2e-3 if char in "fF" else 1e-9, atol=1e-3)
        np.testing.assert_allclose(each.solve(b), expected @ b, rtol=2e-2 if char in "fF" else 1e-9, atol=1e-3)
        assert each.solve(b).dtype.char == char


def test_solve_of_stacks_keeps_its_inverses(rng):
    a = rng.standard_normal((8, 3, 3)) / 3 + np.eye(3)
    for k in (1, 3):
        b, g = rng.standard_normal((8, 3, k)), rng.standard_normal((8, 3, k))
        x, pull = dif.vjp(np.linalg.solve, a, b)
        cb = np.linalg.solve(a.swapaxes(-1, -2), g)
        ca = -cb @ x.swapaxes(-1, -2)
        for c, expected in zip(pull(g), (ca, cb), strict=True):
            np.testing.assert_allclose(c, expected, rtol=1e-10, atol=1e-12)
