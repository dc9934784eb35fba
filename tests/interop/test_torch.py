"""PyTorch: constants cross by DLPack without a copy, in both directions; derivatives do not cross by themselves."""

import operator

import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import TrackedValueError

pytestmark = pytest.mark.interop("torch")
X = np.array([0.3, 0.7, 1.1])
W = np.array([2.0, -1.0, 4.0])


def theirs(a, **keywords):
    import torch

    return torch.tensor(a, **keywords)


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "complex128", "complex64", "int64", "int32", "int8", "uint8", "bool"]
)
def test_there_and_back(dtype):
    import torch

    a = np.array([[1, 0, 3], [4, 5, 6]], dtype)
    there = torch.from_dlpack(dif.tensor(a))
    assert str(there.dtype) == f"torch.{dtype}"
    for back in (dif.from_dlpack(there), dif.from_dlpack(there.T).T, dif.asarray(there)):
        assert type(back) is dif.Tensor and back.dtype == dtype
        np.testing.assert_array_equal(back.numpy(), a)


def test_memory_is_shared():
    w = theirs(W)
    t = dif.from_dlpack(w)
    w[0] = 7.0
    assert t[0].item() == 7.0
    t[1] = 8.0
    assert w[1].item() == 8.0


def test_derivatives_do_not_cross():
    import torch

    tracked = dif.tensor(X, requires_grad=True)
    for f in (torch.from_dlpack, torch.as_tensor, torch.tensor):
        with pytest.raises(TrackedValueError, match=r"detach\(\)"):
            f(tracked)
    leaf = theirs(W, requires_grad=True)
    for f in (dif.from_dlpack, dif.asarray, lambda w: dif.ones(3) * w, lambda w: w + dif.ones(3)):
        with pytest.raises((RuntimeError, BufferError), match=r"detach\(\)"):  # PyTorch's own words
            f(leaf)


@pytest.mark.parametrize(
    "f",
    [
        operator.mul,
        operator.sub,
        operator.truediv,
        operator.pow,
        operator.matmul,
        np.multiply,
        dif.hypot,
        lambda a, b: np.stack([a, b]) ** 2,
        lambda a, b: np.where(b > 1, a, b) ** 2,
    ],
)
def test_constants_of_theirs_beside_tensors(f):
    for f, swapped in ((f, False), (lambda a, b, f=f: f(b, a), True)):
        first = X if not swapped else X + 1.0
        expected = dif.grad(lambda x, f=f: f(x, abs(W)).sum())(first)
        np.testing.assert_array_equal(dif.grad(lambda x, f=f: f(x, theirs(abs(W))).sum())(first), expected)


def test_indices_of_theirs():
    index = theirs(np.array([2, 0, 2]))
    np.testing.assert_array_equal(dif.grad(lambda x: x[index].sum() + x[theirs(X) > 0.5].sum())(X), [1.0, 1.0, 3.0])


def test_a_function_of_theirs():
    """A derivative does cross through custom_vjp."""
    import torch

    @dif.custom_vjp
    def softplus(x):
        return dif.from_dlpack(torch.nn.functional.softplus(torch.from_dlpack(x)))

    def forward(x):
        leaf = torch.from_dlpack(x).requires_grad_()
        y = torch.nn.functional.softplus(leaf)
        return dif.from_dlpack(y.detach()), (leaf, y)

    def backward(saved, g):
        leaf, y = saved
        [dx] = torch.autograd.grad(y, leaf, torch.from_dlpack(g))
        return (dif.from_dlpack(dx),)

    softplus.defvjp(forward, backward)
    np.testing.assert_allclose(dif.grad(lambda x: (softplus(x) * W).sum())(X), W / (1.0 + np.exp(-X)), rtol=1e-14)
