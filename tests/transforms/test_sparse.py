"""Sparse Jacobians and Hessians: patterns contain the truth, values are the dense ones, sweeps are counted."""

import numpy as np
import pytest
import scipy.sparse as sp

import difftensor as dif
from difftensor._transforms.sparse import SparsityError, coloring, find_pattern


def rosenbrock(x):
    return dif.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def heat(u):
    """Views, in-place writes, a reduction, a selection."""
    u = u.reshape(6, 5)
    v = dif.zeros((6, 5))
    v[1:-1, 1:-1] = u[1:-1, 1:-1] + 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] - 2 * u[1:-1, 1:-1]) * np.sin(u[1:-1, 1:-1])
    v[0] += u[-1]
    return dif.concatenate([v.ravel(), dif.flip(u[:, 0])])


def live_views(x):
    y = x * 1.0
    rows = y.reshape(3, 2)
    y[1:] = x[:-1] ** 2
    return (rows[1:] * rows[:-1, ::-1]).ravel()


def filled_number(v):
    z = dif.zeros((), complex)
    part = z.real
    z[...] = v * (1 + 1j)
    return z + part


def complex_parts(x):
    z = dif.zeros(4, complex)
    z.imag[1:] = x[:-1] ** 2
    z.real[:2] = x[2:]
    part = z.imag
    z[0] = x[0] * x[1] * 1j
    return dif.concatenate([part, (z * z).real])


FUNCTIONS = {
    "differences": (lambda x: x[1:] * x[:-1], 9),
    "heat": (heat, 30),
    "where": (lambda x: dif.where(x > 0, x**2, x[::-1]), 8),
    "row sums": (lambda x: dif.sum(x.reshape(4, 3) ** 2, axis=1), 12),
    "row maxima": (lambda x: dif.max(x.reshape(4, 3), axis=1), 12),
    "blocks": (lambda x: (np.ones((4, 2, 3)) @ x.reshape(4, 3, 1)).ravel(), 12),
    "stack": (lambda x: dif.array([x[0] * x[1], dif.sin(x[2]), x[0]]), 4),
    "cumulative": (lambda x: dif.cumsum(x**2), 5),
    "integer indices": (lambda x: x[np.array([3, 0, 3])] * x[1], 5),
    "transposed": (lambda x: dif.transpose(x.reshape(2, 3)).ravel() * np.arange(6.0), 6),
    "constant part": (lambda x: dif.concatenate([x[:2] ** 2, np.ones(3)]), 4),
    "linear algebra": (lambda x: dif.concatenate([dif.linalg.solve(np.eye(2) + 0.1, x[:2]), x[2:] ** 2]), 6),
    "moments": (lambda x: np.var(x.reshape(3, 2), axis=1) * x[:3], 6),
    "determinants": (lambda x: np.linalg.det(x.reshape(2, 2, 2)) + x[:2] ** 2, 8),
    "sorted": (lambda x: np.sort(x) * x[0], 5),
    "several results": (lambda x: dif.linalg.slogdet(np.eye(2) * 3 + x.reshape(2, 2, 2))[1] * x[:2], 8),
    "live views": (live_views, 6),
    "parts of complex numbers": (complex_parts, 4),
    "a complex number written to": (lambda x: x * filled_number(x[0] * x[1]).real, 3),
    "cancelling": (lambda x: np.cumsum(np.append(x - x.sum() / 4, x[:1])), 4),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("mode", ["auto", "fwd", "rev"])
def test_values_are_the_dense_ones(name, mode, rng):
    f, n = FUNCTIONS[name]
    J = dif.sparse_jacobian(f, mode=mode)
    for x in rng.normal(size=(2, n)):
        dense = dif.jacobian(f)(x)
        np.testing.assert_allclose(J(x).toarray(), dense, rtol=1e-12, atol=1e-12)
        assert not (dense != 0)[~J.pattern.toarray()].any()
    assert J.sweeps == J.colors.max() + 2


def test_patterns_are_sparse_where_the_function_is(rng):
    """As many entries as the Jacobian at a random point, for functions without accidental zeros."""
    for name in ("differences", "row sums", "blocks", "stack", "integer indices", "constant part"):
        f, n = FUNCTIONS[name]
        x = rng.normal(size=n)
        assert find_pattern(f, x).nnz == np.count_nonzero(dif.jacobian(f)(x)), name


def test_hessian_of_rosenbrock():
    H, x = dif.sparse_hessian(rosenbrock), np.linspace(-1, 1, 12)
    np.testing.assert_allclose(H(x).toarray(), dif.hessian(rosenbrock)(x), rtol=1e-12, atol=1e-12)
    assert H.sweeps <= 3 + 2
    assert H.pattern.nnz == 3 * 12 - 2


def test_hessian_of_100_000_unknowns():
    """The diagonal and the first off-diagonal of the chained Rosenbrock function in closed form."""
    n = 100_000
    x = np.linspace(-1, 1, n)
    H = dif.sparse_hessian(rosenbrock)
    h = H(x)
    off = -400 * x[:-1]
    diagonal = np.zeros(n)
    diagonal[:-1] += 1200 * x[:-1] ** 2 - 400 * x[1:] + 2
    diagonal[1:] += 200
    np.testing.assert_allclose(h.diagonal(), diagonal, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(h.diagonal(1), off, rtol=1e-12, atol=1e-9)
    assert H.sweeps <= 5
    assert h.nnz <= 3 * n


def test_bundle_adjustment(rng):
    """Reprojection errors: each depends on 6 camera and 3 point parameters."""
    cameras, points = 4, 15
    seen = [(i, j) for i in range(cameras) for j in range(points) if (i + j) % 2 == 0]
    ci, pj = np.array(seen).T

    def residuals(v):
        cams, pts = v[: 6 * cameras].reshape(cameras, 6)[ci], v[6 * cameras :].reshape(points, 3)[pj]
        r, t = cams[:, :3], cams[:, 3:]
        turned = pts + dif.cross(r, pts) + t
        return (turned[:, :2] / turned[:, 2:] - 0.1).ravel()

    v = rng.normal(size=6 * cameras + 3 * points) * 0.1
    v[6 * cameras + 2 :: 3] += 3.0
    J = dif.sparse_jacobian(residuals)
    np.testing.assert_allclose(J(v).toarray(), dif.jacobian(residuals)(v), rtol=1e-12, atol=1e-12)
    assert J.pattern.nnz <= 2 * len(seen) * 9
    assert J.sweeps <= 6 + 3 + 2 + 1


def test_a_pattern_that_does_not_hold_elsewhere_raises():
    f = lambda x: x * 2 if float(x[0].item()) > 0 else x[::-1] * x  # noqa: E731
    J = dif.sparse_jacobian(f)
    J(np.array([1.0, 2.0, 3.0]))
    with pytest.raises(SparsityError, match="outside the pattern"):
        J(np.array([-1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match="3 unknowns"):
        J(np.ones(4))


def test_a_given_pattern_is_used(rng):
    tri = sp.diags_array([np.ones(4), np.ones(5), np.ones(4)], offsets=[-1, 0, 1])
    J = dif.sparse_jacobian(lambda x: x**2, pattern=tri, mode="fwd")
    x = rng.normal(size=5)
    np.testing.assert_allclose(J(x).toarray(), np.diag(2 * x), atol=1e-14)
    assert J.sweeps == 4


def test_coloring_never_puts_two_columns_of_a_row_in_one_group(rng):
    P = sp.random_array((60, 40), density=0.06, rng=rng, format="csr")
    colors = coloring(P)
    for i in range(60):
        here = colors[P.indices[P.indptr[i] : P.indptr[i + 1]]]
        assert len(set(here.tolist())) == len(here)
