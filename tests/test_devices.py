"""The rules of placement, tested without a GPU: on the stand-in for CuPy, or with ``--device=cuda`` on the real one."""

import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import DeviceError

pytestmark = pytest.mark.usefixtures("device")


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
    a, b = on("cpu", X), on("cuda:0", X)
    if tracked:
        a, b = a.copy().requires_grad_() * 1, b.copy().requires_grad_() * 1
    for pair in ((a, b), (b, a)):
        with pytest.raises(DeviceError) as caught:
            MIXED[name](*pair)
        text = str(caught.value)
        assert " on cpu" in text and "float64 on cuda:0" in text and "to_device(" in text


def test_a_plain_array_is_on_the_cpu():
    b = on("cuda:0", X)
    for f in (lambda: b + X, lambda: X * b, lambda: np.hypot(X, b)):
        with pytest.raises(DeviceError, match="ndarray"):
            f()


def test_numbers_mix():
    b = on("cuda:0", X)
    for y in (b + 1, 2.0 * b, b**2, b + np.float64(3), np.float64(3) * b, b * np.array(2.0), np.array(2.0) * b):
        assert y.device == "cuda:0"
        assert isinstance(y, dif.Tensor)


def test_results_views_and_gradients_stay_where_they_are():
    def f(b):
        u = b * 2.0
        v = u[1:]
        v *= b[:-1]
        return (u.T * np.sin(u).reshape(3)).sum() + dif.exp(v).mean()

    g = dif.grad(f)(on("cuda:0", X))
    assert g.device == "cuda:0" and isinstance(g, dif.Tensor)
    assert np.allclose(g.to_device("cpu").numpy(), dif.grad(f)(X), rtol=1e-14)
    _, t = dif.jvp(f, (on("cuda:0", X),), (on("cuda:0", X),))
    assert t.device == "cuda:0"
    assert np.isclose(t.to_device("cpu").item(), dif.grad(f)(X) @ X)


def test_moving_is_differentiable():
    def f(x):
        return (x.to_device("cuda:0") ** 2 * 3.0).to_device("cpu").sum()

    assert dif.grad(f)(X).tolist() == (6 * X).tolist()
    w = dif.tensor(X, requires_grad=True)
    (w.to_device("cuda:0") ** 3).sum().backward()
    assert w.grad.device == "cpu" and w.grad.tolist() == (3 * X**2).tolist()


def test_nothing_comes_back_by_itself():
    b = on("cuda:0", X)
    for f in (b.numpy, lambda: np.asarray(b)):
        with pytest.raises(DeviceError, match=r"to_device\('cpu'\)"):
            f()
    assert "cuda:0" in repr(b)


def test_unknown_and_missing_devices():
    with pytest.raises(ValueError, match="not known"):
        dif.zeros(3, device="tpu")
    assert dif.zeros(3, device="cpu").device == "cpu"
    assert dif.zeros(3, device="cuda:0").device == "cuda:0"


def test_a_number_of_a_cpu_tensor_is_on_the_cpu():
    """CuPy would take it for a constant, and its gradient would arrive on the wrong device."""
    b = on("cuda:0", X)
    for a in (dif.tensor(2.0), dif.tensor(X).sum(), dif.tensor(X, requires_grad=True).sum()):
        for f in (lambda a, b: a * b, lambda a, b: dif.hypot(b, a), lambda a, b: dif.where(b > 0, b, a)):
            with pytest.raises(DeviceError, match=r"to_device\("):
                f(a, b)


def test_indices_are_where_the_array_is():
    b = on("cuda:0", X)
    i = np.array([2, 0, 2])
    there = dif.asarray(i, device="cuda:0")
    for index in (there, [2, 0, 2]):
        assert b[index].to_device("cpu").tolist() == X[i].tolist()
    assert b[np.array(1)].item() == X[1]
    for f in (lambda: b[i], lambda: b[dif.asarray(i)], lambda: b.__setitem__(i, 1.0), lambda: dif.take(b, i)):
        with pytest.raises(DeviceError, match="device='cuda:0'"):
            f()
    with pytest.raises(DeviceError):
        on("cpu", X)[there]


def test_elements_are_values_not_views():
    """As NumPy's are: an element that was read does not change when the array is written."""
    for place in ("cpu", "cuda:0"):
        b = on(place, X)
        first, rest = b[0], b[1:]
        b[:] = 7.0
        assert first.item() == 0.5 and rest[0].item() == 7.0
        b[0], b[1] = first, b[0]  # NumPy's way to swap
        assert b.tolist()[:2] == [0.5, 7.0]
