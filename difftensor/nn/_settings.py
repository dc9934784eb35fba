"""Modules that are one function with settings: activations, losses, pooling."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from ._module import Module


class Applied(Module):
    """A module that applies `function`; what has a default there is a setting, kept as an attribute."""

    function: ClassVar[Callable]
    settings: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, **keywords: Any):
        super().__init_subclass__(**keywords)
        if "function" in cls.__dict__:
            given = inspect.signature(cls.function).parameters.values()
            names = tuple(p.name for p in given if p.default is not p.empty or p.name in cls.required())
            cls.settings = cls.__dict__.get("settings", names)
            cls.__doc__ = cls.__doc__ or f"`nn.functional.{cls.function.__name__}` as a module, with its settings."

    @classmethod
    def required(cls) -> tuple[str, ...]:
        """Settings without a default."""
        return ()

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs.pop("inplace", None)  # values are the same either way
        names = self.settings
        if len(args) > len(names):
            raise TypeError(f"{type(self).__name__} has {len(names)} settings {names}, got {len(args)} values")
        given = dict(zip(names, args))
        unknown, twice = set(kwargs) - set(names), set(kwargs) & set(given)
        if unknown or twice:
            raise TypeError(
                f"{type(self).__name__}: unknown or repeated settings {sorted(unknown | twice)}; it has {names}"
            )
        defaults = inspect.signature(type(self).function).parameters
        for name in names:
            value = given.get(name, kwargs.get(name, defaults[name].default))
            if value is inspect.Parameter.empty:
                raise TypeError(f"{type(self).__name__} needs the setting {name!r}")
            setattr(self, name, value)

    def forward(self, *data: Any) -> Any:
        return type(self).function(*data, **{name: getattr(self, name) for name in self.settings})
