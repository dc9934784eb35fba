"""What every test shares: seeded random numbers, and skips (with a reason) where something is missing."""
import zlib
from importlib.util import find_spec

import numpy as np
import pytest


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=0, help="seed of the `rng` fixture (default 0)")
    parser.addoption(
        "--device",
        choices=["standin", "cuda"],
        default="standin",
        help="where the tests of the `device` fixture run: on a stand-in for CuPy (default), or on a GPU",
    )


def pytest_collection_modifyitems(items):
    gpu = None
    for item in items:
        if " at 0x" in item.nodeid:  # pytest-xdist's workers would not agree about the tests
            raise pytest.UsageError(f"{item.nodeid}: the name of a test holds an address; give its parameter an id")
        for mark in (*item.iter_markers("peers"), *item.iter_markers("interop")):
            missing = [name for name in mark.args if find_spec(name) is None]
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(missing)}"))
        if item.get_closest_marker("cuda"):
            gpu = why_no_gpu() if gpu is None else gpu
            if gpu:
                item.add_marker(pytest.mark.skip(reason=gpu))


@pytest.fixture
def device(request):
    """``"cuda:0"``: of the machine with ``--device=cuda``, else of the stand-in for CuPy (tests/standin)."""
    if request.config.getoption("--device") == "cuda":
        why = why_no_gpu()
        if why:
            pytest.skip(why)
        yield "cuda:0"
        return
    from tests import standin

    before = standin.install()
    yield "cuda:0"
    import difftensor as dif
    from tests.standin.array import device_now

    assert dif.zeros(1).device == "cpu" and device_now() == 0, "a device was entered and not left"
    standin.remove(before)


def why_no_gpu() -> str:
    """Empty if CuPy sees a device."""
    if find_spec("cupy") is None:
        return "not installed: cupy"
    import cupy

    try:
        return "" if cupy.cuda.runtime.getDeviceCount() else "no CUDA device"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no CUDA device: {error}"


@pytest.fixture
def rng(request):
    """A generator of its own for each test, the same in every order and on every worker.  Prints its seed."""
    seed = request.config.getoption("seed"), zlib.crc32(request.node.nodeid.encode())
    print(f"np.random.default_rng({list(seed)})")
    return np.random.default_rng(seed)
