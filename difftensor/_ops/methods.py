"""Operators, attributes and NumPy's methods, attached to Tensor now that both exist."""

from __future__ import annotations

import sys

import numpy as np

from difftensor._backend import as_device, duplicate, library, move, on_gpu
from difftensor._backend.device import enter
from difftensor._core import Tensor, X, adopt_foreign, linear, publish, recording, take_over, wrap
from difftensor._core.tape import Leaf
from difftensor._core.tensor import export
from difftensor._ops import axes, copies, creation, indexing, products, putting, shape
from difftensor._ops import counting as c
from difftensor._ops import elementwise as e
from difftensor.errors import would_lose

# Operators ------------------------------------------------------------------------------------------------------------


def _in_place(f, ufunc):
    """``x op= y``: into the buffer if nothing relies on the old values, else x takes over the result."""

    def op(x, y):
        data = x._data
        if x.node is None and x.alias is None and not x.saved and data.__class__ is np.ndarray:
            if y.__class__ is float or y.__class__ is int:
                return _overwritten(x, ufunc, y)
            if y.__class__ is Tensor and y._data.__class__ is np.ndarray and (y.node is None or not recording()):
                return _overwritten(x, ufunc, y._data)
        t = f(x, y)
        # A NumPy scalar has no buffer: the name is bound to the result, as with NumPy's own.
        if t is NotImplemented or isinstance(data, np.generic) or (data.__class__ is not np.ndarray and _is_number(x)):
            return t
        return take_over(x, t, ufunc)

    return op


def _is_number(x):
    """Is `x` a number on a GPU? CuPy has 0-d arrays for those; a leaf of the user's stays what it is."""
    return on_gpu(x._data) and not x._data.ndim and x.alias is None and x.node.__class__ is not Leaf


def _overwritten(x, ufunc, other):
    x._data = ufunc(x._data, other, out=x._data, casting="same_kind")
    return x


_BINARY = {
    "add": e.add,
    "sub": e.subtract,
    "mul": e.multiply,
    "truediv": e.divide,
    "floordiv": c.floor_divide,
    "mod": e.remainder,
    "pow": e.power,
    "and": c.bitwise_and,
    "or": c.bitwise_or,
    "xor": c.bitwise_xor,
    "lshift": c.left_shift,
    "rshift": c.right_shift,
}
for _name, _f in _BINARY.items():
    setattr(Tensor, f"__{_name}__", _f.operator)
    setattr(Tensor, f"__r{_name}__", _f.reflected)
    setattr(Tensor, f"__i{_name}__", _in_place(_f, _f.__wrapped_numpy__))

Tensor.__eq__, Tensor.__ne__ = c.equal.operator, c.not_equal.operator
Tensor.__lt__, Tensor.__le__ = c.less.operator, c.less_equal.operator
Tensor.__gt__, Tensor.__ge__ = c.greater.operator, c.greater_equal.operator
Tensor.__neg__, Tensor.__pos__, Tensor.__abs__, Tensor.__invert__ = e.negative, e.positive, e.absolute, c.invert


Tensor.__matmul__ = products.matmul.operator
Tensor.__rmatmul__ = lambda b, a: products.matmul.operator(a, b)
Tensor.__imatmul__ = _in_place(products.matmul, np.matmul)
Tensor.__divmod__ = e.divmod
Tensor.__rdivmod__ = lambda b, a: e.divmod(a, b)
Tensor.__round__ = lambda a, n=None: X.round(a, n or 0)
Tensor.__getitem__, Tensor.__setitem__ = indexing.getitem, indexing.setitem

# Attributes -----------------------------------------------------------------------------------------------------------

Tensor.T = property(axes.transpose, doc="The transposed view.")
Tensor.mT = property(axes.matrix_transpose, doc="The view with the last two axes swapped.")
Tensor.real = property(e.real, lambda x, v: indexing.setitem(e.real(x), Ellipsis, v), doc="The real part.")
Tensor.imag = property(e.imag, lambda x, v: indexing.setitem(e.imag(x), Ellipsis, v), doc="The imaginary part.")
Tensor.base = property(
    lambda x: x.alias.members[0]() if x.alias is not None and x.path else None,
    doc="The Tensor that this one is a view of.",
)
Tensor.flags = property(lambda x: x._data.flags, doc="Memory layout of the array, as of NumPy's.")


class Flat:
    """``x.flat``: the elements in C order, to iterate over, to read and to write."""

    __slots__ = ("_x",)

    def __init__(self, x):
        self._x = x

    def __len__(self):
        return self._x.size

    def __iter__(self):
        return iter(self._x.ravel())

    def __getitem__(self, index):
        return self._x.ravel()[index]

    def __setitem__(self, index, value):
        x = self._x
        places = np.unravel_index(library(x).arange(x.size)[indexing.static(index)], x.shape)
        count = np.size(places[0]) if places else 1
        indexing.setitem(x, places, X.resize(X.ravel(value), (count,)).reshape(np.shape(places[0]) if places else ()))

    def copy(self):
        """The elements as a new Tensor of one axis."""
        return self._x.flatten()


def _set_flat(x, value):
    Flat(x)[:] = value


Tensor.flat = property(Flat, _set_flat, doc="The elements in C order: iterable, readable, writable.")

# Methods whose arguments are those of the function --------------------------------------------------------------------

_SAME = (
    "all any argmax argmin argpartition argsort choose clip cumprod cumsum diagonal dot max mean min "
    "nonzero prod ptp ravel repeat round searchsorted squeeze std sum swapaxes take trace var"
).split()
for _name in _SAME:
    _f = vars(X).get(_name)
    if _f is None:
        continue
    setattr(Tensor, _name, getattr(_f, "body", _f))
Tensor.conj = Tensor.conjugate = e.conjugate
Tensor.reshape, Tensor.transpose = shape.reshape_method, axes.transpose_method
Tensor.put = putting.put.body

# Methods of their own -------------------------------------------------------------------------------------------------


def _method(f):
    """Attach `f` to Tensor under its name."""
    setattr(Tensor, f.__name__, f)
    return f


@_method
def compress(x, condition, axis=None, out=None):
    """The slices along `axis` where `condition` is true."""
    return indexing.compress.body(condition, x, axis, out)


@_method
def flatten(x, order="C"):
    """A copy with one axis."""
    return copies.copy_of(x.ravel(order))


@_method
def astype(x, dtype, order="K", casting="unsafe", subok=True, copy=True):
    """A cast copy; differentiable between floating and complex dtypes."""
    y = copies.astype.body(x, dtype, copy=copy, casting=casting)
    return creation.asarray(y, order=order) if order in ("C", "F") else y


@_method
def copy(x, order="C"):
    """A copy; differentiable."""
    return copies.copy_of(x) if order == "C" else copies.copy.body(x, order)


@_method
def fill(x, value):
    """Set every element to `value`."""
    indexing.setitem(x, Ellipsis, value)


@_method
def sort(x, axis=-1, kind=None, order=None, *, stable=None):
    """Sort in place."""
    indexing.setitem(x, Ellipsis, X.sort(x, axis, kind, order, stable=stable))


@_method
def partition(x, kth, axis=-1, kind="introselect", order=None):
    """Partition in place."""
    indexing.setitem(x, Ellipsis, X.partition(x, kth, axis, kind, order))


@_method
def resize(x, *new_shape, refcheck=True):
    """NumPy's in-place resizing would move the memory from under the tape."""
    raise ValueError("a Tensor cannot be resized in place: use y = dif.resize(x, new_shape)")


@_method
def tobytes(x, order="C"):
    """The raw bytes of the values."""
    if x.node is not None:
        raise would_lose("tobytes()", x)
    return export(x, False).tobytes(order)


@_method
def tofile(x, fid, sep="", format="%s"):  # noqa: A002 - NumPy's name
    """Write the values to a file, as of NumPy."""
    if x.node is not None:
        raise would_lose("tofile()", x)
    export(x, False).tofile(fid, sep, format)


@_method
def dump(x, file):
    """Pickle the array to a file."""
    from pickle import dump

    if hasattr(file, "write"):
        dump(x, file)
        return
    with open(file, "wb") as f:
        dump(x, f)


@_method
def dumps(x):
    """The pickled array as bytes."""
    from pickle import dumps

    return dumps(x)


@_method
def __contains__(x, value):
    return bool((x == value).any())


@_method
def view(x, dtype=None, type=None):  # noqa: A002 - NumPy's name
    """A view; of a constant also with its bytes read as another `dtype`, which shares the memory."""
    if dtype is None or dtype is Tensor or np.dtype(dtype) == x.dtype:
        return x[...]
    if x.node is not None:
        raise would_lose(f"view({dtype})", x)
    return adopt_foreign(wrap(_lent(x, False).view(dtype)))


@_method
def zero_grad(x):
    """Forget the accumulated gradient."""
    if x.node.__class__ is Leaf:
        x.node.grad = None


# Devices and other libraries ------------------------------------------------------------------------------------------



def _arrived(g):
    """Cotangent `g`, which the sweep goes on with where it now is."""
    enter(g)
    return g


_moved = linear(
    "to_device",
    lambda x, new, old: move(x, new),
    lambda xp, g, shape, new, old: g.to_device(old) if isinstance(g, Tensor) else _arrived(move(g, old)),
)


@_method
def to_device(x, device, /, *, stream=None):
    """This Tensor on `device`; itself if it is there already. Differentiable: the gradient comes back here."""
    target = as_device(device)
    return x if target == x.device else _moved(x, target, x.device)


publish("to_device", to_device)


@_method
def __array_namespace__(x, *, api_version=None):
    """The namespace of the array API standard: difftensor itself."""
    return X.array_namespace(api_version)


@_method
def __dlpack_device__(x):
    """DLPack's device type and number: (1, 0) is the CPU, (2, i) a CUDA device."""
    return np.ndarray.__dlpack_device__(np.empty(0)) if x.device.kind == "cpu" else x._data.__dlpack_device__()


@_method
def __dlpack__(x, *, stream=None, max_version=None, dl_device=None, copy=None):
    """The values for another library, which shares the memory; a tracked Tensor raises.

    Writes on either side are seen by both, as with ``dif.asarray(ndarray)``. Values that the tape relies on are
    copied, never lent.
    """
    if x.node is not None:
        raise would_lose("__dlpack__()", x)
    if x.device.kind != "cpu":
        return _lent(x, copy).__dlpack__(stream=stream, max_version=max_version)
    if stream is not None:
        raise BufferError("__dlpack__: a Tensor on the CPU has no stream; pass stream=None")
    return _lent(x, copy).__dlpack__(max_version=max_version, dl_device=dl_device, copy=copy)


def _lent(x, copy):
    """The ndarray that `x` lends: its own buffer, or a copy where the tape or a reader relies on the values."""
    relied = x.saved or (x.alias is not None and x.alias.saved)
    if isinstance(x._data, np.generic) or copy or (relied and not (x.alias is not None and x.alias.foreign)):
        return duplicate(x._data) if on_gpu(x._data) else np.array(x._data)
    if x.alias is None:
        adopt_foreign(x)
    else:
        x.alias.foreign = True
    return x._data


def array_namespace(api_version=None):
    """The module `difftensor`, if it has this version of the standard."""
    if api_version not in (None, *_VERSIONS):
        raise ValueError(
            f"the array API standard {api_version!r} is not known here; known versions are {', '.join(_VERSIONS)}"
        )
    return sys.modules[__name__.partition(".")[0]]


_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")
publish("array_namespace", array_namespace)
