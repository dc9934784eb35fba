"""CUDA graphs: a captured function gives what the function gives, and says what has no place in a graph."""

import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import DeviceError, MissingDerivativeError
from tests.cuda.agreement import assert_agree, fetch, send


def loss(w, a, b):
    return ((np.tanh(a @ w) - b) ** 2).mean()


def data(device, rng):
    return tuple(send(rng.standard_normal(shape), device) for shape in ((4,), (16, 4), (16,)))


def test_a_training_step(device, rng):
    w, a, b = data(device, rng)
    runs = []

    def step(state, a, b):
        runs.append(1)
        w, m = state["w"], state["m"]
        value, g = dif.value_and_grad(loss)(w, a, b)
        m = 0.9 * m + g
        return {"w": w - 0.1 * m, "m": m}, value

    replayed = dif.cuda.graph(step)
    here = there = {"w": w, "m": dif.zeros_like(w)}
    for _ in range(20):
        here, expected = step(here, a, b)
        there, value = replayed(there, a, b)
        np.testing.assert_allclose(fetch(value), fetch(expected), rtol=1e-12)
    np.testing.assert_allclose(fetch(there["w"]), fetch(here["w"]), rtol=1e-12)
    assert there["w"].device == device and len(runs) == 20 + 2  # once as always, once into the graph


def test_results_are_copies_and_arguments_are_left_alone(device):
    @dif.cuda.graph
    def f(x):
        x += 1
        return x, 2 * x

    x = send(np.zeros(3), device)
    y, z = f(x)
    f(send(np.ones(3), device))
    assert (fetch(x) == 0).all() and (fetch(y) == 1).all() and (fetch(z) == 2).all()


def test_each_shape_dtype_and_value_has_its_graph(device):
    calls = []

    @dif.cuda.graph
    def f(x, power, scale=None):
        calls.append((x.shape, str(x.dtype), power))
        return {"y": x**power, "name": "f"}

    for x, power in ((np.ones(3), 2), (np.ones(4), 2), (np.ones(3, np.float32), 2), (np.ones(3), 3), (np.ones(3), 2)):
        found = f(send(2 * x, device), power)
        assert found["name"] == "f" and found["y"].dtype == x.dtype and (fetch(found["y"]) == 2**power).all()
    assert len(calls) == 2 * 4
    for k in range(20):
        f(send(np.ones(3), device), k)
    f(send(np.ones(3), device), 19)
    assert len(calls) == 2 * (4 + 18)  # of which the last 8 are kept


def test_what_is_read_from_outside_is_a_constant_and_stays_alive(device):
    hold = [send(np.full(3, 2.0), device)]
    f = dif.cuda.graph(lambda x: x * hold[0])
    x = send(np.arange(3.0), device)
    assert (fetch(f(x)) == 2 * np.arange(3)).all()
    hold[0] = send(np.full(3, 5.0), device)
    junk = [send(np.full(3, 7.0), device) for _ in range(10)]
    assert (fetch(f(x)) == 2 * np.arange(3)).all() and len(junk) == 10


def test_one_launch(request, device, rng):
    if request.config.getoption("--device") == "cuda":
        pytest.skip("launches are counted on the stand-in")
    from tests.standin import copies, launches

    w, a, b = data(device, rng)
    f = dif.cuda.graph(lambda w: w - 0.1 * dif.grad(loss)(w, a, b))
    f(w)
    before = launches.count
    copies.reset()
    w = f(w)
    assert launches.count - before == 3 and copies.to_host == copies.to_device == 0  # in, graph, out


def test_repeated_indices(device):
    i = send(np.array([0, 2, 2]), device)
    x = send(np.arange(1.0, 4), device)
    for flag in (True, False):
        g = dif.cuda.graph(dif.grad(lambda x: (x[i] ** 2).sum()))
        with dif.cuda.deterministic(flag):
            for _ in range(2):
                assert (fetch(g(x)) == [2, 0, 12]).all()


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * x.sum().item(),
        lambda x: x if x[0] > 0 else -x,
        lambda x: x[x > 0].sum(),
        lambda x: x + np.asarray([1.0, 2.0, 3.0])[[0, 1, 2]].tolist()[0] * float(x[0]),
        lambda x: dif.nonzero(x)[0] + 0 * x,
        lambda x: x * dif.asarray([1.0, 2.0, 3.0], device=x.device),
        lambda x: x.to_device("cpu").to_device(x.device),
    ],
    ids=["item", "branch", "mask", "float", "nonzero", "list", "there and back"],
)
def test_what_waits_raises_and_says_so(f, device):
    g = dif.cuda.graph(f)
    x = send(np.ones(3), device)
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"dif.cuda.graph: .* waits for the GPU, or moves data"):
            g(x)
    assert (fetch(x * 2) == 2).all()  # nothing is left behind


def test_an_error_of_the_function_is_its_own(device):
    with pytest.raises(ValueError, match="could not be broadcast"):
        dif.cuda.graph(lambda x: x + x[:2])(send(np.ones(3), device))


def test_tracked_and_foreign_arrays_are_refused(device):
    x = send(np.ones(3), device)
    f = dif.cuda.graph(lambda x: x * 2)
    w = x.copy().requires_grad_()
    with pytest.raises(MissingDerivativeError, match=r"argument .* is tracked, and a graph keeps no tape"):
        f(w)
    with dif.no_grad():
        assert (fetch(f(w)) == 2).all()
    with pytest.raises(MissingDerivativeError, match="result .* is tracked"):
        dif.cuda.graph(lambda x: x * w)(x)
    with pytest.raises(DeviceError, match="argument .* is on the CPU"):
        dif.cuda.graph(lambda x, y: x)(x, np.ones(3))
    with pytest.raises(DeviceError, match="result .* is on the CPU"):
        dif.cuda.graph(lambda x: np.ones(3))(x)


def test_without_arrays_on_a_gpu_it_is_the_function(device):
    f = dif.cuda.graph(lambda x: x * 2)
    assert f(3) == 6 and (f(np.ones(2)) == 2).all()
    x = dif.tensor(np.ones(3), requires_grad=True)
    f(x).sum().backward()
    assert (x.grad.numpy() == 2).all()


def test_graphs_in_graphs_and_in_vmap(device):
    f = dif.cuda.graph(lambda x: np.sin(x) * 2)
    g = dif.cuda.graph(lambda x: f(x) + 1)
    x = send(np.linspace(0, 1, 4), device)
    for _ in range(2):
        np.testing.assert_allclose(fetch(g(x)), 2 * np.sin(fetch(x)) + 1, rtol=1e-12)
        np.testing.assert_allclose(fetch(dif.vmap(f)(x)), 2 * np.sin(fetch(x)), rtol=1e-12)


def test_looks_happen_in_the_first_run(device):
    f = dif.cuda.graph(dif.linalg.cholesky)
    stack = np.tile(4 * np.eye(3), (5, 1, 1))
    with pytest.raises(np.linalg.LinAlgError):
        f(send(-stack, device))
    assert np.allclose(fetch(f(send(stack, device))), stack / 2)
    assert np.isnan(fetch(f(send(-stack, device)))).any()  # later nobody looks
    g = dif.cuda.graph(dif.grad(lambda x: (np.sin(x) * x).sum()))
    x = send(np.linspace(0, 1, 4), device)
    for _ in range(2):
        np.testing.assert_allclose(fetch(g(x)), np.sin(fetch(x)) + fetch(x) * np.cos(fetch(x)), rtol=1e-12)


def square(y):
    return (y * y).sum()


STACKED = {
    "matrix and matrix": (lambda a, b: a @ b, (5, 5), (5, 4)),
    "transposed": (lambda a, b: b.T @ a.T, (5, 5), (5, 4)),
    "matrix and vector": (lambda a, b: a @ b, (5, 5), (5,)),
    "stacks": (lambda a, b: a @ b, (6, 3, 3), (6, 3, 2)),
    "a stack and a matrix": (lambda a, b: a @ b, (6, 3, 3), (3, 2)),
    "einsum": (lambda a, b: np.einsum("nij,njk->ik", a, b), (6, 3, 3), (6, 3, 2)),
    "solve": (lambda a, b: dif.linalg.solve(a, b), (5, 5), (5, 4)),
    "solve one vector": (lambda a, b: dif.linalg.solve(a, b), (5, 5), (5,)),
    "solve small stacks": (lambda a, b: dif.linalg.solve(a, b), (6, 3, 3), (6, 3, 2)),
    "solve stacks": (lambda a, b: dif.linalg.solve(a, b), (2, 5, 5), (2, 5, 1)),
    "inv and det": (lambda a, b: dif.linalg.inv(a) @ b * dif.linalg.det(a)[:, None, None], (6, 3, 3), (6, 3, 2)),
    "cholesky": (lambda a, b: dif.linalg.cholesky(a @ np.conj(np.swapaxes(a, 1, 2))) @ b, (6, 3, 3), (6, 3, 2)),
}


@pytest.mark.parametrize("dtype", [np.float64, np.complex128, np.float32])
@pytest.mark.parametrize("name", STACKED)
def test_products_and_systems(name, dtype, device, rng):
    f, *shapes = STACKED[name]

    def draw(shape):
        x = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if dtype is np.complex128 else 0)
        return (x + 4 * np.eye(shape[-1]) if shape[-1] == shape[-2:][0] and len(shape) > 1 else x).astype(dtype)

    gradient = dif.grad(lambda a, b: square(abs(f(a, b))), argnums=(0, 1))
    graphs = dif.cuda.graph(f), dif.cuda.graph(gradient)
    for _ in range(3):
        arrays = [draw(shape) for shape in shapes]
        there = [send(a, device) for a in arrays]
        here = [dif.tensor(a) for a in arrays]
        assert_agree(graphs[0](*there), f(*here), device, name)
        assert_agree(graphs[1](*there), gradient(*here), device, name)


def test_cusolver_has_no_place_in_a_graph(device):
    x = send(np.eye(5) + 1, device)
    for f in (dif.linalg.eigh, dif.linalg.svd, dif.linalg.qr, dif.linalg.cholesky):
        with pytest.raises(DeviceError, match=r"dif.cuda.graph: .* calls cuSOLVER, .* hand its factors in"):
            dif.cuda.graph(f)(x)
    assert (fetch(x * 1) == fetch(x)).all()


def test_transforms_keep_their_plans(device, rng):
    """CuPy destroys plans that were not used lately; those of a graph stay."""
    x = rng.standard_normal((4, 8))
    f = dif.cuda.graph(lambda x: square(abs(dif.fft.fft2(x))) * dif.fft.irfft(dif.fft.rfft(x)))
    f(send(x, device))
    for n in range(3, 40):
        dif.fft.fft(send(np.ones(n), device))
    assert_agree(f(send(2 * x, device)), dif.tensor(8 * square(abs(np.fft.fft2(x))) * x), device, "fft")
