"""Files: what is written are values, so a tracked Tensor raises."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._core import Tensor, composition, publish, wrap
from difftensor._core.primitive import signed
from difftensor._core.tensor import export
from difftensor._ops.creation import _numeric
from difftensor.errors import would_lose


def _values(v: Any, name: str) -> Any:
    if not isinstance(v, Tensor):
        return v
    if v.node is not None:
        raise would_lose(f"{name}()", v)
    return export(v, copy=False)


def _writer(name: str) -> Any:
    twin = getattr(np, name)

    def body(*args: Any, **keywords: Any) -> Any:
        return twin(*(_values(v, name) for v in args), **{k: _values(v, name) for k, v in keywords.items()})

    return signed(composition(twin, name=name)(body), twin)


save, savez, savez_compressed, savetxt = map(_writer, ("save", "savez", "savez_compressed", "savetxt"))


def load(file: Any, *args: Any, **keywords: Any) -> Any:
    """As ``np.load``; an array comes as a Tensor, an archive (.npz) as NumPy's."""
    found = np.load(file, *args, **keywords)
    return wrap(_numeric(found, "load")) if isinstance(found, np.ndarray) else found


publish("load", signed(load, np.load))
