"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import difftensor as dif

from ._module import Module, parameter


class ModuleList(Module):
    """A list of modules that is a module. (Plain lists of modules are found as well; names are the same.)"""

    def __init__(self, modules: Iterable[Module] = ()):
        for m in modules:
            self.append(m)

    def append(self, module: Module) -> ModuleList:
        self.__dict__[str(len(self))] = self._entry(module)
        return self

    def _entry(self, module: Any) -> Module:
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: entries must be modules, got {type(module).__name__}")
        return module

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        for m in modules:
            self.append(m)
        return self

    def insert(self, i: int, module: Module) -> None:
        found = list(self.children())
        found.insert(i, module)
        self._renumber(found)

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, i: int | slice) -> Any:
        found = list(self.children())[i]
        return type(self)(found) if isinstance(found, list) else found

    def __setitem__(self, i: int, module: Module) -> None:
        self.__dict__[self._names()[i]] = self._entry(module)

    def __delitem__(self, i: int | slice) -> None:
        found = list(self.children())
        del found[i]
        self._renumber(found)

    def _names(self) -> list[str]:
        return [k for k, v in self.__dict__.items() if isinstance(v, Module)]

    def _renumber(self, modules: list) -> None:
        for name in self._names():
            del self.__dict__[name]
        for m in modules:
            self.append(m)


class Sequential(ModuleList):
    """Modules, or any functions of one argument, one after the other.

    Examples
    --------
    >>> import difftensor as dif
    >>> from difftensor import nn
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    >>> sum(p.size for p in net.parameters())
    49
    """

    def __init__(self, *modules: Any):
        named: Any = modules[0].items() if len(modules) == 1 and isinstance(modules[0], dict) else None
        if named is None:
            steps = modules[0] if len(modules) == 1 and isinstance(modules[0], list) else modules
            named = ((str(i), m) for i, m in enumerate(steps))
        for name, m in named:
            self.__dict__[name] = self._entry(m)

    def _entry(self, module: Any) -> Module:
        if not callable(module):
            raise TypeError(f"Sequential: a step must be a module or a function, got {module!r}")
        return module if isinstance(module, Module) else Lambda(module)

    def forward(self, x: Any) -> Any:
        for m in self.__dict__.values():
            if isinstance(m, Module):
                x = m(x)
        return x


class _Entries(Module):
    """What the two dicts share: entries are attributes, those of one class."""

    _class: type

    def __init__(self, entries: dict[str, Any] | None = None):
        self.update(entries or {})

    def __setitem__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            raise KeyError(f"{type(self).__name__}: {name!r} is an attribute of every module, choose another name")
        self.__dict__[name] = self._entry(name, value)

    def _entry(self, name: str, value: Any) -> Any:
        raise NotImplementedError

    def __getitem__(self, name: str) -> Any:
        return dict(self.items())[name]

    def __delitem__(self, name: str) -> None:
        self.pop(name)

    def pop(self, name: str) -> Any:
        """Take an entry out."""
        value = self[name]
        del self.__dict__[name]
        return value

    def update(self, entries: Any) -> None:
        """Take in the entries of a dict, or pairs."""
        for name, v in dict(entries).items():
            self[name] = v

    def items(self) -> Iterator[tuple[str, Any]]:
        return ((k, v) for k, v in self.__dict__.items() if isinstance(v, self._class))

    def keys(self) -> Iterator[str]:
        return (k for k, _ in self.items())

    def values(self) -> Iterator[Any]:
        return (v for _, v in self.items())

    def __len__(self) -> int:
        return len(list(self.items()))

    def __iter__(self) -> Iterator[str]:
        return self.keys()

    def __contains__(self, name: str) -> bool:
        return name in dict(self.items())


class ModuleDict(_Entries):
    """A dict of modules that is a module."""

    _class = Module

    def _entry(self, name: str, module: Module) -> Module:
        if not isinstance(module, Module):
            raise TypeError(f"ModuleDict: {name!r} must be a Module, got {type(module).__name__}")
        return module


class ParameterList(Module):
    """A list of parameters that is a module. (Plain lists of Tensors are found as well; names are the same.)"""

    def __init__(self, values: Iterable[Any] = ()):
        for v in values:
            self.append(v)

    def append(self, value: Any) -> ParameterList:
        setattr(self, str(len(self)), value if isinstance(value, dif.Tensor) else parameter(value))
        return self

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __iter__(self) -> Iterator[dif.Tensor]:
        return (v for v in self.__dict__.values() if isinstance(v, dif.Tensor))

    def __getitem__(self, i: int) -> Any:
        return list(self)[i]

    def __setitem__(self, i: int, value: Any) -> None:
        name = [k for k, v in self.__dict__.items() if isinstance(v, dif.Tensor)][i]
        self.__dict__[name] = value if isinstance(value, dif.Tensor) else parameter(value)


class ParameterDict(_Entries):
    """A dict of parameters that is a module."""

    _class = dif.Tensor

    def _entry(self, name: str, value: Any) -> dif.Tensor:
        return value if isinstance(value, dif.Tensor) else parameter(value)


class Lambda(Module):
    """A function as a module."""

    def __init__(self, f: Any):
        self.f = f

    def forward(self, x: Any) -> Any:
        return self.f(x)

    def extra_repr(self) -> str:
        return getattr(self.f, "__name__", repr(self.f))
