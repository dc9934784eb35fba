"""What is written twice agrees: values and derivatives of every order, in both modes, inside vmap."""

import numpy as np
import pytest

import difftensor as dif
from difftensor import nn
from difftensor.nn import _fused
from difftensor.testing import check_grads

F = nn.functional


def scan(name, rng, gates, states=1, lengths=None, settings=(), steps=4, batch=2, inputs=3, size=2):
    """A sequence of cells, all results in one row."""
    from difftensor.nn._cells import sequence

    shapes = [(steps, batch, inputs), *[(batch, size)] * states, (gates * size, inputs), (gates * size, size)]
    shapes += [(gates * size,)] * 2

    def f(x, *rest):
        y, last = sequence(name, x, rest[:states], rest[states:], settings, lengths)
        return dif.concatenate([v.ravel() for v in (y, *last)])

    return f, [0.7 * rng.normal(size=s) for s in shapes]


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
        "rnn": scan("rnn", rng, 1, settings=("tanh",)),
        "rnn_relu": scan("rnn", rng, 1, settings=("relu",)),
        "gru": scan("gru", rng, 3),
        "lstm": scan("lstm", rng, 4, 2),
        "lstm_lengths": scan("lstm", rng, 4, 2, lengths=[2, 4]),
    }  # fmt: skip


NAMES = list(cases(np.random.default_rng(0)))


@pytest.mark.parametrize("name", NAMES)
def test_derivatives(name, rng):
    f, xs = cases(rng)[name]
    check_grads(f, tuple(xs), order=2)


@pytest.mark.parametrize("name", [n for n in NAMES if "conv" not in n and n != "relu"])
def test_the_plain_form_is_the_same(name, rng, monkeypatch):
    f, xs = cases(rng)[name]
    run = lambda: dif.vjp(f, *map(dif.asarray, xs))
    y, pull = run()
    g = rng.normal(size=y.shape)
    fast = pull(dif.asarray(g))
    monkeypatch.setattr(_fused, "plain_memory", lambda x: False)
    z, pull = run()
    np.testing.assert_allclose(y, z, rtol=1e-12, atol=1e-13)
    for a, b in zip(fast, pull(dif.asarray(g))):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("cross_entropy", "batch_norm")])
def test_inside_vmap(name, rng):
    f, (x, *rest) = cases(rng)[name]
    many = np.stack([x, 2 * x, x[::-1]])
    got = dif.vmap(lambda x: f(x, *map(dif.asarray, rest)))(dif.asarray(many))
    want = np.stack([f(dif.asarray(x), *map(dif.asarray, rest)) for x in many])
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)
    g = dif.vmap(dif.grad(lambda x: (f(x, *map(dif.asarray, rest)) ** 3).sum()))(dif.asarray(many))
    one = [dif.grad(lambda x: (f(x, *map(dif.asarray, rest)) ** 3).sum())(dif.asarray(x)) for x in many]
    np.testing.assert_allclose(g, np.stack(one), rtol=1e-11, atol=1e-11)


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
