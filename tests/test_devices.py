"""The rules of placement, tested without a GPU: NumPy arrays that claim to live on another device.

The stand-in behaves as CuPy's arrays do: it takes Python numbers, NumPy scalars and 0-d constants, refuses
other NumPy arrays with a TypeError, has 0-d arrays instead of scalars, and comes back to the CPU only by
`.get()`.
"""

import numpy as np
import pytest

import difftensor as dif
from difftensor._backend.arrays import stand_ins
from difftensor.errors import DeviceError


class Far(np.ndarray):
    """An array on the device ``cuda:7``."""

    __cuda_array_interface__ = {}  # what tells such arrays from NumPy's

    def __new__(cls, a):
        return np.array(a).view(cls)

    def get(self):
        return np.array(self.view(np.ndarray))

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **keywords):
        if out is not None:
            keywords["out"] = tuple(map(near, out))
        y = getattr(ufunc, method)(*map(near, inputs), **keywords)
        return out[0] if out is not None else far(y)

    def __array_function__(self, func, types, args, keywords):
        # views of the array stay views
        return far(super().__array_function__(func, (np.ndarray,), near(args), near(keywords)))

    def __setitem__(self, index, value):
        near(value)
        super().__setitem__(index, value)

    def __getitem__(self, index):
        return far(self.view(np.ndarray)[index])


def near(a):
    """What the device computes with: it does not see NumPy's arrays."""
    if isinstance(a, (list, tuple)):
        return type(a)(map(near, a))
    if isinstance(a, dict):
        return {k: near(v) for k, v in a.items()}
    if a.__class__ is np.ndarray and a.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return a.view(np.ndarray) if isinstance(a, Far) else a


def far(a):
    if isinstance(a, tuple):
        return tuple(map(far, a))
    return np.asarray(a).view(Far) if isinstance(a, (np.ndarray, np.generic)) else a


class _Namespace:
    """NumPy as that device's library has it: what it creates lives there, everything else goes by the protocols."""

    device = "cuda:7"

    def __getattr__(self, name):
        f = getattr(np, name)
        return (lambda *args, **keywords: far(f(*args, **keywords))) if name in ("zeros", "ones", "empty") else f


Namespace = _Namespace()


@pytest.fixture(autouse=True)
def second_device():
    stand_ins[Far] = Namespace
    yield
    del stand_ins[Far]


def on(device, a):
    return dif.tensor(a).to_device(device)


X = np.array([0.5, 1.0, 2.0])

MIXED = {
    "operator": lambda a, b: a + b,
    "reflected": lambda a, b: b * a,
    "function": lambda a, b: dif.maximum(a, b),
    "ufunc": lambda a, b: np.hypot(a, b),
    "composition": lambda a, b: dif.linalg.norm(a * b),
    "matmul": lambda a, b: a @ b,
    "dot": lambda a, b: np.dot(a, b),
    "where": lambda a, b: np.where(np.array([True, False, True]), a, b),
    "stack": lambda a, b: np.stack([a, b]),
    "concatenate": lambda a, b: np.concatenate([a, b]),
    "in place": lambda a, b: a.__iadd__(b),
    "item": lambda a, b: a.__setitem__(slice(0, 3), b),
    "out": lambda a, b: np.add(a, a, out=b),
    "copyto": lambda a, b: np.copyto(a, b),
    "comparison": lambda a, b: a < b,
}


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("name", MIXED)
def test_operands_on_two_devices(name, tracked):
    a, b = on("cpu", X), on("cuda:7", X)
    if tracked:
        a, b = a.copy().requires_grad_() * 1, b.copy().requires_grad_() * 1
    for pair in ((a, b), (b, a)):
        with pytest.raises(DeviceError) as caught:
            MIXED[name](*pair)
        text = str(caught.value)
        assert " on cpu" in text and "float64 on cuda:7" in text and "to_device(" in text


def test_a_plain_array_is_on_the_cpu():
    b = on("cuda:7", X)
    for f in (lambda: b + X, lambda: X * b, lambda: np.hypot(X, b)):
        with pytest.raises(DeviceError, match="ndarray"):
            f()


def test_numbers_mix():
    b = on("cuda:7", X)
    for y in (b + 1, 2.0 * b, b**2, b + np.float64(3), np.float64(3) * b, b * np.array(2.0)):
        assert y.device == "cuda:7"
        assert isinstance(y, dif.Tensor)


def test_results_views_and_gradients_stay_where_they_are():
    def f(b):
        u = b * 2.0
        v = u[1:]
        v *= b[:-1]
        return (u.T * np.sin(u).reshape(3)).sum() + dif.exp(v).mean()

    g = dif.grad(f)(on("cuda:7", X))
    assert g.device == "cuda:7" and isinstance(g, dif.Tensor)
    assert np.allclose(g.to_device("cpu").numpy(), dif.grad(f)(X), rtol=1e-14)
    _, t = dif.jvp(f, (on("cuda:7", X),), (on("cuda:7", X),))
    assert t.device == "cuda:7"
    assert np.isclose(t.to_device("cpu").item(), dif.grad(f)(X) @ X)


def test_moving_is_differentiable():
    def f(x):
        return (x.to_device("cuda:7") ** 2 * 3.0).to_device("cpu").sum()

    assert dif.grad(f)(X).tolist() == (6 * X).tolist()
    w = dif.tensor(X, requires_grad=True)
    (w.to_device("cuda:7") ** 3).sum().backward()
    assert w.grad.device == "cpu" and w.grad.tolist() == (3 * X**2).tolist()


def test_nothing_comes_back_by_itself():
    b = on("cuda:7", X)
    for f in (b.numpy, lambda: np.asarray(b)):
        with pytest.raises(DeviceError, match=r"to_device\('cpu'\)"):
            f()
    assert "cuda:7" in repr(b)


def test_unknown_and_missing_devices():
    with pytest.raises(ValueError, match="not known"):
        dif.zeros(3, device="tpu")
    assert dif.zeros(3, device="cpu").device == "cpu"
    assert dif.zeros(3, device="cuda:7").device == "cuda:7"
