"""reduce, accumulate, reduceat, at of ufuncs: NumPy's identities, initial values and dtypes; derivatives.

np.power and np.arctan2 are left out: NumPy's own vectorized loops skip elements when they are reduced.
"""

import numpy as np
import pytest

import difftensor as dif
from difftensor.testing import check_grads

FLOATS = np.array([[-1.5, 0.7, 2.0, -0.3], [0.4, -2.2, 1.1, 0.9], [3.0, 0.2, -0.6, 1.7]])
CASES = [
    ("hypot", "reduce", -np.ones((1, 3)), {}),  # starts from the identity 0
    ("hypot", "reduce", FLOATS, {"axis": (0, 1)}),
    ("hypot", "reduce", np.arange(6).reshape(2, 3), {"initial": 1.5}),
    ("logaddexp", "reduce", FLOATS, {"axis": None, "initial": 0.5, "keepdims": True}),
    ("logaddexp", "reduce", np.zeros((2, 0, 2)), {"axis": None, "initial": 1.5}),
    ("fmax", "reduce", FLOATS, {"axis": (), "initial": 1.0}),
    ("subtract", "reduce", FLOATS, {"axis": 1, "initial": 2}),
    ("divide", "reduce", np.array([1, 2, 4], np.int16), {}),
    ("divide", "accumulate", np.array([8, 2, 4]), {}),
    ("divide", "accumulate", np.array([[True]]), {"axis": 0}),
    ("logical_and", "accumulate", np.array([2.0, 1.0, 0.0]), {}),
    ("logical_and", "reduce", np.array([2.0, 1.0]), {"initial": False}),
    ("gcd", "reduce", np.array([-12, -18]), {}),
    ("gcd", "reduce", np.array([1.5]), {}),
    ("maximum", "reduce", FLOATS, {"axis": 1, "dtype": int}),
    ("minimum", "reduce", FLOATS, {"axis": 1, "dtype": "c16"}),
    ("bitwise_or", "accumulate", np.array([1.0, 2.0]), {}),
    ("subtract", "reduce", FLOATS, {"axis": None}),
    ("hypot", "reduce", np.array(-2.0), {"axis": 0}),
]


@pytest.mark.parametrize("name, method, x, keywords", CASES)
def test_values_dtypes_and_errors_are_numpys(name, method, x, keywords):
    f = getattr(getattr(np, name), method)
    try:
        expected = f(x, **keywords)
    except (TypeError, ValueError) as error:
        with pytest.raises(type(error)):
            f(dif.asarray(x), **keywords)
        return
    found = f(dif.asarray(x), **keywords)
    assert found.dtype == expected.dtype
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-14)


@pytest.mark.parametrize("name", ["hypot", "logaddexp", "divide", "subtract", "multiply", "remainder"])
def test_reduceat_reduces_slices_and_takes_single_elements(name):
    f = getattr(np, name)
    x = np.abs(FLOATS)
    expected = f.reduceat(x, [0, 2, 1, 3], axis=1)
    np.testing.assert_allclose(np.asarray(f.reduceat(dif.asarray(x), [0, 2, 1, 3], axis=1)), expected)
    with pytest.raises(IndexError):
        f.reduceat(dif.asarray(x), [4], axis=1)
    if name != "remainder":  # steps
        check_grads(lambda x: f.reduceat(x, [0, 2, 1, 3], axis=1), (x,), order=2)


@pytest.mark.parametrize("name", ["hypot", "logaddexp", "divide", "subtract"])
def test_derivatives_of_reductions_with_initial_values(name):
    f, x = getattr(np, name), np.abs(FLOATS)
    check_grads(lambda x: f.reduce(x, axis=0, initial=1.3), (x,), order=2)
    check_grads(lambda x: f.reduce(x[:1], axis=0), (x,), order=2)


@pytest.mark.parametrize("dtype", [float, np.int32])
def test_subtract_at_takes_unsigned_integers(dtype):
    expected = np.array([5, 6, 7], dtype)
    found = dif.tensor(expected)
    np.subtract.at(expected, [0, 0, 2], np.array([1, 2, 9], np.uint8))
    np.subtract.at(found, [0, 0, 2], np.array([1, 2, 9], np.uint8))
    np.testing.assert_array_equal(np.asarray(found), expected)
