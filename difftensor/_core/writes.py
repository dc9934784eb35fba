"""In-place writes and views: copy-on-write, and re-derivation of the live views.

A Tensor and its views share a Storage; each view knows the path (operations) that leads from the root to it. Saving an operand
marks its buffer; the next write to a marked buffer copies it first, so a saved value never changes, and live views derive
themselves anew from the new buffer. A tracked write records one WRITE node (old contents, value); views then read from it.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np

from difftensor._backend import is_view
from difftensor._core.fitting import Fits, constant, fit
from difftensor._core.primitive import Primitive, X
from difftensor._core.tape import Leaf, Node, getframe, recording, tick, user_site
from difftensor._core.tensor import Tensor, wrap
from difftensor.errors import InPlaceError, describe


class Storage:
    """What a Tensor and its views share.

    data, node  buffer and tape position of the root
    members     weak references to the root and the views
    saved       the tape relies on the buffer
    written     it was written while views were about: what is saved from now on is copied
    foreign     the buffer belongs to somebody else (``dif.asarray(ndarray)``): writes go into it, saved values are copied or guarded
    """

    __slots__ = ("data", "foreign", "limit", "members", "node", "saved", "written")

    def __init__(self, x: Tensor, foreign: bool = False):
        self.data, self.node, self.saved = x._data, x.node, x.saved
        self.written = False
        self.foreign = foreign
        self.members = [ref(x)]
        self.limit = 8
        x.alias = self
        x.path = ()

    def live(self) -> list[Tensor]:
        """The members that still exist."""
        return [m for m in (r() for r in self.members) if m is not None and m.alias is self]

    def add(self, y: Tensor) -> None:
        self.members.append(ref(y))
        if len(self.members) > self.limit:
            self.members = [r for r in self.members if r() is not None]
            self.limit = 2 * len(self.members) + 8


def share_if_view(x: Tensor, y: Tensor, op: Primitive, params: tuple) -> None:
    """Let `y`, just made from `x` by `op`, share its storage if it is a view."""
    if not is_view(y._data, x._data):
        return
    storage = x.alias
    if storage is None:
        storage = Storage(x)
    y.alias = storage
    y.path = (*x.path, (op, params))
    storage.add(y)


def adopt_foreign(x: Tensor) -> Tensor:
    """`x` over a buffer that belongs to somebody else."""
    Storage(x, foreign=True)
    return x


# Saving --------------------------------------------------------------------------------------------------------------


def keep_raw(x: Tensor) -> tuple[Any, Any]:
    """The array of `x` as the tape saves it, and a guard or None."""
    s = x.alias
    if s is None:
        x.saved = True
        return x._data, None
    if s.foreign:
        return constant(x._data)
    if s.written:
        return x._data.copy(), None
    s.saved = True
    return x._data, None


def keep(x: Tensor, n: Node) -> Any:
    """Save a Tensor that shares its storage, for elementwise node `n`."""
    data, guard = keep_raw(x)
    if guard is not None:
        _guard(n, data, guard)
    return data


def keep_any(x: Any, data: Any, n: Node) -> Any:
    """Save an operand of elementwise node `n`: a Tensor, a plain array or a number."""
    kept, guard = keep_raw(x) if isinstance(x, Tensor) else constant(data)
    if guard is not None:
        _guard(n, kept, guard)
    return kept


def _guard(n: Node, data: Any, guard: Any) -> None:
    if n.params is None:
        n.params = Fits(data, data, data)
    n.params.guards = (*n.params.guards, guard)


# Writing -------------------------------------------------------------------------------------------------------------


def walk(path: tuple, a: Any) -> Any:
    """The view of `a` (a raw array or a Tensor) that `path` leads to."""
    if a.__class__ is Tensor:
        for op, params in path:
            a = op.call(a, *params)
    else:
        for op, params in path:
            a = op.forward(a, *params)
    return a


def _sign(path: tuple) -> int:
    """-1 if the path goes through ``.imag``: d Re(c dz) / d Im z = -Im c."""
    return -1 if any(op.name == "imag" for op, _ in path) else 1


def check_writable(x: Tensor, tracked: bool) -> None:
    """Raise if a write to `x` would make a derivative wrong."""
    n = x.node if x.alias is None else x.alias.node
    if n is None:
        return
    if n.__class__ is Leaf and n.user:
        if recording():
            raise InPlaceError(
                f"in-place write to {describe(x)}, which requires a gradient itself (or is a view of such a leaf): the gradient would "
                "belong to values that are gone. Update it under `with dif.no_grad():`, or write to a copy (x.copy())."
            )
    elif not recording():
        raise InPlaceError(
            f"in-place write to the tracked {describe(x)} under no_grad: later operations would differentiate values that were "
            "not computed. Write outside no_grad, or to x.detach()."
        )


def write(x: Tensor, index: Any, value: Any) -> None:
    """``x[index] = value``; `index` holds raw arrays only, `value` is a Tensor, a raw array or a number."""
    v = value if isinstance(value, Tensor) else None
    vd = v._data if v is not None else value
    vnode = v.node if v is not None and recording() else None
    check_writable(x, vnode is not None)
    if not isinstance(x._data, np.generic) and getattr(getattr(x._data, "flags", None), "writeable", True) is False:
        raise ValueError(f"assignment destination is read-only: {describe(x)}")
    if isinstance(x._data, np.generic):
        raise TypeError(f"{describe(x)} is a scalar, as NumPy's result of this operation: it has no items to assign; use x = ...")
    storage = x.alias
    old = x.node if storage is None else storage.node
    tape = recording() and (old is not None or vnode is not None)
    if vnode is not None and x._data.dtype.kind not in "fc":
        raise InPlaceError(
            f"writing the tracked {describe(v)} into {describe(x)} would lose its derivative: make the target floating (dtype=float)"
        )
    if storage is None:
        if x.saved:
            x._data = x._data.copy()
            x.saved = False
        x._data[index] = vd
        if tape:
            x.node = _write_node(x.node, vnode, (), x._data, x._data, index, vd)
        return
    if storage.saved and not storage.foreign:
        storage.data = storage.data.copy()
        storage.saved = False
        for m in storage.live():
            m._data = walk(m.path, storage.data)
    storage.written = True
    x._data[index] = vd
    if tape:
        storage.node = root = _write_node(storage.node, vnode, x.path, storage.data, x._data, index, vd)
        for m in storage.live():
            m.node = _view_node(root, m.path, storage.data) if m.path else root


def _write_node(p: Node | None, q: Node | None, path: tuple, root: Any, target: Any, index: Any, vd: Any) -> Node:
    n = Node()
    n.op = WRITE
    n.p, n.q = p, q
    n.y = n.a = n.b = None
    n.seq = tick()
    winners = _winners(target, index) if q is not None else None
    n.params = (path, index, root.shape, root.dtype, getattr(vd, "shape", ()), getattr(vd, "dtype", root.dtype), winners)
    n.code, n.at = user_site(getframe(2))
    return n


def _view_node(root: Node, path: tuple, data: Any) -> Node:
    n = Node()
    n.op = VIEW
    n.p, n.q = root, None
    n.y = n.a = n.b = None
    n.seq = tick()
    n.params = (path, data.shape, data.dtype)
    n.code, n.at = root.code, root.at
    return n


def _winners(target: Any, index: Any) -> Any:
    """Where an integer index names an element twice, the last value wins: a mask of the values that stayed, or None."""
    parts = index if isinstance(index, tuple) else (index,)
    if not any(getattr(i, "dtype", None) is not None and i.dtype.kind in "iu" and i.ndim for i in parts):
        return None
    order = np.empty(target.shape, dtype=np.intp)
    picked = order[index]
    numbers = np.arange(picked.size).reshape(picked.shape)
    order[index] = numbers
    stayed = order[index] == numbers
    return None if stayed.all() else stayed


def _pull_write(xp: Any, g: Any, n: Node, owned: bool) -> tuple:
    """Cotangents of the old contents and of the value; works in `g` itself if the engine owns it."""
    path, index, _, _, vshape, vdtype, winners = n.params
    if not owned:
        g = g.copy()
    r = walk(path, g)
    gv = None
    if n.q is not None:
        gv = r[index]
        if winners is not None:
            gv = xp.where(winners, gv, 0)
        if len(vshape) > len(gv.shape):
            gv = gv.reshape((1,) * (len(vshape) - len(gv.shape)) + tuple(gv.shape))
        gv = fit(gv * _sign(path), vshape, vdtype)  # the product is the copy that the next line needs
    if n.p is None:
        return None, gv
    r[index] = 0
    return g, gv


def _push_write(xp: Any, ts: tuple, n: Node) -> Any:
    path, index, shape, dtype, _, _, _ = n.params
    t_old, t_v = ts
    t = xp.zeros(shape, dtype) if t_old is None else t_old.copy()
    r = walk(path, t)
    r[index] = 0 if t_v is None else t_v
    return t


class ViewScatter:
    """The cotangent of a root through one of its views, added where the view lies."""

    __slots__ = ("g", "like", "path")

    def __init__(self, g: Any, path: tuple, shape: tuple, dtype: Any):
        self.g, self.path, self.like = g, path, (shape, dtype)

    def into(self, buffer: Any) -> Any:
        r = walk(self.path, buffer)
        r += self.g * _sign(self.path)
        return buffer


def _pull_view(xp: Any, g: Any, n: Node) -> tuple:
    return (ViewScatter(g, *n.params),)


def _push_view(xp: Any, ts: tuple, n: Node) -> Any:
    return walk(n.params[0], ts[0])


WRITE = Primitive("write", "linear", lambda *_: None, operands=2)
WRITE.pull, WRITE.push, WRITE.write = _pull_write, _push_write, True
VIEW = Primitive("view", "linear", lambda *_: None)
VIEW.pull, VIEW.push = _pull_view, _push_view


def take_over(x: Tensor, t: Tensor) -> Tensor:
    """``x op= y`` after ``t = op(x, y)``: x becomes t, in x's dtype and in everybody's eyes."""
    if x.__class__ is not Tensor or t.__class__ is not Tensor:
        return (t if x.__class__ is Tensor else x).__dif_in_place__(x, t)
    check_writable(x, t.node is not None)
    if t.shape != x.shape:
        raise ValueError(f"non-broadcastable output operand with shape {x.shape} doesn't match the broadcast shape {t.shape}")
    if t.dtype != x.dtype:
        if not np.can_cast(t.dtype, x.dtype, "same_kind"):
            raise np._core._exceptions._UFuncOutputCastingError(np.add, "same_kind", t.dtype, x.dtype, 0)
        t = t.astype(x.dtype)
    if x.alias is not None:
        write(x, Ellipsis, t)
        return x
    x._data = t._data
    x.saved = t.saved
    if x.node.__class__ is not Leaf or not x.node.user:
        x.node = t.node
    if t.alias is not None:  # a view of something else (astype returned t itself): do not share it
        x._data = t._data.copy()
        x.saved = False
    return x


__all__ = ["Storage", "X", "adopt_foreign", "keep", "keep_any", "keep_raw", "share_if_view", "take_over", "walk", "wrap", "write"]
