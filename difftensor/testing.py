"""Checking derivatives against finite differences; beside it, all of ``numpy.testing``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import difftensor as dif
from difftensor import tree

_STEPS = (1e-3, 1e-4, 1e-2, 1e-5)  # tried in this order until the differences agree among themselves
_RTOL = {np.dtype(np.float32): 2e-3, np.dtype(np.complex64): 2e-3}


def check_grads(
    f: Callable,
    args: Any,
    order: int = 2,
    modes: Sequence[str] = ("rev", "fwd"),
    *,
    rtol: float | None = None,
    seed: int = 0,
) -> None:
    """Check the derivatives of `f` against central differences along random directions.

    Parameters
    ----------
    f : callable
        Of arrays or pytrees of arrays, returning an array or a pytree of arrays.
    args : array or tuple
        The arguments; those of floating or complex dtype are differentiated.
    order : int
        Check derivatives up to this order, in every mixture of the modes.
    modes : sequence of {"rev", "fwd"}
        Reverse mode (`vjp`), forward mode (`jvp`).
    rtol : float, optional
        Relative tolerance; 1e-6 for float64, 2e-3 if an argument is float32 (the differences are taken in float64).
    seed : int
        Of the random directions.

    Raises
    ------
    AssertionError
        A derivative differs, or has the wrong shape or dtype; the message says which, with both values.
    ValueError
        The differences cannot tell: `f` has a kink here, is not finite, not deterministic, or too rough.

    Notes
    -----
    The differences are of fourth order, with an estimate of their own error. Complex arguments are moved in complex
    directions, so functions that are not holomorphic are checked too; the vjp is the adjoint in the real scalar
    product Re sum(conj(a) b). At a kink there is no derivative to compare with: central differences give the mean of
    the slopes at its sides, which is only one of the possible values, so check_grads refuses.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> from difftensor.testing import check_grads
    >>> check_grads(lambda x: np.sum(np.sin(x) ** 2), np.array([0.3, 1.0]), order=3)
    """
    args = args if isinstance(args, tuple) else (args,)
    unknown = [m for m in modes if m not in ("rev", "fwd")]
    if unknown or order < 1:
        raise ValueError(
            f"check_grads: modes are 'rev' and 'fwd', order is at least 1; found modes={modes!r}, order={order!r}"
        )
    leaves, structure = tree.flatten(args)
    leaves = [v if hasattr(v, "dtype") else np.asarray(v)[()] for v in leaves]
    moving = [i for i, v in enumerate(leaves) if v.dtype.kind in "fc"]
    if not moving:
        raise ValueError("check_grads: no argument is of floating or complex dtype")

    places = [v.device if isinstance(v, dif.Tensor) else None for v in leaves]

    def g(*xs: Any) -> tuple:
        filled = list(leaves)
        for i, x in zip(moving, xs, strict=True):
            filled[i] = x.to_device(places[i]) if isinstance(x, dif.Tensor) and places[i] is not None else x
        found = tree.leaves(f(*tree.unflatten(structure, filled)))
        found = [y if hasattr(y, "dtype") else np.asarray(y) for y in found]
        found = [y.to_device("cpu") if isinstance(y, dif.Tensor) else y for y in found]  # differences are taken here
        return tuple(y for y in found if y.dtype.kind in "fc")

    xs = tuple(leaves[i] for i in moving)
    if any(p is not None and p != "cpu" for p in places):
        xs = tuple(x.detach().to_device("cpu") if isinstance(x, dif.Tensor) else x for x in xs)
    tolerance = rtol or max(_RTOL.get(np.dtype(x.dtype), 1e-6) for x in xs)
    _check(g, xs, order, tuple(modes), tolerance, np.random.default_rng(seed), ())


def _check(
    g: Callable, xs: tuple, order: int, modes: tuple, rtol: float, rng: np.random.Generator, path: tuple
) -> None:
    vs = tuple(_direction(rng, x) for x in xs)
    ws = tuple(_random(rng, y.shape, y.dtype) for y in _values(g, tuple(x.copy() for x in xs)))
    try:
        _compare(g, xs, vs, ws, modes, rtol, path, _STEPS)
    except AssertionError:  # perhaps it is the differences: look again from nearer
        _compare(g, xs, vs, ws, modes, rtol, path, _STEPS[1:])
    if order > 1:
        if "fwd" in modes:
            _check(lambda *zs: dif.jvp(g, zs, vs)[1], xs, order - 1, modes, rtol, rng, (*path, "fwd"))
        if "rev" in modes:
            _check(lambda *zs: dif.vjp(g, *zs)[1](ws), xs, order - 1, modes, rtol, rng, (*path, "rev"))


def _compare(
    g: Callable, xs: tuple, vs: tuple, ws: tuple, modes: tuple, rtol: float, path: tuple, steps: tuple
) -> None:
    """J v, and <w, J v> with the cotangents J^H w, against differences."""
    expected, errors, scale = _differences(g, xs, vs, rtol, path, steps)
    if "fwd" in modes:
        y, found = dif.jvp(g, xs, vs)
        where = _name((*path, "fwd"))
        for k, (v, t, d, e) in enumerate(zip(y, found, expected, errors, strict=True)):
            _same_kind(where, f"the tangent of result {k}", t, v)
            _close(where, f"result {k}", _plain(t), d, rtol * max(abs(d).max(initial=0), 1e-3 * scale) + 10 * e)
    if "rev" in modes:
        where = _name((*path, "rev"))
        _, pull = dif.vjp(g, *xs)
        grads = pull(ws)
        for k, (c, x) in enumerate(zip(grads, xs, strict=True)):
            _same_kind(where, f"the cotangent of argument {k}", c, x)
        there = [np.real(np.conj(w) * d) for w, d in zip(ws, expected, strict=True)]
        here = [np.real(np.conj(_plain(c)) * _plain(v)) for c, v in zip(grads, vs, strict=True)]
        size = sum(abs(t).sum() for t in (*there, *here)) + 1e-3 * scale * sum(abs(w).sum() for w in ws)
        slack = sum(abs(w).sum() * e for w, e in zip(ws, errors, strict=True))
        _close(where, "<w, J v>", sum(t.sum() for t in here), sum(t.sum() for t in there), rtol * size + 10 * slack)


def _random(rng: np.random.Generator, shape: tuple, dtype: Any) -> Any:
    z = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        z = z + 1j * rng.standard_normal(shape)
    return np.asarray(z).astype(dtype)[()]


def _direction(rng: np.random.Generator, x: Any) -> Any:
    """A random direction of the size of x, so that arguments in different units are all moved visibly."""
    size = abs(_plain(x)).max(initial=0)
    return _random(rng, x.shape, x.dtype) * (x.dtype.type(size) if 0 < size < np.inf else 1)


def _plain(x: Any) -> Any:
    return x.detach().numpy() if isinstance(x, dif.Tensor) else np.asarray(x)


def _values(g: Callable, xs: tuple) -> tuple:
    with np.errstate(all="ignore"):
        return tuple(_plain(y) for y in g(*xs))


def _moved(xs: tuple, vs: tuple, t: float) -> tuple:
    """x + t v in double precision, of the class of x: a 0-d array has views, a scalar has not."""
    moved = []
    for x, v in zip(xs, vs, strict=True):
        wide = np.complex128 if x.dtype.kind == "c" else np.float64
        y = x.astype(wide) + t * v.astype(wide)
        moved.append(np.asarray(y) if isinstance(x, np.ndarray) else y)
    return tuple(moved)


def _differences(g: Callable, xs: tuple, vs: tuple, rtol: float, path: tuple, steps: tuple) -> tuple[list, list, float]:
    """Slope of each result along vs, an estimate of its error, and the scale of the slopes.

    The direction has the size of x, so that slopes have the size of y: one of less than a thousandth of it counts
    as zero.
    """
    name = _name(path) or "the function"
    y0, again = _values(g, _moved(xs, vs, 0.0)), _values(g, _moved(xs, vs, 0.0))
    if any(not np.allclose(a, b, rtol=1e-9, atol=0, equal_nan=True) for a, b in zip(y0, again, strict=True)):
        raise ValueError(
            f"check_grads: {name} gives different values when it is called twice: fix the random numbers in it"
        )
    if not all(np.isfinite(y).all() for y in y0):
        raise ValueError(
            f"check_grads: {name} is not finite here: {[y for y in y0 if not np.isfinite(y).all()][0]!r:.200}"
        )
    best: tuple | None = None
    for h in steps:
        near = [_values(g, _moved(xs, vs, t)) for t in (h, -h, h / 2, -h / 2)]
        slopes, errors, kinks = [], [], []
        for y, up, down, half_up, half_down in zip(y0, *near, strict=True):
            coarse, fine = (up - down) / (2 * h), (half_up - half_down) / h
            slope = (4 * fine - coarse) / 3
            rounding = np.finfo(np.float64).eps * abs(np.stack([up, down, y])).max(initial=0) / h
            slopes.append(slope)
            errors.append(float(abs(slope - fine).max(initial=0) / 100 + rounding))
            kinks.append(_steady_jump(y, up, down, half_up, half_down, h, rounding))
        if any(k.any() for k in kinks):  # or a coincidence: look again from nearer
            near = [_values(g, _moved(xs, vs, t)) for t in (h / 32, -h / 32, h / 64, -h / 64)]
            for y, suspect, up, down, half_up, half_down in zip(y0, kinks, *near, strict=True):
                jump = _steady_jump(y, up, down, half_up, half_down, h / 32, 0.0)
                _refuse_kink(name, suspect & jump, y, up, down, h / 32)
        scale = max((float(abs(s).max()) for s in (*slopes, *(1e-3 * y for y in y0)) if s.size), default=0.0)
        quality = max(errors, default=0.0) / (scale or 1.0)
        if np.isfinite(quality) and (best is None or quality < best[0]):
            best = quality, slopes, errors, scale
        if best is not None and best[0] < 1e-3 * rtol:
            break
    if best is None or best[0] > rtol:
        uncertainty = np.nan if best is None else best[0]
        raise ValueError(
            f"check_grads: differences of {name} do not converge around here (relative uncertainty {uncertainty:.1e}): "
            "it is rough, not finite nearby, or has a kink close by. Check it at another place"
        )
    return best[1], best[2], best[3]


def _steady_jump(y: Any, up: Any, down: Any, half_up: Any, half_down: Any, h: float, rounding: float) -> Any:
    """Where the slopes to the right and to the left differ by the same for h and h/2.

    The difference halves with h where f is smooth, and doubles where it is noise.
    """
    jump, half_jump = (up - 2 * y + down) / h, 2 * (half_up - 2 * y + half_down) / h
    large = abs(jump) > 1e-4 * (abs(up - down) / (2 * h) + abs(half_jump)) + 1e3 * rounding
    return large & (abs(half_jump - jump) < 0.2 * abs(jump))


def _refuse_kink(name: str, kink: Any, y: Any, up: Any, down: Any, h: float) -> None:
    if kink.any():
        i = tuple(int(k[0]) for k in np.nonzero(np.atleast_1d(kink)))
        left, right = (np.atleast_1d(d / h)[i] for d in (y - down, up - y))
        raise ValueError(
            f"check_grads: {name} has a kink here: along the direction its slope jumps from {left:.6g} to {right:.6g}. "
            "Compare with the promised subgradient instead, or check the function beside the kink"
        )


def _name(path: tuple) -> str:
    """('rev', 'fwd') is the forward-mode derivative of the reverse-mode derivative."""
    words = {"rev": "reverse-mode", "fwd": "forward-mode"}
    return " of the ".join(f"{words[m]} derivative" for m in reversed(path))


def _same_kind(where: str, what: str, found: Any, like: Any) -> None:
    if found.shape != like.shape or found.dtype != like.dtype:
        raise AssertionError(
            f"check_grads: {where}: {what} is {found.shape} {found.dtype}, expected {like.shape} {like.dtype}"
        )


def _close(where: str, what: str, found: Any, expected: Any, tolerance: float) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    off = ~(abs(found - expected) <= tolerance)
    if off.any():
        i = tuple(int(k[0]) for k in np.nonzero(np.atleast_1d(off)))
        place = f" at {i}" if found.ndim else ""
        raise AssertionError(
            f"check_grads: {where} of {what}{place} is {np.atleast_1d(found)[i]!s}, differences along a random "
            f"direction give {np.atleast_1d(expected)[i]!s} (tolerance {tolerance:.1e}; {off.sum()} of {off.size} off)"
        )


def __getattr__(name: str) -> Any:
    return getattr(np.testing, name)


__all__ = ["check_grads"]
