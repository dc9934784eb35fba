"""A pure functional replay of programs that write in place: no array is ever changed, so nothing can go stale.

An array is an index map into the flat, immutable values of its root; a write makes new values for the root. Views
are found by NumPy itself, on the index maps, which have the memory order that NumPy's arrays would have: whether a
reshape is a view or a copy is NumPy's decision. The values carry a complex step in many directions at once, real and
imaginary parts of complex arrays as two units, so derivatives are exact to rounding (Squire and Trapp, SIAM Review 40
(1998) 110).
"""

from weakref import WeakSet

import numpy as np


class Flat:
    """The values of one root: shape (directions, units)."""

    def __init__(self, values):
        self.values, self.saved, self.members = values, False, WeakSet()


class Watch:
    """What a program did, to know that the programs test what they claim."""

    def __init__(self):
        # a value that a derivative needs was overwritten, under two more live overlapping arrays
        self.hard_write = False


class Replayed:
    def __init__(self, flat, map):
        """`map`: the unit of each element; of complex arrays the units of its parts, as fields "re" and "im"."""
        self.flat, self.map = flat, map
        self.re, self.im = (map["re"], map["im"]) if map.dtype.names else (map, None)
        flat.members.add(self)

    __hash__ = object.__hash__
    __array_ufunc__ = None
    watch = Watch()

    shape = property(lambda self: np.shape(self.re))
    ndim = property(lambda self: np.ndim(self.re))

    # reading

    def parts(self, saved=False):
        self.flat.saved |= saved
        v = self.flat.values
        return v[:, self.re], None if self.im is None else v[:, self.im]

    def view(self, f):
        """`f` of the index map: a view if NumPy makes one, else a copy."""
        m = f(self.map)
        seen = Replayed(self.flat, m)
        if isinstance(m, np.ndarray) and np.shares_memory(m, self.map):
            return seen
        return fresh(seen.re, *seen.parts())

    def __getitem__(self, index):
        return self.view(lambda m: m[index])

    T = property(lambda self: self.view(lambda m: m.T))
    real = property(lambda self: Replayed(self.flat, self.re))
    imag = property(lambda self: Replayed(self.flat, self.im))

    def reshape(self, *shape):
        return self.view(lambda m: m.reshape(*shape))

    def ravel(self):
        return self.view(np.ravel)

    def swapaxes(self, i, j):
        return self.view(lambda m: m.swapaxes(i, j))

    # writing

    def __setitem__(self, index, value):
        flat = self.flat
        if flat.saved and overlapping(m for m in flat.members if m is not self):
            self.watch.hard_write = True
        r, i = parts(value, flat.values)
        new = flat.values.copy()
        new[:, self.re[index]] = lined_up(r, np.ndim(self.re[index]))
        if self.im is not None:
            new[:, self.im[index]] = 0 if i is None else lined_up(i, np.ndim(self.im[index]))
        flat.values, flat.saved = new, False

    def augmented(self, result):
        if not isinstance(self.re, np.ndarray):  # NumPy's scalars are rebound
            return result
        self[...] = result
        return self

    # arithmetic

    def __add__(self, other):
        return combine(np.add, self, other, add)

    def __sub__(self, other):
        return combine(np.add, self, other, lambda a, b: add(a, scaled(b, -1)))

    def __mul__(self, other):
        return combine(np.add, self, other, multiply, saved=True)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other):
        return self * -1.0 + other

    def __iadd__(self, other):
        return self.augmented(self + other)

    def __isub__(self, other):
        return self.augmented(self - other)

    def __imul__(self, other):
        return self.augmented(self * other)

    def sum(self):
        r, i = self.parts()
        axes = tuple(range(1, r.ndim))
        return fresh(np.intp(0), r.sum(axes), None if i is None else i.sum(axes))


def fresh(layout, r, i=None):
    """A new root with the memory order of `layout`, an array of the right shape that NumPy made."""
    shape, directions = np.shape(layout), r.shape[0]
    n = int(np.prod(shape))
    numbers = np.arange(n).reshape(shape)
    if isinstance(layout, np.ndarray):
        m = np.empty_like(layout, dtype=np.intp)
        m[...] = numbers
    else:
        m = np.intp(0)
    if i is None:
        return Replayed(Flat(r.reshape(directions, n)), m)
    # side by side in memory, as the parts are
    both = np.empty_like(np.asarray(m), dtype=[("re", np.intp), ("im", np.intp)])
    both["re"], both["im"] = m, m + n
    flat = Flat(np.concatenate([r.reshape(directions, n), i.reshape(directions, n)], 1))
    return Replayed(flat, both if isinstance(layout, np.ndarray) else both[()])


def overlapping(members):
    live = [np.unique(m.re) for m in members if isinstance(m.re, np.ndarray) and m.re.size]
    return any(np.intersect1d(a, b).size for k, a in enumerate(live) for b in live[:k])


def parts(x, like, saved=False):
    if isinstance(x, Replayed):
        return x.parts(saved)
    x = np.asarray(x)
    one = np.ones((len(like),) + (1,) * x.ndim, dtype=like.dtype)
    return (one * x.real, one * x.imag) if x.dtype.kind == "c" else (one * x, None)


def lined_up(v, ndim):
    """Values behind the axis of directions, with as many axes as the region."""
    extra = ndim - (v.ndim - 1)
    if extra >= 0:
        return v.reshape(v.shape[:1] + (1,) * extra + v.shape[1:])
    return v.reshape(v.shape[:1] + v.shape[1 - extra :])


def layout(x):
    return x.re if isinstance(x, Replayed) else np.zeros(np.shape(x), np.intp) if np.ndim(x) == 0 else np.asarray(x)


def combine(ufunc, a, b, f, saved=False):
    like = a.flat.values if isinstance(a, Replayed) else b.flat.values
    out = ufunc(layout(a), layout(b)) if np.ndim(layout(b)) else ufunc(layout(a), 0)
    out = out if np.ndim(out) else np.intp(0)
    pair = [tuple(None if p is None else lined_up(p, np.ndim(out)) for p in parts(v, like, saved)) for v in (a, b)]
    r, i = f(*pair)
    shape = (len(like), *np.shape(out))
    return fresh(out, np.broadcast_to(r, shape), None if i is None else np.broadcast_to(i, shape))


def add(a, b):
    return a[0] + b[0], b[1] if a[1] is None else a[1] if b[1] is None else a[1] + b[1]


def scaled(a, s):
    return a[0] * s, None if a[1] is None else a[1] * s


def multiply(a, b):
    if a[1] is None and b[1] is None:
        return a[0] * b[0], None
    if b[1] is None:
        return a[0] * b[0], a[1] * b[0]
    if a[1] is None:
        return a[0] * b[0], a[0] * b[1]
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


# The functions that programs call -----------------------------------------------------------------------------------


def elementwise(f):
    def apply(a):
        r, _ = a.parts(saved=True)
        return fresh(np.negative(a.re), f(r))

    return apply


class Functional:
    """The namespace of a replay over `values` (directions, n)."""

    sin, tanh = map(staticmethod, map(elementwise, (np.sin, np.tanh)))

    def __init__(self, like):
        self.like = like

    def zeros(self, shape, dtype=float):
        z = np.zeros((len(self.like), *np.atleast_1d(np.asarray(shape, int))), self.like.dtype)
        return fresh(np.zeros(shape), z, z.copy() if dtype is complex else None)

    def asarray(self, a):
        r, i = parts(a, self.like)
        return fresh(a, r, i)

    def copy(self, a):
        return fresh(a.re.copy(), *a.parts())

    def detach(self, a):
        r, i = a.parts()
        return fresh(
            a.re if isinstance(a.re, np.ndarray) else np.intp(0),
            r.real + 0 * r,
            None if i is None else i.real + 0 * i,
        )

    def add(self, a, b, out):
        out[...] = a + b

    def multiply(self, a, b, out):
        out[...] = a * b

    def copyto(self, a, b):
        a[...] = b

    def fill(self, a, s):
        a[...] = s

    def where(self, mask, a, b):
        return combine(lambda x, y: np.where(mask, x, y), a, b, lambda x, y: (np.where(mask, x[0], y[0]), None))

    def put(self, a, index, v):
        a[np.unravel_index(index, a.shape) if a.ndim else ...] = v

    def fill_diagonal(self, a, s):
        n = np.arange(min(a.shape))
        a[n, n] = s


def replay(program, x, directions, constants, step=1e-30):
    """Value and derivatives along `directions` (k, *x.shape) of `program` at x; and what the program did."""
    Replayed.watch = watch = Watch()
    values = x[None] + 1j * (step * np.asarray(directions, dtype=x.dtype))
    P = Functional(values.reshape(len(values), -1))
    y = program(P, fresh(x, values), [np.array(k, order="K") for k in constants])
    r, i = y.parts()
    assert i is None and r.ndim == 1
    return r[0].real, r.imag / step, watch
