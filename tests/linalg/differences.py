"""Derivatives of a function against central differences, in both modes and to second order."""

import numpy as np

import difftensor as dif


def inner(w, v):
    """Re <w, v>, the scalar product in which `vjp` is the adjoint of `jvp`."""
    return sum(float(np.sum((np.conj(a) * b).real)) for a, b in zip(w, v, strict=True))


def random_like(rng, x):
    x = np.asarray(x)
    z = rng.standard_normal(x.shape)
    if x.dtype.kind == "c":
        z = z + 1j * rng.standard_normal(x.shape)
    return np.asarray(z.astype(x.dtype))


def slope(f, h):
    """f'(0) of a function of one real number by differences of fourth order."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


def outputs(y):
    return tuple(y) if isinstance(y, tuple) else (y,)


def moved(args, t, ds):
    return tuple(x + t * d for x, d in zip(args, ds, strict=True))


def check(rng, f, *args, along=None, order=2, h=1e-3, tol=1e-7, argnums=None):
    """`f` of arrays, returning an array or a tuple; `along` maps random tangents to those that keep a structure."""
    args = tuple(map(np.asarray, args))
    along = along or (lambda d: d)

    def g(*xs):
        return outputs(f(*xs))

    ds, es = (tuple(along(random_like(rng, x)) for x in args) for _ in range(2))
    w = tuple(random_like(rng, v) for v in g(*args))
    expected = slope(lambda t: inner(w, g(*moved(args, t, ds))), h)

    y, pull = dif.vjp(g, *args)
    for ours, theirs in zip(y, g(*args), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    grads = pull(w)
    for grad, x in zip(grads, args, strict=True):
        assert grad.shape == x.shape
        assert grad.dtype == x.dtype
    reverse = inner(grads, ds)
    _, dy = dif.jvp(g, args, ds)
    for tangent, value in zip(dy, y, strict=True):
        assert tangent.shape == value.shape
        assert tangent.dtype == value.dtype
    forward = inner(w, dy)
    scale = 1 + abs(expected)
    assert abs(reverse - forward) < 1e-10 * scale, f"reverse {reverse} and forward {forward} differ"
    assert abs(reverse - expected) < tol * scale, f"reverse {reverse}, differences {expected}"
    if order < 2:
        return

    def gradient_along(*xs):
        return inner_along(dif.vjp(g, *xs)[1](w), es)

    expected = slope(lambda t: gradient_along(*moved(args, t, ds)), h)
    second = inner(dif.vjp(gradient_along, *args)[1](1.0), ds)
    scale = 1 + abs(expected)
    assert abs(second - expected) < tol * scale, f"second order: reverse {second}, differences {expected}"
    mixed = dif.jvp(gradient_along, args, ds)[1]
    assert abs(mixed - second) < 1e-8 * scale, f"second order: reverse {second}, forward {mixed}"


def inner_along(grads, es):
    return sum(np.sum((np.conj(e) * v).real) for e, v in zip(es, grads, strict=True))
