"""Which parameters of a model are free, fixed or tied, and what they are called."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import numpy as np

import difftensor as dif


class Parameters:
    """The free parameters of a model as the pytree that is fitted, and all of them as the model takes them.

    Attributes
    ----------
    names : list of str
        Of the free elements, in the order of the fitted vector.
    start
        The pytree of the free parameters.
    """

    def __init__(self, model, p0, fixed=(), tied=None):
        self.tied = dict(tied or {})
        fixed = (fixed,) if isinstance(fixed, str) else tuple(fixed)
        self.as_mapping = isinstance(p0, Mapping)
        self.as_tree = not self.as_mapping and not _is_flat(p0)
        if self.as_tree:
            if fixed or self.tied:
                raise ValueError("optim: fixed and tied parameters need names: pass p0 as a list or as a dict")
            self.everything, self.start, self.names = p0, p0, None
            return
        if self.as_mapping:
            everything = dict(p0)
        else:
            values = np.atleast_1d(np.asarray(p0, dtype=float))
            everything = dict(zip(_argument_names(model, len(values)), values.tolist(), strict=True))
        for name in (*fixed, *self.tied):
            if name not in everything and not (self.as_mapping and name in self.tied):
                raise ValueError(f"optim: no parameter is called {name!r}; there are {', '.join(everything)}")
        self.everything = everything
        self.free = [name for name in everything if name not in fixed and name not in self.tied]
        if not self.free:
            raise ValueError("optim: every parameter is fixed or tied, so there is nothing to fit")
        if self.as_mapping:
            self.start = {name: everything[name] for name in self.free}
        else:
            self.start = np.array([everything[name] for name in self.free])
        self.names = None if self.as_mapping else list(self.free)

    def complete(self, free):
        """All parameters by name, from the free ones."""
        values = free if self.as_mapping else {name: free[i] for i, name in enumerate(self.free)}
        known = {name: values.get(name, value) for name, value in self.everything.items() if name not in self.tied}
        every = _Resolving(known, self.tied)
        return {name: every[name] for name in dict.fromkeys((*self.everything, *self.tied))}

    def free_bounds(self, bounds):
        """Bounds of all parameters as those of the free ones."""
        if self.as_tree or len(self.free) == len(self.everything):
            return bounds

        def some(bound):
            if isinstance(bound, Mapping):
                return {name: b for name, b in bound.items() if name in self.free or name not in self.everything}
            if not self.as_mapping and np.shape(bound) == (len(self.everything),):
                return self._free_part(np.asarray(bound))
            return bound

        if isinstance(bounds, Mapping):
            return some(bounds)
        low, high = (bounds.lb, bounds.ub) if hasattr(bounds, "lb") else bounds
        return some(low), some(high)

    def free_columns(self, J):
        """The columns of the free parameters in a Jacobian that has one for each of all."""
        if self.as_tree or self.as_mapping or np.shape(J)[1:] != (len(self.everything),):
            return J
        if self.tied:
            raise ValueError("optim: with tied parameters jac must have a column for each free one, which are "
                             f"{', '.join(self.free)}; or leave jac to difftensor")  # fmt: skip
        return self._free_part(J)

    def _free_part(self, a):
        return a[..., [i for i, name in enumerate(self.everything) if name in self.free]]

    def call(self, model, x, free):
        """The model at ``x``."""
        if self.as_tree:
            return model(x, free)
        if self.as_mapping:
            return model(x, self.complete(free))
        if len(self.free) == len(self.everything):
            return model(x, *(free[i] for i in range(len(self.free))))
        return model(x, *self.complete(free).values())


class _Resolving(Mapping):
    """Parameters by name; tied ones are computed when they are asked for, in whatever order they were given."""

    def __init__(self, known, formulas):
        self.known, self.formulas, self.asking = known, formulas, []

    def __getitem__(self, name):
        if name not in self.known:
            if name not in self.formulas:
                raise KeyError(f"optim: no parameter is called {name!r}; there are {', '.join(self)}")
            if name in self.asking:
                raise ValueError(f"optim: tied parameters depend on each other: {' -> '.join([*self.asking, name])}")
            self.asking.append(name)
            self.known[name] = self.formulas[name](self)
            self.asking.pop()
        return self.known[name]

    def __iter__(self):
        return iter(dict.fromkeys((*self.known, *self.formulas)))

    def __len__(self):
        return len(list(iter(self)))


def guess(model):
    """Ones, as many as the model has parameters."""
    names = _argument_names(model, None)
    return np.ones(len(names))


def _is_flat(p0) -> bool:
    if isinstance(p0, (list, tuple)):
        return not hasattr(p0, "_fields") and all(dif.tree.is_leaf(p) and np.ndim(p) == 0 for p in p0)
    return dif.tree.is_leaf(p0) and np.ndim(p0) <= 1


def _argument_names(model, count):
    try:
        kinds = inspect.signature(model).parameters.values()
    except (TypeError, ValueError):
        kinds = ()
    names = [p.name for p in kinds if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][1:]
    if count is None:
        if not names or any(p.kind == p.VAR_POSITIONAL for p in kinds):
            raise ValueError("optim: the number of parameters is not clear from the model; pass p0")
        return names
    return names if len(names) == count else [f"p{i}" for i in range(count)]
