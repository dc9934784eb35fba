"""Operators and NumPy's methods, attached to Tensor now that both exist."""

from __future__ import annotations

from difftensor._backend import as_device, move
from difftensor._core import Tensor, linear, recording, take_over
from difftensor._core.tape import Leaf
from difftensor._ops import counting, elementwise as e, indexing, products, reductions, shape

# Operators ------------------------------------------------------------------------------------------------------------------


def _in_place(f, ufunc):
    """``x op= y``: in place if nothing relies on the old values, else x takes over the result."""

    def op(x, y):
        data = x._data
        other = y._data if y.__class__ is Tensor else y
        if (
            x.__class__ is Tensor and x.node is None and x.alias is None and not x.saved and data.__class__ is not ufunc.__class__ and not _is_scalar(data)
            and (y.__class__ in (float, int) or (y.__class__ is Tensor and (y.node is None or not recording())))
        ):
            ufunc(data, other, out=data, casting="same_kind")
            return x
        t = f(x, y)
        if t is NotImplemented:
            return t
        if _is_scalar(data):
            return t
        return take_over(x, t)

    return op


def _is_scalar(data):
    import numpy as np

    return isinstance(data, np.generic)


def _attach():
    import numpy as np

    table = {"add": e.add, "sub": e.subtract, "mul": e.multiply, "truediv": e.divide, "pow": e.power, "mod": e.remainder, "floordiv": counting.floor_divide,
             "and": counting.bitwise_and, "or": counting.bitwise_or, "xor": counting.bitwise_xor, "lshift": counting.left_shift, "rshift": counting.right_shift}
    for name, f in table.items():
        setattr(Tensor, f"__{name}__", f.operator)
        setattr(Tensor, f"__r{name}__", f.reflected)
        setattr(Tensor, f"__i{name}__", _in_place(f, f.__wrapped_numpy__))
    for name, f in {"eq": counting.equal, "ne": counting.not_equal, "lt": counting.less, "le": counting.less_equal, "gt": counting.greater,
                    "ge": counting.greater_equal}.items():
        setattr(Tensor, f"__{name}__", f.operator)
    Tensor.__neg__, Tensor.__pos__, Tensor.__abs__, Tensor.__invert__ = e.negative, e.positive, e.absolute, counting.invert
    Tensor.__matmul__ = products.matmul
    Tensor.__rmatmul__ = lambda b, a: products.matmul(a, b)
    Tensor.__imatmul__ = _in_place(products.matmul, np.matmul)
    Tensor.__divmod__ = lambda a, b: (counting.floor_divide(a, b), e.remainder(a, b))
    Tensor.__rdivmod__ = lambda b, a: (counting.floor_divide(a, b), e.remainder(a, b))
    Tensor.__round__ = lambda a, n=0: a.round(n or 0)
    Tensor.__getitem__, Tensor.__setitem__ = indexing.getitem, indexing.setitem


_attach()

# Attributes and methods ---------------------------------------------------------------------------------------------------------

Tensor.T = property(shape.transpose, doc="The transposed view.")
Tensor.mT = property(shape.matrix_transpose, doc="The view with the last two axes swapped.")
Tensor.real = property(e.real, lambda x, v: indexing.setitem(e.real(x), Ellipsis, v), doc="The real part.")
Tensor.imag = property(e.imag, lambda x, v: indexing.setitem(e.imag(x), Ellipsis, v), doc="The imaginary part.")
Tensor.flat = property(lambda x: iter(x.ravel()), doc="An iterator over the elements.")

for _name in ("sum", "mean", "var", "std", "max", "min", "all", "any"):
    setattr(Tensor, _name, getattr(reductions, _name).body)
Tensor.reshape, Tensor.transpose = shape.reshape_method, shape.transpose_method
Tensor.ravel, Tensor.swapaxes, Tensor.squeeze = shape.ravel.body, shape.swapaxes.body, shape.squeeze.body
Tensor.conj = Tensor.conjugate = e.conjugate


def _flatten(x, order="C"):
    return shape.copy_of(x).ravel(order)


def _astype(x, dtype, order="K", casting="unsafe", subok=True, copy=True):
    return shape.astype.body(x, dtype, copy=copy, casting=casting)


def _copy(x, order="C"):
    """A copy; differentiable."""
    return shape.copy_of(x)


def _fill(x, value):
    """Set every element to `value`."""
    indexing.setitem(x, Ellipsis, value)


Tensor.flatten, Tensor.astype, Tensor.copy, Tensor.fill = _flatten, _astype, _copy, _fill

_moved = linear("to_device", lambda x, new, old: move(x, new), lambda xp, g, shape, new, old: g.to_device(old) if isinstance(g, Tensor) else move(g, old), public=True)


def to_device(x, device, /, *, stream=None):
    """This Tensor on `device`; itself if it is there already. Differentiable: the gradient comes back to this device."""
    target = as_device(device)
    return x if target == x.device else _moved(x, target, x.device)


Tensor.to_device = to_device


def _zero_grad(x):
    """Forget the accumulated gradient."""
    if x.node.__class__ is Leaf:
        x.node.grad = None


Tensor.zero_grad = _zero_grad
