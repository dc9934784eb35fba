"""NumPy's functions on the device: every call of numpy_calls.py, with the values and derivatives of the CPU."""

import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import DeviceError
from tests.cuda.agreement import assert_agree, assert_derivatives_agree, send
from tests.numpy_calls import SAMPLES
from tests.test_namespace import PLAIN, SMOOTH, named, run

pytestmark = [
    pytest.mark.usefixtures("device"),
    pytest.mark.filterwarnings("ignore:numpy.fix is deprecated:DeprecationWarning"),
]


def calls(lines):
    return pytest.mark.parametrize("call", [c for c in lines if named(c)])


# Calls that cannot run on the device as they stand, and how they say so.
APART = {
    "histogram(np.arange(5.0), bins=4, weights=w)[0]": "different devices",
    "interp(u, np.array([-1.0, 0.1, 1.0]), c3)": "different devices",
    "insert(v, f5, s)": r"to_device\('cpu'\)",  # where to insert must be known on the host
}
SORTED = ("unique_values(",)  # CuPy finds no other order


def function(call):
    names = named(call)
    return lambda *xs: run(call, dif, dict(zip(names, xs, strict=True))), tuple(SAMPLES[n].copy() for n in names)


@calls([*SMOOTH, *PLAIN])
def test_values(call, device):
    f, xs = function(call)
    if call in APART:
        with pytest.raises(DeviceError, match=APART[call]):
            f(*(send(x, device) for x in xs))
        return
    here = f(*map(dif.tensor, xs))
    assert_agree(f(*(send(x, device) for x in xs)), dif.sort(here) if call.startswith(SORTED) else here, device, call)


@calls([c for c in SMOOTH if c not in APART])
def test_derivatives(call, device):
    f, xs = function(call)
    order = 2 if all(x.dtype != np.float32 for x in xs) else 1
    assert_derivatives_agree(f, xs, device, order=order)


def test_on_another_than_the_current_gpu(device):
    """CuPy works on its current device; difftensor works, also between operations, where the operands are."""
    if dif.cuda.device_count() < 2:
        pytest.skip("one GPU")
    wrong = []
    for call in (c for c in [*SMOOTH, *PLAIN] if c not in APART and named(c)):
        f, xs = function(call)
        here = f(*map(dif.tensor, xs))
        try:
            there = f(*(send(x, "cuda:1") for x in xs))
            assert_agree(there, dif.sort(here) if call.startswith(SORTED) else here, "cuda:1", call)
        except Exception as error:  # noqa: BLE001 - collected
            wrong.append(f"{call}: {str(error)[:200]!r}")
    assert not wrong, "\n".join(wrong)
