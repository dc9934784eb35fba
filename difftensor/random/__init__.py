"""Random numbers: NumPy's Generator over one counter-based generator, on every device, and differentiable.

>>> import difftensor as dif
>>> rng = dif.random.default_rng(0)
>>> rng.normal(size=(2, 3)).shape
(2, 3)

The functions of ``numpy.random`` itself (``seed``, ``rand``, ``normal`` ...), which share a hidden state, are left out:
each raises with the method to use.
"""

from __future__ import annotations

from typing import Any

import numpy as _numpy
from numpy.random import SeedSequence

from difftensor.random._generator import Generator, default_rng
from difftensor.random._philox import Philox

__all__ = ["Generator", "Philox", "SeedSequence", "default_rng"]

_METHODS = {
    "rand": "random(size)",
    "randn": "standard_normal(size)",
    "randint": "integers(low, high, size)",
    "random_integers": "integers(low, high, size, endpoint=True)",
    "random_sample": "random(size)",
    "ranf": "random(size)",
    "sample": "random(size)",
    "get_state": "state",
    "set_state": "state = ...",
}


def __getattr__(name: str) -> Any:
    if name == "seed":
        how = "make a generator: rng = dif.random.default_rng(seed), and hand it on"
    elif name in ("RandomState", "BitGenerator", "MT19937", "PCG64", "PCG64DXSM", "SFC64"):
        how = "there is one algorithm, Philox, for all devices: rng = dif.random.default_rng(seed)"
    elif name in _numpy.random.__all__:
        how = f"make a generator: rng = dif.random.default_rng(seed), and use rng.{_METHODS.get(name, name)}"
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise AttributeError(f"np.random.{name} is left out of difftensor on purpose: {how}")
