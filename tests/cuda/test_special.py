"""Functions that CuPy lacks: by array code with SciPy's values, or an error with their name."""

import numpy as np
import pytest
import scipy.special

import difftensor as dif
from difftensor.errors import DeviceError
from tests.cuda.agreement import fetch, send

pytestmark = pytest.mark.usefixtures("device")
X = np.concatenate([np.linspace(-12, 12, 481), [1e-9, -1e-9, 1e-3, 40.0, -40.0]])


@pytest.mark.parametrize("name", ["jv", "yv", "iv", "kv", "ive", "kve"])
@pytest.mark.parametrize("n", [-3, -2, -1, 0, 1, 2, 3, 4, 6])
def test_bessel_functions_of_integer_order(name, n, device):
    x = X if name in ("jv", "iv", "ive") else np.abs(X[np.abs(X) > 1e-4])
    expected = getattr(scipy.special, name)(float(n), x)
    y = fetch(getattr(dif.special, name)(float(n), send(x, device)))
    scale = np.abs(expected)
    if name in ("jv", "yv"):  # beside their zeros, the error is that of the amplitude
        scale = np.maximum(scale, np.minimum(1, (np.abs(x) / 2) ** abs(n)))
    assert np.all(np.abs(y - expected) <= 3e-13 * scale)


@pytest.mark.parametrize("call", [
    lambda x: dif.special.jv(1.5, x), lambda x: dif.special.kv(7.0, x), dif.special.erfi, dif.special.dawsn,
    lambda x: dif.special.airy(x)[0], lambda x: dif.special.fresnel(x)[0], lambda x: dif.special.hankel1(1.0, x),
    lambda x: dif.linalg.sqrtm(x[:4].reshape((2, 2))), lambda x: dif.linalg.logm(x[:4].reshape((2, 2))),
])  # fmt: skip
def test_what_is_not_there_says_so(call, device):
    with pytest.raises(DeviceError, match=r"not available on a GPU.*to_device\('cpu'\)"):
        call(send(np.linspace(0.1, 1, 5), device))
