"""Saving trees of Tensors in ``.npz`` files: arrays and their arrangement, nothing that could be executed."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from difftensor._backend import as_device
from difftensor._core import Tensor, wrap
from difftensor.errors import would_lose

_ARRANGEMENT = "arrangement.json"


def save(path: str | os.PathLike, tree: Any) -> None:
    """Write a tree of arrays and numbers to `path`.

    Parameters
    ----------
    path : path
        Written as given; the format is NumPy's ``.npz``, which ``np.load`` reads too.
    tree : nested dicts, lists and tuples of Tensors, arrays, numbers, strings and None
        The keys of dicts are strings or integers.

    Raises
    ------
    TrackedValueError
        A Tensor in the tree is the result of recorded operations: save ``x.detach()``. Leaves that require a gradient
        are saved with that flag.
    TypeError
        Something else is in the tree, which only pickling could save.

    Examples
    --------
    >>> import os, tempfile, difftensor as dif
    >>> state = {"w": dif.tensor([1.0, 2.0], requires_grad=True), "step": 3}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "state.npz")
    ...     dif.io.save(path, state)
    ...     dif.io.load(path)
    {'w': tensor([1., 2.], requires_grad=True), 'step': 3}
    """
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_arranged(tree, "", arrays))
    path = os.fspath(path)
    beside = f"{path}.{os.getpid()}.part"  # a crash in the middle leaves the old file as it was
    try:
        with open(beside, "wb") as file:
            arrays[_ARRANGEMENT] = np.frombuffer(text.encode(), np.uint8)
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)


def load(path: str | os.PathLike, *, device: Any = None) -> Any:
    """The tree that `save` wrote to `path`: Tensors as Tensors, arrays as arrays.

    Parameters
    ----------
    path : path
    device : str or Device, optional
        Where the Tensors go; the CPU by default.

    Raises
    ------
    ValueError
        The file was not written by `save`. Nothing in a file is ever executed or unpickled.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            text = bytes(archive[_ARRANGEMENT])
            arrays = {name: archive[name] for name in archive.files if name != _ARRANGEMENT}
        return _rebuilt(json.loads(text), arrays, None if device is None else as_device(device))
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged or foreign file fails in many ways
        name = os.fspath(path)
        raise ValueError(f"io.load: {name!r} was not written by dif.io.save, or is damaged: {error}") from error


def _arranged(x: Any, name: str, arrays: dict) -> Any:
    """`x` in JSON's types; its arrays go to `arrays`."""
    if x is None or x.__class__ in (bool, int, str):
        return x
    if x.__class__ is float:
        return {"float": x.hex()}
    if x.__class__ is complex:
        return {"complex": [x.real.hex(), x.imag.hex()]}
    if x.__class__ is dict:
        if any(k.__class__ not in (str, int) for k in x):
            raise TypeError(
                f"io.save: the keys at {name or 'the root'} are {list(x)[:5]}; only strings and integers can be saved"
            )
        return {"dict": [[k, _arranged(v, f"{name}/{k}", arrays)] for k, v in x.items()]}
    if x.__class__ in (list, tuple):
        return {x.__class__.__name__: [_arranged(v, f"{name}/{i}", arrays) for i, v in enumerate(x)]}
    if isinstance(x, Tensor):
        if not (x.node is None or (x.is_leaf and x.node.user)):
            raise would_lose(f"io.save, at {name or 'the root'},", x)
        data, kind = x.detach().to_device("cpu").numpy(), "leaf" if x.requires_grad else "tensor"
    elif isinstance(x, (np.ndarray, np.generic)) and type(x) in (np.ndarray, *np.sctypeDict.values()):
        data, kind = np.asarray(x), "array" if isinstance(x, np.ndarray) else "scalar"
    else:
        raise TypeError(
            f"io.save: at {name or 'the root'} is a {type(x).__name__}, which only pickling could save; use dicts, "
            "lists and tuples of Tensors, arrays, numbers and strings"
        )
    if data.dtype.kind not in "biufc":
        raise TypeError(
            f"io.save: at {name or 'the root'} is an array of dtype {data.dtype}; only numbers can be saved"
        )
    # a zip file cuts names at a NUL, and NumPy takes "a.npy" for its entry "a"
    key = "".join(c if c.isprintable() else "_" for c in name.lstrip("/").replace("/", ".")) or "value"
    while key in arrays or key in (_ARRANGEMENT, "file") or key.endswith(".npy"):
        key += "_"
    arrays[key] = data
    return {kind: key}


def _rebuilt(x: Any, arrays: dict, device: Any) -> Any:
    if not isinstance(x, dict):
        if x is None or x.__class__ in (bool, int, str):
            return x
        raise ValueError(f"unexpected {type(x).__name__}")
    ((kind, v),) = x.items()
    if kind == "float":
        return float.fromhex(v)
    if kind == "complex":
        return complex(*map(float.fromhex, v))
    if kind == "dict":
        return {k: _rebuilt(w, arrays, device) for k, w in v}
    if kind in ("list", "tuple"):
        return (list if kind == "list" else tuple)(_rebuilt(w, arrays, device) for w in v)
    a = arrays[v]
    if kind == "array":
        return a
    if kind == "scalar":
        return a[()]
    if kind not in ("tensor", "leaf"):
        raise ValueError(f"unknown kind {kind!r}")
    t = wrap(a)
    if device is not None:
        t = t.to_device(device)
    return t.requires_grad_() if kind == "leaf" else t


__all__ = ["load", "save"]
