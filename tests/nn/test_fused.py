"""What is written twice agrees: values and derivatives of every order, in both modes, inside vmap."""

import numpy as np
import pytest

import difftensor as dif
from difftensor import nn
from difftensor.nn import _convolution, _fused, _im2col
from difftensor.testing import check_grads

F = nn.functional


def lstm(rng, steps=4, batch=2, inputs=3, size=2):
    shapes = [(steps, batch, inputs), (batch, size), (batch, size), (4 * size, inputs), (4 * size, size), (4 * size,)]
    from difftensor.nn._lstm import lstm_sequence

    return lambda *xs: dif.concatenate([v.ravel() for v in lstm_sequence(*xs)]), [
        0.7 * rng.normal(size=s) for s in shapes
    ]


def cases(rng):
    n = lambda *s: rng.normal(size=s)
    distinct = lambda *s: rng.permutation(np.linspace(-2, 2, int(np.prod(s)))).reshape(s)
    index = rng.integers(3, size=4)
    return {
        "relu": (F.relu, [n(3, 4)]),
        "conv1d": (lambda x, w, b: F.conv1d(x, w, b, stride=2, padding=1), [n(2, 3, 6), n(2, 3, 3), n(2)]),
        "conv2d": (lambda x, w: F.conv2d(x, w, padding=(1, 0), dilation=(1, 2), groups=2),
                   [n(2, 2, 4, 5), n(4, 1, 2, 2)]),
        "conv3d": (F.conv3d, [n(1, 2, 3, 3, 2), n(2, 2, 2, 2, 2)]),
        "conv_transpose2d": (lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1),
                             [n(2, 2, 3, 3), n(2, 2, 3, 2)]),
        "max_pool2d": (lambda x: F.max_pool2d(x, 2, 1, 1), [distinct(2, 2, 4, 3)]),
        "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), [n(2, 2, 5, 4)]),
        "layer_norm": (lambda x, w: F.layer_norm(x, 5, w), [n(3, 5), n(5)]),
        "batch_norm": (lambda x: F.batch_norm(x, None, None, training=True), [n(4, 2, 3)]),
        "cross_entropy": (lambda x: F.cross_entropy(x, index), [n(4, 3)]),
        "lstm": lstm(rng),
    }  # fmt: skip


NAMES = list(cases(np.random.default_rng(0)))


@pytest.mark.parametrize("name", NAMES)
def test_derivatives(name, rng):
    f, xs = cases(rng)[name]
    check_grads(f, tuple(xs), order=2)


@pytest.mark.parametrize("name", NAMES)
def test_the_plain_form_is_the_same(name, rng, monkeypatch):
    f, xs = cases(rng)[name]
    for cached in (_convolution._correlation, _convolution._transposed):
        cached.cache_clear()
    run = lambda: dif.vjp(f, *map(dif.asarray, xs))
    y, pull = run()
    g = rng.normal(size=y.shape)
    fast = pull(dif.asarray(g))
    monkeypatch.setattr(_fused, "plain_memory", lambda x: False)
    z, pull = run()
    np.testing.assert_allclose(y, z, rtol=1e-12, atol=1e-13)
    for a, b in zip(fast, pull(dif.asarray(g))):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("cross_entropy", "lstm", "batch_norm")])
def test_inside_vmap(name, rng):
    f, (x, *rest) = cases(rng)[name]
    many = np.stack([x, 2 * x, x[::-1]])
    got = dif.vmap(lambda x: f(x, *map(dif.asarray, rest)))(dif.asarray(many))
    want = np.stack([f(dif.asarray(x), *map(dif.asarray, rest)) for x in many])
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)
    g = dif.vmap(dif.grad(lambda x: (f(x, *map(dif.asarray, rest)) ** 3).sum()))(dif.asarray(many))
    one = [dif.grad(lambda x: (f(x, *map(dif.asarray, rest)) ** 3).sum())(dif.asarray(x)) for x in many]
    np.testing.assert_allclose(g, np.stack(one), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("block", [1, 200, 1000])
def test_convolution_in_pieces(block, rng, monkeypatch):
    x, w, b = rng.normal(size=(2, 4, 9, 5)), rng.normal(size=(6, 2, 3, 2)), rng.normal(size=6)
    f = lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=1, groups=2)
    want, pull = dif.vjp(f, x, w, b)
    gs = pull(want)
    monkeypatch.setattr(_im2col, "BLOCK", block)
    got, pull = dif.vjp(f, x, w, b)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)
    for a, c in zip(pull(want), gs):
        np.testing.assert_allclose(a, c, rtol=1e-12, atol=1e-12)


def test_convolution_is_the_sum_of_its_definition(rng):
    x, w = rng.normal(size=(2, 3, 5, 6)), rng.normal(size=(4, 3, 2, 3))
    y = np.zeros((2, 4, 4, 4))
    for n, o, i, j in np.ndindex(*y.shape):
        y[n, o, i, j] = np.sum(x[n, :, i : i + 2, j : j + 3] * w[o])
    np.testing.assert_allclose(F.conv2d(dif.asarray(x), dif.asarray(w)), y, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("space, kernel", [((4000,), (900,)), ((64, 60), (31, 29))])
def test_large_kernels_go_by_fourier_transform(space, kernel, rng, monkeypatch):
    x, w = rng.normal(size=(2, 2, *space)), rng.normal(size=(3, 2, *kernel))
    f = F.conv1d if len(space) == 1 else F.conv2d
    geo = _im2col.Geometry((1,) * len(space), ((4, 4),) * len(space), (1,) * len(space), 1)
    assert _convolution.by_fft(x.shape, w.shape, geo)
    y, pull = dif.vjp(lambda x, w: f(x, w, padding=4), x, w)
    gs = pull(y)
    monkeypatch.setattr(_convolution, "FACTOR", np.inf)
    z, pull = dif.vjp(lambda x, w: f(x, w, padding=4), x, w)
    np.testing.assert_allclose(y, z, atol=1e-10)
    for a, b in zip(gs, pull(z)):
        np.testing.assert_allclose(a, b, atol=1e-8)


def test_a_transposed_convolution_is_the_transpose(rng):
    x, w, y = rng.normal(size=(2, 3, 7, 6)), rng.normal(size=(4, 3, 3, 2)), rng.normal(size=(2, 4, 3, 6))
    settings = {"stride": (2, 1), "padding": (0, 1), "dilation": (1, 2)}
    forward = F.conv2d(dif.asarray(x), dif.asarray(w), **settings)
    back = F.conv_transpose2d(dif.asarray(y), dif.asarray(w), **settings)
    np.testing.assert_allclose(float((forward * y).sum()), float((back * x).sum()), rtol=1e-12)


@pytest.mark.parametrize("make", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_plain_loop_over_cells_gives_the_same_numbers(make, rng):
    layer = make(3, 4, rng=0)
    cell = {nn.RNN: nn.RNNCell, nn.GRU: nn.GRUCell, nn.LSTM: nn.LSTMCell}[make](3, 4)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x = dif.asarray(rng.normal(size=(6, 2, 3)))
    y, last = layer(x)
    h, found = None, []
    for row in x:
        h = cell(row, h)
        found.append(h[0] if make is nn.LSTM else h)
    np.testing.assert_allclose(y.detach(), dif.stack(found).detach(), rtol=1e-13, atol=1e-15)
    (y**2).sum().backward()
    (dif.stack(found) ** 2).sum().backward()
    for a, b in zip(layer.parameters(), cell.parameters()):
        np.testing.assert_allclose(a.grad, b.grad, rtol=1e-12, atol=1e-14)


def test_a_constant_input_gets_no_gradient_and_costs_none(rng):
    x, w = dif.asarray(rng.normal(size=(2, 3, 5, 5))), dif.tensor(rng.normal(size=(2, 3, 2, 2)), requires_grad=True)
    F.conv2d(x, w).sum().backward()
    np.testing.assert_allclose(w.grad, dif.grad(lambda w: F.conv2d(x, w).sum())(w.detach()))


def test_relu_at_infinity():
    x = np.array([-np.inf, -1.0, 0.0, 2.0, np.inf])
    y, pull = dif.vjp(F.relu, x)
    assert y.tolist() == [0, 0, 0, 2, np.inf] and pull(np.ones(5))[0].tolist() == [0, 0, 0, 1, 1]
    assert np.isnan(F.relu(dif.asarray([np.nan, -1.0])).numpy()).tolist() == [True, False]


def test_without_recording(rng):
    net = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.ReLU(), nn.MaxPool2d(2))
    x = dif.asarray(rng.normal(size=(2, 1, 8, 8)))
    with dif.no_grad():
        y = net(x)
    assert not y.requires_grad
    np.testing.assert_array_equal(y, net(x).detach())


@pytest.mark.parametrize("name", ["relu", "conv2d", "max_pool2d", "avg_pool2d", "layer_norm", "cross_entropy"])
def test_ndarrays_in_ndarrays_out(name, rng):
    f, xs = cases(rng)[name]
    y = f(*xs)
    assert isinstance(y, (np.ndarray, np.float64))
    np.testing.assert_array_equal(y, f(*map(dif.asarray, xs)).numpy())
    assert isinstance(F.mse_loss(xs[0], xs[0] + 1), np.float64)


def test_the_tape_keeps_operands_but_not_results(rng):
    import tracemalloc

    x, w = dif.asarray(rng.normal(size=(8, 1, 32, 32))), dif.tensor(rng.normal(size=(32, 1, 3, 3)), requires_grad=True)
    F.conv2d(x, w).sum()
    tracemalloc.start()
    y = F.conv2d(x, w)
    size, total = y.nbytes, y.sum()
    del y
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    total.backward()
    assert kept < size / 10
