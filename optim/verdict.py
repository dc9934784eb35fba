"""Whether a point with a small gradient is a minimizer.

A gradient is small only in comparison with something. The Hessian tells a minimizer from a saddle, Newton's step
tells it from a slope that only looks flat, and where the Hessian has nothing to say, values of f around the point do.
The tests are written as a generator that asks for what it needs to know, so that one problem and the rows of a batch
share them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .stop import Doubt

SETTLED = 0.01  # of its size: what Newton's step may still move a variable by
AGREE = 0.25  # by how much the curvature may change along Newton's step, relative
GAINED = 1e-9  # of the decrease since the start: what is left is negligible
NEAR, DISTANCES = 0.01, (0.1, 0.7)  # at which values are looked at, in sizes of the variables
MOST_DIRECTIONS = 3  # without curvature that are looked along
MOST_RELAXED = 4  # steps back to the floor of a curved valley
RUNAWAY = 1e4  # a variable that has grown so much along a flat direction is not taken for a solution


@dataclass(frozen=True)
class Look:
    """What is known of a point.

    Attributes
    ----------
    x, g : ndarray, shape (n,)
    f : float
    H : ndarray, shape (n, n)
    x0, extent : ndarray, shape (n,)
        Where the run began, and how large the variables have been since.
    free : ndarray of bool, shape (n,)
        Variables that no bound holds.
    noise : float
        What values of f do not resolve.
    name : callable
        ``name(i)``, what variable i is called.
    project : callable
        Onto the box.
    """

    x: np.ndarray
    f: float
    g: np.ndarray
    H: np.ndarray
    x0: np.ndarray
    extent: np.ndarray
    free: np.ndarray
    noise: float
    name: Callable = str
    project: Callable = lambda x: x


@dataclass(frozen=True)
class Spectrum:
    """The Hessian in variables scaled to a unit diagonal: ``d x``.

    Attributes
    ----------
    d : ndarray, shape (n,)
    values, along : ndarray, shape (n,)
        Eigenvalues, and the gradient along their eigenvectors.
    back : ndarray, shape (n, n)
        The eigenvectors in x.
    seen : ndarray of bool, shape (n,)
        Which eigenvalues are more than rounding.
    """

    d: np.ndarray
    values: np.ndarray
    along: np.ndarray
    back: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, g, H, free) -> Spectrum:
        """Variables that are held, and those without a finite Hessian, count as flat."""
        known = free & np.isfinite(H).all(axis=1)
        H = np.where(known[:, None] & known, H, 0.0)
        d = np.sqrt(np.abs(np.diagonal(H)))
        d = np.where(d > 0, d, 1.0)  # badly scaled variables must not hide small eigenvalues
        values, vectors = np.linalg.eigh(H / d[:, None] / d)
        seen = np.abs(values) > 100 * len(g) * np.finfo(g.dtype).eps * np.abs(values).max(initial=0.0)
        return cls(d, values, vectors.T @ (np.where(free, g, 0.0) / d), vectors / d[:, None], seen)

    def newton(self):
        """Newton's step over what is seen, eigenvalues by their size, and the decrease it promises."""
        c = np.where(self.seen, self.along, 0.0) / np.where(self.seen, np.abs(self.values), 1.0)
        return -self.back @ c, 0.5 * float(self.along @ c)

    def flat(self, free, size):
        """Directions over the free variables that the Hessian says nothing of: orthonormal columns in units of size."""
        vectors = np.where(free[:, None], self.back[:, ~self.seen], 0.0) / size[:, None]
        U, s, _ = np.linalg.svd(vectors, full_matrices=False)
        return U[:, s > 1e-8 * s.max(initial=0.0)]


def doubt(look: Look):
    """A generator of questions that returns a Doubt, or None where the point may be believed.

    Yields
    ------
    tuple
        ``("value", x)``, to be sent f; ``("product", x, p)``, to be sent ``H(x) p``; ``("derivatives", x)``, to be
        sent ``(g, H)``; ``("start",)``, to be sent f and g at x0; ``("level",)``, to be sent whether f falls by no more
        than its rounding where the curvature is negative.
    """
    x, g, free = look.x, look.g, look.free
    spectrum = Spectrum.of(g, look.H, free)
    seen, values = spectrum.seen, spectrum.values
    if (seen & (values < 0)).any() and not (yield ("level",)):
        return Doubt("the gradient is small, but this is a saddle: the curvature is negative along some direction; "
                     "start elsewhere, or use method='trust-exact'",
                     spectrum.back[:, int(np.argmin(values))])  # fmt: skip
    seen &= values > 0  # the others are rounding
    p, left = spectrum.newton()
    unsettled = free & (np.abs(p) > SETTLED * np.abs(x))
    if unsettled.any():  # a variable that is zero at the solution has no size; the decrease that is left tells
        f0, _ = yield ("start",)
        if left <= max(look.noise, GAINED * (f0 - look.f)):
            unsettled[:] = False
    if unsettled.any():
        i = int(np.argmax(np.where(unsettled, np.abs(p) / np.maximum(np.abs(x), 1e-300), 0.0)))
        return Doubt(f"the gradient is small, but Newton's step still moves {look.name(i)} = {x[i]:.4g} by {p[i]:.2g}: "
                     "the function is flat here, but not at its lowest")  # fmt: skip
    size = np.where(look.extent > 0, look.extent, look.extent.max(initial=0.0) or 1.0)
    flat = spectrum.flat(free, size)
    slope, way = flat.T @ (size * g), flat.T @ ((x - look.x0) / size)
    directions = [flat @ c for c in (-slope, way) if np.abs(flat @ c).max(initial=0.0) > 0]
    directions += list(flat.T[: MOST_DIRECTIONS - len(directions)])
    directions += [v / size for v in (yield from _changing(look, spectrum, p))]
    empty = not seen.any() and not g.any()
    for v in directions:
        found = yield from _along(look, size * v / np.abs(v).max(), size, empty)
        if found is not None:
            return found
    found = yield from _faded(look, size)
    if found is not None:
        return found
    return None if empty else _gone(look, spectrum, size[:, None] * flat)


def _changing(look, spectrum, p):
    """Directions in which Newton's step is worth nothing, because the curvature changes on its way, as at x^3, x^4 or
    exp(-x), however small the gradient: the step, eigenvectors and variables."""
    if not (np.abs(p) > 10 * np.finfo(p.dtype).eps * np.abs(look.x)).any():
        return []
    there = np.where(look.free, (yield "product", look.project(look.x + p), p), 0.0)
    c = np.where(spectrum.seen, spectrum.along, 0.0)
    found = []
    for parts, before, change in (
        (spectrum.back * (c / np.where(spectrum.seen, spectrum.values, 1.0)), c, spectrum.back.T @ there + c),
        (np.diag(p), look.g, there + look.g),
    ):
        moved = (np.abs(parts) > 1e-9 * np.abs(look.extent)[:, None]).any(axis=0)
        some = np.flatnonzero(moved & ~(np.abs(change) <= AGREE * np.abs(before)))
        found += list(parts[:, some[np.argsort(-np.abs(before[some]))][:MOST_DIRECTIONS]].T)
    return [p, *found] if found else []


def _along(look, v, size, must_rise):
    """What values of f say about the direction ``v``, whose length is that of the variables.

    On both sides, further and further out until f changes: if it falls, this is no minimum; if it rises on both, it is
    one; if it stays level on a side, then the point lies on a floor or on the way to infinity.
    """
    rises, slope = [], float(look.g @ v)
    for sign in (1.0, -1.0):
        change, beyond = yield from _change(look, sign * v)
        if change < 0:
            i = int(np.argmax(np.abs(v) / size))
            return Doubt("the gradient is small, but the function still falls along a direction in which it has next "
                         f"to no curvature, that of {look.name(i)} = {look.x[i]:.4g}: a valley without an end in "
                         "sight, or a degenerate saddle; use bounds, fix or drop a parameter, or start elsewhere",
                         beyond=beyond)  # fmt: skip
        rises.append(change > 0)
    if all(rises):
        return None
    if must_rise:
        return Doubt("gradient and Hessian vanish here: the function does not change around this point, which says "
                     "nothing about where it is low; start elsewhere")  # fmt: skip
    outward = bool(rises[1] and slope < 0 or rises[0] and slope > 0)
    if not outward:
        weights = v / size**2
        start = look.x + v * float(weights @ (look.x0 - look.x)) / float(weights @ v)
        if (start != look.x).any():
            _, f = yield from _floor(look, start, (yield "value", start), v)
            here = look.f
            if f < here - look.noise:  # f may fall as much where we are
                _, here = yield from _floor(look, look.x, here, v)
            outward = abs(f - here) > look.noise
    if outward:
        i = int(np.argmax(np.abs(v) / size))
        return Doubt(f"the gradient is small, but the function no longer depends on {look.name(i)} = {look.x[i]:.4g}, "
                     "as it did elsewhere: it has run away; use bounds, or start elsewhere")  # fmt: skip
    return None


def _change(look, v):
    """-1, 0 or 1, how f changes on the way along ``v``, back on the floor of the valley; and where it is lower."""
    here, beyond = look.f, None
    for t in DISTANCES:
        to = look.project(look.x + t * v)
        if (to == look.x).all():
            return 1, None
        f = yield "value", to
        if abs(f - here) <= look.noise:
            continue
        if beyond is None:
            if not f < here:
                to, f = yield from _floor(look, to, f, v)
            if not f < here - look.noise:  # nearer, where the valley is straighter
                to = look.project(look.x + NEAR * v)
                to, f = yield from _floor(look, to, (yield "value", to), v)
            if not f < here - look.noise:
                return 1, None
            _, here = yield from _floor(look, look.x, look.f, v)  # f may fall as much where we are
        if f < here - look.noise:
            here, beyond = f, to
    return (0, None) if beyond is None else (-1, beyond)


def _floor(look, x, best, v):
    """The lowest point around ``x``, where f is ``best``, across ``v``, by a few of Newton's steps, and f there."""
    for _ in range(MOST_RELAXED):
        g, H = yield "derivatives", x
        if not (np.isfinite(g).all() and np.isfinite(H).all()):
            break
        d = Spectrum.of(g, H, look.free).d
        w = d * v
        w = w / np.sqrt(w @ w)
        across = np.eye(len(w)) - np.multiply.outer(w, w)
        scaled = np.where(look.free[:, None] & look.free, H / d[:, None] / d, 0.0)
        p = Spectrum.of(across @ (np.where(look.free, g, 0.0) / d), across @ scaled @ across, look.free).newton()[0] / d
        trial = look.project(x + p)
        f = yield "value", trial
        if not f < best:
            break
        gain, best, x = best - f, f, trial
        if gain <= look.noise:
            break
    return x, best


def _faded(look, size):
    """A variable that f does not depend on at all, although it does with that variable where it began."""
    x, x0 = look.x, look.x0
    for i in np.flatnonzero(look.free & (look.g == 0) & ~look.H.any(axis=0) & (x != x0))[:MOST_DIRECTIONS]:
        g, _ = yield "derivatives", np.where(np.arange(len(x)) == i, x0, x)
        if g[i] == 0 or not np.isfinite(g[i]):
            continue
        v = np.where(np.arange(len(x)) == i, size, 0.0)
        if not ((yield from _change(look, v))[0] > 0 and (yield from _change(look, -v))[0] > 0):
            return Doubt(f"the gradient is small, but the function no longer depends on {look.name(i)} = {x[i]:.4g} at "
                         "all, as it did elsewhere: it has run away; use bounds, or start elsewhere")  # fmt: skip
    return None


def _gone(look, spectrum, flat):
    """A variable that has gone far, along a direction in which f does not determine it to three digits."""
    far = look.free & (np.abs(look.x - look.x0) > RUNAWAY * (1.0 + np.abs(look.x0)))
    if far.any():
        seen = spectrum.seen
        reach = spectrum.back[:, seen] * np.sqrt(2 * look.noise / np.abs(spectrum.values[seen]))
        far &= (np.abs(reach) > 1e-3 * np.abs(look.x)[:, None]).any(axis=1) | (
            np.abs(flat) > 0.1 * np.abs(flat).max(axis=0, initial=0.0)
        ).any(axis=1)
    if not far.any():
        return None
    i = int(np.argmax(far))
    return Doubt(f"{look.name(i)} has gone from {look.x0[i]:.4g} to {look.x[i]:.4g}, where the function is flat within "
                 "its rounding: it may be on its way to infinity; use bounds, or start elsewhere")  # fmt: skip


def answered(questions, answer):
    """What a generator of questions returns, answered one by one."""
    return answered_together([questions], lambda kind, _, asked: [answer(kind, *asked[0])])[0]


def answered_together(every, answer):
    """What many generators return; all questions of a kind are answered at once.

    Parameters
    ----------
    every : list of generators
    answer : callable
        ``answer(kind, which, asked) -> list``: the indices of those who ask, and what they send along.
    """
    found, open_ = [None] * len(every), {}

    def go_on(i, send):
        try:
            open_[i] = every[i].send(send)
        except StopIteration as end:
            found[i] = end.value
            open_.pop(i, None)

    for i in range(len(every)):
        go_on(i, None)
    while open_:
        kind = next(iter(open_.values()))[0]
        which = [i for i, asked in open_.items() if asked[0] == kind]
        for i, reply in zip(which, answer(kind, which, [open_[i][1:] for i in which]), strict=True):
            go_on(i, reply)
    return found
