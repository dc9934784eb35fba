"""Module: any class with attributes and a ``forward`` is a tree of parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy as shallow_copy
from typing import Any

import numpy as np

import difftensor as dif

_CONTAINERS = (list, tuple, dict)


class Module:
    """A function with parameters: write the attributes in ``__init__`` and the function in ``forward``.

    A *parameter* is a Tensor attribute with ``requires_grad=True``, wherever it stands: on the module, in lists, tuples
    and dicts among its attributes, in modules inside it. A Tensor attribute that requires no gradient is a *buffer*.

    Attributes
    ----------
    training : bool
        What `train` and `eval` switch; dropout and batch normalization look at it.

    Notes
    -----
    A module is a pytree whose leaves are its parameters, each once however many names it goes by: `dif.grad`,
    `dif.tree.map` and `optim.minimize` work on it. What a transformation hands to the function is a copy of the
    module with other leaves. Buffers that ``forward`` assigns anew (running means) are assigned on that copy: return it
    with ``has_aux=True`` to keep them. In the other style (``loss.backward()``) there is one module and no copy.

    A gradient at parameters, which require gradients themselves, can be differentiated again, and costs the tape for
    that: call transformations under ``dif.no_grad()``, or start from ``dif.tree.map(lambda p: p.detach(), module)``.

    Examples
    --------
    >>> import difftensor as dif
    >>> from difftensor import nn
    >>> class Line(nn.Module):
    ...     def __init__(self):
    ...         self.slope = dif.tensor(2.0, requires_grad=True)
    ...     def forward(self, x):
    ...         return self.slope * x
    >>> line = Line()
    >>> dif.grad(lambda m: m(3.0))(line).slope.item()
    3.0
    """

    training = True
    _before: tuple = ()  # hooks
    _after: tuple = ()
    _kept: frozenset = frozenset()  # names of buffers that never become parameters
    _passing: frozenset = frozenset()  # names of buffers that are not saved
    _leaves: frozenset | None = None  # on copies made by transformations: the paths of the leaves

    def __init_subclass__(cls, **keywords: Any):
        super().__init_subclass__(**keywords)
        dif.tree.register(cls, _flatten, _unflatten)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for hook in self._before:
            new = hook(self, args)
            if new is not None:
                args = new if isinstance(new, tuple) else (new,)
        y = self.forward(*args, **kwargs)
        for hook in self._after:
            new = hook(self, args, y)
            y = y if new is None else new
        return y

    # what is inside ---------------------------------------------------------------------------------------------------

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module and all modules inside it with their dotted names, each once."""
        yield from ((".".join(path), m) for path, m in _modules(self, ()))

    def modules(self) -> Iterator[Module]:
        """This module and all modules inside it, each once."""
        yield from (m for _, m in _modules(self, ()))

    def children(self) -> Iterator[Module]:
        """The modules directly inside this one."""
        yield from (v for _, v in _members(self) if isinstance(v, Module))

    def named_parameters(self) -> Iterator[tuple[str, dif.Tensor]]:
        """The parameters with their dotted names; a shared one once, by its first name."""
        seen = set()
        for path, module in _modules(self, ()):
            for name, t in own(module, parameters=True):
                if id(t) not in seen:
                    seen.add(id(t))
                    yield ".".join((*path, *name)), t

    def parameters(self) -> Iterator[dif.Tensor]:
        """The parameters, each once: what optimizers take."""
        yield from (t for _, t in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, dif.Tensor]]:
        """The Tensors that are no parameters, with their dotted names."""
        for path, module in _modules(self, ()):
            yield from ((".".join((*path, *name)), t) for name, t in own(module, parameters=False))

    def buffers(self) -> Iterator[dif.Tensor]:
        """The Tensors that are no parameters."""
        yield from (t for _, t in self.named_buffers())

    def register_buffer(self, name: str, tensor: dif.Tensor | None, persistent: bool = True) -> None:
        """Assign a Tensor that is no parameter, nor made one by `requires_grad_`.

        With ``persistent=False`` `state_dict` leaves it out.
        """
        self._kept = self._kept | {name}
        if not persistent:
            self._passing = self._passing | {name}
        setattr(self, name, tensor)

    # switches ---------------------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Module:
        """Say that the module is being trained, or not."""
        for m in self.modules():
            m.training = mode
        return self

    def eval(self) -> Module:
        """Say that the module is being used."""
        return self.train(False)

    def requires_grad_(self, value: bool = True) -> Module:
        """Freeze the parameters (False), or make parameters of all floating Tensors (True).

        What `register_buffer` assigned stays a buffer, as running means do.
        """
        for m in self.modules():
            for name, t in list(own(m)):
                if t.dtype.kind in "fc" and not (value and name[0] in m._kept):
                    t.requires_grad_(value)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or make them zero."""
        for p in self.parameters():
            p.grad = None if set_to_none or p.grad is None else dif.zeros_like(p.grad)

    def apply(self, f: Callable) -> Module:
        """Call `f` with every module inside and then with this one."""
        for m in self.children():
            m.apply(f)
        f(self)
        return self

    def to(self, device: Any = None, dtype: Any = None) -> Module:
        """Move and cast the floating Tensors, in place; shared ones stay shared. Make the optimizer afterwards."""
        done: dict[int, dif.Tensor] = {}

        def moved(t: dif.Tensor) -> dif.Tensor:
            if id(t) not in done:
                new = t.detach()
                new = new.astype(dtype) if dtype is not None and t.dtype.kind in "fc" else new
                new = new.to_device(device) if device is not None else new
                done[id(t)] = new.copy().requires_grad_() if t.requires_grad else new
            return done[id(t)]

        for m in list(self.modules()):
            for name, value in m.__dict__.items():
                m.__dict__[name] = _over_tensors(moved, value)
        return self

    # hooks ------------------------------------------------------------------------------------------------------------

    def register_forward_pre_hook(self, hook: Callable) -> Handle:
        """Call ``hook(module, args)`` before ``forward``; what it returns, if not None, replaces args."""
        self._before = (*self._before, hook)
        return Handle(self, "_before", hook)

    def register_forward_hook(self, hook: Callable) -> Handle:
        """Call ``hook(module, args, y)`` after ``forward``; what it returns, if not None, replaces y."""
        self._after = (*self._after, hook)
        return Handle(self, "_after", hook)

    # state ------------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, dif.Tensor]:
        """All Tensors by their dotted names, as constants; shared ones under each name."""
        return {name: t.detach() for name, t in self._named()}

    def load_state_dict(self, state: dict, strict: bool = True) -> None:
        """Write values into the Tensors, which stay the same objects.

        Parameters
        ----------
        state : dict
            Arrays by the names of `state_dict`.
        strict : bool
            Raise if names are missing or unknown.

        Raises
        ------
        KeyError
            Names are missing or unknown.
        ValueError
            A shape differs.
        """
        mine = dict(self._named())
        missing, unknown = sorted(set(mine) - set(state)), sorted(set(state) - set(mine))
        if strict and (missing or unknown):
            raise KeyError(f"load_state_dict: missing {missing}, unknown {unknown}; strict=False ignores both")
        wrong = [f"{k}: {np.shape(state[k])} for {t.shape}" for k, t in mine.items()
                 if k in state and np.shape(state[k]) != t.shape]  # fmt: skip
        if wrong:
            raise ValueError("load_state_dict: shapes differ: " + "; ".join(wrong))
        with dif.no_grad():
            for name, t in mine.items():
                if name in state:
                    value = state[name]
                    t[...] = value.detach().copy() if isinstance(value, dif.Tensor) else value

    def _named(self) -> Iterator[tuple[str, dif.Tensor]]:
        for path, module in _modules(self, (), again=True):
            for name, t in own(module):
                if name[0] not in module._passing:
                    yield ".".join((*path, *name)), t

    # pictures ---------------------------------------------------------------------------------------------------------

    def summary(self, *args: Any) -> str:
        """A table of the modules and their numbers of parameters; with arguments, also of the shapes they return."""
        from ._summary import table

        return table(self, args)

    def extra_repr(self) -> str:
        """What stands between the brackets of this module's line."""
        plain = {k: v for k, v in self.__dict__.items() if isinstance(v, (int, float, str, tuple)) and k[0] != "_"}
        return ", ".join(f"{k}={v!r}" for k, v in plain.items() if k != "training" and not _holds(v))

    def __repr__(self) -> str:
        lines = []
        for path, v in _members(self):
            if isinstance(v, Module):
                lines.append(f"  ({'.'.join(path)}): " + repr(v).replace("\n", "\n  "))
        head = f"{type(self).__name__}({self.extra_repr()}"
        return "\n".join([head, *lines, ")"]) if lines else head + ")"


class Handle:
    """Takes a hook off again."""

    def __init__(self, module: Module, where: str, hook: Callable):
        self.module, self.where, self.hook = module, where, hook

    def remove(self) -> None:
        setattr(self.module, self.where, tuple(h for h in getattr(self.module, self.where) if h is not self.hook))


def parameter(data: Any, dtype: Any = None, device: Any = None) -> dif.Tensor:
    """A Tensor that is a parameter wherever it is assigned: ``dif.tensor(data, requires_grad=True)``."""
    return dif.tensor(data, dtype=dtype, device=device, requires_grad=True)


# walking ------------------------------------------------------------------------------------------------------------


def _members(x: Any) -> Iterator[tuple[tuple, Any]]:
    """The Tensors and modules among the attributes of a module, and in plain containers there, with their paths."""
    items = x.__dict__.items() if isinstance(x, Module) else x.items() if isinstance(x, dict) else enumerate(x)
    for key, value in items:
        if isinstance(value, (dif.Tensor, Module)):
            yield (str(key),), value
        elif isinstance(value, _CONTAINERS):
            yield from (((str(key), *path), v) for path, v in _members(value))
        elif isinstance(value, (set, frozenset)) and any(isinstance(v, (dif.Tensor, Module)) for v in value):
            raise TypeError(f"{type(x).__name__}: {key!r} is a set, whose entries have no order: make it a list")


def _modules(m: Module, path: tuple, seen: set | None = None, again: bool = False, above: tuple = ()) -> Iterator:
    """Paths and modules from the top down; a shared one once, or with `again` under each of its names."""
    seen = set() if seen is None else seen
    if again and id(m) in above:
        raise ValueError(f"{type(m).__name__} contains itself, as {'.'.join(path)!r}: a module is a tree. Hold what is "
                         "above it in another way, for example as an argument of forward or by a weakref")  # fmt: skip
    if id(m) in seen and not again:
        return
    seen.add(id(m))
    yield path, m
    for name, v in _members(m):
        if isinstance(v, Module):
            yield from _modules(v, (*path, *name), seen, again, (*above, id(m)))


def own(m: Module, parameters: bool | None = None) -> Iterator[tuple[tuple, dif.Tensor]]:
    """The Tensors of a module itself: all, the parameters, or the others."""
    for name, t in _members(m):
        if isinstance(t, dif.Tensor):
            learns = t.requires_grad if m._leaves is None else name in m._leaves
            if parameters is None or learns == parameters:
                yield name, t


def _over_tensors(f: Callable, value: Any) -> Any:
    if isinstance(value, dif.Tensor):
        return f(value)
    if isinstance(value, dict):
        return _like(value, {k: _over_tensors(f, v) for k, v in value.items()})
    if isinstance(value, (list, tuple)) and _holds(value):
        return _like(value, [_over_tensors(f, v) for v in value])
    return value


def _like(container: Any, items: Any) -> Any:
    """A container of the same class with other items: a defaultdict keeps its factory, a namedtuple its names."""
    if isinstance(container, dict):
        new = shallow_copy(container)
        new.update(items)
        return new
    return type(container)(*items) if hasattr(container, "_fields") else type(container)(items)


def _holds(value: Any) -> bool:
    return isinstance(value, _CONTAINERS) and next(_members(value), None) is not None


# as a pytree ----------------------------------------------------------------------------------------------------------


class _Skeleton:
    """A module without its leaves; equal to another if class, names and sharing are."""

    __slots__ = ("module", "names")

    def __init__(self, module: Module, names: tuple):
        self.module, self.names = module, names

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Skeleton):
            return False
        return type(self.module) is type(other.module) and self.names == other.names

    def __hash__(self) -> int:
        return hash((type(self.module), self.names))

    def __repr__(self) -> str:
        return ", ".join(".".join(group[0]) for group in self.names)


def _flatten(m: Module) -> tuple[list, _Skeleton]:
    leaves: dict[int, Any] = {}
    names: dict[int, list] = {}
    for path, module in _modules(m, (), again=True):
        for name, t in own(module, parameters=True):
            leaves.setdefault(id(t), t)
            names.setdefault(id(t), []).append((*path, *name))
    return list(leaves.values()), _Skeleton(m, tuple(tuple(group) for group in names.values()))


def _unflatten(skeleton: _Skeleton, leaves: Any) -> Module:
    at = {name: leaf for group, leaf in zip(skeleton.names, leaves) for name in group}
    copies: dict[int, Module] = {}

    def copy(value: Any, path: tuple, inside: list) -> Any:
        """`value` with the leaves in their places; their paths from the module around it go to `inside`."""
        if isinstance(value, Module):
            if id(value) in copies:
                return copies[id(value)]
            new = copies[id(value)] = object.__new__(type(value))
            found: list = []
            new.__dict__.update((k, copy(v, (*path, k), found)) for k, v in value.__dict__.items())
            new.__dict__["_leaves"] = frozenset(p[len(path) :] for p in found)
            return new
        if isinstance(value, dif.Tensor):
            if path in at:
                inside.append(path)
                return at[path]
            return value
        if isinstance(value, dict):
            return _like(value, {k: copy(v, (*path, str(k)), inside) for k, v in value.items()})
        if isinstance(value, (list, tuple)) and (_holds(value) or isinstance(value, list)):
            return _like(value, [copy(v, (*path, str(i)), inside) for i, v in enumerate(value)])
        return value

    return copy(skeleton.module, (), [])


dif.tree.register(Module, _flatten, _unflatten)
