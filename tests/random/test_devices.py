"""The same draws on a GPU, none by way of the host: on the stand-in, or with ``--device=cuda`` on the real one."""

import pickle

import numpy as np
import pytest

import difftensor as dif
from difftensor._backend import philox
from difftensor.errors import DeviceError

CALLS = {
    "random": (), "standard_normal": (), "standard_exponential": (), "standard_cauchy": (), "uniform": (1.0, 2.0),
    "normal": (1.0, 2.0), "laplace": (), "logistic": (), "gumbel": (), "exponential": (2.0,), "lognormal": (0.0, 0.5),
    "rayleigh": (2.0,), "weibull": (1.5,), "pareto": (1.5,), "power": (1.5,), "triangular": (0.0, 1.0, 3.0),
    "standard_gamma": (2.5,), "gamma": (0.5, 2.0), "chisquare": (3.0,), "f": (3.0, 5.0), "standard_t": (3.0,),
    "beta": (0.5, 2.0), "noncentral_chisquare": (3.0, 2.0), "noncentral_f": (3.0, 5.0, 2.0), "wald": (1.0, 2.0),
    "vonmises": (0.0, 2.0), "integers": (5, 1000), "poisson": (3.0,), "binomial": (10, 0.4),
    "negative_binomial": (3.0, 0.4), "geometric": (0.3,), "logseries": (0.5,), "zipf": (2.5,),
    "hypergeometric": (5, 6, 7), "choice": (1000,),
}  # fmt: skip
LARGE = {
    "poisson": (30.0,), "binomial": (100, 0.4), "integers": (0, 2**40), "noncentral_chisquare": (0.5, 2.0),
    "vonmises": (0.0, 1e7), "standard_gamma": (40.0,),
}  # fmt: skip
ARRAYS = {
    "normal": (np.arange(5.0), np.ones(5)), "gamma": (np.array([0.5, 1.0, 2.0, 3.0, 4.0]), 1.0),
    "poisson": (np.array([1.0, 5.0, 20.0, 30.0, 3.0]),), "binomial": (np.array([1, 5, 200, 30, 3]), 0.4),
    "integers": (np.arange(5), np.arange(5) + 9), "vonmises": (0.0, np.array([0.0, 1.0, 2.0, 3.0, 1e7])),
    "hypergeometric": (np.arange(5), 5, 2), "multinomial": (5, np.array([0.1, 0.2, 0.7])),
    "dirichlet": (np.array([0.1, 2.0, 3.0]),), "noncentral_chisquare": (np.array([0.5, 2.0]), 1.0),
    "choice": (np.arange(7.0), 3), "permutation": (np.arange(9.0),), "permuted": (np.arange(6.0),),
    "multivariate_normal": (np.zeros(2), np.eye(2)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def kernel(request, monkeypatch):
    """On the stand-in, which compiles nothing, the words of NumPy's Philox in the place of the kernel's."""
    if "device" not in request.fixturenames or request.config.getoption("--device") == "cuda":
        return
    request.getfixturevalue("device")
    import cupy

    def stand_in(k0, k1, first, lane, w, size):
        source = np.random.Philox(key=np.array([k0, k1]), counter=np.array([first - np.uint64(1), 0, 0, lane]))
        w[...] = cupy.asarray(source.random_raw(4 * size))

    if "array_code" not in request.node.name:
        monkeypatch.setattr(philox, "_kernel", lambda: stand_in)


def host(y):
    return y.detach().to_device("cpu").numpy()


def assert_agree(there, here, place, rtol=1e-13):
    """The same bits of integers, and ulps of the rest."""
    assert isinstance(there, dif.Tensor) and there.device == place
    assert (there.shape, there.dtype) == (here.shape, here.dtype)
    if here.dtype.kind == "f":
        np.testing.assert_allclose(host(there), here.numpy(), rtol=rtol, atol=0.1 * rtol)
    else:
        np.testing.assert_array_equal(host(there), here.numpy())


def copies_of(device):
    """How many arrays the stand-in brought to the host."""
    from tests.standin import copies

    return copies.to_host


@pytest.mark.parametrize("name, args", [*CALLS.items(), *LARGE.items()], ids=str)
@pytest.mark.parametrize("size", [None, 1001])
def test_draws(name, args, size, device):
    here, there = dif.random.default_rng(3), dif.random.default_rng(3, device=device)
    before = copies_of(device)
    y = getattr(there, name)(*args, size=size)
    assert copies_of(device) == before, "something went to the host"
    loss = 1e-9 if name == "vonmises" else 1e-12  # an arc cosine near 1 loses half of the digits
    assert_agree(y, getattr(here, name)(*args, size=size), device, loss)
    assert here.state == there.state


def test_words_by_array_code(device):
    """Where there is no kernel."""
    w = philox.words((3, 4), 5, 50, dif.device(device))
    assert (w.get() == philox.words_in_a_row(np, (3, 4), 5, 50)).all()


def test_normals_differ_by_ulps(device):
    here, there = (dif.random.default_rng(5, device=d).standard_normal(20_000) for d in ("cpu", device))
    np.testing.assert_allclose(host(there), here.numpy(), rtol=5e-15)


@pytest.mark.parametrize("name", ["random", "uniform"])
def test_uniform_numbers_are_the_same_bits(name, device):
    for dtype in (np.float64, np.float32)[: 2 if name == "random" else 1]:
        keywords = {"dtype": dtype} if name == "random" else {}
        here, there = (
            getattr(dif.random.default_rng(9, device=d), name)(size=5000, **keywords) for d in ("cpu", device)
        )
        np.testing.assert_array_equal(host(there), here.numpy())


@pytest.mark.parametrize("name", ARRAYS)
def test_parameters_on_the_device(name, device):
    args = ARRAYS[name]
    there = [dif.asarray(a, device=device) if isinstance(a, np.ndarray) else a for a in args]
    before = copies_of(device)
    y = getattr(dif.random.default_rng(3, device=device), name)(*there)
    assert copies_of(device) == before, "something went to the host"
    assert_agree(y, getattr(dif.random.default_rng(3), name)(*args), device, 1e-9 if name == "vonmises" else 1e-12)


def test_permutations(device):
    assert_agree(
        dif.random.default_rng(3, device=device).permutation(100), dif.random.default_rng(3).permutation(100), device
    )
    k = [dif.random.default_rng(3, device=d).choice(100, 5, replace=False) for d in ("cpu", device)]
    assert_agree(k[1], k[0], device)


def test_gradients_stay_on_the_device(device):
    for draw in (
        lambda g, a: g.normal(a, a, 50), lambda g, a: g.gamma(a, 2.0, 50), lambda g, a: g.vonmises(0.0, a, 50),
        lambda g, a: g.wald(a, 1.0, 50), lambda g, a: g.beta(a, 2.0, 50), lambda g, a: g.weibull(a, 50),
    ):  # fmt: skip
        g = [
            dif.grad(lambda a, d=d, draw=draw: draw(dif.random.default_rng(1, device=d), a).sum())(
                dif.tensor(1.3, device=d)
            )
            for d in ("cpu", device)
        ]
        assert_agree(g[1], g[0], device, 1e-8)


def test_a_state_goes_on_elsewhere(device):
    here = dif.random.default_rng(5)
    here.normal(size=7)
    there = dif.random.default_rng(0, device=device)
    there.state = here.state
    assert_agree(there.normal(size=7), here.normal(size=7), device)
    shared = dif.random.default_rng(here, device=device)
    assert shared.device == device and shared.bit_generator is here.bit_generator
    assert [g.device for g in there.spawn(2)] == [device, device]
    assert pickle.loads(pickle.dumps(there)).device == device


def test_the_default_device(device):
    with dif.default_device(device):
        rng = dif.random.default_rng(0)
    assert rng.device == device and rng.normal(size=2).device == device


def test_nothing_moves_by_itself(device):
    here, there = dif.random.default_rng(0), dif.random.default_rng(0, device=device)
    a, b = dif.asarray([1.0, 2.0]), dif.asarray([1.0, 2.0], device=device)
    for draw in (lambda g, v: g.normal(v, 1.0), lambda g, v: g.poisson(v), lambda g, v: g.standard_gamma(v)):
        for g, v in ((here, b), (there, a)):
            with pytest.raises(DeviceError, match="to_device"):
                draw(g, v)


def test_what_is_not_allowed_becomes_nan_without_a_look(device):
    rng = dif.random.default_rng(0, device=device)
    y = host(rng.normal(0.0, dif.asarray([1.0, -1.0], device=device)))
    assert np.isfinite(y[0]) and np.isnan(y[1])
    with pytest.raises(ValueError, match="scale < 0"):
        rng.normal(0.0, -1.0)


def test_vmap_on_the_device(device):
    v = np.array([0.5, 1.0, 20.0])
    for draw in (lambda g, v: g.normal(v, 1.0, 4), lambda g, v: g.gamma(v, 1.0, 4), lambda g, v: g.poisson(v, 4)):
        y = []
        for d in ("cpu", device):
            rng = dif.random.default_rng(2, device=d)
            y.append(dif.vmap(lambda v, g=rng, draw=draw: draw(g, v))(dif.asarray(v, device=d)))
        assert_agree(y[1], y[0], device)


def test_the_other_gpu(device):
    """Draws run on the generator's GPU, whichever CuPy works on."""
    if dif.cuda.device_count() < 2:
        pytest.skip("one GPU")
    rng = dif.random.default_rng(3, device="cuda:1")
    for name, args in CALLS.items():
        here = getattr(dif.random.default_rng(3), name)(*args, size=20)
        rng.state = dif.random.default_rng(3).state
        assert_agree(getattr(rng, name)(*args, size=20), here, "cuda:1", 1e-9)


def test_without_a_gpu():
    from importlib.util import find_spec

    if find_spec("cupy") is not None:
        pytest.skip("CuPy is installed")
    with pytest.raises(DeviceError, match="CuPy"):
        dif.random.default_rng(0, device="cuda")


def test_dropout_draws_where_the_activations_are(device):
    from difftensor import nn

    rng = dif.random.default_rng(0, device=device)
    net = nn.Sequential(nn.Linear(3, 8, rng=rng, device=device), nn.Dropout(0.5, rng=rng))
    x = rng.normal(size=(5, 3))
    before = copies_of(device)
    y = net(x)
    assert copies_of(device) == before and y.device == device
