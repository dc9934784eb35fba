"""Every function of np.linalg: derivatives in both modes and to second order, real and complex, alone and in stacks."""

import numpy as np
import pytest

import difftensor as dif
from difftensor import linalg
from tests.linalg.differences import check, random_like
from tests.linalg.matrices import H, hermitian, matrix


def regular(rng, *shape, dtype=float):
    return matrix(rng, *shape, dtype=dtype) / 2 + 2.5 * np.eye(shape[-1])


def positive(rng, *shape, dtype=float):
    x = matrix(rng, *shape, dtype=dtype)
    return hermitian(x @ H(x)) + np.eye(shape[-1])


def symmetric(rng, *shape, dtype=float):
    """Hermitian with distinct eigenvalues, so that differences of its vectors are accurate."""
    q = np.linalg.qr(matrix(rng, *shape, dtype=dtype))[0]
    return hermitian((q * (1.0 + np.arange(shape[-1]))) @ H(q))


def fixed(v):
    """Eigenvectors with a real positive first component: no arbitrary sign or phase."""
    first = v[..., :1, :]
    return v * np.conj(first) / np.abs(first)


DTYPES = pytest.mark.parametrize("dtype", [float, complex])
STACKS = pytest.mark.parametrize("lead", [(), (2, 3), (5,)])

SQUARE = {
    "inv": np.linalg.inv,
    "det": np.linalg.det,
    "slogdet": np.linalg.slogdet,
    "eigvals": lambda a: np.sum(np.linalg.eigvals(a) ** 3, axis=-1),
    "matrix_power": lambda a: np.linalg.matrix_power(a, 5),
    "matrix_power -2": lambda a: np.linalg.matrix_power(a, -2),
    "expm": linalg.expm,
    "cond fro": lambda a: np.linalg.cond(a, "fro"),
    "cond 1": lambda a: np.linalg.cond(a, 1),
    "cond": np.linalg.cond,
    "cond -2": lambda a: np.linalg.cond(a, -2),
    "trace": np.linalg.trace,
    "sqrtm": lambda a: linalg.sqrtm(a @ a + 30 * np.eye(a.shape[-1])),
    "logm": lambda a: linalg.logm(a @ a + 30 * np.eye(a.shape[-1])),
    "funm": lambda a: linalg.funm(a, np.exp),
}


@DTYPES
@STACKS
@pytest.mark.parametrize("name", SQUARE)
def test_square(rng, name, lead, dtype):
    for n in (1, 2, 3, 4) if name in ("inv", "det", "slogdet") else (3,):
        check(rng, SQUARE[name], regular(rng, *lead, n, n, dtype=dtype), h=3e-4, tol=1e-6)


@DTYPES
@STACKS
def test_eig(rng, lead, dtype):
    a = matrix(rng, *lead, 3, 3, dtype=dtype) / 4 + np.diag([1.0, 3.0, 6.0])

    def f(a):
        w, v = np.linalg.eig(a)
        order = np.argsort(w.real.detach().numpy() if isinstance(w, dif.Tensor) else w.real, axis=-1)
        w, v = np.take_along_axis(w, order, -1), np.take_along_axis(v, order[..., None, :], -1)
        return w, fixed(v)

    check(rng, f, a, h=1e-4, tol=1e-6)


HERMITIAN = {
    "cholesky": np.linalg.cholesky,
    "cholesky upper": lambda a: np.linalg.cholesky(a, upper=True),
    "eigvalsh": np.linalg.eigvalsh,
    "eigvalsh U": lambda a: np.linalg.eigvalsh(a, "U"),
    "eigh": lambda a: (np.linalg.eigh(a)[0], fixed(np.linalg.eigh(a)[1])),
    "eigh U": lambda a: fixed(np.linalg.eigh(a, "U").eigenvectors),
    "pinv hermitian": lambda a: np.linalg.pinv(a, hermitian=True),
    "svd hermitian": lambda a: np.linalg.svd(a - 2.2 * np.eye(4), hermitian=True, compute_uv=False),
    "sqrtm": linalg.sqrtm,
    "logm": linalg.logm,
    "funm": lambda a: linalg.funm(a, lambda w: np.tanh(w) / w),
    "spectral_projector": lambda a: linalg.spectral_projector(a, subset_by_index=(1, 2)),
    "spectral_projector by value": lambda a: linalg.spectral_projector(a, subset_by_value=(0, 2.5)),
}


@DTYPES
@STACKS
@pytest.mark.parametrize("name", HERMITIAN)
def test_hermitian(rng, name, lead, dtype):
    check(rng, HERMITIAN[name], symmetric(rng, *lead, 4, 4, dtype=dtype), along=hermitian, h=3e-4, tol=1e-6)


@DTYPES
def test_generalized_eigh(rng, dtype):
    def f(a, b):
        w, v = linalg.eigh(hermitian(a), b=hermitian(b))
        return w, fixed(v)

    a, b = symmetric(rng, 4, 4, dtype=dtype), positive(rng, 4, 4, dtype=dtype)
    check(rng, f, a, b, h=3e-4, tol=1e-6)
    scipy = pytest.importorskip("scipy.linalg")
    w, v = linalg.eigh(dif.tensor(a), b=b)
    np.testing.assert_allclose(w.numpy(), scipy.eigh(a, b)[0], rtol=1e-10)
    np.testing.assert_allclose(H(v.numpy()) @ b @ v.numpy(), np.eye(4), atol=1e-10)


def gauge_free_svd(a, **keywords):
    u, s, vh = np.linalg.svd(a, **keywords)
    phase = np.conj(u[..., :1, :]) / np.abs(u[..., :1, :])
    k = s.shape[-1]
    return u * phase, s, vh[..., :k, :] / np.swapaxes(phase, -1, -2)[..., :k, :]


@DTYPES
@STACKS
@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (2, 4)])
def test_svd(rng, shape, lead, dtype):
    k = min(shape)
    u, _, vh = np.linalg.svd(matrix(rng, *lead, *shape, dtype=dtype), full_matrices=False)
    a = (u * (1.0 + np.arange(k)[::-1])) @ vh
    check(rng, lambda a: gauge_free_svd(a, full_matrices=False), a, h=3e-4, tol=1e-6)
    check(rng, np.linalg.svdvals, a)
    check(rng, lambda a: np.linalg.svd(a, compute_uv=False), a)

    def spaces(a):
        """Projectors on the columns that only full_matrices=True gives."""
        u, _, vh = np.linalg.svd(a)
        u, v = u[..., k:], H(vh)[..., k:]
        return u @ H(u), v @ H(v)

    check(rng, spaces, a, h=3e-4, tol=1e-6)


@DTYPES
@STACKS
@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (2, 4)])
def test_qr(rng, shape, lead, dtype):
    a = matrix(rng, *lead, *shape, dtype=dtype)
    for mode in ("reduced", "complete") if shape[0] <= shape[1] else ("reduced",):
        check(rng, lambda a, mode=mode: np.linalg.qr(a, mode), a, h=3e-4, tol=1e-5)
    check(rng, lambda a: np.linalg.qr(a, "r"), a, h=3e-4, tol=1e-5)

    def complement(a):
        q, r = np.linalg.qr(a, "complete")
        q2 = q[..., min(shape) :]
        return q[..., : min(shape)], r, q2 @ H(q2)

    check(rng, complement, a, h=3e-4, tol=1e-5)


@DTYPES
@STACKS
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)])
def test_pinv(rng, shape, lead, dtype):
    a = matrix(rng, *lead, *shape, dtype=dtype) / 2 + 2 * np.eye(*shape)
    check(rng, np.linalg.pinv, a, h=3e-4, tol=1e-6)


@DTYPES
@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (2, 4)])
@pytest.mark.parametrize("columns", [(), (2,)])
def test_lstsq(rng, shape, columns, dtype):
    a, b = matrix(rng, *shape, dtype=dtype), matrix(rng, shape[0], *columns, dtype=dtype)
    a = a + 2 * np.eye(*shape)
    check(rng, lambda a, b: np.linalg.lstsq(a, b)[0], a, b, h=3e-4, tol=1e-6)
    check(rng, lambda a, b: np.linalg.lstsq(a, b)[1], a, b, h=3e-4, tol=1e-6)
    for ours, theirs in zip(linalg.lstsq(dif.tensor(a), b), np.linalg.lstsq(a, b), strict=True):
        np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-10, atol=1e-12)
        assert np.shape(ours) == np.shape(theirs)


@DTYPES
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_rank_deficient(rng, rank, dtype):
    """pinv and lstsq along matrices of constant rank: a = b c."""
    for m, n in ((4, 4), (5, 4), (3, 4)):
        left, right = matrix(rng, m, rank, dtype=dtype), matrix(rng, rank, n, dtype=dtype)
        b = matrix(rng, m, 2, dtype=dtype)
        check(rng, lambda p, q: np.linalg.pinv(p @ q, rcond=1e-8), left, right, h=1e-4, tol=1e-5)
        check(rng, lambda p, q, b: np.linalg.lstsq(p @ q, b, 1e-8)[0], left, right, b, h=1e-4, tol=1e-5)


@DTYPES
@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 4)])
def test_cut_singular_values_that_are_not_zero(rng, shape, dtype):
    """Regularization by a cutoff: the space of the singular vectors that are kept turns with those that are not."""
    m, n = shape
    u, v = (np.linalg.qr(matrix(rng, k, k, dtype=dtype))[0] for k in shape)
    a = (u[:, :3] * [2.0, 1.0, 0.4]) @ v[:3]
    b = matrix(rng, m, dtype=dtype)
    check(rng, lambda a: np.linalg.pinv(a, rcond=0.3), a, h=1e-3, tol=1e-6)
    check(rng, lambda a, b: np.linalg.lstsq(a, b, 0.3)[0], a, b, h=1e-3, tol=1e-6)
    stack = np.stack([a, 3 * a])
    check(rng, lambda a: np.linalg.pinv(a, rcond=np.array([0.3, 0.1])), stack, h=1e-3, tol=1e-6)
    d = np.eye(m, n) * [2.0, 2.0, *[0.0] * (n - 2)]  # of deficient rank, to second order
    check(rng, lambda a: np.linalg.pinv(a, rcond=0.3), d.astype(dtype), h=1e-3, tol=1e-6)
    found = dif.vmap(dif.grad(lambda a: np.sum(abs(np.linalg.pinv(a, rcond=0.3)))))(stack)
    expected = [dif.grad(lambda a: np.sum(abs(np.linalg.pinv(a, rcond=0.3))))(x) for x in stack]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


READ = {
    "eigvalsh": (np.linalg.eigvalsh, "L"),
    "eigvalsh U": (lambda a: np.linalg.eigvalsh(a, "U"), "U"),
    "projectors": (lambda a: abs(np.linalg.eigh(a)[1]) ** 2, "L"),
    "cholesky": (np.linalg.cholesky, "L"),
    "cholesky upper": (lambda a: np.linalg.cholesky(a, upper=True), "U"),
    "svd": (lambda a: np.linalg.svd(a, compute_uv=False, hermitian=True), "L"),
    "pinv": (lambda a: np.linalg.pinv(a, hermitian=True), "L"),
    "spectral_projector": (lambda a: linalg.spectral_projector(a, (0, 1)), "L"),
}


@DTYPES
@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("n", [3, 40])
def test_one_triangle_is_the_matrix_that_is_read(rng, n, name, dtype):
    """Of a matrix that is not Hermitian the other triangle has no part in the value, and none in the derivative."""
    f, uplo = READ[name]
    half = np.tril if uplo == "L" else np.triu
    m = matrix(rng, n, n, dtype=dtype)
    m = half(m + m.conj().T + 5 * n**0.5 * np.eye(n) + np.diag(np.arange(n)))
    low = half(np.ones((n, n)), -1 if uplo == "L" else 1)

    def g(x):  # the diagonal is real
        return f(x * low + np.diag(np.diag(m).real))

    y, (c,) = f(m), dif.vjp(g, m)[1](w := random_like(rng, f(m)))
    assert not c[low == 0].any()
    d = random_like(rng, m)
    h = 1e-4
    expected = np.real(np.vdot(w, 8 * (g(m + h * d) - g(m - h * d)) - g(m + 2 * h * d) + g(m - 2 * h * d))) / (12 * h)
    np.testing.assert_allclose(np.real(np.vdot(c, d)), expected, rtol=1e-6, atol=1e-7 * abs(y).sum())
    slope = dif.jvp(g, (m,), (d,))[1]
    np.testing.assert_allclose(np.real(np.vdot(w, slope)), expected, rtol=1e-6, atol=1e-7 * abs(y).sum())
    np.testing.assert_allclose(dif.jvp(g, (m,), (d,), stream=True)[1], slope, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(dif.vmap(f)(np.stack([m, m])), np.stack([y, y]), rtol=1e-10, atol=1e-11)


@DTYPES
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (5, 3, 3)])
def test_polar(rng, shape, side, dtype):
    a = matrix(rng, *shape, dtype=dtype)
    check(rng, lambda a: linalg.polar(a, side), a, h=1e-4, tol=1e-5)
    u, p = linalg.polar(a, side)
    np.testing.assert_allclose(u @ p if side == "right" else p @ u, a, atol=1e-12)
    if len(shape) == 2:
        scipy = pytest.importorskip("scipy.linalg")
        for ours, theirs in zip((u, p), scipy.polar(a, side), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-12)


@DTYPES
@pytest.mark.parametrize("shapes", [((4, 4), (4, 2)), ((4, 4), (4,)), ((5, 3, 3), (5, 3, 2)), ((3, 3), (5, 3, 2)),
                                    ((2, 5, 2, 2), (2, 1))])  # fmt: skip
def test_solve(rng, shapes, dtype):
    a, b = regular(rng, *shapes[0], dtype=dtype), matrix(rng, *shapes[1], dtype=dtype)
    check(rng, np.linalg.solve, a, b, h=3e-4, tol=1e-6)
    check(rng, lambda b: np.linalg.solve(a, b), b, h=3e-4)
    check(rng, lambda a: np.linalg.solve(a, b), a, h=3e-4, tol=1e-6)


@DTYPES
def test_sylvester(rng, dtype):
    a, b = regular(rng, 3, 3, dtype=dtype) + np.eye(3), regular(rng, 2, 2, dtype=dtype) + np.eye(2)
    q = matrix(rng, 3, 2, dtype=dtype)
    check(rng, linalg.solve_sylvester, a, b, q, h=3e-4, tol=1e-6)
    x = linalg.solve_sylvester(a, b, q)
    np.testing.assert_allclose(a @ x + x @ b, q, atol=1e-12)


@DTYPES
def test_tensor_equations(rng, dtype):
    a = matrix(rng, 2, 3, 6, dtype=dtype)
    check(rng, np.linalg.tensorsolve, a, matrix(rng, 2, 3, dtype=dtype), h=1e-4, tol=1e-5)
    check(rng, lambda a: np.linalg.tensorinv(a, ind=2), a, h=1e-4, tol=1e-5)
    b = matrix(rng, 3, 6, 2, dtype=dtype)
    check(rng, lambda a, b: np.linalg.tensorsolve(a, b, axes=(1,)), b, matrix(rng, 3, 2, dtype=dtype), h=1e-4, tol=1e-5)


@DTYPES
def test_products(rng, dtype):
    shapes = [(2, 3), (3, 4), (4, 2), (2, 5)]
    chain = [matrix(rng, *s, dtype=dtype) for s in shapes]
    check(rng, lambda *xs: np.linalg.multi_dot(list(xs)), *chain)
    first, last = matrix(rng, 2, dtype=dtype), matrix(rng, 5, dtype=dtype)
    check(rng, lambda *xs: np.linalg.multi_dot(list(xs)), first, *chain, last)
    a, b = matrix(rng, 4, 3, dtype=dtype), matrix(rng, 4, 3, dtype=dtype)
    check(rng, np.linalg.cross, a, b)
    check(rng, lambda a, b: np.linalg.cross(a, b, axis=0), a[:3], b[:3])
    check(rng, np.linalg.vecdot, a, b)
    check(rng, np.linalg.outer, a[0], b[1])
    check(rng, np.linalg.matmul, a, b.T)
    check(rng, lambda a, b: np.linalg.tensordot(a, b, axes=([0, 1], [0, 1])), a, b)
    check(rng, lambda a: np.linalg.diagonal(a, offset=-1), a)
    check(rng, lambda a: np.linalg.trace(a, offset=1), a)
    check(rng, np.linalg.matrix_transpose, a)


OF_VECTORS = [(2, -1), (1, 0), (3, -1), (4, 1), (2.5, -1), (0.5, -1), (-1, 0), (-2, -1), (np.inf, 0), (-np.inf, -1)]
OF_MATRICES = [("fro", None), ("nuc", None), (1, (0, 1)), (-1, (1, 0)), (2, (0, 1)), (-2, None), (np.inf, None)]
NORMS = [(None, None), *OF_VECTORS, *OF_MATRICES, (-np.inf, (-1, -2))]


@DTYPES
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(("order", "axis"), NORMS)
def test_norm(rng, order, axis, keepdims, dtype):
    x = matrix(rng, 3, 4, dtype=dtype)
    x += np.sign(x.real) / 2  # away from the kinks at 0
    check(rng, lambda x: np.linalg.norm(x, order, axis, keepdims), x, h=1e-4, tol=1e-6)
    if axis is None or np.ndim(axis):
        y = matrix(rng, 2, 3, 4, dtype=dtype)
        check(
            rng,
            lambda y: np.linalg.matrix_norm(y, ord="fro" if order is None else order, keepdims=keepdims),
            y,
            h=1e-4,
            tol=1e-6,
        )
    else:
        check(rng, lambda x: np.linalg.vector_norm(x, ord=order, axis=axis, keepdims=keepdims), x, h=1e-4, tol=1e-6)


def test_vector_norm_of_all_axes(rng):
    check(rng, lambda x: np.linalg.vector_norm(x, ord=3), rng.standard_normal((2, 3, 2)))
    check(rng, lambda x: np.linalg.vector_norm(x, axis=(0, 2), keepdims=True), rng.standard_normal((2, 3, 2)))
    check(rng, np.linalg.norm, rng.standard_normal((2, 3, 2)))
