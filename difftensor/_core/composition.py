"""Compositions: ordinary functions of other operations, known to NumPy's dispatch."""

from __future__ import annotations

from collections.abc import Callable
from functools import WRAPPER_ASSIGNMENTS, update_wrapper, wraps
from typing import Any

from difftensor._backend import several_devices
from difftensor._backend.arrays import used, when_used
from difftensor._backend.device import made_there
from difftensor._core.operands import holds_tensor, same_device, subclass_of
from difftensor._core.primitive import dress, publish
from difftensor._core.tensor import Tensor
from difftensor.errors import BatchedValueError, DeviceError

COMPOSITIONS: dict[str, Callable] = {}


def _members(args: Any) -> Any:
    """The arguments, and what stands in their lists and tuples."""
    for a in args:
        if a.__class__ in (list, tuple):
            yield from _members(a)
        else:
            yield a


def where_its_arguments_are(body: Callable) -> Callable:
    """`body`, in which what is made of numbers, lists of them among its arguments too, is made beside its arrays."""

    @wraps(body)
    def f(*args: Any, **kwargs: Any) -> Any:
        device = next((a.device for a in _members((*args, *kwargs.values())) if isinstance(a, Tensor)), None)
        if device is None:
            return body(*args, **kwargs)
        with made_there(device):
            return body(*args, **kwargs)

    return f


def composition(twin: Any = None, *, name: str | None = None, also: tuple = (), writes: bool = False) -> Callable:
    """Make a function of operations public under its NumPy name.

    Parameters
    ----------
    twin : NumPy function, optional
        With no Tensor among its arguments the call goes straight to it. Without a twin the body runs on plain arrays
        too.
    name : str, optional
        Dotted name under which rules find it (``xp.name``); the function's own name by default.
    also : tuple
        Further NumPy functions that it implements.
    writes : bool
        It changes an argument in place: it is not tried again example by example.
    """

    def register(body: Callable) -> Callable:
        dotted = name or body.__name__

        if twin is None:
            f = body
        else:

            def f(*args: Any, **kwargs: Any) -> Any:
                try:
                    for a in args:
                        if a.__class__ is Tensor:
                            return body(*args, **kwargs)
                    for a in args:
                        if holds_tensor(a):
                            return body(*args, **kwargs)
                    if kwargs and any(map(holds_tensor, kwargs.values())):
                        return body(*args, **kwargs)
                except BatchedValueError:  # the body reads values, which differ between the examples of a vmap
                    cls = subclass_of(tuple(_members((*args, *kwargs.values()))))
                    loop = getattr(cls, "__dif_loop__", None)
                    if loop is None or writes or kwargs.get("out") is not None:
                        raise
                    return loop(f, args, kwargs)
                except Exception as error:  # CuPy says in many ways that it takes no array of NumPy's
                    if several_devices() and not isinstance(error, DeviceError):
                        same_device(dotted, tuple(_members((*args, *kwargs.values()))))
                    raise
                return twin(*args, **kwargs)

            def there() -> None:
                nonlocal body
                body = where_its_arguments_are(body)

            there() if used else when_used.append(there)
            update_wrapper(f, body, [a for a in WRAPPER_ASSIGNMENTS if a != "__wrapped__"])
            f.body = body  # type: ignore[attr-defined]
            dress(f, dotted, twin)
        COMPOSITIONS[dotted] = f
        publish(dotted, f, twin)
        for other in also:
            publish(dotted, f, other)
        return f

    return register
