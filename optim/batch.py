"""Many small problems of one kind at once: every array has one more axis in front."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

import difftensor as dif

from . import batched
from .batched import SMALL
from .implicit import Watched, untracked, unwatched
from .layout import Layout
from .place import host, like, taken
from .rules import KERNELS

METHODS = {"newton": batched.newton, "trust-exact": batched.trust_exact, "bfgs": batched.bfgs}


@dataclass
class BatchResult:
    """What `minimize_batch` found, problem by problem.

    Attributes
    ----------
    x
        Structured like ``x0``, the batch axis first.
    fun, optimality : ndarray, shape (B,)
        Values, and largest gradient components, at ``x``; on the host, wherever x is.
    success : ndarray of bool, shape (B,)
        Gradient within ``gtol``, or the limit of float64 reached, no negative curvature and no plateau (looked at up to
        100 variables).
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


def minimize_batch(fun, x0, args=(), method=None, *, in_axes=0, gtol=1e-6, max_steps=None, lr=None, callback=None,
                   progress=False, **settings):  # fmt: skip
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
        "newton", "trust-exact", "bfgs" or a first-order rule ("adam", "sgd", ...). None: Newton up to 100 variables,
        Adam beyond.
    in_axes : 0, None or tuple of those
        Which of ``args`` have a batch axis (0) and which all problems share (None).
    gtol : float
        A problem is solved when no component of its gradient is larger.
    max_steps : int, optional
        By default 200 for Newton and 5000 for the others.
    lr : float, optional
        The step length of a rule; its other settings are keywords.
    callback : callable, optional
        ``callback(intermediate_result)`` after every step: a BatchResult whose ``success`` says which problems are no
        longer worked at. StopIteration stops.
    progress : bool
        Show a line with the problems left, the largest gradient and the evaluations.

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
    passes through ``x`` and ``fun`` by the implicit function theorem, to every order, one Hessian for each problem;
    problems that are not solved count as constants, with a warning. The functions run where ``x0`` and ``args`` are;
    the algebra of the rows is on the host.

    Examples
    --------
    >>> import numpy as np, optim
    >>> f = lambda x, a: (x[0] - a) ** 4 + (x[0] - a) ** 2
    >>> result = optim.minimize_batch(f, np.zeros((3, 1)), (np.arange(3.0),))
    >>> result.x.round(6).ravel().tolist(), result.success.all().item()
    ([0.0, 1.0, 2.0], True)
    """
    problem = _Batch(fun, x0, args, in_axes)
    if method is None:
        method = "newton" if problem.n <= SMALL else "adam"
    if method not in METHODS and method not in KERNELS:
        raise ValueError(f"optim: minimize_batch knows {', '.join([*METHODS, *KERNELS])}, not {method!r}")
    if lr is not None:
        settings["lr"] = lr
    if method in METHODS and settings:
        raise TypeError(f"optim: {method!r} has no such settings: {', '.join(settings)}")
    most = (200 if method == "newton" else 5000) if max_steps is None else max_steps
    run = METHODS.get(method) or partial(batched.first_order, kernel=KERNELS[method], **settings)

    def result(ends, solved, words):
        x = problem.unpack(problem.place(ends.x))
        return BatchResult(x, ends.f, ends.size, solved, ends.nit, problem.nfev, words)

    def so_far(ends, at_work):
        callback(result(ends, ~at_work, "running"))

    def solve():
        problem.nfev = 0
        ends = batched.Watch(callback and so_far, progress).run(run, problem, gtol, most)
        solved = ends.solved(problem, gtol, problem.n <= SMALL)
        return ends, result(ends, solved, batched.words(method, solved))

    try:
        return solve()[1]
    except Watched:
        pass
    with unwatched():
        ends, found = solve()
    x = batched.tied(problem.tracked_gradients, problem.place(ends.x), found.success)
    found.x, found.fun = problem.unpack(x), problem.tracked_values(x)
    return found


class _Batch:
    """The problems as functions of a matrix, one row each, that is on the host: the functions run where their data
    are."""

    def __init__(self, fun, x0, args, in_axes):
        leaves, structure = dif.tree.flatten(x0)
        sizes = {np.shape(leaf)[:1] for leaf in leaves}
        if sizes == {(0,)}:
            raise ValueError("optim: the batch axis of x0 has length 0, so there is no problem to solve")
        if len(sizes) != 1 or sizes == {()}:
            raise ValueError(f"optim: every leaf of x0 needs the same batch axis in front, got shapes "
                             f"{[np.shape(leaf) for leaf in leaves]}")  # fmt: skip
        ((self.count,),) = sizes
        self.layout = Layout(dif.tree.unflatten(structure, [leaf[0] for leaf in leaves]))
        self._there = batched.packed(self.layout, leaves, self.count)
        self.x0 = host(self._there)
        self.n = self.layout.size
        self.args = args if isinstance(args, tuple) else (args,)
        self.axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(self.args)
        self.nfev = 0
        for number, (given, axis) in enumerate(zip(self.args, self.axes, strict=True)):
            shapes = [np.shape(leaf) for leaf in dif.tree.leaves(given)]
            if isinstance(axis, int) and not all(len(s) > axis and s[axis] == self.count for s in shapes):
                raise ValueError(
                    f"optim: x0 has {self.count} problems, so args[{number}] needs an axis {axis} of that length, and "
                    f"has the shapes {shapes}; for what all problems share, use in_axes=None there, or a closure"
                )

        def one(x, *args):
            return fun(self.layout.unpack(x), *args)

        axes = (0, *self.axes)
        self._values = dif.vmap(one, in_axes=axes)
        self._gradients = dif.vmap(dif.grad(one), in_axes=axes)
        self._hessians = dif.vmap(dif.hessian(one), in_axes=axes)

    def _rows(self, rows):
        """The arguments of some problems only."""
        if rows is None or len(rows) == self.count:
            return self.args
        return [
            a if axis is None else dif.tree.map(lambda leaf: taken(leaf, rows), a)
            for a, axis in zip(self.args, self.axes, strict=True)
        ]

    def place(self, x):
        """Rows where the starts are."""
        return like(x, self._there)

    def values(self, x, rows=None):
        self.nfev += 1
        return self._some(self._values, x, rows)

    def gradients(self, x, rows=None):
        return self._some(self._gradients, x, rows)

    def hessians(self, x, rows=None):
        return self._some(self._hessians, x, rows)

    def _some(self, f, x, rows):
        return np.array(host(untracked(f(self.place(x), *self._rows(rows)))))

    def tracked_values(self, x):
        return self._values(x, *self.args)

    def tracked_gradients(self, x):
        return self._gradients(x, *self.args)

    def unpack(self, x):
        """The pytree of all rows."""
        return x if self.layout.plain else dif.vmap(self.layout.unpack)(x)
