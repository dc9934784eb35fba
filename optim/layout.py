"""One vector for a pytree of parameters, and back.

Every algorithm in this package works on one vector ``x``. A `Layout` remembers where the leaves of the user's
``x0`` lie in it: shapes, dtypes, and which are complex (seen as pairs of reals: all real parts, then all
imaginary parts, of that leaf).
"""

from __future__ import annotations

import math
import re
from numbers import Number

import numpy as np

import difftensor as dif

from .place import host, values


class Layout:
    """How the leaves of ``tree`` lie in one vector."""

    __slots__ = ("example", "leaves", "plain", "size", "structure")

    def __init__(self, tree):
        if _is_plain_sequence(tree):  # a list of plain numbers is an array
            tree = np.array(tree)
        self.example = tree
        leaves, self.structure = dif.tree.flatten(tree)
        self.leaves = [_Leaf(leaf) for leaf in leaves]
        self.size = sum(leaf.size for leaf in self.leaves)
        if self.size == 0:
            raise ValueError(
                "optim: x0 holds no numbers, so there is nothing to optimize; "
                "pass an array or a pytree (dict, list, tuple) of arrays with at least one element"
            )
        # The common case, one real vector, is handed through untouched.
        self.plain = len(self.leaves) == 1 and self.leaves[0].is_vector and leaves[0] is tree

    def pack(self, tree):
        """The vector of ``tree``, whose structure must be that of ``x0``; always a fresh raw array."""
        if _is_plain_sequence(tree):
            tree = np.array(tree)
        leaves, structure = dif.tree.flatten(tree)
        if structure != self.structure:
            raise ValueError(f"optim: expected the structure of x0, {self.structure}, got {structure}")
        parts = [place.pack(leaf) for place, leaf in zip(self.leaves, leaves, strict=True)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def vector(self, tree, what):
        """The vector of what a function returned in the structure of ``x0``, differentiable; ``what`` is its name."""
        if self.structure is None and isinstance(tree, (list, tuple)):
            tree = dif.asarray(tree)
        leaves, structure = dif.tree.flatten(tree)
        if structure != self.structure:
            raise ValueError(f"optim: {what} must be like x0, {self.structure or 'an array'}, got "
                             f"{structure or type(tree).__name__}")  # fmt: skip
        parts = []
        for place, leaf in zip(self.leaves, leaves, strict=True):
            shape = dif.shape(leaf)
            if shape != place.shape:
                raise ValueError(f"optim: {what} must be shaped like x0, {place.shape}, got shape {shape}")
            leaf = dif.reshape(leaf, (-1,))
            if place.is_complex:
                leaf = dif.concatenate([dif.real(leaf), dif.imag(leaf)])
            elif leaf.dtype.kind == "c":
                raise TypeError(f"optim: {what} is complex, and x0 is real; start with a complex x0")
            parts.append(leaf)
        return parts[0] if len(parts) == 1 else dif.concatenate(parts)

    def unpack(self, x):
        """The pytree of the vector ``x``, a raw array or a Tensor; differentiable in ``x``."""
        if self.plain:
            return x
        leaves, start = [], 0
        for leaf in self.leaves:
            leaves.append(leaf.unpack(x[start : start + leaf.size]))
            start += leaf.size
        return dif.tree.unflatten(self.structure, leaves)

    def restore(self, x):
        """The pytree of ``x`` as the user passed it in: Tensors for Tensors and arrays on a device, else arrays."""
        if self.plain and not self.leaves[0].is_tensor:
            return x if x.dtype == self.leaves[0].dtype else x.astype(self.leaves[0].dtype)
        leaves, start = [], 0
        for place in self.leaves:
            leaf = place.unpack(x[start : start + place.size])
            if place.is_tensor:
                leaf = dif.asarray(leaf)
            if leaf.dtype != place.dtype:  # the vector has the widest of all
                leaf = leaf.astype(place.dtype)
            leaves.append(leaf[()] if place.is_scalar else leaf)
            start += place.size
        return dif.tree.unflatten(self.structure, leaves)

    def path(self, i: int) -> str:
        """A short label of element ``i``: the names that lead to its leaf, and its place in the leaf."""
        number, leaf, i = self._find(i)
        label = re.sub(r"\['([^']*)'\]", r".\1", dif.tree.path(self.example, number)).lstrip(".")
        if not label or label.startswith("["):
            label = f"x{label}"
        return label if leaf.size == 1 else label + leaf.index(i)

    def name(self, i: int) -> str:
        """What to call element ``i`` of the vector in a message."""
        number, leaf, i = self._find(i)
        return f"x{dif.tree.path(self.example, number)}{leaf.index(i)}"

    def _find(self, i):
        """The leaf that element ``i`` of the vector is in, and which element of it that is."""
        for number, leaf in enumerate(self.leaves):
            if i < leaf.size:
                return number, leaf, i
            i -= leaf.size
        raise IndexError(i)

    @property
    def dtype(self):
        """The dtype of the vector."""
        return np.result_type(*(np.empty(0, leaf.dtype).real.dtype for leaf in self.leaves))

    def home(self, y):
        """What the user's function returned, where the vectors are; differentiable."""
        return y


class HostLayout(Layout):
    """The vector on the host, the leaves on a device: for methods whose algebra is NumPy's.

    The user's functions run where their data are. For each evaluation the vector goes there, and what comes out of
    it, with its derivatives, comes back.
    """

    __slots__ = ("device",)

    def __init__(self, tree, device):
        super().__init__(tree)
        self.device, self.plain = device, False

    def pack(self, tree):
        return host(super().pack(tree))

    def unpack(self, x):
        return super().unpack(dif.asarray(x).to_device(self.device))

    def restore(self, x):
        return super().restore(dif.asarray(x, device=self.device))

    def home(self, y):
        return y.to_device("cpu") if isinstance(y, dif.Tensor) else y


class _Leaf:
    __slots__ = ("count", "dtype", "is_complex", "is_number", "is_scalar", "is_tensor", "is_vector", "shape", "size")

    def __init__(self, leaf):
        self.is_tensor = hasattr(leaf, "dtype") and not isinstance(leaf, (np.ndarray, np.generic))
        self.is_number = not hasattr(leaf, "shape")  # of Python
        self.is_scalar = self.is_number or isinstance(leaf, np.generic)
        raw = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        if raw.dtype.kind not in "biufc":
            raise TypeError(f"optim: x0 must hold numbers, got an entry of dtype {raw.dtype}: {leaf!r}")
        self.shape = tuple(raw.shape)
        self.count = math.prod(self.shape)
        self.is_complex = raw.dtype.kind == "c"
        self.dtype = np.dtype(raw.dtype if raw.dtype.kind in "fc" else np.float64)
        self.size = self.count * (2 if self.is_complex else 1)
        self.is_vector = len(self.shape) == 1 and not self.is_complex

    def pack(self, leaf):
        raw = _raw(leaf)
        if tuple(raw.shape) != self.shape:
            raise ValueError(f"optim: expected an array of shape {self.shape}, got shape {raw.shape}")
        raw = raw.reshape(-1)
        if self.is_complex:
            raw = raw.astype(self.dtype)
            return np.concatenate([raw.real, raw.imag])
        return raw.astype(self.dtype)

    def index(self, i) -> str:
        """Element ``i`` of its part of the vector, as it is written behind the leaf."""
        part = (".real", ".imag")[i // self.count] if self.is_complex else ""
        return (str([int(k) for k in np.unravel_index(i % self.count, self.shape)]) if self.shape else "") + part

    def unpack(self, x):
        if self.is_complex:
            x = x[: self.count] + 1j * x[self.count :]
        return x if self.is_vector else x.reshape(self.shape)


def _raw(leaf):
    """The values of a leaf: an ndarray for anything on the host, a Tensor for anything elsewhere."""
    if isinstance(leaf, (np.ndarray, np.generic)) or not hasattr(leaf, "dtype"):
        return np.asarray(leaf)
    return values(dif.asarray(leaf))


def _is_plain_sequence(tree) -> bool:
    plain = isinstance(tree, (list, tuple)) and not hasattr(tree, "_fields")
    return plain and bool(tree) and all(isinstance(item, Number) for item in tree)
