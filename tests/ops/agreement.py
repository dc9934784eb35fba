"""One call of a NumPy function, checked: value, dtype, shape by `np.f` and by `dif.f`; derivatives by differences."""

import warnings

import numpy as np

import difftensor as dif
from difftensor.testing import check_grads


def tensors(v, tracked=False):
    """Arrays as Tensors, inside lists too."""
    if isinstance(v, np.ndarray) and v.dtype.kind in "biufc":
        return dif.tensor(v, requires_grad=tracked and v.dtype.kind in "fc")
    if isinstance(v, (list, tuple)):
        return type(v)(tensors(w, tracked) for w in v)
    return v


def plain(y):
    return y.detach().numpy() if isinstance(y, dif.Tensor) else y


def same(found, expected, rtol=1e-13):
    """`found` has the values, dtypes, shapes and structure of `expected`."""
    if isinstance(expected, (tuple, list)):
        assert isinstance(found, (tuple, list))
        assert len(found) == len(expected)
        if hasattr(expected, "_fields"):
            assert type(found) is type(expected)
        for f, e in zip(found, expected, strict=True):
            same(f, e, rtol)
        return
    found = plain(found)
    if not isinstance(expected, (np.ndarray, np.generic)) or isinstance(found, int):
        assert found == expected
        return
    assert found.shape == expected.shape, (found.shape, expected.shape)
    assert found.dtype == expected.dtype, (found.dtype, expected.dtype)
    if expected.dtype.kind in "fc":
        scale = np.max(np.abs(expected), where=np.isfinite(expected), initial=0.0)
        tiny = rtol * max(1.0, np.finfo(expected.dtype).eps / 1e-15)
        np.testing.assert_allclose(found, expected, rtol=tiny, atol=tiny * scale)
    else:
        np.testing.assert_array_equal(found, expected)


def agrees(name, *args, derivative=True, order=2, rtol=1e-13, **kwargs):
    """`name` of Tensors is as NumPy has it, with and without a tape; derivatives in all arrays of floats are right."""
    function = np
    mine = dif
    for part in name.split("."):
        function, mine = getattr(function, part), getattr(mine, part)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        expected = function(*args, **kwargs)
        for tracked in (False, True):
            there = [tensors(v, tracked) for v in args]
            named = {k: tensors(v, tracked) for k, v in kwargs.items()}
            same(mine(*there, **named), expected, rtol)
            same(function(*there, **named), expected, rtol)
    places = [i for i, v in enumerate(args) if is_float(v)]
    names = [k for k, v in kwargs.items() if is_float(v)]
    if not derivative or not (places or names):
        return

    def f(*xs):
        positional, keywords = list(args), dict(kwargs)
        for i, x in zip(places + names, xs, strict=True):
            (positional if isinstance(i, int) else keywords)[i] = x
        return function(*positional, **keywords)

    xs = (*(args[i] for i in places), *(kwargs[k] for k in names))
    check_grads(f, xs, order=order)
    if not any(isinstance(x, (list, tuple)) for x in xs):
        streams_alike(f, xs)


def streams_alike(f, xs):
    """Streaming forward mode, whose Tensors are of a class of their own, gives the tangents of the tape."""

    def floats(*ys):
        return tuple(y for y in dif.tree.leaves(f(*ys)) if getattr(y, "dtype", np.dtype(int)).kind in "fc")

    rng = np.random.default_rng(3)
    vs = tuple(np.asarray(rng.standard_normal(x.shape)).astype(x.dtype)[()] for x in xs)
    expected = dif.jvp(floats, xs, vs)[1]
    for t, e in zip(dif.jvp(floats, xs, vs, stream=True)[1], expected, strict=True):
        np.testing.assert_allclose(t, e, rtol=1e-9, atol=1e-9)


def is_float(v):
    if isinstance(v, (list, tuple)):
        return bool(v) and all(is_float(w) for w in v)
    return isinstance(v, (np.ndarray, np.floating, np.complexfloating)) and v.dtype.kind in "fc"


def cases(table):
    """Rows ``(name, *args, {keywords})`` as parameters of a test; names made of what they are."""
    import pytest

    rows = []
    for row in table:
        name, *args = row
        keywords = args.pop() if args and isinstance(args[-1], dict) else {}
        words = [name, *(describe(a) for a in args), *(f"{k}={describe(v)}" for k, v in keywords.items())]
        rows.append(pytest.param(name, args, keywords, id=" ".join(words)))
    return pytest.mark.parametrize("name, args, keywords", rows)


def describe(v):
    if isinstance(v, np.ndarray):
        return f"{v.dtype.char}{list(v.shape)}".replace(" ", "")
    if isinstance(v, (list, tuple)):
        return "(" + ",".join(map(describe, v)) + ")"
    return getattr(v, "__name__", str(v))
