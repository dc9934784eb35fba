"""xarray: a DataArray holds a Tensor, and its methods are differentiated."""

import operator

import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import TrackedValueError

pytestmark = pytest.mark.interop("xarray")
LEVELS = [10.0, 20.0, 40.0]


def labeled(values):
    import xarray

    return xarray.DataArray(values, dims=("time", "level"), coords={"level": LEVELS})


METHODS = {
    "mean": lambda d: (d**2).mean("time"),
    "std": lambda d: d.std("level"),
    "var": lambda d: d.var(),
    "max": lambda d: d.max("time"),
    "prod": lambda d: d.prod("level"),
    "cumsum": lambda d: d.cumsum("time") ** 2,
    "median": lambda d: d.median("time"),
    "quantile": lambda d: d.quantile(0.3, "time"),
    "diff": lambda d: d.diff("time") ** 2,
    "sel": lambda d: d.sel(level=20.0) ** 2,
    "sel nearest": lambda d: d.sel(level=18.0, method="nearest") ** 2,
    "isel": lambda d: d.isel(time=slice(1, 3)) ** 2,
    "where": lambda d: d.where(d > 0, 0.1) ** 2,
    "where nan": lambda d: (d.where(d > 0) ** 2).mean(),
    "clip": lambda d: d.clip(-0.5, 0.5) ** 2,
    "shift": lambda d: d.shift(time=1, fill_value=0.0) * d,
    "roll": lambda d: d.roll(time=1) * d,
    "pad": lambda d: d.pad(time=1, constant_values=2.0) ** 2,
    "rolling": lambda d: d.rolling(time=2).mean() ** 2,
    "coarsen": lambda d: d.coarsen(time=2).mean() ** 2,
    "groupby": lambda d: d.groupby("level").sum() ** 2,
    "integrate": lambda d: d.integrate("level") ** 2,
    "differentiate": lambda d: d.differentiate("level") ** 2,
    "polyfit": lambda d: d.polyfit("level", 1).polyfit_coefficients,
    "transpose": lambda d: d.T**2,
    "stacking": lambda d: d.stack(point=("time", "level")) ** 2,
    "apply_ufunc": lambda d: apply_exp(d),
    "np.exp": lambda d: np.exp(d) * d,
    "alignment": lambda d: d * d.isel(level=[0, 2]),
    "broadcasting": lambda d: d * d.isel(time=0),
}


def apply_exp(d):
    import xarray

    return xarray.apply_ufunc(np.exp, d)


@pytest.mark.parametrize("name", METHODS)
def test_methods_keep_the_derivative(name, rng):
    x, v = rng.normal(size=(2, 4, 3))

    def f(values):
        return METHODS[name](labeled(values)).sum().data

    assert f(dif.asarray(x)).item() == pytest.approx(f(x).item(), rel=1e-12)
    h = 1e-6
    slope = (f(x + h * v) - f(x - h * v)) / (2 * h)
    assert np.vdot(dif.grad(f)(x), v) == pytest.approx(slope, rel=1e-7, abs=1e-8)


@pytest.mark.parametrize(
    "f",
    [operator.mul, lambda a, b: b * a, lambda a, b: np.multiply(b, a)],
    ids=["tensor * data", "data * tensor", "np.multiply"],
)
def test_labeled_data_beside_tensors(f, rng):
    x, w = rng.normal(size=(2, 4, 3))
    y = f(dif.tensor(x), labeled(w))
    assert type(y).__name__ == "DataArray" and type(y.data) is dif.Tensor
    np.testing.assert_array_equal(dif.grad(lambda x: f(x, labeled(w)).sum().data)(x), w)


def test_datasets(rng):
    import xarray

    x = rng.normal(size=(4, 3))

    def f(values):
        data = xarray.Dataset({"u": labeled(values), "v": labeled(2.0 * values)})
        return (data.u * data.v).mean("time").sum().data

    np.testing.assert_allclose(dif.grad(f)(x), x, rtol=1e-14)


@pytest.mark.parametrize(
    "f",
    [
        lambda d: d.values.sum(),
        lambda d: d.to_pandas().sum().sum(),
        lambda d: d.copy(deep=True).sum().data,
        lambda d: d.interp(level=15.0).sum().data,
        lambda d: d.plot(),
    ],
    ids=["values", "to_pandas", "copy", "interp", "plot"],
)
def test_what_leaves_xarray_raises(f, rng):
    pytest.importorskip("matplotlib", reason="not installed: matplotlib").use("Agg")
    with pytest.raises(TrackedValueError, match="detach"):
        dif.grad(lambda x: f(labeled(x)))(rng.normal(size=(4, 3)))
