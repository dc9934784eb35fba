"""Programs on the device: writes, views, nesting, transformations, training; and what crosses to the host."""

import numpy as np
import pytest

import difftensor as dif
import tests.test_random_programs as random_programs
from tests.cuda.agreement import assert_agree, assert_derivatives_agree, fetch, send

pytestmark = pytest.mark.usefixtures("device")


@pytest.fixture(autouse=True)
def lists_as_indices(monkeypatch):
    """An ndarray is no index of an array on a GPU; a list is."""
    one = list(random_programs.ONE)
    one[8] = lambda a: a[[0, -1, 0]] if a.ndim else a
    monkeypatch.setattr(random_programs, "ONE", one)


@pytest.mark.parametrize("seed", range(60))
def test_random_programs(seed, device):
    rng = np.random.default_rng(seed)
    xs = tuple(np.asarray(rng.standard_normal(s)) for s in random_programs.SHAPES[seed % len(random_programs.SHAPES)])
    assert_derivatives_agree(random_programs.program(seed), xs, device)


def repeated_writes(x):
    """The last of the values that are written to one place stays, and only it has a derivative."""
    y = dif.zeros(4, x.dtype, device=x.device)
    i = dif.asarray([1, 3, 1, 1], device=x.device)
    y[i] = x[:4] * 2
    y[i] += x[1:] ** 2
    return y


def filled_row_by_row(x):
    u = dif.zeros((5, 5), x.dtype, device=x.device)
    u[0] = x
    for k in range(4):
        u[k + 1] = u[k] + 0.1 * np.sin(u[k]) * u[k].mean()
    return u


def strided_views(x):
    u = np.outer(x, x)
    v = u.T[::2, 1:]
    v *= 2.0
    u[..., 0] -= v.sum()
    return u


def masked(x):
    y = x.copy()
    y[x > 0] = y[x > 0] ** 2
    return np.where(y < 1, y, 1 / y)


def swapped(x):
    y = x.copy()
    for i in range(len(y) - 1):
        y[i], y[i + 1] = y[i + 1], y[i]
    return y


def accumulated(x):
    total = x.sum()
    first = total
    for k in range(3):
        total += x[k]  # rebinds, as a number does
    return first * total


def added_at(x):
    y = dif.zeros(3, x.dtype, device=x.device)
    np.add.at(y, dif.asarray([0, 2, 0, 0, 1], device=x.device), x)
    return y


def gathered(x):
    i = dif.asarray([[0, 1], [4, 0], [0, 0]], device=x.device)
    return x[i].sum(axis=1) * x[[2, 2, 3]]


def diagonal_written(x):
    y = np.outer(x, x)
    np.fill_diagonal(y, x * 3)
    return y


PROGRAMS = [
    repeated_writes, filled_row_by_row, strided_views, masked, swapped, accumulated, added_at, gathered,
    diagonal_written,
]  # fmt: skip
X = np.array([0.3, -1.2, 0.8, 1.7, -0.4])


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", [float, complex, np.float32])
def test_writes_and_views(f, dtype, device):
    if f is masked and dtype is complex:
        x = np.abs(X)
    else:
        x = (X * (1 + 0.5j)).astype(dtype) if dtype is complex else X.astype(dtype)
    assert_agree(f(send(x, device)), f(dif.tensor(x)), device, f.__name__)
    assert_derivatives_agree(f, (x,), device, order=2 if dtype is float else 1)


TRANSFORMED = {
    "grad of grad": lambda x: dif.grad(lambda x: dif.grad(lambda y: np.sum(np.sin(y) * x**3))(x).sum())(x),
    "hessian": dif.hessian(lambda x: np.sum(np.exp(x) * x[::-1])),
    "jacobian": dif.jacobian(lambda x: np.outer(np.sin(x), x)),
    "hvp": lambda x: dif.hvp(lambda x: np.sum(x**4))(x, x),
    "vmap": dif.vmap(lambda a: np.sin(a) * 2),
    "vmap of grad": dif.vmap(dif.grad(lambda a: np.sin(a) * a**2)),
    "grad of vmap": dif.grad(lambda x: dif.vmap(lambda a: np.sin(a) * a)(x).sum()),
    "linearize": lambda x: dif.linearize(lambda x: np.cumsum(np.tanh(x)), x)[1](x),
    "value_and_grad": dif.value_and_grad(lambda x: np.linalg.norm(x)),
    "checkpoint": dif.grad(lambda x: dif.checkpoint(lambda y: np.sum(np.sin(y) ** 2))(x)),
    "taylor": lambda x: dif.taylor(lambda t: np.sin(t * x), x[0], 3)[0],
    "at a kink": dif.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(np.where(x > 0, x, 0)), 0.0))),
    "norm at zero": dif.grad(lambda x: np.linalg.norm(x * 0) + x.sum()),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transformations(name, device):
    f = TRANSFORMED[name]
    assert_agree(f(send(X, device)), f(dif.tensor(X)), device, name)


def test_gradients_come_back_to_each_arguments_device(device):
    def f(a, b):
        return (a.to_device(device) * np.sin(b)).sum().to_device("cpu") * a.sum()

    a, b = dif.tensor(X), send(X, device)
    ga, gb = dif.grad(f, argnums=(0, 1))(a, b)
    assert ga.device == "cpu" and gb.device == device
    ea, eb = dif.grad(lambda a, b: (a * np.sin(b)).sum() * a.sum(), argnums=(0, 1))(X, X)
    np.testing.assert_allclose(ga.numpy(), ea, rtol=1e-13)
    np.testing.assert_allclose(fetch(gb), eb, rtol=1e-13)


def test_created_where_it_is_asked(device):
    assert dif.zeros(3, device=device).device == device
    with dif.default_device(device) as d:
        assert d == device
        made = {
            "zeros": dif.zeros(3), "arange": dif.arange(4), "linspace": dif.linspace(0, 1, 5), "eye": dif.eye(2),
            "full": dif.full(2, 0.5), "tensor": dif.tensor([1.0]), "asarray": dif.asarray([1.0]),
            "array": dif.array([[1, 2]]), "hanning": dif.hanning(4), "tri": dif.tri(3), "mgrid": dif.mgrid[0:3],
            "geomspace": dif.geomspace(1, 8, 4), "identity": dif.identity(3), "fftfreq": dif.fft.fftfreq(4),
        }  # fmt: skip
        assert {name: str(x.device) for name, x in made.items()} == dict.fromkeys(made, device)
        shared = np.ones(3)
        assert dif.asarray(shared).device == "cpu" and dif.zeros_like(dif.asarray(shared)).device == "cpu"
        g = dif.grad(lambda x: np.sum(x**2))(shared)  # what is on the CPU stays there
        assert isinstance(g, np.ndarray)
    assert dif.zeros(3).device == "cpu"


def test_scattered_sums_are_the_same_every_time(device):
    rng = np.random.default_rng(0)
    i = rng.integers(0, 50, 2000)
    x = rng.standard_normal(50).astype(np.float32)
    w = rng.standard_normal(2000).astype(np.float32)
    there, index, weights = send(x, device), send(i, device), send(w, device)
    f = dif.grad(lambda x: (x[index] * weights).sum())
    first = fetch(f(there))
    for _ in range(3):
        assert (fetch(f(there)) == first).all()
    exact = np.zeros(50)
    np.add.at(exact, i, w.astype(float))
    np.testing.assert_allclose(first, exact, rtol=1e-5, atol=1e-5)
    with dif.cuda.deterministic(False):
        np.testing.assert_allclose(fetch(f(there)), exact, rtol=1e-4, atol=1e-4)


def test_failures_of_factorizations_raise(device):
    """CuPy by itself returns what is in memory."""
    bad = send(-np.eye(3), device)
    with pytest.raises(np.linalg.LinAlgError):
        dif.linalg.cholesky(bad)
    with pytest.raises(np.linalg.LinAlgError):
        dif.linalg.inv(send(np.zeros((5, 5)), device))


def test_optimizers_on_the_device(device):
    import optim

    target = send(X, device)
    for make in (optim.SGD, optim.Adam):
        w = dif.zeros(5, device=device).requires_grad_()
        opt = make([w], lr=0.1)
        for _ in range(200):
            loss = ((w - target) ** 2).sum()
            opt.zero_grad()
            loss.backward()
            opt.step()
        assert w.device == device and w.grad.device == device
        assert abs(fetch(w) - X).max() < 1e-2


def test_windows_are_views(device):
    """CuPy's know no base: the memory tells."""
    for place in ("cpu", device):
        x = send(X.copy(), place)
        y = dif.lib.stride_tricks.sliding_window_view(x, 3)
        z = y[0] * 1.0
        x[0] = 7.0
        assert fetch(y)[0, 0] == 7.0 and fetch(z)[0] == X[0]

    def f(x):
        u = x * 2
        w = dif.lib.stride_tricks.sliding_window_view(u, 2)
        u[1] = u[0] ** 2
        return (w * w).sum()

    assert_derivatives_agree(f, (X,), device)
