"""Sums of squares as the algorithms see them."""

from __future__ import annotations

import math

import numpy as np

import difftensor as dif

from ..implicit import untracked
from ..layout import HostLayout
from ..place import condensed, host, like, values
from ..point import Point
from ..problem import Problem, check_dependence
from .jacobians import LARGE, THIN, column_norms, is_sparse, scale_rows
from .losses import LOSSES


class ResidualPoint(Point):
    """A place where the residuals have been looked at.

    Attributes
    ----------
    r : array, shape (m,)
        The residuals.
    J : array, shape (m, n)
        Their Jacobian.
    scaled : tuple
        ``(r, J)`` rescaled so that the Gauss-Newton model of the plain sum of squares is the model of the
        robust loss; the same arrays for the linear loss.
    weighted : tuple
        ``(r, J)`` with the square roots of the loss's weights ``rho'``.

    Both are on the host: of residuals on a device only a triangle comes over, with the same model.
    """

    __slots__ = ("_J", "_r", "_scaled", "_weighted")

    def __init__(self, problem, x):
        super().__init__(problem, x)
        self._r = self._J = self._scaled = self._weighted = None

    @property
    def r(self):
        if self._r is None:
            self.problem.evaluate(self)
        return self._r

    @property
    def J(self):
        if self._J is None:
            self._J = self.problem.jacobian(self.x)
        return self._J

    @property
    def scaled(self):
        if self._scaled is None:
            self._scaled = condensed(*self.problem.rescale(self.r, self.J))
        return self._scaled

    @property
    def weighted(self):
        if self.problem.rho is None:
            return self.scaled
        if self._weighted is None:
            self._weighted = condensed(*self.problem.reweight(self.r, self.J))
        return self._weighted

    def __getstate__(self):
        return (super().__getstate__(), self._r, self._J)

    def __setstate__(self, state):
        base, self._r, self._J = state
        super().__setstate__(base)
        self._scaled = self._weighted = None


class SquaresProblem(Problem):
    """Minimize ``f(x) = 1/2 sum rho(r_i(x)^2)``.

    Parameters
    ----------
    residuals : callable
        ``residuals(x, *args) -> array`` of any shape.
    jac : callable or None
        The Jacobian, shape (m, n). None: by difftensor.
    loss : str or callable
        A name in `optim.squares.losses.LOSSES` or ``rho(z) -> (rho, rho', rho'')``.
    f_scale : float
        The size of a residual at which the loss starts to bend.
    sparsity : "auto", None or sparse array (m, n)
        The pattern of the Jacobian; "auto" looks for one when there are many unknowns, None is dense.
    must_depend : bool
        Whether residuals that do not depend on x at all are an error.
    """

    def __init__(self, residuals, x0, args=(), *, jac=None, box=None, loss="linear", f_scale=1.0, sparsity=None,
                 must_depend=True):  # fmt: skip
        super().__init__(residuals, x0, args)
        self.must_depend, self.m = must_depend, None
        # The parameters are few: the solver keeps them on the host, whatever device the residuals are on.
        self._there, self.x0 = self.x0, host(self.x0)
        if box is not None:
            self.box = box
            box.check(self.x0, self.layout)
        if jac is not None and not callable(jac):
            raise TypeError(f"optim: jac must be None (difftensor differentiates) or a function, got {jac!r}")
        self.own_jacobian = jac
        self.rho = read_loss(loss, f_scale)
        self.f_scale = f_scale
        self.sparsity, self._colored = sparsity, None

    def place(self, x):
        return like(x, self._there)

    @property
    def sparse(self) -> bool:
        """Whether the Jacobian at ``x0`` is sparse, as given, or as found on the tape."""
        if self.own_jacobian is not None:
            return is_sparse(self._users(self.x0))
        if self.sparsity is None or isinstance(self.sparsity, str) and self.n <= LARGE:
            return False
        if self._colored is None:
            dense = self.layout, self._there
            if self._there is not self.x0:  # sparse matrices are SciPy's: the residuals come home
                self.layout, self._there = HostLayout(self.layout.example, self._there.device), self.x0
            self._find()
            if self._colored is None:
                self.layout, self._there = dense
        return self._colored is not None

    def _find(self) -> None:
        """The pattern and its colors; where it is not thin, the Jacobian stays dense."""
        given = None if isinstance(self.sparsity, str) else self.sparsity
        untracked(self.objective(self.x0.copy()))  # says so if an outer transformation watches
        colored = dif.sparse_jacobian(self._real_objective, given)
        colored(self.x0)
        m, n = colored.pattern.shape
        if given is None and colored.pattern.nnz > THIN * m * n:
            self.sparsity = None
        else:
            self._colored = colored

    def objective(self, x):
        """The residuals as one vector; what difftensor differentiates."""
        r = self.fun(self.layout.unpack(x), *self.args)
        if r is None:
            raise TypeError("optim: the function returned None; is its `return` missing?")
        if isinstance(r, (list, tuple)):
            r = dif.asarray(r)
        elif not isinstance(r, (np.ndarray, np.generic, dif.Tensor)) and hasattr(r, "__array__"):
            r = np.asarray(r)  # a column of pandas
        elif not dif.tree.is_leaf(r):
            r = dif.concatenate([dif.reshape(part, (-1,)) for part in dif.tree.leaves(r)])
        r = self.layout.home(r)
        shape = getattr(r, "shape", ())
        return r if len(shape) == 1 else dif.reshape(r, (-1,))

    def at(self, x) -> ResidualPoint:
        return ResidualPoint(self, x)

    def evaluate(self, point) -> None:
        self.nfev += 1
        r = untracked(self.objective(self.place(point.x.copy())))
        if r.dtype.kind == "c":  # |r|^2 is the sum over both parts
            r = np.concatenate([r.real, r.imag])
        if r.dtype.kind in "biu":
            r = r.astype(float)
        point._r, self.m = r, r.size
        if self.rho is None:
            point._f = 0.5 * float(r.dot(r))
        else:
            z = (r / self.f_scale) ** 2
            point._f = 0.5 * self.f_scale**2 * float(self.rho(z)[0].sum())

    def jacobian(self, x):
        self.njev += 1
        if self.own_jacobian is not None:
            return self._users(x)
        if self._colored is not None:
            return self._by_colors(x)
        J = untracked(dif.jacobian(self._real_objective)(self.place(x)))
        if self.njev == 1 and self.must_depend and not J.any():
            check_dependence(lambda x: dif.sum(self._real_objective(x)), self.place(x))
        return J

    def _users(self, x):
        J = self.own_jacobian(self.layout.unpack(self.place(x.copy())), *self.args)
        if is_sparse(J):
            J = J.tocsr()
        else:
            J = values(J) if isinstance(J, dif.Tensor) else np.asarray(J)
            if J.dtype.kind == "c":  # as the residuals
                J = np.concatenate([J.real, J.imag])
        shape, wanted = tuple(J.shape), (self.m, self.n)
        if self.m is not None and shape != wanted and (len(shape) == 2 or J.size != self.m * self.n):
            raise ValueError(f"optim: jac must return shape {wanted}, a row for each residual, got {shape}")
        return J if is_sparse(J) else J.astype(float).reshape(-1, self.n)

    def _by_colors(self, x):
        try:
            return self._colored(x)
        except dif.errors.DifftensorError:  # an entry outside the pattern
            if not isinstance(self.sparsity, str):
                raise
            # The function took another way here than before: both patterns hold from now on.
            here = dif.sparse_jacobian(self._real_objective)
            here(x)
            self._colored = dif.sparse_jacobian(self._real_objective, here.pattern + self._colored.pattern)
            return self._colored(x)

    def _real_objective(self, x):
        r = self.objective(x)
        if r.dtype.kind == "c":
            r = dif.concatenate([dif.real(r), dif.imag(r)])
        return r

    def differentiate(self, point) -> None:
        r, J = point.scaled
        point._g = J.T.dot(r)

    def hessian(self, x):
        """All of the Hessian of f, with the second derivatives of the residuals."""
        self.nhev += 1
        return host(untracked(dif.hessian(self._cost)(self.place(x))))

    def hvp(self, x, v):
        self.nhev += 1
        return host(untracked(dif.hvp(self._cost)(self.place(x), self.place(v))))

    @property
    def has_hessian(self) -> bool:
        return self.own_jacobian is None

    def _cost(self, x):
        r = self._real_objective(x)
        if self.rho is None:
            return 0.5 * dif.sum(r * r)
        # The value of rho comes without a tape; a quadratic model in z carries its two derivatives.
        z = (r / self.f_scale) ** 2
        z0 = _value(z)
        value, first, second = self.rho(z0)
        change = z - z0
        return 0.5 * self.f_scale**2 * dif.sum(value + first * change + 0.5 * second * change * change)

    def rescale(self, r, J):
        """Triggs' correction, which makes the Gauss-Newton model of ``r, J`` that of the loss.

        With ``z = (r/s)^2``: gradient ``rho' J^T r`` and curvature ``rho' + 2 rho'' z`` (at least a hundredth of
        rho'), as in B. Triggs et al., Bundle adjustment: a modern synthesis, 1999, section 4.3.
        """
        if self.rho is None:
            return r, J
        z = (r / self.f_scale) ** 2
        _, first, second = self.rho(z)
        root = np.sqrt(np.maximum(first + 2 * second * z, 0.01 * first))
        return r * first / root, scale_rows(J, root)

    def reweight(self, r, J):
        """Residuals and Jacobian with the square roots of the loss's weights ``rho'``."""
        root = np.sqrt(self.rho((r / self.f_scale) ** 2)[1])
        return r * root, scale_rows(J, root)

    def optimality(self, point) -> float:
        """The largest cosine between a column of J (that may still move) and the residuals.

        Free of the scales of parameters and residuals; 0 at a solution.
        """
        r, J = point.weighted
        size = math.sqrt(float(r.dot(r)))
        if size == 0.0:
            return 0.0
        if self._first is None:
            self._first = point
        cosines = self._cosines(point, column_norms(J), size)
        if self.box is not None:
            cosines = np.minimum(cosines, self._room(point, column_norms(J), size))
        return float(cosines.max())

    @staticmethod
    def _cosines(point, columns, size):
        with np.errstate(divide="ignore", invalid="ignore"):
            cosines = np.abs(point.g) / (columns * size)
        return np.where(columns > 0, cosines, 0.0)

    def _room(self, point, columns, size):
        """The distances to the bounds that ``-g`` points at, in units in which the gradient is a cosine."""
        _, distance = self.box.ahead(point.x, point.g)
        return distance * np.where(columns > 0, columns, 1.0) / size

    def leaning(self, point):
        """Variables at whose bounds the gradient pushes, and that are all but there."""
        r, J = point.weighted
        size, columns = math.sqrt(float(r.dot(r))), column_norms(J)
        if size == 0.0:
            return np.zeros(self.n, dtype=bool)
        return self._room(point, columns, size) <= 1e-3 * self._cosines(point, columns, size)

    def is_level(self, point) -> bool:
        """Where steps no longer help, other trust regions are tried from the start: they often find a lower minimum."""
        return False

    def noise(self, point) -> float:
        """The rounding error of f: every residual carries about eps times the terms it is made of."""
        r, J = point.weighted
        terms = abs(J) @ np.abs(point.x) + np.abs(r)
        error = self.eps * math.sqrt(float(terms.dot(terms)))
        return 4 * error * (math.sqrt(float(r.dot(r))) + error)


def read_loss(loss, f_scale):
    """The function that a loss's name stands for; None for the sum of squares."""
    if not (callable(loss) or loss in LOSSES):
        raise ValueError(f"optim: loss must be a function or one of {', '.join(LOSSES)}, got {loss!r}")
    if not f_scale > 0:
        raise ValueError(f"optim: f_scale must be positive, got {f_scale}")
    return None if loss == "linear" else loss if callable(loss) else LOSSES[loss]


def _value(z):
    while isinstance(z, dif.Tensor) and (z.requires_grad or z.device.kind == "cpu"):
        z = values(z)
    return z
