import copy
import pickle

import numpy as np
import pytest

import difftensor as dif
import optim
from difftensor import nn


class Tied(nn.Module):
    """An autoencoder whose decoder is the transpose of its encoder; a list, a dict and a shared module."""

    def __init__(self, rng=0):
        rng = np.random.default_rng(rng)
        self.encoder = nn.Linear(5, 3, rng=rng)
        self.decoder = nn.Linear(3, 5, rng=rng)
        self.decoder.weight = dif.tensor(rng.normal(size=(5, 3)), requires_grad=True)
        self.tied = self.encoder.weight
        self.blocks = [nn.Linear(3, 3, rng=rng), {"deep": (nn.Linear(3, 3, rng=rng), 7.0)}]
        self.again = self.blocks[0]
        self.scales = [dif.tensor(1.0, requires_grad=True), 2]
        self.mean = dif.zeros(5)
        self.name = "tied"

    def forward(self, x):
        h = np.tanh(self.encoder(x - self.mean))
        h = self.again(self.blocks[1]["deep"][0](self.blocks[0](h)))
        return (self.decoder(h) + h @ self.tied) * self.scales[0]


NAMES = ["tied", "scales.0", "encoder.bias", "decoder.weight", "decoder.bias", "blocks.0.weight", "blocks.0.bias",
         "blocks.1.deep.0.weight", "blocks.1.deep.0.bias"]  # fmt: skip


def loss(model, x):
    return np.mean((model(x) - x) ** 2)


def test_parameters_are_found_by_attribute_and_once():
    net = Tied()
    assert [n for n, _ in net.named_parameters()] == NAMES
    assert {n for n, _ in net.named_buffers()} == {"mean"}
    assert len(dif.tree.leaves(net)) == len(NAMES) == len({id(p) for p in net.parameters()})
    assert len(list(net.modules())) == 5
    assert {"encoder.weight", "tied", "again.weight", "blocks.0.weight", "mean"} < set(net.state_dict())


def test_grad_of_a_module_is_the_gradient_of_backward(rng):
    net, x = Tied(), rng.normal(size=(4, 5))
    with dif.no_grad():  # or the gradient is a function of the parameters, which can be differentiated again
        g = dif.grad(loss)(net, x)
    assert isinstance(g, Tied) and g.tied is g.encoder.weight and g.again is g.blocks[0]
    assert [n for n, _ in g.named_parameters()] == NAMES
    assert not any(p.requires_grad for p in g.parameters())
    loss(net, x).backward()
    for p, q in zip(net.parameters(), g.parameters()):
        np.testing.assert_allclose(q, p.grad, rtol=1e-13, atol=1e-15)


def test_the_gradient_by_differences(rng):
    net, x = Tied(), rng.normal(size=(4, 5))
    flat, unravel = dif.tree.ravel(dif.tree.map(lambda p: p.detach(), net))
    with dif.no_grad():
        g, _ = dif.tree.ravel(dif.grad(loss)(net, x))
    v = rng.normal(size=flat.shape)
    h = 1e-6
    f = lambda t: float(loss(unravel(flat + t * v), x))
    np.testing.assert_allclose(float(np.asarray(g) @ v), (f(h) - f(-h)) / (2 * h), rtol=1e-7)


def test_tree_map_makes_models(rng):
    net, x = dif.tree.map(lambda p: p.detach(), Tied()), rng.normal(size=(4, 5))
    before = net.encoder.weight.detach().numpy(copy=True)
    for _ in range(60):
        g = dif.grad(loss)(net, x)
        net = dif.tree.map(lambda p, q: p - 0.1 * q, net, g)
    assert float(loss(net, x)) < 0.2 * loss(Tied(), x).item()
    assert net.tied is net.encoder.weight and (np.asarray(net.tied) != before).all()
    with pytest.raises(ValueError, match="structure"):
        dif.tree.map(lambda p, q: p, net, nn.Linear(2, 2))


def test_transformations_leave_the_module_alone(rng):
    net, x = Tied(), rng.normal(size=(4, 5))
    state = {k: v.numpy(copy=True) for k, v in net.state_dict().items()}
    objects = [id(p) for p in net.parameters()]
    dif.grad(loss)(net, x), dif.jvp(lambda m: loss(m, x), (net,), (net,))
    assert objects == [id(p) for p in net.parameters()] and all(p.grad is None for p in net.parameters())
    assert all((state[k] == v.numpy()).all() for k, v in net.state_dict().items())


def test_vmap_over_examples_and_over_models(rng):
    net, x = nn.Linear(3, 2, rng=0), rng.normal(size=(6, 3))
    with dif.no_grad():
        per_example = dif.vmap(dif.grad(lambda m, row: np.sum(m(row) ** 2)), in_axes=(None, 0))(net, x)
    y = x @ net.weight.detach().numpy().T + net.bias.detach().numpy()
    np.testing.assert_allclose(per_example.weight, 2 * y[:, :, None] * x[:, None, :], rtol=1e-12)
    models = [nn.Linear(3, 2, rng=i) for i in range(4)]
    stacked = dif.tree.map(lambda *ps: dif.stack([p.detach() for p in ps]), *models)
    many = dif.vmap(lambda m: m(dif.asarray(x)))(stacked)
    np.testing.assert_allclose(many, [m(dif.asarray(x)).detach() for m in models], rtol=1e-12)


def test_minimize_and_stepwise_optimizers_work_on_modules(rng):
    x = rng.normal(size=(30, 3))
    y = x @ [1.0, -2.0, 0.5] + 0.3
    fit = lambda m: np.mean((m(x)[:, 0] - y) ** 2)
    result = optim.minimize(fit, nn.Linear(3, 1, rng=0), method="L-BFGS")
    assert isinstance(result.x, nn.Linear)
    np.testing.assert_allclose(result.x.weight, [[1.0, -2.0, 0.5]], atol=1e-5)
    net = nn.Linear(3, 1, rng=0)
    optimizer = optim.Adam(net.parameters(), lr=0.05)
    for _ in range(500):
        optimizer.zero_grad()
        fit(net).backward()
        optimizer.step()
    np.testing.assert_allclose(net.bias.detach(), [0.3], atol=1e-3)


def test_frozen_parameters_are_no_parameters(rng):
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    net[0].requires_grad_(False)
    assert [n for n, _ in net.named_parameters()] == ["1.weight", "1.bias"]
    assert len(net.state_dict()) == 4 and len(dif.tree.leaves(net)) == 2
    g = dif.grad(lambda m: np.sum(m(rng.normal(size=(2, 3)))))(net)
    assert [n for n, _ in g.named_parameters()] == ["1.weight", "1.bias"]
    net.requires_grad_()
    assert len(list(net.parameters())) == 4


def test_state_goes_round(rng):
    a, b = Tied(0), Tied(1)
    b.load_state_dict(a.state_dict())
    x = dif.asarray(rng.normal(size=(2, 5)))
    assert (a(x).detach().numpy() == b(x).detach().numpy()).all()
    state = a.state_dict()
    with pytest.raises(KeyError, match=r"missing \['tied'\]"):
        b.load_state_dict({k: v for k, v in state.items() if k != "tied"})
    with pytest.raises(KeyError, match="unknown"):
        b.load_state_dict({**state, "other": np.zeros(1)})
    b.load_state_dict({"mean": np.ones(5), "other": 0}, strict=False)
    assert b.mean.tolist() == [1.0] * 5
    with pytest.raises(ValueError, match="mean"):
        b.load_state_dict({**state, "mean": np.zeros(4)})


def test_state_is_a_snapshot():
    net = nn.Linear(2, 2, rng=0)
    state = net.state_dict()
    with dif.no_grad():
        net.weight += 1.0
    assert not np.allclose(state["weight"], net.weight.detach())
    other = nn.Linear(2, 2)
    other.load_state_dict(state)
    with dif.no_grad():
        other.weight += 1.0
    np.testing.assert_array_equal(state["weight"], nn.Linear(2, 2, rng=0).weight.detach())


def test_copies_and_pickles(rng):
    net = Tied()
    x = dif.asarray(rng.normal(size=(2, 5)))
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.tied is other.encoder.weight and other.tied is not net.tied and other.tied.requires_grad
        np.testing.assert_array_equal(other(x).detach(), net(x).detach())


def test_hooks():
    net, seen = nn.Linear(2, 1, rng=0), []
    handles = [net.register_forward_pre_hook(lambda m, args: (2 * args[0],)),
               net.register_forward_hook(lambda m, args, y: seen.append(args[0].tolist())),
               net.register_forward_hook(lambda m, args, y: y + 1)]  # fmt: skip
    x = dif.ones((1, 2))
    y = net(x)
    assert seen == [[[2.0, 2.0]]]
    for handle in handles:
        handle.remove()
    np.testing.assert_allclose(y.detach(), net(2 * x).detach() + 1)
    assert len(seen) == 1


def test_modes_reach_everything_inside():
    net = nn.Sequential(nn.Dropout(0.5, rng=0), nn.Sequential(nn.Dropout(0.5, rng=0)))
    x = dif.ones(1000)
    assert 0.1 < float((net(x) == 0).mean()) < 0.9
    assert net.eval() is net and not net[1][0].training
    assert (net(x) == x).all()
    assert net.train()[1][0].training


def test_moving_and_casting_keeps_sharing():
    net = Tied().to(dtype=np.float32)
    assert {p.dtype for p in [*net.parameters(), *net.buffers()]} == {np.dtype(np.float32)}
    assert net.tied is net.encoder.weight and net.tied.requires_grad and not net.mean.requires_grad
    assert net(dif.ones((2, 5), dtype=np.float32)).dtype == np.float32


def test_summary_and_repr():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    text = net.summary(dif.ones((7, 3)))
    assert "(7, 4)" in text and text.splitlines()[-1].split() == ["total", "26"]
    assert "(2): Linear(in_features=4, out_features=2)" in repr(net)


def test_plain_functions_in_a_sequence():
    net = nn.Sequential(np.sin, nn.Linear(2, 2, rng=0), lambda x: x.sum())
    assert net(dif.zeros((1, 2))).shape == ()


def test_running_moments_inside_a_transformation(rng):
    x = rng.normal(size=(8, 3))
    net = nn.BatchNorm1d(3)

    def f(m):
        return np.sum(m(dif.asarray(x)) ** 3), m

    _, after = dif.grad(f, has_aux=True)(net)
    assert net.running_mean.tolist() == [0.0] * 3
    np.testing.assert_allclose(after.running_mean, 0.1 * x.mean(0))
    np.testing.assert_allclose(after.running_var, 0.9 + 0.1 * x.var(0, ddof=1))
    net(dif.asarray(x))
    np.testing.assert_allclose(net.running_mean, after.running_mean)


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: nn.Module()(1.0), "must define forward"),
        (lambda: nn.functional.mse_loss(dif.ones((3, 1)), dif.ones(3)), "same shape"),
        (lambda: nn.functional.cross_entropy(dif.ones((2, 3)), np.array([0, 3])), "3 classes"),
        (lambda: nn.Conv2d(3, 4, 3)(dif.ones((1, 2, 8, 8))), "channels"),
        (lambda: nn.Conv2d(1, 1, 9)(dif.ones((1, 1, 8, 8))), "larger than"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "groups"),
        (lambda: nn.LSTM(3, 4)(dif.ones((5, 2, 2))), "needs shape"),
        (lambda: nn.BatchNorm2d(3)(dif.ones((2, 3))), "4 axes"),
        (lambda: nn.BatchNorm1d(3)(dif.ones((1, 3))), "variance"),
        (lambda: nn.Dropout(1.5), "probability"),
        (lambda: nn.MSELoss(reduce=True), "unknown"),
        (lambda: nn.MSELoss(reduction="average")(dif.ones(2), dif.ones(2)), "reduction"),
        (lambda: nn.MaxPool2d(), "kernel_size"),
        (lambda: nn.MultiheadAttention(5, 2), "divide"),
        (lambda: nn.init.calculate_gain("none"), "unknown nonlinearity"),
        (lambda: nn.Embedding(3, 2)(np.array([0.5])), "integers"),
    ],
)
def test_mistakes_are_named(call, match):
    with pytest.raises((ValueError, TypeError, IndexError, NotImplementedError), match=match):
        call()


def test_containers_are_edited_in_place():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    net[-1] = nn.Linear(4, 7)
    net[1] = np.tanh
    assert net(dif.ones((1, 3))).shape == (1, 7)
    net.insert(1, nn.Linear(4, 4))
    assert [type(m).__name__ for m in net] == ["Linear", "Linear", "Lambda", "Linear"]
    assert [n for n, _ in net.named_parameters()] == [f"{i}.{k}" for i in (0, 1, 3) for k in ("weight", "bias")]
    del net[1]
    assert [n for n, _ in net.named_parameters()] == [f"{i}.{k}" for i in (0, 2) for k in ("weight", "bias")]
    assert net(dif.ones((1, 3))).shape == (1, 7)
    named = nn.Sequential({"first": nn.Linear(3, 4), "last": nn.Linear(4, 2)})
    named[1] = nn.Linear(4, 5)
    assert [n for n, _ in named.named_parameters()][2] == "last.weight" and named[1].weight.shape == (5, 4)
    table = nn.ModuleDict({"a": nn.Linear(1, 1)})
    table.update({"b": nn.ReLU(), "c": nn.Tanh()})
    del table["b"]
    assert isinstance(table.pop("c"), nn.Tanh) and list(table) == ["a"]
    values = nn.ParameterList([np.zeros(2), np.ones(2)])
    values[0] = np.full(3, 5.0)
    assert [p.shape for p in values.parameters()] == [(3,), (2,)]


def test_tensors_in_containers_of_other_classes():
    from collections import OrderedDict, defaultdict, namedtuple

    Pair = namedtuple("Pair", "left right")

    class Holder(nn.Module):
        def __init__(self):
            self.pair = Pair(nn.parameter([1.0]), nn.parameter([2.0]))
            self.table = defaultdict(list, a=nn.parameter([3.0]))
            self.ordered = OrderedDict(z=nn.parameter([4.0]), a=nn.Linear(1, 1))

        def forward(self):
            return self.pair.left * self.pair.right * self.table["a"] * self.ordered["z"]

    holder = Holder()
    gradient = dif.grad(lambda m: m().sum())(holder)
    assert [g.item() for g in gradient.pair] == [24.0, 12.0] and gradient.table["new"] == []
    assert holder.to(dtype=np.float32).pair.right.dtype == np.float32 and holder.table["new"] == []


def test_a_module_is_a_tree():
    class Child(nn.Module):
        def __init__(self, parent):
            self.parent = parent

    class Unordered(nn.Module):
        def __init__(self):
            self.layers = {nn.Linear(1, 1), nn.Linear(1, 1)}

    root = nn.Sequential(nn.Linear(1, 1))
    root.child = Child(root)
    assert len(list(root.parameters())) == 2
    for walk in (root.state_dict, lambda: dif.tree.leaves(root)):
        with pytest.raises(ValueError, match="Sequential contains itself, as 'child.parent'"):
            walk()
    with pytest.raises(TypeError, match="'layers' is a set"):
        list(Unordered().parameters())


def test_dataclasses_are_modules():
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Scale(nn.Module):
        factor: dif.Tensor

        def forward(self, x):
            return self.factor * x

    assert dif.grad(lambda m: m(2.0))(Scale(nn.parameter(3.0))).factor.item() == 2.0


def test_gradients_are_forgotten_or_zero():
    layer = nn.Linear(2, 1)
    layer(dif.ones((1, 2))).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert not layer.weight.grad.any()
    layer.zero_grad()
    assert layer.weight.grad is None
