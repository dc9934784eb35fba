"""What runs on the CPU runs on the device, with the same values, and nothing leaves the device."""

import numpy as np

import difftensor as dif

RTOL = {np.dtype(np.float32): 2e-5, np.dtype(np.complex64): 2e-5}


def send(x, device):
    """`x` as a Tensor on `device`."""
    return dif.asarray(x, device=device) if hasattr(x, "dtype") else x


def fetch(y):
    """The values of a Tensor on any device."""
    return y.detach().to_device("cpu").numpy() if isinstance(y, dif.Tensor) else y


def assert_agree(there, here, device, what):
    """`there`, computed on `device`, are Tensors on it with the values of `here`."""
    there, here = dif.tree.leaves(there), dif.tree.leaves(here)
    assert len(there) == len(here), what
    for y, expected in zip(there, here, strict=True):
        if not isinstance(expected, dif.Tensor):
            assert y == expected, what
            continue
        assert isinstance(y, dif.Tensor) and y.device == device, f"{what}: {type(y)} on {getattr(y, 'device', None)}"
        assert (y.shape, y.dtype) == (expected.shape, expected.dtype), what
        a, b = fetch(y), fetch(expected)
        scale = np.max(np.abs(b[np.isfinite(b)]), initial=1.0) if b.dtype.kind in "fc" else 1
        rtol = RTOL.get(b.dtype, 1e-11)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale, err_msg=what)


def floating(f, xs):
    """`f` of the operands that have derivatives, with results that have them; and where these operands stand."""
    moving = [i for i, x in enumerate(xs) if getattr(x, "dtype", np.dtype(bool)).kind in "fc"]

    def of(everything):
        def g(*ys):
            filled = list(everything)
            for i, y in zip(moving, ys, strict=True):
                filled[i] = y
            leaves = dif.tree.leaves(f(*filled))
            return tuple(v for v in leaves if isinstance(v, dif.Tensor) and v.dtype.kind in "fc")

        return g

    return of, moving


def assert_derivatives_agree(f, xs, device, order=2):
    """vjp, jvp and, with ``order=2``, jvp of vjp on both devices."""
    rng = np.random.default_rng(3)
    of, moving = floating(f, xs)

    def draw(x):
        t = rng.standard_normal(np.shape(x))
        return (t + 1j * rng.standard_normal(np.shape(x)) if x.dtype.kind == "c" else t).astype(x.dtype)

    tangents = [draw(xs[i]) for i in moving]
    weights = None
    found = []
    for place in ("cpu", device):
        ys = [send(x, place) for x in xs]
        g, primals = of(ys), tuple(ys[i] for i in moving)
        values, pull = dif.vjp(g, *primals)
        if not values:
            return
        weights = weights or [draw(v) for v in values]
        w = tuple(send(a, place) for a in weights)
        t = tuple(send(a, place) for a in tangents)
        results = [values, pull(w), dif.jvp(g, primals, t)[1]]
        if order > 1:
            results.append(dif.jvp(lambda *p: dif.vjp(g, *p)[1](w), primals, t)[1])  # noqa: B023
        found.append(results)
    for here, there, what in zip(*found, ("value", "vjp", "jvp", "jvp of vjp")):
        assert_agree(there, here, device, what)
