"""Simple bounds ``lower <= x <= upper``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

import numpy as np

import difftensor as dif

from .place import like


class Box:
    """The box ``lower <= x <= upper`` of one vector.

    Attributes
    ----------
    lower, upper : array, shape (n,)
        Infinite where there is no bound.
    """

    __slots__ = ("lower", "upper")

    def __init__(self, lower, upper):
        self.lower, self.upper = lower, upper

    @classmethod
    def read(cls, bounds, layout) -> Box | None:
        """The box a user described, or None without any finite bound.

        ``bounds`` is a sequence of pairs ``(low, high)``, one per element of ``x0``, None meaning no bound; or
        an object with ``lb`` and ``ub`` (SciPy's ``Bounds``); or, for a pytree, a tree of the same structure
        (entries may be missing or None) whose leaves are such pairs or objects; for a dataclass or a namedtuple
        also a dict.
        """
        if bounds is None:
            return None
        found = [(np.full(leaf.size, -np.inf), np.full(leaf.size, np.inf)) for leaf in layout.leaves]
        _walk(bounds, dif.tree.unflatten(layout.structure, list(range(len(found)))), layout, found)
        return cls.of(*(np.concatenate(ends).astype(layout.dtype) for ends in zip(*found, strict=True)))

    @classmethod
    def of(cls, lower, upper) -> Box | None:
        if np.isnan(lower).any() or np.isnan(upper).any():
            raise ValueError("optim: a bound is NaN; use None or an infinity where there is no bound")
        if (lower > upper).any():
            i = int(np.argmax(lower > upper))
            raise ValueError(f"optim: the bounds of element {i} contradict: {lower[i]} > {upper[i]}")
        if np.isinf(lower).all() and np.isinf(upper).all():
            return None
        return cls(lower, upper)

    def beside(self, x) -> Box:
        """The same box where ``x`` lives."""
        return Box(like(self.lower, x), like(self.upper, x))

    def check(self, x, layout) -> None:
        """Raise with a name and a remedy if ``x`` is outside."""
        outside = (x < self.lower) | (x > self.upper)
        if outside.any():
            i = int(np.argmax(outside))
            raise ValueError(
                f"optim: the start is outside the bounds: {layout.name(i)} = {x[i]} is not in "
                f"[{self.lower[i]}, {self.upper[i]}]; start inside, for example at np.clip(x0, lower, upper)"
            )

    def project(self, x):
        """The nearest point of the box."""
        return np.minimum(np.maximum(x, self.lower), self.upper)

    def within(self, x):
        """The nearest point strictly inside the box."""
        low, high = np.nextafter(self.lower, self.upper), np.nextafter(self.upper, self.lower)
        return np.minimum(np.maximum(x, low), high)

    def free(self, x, g):
        """Where a step along ``-g`` is not stopped by a bound at once."""
        return ~(((x <= self.lower) & (g > 0)) | ((x >= self.upper) & (g < 0)))

    def ahead(self, x, g):
        """The bounds that a step along ``-g`` approaches, infinite where there is none, and how far they are."""
        bound = np.where(g < 0, self.upper, self.lower)
        return bound, np.abs(bound - x)

    def projected_gradient(self, x, g):
        """``x - project(x - g)``, zero exactly at the points that satisfy the first-order conditions."""
        return x - self.project(x - g)

    def reach(self, x, p):
        """The ``t`` at which each element of ``x + t p`` meets a bound."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(p > 0, (self.upper - x) / p, np.where(p < 0, (self.lower - x) / p, np.inf))

    def room(self, x, p) -> float:
        """The largest ``t`` with ``x + t p`` inside."""
        return float(np.min(self.reach(x, p)))


def _walk(bounds, places, layout, found) -> None:
    """Collect the bounds of the leaves of ``x0``; ``places`` is ``x0`` with numbers of leaves instead of leaves."""
    if bounds is None or places is None:
        return
    if isinstance(places, int):
        leaf = layout.leaves[places]
        found[places] = _of_leaf(bounds, leaf.shape, leaf.is_complex)
        return
    inner, sequence = _named(places), isinstance(places, list | tuple)
    if inner is None and sequence and all(isinstance(i, int) and layout.leaves[i].is_number for i in places):
        low, high = _of_leaf(bounds, (len(places),), any(layout.leaves[i].is_complex for i in places))
        for k, place in enumerate(places):  # a list of plain numbers is an array
            found[place] = low[k : k + 1], high[k : k + 1]
        return
    if inner is not None:
        given = _named(bounds)
        if given is None:
            raise ValueError(f"optim: x0 is a {type(places).__name__}; bounds must be one too, or a dict with some of "
                             f"the names {', '.join(map(str, inner))}; got {bounds!r}")  # fmt: skip
        unknown = [name for name in given if name not in inner]
        if unknown:
            raise ValueError(f"optim: bounds for {sorted(unknown)}, which x0 does not have")
        for name in given:
            _walk(given[name], inner[name], layout, found)
    elif sequence:
        if not isinstance(bounds, list | tuple) or len(bounds) != len(places):
            raise ValueError(f"optim: x0 has {len(places)} entries, so bounds must be as many, got {bounds!r}")
        for bound, place in zip(bounds, places, strict=True):
            _walk(bound, place, layout, found)
    else:
        raise TypeError(f"optim: bounds cannot be told for the parts of a {type(places).__name__}; make x0 a dict")


def _named(tree) -> Mapping | None:
    """The entries of a dict, a namedtuple or a dataclass by name; None for anything else."""
    if isinstance(tree, Mapping):
        return tree
    if hasattr(tree, "_fields"):
        return tree._asdict()
    if is_dataclass(tree) and not isinstance(tree, type):
        return {f.name: getattr(tree, f.name) for f in fields(tree) if not f.metadata.get("static")}
    return None


def _of_leaf(bounds, shape, is_complex):
    size = int(np.prod(shape))
    if is_complex:
        raise ValueError("optim: complex parameters have no order, so they cannot have bounds")
    if any(isinstance(b, dif.Tensor) and b.requires_grad for b in dif.tree.leaves(bounds)):
        raise dif.errors.MissingDerivativeError(
            "optim: a bound is watched by an outer derivative, and bounds are constants: write it as a constraint, "
            "{'type': 'ineq', 'fun': lambda x: ...}, which has one, or drop the derivative with .detach()"
        )
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        low, high = bounds.lb, bounds.ub
    elif not hasattr(bounds, "__len__"):
        raise ValueError(f"optim: a bound is a pair (low, high), got {bounds!r}")
    elif len(bounds) == size and all(isinstance(b, list | tuple | np.ndarray) and len(b) == 2 for b in bounds):
        low = [-np.inf if a is None else a for a, _ in bounds]
        high = [np.inf if b is None else b for _, b in bounds]
        return np.array(low, dtype=float).reshape(-1), np.array(high, dtype=float).reshape(-1)
    elif len(bounds) == 2:
        low, high = (-np.inf if bounds[0] is None else bounds[0]), (np.inf if bounds[1] is None else bounds[1])
    else:
        raise ValueError(
            f"optim: expected {size} pairs (low, high), or one pair for all, or an object with lb and ub; "
            f"got {bounds!r}"
        )
    return tuple(np.broadcast_to(np.asarray(b, dtype=float), shape).reshape(-1) for b in (low, high))
