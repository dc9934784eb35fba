"""Roots of functions of one variable, many at a time."""

from __future__ import annotations

import numpy as np

import difftensor as dif

from .. import vmapped
from ..implicit import Watched, untracked, unwatched, without_derivatives
from ..place import host, like, values
from ..result import Result
from ..stop import CODES


def root_scalar(f, args=(), method=None, bracket=None, x0=None, *, xtol=2e-12, rtol=4e-16, maxiter=100) -> Result:
    """Find roots of ``f``, elementwise over arrays of problems.

    Parameters
    ----------
    f : callable
        ``f(x, *args)``, elementwise.
    args : tuple
        Arrays that broadcast with ``x``.
    method : {"chandrupatla", "newton"}, optional
        By default "chandrupatla" with a bracket, else "newton".
    bracket : (a, b), optional
        Ends, numbers or arrays, at which ``f`` has different signs.
    x0 : array, optional
        Starts for Newton's method.
    xtol, rtol : float
        Converged when the root is known to ``xtol + rtol |x|``.
    maxiter : int

    Returns
    -------
    Result
        ``x`` (also ``root``), ``converged`` elementwise, ``fun``.

    Notes
    -----
    With a bracket, Chandrupatla's method [1]_: inverse quadratic interpolation where it is safe, bisection where it
    is not; it cannot fail on a continuous function, and a pole is no root. Newton's method takes its derivative from
    difftensor and halves steps that do not lower ``|f|``. Differentiable by the implicit function theorem in what ``f``
    depends on, element by element. All of it runs where the arrays are.

    References
    ----------
    .. [1] T. R. Chandrupatla, A new hybrid quadratic/bisection algorithm for finding the zero of a nonlinear
       function without using derivatives, Adv. Eng. Softw. 28 (1997) 145-149.

    Examples
    --------
    >>> import numpy as np, optim
    >>> optim.root_scalar(lambda x, c: x**2 - c, args=(np.array([2.0, 9.0]),), bracket=(0, 10)).x.round(9).tolist()
    [1.414213562, 3.0]
    """
    args = args if isinstance(args, tuple) else (args,)
    there = _example((args, bracket, x0))
    if method is None:
        method = "chandrupatla" if bracket is not None else "newton"
    method = {"brentq": "chandrupatla", "bisect": "chandrupatla"}.get(method, method)
    if method not in ("chandrupatla", "newton"):
        raise ValueError(f"optim: method must be 'chandrupatla' or 'newton', got {method!r}")
    if method == "chandrupatla" and bracket is None:
        raise ValueError("optim: this method needs bracket=(a, b)")
    if bracket is not None and len(bracket) != 2:
        raise ValueError(f"optim: bracket is (a, b), the two ends, got {len(bracket)} entries")
    if method == "newton" and x0 is None:
        raise ValueError("optim: Newton's method needs x0, or give bracket=(a, b)")

    def equation(x):
        return f(x, *args)

    starts = bracket if method == "chandrupatla" else (x0,)
    if dif.batching.inside_vmap():
        batch = dif.batching.batch_of(equation(starts[0]), starts)
        if batch is not None:
            return vmapped.root_scalar(
                batch, equation, starts, lambda f, starts: _search(f, starts, method, there, xtol, rtol, maxiter)
            )
        with dif.batching.outside_vmap():  # the same equations for all examples
            return _search(equation, starts, method, there, xtol, rtol, maxiter)
    return _search(equation, starts, method, there, xtol, rtol, maxiter)


def _search(equation, starts, method, there, xtol, rtol, maxiter):
    places = [_constant(start, there) for start in starts]

    def solve():
        if method == "newton":
            return _newton(equation, *places, xtol, rtol, maxiter)
        return _chandrupatla(equation, *places, xtol, rtol, maxiter)

    try:
        return solve()
    except Watched:
        pass
    with unwatched():
        result = solve()
    return _tied(equation, result)


def _example(given):
    """An array on the device where some of what is given is, if any is."""
    there = [v for v in dif.tree.leaves(given) if hasattr(v, "dtype") and dif.asarray(v).device.kind != "cpu"]
    return values(dif.asarray(there[0])) if there else None


def _constant(x, there):
    """Where a search starts has no influence on what it finds."""
    x = dif.asarray(x)
    return like(np.array(x.detach().numpy(), dtype=float), there) if x.device.kind == "cpu" else _values(x.detach())


def _values(y):
    y = untracked(y)
    return y.astype(float) if isinstance(y, dif.Tensor) else np.asarray(y, dtype=float)


def _tied(f, result):
    """The roots with the derivatives that their equations give them."""
    shape = np.shape(result.x)
    if not result.success:
        without_derivatives(result, f(result.x), f"{result.message}. They have no derivative; .detach() drops it")
        return result
    x = dif.implicit.root(
        lambda x: dif.reshape(f(dif.reshape(x, shape)), (-1, 1)), np.reshape(result.x, (-1, 1)), method="rows"
    )
    result.x = result.root = dif.reshape(x, shape)
    return result


def _chandrupatla(f, a, b, xtol, rtol, maxiter):
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("optim: the ends of a bracket must be finite numbers")
    a, b = np.broadcast_arrays(a, b)
    fa, fb = _values(f(a.copy())), _values(f(b.copy()))
    shape = np.broadcast_shapes(a.shape, fa.shape)
    x1, x2, f1, f2 = (np.broadcast_to(v, shape).copy() for v in (b, a, fb, fa))
    wrong = np.sign(f1) * np.sign(f2) > 0
    if wrong.any():
        i = np.unravel_index(int(host(wrong).argmax()), shape)
        raise ValueError(
            f"optim: f has the same sign at both ends of the bracket: f({x2[i]}) = {f2[i]}, f({x1[i]}) = {f1[i]}"
        )
    if np.isnan(f1).any() or np.isnan(f2).any():
        raise ValueError("optim: f is NaN at an end of the bracket")
    t = np.full_like(x1, 0.5)
    nfev, nit = 2, 0
    best, fbest = np.where(np.abs(f1) < np.abs(f2), x1, x2), np.where(np.abs(f1) < np.abs(f2), f1, f2)
    done, largest = fbest == 0, np.maximum(np.abs(f1), np.abs(f2))
    while nit < maxiter and not done.all():
        nit += 1
        x = x1 + t * (x2 - x1)
        fx = np.broadcast_to(_values(f(x)), shape)
        nfev += 1
        same = np.sign(fx) == np.sign(f1)
        x3, f3 = np.where(same, x1, x2), np.where(same, f1, f2)
        x2, f2 = np.where(same, x2, x1), np.where(same, f2, f1)
        x1, f1 = x, fx
        now = np.where(np.abs(f1) < np.abs(f2), x1, x2)
        best, fbest = np.where(done, best, now), np.where(done, fbest, np.where(np.abs(f1) < np.abs(f2), f1, f2))
        with np.errstate(all="ignore"):
            tolerance = (xtol + rtol * np.abs(best)) / np.abs(x2 - x1)
            done = done | (tolerance > 0.5) | (fbest == 0) | np.isnan(fx)
            xi, phi = (x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2)
            safe = (1 - np.sqrt(1 - xi) < phi) & (phi < np.sqrt(xi))
            t = f1 / (f1 - f2) * f3 / (f3 - f2) + (x3 - x1) / (x2 - x1) * f1 / (f3 - f1) * f2 / (f3 - f2)
        t = np.where(safe & np.isfinite(t), t, 0.5)
        t = np.clip(t, np.minimum(tolerance, 0.5), 1 - np.minimum(tolerance, 0.5))
    pole = np.abs(fbest) > largest  # it changes its sign there, but grows on the way
    return _answer(best, fbest, done & ~np.isnan(fbest) & ~pole, nit, nfev, 0, "chandrupatla")


def _newton(f, x0, xtol, rtol, maxiter):
    x = x0
    nfev = njev = nit = 0
    fx, slope = None, None
    done = np.zeros_like(x, dtype=bool)
    with np.errstate(all="ignore"):
        while nit < maxiter:
            fx, slope = dif.jvp(f, (x,), (np.ones_like(x),))
            fx, slope = _values(fx), _values(slope)
            nfev, njev = nfev + 1, njev + 1
            step = np.where(fx == 0, 0.0, -fx / slope)
            done = done | (fx == 0) | (np.abs(step) <= xtol + rtol * np.abs(x))
            new = np.where(done & ~np.isfinite(step), x, x + step)
            if done.all():
                x = np.where(np.isfinite(new), new, x)
                break
            nit += 1
            for _ in range(30):  # halve where |f| does not fall
                fnew = _values(f(new))
                nfev += 1
                worse = ~done & ~(np.abs(fnew) < np.abs(fx))
                if not worse.any():
                    break
                step = np.where(worse, 0.5 * step, step)
                new = np.where(worse, x + step, new)
            stuck = ~done & ~(np.abs(fnew) < np.abs(fx))
            x = np.where(stuck, x, new)
            if (stuck | done).all():
                break
        fx = _values(f(x))
    return _answer(x, fx, done, nit, nfev, njev, "newton")


def _answer(x, fx, converged, nit, nfev, njev, method):
    lost = int((~converged).sum())
    ok = not lost
    reason = "converged" if ok else "stalled"
    words = f"{lost} of {np.size(converged)} roots are missing, see `converged`; " + (
        "give a bracket" if method == "newton" else "f has a pole or is NaN within the bracket; give one around a root"
    )
    if ok:
        words = "every root is found"
    x = x[()]
    return Result(
        x=x, root=x, fun=fx[()], converged=converged[()], success=ok, status=CODES[reason], reason=reason,
        message=words, nit=nit, nfev=nfev, njev=njev, nhev=0, method=method,
    )  # fmt: skip
