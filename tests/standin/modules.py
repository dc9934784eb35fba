"""The modules of the stand-in: NumPy's and SciPy's functions under the names and with the arguments that CuPy has."""

from __future__ import annotations

import functools
import importlib
import sys
import types

import numpy as np
import scipy

from tests.standin import otherwise
from tests.standin.array import FACTS, ndarray
from tests.standin.functions import attach_methods, function
from tests.standin.kernels import fuse
from tests.standin.launching import blas
from tests.standin.runtime import Pool, cuda_module
from tests.standin.ufuncs import Ufunc

PACKAGES = "cupy", "cupyx", "cupy_backends"
TWINS = {"cupy": np, "cupyx": types.ModuleType("cupyx")}


def module(full):
    """The stand-in's module of this name, with the names of the facts."""
    space = types.ModuleType(full)
    space.__path__ = []
    library = full.replace("cupyx.", "").replace("cupy", "numpy")
    twins = TWINS.get(full) or importlib.import_module(library)
    for name, row in FACTS.get(full, {}).items():
        twin = getattr(twins, name, None)
        if twin is None:
            setattr(space, name, _absent(full, name)) if "parameters" in row else None
        elif "ufunc" in row:
            setattr(space, name, Ufunc(name, twin, row) if isinstance(twin, np.ufunc) else function(name, twin, None))
        elif "parameters" in row:
            setattr(space, name, function(name, twin, row["parameters"]))
        else:
            setattr(space, name, twin)
    return space


def _absent(full, name):
    def f(*args, **kwargs):
        raise NotImplementedError(f"the stand-in does not compute {full}.{name}")

    return f


# In and out of sys.modules ------------------------------------------------------------------------------------------


def build():
    """All modules of the stand-in by their names."""
    attach_methods()
    found = {full: module(full) for full in FACTS if full.startswith("cupy") and full != "cupy.ndarray"}
    found["cupy.cuda"] = cuda_module()
    found["cupyx.scipy"] = types.ModuleType("cupyx.scipy")
    found["cupyx.scipy"].__path__ = []
    cupy = found["cupy"]
    cupy.__version__ = FACTS["version"]
    cupy.ndarray, cupy.array, cupy.asnumpy = ndarray, otherwise.array, otherwise.asnumpy
    cupy.asarray = cupy.asanyarray = otherwise.asarray
    cupy.where = otherwise.where
    cupy.fuse, cupy.ufunc, cupy.real, cupy.imag = fuse, Ufunc, otherwise.part("real"), otherwise.part("imag")
    found["cupy.linalg"].solve = otherwise.solve
    found["cupy.lib.stride_tricks"].as_strided = otherwise.as_strided
    cupy.get_default_memory_pool = Pool
    found["cupyx"].errstate = otherwise.errstate
    found["cupy.fft"].config = types.SimpleNamespace(get_plan_cache=otherwise.PlanCache)
    cupy.min_scalar_type = otherwise.min_scalar_type
    cupy.sinc, cupy.i0 = otherwise.short(cupy.sinc), otherwise.short(cupy.i0)
    for full in ("cupy_backends", "cupy_backends.cuda", "cupy_backends.cuda.libs"):
        found[full] = types.ModuleType(full)
        found[full].__path__ = []
    found[blas.__name__] = blas
    for full, space in found.items():
        parent, _, last = full.rpartition(".")
        if parent:
            setattr(found[parent], last, space)
    return found


@functools.cache
def _built():
    return build()


def installed():
    return sys.modules.get("cupy") is _built()["cupy"]


def install():
    """Make ``import cupy`` find the stand-in; returns what was there before."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in PACKAGES}
    sys.modules.update(_built())
    return before


def remove(before):
    for name in list(sys.modules):
        if name.split(".")[0] in PACKAGES:
            del sys.modules[name]
    sys.modules.update(before)


assert scipy
