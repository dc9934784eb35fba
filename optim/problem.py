"""The objective as the algorithms see it: a function of one vector that is counted."""

from __future__ import annotations

import math
import warnings

import numpy as np

import difftensor as dif

from . import verdict
from .bounds import Box
from .implicit import untracked
from .layout import HostLayout, Layout
from .place import host, identity, like, values
from .point import Point
from .stop import Doubt
from .verdict import Look, Spectrum


class Problem:
    """Minimize ``fun(x, *args)``; makes Points and counts what they evaluate.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> float`` in NumPy's or difftensor's functions; with ``jac=True`` it returns
        ``(value, gradient)``.
    x0 : array or pytree
    args : tuple
    jac : callable, True or None
        The gradient ``jac(x, *args)``, shaped like ``x``. None: by difftensor.
    hess : callable or None
        The Hessian ``hess(x, *args)``, shape (n, n). None: by difftensor.
    hessp : callable or None
        The Hessian times a vector, ``hessp(x, p, *args)``. None: by difftensor.
    bounds : optional
        See `optim.bounds.Box.read`.

    Attributes
    ----------
    nfev, njev, nhev : int
        Values, gradients, and Hessians or Hessian-vector products evaluated.
    """

    def __init__(self, fun, x0, args=(), *, jac=None, hess=None, hessp=None, bounds=None):
        if not callable(fun):
            raise TypeError(f"optim: expected a function to minimize, got {type(fun).__name__}")
        for name, given in (("hess", hess), ("hessp", hessp)):
            if given is not None and not callable(given):
                raise TypeError(f"optim: {name} must be a function or None, got {given!r}")
        if not (jac is None or jac is True or callable(jac)):
            raise TypeError(f"optim: jac must be None (difftensor differentiates), True or a function, got {jac!r}")
        self.fun, self.args = fun, args if isinstance(args, tuple) else (args,)
        self.layout = Layout(x0)
        self.x0 = self.layout.pack(x0)
        self.n = self.layout.size
        self.box = Box.read(bounds, self.layout)
        if self.box is not None:
            self.box = self.box.beside(self.x0)
            self.box.check(self.x0, self.layout)
        self._jac, self._hess, self._hessp = jac, hess, hessp
        self.nfev = self.njev = self.nhev = 0
        self._first = None  # the point where the run began
        self.eps = float(np.finfo(self.x0.dtype).eps)

    def come_home(self) -> None:
        """Keep the vectors on the host from now on, wherever the function and its data are."""
        if isinstance(self.x0, dif.Tensor):
            self.layout = HostLayout(self.layout.example, self.x0.device)
            self.x0 = host(self.x0)
            if self.box is not None:
                self.box = Box(host(self.box.lower), host(self.box.upper))

    # what the user's function is, seen from one vector

    def objective(self, x):
        """The user's function of one vector; what difftensor differentiates."""
        y = self.fun(self.layout.unpack(x), *self.args)
        y = self.layout.home(y[0] if self._jac is True else y)
        return y if getattr(y, "shape", None) == () else _scalar(y)

    def layout_vector(self, tree):
        """A gradient in the structure of ``x0`` as one vector, differentiable."""
        return self.layout.home(self.layout.vector(tree, "the gradient"))

    def at(self, x) -> Point:
        return Point(self, x)

    def evaluate(self, point: Point) -> None:
        """Fill in ``point.f`` and keep the tape for ``point.g``."""
        self.nfev += 1
        if self._jac is None:
            y, point._pull = dif.vjp(self.objective, point.x)
        elif self._jac is True:
            y, g = self.fun(self.layout.unpack(point.x.copy()), *self.args)
            y, point._g = _scalar(y), self.layout.pack(g)
            self.njev += 1
        else:
            y = self.objective(point.x.copy())
        point._f = _real(untracked(y))

    def differentiate(self, point: Point) -> None:
        """Fill in ``point.g``."""
        point.f  # noqa: B018  the forward pass that the backward pass runs over
        if point._g is not None:
            return
        self.njev += 1
        if self._jac is not None:
            point._g = self.layout.pack(self._jac(self.layout.unpack(point.x.copy()), *self.args))
            return
        pull = point._pull
        if pull is None:  # the point came out of a file, or its value was asked for without a tape
            self.nfev += 1
            _, pull = dif.vjp(self.objective, point.x)
        point._pull = None
        point._g = untracked(pull(1.0)[0])
        if self.njev == 1 and not point._g.any():
            check_dependence(self.objective, point.x)

    def value(self, x) -> float:
        """The value at ``x`` without a tape, for methods that use no derivatives."""
        self.nfev += 1
        if self._jac is True:
            return _real(untracked(self.fun(self.layout.unpack(x.copy()), *self.args)[0]))
        return _real(untracked(self.objective(x.copy())))

    def place(self, x):
        """A vector of this problem's size where its data are."""
        return like(x, self.x0)

    # second derivatives

    def hvp(self, x, v):
        self.nhev += 1
        if self._hessp is not None:
            layout = self.layout
            return layout.pack(self._hessp(layout.unpack(x.copy()), layout.unpack(v), *self.args))
        if self._hess is not None:
            return self.hessian(x) @ v
        self._needs_own_gradient("Hessian-vector products")
        return untracked(dif.hvp(self.objective)(x, v))

    def hessian_products(self, x):
        """A function ``v -> H v`` at ``x`` that shares what the products have in common."""
        if self._jac is not None or self._hess is not None or self._hessp is not None:
            return lambda v: self.hvp(x, v)
        _, push = dif.linearize(dif.grad(self.objective), x)

        def product(v):
            self.nhev += 1
            return untracked(push(v))

        return product

    def hessian(self, x):
        self.nhev += 1
        if self._hess is not None:
            H = self.layout.home(self._hess(self.layout.unpack(x.copy()), *self.args))
            H = values(H) if isinstance(H, dif.Tensor) else np.asarray(H, dtype=self.x0.dtype)
            return H.reshape(self.n, self.n)
        if self._hessp is not None:
            return np.stack([self.hvp(x, e) for e in identity(x)])
        self._needs_own_gradient("the Hessian")
        return untracked(dif.hessian(self.objective)(x))

    @property
    def has_hessian(self) -> bool:
        """Whether second derivatives can be had."""
        return self._hess is not None or self._hessp is not None or self._jac is None

    def _needs_own_gradient(self, what: str) -> None:
        if self._jac is not None:
            raise TypeError(
                f"optim: this method needs {what}, and a gradient of your own gives none; pass hess= or hessp=, "
                "or leave jac out and let difftensor differentiate"
            )

    # what a solution satisfies

    def optimality(self, point: Point) -> float:
        """The largest component of the gradient that still points into the feasible box."""
        if self._first is None:
            self._first = point
        g = point.g if self.box is None else self.box.projected_gradient(point.x, point.g)
        return float(np.abs(g).max())

    def noise(self, point: Point) -> float:
        """What the value of f cannot resolve at ``point``: some hundred roundings of f itself."""
        return 100 * self.eps * abs(point.f)

    def newton_decrement(self, point: Point) -> tuple[float, float, float] | None:
        """``g^T |H|^{-1} g / 2``, the lowest scaled eigenvalue of H (0 within rounding), and what f cannot resolve.

        None where the Hessian is not at hand or too large to be worth it.
        """
        if not self.has_second_order(point):
            return None
        look = self._look(point, point.x)
        spectrum = Spectrum.of(look.g, look.H, look.free)
        if not np.isfinite(look.H).all() or self._unexplained(look, spectrum):
            return None
        seen = spectrum.values[spectrum.seen]
        lowest = float(seen[0]) if len(seen) and seen[0] < 0 else 0.0
        return spectrum.newton()[1], lowest, look.noise

    def is_level(self, point) -> bool:
        """Whether f falls by more than its rounding along Newton's step or where its curvature is negative.

        The rounding is what f changes by within a few units in the last place of x: where f is a small difference of
        large terms, as one minus a fidelity, it is far more than eps |f|, and small eigenvalues mean nothing.
        """
        look = self._look(point, point.x)
        spectrum = Spectrum.of(look.g, look.H, look.free)
        largest = float(np.abs(spectrum.values).max(initial=0.0))
        if not largest > 0:
            return False
        noise = self._rounding(look)
        if 0.5 * float(spectrum.along @ spectrum.along) > 10 * noise * largest:
            return False
        p, _ = spectrum.newton()
        steps = [p, 0.1 * p, 0.01 * p]
        for i in np.flatnonzero(spectrum.seen & (spectrum.values < 0)):  # far enough for 10 times the rounding
            v = math.sqrt(20 * noise / -spectrum.values[i]) * spectrum.back[:, i]
            steps += [v, -v]
        return all(self._answer("value", look.project(look.x + s)) >= look.f - noise for s in steps)

    def _rounding(self, look) -> float:
        """What f changes by within some units in the last place of x."""
        size = np.where(look.x != 0, np.abs(look.x), np.abs(look.x).max(initial=0.0) or 1.0)
        signs = np.where(np.arange(len(look.x)) % 2, 1.0, -1.0)
        near = [self._answer("value", look.project(look.x + 8 * k * self.eps * signs * size)) for k in range(1, 7)]
        return max(*near, look.f) - min(*near, look.f) + self.eps * abs(look.f)

    def _look(self, point, extent) -> Look:
        """What `optim.verdict` asks for, on the host: the variables are few."""
        box = self.box
        free = np.ones(self.n, dtype=bool) if box is None else host(box.free(point.x, point.g))
        x, H = host(point.x), host(point.H)
        # x itself is rounded: where f is far smaller than its terms, that moves it by more than its own rounding
        grid = 0.5 * self.eps**2 * float(np.abs(np.diagonal(H)) @ x**2)
        return Look(
            x, point.f, host(point.g), H, host(self.x0), host(extent), free,
            self.noise(point) + (grid if np.isfinite(grid) else 0.0), self.layout.name,
            (lambda x: x) if box is None else lambda x: host(box.project(like(x, self.x0))),
        )  # fmt: skip

    def _unexplained(self, look, spectrum) -> bool:
        """Whether a clear part of the gradient lies where the Hessian is flat: a straight slope, or a kink."""
        g, x, d = np.where(look.free, look.g, 0.0), np.where(look.free, look.x, 0.0), spectrum.d
        hidden = float(np.linalg.norm(spectrum.along[~spectrum.seen]))
        size = float(np.abs(spectrum.values[spectrum.seen]).max(initial=0.0))
        rounding = 1e-8 * float(np.abs(g / d).max(initial=0.0)) + 1e-10 * size * float(np.abs(d * x).max(initial=0.0))
        return hidden > rounding + look.noise

    def doubt(self, point: Point, extent) -> Doubt | None:
        """A reason not to believe that a point with a small gradient is a minimizer; see `optim.verdict`."""
        if not self.has_second_order(point):
            return None
        found = verdict.answered(
            verdict.doubt(self._look(point, extent)),
            lambda what, *about: self.is_level(point) if what == "level" else self._answer(what, *about),
        )
        if found is None:
            return None
        return Doubt(found.words, *(v if v is None else like(v, self.x0) for v in (found.direction, found.beyond)))

    def _answer(self, what, x=None, p=None):
        """The answer to a question of `optim.verdict`."""
        if what == "start":
            first = self._first
            if first is None or (first.x != self.x0).any():  # a run that goes on from a saved state
                first = self.at(self.x0)
            return first.f, host(first.g)
        x = like(x, self.x0)
        if what == "value":
            return self.at(x).f
        if what == "product":
            return host(self.hvp(x, like(p, self.x0)))
        point = self.at(x)
        if not np.isfinite(point.f):
            return np.full(self.n, np.nan), np.full((self.n, self.n), np.nan)
        return host(point.g), host(point.H)

    def has_second_order(self, point: Point) -> bool:
        """Whether the Hessian is at hand, small enough to be worth it, and every rule it needs exists."""
        if self.n > LARGEST_DENSE_CHECK or not self.has_hessian:
            return False
        try:
            point.H  # noqa: B018
        except (NotImplementedError, dif.errors.DifftensorError):
            return False
        return True


LARGEST_DENSE_CHECK = 50  # a Hessian of this size costs as much as some hundred gradients


def check_dependence(fun, x):
    """A function that does not depend on x is a wrong call, not a zero gradient."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", dif.errors.LostGradientWarning)
        try:
            dif.grad(fun)(x)
        except dif.errors.LostGradientWarning as lost:
            raise ValueError(
                "optim: the function does not depend on x, so there is nothing to look for. Look for a value "
                "that left the tape (float(...), .item(), .detach()) or for an argument that is not used"
            ) from lost


def _scalar(y):
    """``y`` as one number, or the reason why it is none."""
    if y is None:
        raise TypeError("optim: the function returned None; is its `return` missing?")
    if isinstance(y, (list, tuple)):
        raise TypeError(f"optim: the function returned a {type(y).__name__}, and must return one number; with jac=True "
                        "it returns (value, gradient)")  # fmt: skip
    shape = tuple(y.shape) if hasattr(y, "shape") else np.shape(y)
    size = int(np.prod(shape))
    if size != 1:
        raise ValueError(
            f"optim: the function must return one number, got shape {shape}; "
            "sum it, or use optim.least_squares for a vector of residuals"
        )
    return y.reshape(()) if shape else y


def _real(y) -> float:
    if getattr(y, "dtype", None) is not None and y.dtype.kind == "c":
        raise TypeError("optim: the function returned a complex number; minimize its .real or abs()")
    return float(y)
