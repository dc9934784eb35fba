"""h5py: constants are written as their values, data sets are read as constants."""

import io

import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import TrackedValueError

pytestmark = pytest.mark.interop("h5py")
X = np.array([[0.3, 0.7], [1.1, 1.3]])


@pytest.fixture
def file():
    import h5py

    with h5py.File(io.BytesIO(), "w") as f:
        f["w"] = 2.0 * X
        yield f


def test_constants_are_written(file):
    x = dif.tensor(X)
    file["x"] = x
    file.create_dataset("y", data=x, compression="gzip")
    file["w"][0] = x[1]
    file.attrs["first"] = x[0]
    np.testing.assert_array_equal(file["x"][...], X)
    np.testing.assert_array_equal(file["y"][...], X)
    np.testing.assert_array_equal(file["w"][...], [X[1], 2 * X[1]])
    np.testing.assert_array_equal(file.attrs["first"], X[0])


@pytest.mark.parametrize(
    "f",
    [
        lambda x, w: x * w[...],
        lambda x, w: x * w,
        lambda x, w: w * x,
        lambda x, w: dif.asarray(w) * x,
        lambda x, w: np.multiply(x, w),
    ],
    ids=["x * w[...]", "x * w", "w * x", "asarray", "np.multiply"],
)
def test_data_sets_are_constants(f, file):
    np.testing.assert_array_equal(dif.grad(lambda x: f(x, file["w"]).sum())(X), 2.0 * X)


def test_a_matrix_on_disk(file):
    gradient = dif.grad(lambda v: (file["w"] @ v)[0] + (v @ file["w"])[1])(X[0])
    np.testing.assert_allclose(gradient, 2.0 * (X[0] + X[:, 1]))


def write(file, x):
    file["w"][...] = x


@pytest.mark.parametrize(
    "f",
    [
        lambda file, x: file.create_dataset("x", data=x),
        lambda file, x: file.__setitem__("x", x),
        write,
        lambda file, x: file.attrs.__setitem__("x", x),
    ],
    ids=["create", "new", "write", "attribute"],
)
def test_derivatives_do_not_vanish_into_files(f, file):
    with pytest.raises(TrackedValueError, match=r"detach\(\)"):
        f(file, dif.tensor(X, requires_grad=True))
