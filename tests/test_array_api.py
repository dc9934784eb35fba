"""The array API standard, revision 2025.12: its names and parameters, dtypes, devices and queries.

The public suite is the whole test (scripts/conformance.py); what is here needs nothing but array-api-strict, which
has the standard's names and signatures and nothing else.
"""

import inspect

import numpy as np
import pytest

import difftensor as dif

strict = pytest.importorskip("array_api_strict", reason="not installed: array_api_strict")
THEIR_OWN = {n for n in strict.__all__ if "lags" in n} | {"Device", "__version__", "fft", "linalg"}
NAMES = [n for n in strict.__all__ if n not in THEIR_OWN]
NAMES += [f"linalg.{n}" for n in strict.linalg.__all__] + [f"fft.{n}" for n in strict.fft.__all__]
X = np.arange(6.0).reshape(2, 3)


def look_up(space, name):
    for part in name.split("."):
        space = getattr(space, part)
    return space


def test_the_revision():
    assert dif.__array_api_version__ == strict.__array_api_version__ == "2025.12"
    assert dif.ones(2).__array_namespace__(api_version="2025.12") is dif


@pytest.mark.parametrize("name", NAMES)
def test_names_and_parameters(name):
    theirs, ours = look_up(strict, name), look_up(dif, name)
    if not callable(theirs) or isinstance(theirs, type) or name.startswith("__"):
        return
    have = inspect.signature(ours).parameters
    if any(p.kind is p.VAR_POSITIONAL for p in have.values()):
        return  # a ufunc without derivative takes what NumPy's takes
    for i, (parameter, p) in enumerate(inspect.signature(theirs).parameters.items()):
        if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL):
            assert len(have) > i
        elif not any(q.kind is q.VAR_KEYWORD for q in have.values()):
            assert parameter in have


ARRAY = [n for n in dir(strict.asarray(1.0)) if not n.startswith("_") or n.endswith("__")]


@pytest.mark.parametrize("name", [n for n in ARRAY if n not in dir(object) and n not in ("__module__", "__buffer__")])
def test_methods_of_arrays(name):
    assert hasattr(dif.Tensor, name)


def test_what_it_says_of_itself():
    ours, theirs = dif.__array_namespace_info__(), strict.__array_namespace_info__()
    assert ours.capabilities() == {**theirs.capabilities(), "max dimensions": 64}
    assert ours.default_device() == "cpu" and "cpu" in ours.devices()
    plain = {k: np.dtype(v._np_dtype) for k, v in theirs.default_dtypes().items()}
    assert ours.default_dtypes() == ours.default_dtypes(device="cpu") == plain
    for kind in (
        None,
        "bool",
        "signed integer",
        "integral",
        "real floating",
        "complex floating",
        "numeric",
        ("bool", "integral"),
    ):
        expected = {k: np.dtype(v._np_dtype) for k, v in theirs.dtypes(kind=kind).items()}
        assert {k: np.dtype(v) for k, v in ours.dtypes(kind=kind).items()} == expected


CREATION = {
    "arange": (3,), "array": ([1.0],), "asarray": ([1.0],), "empty": (2,), "empty_like": (dif.ones(2),), "eye": (2,),
    "from_dlpack": (X,), "full": (2, 1.0), "full_like": (dif.ones(2), 3.0), "geomspace": (1.0, 2.0),
    "linspace": (0.0, 1.0),
    "logspace": (0.0, 1.0), "ones": (2,), "ones_like": (dif.ones(2),), "tensor": ([1.0],), "zeros": (2,),
    "zeros_like": (dif.ones(2),), "identity": (2,), "tri": (2,), "asanyarray": ([1.0],),
}  # fmt: skip


@pytest.mark.parametrize("name", CREATION)
def test_creation_takes_a_device(name):
    for device in ("cpu", dif.Device("cpu"), None):
        x = getattr(dif, name)(*CREATION[name], device=device)
        assert isinstance(x, dif.Tensor) and x.device == "cpu"
    with pytest.raises(ValueError, match="tpu"):
        getattr(dif, name)(*CREATION[name], device="tpu")


def test_devices():
    x = dif.asarray(X)
    assert x.to_device(x.device) is x
    assert str(x.device) == "cpu" and x.device == dif.Device("cpu")
    assert dif.astype(x, dif.float32, device="cpu").dtype == dif.float32


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_limits_of_floats(dtype):
    theirs = np.finfo(dtype)
    for given in (dtype, getattr(dif, dtype), dif.ones(2, dtype), np.ones(2, dtype)):
        ours = dif.finfo(given)
        for name in ("bits", "eps", "max", "min", "smallest_normal", "tiny", "dtype"):
            assert getattr(ours, name) == getattr(theirs, name)
        assert isinstance(ours.eps, float)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64"])
def test_limits_of_integers(dtype):
    for given in (dtype, dif.ones(2, dtype)):
        assert (dif.iinfo(given).min, dif.iinfo(given).max) == (np.iinfo(dtype).min, np.iinfo(dtype).max)


@pytest.mark.parametrize("stable", [True, None])
def test_descending_orders(rng, stable):
    """The reference is the ascending order of the negated values."""
    x = rng.integers(0, 5, (4, 30))
    found = dif.argsort(dif.asarray(x), axis=-1, descending=True, stable=stable)
    np.testing.assert_array_equal(found, np.argsort(-x, axis=-1, stable=True))
    np.testing.assert_array_equal(dif.sort(dif.asarray(x), axis=0, descending=True), -np.sort(-x, axis=0))
    dif.testing.check_grads(lambda v: dif.sort(v, descending=True) ** 2, rng.standard_normal(6), order=2)
