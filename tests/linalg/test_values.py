"""np.linalg on Tensors: NumPy's values, dtypes, result types and errors; float32, integers, empty stacks, lists."""

import subprocess
import sys

import numpy as np
import pytest

import difftensor as dif
from difftensor import linalg

REAL = {np.float32: np.float32, np.float64: np.float64, np.complex64: np.float32, np.complex128: np.float64}


def square(rng, *shape, dtype=np.float64):
    x = (
        rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        if np.issubdtype(dtype, np.complexfloating)
        else rng.standard_normal(shape)
    )
    return (x + 3 * np.eye(*shape[-2:])).astype(dtype)


def positive(rng, *shape, dtype=np.float64):
    x = square(rng, *shape, dtype=np.complex128 if np.issubdtype(dtype, np.complexfloating) else np.float64)
    x = x @ np.conj(np.swapaxes(x, -1, -2))
    return ((x + np.conj(np.swapaxes(x, -1, -2))) / 2).astype(dtype)


ONE = {
    "inv": np.linalg.inv,
    "det": np.linalg.det,
    "slogdet": np.linalg.slogdet,
    "cholesky": np.linalg.cholesky,
    "qr": np.linalg.qr,
    "qr r": lambda a: np.linalg.qr(a, "r"),
    "qr complete": lambda a: np.linalg.qr(a[..., :2], "complete"),
    "eigh": np.linalg.eigh,
    "eigvalsh": np.linalg.eigvalsh,
    "eig": np.linalg.eig,
    "eigvals": np.linalg.eigvals,
    "svd": np.linalg.svd,
    "svd thin": lambda a: np.linalg.svd(a[..., :2], full_matrices=False),
    "svd values": lambda a: np.linalg.svd(a, compute_uv=False),
    "svd hermitian": lambda a: np.linalg.svd(a, hermitian=True),
    "svdvals": np.linalg.svdvals,
    "pinv": np.linalg.pinv,
    "pinv rtol": lambda a: np.linalg.pinv(a, rtol=None),
    "pinv rcond": lambda a: np.linalg.pinv(a, 0.2),
    "pinv array": lambda a: np.linalg.pinv(a, rcond=np.full(a.shape[:-2], 0.2)),
    "pinv hermitian": lambda a: np.linalg.pinv(a, hermitian=True),
    "matrix_power": lambda a: np.linalg.matrix_power(a, 3),
    "matrix_power 0": lambda a: np.linalg.matrix_power(a, 0),
    "cond": np.linalg.cond,
    "cond fro": lambda a: np.linalg.cond(a, "fro"),
    "cond inf": lambda a: np.linalg.cond(a, np.inf),
    "norm": np.linalg.norm,
    "matrix_norm": np.linalg.matrix_norm,
    "matrix_norm nuc": lambda a: np.linalg.matrix_norm(a, ord="nuc", keepdims=True),
    "vector_norm": lambda a: np.linalg.vector_norm(a, axis=-1),
    "trace": np.linalg.trace,
    "diagonal": np.linalg.diagonal,
    "matrix_transpose": np.linalg.matrix_transpose,
    "matmul": lambda a: np.linalg.matmul(a, a),
    "solve": lambda a: np.linalg.solve(a, a[..., :2]),
    "outer": lambda a: np.linalg.outer(a.reshape(-1), a.reshape(-1)),
    "cross": lambda a: np.linalg.cross(a, a * a),
    "vecdot": lambda a: np.linalg.vecdot(a, a),
    "tensordot": lambda a: np.linalg.tensordot(a, a, axes=((-1,), (-1,))),
}


def parts(y):
    return tuple(y) if isinstance(y, tuple) else (y,)


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (0,)])
@pytest.mark.parametrize("name", ONE)
def test_values_and_dtypes(rng, name, lead, dtype):
    a = positive(rng, *lead, 3, 3, dtype=dtype)
    f = ONE[name]
    expected, found = f(a), f(dif.tensor(a, requires_grad=True))
    if name in ("eig", "eigvals"):  # always complex, as in the array API standard
        expected = tuple(x.astype(np.result_type(x, np.complex64)) for x in parts(expected))
        expected = type(f(a))(*expected) if name == "eig" else expected[0]
    assert type(found) is type(expected) or isinstance(found, dif.Tensor)
    single = REAL[dtype] is np.float32
    for ours, theirs in zip(parts(found), parts(expected), strict=True):
        assert isinstance(ours, dif.Tensor)
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        if name in ("eig", "eigh", "svd", "svd thin", "svd hermitian") and theirs.ndim == a.ndim:
            ours, theirs = np.abs(ours), np.abs(theirs)  # signs and phases
        np.testing.assert_allclose(
            ours.detach().numpy(), theirs, rtol=2e-3 if single else 1e-10, atol=1e-3 if single else 1e-11
        )
    a = dif.tensor(a, requires_grad=True)
    loss = sum(np.sum(np.abs(y)) for y in parts(f(a)) if y.requires_grad)
    if name in ("matrix_power 0",):
        return
    loss.backward()
    assert a.grad.dtype == dtype
    assert a.grad.shape == a.shape
    assert np.isfinite(a.grad.numpy()).all()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_closed_forms_of_ill_conditioned_stacks(rng, n):
    """Matrices near singularity in a stack go to LAPACK and keep their digits; exactly singular ones raise."""
    a = square(rng, 20, n, n)
    a[3] *= 1e-120
    a[5] *= 1e90
    if n > 1:
        a[7, 0] = a[7, 1] + 1e-9 * rng.standard_normal(n)
    t, b = dif.tensor(a), rng.standard_normal((20, n, 2))
    np.testing.assert_allclose(np.linalg.inv(t).numpy(), np.linalg.inv(a), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.solve(t, b).numpy(), np.linalg.solve(a, b), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.det(t).numpy(), np.linalg.det(a), rtol=1e-6)
    good = np.delete(np.arange(20), 7)
    np.testing.assert_allclose(np.linalg.inv(t).numpy()[good], np.linalg.inv(a)[good], rtol=1e-11, atol=0)
    a[4] = 0
    for f in (np.linalg.inv, lambda x: np.linalg.solve(x, b)):
        with pytest.raises(np.linalg.LinAlgError, match="Singular"):
            f(dif.tensor(a))
    assert np.linalg.det(dif.tensor(a)).numpy()[4] == 0


def test_integers(rng):
    a = np.array([[2, 1], [1, 3]])
    np.testing.assert_allclose(np.linalg.inv(dif.asarray(a)).numpy(), np.linalg.inv(a))
    np.testing.assert_allclose(dif.grad(lambda a: np.linalg.det(a))(a), [[3, -1], [-1, 2]])
    assert np.linalg.norm(dif.asarray(a)).dtype == np.float64
    b = np.array([1.0, 2.0])
    np.testing.assert_allclose(dif.grad(lambda b: np.linalg.solve(a, b).sum())(b), np.linalg.solve(a.T, np.ones(2)))


def test_mixed_dtypes(rng):
    a = square(rng, 3, 3, dtype=np.float32)
    for dtype in (np.float64, np.complex64, np.complex128):
        b = square(rng, 3, 3, dtype=dtype)
        y, pull = dif.vjp(np.linalg.solve, a, b)
        assert y.dtype == np.linalg.solve(a, b).dtype
        assert [g.dtype for g in pull(y)] == [a.dtype, b.dtype]


def test_lists_of_tensors(rng):
    t = dif.tensor(2.0, requires_grad=True)
    linalg.det([[t, 1.0], [0.0, t]]).backward()
    assert float(t.grad) == 4.0
    assert linalg.norm([3.0 * t, 4.0 * t]).item() == 10.0


def test_plain_arrays_stay_plain(rng):
    a = positive(rng, 3, 3)
    for f in (
        linalg.inv,
        linalg.det,
        linalg.eigh,
        linalg.svd,
        linalg.expm,
        linalg.sqrtm,
        linalg.logm,
        linalg.norm,
        linalg.qr,
    ):
        for y in parts(f(a)):
            assert not isinstance(y, dif.Tensor)
    assert type(linalg.eigh(a)) is type(np.linalg.eigh(a))
    assert type(linalg.eigh(dif.tensor(a))) is type(np.linalg.eigh(a))
    assert int(linalg.matrix_rank(dif.tensor(a))) == 3


@pytest.mark.parametrize("name", sorted(set(np.linalg.__all__) - {"LinAlgError"}))
def test_every_name_is_ours_with_numpys_arguments(name):
    import inspect

    ours, theirs = getattr(linalg, name), getattr(np.linalg, name)
    assert ours.__doc__
    wanted = inspect.signature(theirs).parameters
    body = getattr(ours, "body", None) or ours
    found = inspect.signature(getattr(getattr(body, "primitive", None), "forward", body)).parameters
    if "args" not in found and name not in ("det", "inv", "slogdet"):
        assert [p for p in found if p in wanted] == list(wanted)


def test_array_api_arguments(rng):
    a = dif.tensor(positive(rng, 3, 3))
    np.testing.assert_allclose(linalg.cholesky(a, upper=True).numpy(), np.linalg.cholesky(a.numpy(), upper=True))
    with pytest.raises(ValueError, match="UPLO"):
        np.linalg.eigh(a, "X")


@pytest.mark.parametrize(
    "call",
    [
        lambda a: np.linalg.inv(a[:2]),
        lambda a: np.linalg.inv(a[0]),
        lambda a: np.linalg.det(a[:2]),
        lambda a: np.linalg.cholesky(-a),
        lambda a: np.linalg.solve(a, a[:2]),
        lambda a: np.linalg.eigh(a[:2]),
        lambda a: np.linalg.eig(a[:2]),
        lambda a: np.linalg.svd(a[0]),
        lambda a: np.linalg.qr(a, "other"),
        lambda a: np.linalg.norm(a, "other"),
        lambda a: np.linalg.norm(a, 3),
        lambda a: np.linalg.norm(a[0], "fro", axis=0),
        lambda a: np.linalg.norm(a, axis=5),
        lambda a: np.linalg.norm(a, axis=(0, 0)),
        lambda a: np.linalg.matrix_power(a, 1.5),
        lambda a: np.linalg.matrix_power(a[:2], 2),
        lambda a: np.linalg.inv(a * 0),
        lambda a: np.linalg.multi_dot([a]),
        lambda a: np.linalg.lstsq(a[0], a),
        lambda a: np.linalg.pinv(a, rcond=0.1, rtol=0.1),
        lambda a: np.linalg.cross(a[:, :2], a[:, :2]),
        lambda a: np.linalg.outer(a, a),
        lambda a: np.linalg.tensorinv(a, ind=0),
    ],
)
def test_errors_are_numpys(rng, call):
    a = positive(rng, 3, 3)
    with pytest.raises(Exception) as theirs:  # noqa: PT011, B017 - whatever NumPy raises
        call(a)
    with pytest.raises(theirs.type):
        call(dif.tensor(a, requires_grad=True))


def test_qr_raw_has_no_derivative(rng):
    a = positive(rng, 3, 3)
    for ours, theirs in zip(np.linalg.qr(dif.tensor(a), "raw"), np.linalg.qr(a, "raw"), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), theirs)
    with pytest.raises(dif.errors.MissingDerivativeError, match="raw"):
        np.linalg.qr(dif.tensor(a, requires_grad=True), "raw")


def test_against_scipy(rng):
    scipy = pytest.importorskip("scipy.linalg")
    a = rng.standard_normal((5, 6, 6))
    np.testing.assert_allclose(linalg.expm(a * 10), scipy.expm(a * 10), rtol=1e-8)
    tiny = a * np.array([1e-8, 1e-3, 1.0, 10.0, 30.0])[:, None, None]  # one stack, many scalings
    for ours, m in zip(linalg.expm(tiny), tiny, strict=True):
        np.testing.assert_allclose(ours, scipy.expm(m), rtol=1e-9, atol=1e-12 * np.abs(ours).max())
    b = a[0] @ a[0].T + np.eye(6)
    np.testing.assert_allclose(linalg.logm(b), scipy.logm(b), atol=1e-11)
    np.testing.assert_allclose(linalg.sqrtm(b), scipy.sqrtm(b), atol=1e-11)
    np.testing.assert_allclose(linalg.funm(b, np.sin), scipy.sinm(b), atol=1e-8)
    np.testing.assert_allclose(linalg.funm(a[0], np.cosh), scipy.coshm(a[0]), rtol=1e-8, atol=1e-8)


def test_importing_costs_nothing():
    """SciPy is imported by the functions that need it, when they are called."""
    code = (
        "import sys, difftensor.linalg, difftensor.fft; sys.exit(any(m.split('.')[0] == 'scipy' for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_arguments_of_our_own_functions(rng):
    a = positive(rng, 3, 3)
    for call, words in [
        (lambda: linalg.spectral_projector(a), "give one of"),
        (lambda: linalg.spectral_projector(a, (0, 1), (0, 1)), "give one of"),
        (lambda: linalg.spectral_projector(a, subset_by_index=(1, 3)), "not within"),
        (lambda: linalg.polar(a, "middle"), "side"),
        (lambda: linalg.svd(a, degenerate="no"), "degenerate"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(np.linalg.LinAlgError, match="square"):
        linalg.expm(a[:2])
    with pytest.raises(np.linalg.LinAlgError, match="share an eigenvalue"):
        linalg.solve_sylvester(np.eye(2), -np.eye(2), np.ones((2, 2)))
    everything = linalg.spectral_projector(a, subset_by_value=(-np.inf, np.inf))
    np.testing.assert_allclose(everything, np.eye(3), atol=1e-14)
    # All or nothing selected: a constant.
    for interval in ((-np.inf, np.inf), (1e9, 2e9)):
        f = lambda a, interval=interval: np.sum(linalg.spectral_projector(a, subset_by_value=interval))  # noqa: E731
        np.testing.assert_allclose(dif.grad(f)(a), 0, atol=1e-14)
    for f in (linalg.expm, linalg.logm, linalg.sqrtm, lambda a: linalg.funm(a, np.exp), lambda a: linalg.polar(a)[0]):
        for shape in ((0, 0), (0, 3, 3), (2, 0, 0)):
            y, pull = dif.vjp(f, np.zeros(shape))
            assert y.shape == pull(np.zeros(shape))[0].shape == shape


@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize("n", [3, 150])
@pytest.mark.parametrize("trans", [0, 1, 2])
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("unit", [False, True])
def test_solve_triangular_is_scipys(rng, dtype, n, trans, lower, unit):
    import scipy.linalg

    a = rng.standard_normal((n, n)).astype(dtype) / n + 3 * np.eye(n)
    if dtype is complex:
        a = a + 1j * rng.standard_normal((n, n)) / n
    for b in (rng.standard_normal(n).astype(dtype), rng.standard_normal((n, 2)).astype(dtype)):
        expected = scipy.linalg.solve_triangular(a, b, trans, lower, unit_diagonal=unit)
        for found in (
            linalg.solve_triangular(a, b, trans, lower, unit),
            linalg.solve_triangular(dif.asarray(a), dif.asarray(b), trans, lower, unit).numpy(),
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_solve_triangular_has_derivatives_and_reads_one_triangle(rng):
    from difftensor.testing import check_grads

    a, b = rng.standard_normal((4, 4)) + 4 * np.eye(4), rng.standard_normal(4)
    for lower in (False, True):
        for trans in (0, 1):
            for unit in (False, True):
                check_grads(lambda a, b: linalg.solve_triangular(a, b, trans, lower, unit), (a, b), order=2)  # noqa: B023
    g = dif.grad(lambda a: np.sum(linalg.solve_triangular(a, b, lower=True)))(a)
    assert not np.triu(g, 1).any()
    with pytest.raises(np.linalg.LinAlgError):
        linalg.solve_triangular(np.zeros((150, 150)), np.ones(150))
    with pytest.raises(ValueError, match="do not fit"):
        linalg.solve_triangular(np.eye(3), np.ones(2))
