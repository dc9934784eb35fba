"""Many small problems of one kind at once: every array has one more axis in front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import difftensor as dif

from .implicit import Watched, untracked, unwatched
from .layout import Layout
from .place import on_host
from .rules import KERNELS

SMALL = 100  # variables up to which Newton's method is the default
MOST_HALVINGS = 50


@dataclass
class BatchResult:
    """What `minimize_batch` found, problem by problem.

    Attributes
    ----------
    x
        Structured like ``x0``, the batch axis first.
    fun, optimality : ndarray, shape (B,)
        Values, and largest gradient components, at ``x``.
    success : ndarray of bool, shape (B,)
        Gradient within ``gtol`` and no negative curvature (looked at up to 100 variables).
    nit : ndarray of int, shape (B,)
    nfev : int
        Batched evaluations; each is one run of the function.
    message : str
    """

    x: object
    fun: np.ndarray
    optimality: np.ndarray
    success: np.ndarray
    nit: np.ndarray
    nfev: int
    message: str


def minimize_batch(fun, x0, args=(), method=None, *, in_axes=0, gtol=1e-6, max_steps=None, lr=None, **settings):
    """Minimize many functions ``fun(., args_i)``, i = 1 ... B, in batched array calls.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> scalar`` of one problem, in NumPy's or difftensor's functions that `difftensor.vmap` batches.
    x0 : array or pytree
        The starts, batch axis first in every leaf.
    args : tuple
        Further arguments.
    method : str, optional
        "newton" or a first-order rule ("adam", "sgd", ...). None: Newton up to 100 variables, Adam beyond.
    in_axes : 0, None or tuple of those
        Which of ``args`` have a batch axis (0) and which all problems share (None).
    gtol : float
        A problem is solved when no component of its gradient is larger.
    max_steps : int, optional
        By default 200 for Newton and 5000 for rules.
    lr : float, optional
        The step length of a rule; its other settings are keywords.

    Returns
    -------
    BatchResult

    Raises
    ------
    ValueError
        Unknown method, or starts that differ in their batch axis.

    Notes
    -----
    Newton's direction is ``-|H|^{-1} g`` (eigenvalues by their absolute value, so saddles repel), halved until
    Armijo's condition holds, each problem with a length of its own. Solved problems leave the batch. ``dif.grad``
    passes through ``x`` by the implicit function theorem, one Hessian for each problem.

    Examples
    --------
    >>> import numpy as np, optim
    >>> f = lambda x, a: (x[0] - a) ** 4 + (x[0] - a) ** 2
    >>> result = optim.minimize_batch(f, np.zeros((3, 1)), (np.arange(3.0),))
    >>> result.x.round(6).ravel().tolist(), result.success.all().item()
    ([0.0, 1.0, 2.0], True)
    """
    on_host("minimize_batch", x0, args)
    problem = _Batch(fun, x0, args, in_axes)
    if method is None:
        method = "newton" if problem.n <= SMALL else "adam"
    if method != "newton" and method not in KERNELS:
        raise ValueError(f"optim: minimize_batch knows 'newton' and {', '.join(KERNELS)}, not {method!r}")
    if method == "newton" and (settings or lr is not None):
        raise TypeError(
            "optim: Newton's method has no such settings: " + ", ".join([*settings, *(["lr"] if lr else [])])
        )
    steps = (200 if method == "newton" else 5000) if max_steps is None else max_steps

    def solve():
        if method == "newton":
            return _newton(problem, gtol, steps)
        return _rule(problem, KERNELS[method], settings if lr is None else {**settings, "lr": lr}, gtol, steps)

    try:
        return solve()
    except Watched:
        problem.nfev = 0
    with unwatched():
        result = solve()
    x = dif.implicit.root(problem.gradients, problem.solution, method="rows")
    result.x = problem.unpack(x)
    return result


class _Batch:
    """The problems as functions of a matrix, one row each."""

    def __init__(self, fun, x0, args, in_axes):
        leaves, structure = dif.tree.flatten(x0)
        sizes = {np.shape(leaf)[:1] for leaf in leaves}
        if len(sizes) != 1 or sizes == {()} or sizes == {(0,)}:
            raise ValueError(f"optim: every leaf of x0 needs the same batch axis in front, got shapes "
                             f"{[np.shape(leaf) for leaf in leaves]}")  # fmt: skip
        ((self.count,),) = sizes
        rows = [dif.tree.unflatten(structure, [leaf[i] for leaf in leaves]) for i in range(self.count)]
        self.layout = Layout(rows[0])
        self.x0 = np.stack([self.layout.pack(row) for row in rows])
        self.n = self.layout.size
        self.args = args if isinstance(args, tuple) else (args,)
        self.axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(self.args)
        self.nfev, self.solution = 0, None

        def one(x, *args):
            return fun(self.layout.unpack(x), *args)

        axes = (0, *self.axes)
        self._values = dif.vmap(one, in_axes=axes)
        self._gradients = dif.vmap(dif.grad(one), in_axes=axes)
        self._hessians = dif.vmap(dif.hessian(one), in_axes=axes)

    def _rows(self, rows):
        """The arguments of some problems only."""
        return [
            a if axis is None or rows is None else dif.tree.map(lambda leaf: leaf[rows], a)
            for a, axis in zip(self.args, self.axes, strict=True)
        ]

    def values(self, x, rows=None):
        self.nfev += 1
        return untracked(self._values(x, *self._rows(rows)))

    def gradients(self, x, rows=None):
        return self._gradients(x, *self._rows(rows))

    def hessians(self, x, rows=None):
        return untracked(self._hessians(x, *self._rows(rows)))

    def unpack(self, x):
        """The pytree of all rows."""
        return x if self.layout.plain else dif.vmap(self.layout.unpack)(x)

    def result(self, x, f, size, nit, gtol, what):
        self.solution = x
        success = np.isfinite(f) & (size <= gtol)
        if self.n <= SMALL and success.any():
            rows = np.flatnonzero(success)
            values = np.linalg.eigvalsh(self.hessians(x[rows], rows))
            success[rows] = values[:, 0] >= -1e-8 * np.abs(values).max(axis=1)
        message = f"{what}: {int(success.sum())} of {self.count} problems solved"
        if not success.all():
            message += f"; the first that is not is number {int(np.argmin(success))}"
        return BatchResult(self.unpack(x), f, size, success, nit, self.nfev, message)


@np.errstate(all="ignore")  # a trial step may overflow; what is not finite is not accepted
def _newton(problem, gtol, steps):
    x, nit = problem.x0.copy(), np.zeros(problem.count, dtype=int)
    f, g = np.array(problem.values(x)), np.array(untracked(problem.gradients(x)))
    at_work = np.isfinite(f) & (np.abs(g).max(axis=1) > gtol)
    for _ in range(steps):
        rows = np.flatnonzero(at_work)
        if not rows.size:
            break
        p, slope = _direction(problem.hessians(x[rows], rows), g[rows])
        moved = _search(problem, x, f, rows, p, slope)
        at_work[rows[~moved]] = False
        rows = rows[moved]
        if rows.size:
            g[rows] = untracked(problem.gradients(x[rows], rows))
        nit[rows] += 1
        at_work[rows] = np.abs(g[rows]).max(axis=1) > gtol
    return problem.result(x, f, np.abs(g).max(axis=1), nit, gtol, "Newton's method")


def _direction(H, g):
    """``-|H|^{-1} g`` and its slope; curvatures below 1e-8 of the largest count as that."""
    finite = np.isfinite(H).all(axis=(1, 2))
    values, vectors = np.linalg.eigh(np.where(finite[:, None, None], H, np.eye(g.shape[1])))
    size = np.abs(values)
    size = np.maximum(size, np.maximum(1e-8 * size.max(axis=1, keepdims=True), 1e-300))
    along = np.einsum("bij,bi->bj", vectors, g)
    p = -np.einsum("bij,bj->bi", vectors, along / size)
    return p, np.einsum("bi,bi->b", p, g)


def _search(problem, x, f, rows, p, slope):
    """Move ``x[rows]`` and ``f[rows]`` by halved steps; which of them moved."""
    moved, t = np.zeros(rows.size, dtype=bool), 1.0
    noise = 10 * np.finfo(x.dtype).eps * np.abs(f[rows])
    for _ in range(MOST_HALVINGS):
        left = np.flatnonzero(~moved)
        if not left.size:
            break
        trial = x[rows[left]] + t * p[left]
        value = problem.values(trial, rows[left])
        good = value <= f[rows[left]] + 1e-4 * t * slope[left] + noise[left]
        x[rows[left[good]]], f[rows[left[good]]] = trial[good], value[good]
        moved[left[good]] = True
        t *= 0.5
    return moved


@np.errstate(all="ignore")
def _rule(problem, kernel, settings, gtol, steps):
    settings = {**kernel.defaults, **settings}
    x, nit = problem.x0.copy(), np.zeros(problem.count, dtype=int)
    g = np.array(untracked(problem.gradients(x)))
    state = kernel.start(x, settings)
    at_work = np.abs(g).max(axis=1) > gtol
    for t in range(1, steps + 1):
        rows = np.flatnonzero(at_work)
        if not rows.size:
            break
        step, new = kernel.update(g[rows], x[rows], tuple(a[rows] for a in state), t, **settings)
        for a, b in zip(state, new, strict=True):
            a[rows] = b
        x[rows] += step
        g[rows] = untracked(problem.gradients(x[rows], rows))
        problem.nfev += 1
        nit[rows] += 1
        size = np.abs(g[rows]).max(axis=1)
        at_work[rows] = np.isfinite(size) & (size > gtol)
    return problem.result(x, problem.values(x), np.abs(g).max(axis=1), nit, gtol, "first-order rule")
