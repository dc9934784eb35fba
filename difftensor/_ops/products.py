"""Products of matrices and vectors."""

from __future__ import annotations

import warnings

import numpy as np

from difftensor._backend import library
from difftensor._core import Tensor, X, bilinear, composition, holds_tensor, linear, publish
from difftensor._core.lanes import aligned
from difftensor._ops.einsum import batch_contract, contract
from difftensor._ops.reductions import axes_of, axis_of, finish

# matmul -------------------------------------------------------------------------------------------------------------


def _matmul(a, b):
    if a.__class__ is np.ndarray and b.__class__ is np.ndarray and a.ndim and b.ndim:
        if a.ndim <= 2 and b.ndim <= 2:
            return a.dot(b)  # three times faster than @ on small matrices, the same BLAS call on large ones
        if b.ndim == 2 and a.flags.c_contiguous:  # a stack times one matrix is one product of tall matrices
            return a.reshape(-1, a.shape[-1]).dot(b).reshape((*a.shape[:-1], b.shape[-1])) if a.size else a @ b
    return a @ b


def _outer(u, v):
    """u v^T over the last axis."""
    return u[..., :, None] * v[..., None, :]


def _t(a):
    return a.swapaxes(-1, -2)


# a is a vector iff g has fewer axes than b (b a matrix), or, b being a vector, iff g is a scalar.
# The operand whose cotangent is wanted may be there as its shape only.


def _rank(a):
    return len(a) if a.__class__ is tuple else a.ndim


def _pull_a(xp, g, a, b):
    if b.ndim == 1:
        return g * b if g.ndim == 0 else _outer(g, b)
    if g.ndim < b.ndim:  # a is a vector
        return (b @ g[..., :, None])[..., 0]
    if g.ndim == 3 and b.ndim == 3 and _rank(a) == 2 and g.shape[0] == b.shape[0]:
        return contract(g, b, "kip", "kjp", "ij")  # one matrix times a stack: one long product instead of a sum of many
    if xp is np and g.ndim == 2 == b.ndim:
        return g.dot(b.T)  # three times faster than matmul on small matrices
    return xp.matmul(g, _t(b))


def _pull_b(xp, g, a, b):
    if a.ndim == 1:
        return g * a if g.ndim == 0 else _outer(a, g)
    if g.ndim < a.ndim:  # b is a vector
        if xp is np and a.ndim == 2:
            return g.dot(a)
        if g.ndim > 1:
            a, g = a.reshape((-1, a.shape[-1])), g.reshape((-1,))
        return (_t(a) @ g[:, None])[:, 0]
    if xp is np and g.ndim == 2 == a.ndim:
        return a.T.dot(g)
    if a.ndim > 2 and _rank(b) == 2:
        a, g = a.reshape((-1, a.shape[-1])), g.reshape((-1, g.shape[-1]))
    return xp.matmul(_t(a), g)


def _batch_matmul(call, lanes, flags, size):
    """A vector's axis is no axis of a stack: name the axes. Matrices broadcast once their stacks have one rank."""
    ranks = [v.ndim - flag for v, flag in zip(lanes, flags)]
    if min(ranks) > 1:
        return call(*aligned(lanes, flags))
    la, lb = "k" if ranks[0] == 1 else "ik", "k" if ranks[1] == 1 else "kj"
    return batch_contract(contract, lanes, flags, size, la, lb, (la + lb).replace("k", ""))


matmul = bilinear("matmul", _matmul, _pull_a, _pull_b, samples="matmul", batch=_batch_matmul)


_ARRAYS = frozenset((Tensor, np.ndarray))


def with_core_axes(ufunc, core, ranks):
    """`core` with the keywords of generalized ufuncs. `ranks`: core dimensions of the operands and of the result."""
    name = ufunc.__name__

    def f(
        x1,
        x2,
        /,
        out=None,
        *,
        axes=None,
        axis=None,
        keepdims=False,
        dtype=None,
        casting="same_kind",
        order="K",
        subok=True,
    ):
        if out is None and axes is None and axis is None and dtype is None and not keepdims:
            if x1.__class__ in _ARRAYS and x2.__class__ in _ARRAYS:
                return core(x1, x2)
        if out.__class__ is tuple:
            (out,) = out
        if not (holds_tensor(x1) or holds_tensor(x2) or isinstance(out, Tensor)):
            given = {"axes": axes, "axis": axis, "dtype": dtype, "keepdims": keepdims or None}
            return ufunc(x1, x2, out=out, casting=casting, **{k: v for k, v in given.items() if v is not None})
        xs = [X.asarray(x) for x in (x1, x2)]
        if dtype is not None:
            xs = [X.astype(x, dtype, casting=casting, copy=False) for x in xs]
        if axis is not None:
            axes = [(axis,), (axis,), (axis,)]
        if axes is not None:
            axes = [k if isinstance(k, tuple) else (k,) for k in axes]
            xs = [X.moveaxis(x, k, tuple(range(-len(k), 0))) for x, k in zip(xs, axes)]
        y = core(*xs)
        if keepdims:
            y = y[..., None]
        if axes is not None and (ranks[2] or keepdims):
            k = axes[2] if len(axes) > 2 else axes[0]
            y = X.moveaxis(y, tuple(range(-len(k), 0)), k)
        return finish(y, out, name)

    f.__name__, f.__doc__ = name, ufunc.__doc__
    publish(name, f, ufunc)
    return f


def _checked(name, a, b, rank_a, rank_b, k):
    """Raise unless axis -1 of `a` and axis `k` of `b` have one length."""
    for x, rank in ((a, rank_a), (b, rank_b)):
        if x.ndim < rank:
            raise ValueError(
                f"{name}: Input operand does not have enough dimensions (has {x.ndim}, requires {rank}): {x.shape}"
            )
    if a.shape[-1] != b.shape[k]:
        raise ValueError(
            f"{name}: mismatch in the core dimension (size {a.shape[-1]} is different from {b.shape[k]}): "
            f"{a.shape} and {b.shape}"
        )


def _vecdot(a, b):
    _checked("vecdot", a, b, 1, 1, -1)
    return contract(conjugated(a), b, "k", "k", "")


def _matvec(a, b):
    _checked("matvec", a, b, 2, 1, -1)
    return contract(a, b, "ik", "k", "i")


def _vecmat(a, b):
    _checked("vecmat", a, b, 1, 2, -2)
    return contract(conjugated(a), b, "k", "kj", "j")


def conjugated(a):
    return X.conjugate(a) if a.dtype.kind == "c" else a


matmul_with_keywords = with_core_axes(np.matmul, matmul, (2, 2, 2))
vecdot = with_core_axes(np.vecdot, _vecdot, (1, 1, 0))
matvec = with_core_axes(np.matvec, _matvec, (2, 1, 1))
vecmat = with_core_axes(np.vecmat, _vecmat, (1, 2, 1))

# dot and its relatives ----------------------------------------------------------------------------------------------


@composition(np.dot)
def dot(a, b, out=None):
    a, b = X.asarray(a), X.asarray(b)
    if a.ndim == 0 or b.ndim == 0:
        y = a * b
    elif b.ndim <= 2 and (a.ndim <= 2 or b.ndim == 2):
        y = matmul(a, b)
    else:
        y = tensordot(a, b, (-1, -2 if b.ndim > 1 else -1))
    return finish(y, out, "dot")


@composition(np.vdot)
def vdot(a, b, /):
    a, b = X.asarray(a).ravel(), X.asarray(b).ravel()
    return matmul(conjugated(a), b)


@composition(np.inner)
def inner(a, b, /):
    a, b = X.asarray(a), X.asarray(b)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"shapes {a.shape} and {b.shape} not aligned: {a.shape[-1]} (dim {a.ndim - 1}) != "
            f"{b.shape[-1]} (dim {b.ndim - 1})"
        )
    return matmul(a, b) if a.ndim == b.ndim == 1 else tensordot(a, b, (-1, -1))


_outer_product = bilinear(
    "outer_product",
    lambda a, b: a[:, None] * b,
    lambda xp, g, a, b: matmul(g, b),
    lambda xp, g, a, b: matmul(a, g),
    public=False,
    samples="outer",
    batch=lambda call, lanes, flags, size: batch_contract(contract, lanes, flags, size, "i", "j", "ij"),
)


def _flat(x):
    x = X.asarray(x)
    return x if x.ndim == 1 else x.ravel()


@composition(np.outer)
def outer(a, b, out=None):
    return finish(_outer_product(_flat(a), _flat(b)), out, "outer")


@composition(np.tensordot)
def tensordot(a, b, axes=2):
    a, b = X.asarray(a), X.asarray(b)
    if np.iterable(axes):
        axes_a, axes_b = (axes_of(x, tuple(k) if np.iterable(k) else k) for x, k in zip((a, b), axes))
    else:
        k = axes.__index__()
        if k > min(a.ndim, b.ndim):
            # NumPy compares the sizes before it misses an axis.
            differ = k <= a.ndim and any(m != n for m, n in zip(a.shape[a.ndim - k :], b.shape))
            kind = ValueError if differ else IndexError
            raise kind(f"tensordot: {k} axes asked for, the operands have shapes {a.shape} and {b.shape}")
        axes_a, axes_b = tuple(range(-k, 0)), axes_of(b, tuple(range(k)))
    if [a.shape[k] for k in axes_a] != [b.shape[k] for k in axes_b]:
        raise ValueError(f"shape-mismatch for sum: axes {axes_a} of {a.shape} and {axes_b} of {b.shape}")
    la = [chr(ord("A") + i) for i in range(a.ndim)]
    lb = [chr(ord("a") + i) for i in range(b.ndim)]
    for i, j in zip(axes_a, axes_b):
        lb[j] = la[i]
    shared = {la[i] for i in axes_a}
    return contract(a, b, "".join(la), "".join(lb), "".join(k for k in la + lb if k not in shared))


@composition(np.kron)
def kron(a, b):
    a, b = X.asarray(a), X.asarray(b)
    n = max(a.ndim, b.ndim)
    a, b = (x.reshape((1,) * (n - x.ndim) + x.shape) for x in (a, b))
    shape = tuple(i * j for i, j in zip(a.shape, b.shape))
    la, lb = "ABCDEFGHIJKLM"[:n], "abcdefghijklm"[:n]
    return contract(a, b, la, lb, "".join(i + j for i, j in zip(la, lb))).reshape(shape)


def _cross_product(a, b):
    a0, a1, a2, b0, b1, b2 = a[..., 0], a[..., 1], a[..., 2], b[..., 0], b[..., 1], b[..., 2]
    c0 = a1 * b2 - a2 * b1
    y = np.empty((*c0.shape, 3), c0.dtype) if isinstance(a, np.ndarray) else np.empty_like(c0, shape=(*c0.shape, 3))
    y[..., 0] = c0
    y[..., 1] = a2 * b0 - a0 * b2
    y[..., 2] = a0 * b1 - a1 * b0
    return y


# g . (da x b) = da . (b x g),  g . (a x db) = db . (g x a)
_cross = bilinear(
    "cross_last",
    _cross_product,
    lambda xp, g, a, b: _cross(b, g),
    lambda xp, g, a, b: _cross(g, a),
    public=False,
    samples="cross",
    batch=lambda call, lanes, flags, size: call(*aligned(lanes, flags)),
)


# The lengths of the vectors that NumPy crosses: it gave up on those in a plane.
_CROSSED = {2, 3} if np.lib.NumpyVersion(np.__version__) < "2.5.0" else {3}


@composition(np.cross)
def cross(a, b, axisa=-1, axisb=-1, axisc=-1, axis=None):
    if axis is not None:
        axisa, axisb, axisc = (axis,) * 3
    a, b = X.asarray(a), X.asarray(b)
    if a.ndim < 1 or b.ndim < 1:
        raise ValueError("At least one array has zero dimension")
    a, b = (x if axis == -1 else X.moveaxis(x, axis, -1) for x, axis in ((a, axisa), (b, axisb)))
    lengths = a.shape[-1], b.shape[-1]
    if not set(lengths) <= _CROSSED:
        sizes = " or ".join(map(str, sorted(_CROSSED)))
        raise ValueError(f"incompatible dimensions for cross product\n(dimension must be {sizes}), found {lengths}")
    if 2 in lengths:
        warnings.warn(
            "Arrays of 2-dimensional vectors are deprecated. Use arrays of 3-dimensional vectors instead. "
            "(deprecated in NumPy 2.0)",
            DeprecationWarning,
            stacklevel=3,
        )
        a, b = (
            X.concatenate([x, library(x).zeros((*x.shape[:-1], 1), x.dtype)], axis=-1) if x.shape[-1] == 2 else x
            for x in (a, b)
        )
    y = _cross(a, b)
    return y[..., 2] if lengths == (2, 2) else y if axisc == -1 else X.moveaxis(y, -1, axisc)


def _eye_on(xp, g, shape, offset, axis1, axis2):
    """g times the identity over two new axes."""
    n = len(shape)
    eye = xp.eye(shape[axis1], shape[axis2], offset, dtype=g.dtype)
    lead = tuple(range(n - 2))
    order = [0] * n
    for to, k in enumerate([k for k in range(-n, 0) if k not in (axis1, axis2)]):
        order[k] = lead[to]
    order[axis1], order[axis2] = n - 2, n - 1
    return (g[..., None, None] * xp.asarray(eye)).transpose(tuple(order))


_trace = linear(
    "trace_of",
    lambda x, offset, axis1, axis2: np.trace(x, offset, axis1, axis2),
    _eye_on,
    public=False,
    samples="trace",
    batch="trailing",
)


@composition(np.trace)
def trace(a, offset=0, axis1=0, axis2=1, dtype=None, out=None):
    a = X.asarray(a)
    if a.ndim < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    if dtype is not None:
        a = X.astype(a, dtype, copy=False)
    axis1, axis2 = axis_of(a, axis1), axis_of(a, axis2)
    if axis1 == axis2:
        raise ValueError("axis1 and axis2 cannot be the same")
    return finish(_trace(a, offset.__index__(), axis1, axis2), out, "trace")
