"""Hostile and odd input:

The values are NumPy's, or the exception is of NumPy's type; nothing is clamped, nothing crashes.
"""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import difftensor as dif
from difftensor.errors import NotDispatchedError

DTYPES = ["f8", "f4", "i8", "i1", "u8", "?", "c16", "f2"]
SIDES = st.integers(0, 3)
shapes = st.lists(SIDES, max_size=3).map(tuple)


@st.composite
def arrays(draw, dtypes=DTYPES, shape=shapes):
    """An array of a few numbers, some of them NaN, infinite or huge;

    Contiguous or not, sometimes read-only or byte-swapped.
    """
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    a = draw(hnp.arrays(dtype, draw(shape), elements=hnp.from_dtype(dtype, allow_subnormal=False)))
    form = draw(st.sampled_from(["plain", "plain", "fortran", "strided", "reversed", "read-only", "swapped"]))
    if form == "fortran":
        a = np.asfortranarray(a)
    elif form == "strided" and a.ndim:
        a = np.repeat(a, 2, axis=-1)[..., ::2]
    elif form == "reversed" and a.ndim:
        a = a[::-1]
    elif form == "read-only":
        a.flags.writeable = False
    elif form == "swapped":
        a = a.astype(a.dtype.newbyteorder(">"))
    return a


axes = st.one_of(
    st.none(), st.integers(-4, 4), st.tuples(st.integers(-3, 3)), st.tuples(st.integers(-3, 3), st.integers(-3, 3))
)
axis = st.integers(-4, 4)
sizes = st.one_of(st.integers(-1, 12), st.lists(st.integers(-1, 4), max_size=4).map(tuple))
items = st.one_of(
    st.integers(-5, 5),
    st.slices(4),
    st.just(Ellipsis),
    st.none(),
    st.lists(st.integers(-4, 4), max_size=3),
    st.lists(st.booleans(), max_size=4),
    st.just(True),
    st.floats(-2, 2),
    hnp.arrays(bool, shapes),
    hnp.arrays("i8", shapes, elements=st.integers(-4, 4)),
)
indices = st.one_of(items, st.lists(items, max_size=3).map(tuple))
a = arrays()

# Each: a function of a namespace, and the strategies of its arguments.
CALLS = {
    "add": (lambda xp, x, y: x + y, a, a),
    "subtract": (lambda xp, x, y: x - y, a, a),
    "divide": (lambda xp, x, y: x / y, a, a),
    "power": (lambda xp, x, y: x**y, arrays(["f8", "c16", "i8"]), st.integers(-3, 3)),
    "floor_divide": (lambda xp, x, y: x // y, a, a),
    "remainder": (lambda xp, x, y: x % y, a, a),
    "and": (lambda xp, x, y: x & y, a, a),
    "shift": (lambda xp, x, y: x << y, arrays(["i8", "f8", "u8"]), st.integers(0, 70)),
    "invert": (lambda xp, x: ~x, a),
    "negative": (lambda xp, x: -x, a),
    "compare": (lambda xp, x, y: x < y, a, a),
    "equal": (lambda xp, x, y: x == y, a, a),
    "scalar": (
        lambda xp, x, s: x * s,
        a,
        st.one_of(st.floats(), st.integers(-(2**70), 2**70), st.complex_numbers(), st.booleans()),
    ),
    "left scalar": (lambda xp, x, s: s - x, a, st.one_of(st.floats(), st.integers(-(2**70), 2**70))),
    "sin": (lambda xp, x: xp.sin(x), a),
    "sqrt": (lambda xp, x: xp.sqrt(x), a),
    "logaddexp": (lambda xp, x, y: xp.logaddexp(x, y), a, a),
    "maximum": (lambda xp, x, y: xp.maximum(x, y), a, a),
    "hypot": (lambda xp, x, y: xp.hypot(x, y), a, a),
    "where": (lambda xp, c, x, y: xp.where(c, x, y), arrays(["?"]), a, a),
    "clip": (lambda xp, x, lo: xp.clip(x, lo, None), arrays(["f8", "i8"]), st.floats(-2, 2)),
    "sum": (lambda xp, x, k, keep: xp.sum(x, axis=k, keepdims=keep), a, axes, st.booleans()),
    "prod": (lambda xp, x, k: xp.prod(x, axis=k), arrays(["i8", "?", "f8"]), axes),
    "mean": (lambda xp, x, k: xp.mean(x, axis=k), arrays(["f8", "i8", "?"]), axes),
    "max": (lambda xp, x, k: xp.max(x, axis=k), arrays(["f8", "i8", "?"]), axes),
    "argmin": (lambda xp, x, k: xp.argmin(x, axis=k), arrays(["f8", "i8", "?"]), st.one_of(st.none(), axis)),
    "all": (lambda xp, x, k: xp.all(x, axis=k), arrays(["?", "i8", "f8"]), axes),
    "cumsum": (lambda xp, x, k: xp.cumsum(x, axis=k), arrays(["f8", "i8", "?"]), st.one_of(st.none(), axis)),
    "std": (lambda xp, x, k, d: xp.std(x, axis=k, ddof=d), arrays(["f8"]), axes, st.integers(0, 1)),
    "sort": (lambda xp, x, k: xp.sort(x, axis=k), arrays(["f8", "i8", "?"]), st.one_of(st.none(), axis)),
    "diff": (lambda xp, x, n, k: xp.diff(x, n=n, axis=k), arrays(["f8", "i8"]), st.integers(-1, 3), axis),
    "reshape": (lambda xp, x, s: xp.reshape(x, s), a, sizes),
    "transpose": (
        lambda xp, x, k: xp.transpose(x, k),
        a,
        st.one_of(st.none(), st.lists(st.integers(-3, 3), max_size=3)),
    ),
    "swapaxes": (lambda xp, x, i, j: xp.swapaxes(x, i, j), a, axis, axis),
    "moveaxis": (lambda xp, x, i, j: xp.moveaxis(x, i, j), a, axis, axis),
    "expand_dims": (lambda xp, x, k: xp.expand_dims(x, k), a, st.one_of(axis, st.tuples(axis, axis))),
    "squeeze": (lambda xp, x, k: xp.squeeze(x, k), a, axes),
    "broadcast_to": (lambda xp, x, s: xp.broadcast_to(x, s), a, sizes),
    "flip": (lambda xp, x, k: xp.flip(x, k), a, axes),
    "roll": (lambda xp, x, s, k: xp.roll(x, s, k), a, st.integers(-9, 9), st.one_of(st.none(), axis)),
    "concatenate": (lambda xp, x, y, k: xp.concatenate([x, y], axis=k), a, a, st.one_of(st.none(), axis)),
    "stack": (lambda xp, x, y, k: xp.stack([x, y], axis=k), a, a, axis),
    "split": (lambda xp, x, n, k: xp.split(x, n, axis=k)[0], a, st.integers(-1, 4), axis),
    "repeat": (lambda xp, x, n, k: xp.repeat(x, n, axis=k), a, st.integers(0, 3), st.one_of(st.none(), axis)),
    "tile": (lambda xp, x, n: xp.tile(x, n), a, st.integers(0, 3)),
    "take": (
        lambda xp, x, i, k: xp.take(x, i, axis=k),
        a,
        st.one_of(st.integers(-5, 5), st.lists(st.integers(-4, 4), max_size=3)),
        st.one_of(st.none(), axis),
    ),
    "getitem": (lambda xp, x, i: x[i], a, indices),
    "diagonal": (lambda xp, x, k: xp.diagonal(x, k), a, st.integers(-5, 5)),
    "tril": (lambda xp, x, k: xp.tril(x, k), a, st.integers(-5, 5)),
    "matmul": (lambda xp, x, y: x @ y, arrays(["f8", "i8", "c16"]), arrays(["f8", "i8", "c16"])),
    "dot": (lambda xp, x, y: xp.dot(x, y), arrays(["i8", "f8"]), arrays(["i8", "f8"])),
    "outer": (lambda xp, x, y: xp.outer(x, y), arrays(["i8", "f8"]), arrays(["i8", "f8"])),
    "tensordot": (lambda xp, x, y, n: xp.tensordot(x, y, n), arrays(["i8"]), arrays(["i8"]), st.integers(-1, 3)),
    "einsum": (
        lambda xp, s, x, y: xp.einsum(s, x, y),
        st.sampled_from(["ij,jk->ik", "i,i", "i,j->ij", "ii,i->i", "ij,ij", "...i,...i->...", "ij->", "i,j->k"]),
        arrays(["i8"]),
        arrays(["i8"]),
    ),
    "trace": (lambda xp, x, k: xp.trace(x, k), arrays(["i8", "f8"]), st.integers(-4, 4)),
    "astype": (lambda xp, x, d: xp.astype(x, d), arrays(["i8", "f8", "?"]), st.sampled_from(["f4", "f8", "c16"])),
    "det": (lambda xp, x: xp.linalg.det(x), arrays(["f8"])),
    "inv": (lambda xp, x: xp.linalg.inv(x), arrays(["f8", "i8"])),
    "solve": (lambda xp, x, y: xp.linalg.solve(x, y), arrays(["f8"]), arrays(["f8"])),
    "norm": (lambda xp, x, k: xp.linalg.norm(x, axis=k), arrays(["f8"]), axes),
    "fft": (
        lambda xp, x, n, k: xp.fft.fft(x, n, axis=k),
        arrays(["f8"]),
        st.one_of(st.none(), st.integers(-1, 4)),
        axis,
    ),
    "round": (lambda xp, x, n: xp.round(x, n), arrays(["f8", "i8"]), st.integers(-3, 3)),
    "searchsorted": (lambda xp, x, v: xp.searchsorted(x, v), arrays(["f8"]), st.floats()),
    "pad": (lambda xp, x, n: xp.pad(x, n), a, st.integers(-1, 2)),
    "zeros": (lambda xp, s: xp.zeros(s), sizes),
    "arange": (lambda xp, i, j, k: xp.arange(i, j, k), st.integers(-3, 3), st.integers(-3, 3), st.integers(-2, 2)),
    "linspace": (lambda xp, n: xp.linspace(0.0, 1.0, n), st.integers(-1, 4)),
    "float": (lambda xp, x: float(x), arrays(["f8", "i8", "?"])),
    "bool": (lambda xp, x: bool(x), a),
    "len": (lambda xp, x: len(x), a),
    "iter": (lambda xp, x: list(x)[0], a),
    "item": (lambda xp, x: x.item(), a),
    "index": (lambda xp, x: [10, 20, 30][x], arrays(["i8", "f8", "?"])),
    "flatten": (lambda xp, x: x.flatten(), a),
    "reshape method": (lambda xp, x, s: x.reshape(s), a, sizes),
}


def outcome(f, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with np.errstate(all="ignore"):
            try:
                return f(*args), None
            except Exception as error:
                return None, error


def plain(v):
    if isinstance(v, dif.Tensor):
        return v._data
    if isinstance(v, (list, tuple)):
        return type(v)(map(plain, v))
    return v


def compare(name, ours, theirs, our_error, their_error, exact=True):
    if isinstance(our_error, NotDispatchedError):
        return
    if name == "take" and isinstance(our_error, IndexError) and np.size(theirs) == 0:
        return  # NumPy does not look at indices when there is nothing to take
    if their_error is not None:
        assert our_error is not None, f"{name}: NumPy raises {their_error!r}, we return {ours!r}"
        kinds = [c for c in type(their_error).__mro__ if c not in (Exception, BaseException, object)]
        ours_kinds = type(our_error).__mro__
        assert any(c in ours_kinds for c in kinds[:2]), (
            f"{name}: NumPy raises {their_error!r}, we raise {our_error!r}"
        )
        return
    assert our_error is None, f"{name}: NumPy returns {theirs!r}, we raise {our_error!r}"
    found = plain(ours)
    assert np.shape(found) == np.shape(theirs), name
    if isinstance(theirs, (np.ndarray, np.generic)):
        assert found.dtype == theirs.dtype.newbyteorder("="), name
    with np.errstate(all="ignore"):
        close = (
            np.allclose(found, theirs, rtol=1e-6, atol=1e-12, equal_nan=True)
            if np.asarray(theirs).dtype.kind in "fc"
            else np.array_equal(found, theirs)
        )
    assert close, f"{name}: {found!r} instead of {theirs!r}"


def wrapped(v):
    return dif.tensor(v) if isinstance(v, np.ndarray) else v


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_as_numpy(name, data):
    f, *strategies = CALLS[name]
    args = [data.draw(s) for s in strategies]
    args = [v.astype(v.dtype.newbyteorder("=")) if isinstance(v, np.ndarray) and name == "index" else v for v in args]
    theirs, their_error = outcome(f, np, *args)
    tensors = args if name in ("getitem", "take") else list(map(wrapped, args))
    if name in ("getitem", "take"):
        tensors = [dif.tensor(args[0]), *args[1:]]
    ours, our_error = outcome(f, dif, *tensors)
    compare(name, ours, theirs, our_error, their_error)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(x=arrays(["f8", "i8", "c16"]), i=indices, v=st.one_of(arrays(["f8", "i8"]), st.floats(-5, 5)))
def test_setitem_as_numpy(x, i, v):
    y = x.astype(x.dtype.newbyteorder("="))
    t = dif.tensor(y)

    def write(a):
        a[i] = v
        return a

    theirs, their_error = outcome(write, y.copy())
    ours, our_error = outcome(write, t)
    compare("setitem", ours, theirs, our_error, their_error)
    if their_error is not None:
        assert np.array_equal(t._data, y, equal_nan=True) or isinstance(their_error, OverflowError)


# Extremes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [32, 64])
def test_many_dimensions(n):
    x = np.full((1,) * (n - 2) + (2, 3), 0.5)

    def f(x):
        y = x.reshape((3, 2) + (1,) * (n - 2)).T * x
        return (np.sin(y[..., ::-1, :]).sum(axis=-1) ** 2).sum() + x[(0,) * (n - 1)].sum()

    g = dif.grad(f)(x)
    assert g.shape == x.shape
    t = dif.jvp(f, (x,), (x,))[1]
    assert np.isclose(t, (g * x).sum())
    with pytest.raises((ValueError, IndexError)):
        np.ones((1,) * 64)[None]
    if n == 64:
        with pytest.raises((ValueError, IndexError)):
            dif.tensor(x)[None]


def test_empty_arrays_everywhere():
    for shape in [(0,), (0, 3), (3, 0), (2, 0, 3)]:
        x = np.zeros(shape)
        g = dif.grad(
            lambda x: (np.sin(x) * x.T.reshape(x.shape)).sum() + (x @ x.mT).sum() if x.ndim > 1 else (x @ x) + x.sum()
        )(x)
        assert g.shape == shape and g.dtype == float
        assert dif.jvp(lambda x: x * 2, (x,), (x,))[1].shape == shape
    with pytest.raises(ValueError, match="zero-size"):
        dif.max(dif.zeros(0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308, 5e-324, -0.0])
def test_extreme_values_stay_themselves(value):
    def f(x):
        u = dif.zeros(3)
        u[1:] = x
        return u[::-1].sum() * 1.0

    v, g = dif.value_and_grad(f)(np.array([value, 0.0]))
    assert np.array_equal(v, value + 0.0, equal_nan=True)
    assert g.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("number", [2**63, -(2**80), 10**400])
def test_huge_integers_as_numpy(number):
    for f in (lambda a: a + number, lambda a: number * a, lambda a: a < number, lambda a: a.__setitem__(0, number)):
        for a in (np.arange(3), np.arange(3.0)):
            theirs, their_error = outcome(f, a.copy())
            ours, our_error = outcome(f, dif.tensor(a))
            if theirs is None and their_error is None:
                assert our_error is None
            else:
                compare("huge", ours, theirs, our_error, their_error)


def test_memory_maps(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(2000.0))
    for mode in ("r", "r+", "c"):
        a = np.load(path, mmap_mode=mode)
        assert dif.grad(lambda x: (x**2).sum())(a).tolist() == (2 * np.arange(2000.0)).tolist()
        t = dif.asarray(a)
        if mode == "r":
            with pytest.raises(ValueError, match="read-only"):
                t[0] = 1.0
        else:
            t[1:3] *= 1.0
        y = dif.grad(lambda x, t=t: (x * t).sum())(np.ones(2000))
        assert y.tolist() == np.arange(2000.0).tolist()
    a = np.load(path, mmap_mode="r+")
    dif.asarray(a)[5] = 50.0
    a.flush()
    assert np.load(path)[5] == 50.0
    with open(path, "rb") as file:
        data = file.read()
    b = np.frombuffer(data, dtype=float, offset=128)
    t = dif.asarray(b)
    v = t[1:][::2]
    assert v.alias is t.alias and v[2] == 50.0
    with pytest.raises(ValueError, match="read-only"):
        t[0] = 1.0


def test_read_only_arguments_do_not_matter():
    a = np.arange(3.0)
    a.flags.writeable = False

    def f(x):
        x[0] = 2 * x[1]
        return (x * x).sum()

    assert dif.grad(f)(a).tolist() == [0.0, 10.0, 4.0]


def test_byte_swapped_arrays_keep_their_values():
    a = np.arange(3.0).astype(">f8")
    assert dif.grad(lambda x: (x * a).sum())(a).tolist() == [0.0, 2.0, 4.0] or dif.grad(lambda x: (x * a).sum())(
        a
    ).tolist() == [0.0, 1.0, 2.0]
    assert dif.tensor(a).tolist() == [0.0, 1.0, 2.0]
    assert (dif.ones(3) * a).tolist() == [0.0, 1.0, 2.0]


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_masked_arrays_and_matrices_are_refused_by_name():
    masked = np.ma.masked_array([1.0, 2.0], mask=[0, 1])
    matrix = np.matrix([[1.0, 2.0]])
    t = dif.ones(2).requires_grad_()
    for odd, name in ((masked, "MaskedArray"), (matrix, "matrix")):
        for f in (
            dif.tensor,
            dif.asarray,
            dif.array,
            lambda v: t + v,
            lambda v: v + t,
            lambda v: np.add(v, t),
            lambda v: dif.concatenate([t, v]),
            lambda v: t @ v.T,
            lambda v: dif.grad(lambda x: (x * x).sum())(v),
            lambda v: t.__setitem__(slice(None), v),
        ):
            with pytest.raises(TypeError, match=name):
                f(odd)


@pytest.mark.parametrize(
    "odd",
    [
        "text",
        b"bytes",
        None,
        object(),
        {"a": 1},
        np.array(["a"]),
        np.array([None]),
        np.datetime64("2020-01-01"),
        np.array([(1, 2.0)], dtype="i4,f8"),
        [1, [2, 3]],
        [object()],
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_is_no_array_of_numbers(odd):
    t = dif.ones(2)
    for f in (lambda: t + odd, lambda: dif.tensor(odd), lambda: dif.sin(odd), lambda: dif.maximum(t, odd)):
        with pytest.raises((TypeError, ValueError)):
            f()
    if outcome(np.ones(2).__setitem__, 0, odd)[1] is not None:  # NumPy assigns dates to numbers
        with pytest.raises((TypeError, ValueError)):
            t[0] = odd


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x[10],
        lambda x: x[-10],
        lambda x: x[[0, 5]],
        lambda x: x[np.array([7])],
        lambda x: dif.take(x, 9),
        lambda x: x[0, 0],
        lambda x: dif.take_along_axis(x, np.array([5]), 0),
        lambda x: x.__setitem__(10, 1.0),
        lambda x: x.__setitem__([0, 9], 1.0),
        lambda x: np.put(x, [9], 1.0),
        lambda x: x[dif.tensor([4])],
    ],
)
def test_out_of_bounds_is_never_clamped(f):
    with pytest.raises(IndexError):
        f(dif.ones(3))
    with pytest.raises(IndexError):
        dif.grad(lambda x: (f(x * 1.0), x.sum())[1])(np.ones(3))


def test_errors_keep_numpys_sentence():
    with pytest.raises(ValueError, match="operands could not be broadcast together"):
        dif.ones(3) + dif.ones(4)
    with pytest.raises(np.exceptions.AxisError, match="out of bounds"):
        dif.sum(dif.ones(3), axis=2)
    with pytest.raises(IndexError, match="index 5 is out of bounds for axis 0 with size 3"):
        dif.ones(3)[5]
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        dif.linalg.inv(dif.zeros((2, 2)))
    with pytest.raises(ValueError, match="cannot reshape array of size 3"):
        dif.ones(3).reshape(2, 2)
