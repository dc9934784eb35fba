"""Tensor: a raw array and its place on the tape.

Operators and NumPy's methods are attached by `_ops/methods.py`, once both Tensor and the operations exist; what is
here needs no operation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from difftensor._backend import Device, as_device, device_of, duplicate
from difftensor._core.tape import Leaf, Node
from difftensor.errors import TrackedValueError, would_lose

if TYPE_CHECKING:

    class _Attached:
        """Any operator of Tensor."""

        def __get__(self, x: Any, cls: Any) -> Callable[..., Any]: ...


class Tensor:
    """An n-dimensional array that can be differentiated.

    Made by ``dif.tensor``, ``dif.asarray`` and the other creation functions, and by operations on Tensors.

    Attributes
    ----------
    shape, dtype, ndim, size, T, mT
        As of a NumPy array.
    device : Device
        Where the array lives: ``cpu`` or ``cuda:i``.
    requires_grad : bool
        Whether operations on this Tensor are recorded.
    grad : Tensor or None
        The gradient that ``backward()`` accumulated here.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> x = dif.tensor([1.0, 2.0], requires_grad=True)
    >>> y = np.sum(x * x[::-1])
    >>> y.backward()
    >>> y.item(), x.grad
    (4.0, tensor([4., 2.]))
    """

    # _data  ndarray, NumPy scalar (exactly where NumPy returns one), CuPy array or trace array
    # node   its place on the tape, or None
    # alias  Storage shared with its views, once the first view is taken (or the buffer is foreign); see writes.py
    # saved  the tape, or a reader outside, relies on this very buffer: the next write copies it first
    # path   the steps that lead from the storage's root to this view; set only where alias is
    __slots__ = ("__weakref__", "_data", "alias", "node", "path", "saved")

    __hash__ = object.__hash__
    __array_priority__ = 1000.0
    __pandas_priority__ = 5000  # above a DataFrame: its columns are constants, by position, as NumPy takes them

    if TYPE_CHECKING:  # what _ops/methods.py attaches
        _data: Any
        node: Any
        alias: Any
        saved: bool
        path: Any
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _Attached()
        __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _Attached()
        __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __lshift__ = __rshift__ = _Attached()
        __neg__ = __pos__ = __abs__ = __invert__ = __lt__ = __le__ = __gt__ = __ge__ = _Attached()
        __getitem__ = __setitem__ = _Attached()

        def __getattr__(self, name: str) -> Any: ...

    # what it is ---------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def dtype(self) -> np.dtype:
        return self._data.dtype

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def size(self) -> int:
        return self._data.size

    @property
    def itemsize(self) -> int:
        return self._data.itemsize

    @property
    def nbytes(self) -> int:
        return self._data.nbytes

    @property
    def strides(self) -> tuple[int, ...]:
        return self._data.strides

    @property
    def device(self) -> Device:
        return device_of(self._data)

    @property
    def data(self) -> Any:
        raise AttributeError(
            "a Tensor has no public .data: writing through it would go past the tape. Use x.numpy() to read the "
            "values, "
            "x.detach() for a constant, or `with dif.no_grad(): x[...] = v` to write"
        )

    @property
    def _mask(self) -> Any:
        # numpy.ma takes `_data` and `_mask` of whatever has them, past every protocol; matplotlib calls it.
        if self.node is None and self.__class__ is Tensor:
            raise AttributeError("a Tensor has no mask")
        raise TypeError(
            "MaskedArray: numpy.ma is not supported with tracked or batched Tensors, it would silently drop "
            "derivatives; use a mask of its own with dif.where, or x.detach().numpy() for a constant"
        )

    # its place on the tape ----------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, value: bool = True) -> Tensor:
        """Make this Tensor a leaf that requires a gradient (or a constant again), in place."""
        if value and self.node is None:
            if self._data.dtype.kind not in "fc":
                raise TypeError(
                    f"only floating and complex Tensors can require gradients, found dtype {self._data.dtype}; use "
                    "x.astype(float)"
                )
            if self.alias is not None and self.path:
                raise ValueError(
                    "a view cannot require a gradient by itself: use x.copy().requires_grad_(), or differentiate "
                    "its base"
                )
            self.node = Leaf(user=True)
            if self.alias is not None:  # views taken before stay constants
                self.alias.node = self.node
        elif not value and self.node is not None:
            if self.node.__class__ is not Leaf:
                raise ValueError("only leaf Tensors can stop requiring gradients; use x.detach() for a constant")
            if self.alias is not None:
                if any(m.node is not None for m in self.alias.live() if m is not self):
                    raise ValueError(
                        "views of this leaf are tracked: delete them first, or use x.detach() for a constant"
                    )
                self.alias.node = None
            self.node = None
        return self

    @property
    def is_leaf(self) -> bool:
        return self.node is None or self.node.__class__ is Leaf

    @property
    def grad(self) -> Tensor | None:
        n = self.node
        return n.grad if n.__class__ is Leaf else None

    @grad.setter
    def grad(self, value: Any) -> None:
        if self.node.__class__ is not Leaf:
            raise ValueError("only leaf Tensors (requires_grad=True) hold a gradient")
        if value is not None:
            if not isinstance(value, Tensor):
                value = wrap(np.array(value, dtype=self.dtype))
            if value.dtype != self.dtype:
                raise ValueError(f"the gradient of a Tensor of dtype {self.dtype} cannot have dtype {value.dtype}")
            if value.shape != self.shape:
                raise ValueError(f"the gradient of a Tensor of shape {self.shape} cannot have shape {value.shape}")
        self.node.grad = value

    @property
    def grad_fn(self) -> Node | None:
        n = self.node
        return None if n.__class__ is Leaf else n

    def detach(self) -> Tensor:
        """The same values as a constant. Later writes to either do not reach the other."""
        data = snapshot(self)
        flags = data.flags
        # a copy, made when one of the two is written; where it could not have the same memory order it is made now
        return lift(data if flags.c_contiguous or flags.f_contiguous or dense(data) else duplicate(data, "K"), None)

    # leaving difftensor -------------------------------------------------------------------------------------------

    def numpy(self, *, copy: bool = False) -> np.ndarray:
        """The values as an ndarray: a read-only snapshot without a copy, or with ``copy=True`` a writable copy.

        Raises
        ------
        TrackedValueError
            The Tensor is tracked: say ``x.detach().numpy()``.
        DeviceError
            The Tensor lives on a GPU: say ``x.to_device("cpu").numpy()``.
        """
        if self.node is not None:
            raise would_lose("numpy()", self)
        return export(self, copy)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.node is not None:
            raise would_lose("converting to a NumPy array", self)
        a = export(self, copy=bool(copy))
        return a if dtype is None or a.dtype == dtype else a.astype(dtype)

    def _sympy_(self) -> Any:
        # SymPy would take the array in `.flat` for an array of arrays, and so on without end
        from sympy import sympify

        return sympify(self.__array__()[()])

    def item(self, *args: int) -> Any:
        """The value as a Python number (its derivative is not carried along)."""
        return self._data.item(*args)

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers (their derivatives are not carried along)."""
        return self._data.tolist()

    def _number(self, kind: type) -> Any:
        if self.node is not None:
            raise would_lose(f"{kind.__name__}()", self)
        if self._data.ndim:
            raise TypeError(
                f"only 0-d Tensors convert to {kind.__name__}, found shape {self.shape}; use x.item() for a Tensor "
                "of one element"
            )
        return kind(self._data)

    def __float__(self) -> float:
        return self._number(float)

    def __int__(self) -> int:
        return self._number(int)

    def __complex__(self) -> complex:
        return self._number(complex)

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iu" or self._data.ndim:
            raise TypeError(f"only 0-d integer Tensors are indices, found shape {self.shape} dtype {self.dtype}")
        return int(self._data)

    def __bool__(self) -> bool:
        if self._data.size != 1:
            raise ValueError(f"the truth value of a Tensor of shape {self.shape} is ambiguous: use x.any() or x.all()")
        return bool(self._data)

    def __len__(self) -> int:
        if not self._data.ndim:
            raise TypeError("len() of a 0-d Tensor")
        return self._data.shape[0]

    def __iter__(self) -> Any:
        if not self._data.ndim:
            raise TypeError("iteration over a 0-d Tensor")
        return map(self.__getitem__, range(self._data.shape[0]))

    def _stands_alone(self) -> bool:
        """Is this a constant, or a leaf of the user's? Then a copy of it elsewhere loses nothing."""
        n = self.node
        return n is None or (n.__class__ is Leaf and n.user)

    def __reduce__(self) -> Any:
        if not self._stands_alone():
            raise would_lose("pickling or copying", self)
        return _rebuild, (self._data, self.node is not None)

    def __copy__(self) -> Tensor:
        return self.copy()

    def __deepcopy__(self, memo: dict) -> Tensor:
        if not self._stands_alone():
            raise would_lose("copy.deepcopy", self)
        y = _rebuild(duplicate(self._data), self.node is not None)
        memo[id(self)] = y
        return y

    # how it looks -------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        values = self._data if self.device.kind == "cpu" else self._data.get()
        body = np.array2string(np.asarray(values), separator=", ", prefix="tensor(")
        tail = [f"dtype={self.dtype}"] if self.dtype not in (np.float64, np.bool_) or self.size == 0 else []
        if self.device.kind != "cpu":
            tail.append(f"device='{self.device}'")
        if self.node is not None:
            tail.append("requires_grad=True")
        if self.size == 0 and self.shape != (0,):
            tail.insert(0, f"shape={self.shape}")
        return f"tensor({', '.join([body, *tail])})"

    def __str__(self) -> str:
        return str(self._data)

    def __format__(self, spec: str) -> str:
        if spec and not self._data.ndim:
            return format(self._data.item(), spec)
        return format(str(self), spec) if not spec else self._format_many(spec)

    def _format_many(self, spec: str) -> str:
        if self._data.size == 1:
            return format(self._data.item(), spec)
        raise TypeError(
            f"a Tensor of shape {self.shape} cannot be formatted with {spec!r}; format its elements, or use repr"
        )


def wrap(data: Any, node: Node | None = None) -> Tensor:
    """A Tensor over raw array `data`, which now belongs to it."""
    t = Tensor()
    t._data = data
    t.node = node
    t.alias = None
    t.saved = False
    return t


def lift(data: Any, node: Node | None) -> Tensor:
    """A Tensor over an array that the tape saved: a write to it copies first."""
    t = Tensor()
    t._data = data
    t.node = node
    t.alias = None
    t.saved = True
    return t


def dense(a: Any) -> bool:
    """Is `a` a transposed contiguous array, whose strides a copy in its memory order repeats?"""
    strides = a.strides
    return min(strides) > 0 and sum((n - 1) * s for n, s in zip(a.shape, strides)) + a.itemsize == a.nbytes


def snapshot(x: Tensor) -> Any:
    """The array of `x` for somebody who relies on its values: the next write to `x` copies first.

    A foreign buffer is written by others too: it is copied now.
    """
    x.saved = True
    if x.alias is not None:
        if x.alias.foreign:
            return duplicate(x._data)
        x.alias.saved = True
    return x._data


def export(x: Tensor, copy: bool) -> np.ndarray:
    """The values of `x` for a reader outside: read-only without a copy, so that neither side surprises the other."""
    as_device_cpu(x)
    if copy:
        return np.array(x._data)
    a = np.asarray(snapshot(x))
    if a is x._data:
        a = a.view()
    a.flags.writeable = False
    return a


def as_device_cpu(x: Tensor) -> None:
    from difftensor.errors import DeviceError

    if x.device != as_device("cpu"):
        raise DeviceError(
            f"a Tensor on {x.device} has no NumPy array: call x.to_device('cpu') first (nothing moves by itself)"
        )


def _rebuild(data: Any, requires_grad: bool) -> Tensor:
    t = wrap(data)
    return t.requires_grad_() if requires_grad else t


__all__ = ["Tensor", "TrackedValueError", "export", "lift", "snapshot", "wrap"]
