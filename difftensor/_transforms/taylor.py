"""Taylor series: derivatives of high order along a line, at polynomial cost.

A `Jet` Tensor holds the Taylor coefficients of its values along a line. Every rule gives, for y = op(x),

    y'(t) = push(x'(t); y(t), x(t)),

an equation between power series: coefficient k of the right side, which needs coefficients of y up to k only, is
(k + 1) times coefficient k + 1 of y. So the rules of first order, run on Jets, give every order; no rule is written
for Taylor series. Coefficients are computed when they are asked for, each once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from difftensor import tree
from difftensor._core import Primitive, Tensor, X, lift, wrap
from difftensor._core.operands import _with_keywords
from difftensor._core.sweeping import concrete
from difftensor._transforms.batch import apart, is_scalar, laid_out_like, levels
from difftensor.errors import DegenerateError, MissingDerivativeError, public_name


def _would_drop(what: str) -> MissingDerivativeError:
    return MissingDerivativeError(
        f"{what} inside dif.taylor would drop the derivatives; use dif.* or np.* functions on the Tensor itself, or "
        "x.detach() to drop them on purpose"
    )


class Series:
    """What a Jet holds: the coefficients known so far, how to find the next, how many there are, and the level."""

    __slots__ = ("known", "level", "next", "order")

    def __init__(self, known: list, order: int, level: int, next: Callable | None = None):  # noqa: A002
        self.known, self.order, self.level, self.next = known, order, level, next

    def __getitem__(self, k: int) -> Any:
        while len(self.known) <= k:
            coefficient = self.next(len(self.known))  # type: ignore[misc]
            self.known.append(laid_out_like(coefficient, self.known[0]))
        return self.known[k]


def _first(name: str) -> property:
    return property(lambda x: getattr(x._data.known[0], name))


class Jet(Tensor):
    """A value and its Taylor coefficients along a line."""

    __slots__ = ()

    node, shape, dtype, ndim, size = map(_first, ("node", "shape", "dtype", "ndim", "size"))  # type: ignore[assignment]
    itemsize, nbytes, device = map(_first, ("itemsize", "nbytes", "device"))  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self._data.known[0])

    def __len__(self) -> int:
        return len(self._data.known[0])

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def item(self, *args: int) -> Any:
        return self._data.known[0].item(*args)

    def detach(self) -> Tensor:
        return self._data.known[0].detach()

    def __repr__(self) -> str:
        return f"Jet({self._data.known})"

    __str__ = __repr__

    def _number(self, kind: type) -> Any:
        raise _would_drop(f"{kind.__name__}()")

    def numpy(self, *, copy: bool = False) -> Any:
        raise _would_drop("numpy()")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise _would_drop("conversion to a NumPy array")

    @staticmethod
    def __dif_dispatch__(op: Primitive, f: Callable, xs: tuple, params: tuple, keywords: dict) -> Any:
        return dispatch(op, f, xs, params, keywords)

    @staticmethod
    def __dif_write__(x: Tensor, index: Any, value: Any) -> None:
        write(x, index, value)

    @staticmethod
    def __dif_in_place__(x: Tensor, t: Tensor) -> Tensor:
        if isinstance(x, Jet) and is_scalar(x._data.known[0]):
            return t
        write(x, Ellipsis, t)
        return x

    @staticmethod
    def __dif_index__(x: Tensor, index: tuple) -> Tensor:
        raise IndexError("arrays used as indices must be of integer (or boolean) type")


def jet(series: Series) -> Jet:
    t = Jet()
    t._data = series
    t.alias = None
    t.saved = False
    return t


def _is(x: Any, level: int) -> bool:
    return isinstance(x, Jet) and x._data.level == level


def _derivative(x: Jet) -> Jet:
    """dx/dt."""
    s = x._data
    if s.order == 0:
        return jet(Series([X.zeros_like(s[0])], 0, s.level))
    return jet(Series([s[1]], s.order - 1, s.level, lambda k: (k + 1) * s[k + 1]))


class _Node:
    """What a rule reads of the node of an operation, with Jets in the place of saved arrays."""

    __slots__ = ("a", "b", "p", "params", "q", "y")
    a: Any
    b: Any
    p: Any
    params: Any
    q: Any
    y: Any


def dispatch(op: Primitive, f: Callable, xs: tuple, params: tuple, keywords: dict) -> Any:
    """Operation `op` on operands some of which are Jets."""
    if keywords and op.arity:
        return _with_keywords(op, f, xs, **{"out": None, **keywords})
    level = max(x._data.level for x in xs if isinstance(x, Jet))
    order = max(x._data.order for x in xs if _is(x, level))
    zeroth = [x._data[0] if _is(x, level) else x for x in xs]
    y0 = _call(op, zeroth, params, keywords)
    if op.kind == "nondifferentiable":
        return y0
    if op.views or (op.kind == "linear" and op.name != "to_device"):  # views of the coefficients, to be written through
        s = xs[0]._data
        return _forced(Series([y0], order, level, lambda k: op.call(s[k], *params)))
    if op.name == "multiply" or op.kind == "bilinear":
        return _forced(Series([y0], order, level, lambda k: _cauchy(op, xs, level, k, params)))
    if op.name == "divide":
        quotient = Series([y0], order, level)
        quotient.next = lambda k: _quotient(xs, quotient, level, k)
        return _forced(quotient)
    many = isinstance(y0, tuple)
    ys = [jet(Series([y], order, level)) for y in (y0 if many else (y0,))]
    found: list = []

    def next_of(i: int) -> Callable:
        def coefficient(k: int) -> Any:
            if not found:
                token = _lazy.set(True)
                try:
                    found.append(_slope(op, xs, ys, params, level, many))
                finally:
                    _lazy.reset(token)
            slope = found[0][i]
            c = slope._data[k - 1] if _is(slope, level) else (slope if k == 1 else None)
            return X.zeros_like(ys[i]._data.known[0]) if c is None else c / k

        return coefficient

    for i, y in enumerate(ys):
        y._data.next = next_of(i)
    for y in ys:
        try:
            _forced(y._data)
        except DegenerateError:
            if not many:  # of many results others may be fine: this one raises again where it is read
                raise
    return (type(y0)(*ys) if hasattr(y0, "_fields") else tuple(ys)) if many else ys[0]


def _call(op: Primitive, xs: list, params: tuple, keywords: dict) -> Any:
    return op.call(xs, *params, **keywords) if op.operands is None else op.call(*xs, *params, **keywords)


# Inside a rule nothing is forced: the series of y on the right side is still growing.
_lazy: ContextVar[bool] = ContextVar("difftensor.lazy_series", default=False)


def _forced(s: Series) -> Jet:
    if not _lazy.get():
        s[s.order]
    return jet(s)


def _cauchy(op: Primitive, xs: tuple, level: int, k: int, params: tuple) -> Any:
    """Coefficient k of a product."""
    a, b = xs
    if not _is(a, level):
        return op.call(a, b._data[k], *params)
    if not _is(b, level):
        return op.call(a._data[k], b, *params)
    total = None
    for i in range(k + 1):
        term = op.call(a._data[i], b._data[k - i], *params)
        total = term if total is None else total + term
    return total


def _quotient(xs: tuple, y: Series, level: int, k: int) -> Any:
    """Coefficient k of y = a / b, from b y = a (by its rule the two quotients on the right would double with k)."""
    a, b = xs
    rest = a._data[k] if _is(a, level) else None
    if not _is(b, level):
        return rest / b
    for i in range(1, k + 1):
        term = b._data[i] * y[k - i]
        rest = -term if rest is None else rest - term
    return rest / b._data[0]


def _slope(op: Primitive, xs: tuple, ys: list, params: tuple, level: int, many: bool) -> Sequence:
    """dy/dt as Jets: the push of the operation, run on Jets."""
    tangents = tuple(_derivative(x) if _is(x, level) else None for x in xs)
    y = tuple(ys) if many else ys[0]
    if op.arity == 1:
        out = op.push(X, tangents[0], y, xs[0]) if op.push is not None else op.rule_a(X, tangents[0], y, xs[0])
        return [out]
    if op.arity == 2:
        out = None
        for t, rule in zip(tangents, (op.rule_a, op.rule_b)):
            if t is not None:
                r = rule(X, X.broadcast_to(t, ys[0].shape) if t.shape != ys[0].shape else t, y, *xs)
                out = r if out is None else out + r
        return [out]
    if op.push is None:
        raise MissingDerivativeError(
            f"dif.taylor: {public_name(op.name)} has no push rule; use repeated dif.jvp, or write it with other "
            f"functions"
        )
    n = _Node()
    n.y, n.params, n.p, n.q, n.b = y, params, None, None, None
    n.a = tuple(xs) if op.operands is None or op.operands > 2 else xs[0]
    if op.operands == 2:
        n.b = xs[1]
    if op.check is not None:
        op.check(None, _constants(n))
    out = op.push(X, tangents, n)
    return out if many else [out]


def _constants(n: _Node) -> _Node:
    """The node with raw arrays, for checks that look at values."""
    m = _Node()
    m.a, m.b, m.y = concrete(n.a), concrete(n.b), concrete(n.y)
    m.params, m.p, m.q = n.params, None, None
    return m


def write(x: Tensor, index: Any, value: Any) -> None:
    """``x[index] = value`` where either is a Jet: x becomes one in place, coefficient beside coefficient."""
    level = max(v._data.level for v in (x, value) if isinstance(v, Jet))
    if not _is(x, level):
        order = value._data.order
        storage = None if isinstance(x, Jet) else x.alias
        members = [x] if storage is None else storage.live()
        root = _twin(x) if storage is None else wrap(storage.data, storage.node)
        rows = [root, *(X.zeros_like(root) if root.__class__ is Tensor else root * 0 for _ in range(order))]
        for m in members:
            path = () if storage is None else m.path
            parts = rows
            for op, params in path:
                parts = [op.call(v, *params) for v in parts]
            if m.__class__ is Tensor:
                m.node = None
            m.__class__ = Jet
            m._data = Series(list(parts), order, level)
            m.alias = None
            m.saved = False
    for k in range(x._data.order + 1):
        if _is(value, level):
            x._data[k][index] = value._data[k] if k <= value._data.order else 0
        else:
            x._data[k][index] = value if k == 0 else 0


def _twin(x: Tensor) -> Tensor:
    t = x.__class__()
    t._data, t.alias, t.saved = x._data, None, True
    if x.__class__ is Tensor:
        t.node = x.node
    return t


def taylor(f: Callable, x: Any, order: int, direction: Any = None) -> Any:
    """The Taylor coefficients of f along a line.

    Parameters
    ----------
    f : callable
        Of an array or a pytree, returning an array or a pytree.
    x : array or pytree
    order : int
        The highest power.
    direction : like x, optional
        The direction v; ones by default.

    Returns
    -------
    coefficients : array, shape (order + 1, *y.shape), or a tree of them
        ``f(x + t v) = sum_k coefficients[k] t**k + O(t**(order + 1))``; the k-th directional derivative is
        ``k! * coefficients[k]``.

    Notes
    -----
    Cost grows with the square of the order for products and with its cube for functions such as sin, not
    exponentially as nested derivatives do. The rules are those of first order, run on power series (Griewank and
    Walther, Evaluating Derivatives, chapter 13). Kinks give the series of the side that the rules take.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> dif.taylor(np.exp, 0.0, 4).round(6).tolist()
    [1.0, 1.0, 0.5, 0.166667, 0.041667]
    """
    if order < 0:
        raise ValueError(f"taylor: order must not be negative, found {order}")
    xs, shape = tree.flatten(x)
    vs = [1.0] * len(xs) if direction is None else tree.leaves(direction)
    if len(vs) != len(xs):
        raise ValueError(f"taylor: the direction has {len(vs)} parts, x has {len(xs)}")
    tensors = any(isinstance(v, Tensor) for v in (*xs, *vs))
    active = levels.get()
    level = len(active)
    token = levels.set((*active, None))
    try:
        jets = []
        for u, v in zip(xs, vs):
            if isinstance(u, Tensor):
                u = apart(u)
            else:
                a = np.asarray(u, dtype=np.result_type(u, float))
                u = lift(a if isinstance(u, np.ndarray) else a[()], None)
            v = X.zeros_like(u) + v  # and not u * 0, which is NaN where u is infinite
            rows = [v, *(X.zeros_like(v) for _ in range(order - 1))] if order else []
            jets.append(jet(Series([u, *(laid_out_like(c, u) for c in rows)], order, level)))
        found, y_shape = tree.flatten(f(tree.unflatten(shape, jets)))
    finally:
        levels.reset(token)
    out = []
    for y in found:
        if _is(y, level):
            rows = [y._data[k] for k in range(order + 1)]
        else:
            y = y if isinstance(y, Tensor) else wrap(np.asarray(y))
            rows = [y, *(X.zeros_like(y) for _ in range(order))]
        c = X.stack(rows)
        out.append(c if tensors or c.node is not None or c.__class__ is not Tensor else c.numpy(copy=True))
    return tree.unflatten(y_shape, out)
