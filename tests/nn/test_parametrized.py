"""Agreement with PyTorch of parameters that are computed, listed, or laid out as a vector."""

import copy
import pickle

import numpy as np
import pytest

import difftensor as dif
import optim
from difftensor import nn

from .test_torch import compare, same_weights

pytestmark = [pytest.mark.peers("torch")]
BOTH = pytest.mark.parametrize("dtype", [np.float64, np.float32])


@BOTH
@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("name, args, shape", [("Linear", (4, 3), (5, 4)), ("Conv2d", (2, 3, 2), (2, 2, 4, 4))])
def test_weight_norm(name, args, shape, dim, dtype, rng):
    import torch

    plain = getattr(torch.nn, name)(*args, dtype=getattr(torch, np.dtype(dtype).name))
    ours = getattr(nn, name)(*args, dtype=dtype)
    same_weights(ours, plain)
    theirs = torch.nn.utils.parametrizations.weight_norm(plain, dim=dim)
    before = ours.weight.detach().numpy().copy()
    nn.weight_norm(ours, dim=dim)
    np.testing.assert_allclose(ours.weight.detach(), before, rtol=1e-6)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    same_weights(ours, theirs)
    compare(ours, theirs, [rng.normal(size=shape).astype(dtype)], dtype, rng)


@BOTH
@pytest.mark.parametrize(
    "name, args, shape",
    [("Linear", (4, 3), (5, 4)), ("Conv2d", (2, 3, 2), (2, 2, 4, 4)), ("ConvTranspose1d", (2, 3, 2), (2, 2, 4))],
)
def test_spectral_norm(name, args, shape, dtype, rng):
    import torch

    plain = getattr(torch.nn, name)(*args, dtype=getattr(torch, np.dtype(dtype).name))
    theirs = torch.nn.utils.parametrizations.spectral_norm(plain)
    ours = nn.spectral_norm(getattr(nn, name)(*args, dtype=dtype), rng=0)
    same_weights(ours, theirs)
    compare(ours, theirs, [rng.normal(size=shape).astype(dtype)], dtype, rng)
    for k, v in theirs.state_dict().items():  # the power iteration too
        np.testing.assert_allclose(ours.state_dict()[k], v.numpy(), rtol=1e-5, atol=1e-6)
    ours.eval()
    was = {k: v.numpy() for k, v in ours.state_dict().items()}
    ours(dif.ones(shape, dtype=dtype))
    assert all(np.array_equal(v, was[k]) for k, v in ours.state_dict().items())


def test_spectral_norm_is_the_largest_singular_value():
    layer = nn.spectral_norm(nn.Linear(6, 4, rng=0), n_power_iterations=200, rng=1)
    original = layer.parametrizations.weight.original.detach().numpy()
    expected = original / np.linalg.svd(original)[1][0]
    np.testing.assert_allclose(layer.weight.detach(), expected, rtol=1e-9)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_orthogonal(shape, rng):
    layer = nn.orthogonal(nn.Linear(*shape[::-1], rng=0))
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    first = layer.weight.detach().numpy().copy()
    for _ in range(3):
        loss = (layer(rng.normal(size=(7, shape[1]))) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        w = layer.weight.detach().numpy()
        gram = w @ w.T if shape[0] < shape[1] else w.T @ w
        np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-12)
    assert abs(w - first).max() > 1e-3


class Symmetric(nn.Module):
    """The upper triangle, mirrored."""

    def forward(self, x):
        return dif.triu(x) + dif.triu(x, 1).T

    def right_inverse(self, a):
        return dif.triu(a)


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x

    def right_inverse(self, a):
        return a / 2


def test_parametrizations_of_ones_own(rng):
    import torch
    from torch.nn.utils import parametrize

    class TorchSymmetric(torch.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).T

        def right_inverse(self, a):
            return a.triu()

    class TorchDoubled(torch.nn.Module):
        def forward(self, x):
            return 2 * x

        def right_inverse(self, a):
            return a / 2

    theirs, ours = torch.nn.Linear(4, 4, dtype=torch.float64), nn.Linear(4, 4)
    for f, g in ((TorchSymmetric(), Symmetric()), (TorchDoubled(), Doubled())):
        parametrize.register_parametrization(theirs, "weight", f, unsafe=True)
        nn.register_parametrization(ours, "weight", g)
    same_weights(ours, theirs)
    compare(ours, theirs, [rng.normal(size=(3, 4))], np.float64, rng)
    a = rng.normal(size=(4, 4))
    a = a + a.T
    ours.weight, theirs.weight = a, torch.tensor(a)
    np.testing.assert_allclose(ours.weight.detach(), a, rtol=1e-14)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
        np.testing.assert_allclose(p.detach(), q.detach().numpy(), rtol=1e-14, err_msg=name)
    assert nn.is_parametrized(ours, "weight") and not nn.is_parametrized(ours, "bias")
    nn.remove_parametrizations(ours, "weight")
    assert type(ours) is nn.Linear and [n for n, _ in ours.named_parameters()] == ["bias", "weight"]
    np.testing.assert_allclose(ours.weight.detach(), a, rtol=1e-14)


def test_parametrized_modules_are_trees(rng):
    layer = nn.weight_norm(nn.Linear(3, 2, rng=0))
    x = dif.asarray(rng.normal(size=(4, 3)))
    with dif.no_grad():
        g = dif.grad(lambda m: (m(x) ** 2).sum())(layer)
    (layer(x) ** 2).sum().backward()
    for (_, a), b in zip(g.named_parameters(), layer.parameters()):
        np.testing.assert_allclose(a, b.grad)
    moved = dif.tree.map(lambda p, g: p.detach() - 0.01 * g, layer, g)
    assert type(moved) is type(layer) and (moved(x) ** 2).sum().item() < (layer(x) ** 2).sum().item()
    same = copy.deepcopy(layer)
    np.testing.assert_array_equal(same(x).detach(), layer(x).detach())
    with pytest.raises(ValueError, match="no Tensor"):
        nn.register_parametrization(nn.ReLU(), "weight", Doubled())


def test_parameters_as_a_vector(rng):
    a, b = nn.Linear(3, 2, rng=0), nn.Linear(3, 2, rng=1)
    vector = nn.parameters_to_vector(a.parameters())
    assert vector.shape == (8,)
    nn.vector_to_parameters(vector, b.parameters())
    np.testing.assert_array_equal(a(np.ones(3)).detach(), b(np.ones(3)).detach())
    with pytest.raises(ValueError, match="9 values for 8"):
        nn.vector_to_parameters(np.ones(9), b.parameters())


def test_lists_and_dicts_of_parameters():
    import torch

    a = nn.ParameterList([np.ones(2), np.zeros(3)])
    b = torch.nn.ParameterList([torch.ones(2), torch.zeros(3)])
    assert list(a.state_dict()) == list(b.state_dict()) and len(a) == 2 and a[1].shape == (3,)
    d = nn.ParameterDict({"x": np.ones(2), "y": np.zeros(3)})
    assert list(d.state_dict()) == ["x", "y"] and "x" in d and d["y"].requires_grad and len(d) == 2


@pytest.mark.parametrize("name", ["items", "training", "forward"])
def test_dicts_refuse_names_that_modules_have_themselves(name):
    """PyTorch's dict of modules does so too; the entry would hide the method."""
    with pytest.raises(KeyError, match=name):
        nn.ParameterDict({name: np.ones(2)})
    with pytest.raises(KeyError, match=name):
        nn.ModuleDict({name: nn.ReLU()})


@pytest.mark.parametrize("kind", [nn.weight_norm, nn.spectral_norm, nn.orthogonal])
def test_copies_and_pickles_are_whole(kind, rng):
    layer, x = kind(nn.Linear(3, 3, rng=0)).eval(), dif.asarray(rng.normal(size=(2, 3)))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(other) is type(layer) and other.parametrizations is not layer.parametrizations
        np.testing.assert_array_equal(other(x).detach(), layer(x).detach())
        assert [n for n, _ in other.named_parameters()] == [n for n, _ in layer.named_parameters()]
