"""``dif.cuda``, ``dif.device``, and what is said where something is missing."""

import sys

import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import DeviceError
from tests.cuda.agreement import fetch, send


@pytest.fixture
def standin(request):
    """The stand-in, for what cannot be had from a real GPU."""
    if request.config.getoption("--device") == "cuda":
        pytest.skip("a machine that is as it should be")
    return request.getfixturevalue("device")


def test_a_gpu_is_there(device):
    assert dif.cuda.is_available() and dif.cuda.device_count() >= 1
    assert dif.device("cuda") == device and repr(dif.device(device)) == "device('cuda:0')"
    info = dif.cuda.memory_info()
    assert 0 < info.free <= info.total and 0 <= info.used <= info.reserved
    dif.cuda.synchronize()
    dif.cuda.free_memory(device)
    with pytest.raises(DeviceError, match="'cpu' is not a GPU"):
        dif.cuda.synchronize("cpu")


def test_streams(device):
    x = send(np.ones(1000), device)
    dif.cuda.synchronize()
    with dif.cuda.Stream(device) as stream:
        g = dif.grad(lambda x: (x * x).sum())(x)
    stream.wait()
    assert (fetch(g) == 2).all()


def test_profile_measures_on_the_device(device):
    x = send(np.ones(1000), device)
    with dif.profile() as p:
        dif.grad(lambda x: np.sum(np.sin(x) ** 2))(x)
        np.sin(np.ones(10))
    assert p.table["sin", "forward"][0] == 1 and p.table["sin", "forward"][2] == 8000
    assert p.table["sin", "backward"][0] == 1 and p.table["power", "backward"][1] > 0
    assert p.saved >= 8000 and "sin" in str(p)


def test_a_gpu_that_is_not_there(device):
    n = dif.cuda.device_count()
    for f in (
        lambda: dif.zeros(3, device=f"cuda:{n}"),
        lambda: dif.device(f"cuda:{n}"),
        lambda: dif.tensor([1.0]).to_device(f"cuda:{n}"),
    ):
        with pytest.raises(DeviceError, match=f"'cuda:{n}' is not there: this machine has only cuda:0"):
            f()


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:x", "cpu:1", "gpu", "cuda:-1", ""])
def test_wrong_names(name):
    with pytest.raises(ValueError, match="is not known; devices are 'cpu', 'cuda'"):
        dif.zeros(3, device=name)


def test_no_cupy(monkeypatch):
    for name in [m for m in sys.modules if m.split(".")[0] in ("cupy", "cupyx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not installed
    assert not dif.cuda.is_available() and dif.cuda.device_count() == 0
    for f in (lambda: dif.zeros(3, device="cuda"), lambda: dif.tensor([1.0]).to_device("cuda:1"), dif.cuda.synchronize):
        with pytest.raises(DeviceError, match=r"difftensor\[cuda12x\].*difftensor\[cuda13x\]"):
            f()


def test_cupy_too_old(standin, monkeypatch):
    monkeypatch.setattr(sys.modules["cupy"], "__version__", "13.6.0")
    with pytest.raises(DeviceError, match="CuPy 13.6.0 is too old, difftensor needs 14"):
        dif.zeros(3, device="cuda")


def test_no_driver(standin, monkeypatch):
    runtime = sys.modules["cupy"].cuda.runtime

    def fail():
        raise runtime.CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")

    monkeypatch.setattr(runtime, "getDeviceCount", fail)
    with pytest.raises(DeviceError, match="no usable NVIDIA driver .*InsufficientDriver"):
        dif.zeros(3, device="cuda")
    assert not dif.cuda.is_available()


def test_out_of_memory(standin, monkeypatch):
    """Says what was asked and what is free; afterwards all goes on."""
    from tests.standin.array import memory

    x = send(np.ones((500, 1)), standin)
    monkeypatch.setitem(memory, "limit", 1_000_000)
    with pytest.raises(
        MemoryError, match=r"multiply: Out of memory allocating 2,000,000 bytes .*Tensor\(500, 1\).*GB free"
    ):
        x * x.T
    with pytest.raises(MemoryError, match="8,000,000 bytes"):
        dif.zeros(1_000_000, device=standin)
    assert (x + x).sum().item() == 1000


def test_operands_on_a_device_that_is_not_the_current_one(standin):
    """CuPy works on its current device and only warns; difftensor works where the operands are."""
    a = np.linspace(0.1, 1, 6).reshape(2, 3)

    def f(x):
        y = np.sin(x) @ x.T
        y[0] = np.cumsum(y[1]) * 2
        return (y / np.linalg.norm(x)).sum() + x[[0, 1, 0]].mean()

    for place in ("cuda:1", "cuda:3"):
        g = dif.grad(f)(send(a, place))
        assert g.device == place
        np.testing.assert_allclose(fetch(g), dif.grad(f)(a), rtol=1e-12)
        h = dif.hessian(lambda x: (np.sin(x) * x).sum())(send(a[0], place))
        assert h.device == place
    assert dif.zeros(1, device="cuda").device == "cuda:0"
    with pytest.raises(DeviceError, match=r"cuda:1.*cuda:2"):
        send(a, "cuda:1") + send(a, "cuda:2")


def test_from_one_gpu_to_another(standin):
    x = send(np.arange(3.0), "cuda:1")
    g = dif.grad(lambda x: (x.to_device("cuda:2") ** 2).sum().to_device("cuda:1") * x.sum())(x)
    assert g.device == "cuda:1"
    np.testing.assert_allclose(fetch(g), 2 * np.arange(3.0) * 3 + 5)


def test_buffers_that_the_tape_relies_on_stay_where_they_are(standin):
    x = send(np.arange(1.0, 4.0), "cuda:2")

    def f(x):
        y = np.sin(x)
        z = y * y
        y[0] = z[1]  # copies first: z relies on y
        view = z[1:]
        w = view * view
        view += 1.0
        return (y + z).sum() + w.sum()

    g = dif.grad(f)(x)
    assert g.device == "cuda:2"
    np.testing.assert_allclose(fetch(g), dif.grad(f)(np.arange(1.0, 4.0)), rtol=1e-13)
    w = x.copy().requires_grad_()
    (w * sys.modules["cupy"].cuda.Device(2).id).sum().backward()
    assert w.grad.device == "cuda:2"


def test_what_is_lent(standin):
    """Through DLPack: the buffer itself, or a copy where the tape relies on the values."""
    x = send(np.arange(3.0), standin)
    assert x.__dlpack_device__() == (2, 0)
    lent = np.from_dlpack(_Lent(x))
    lent[0] = 7.0
    assert x[0].item() == 7.0
    y = np.sin(x.requires_grad_() * 1.0)
    loss = (y * y).sum()
    np.from_dlpack(_Lent(y.detach()))[:] = 0.0
    loss.backward()
    np.testing.assert_allclose(fetch(x.grad), np.sin(2 * np.array([7.0, 1.0, 2.0])), rtol=1e-14)
    with pytest.raises(TypeError, match="would silently drop"):
        y.__dlpack__()


class _Lent:
    """The stand-in's memory is the host's, whatever it says."""

    def __init__(self, x):
        self._x = x

    def __dlpack__(self, **keywords):
        return self._x.__dlpack__()

    def __dlpack_device__(self):
        return 1, 0


def test_operations_return_before_they_are_done(request, device):
    if request.config.getoption("--device") != "cuda":
        pytest.skip("the stand-in computes at once")
    cupy = sys.modules["cupy"]
    a = dif.ones((4096, 4096), device=device)
    (a @ a).sum().item()  # libraries are loaded
    for _ in range(100):
        b = a @ a
    end = cupy.cuda.Event()
    end.record()
    assert not end.done
    dif.cuda.synchronize(device)
    assert end.done and b[0, 0].item() == 4096
