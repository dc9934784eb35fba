"""Sparse Jacobians and Hessians: the pattern from the tape, columns in groups that do not overlap, a sweep for each."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import numpy as np

from difftensor._backend import on_gpu
from difftensor._backend.device import CPU
from difftensor._core import Tensor, X, wrap
from difftensor._core.sweeping import trace
from difftensor._transforms.dependence import dependence
from difftensor._transforms.draws import steady
from difftensor._transforms.forward import linearize
from difftensor._transforms.reverse import _as_result, _Placed, grad, vjp
from difftensor.errors import SparsityError


def coloring(pattern: Any) -> np.ndarray:
    """A color for each column, such that no row has two columns of one color.

    Greedy, columns of many entries first (Curtis, Powell and Reid 1974; Coleman and More 1983).

    Parameters
    ----------
    pattern : sparse array (m, n)

    Returns
    -------
    colors : ndarray of int, shape (n,)
    """
    import scipy.sparse as sp

    by_column = sp.csc_array(pattern)
    by_row = sp.csr_array(pattern)
    n = by_column.shape[1]
    colors = np.full(n, -1, dtype=np.int64)
    order = np.argsort(-np.diff(by_column.indptr), kind="stable")
    row_start, row_columns = by_row.indptr, by_row.indices
    column_start, column_rows = by_column.indptr, by_column.indices
    for j in order:
        rows = column_rows[column_start[j] : column_start[j + 1]]
        if rows.size == 0:
            colors[j] = 0
            continue
        if rows.size == 1:
            neighbors = row_columns[row_start[rows[0]] : row_start[rows[0] + 1]]
        else:
            neighbors = np.concatenate([row_columns[row_start[i] : row_start[i + 1]] for i in rows])
        taken = set(colors[neighbors].tolist())
        color = 0
        while color in taken:
            color += 1
        colors[j] = color
    return colors


class SparseJacobian:
    """The function that ``sparse_jacobian`` returns: pattern and colors are found in the first call and used again.

    Attributes
    ----------
    pattern : scipy.sparse.csr_array of bool, or None before the first call
    colors : ndarray of int
        Group of each column (forward mode) or row (reverse mode).
    mode : {"fwd", "rev"}
    sweeps : int
        How many sweeps the last call took, the one of the check included.
    """

    def __init__(self, f: Callable, pattern: Any, mode: str):
        update_wrapper(self, f)
        if mode not in ("auto", "fwd", "rev"):
            raise ValueError(f"sparse_jacobian: mode {mode!r} is not one of 'auto', 'fwd', 'rev'")
        self.f, self.mode, self.pattern, self.colors, self.sweeps = f, mode, pattern, None, 0
        if pattern is not None:
            self._plan(pattern)

    colors: Any
    pattern: Any

    def _plan(self, pattern: Any) -> None:
        import scipy.sparse as sp

        self.pattern = sp.csr_array(pattern).astype(bool)
        self.pattern.sort_indices()
        columns: Any = coloring(self.pattern) if self.mode != "rev" else None
        rows: Any = coloring(self.pattern.T) if self.mode != "fwd" else None
        if self.mode == "auto":
            self.mode = "fwd" if columns.max(initial=0) <= rows.max(initial=0) else "rev"
        self.colors = columns if self.mode == "fwd" else rows

    def __call__(self, x: Any, *args: Any) -> Any:
        import scipy.sparse as sp

        x, f = _at_home(x, steady(self.f))
        x = np.asarray(x, dtype=float)
        if self.pattern is None:
            self._plan(find_pattern(f, x, *args))
        m, n = self.pattern.shape
        if x.size != n:
            raise ValueError(f"the pattern was found for {n} unknowns, x has {x.size}; make another sparse_jacobian")
        y, push = linearize(lambda v: f(v, *args), x)
        rows = np.repeat(np.arange(m), np.diff(self.pattern.indptr))
        columns = self.pattern.indices
        groups = int(self.colors.max(initial=-1)) + 1
        values = np.empty(columns.size)
        forward = self.mode == "fwd"
        if forward:

            def sweep(v: np.ndarray) -> np.ndarray:
                return np.asarray(push(v.reshape(x.shape))).ravel()
        else:
            _, pull = vjp(lambda v: f(v, *args), x)

            def sweep(v: np.ndarray) -> np.ndarray:
                return np.asarray(pull(v.reshape(np.shape(y)))[0]).ravel()

        owner, reader = (columns, rows) if forward else (rows, columns)
        color_of_entry = self.colors[owner]
        for c in range(groups):
            compressed = sweep(np.asarray(self.colors == c, dtype=float))
            here = color_of_entry == c
            values[here] = compressed[reader[here]]
        J = sp.csr_array((values, columns, self.pattern.indptr), shape=(m, n))
        self._check(J, push, x)
        self.sweeps = groups + 1
        return J

    def _check(self, J: Any, push: Callable, x: np.ndarray) -> None:
        """One more sweep in a random direction: entries outside the pattern show."""
        v = np.random.default_rng(J.nnz).standard_normal(x.size)
        true, ours = np.asarray(push(v.reshape(x.shape))).ravel(), J @ v
        scale = abs(J) @ abs(v)
        rounding = 16 * np.finfo(float).eps * scale.max(initial=0)  # what is left where large terms cancel
        wrong = abs(true - ours) > np.maximum(1e-8 * (scale + np.abs(true)), rounding) + 1e-300
        if wrong.any():
            raise SparsityError(
                f"{int(wrong.sum())} rows of the Jacobian have entries outside the pattern (first: row "
                f"{int(np.argmax(wrong))}): the function took "
                "another way than where the pattern was found. Make another sparse_jacobian, or give the union "
                "of the patterns"
            )


def _at_home(x: Any, f: Callable) -> tuple[Any, Callable]:
    """The values of `x` on the host, and `f` of them, which computes where x was: sparse matrices are SciPy's."""
    if not isinstance(x, Tensor):
        if not on_gpu(x):
            return x, f
        x = wrap(x)
    there, x = x.device, x.detach().to_device("cpu").numpy()
    if there == CPU:
        return x, f
    return x, lambda v, *args: X.asarray(f(v.to_device(there), *args)).to_device(CPU)


def find_pattern(f: Callable, x: Any, *args: Any) -> Any:
    """The sparsity pattern of the Jacobian of f at x, from the tape.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` of one array, returning one array.
    x : ndarray

    Returns
    -------
    scipy.sparse.csr_array of bool, shape (y.size, x.size)
    """
    import scipy.sparse as sp

    x, f = _at_home(x, f)
    a = _Placed((np.asarray(x, dtype=float), *args), (0,), "sparse_jacobian")
    y = _as_result(a.run(f, {}), "sparse_jacobian")
    start, shape = a.nodes[0], a.placed[0].shape
    nothing = sp.csr_array((y.size, a.placed[0].size), dtype=bool)
    if y.node is None:
        return nothing
    order, _ = trace([y.node], [start])
    found = dependence(order, start, shape)
    return found[y.node].rows if y.node in found else nothing


def sparse_jacobian(f: Callable, pattern: Any = None, mode: str = "auto") -> SparseJacobian:
    """The sparse Jacobian function of f.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` of one real array, returning one real array.
    pattern : sparse array of shape (y.size, x.size), optional
        Where entries may be; by default found from the tape in the first call.
    mode : {"auto", "fwd", "rev"}
        Whether columns or rows are grouped; "auto": what needs fewer sweeps.

    Returns
    -------
    SparseJacobian
        ``J(x, *args) -> scipy.sparse.csr_array`` of shape (y.size, x.size).

    Raises
    ------
    SparsityError
        Entries lie outside the pattern (one more sweep in each call looks).

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> J = dif.sparse_jacobian(lambda x: x[1:] * x[:-1])
    >>> J(np.array([1.0, 2.0, 3.0])).toarray().tolist()
    [[2.0, 1.0, 0.0], [0.0, 3.0, 2.0]]
    >>> int(J.colors.max()) + 1
    2
    """
    return SparseJacobian(f, pattern, mode)


def sparse_hessian(f: Callable, pattern: Any = None) -> SparseJacobian:
    """The sparse Hessian function of f: the sparse Jacobian of its gradient.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` of one real array, returning one real number.
    pattern : sparse array of shape (n, n), optional

    Returns
    -------
    SparseJacobian
        ``H(x, *args) -> scipy.sparse.csr_array`` of shape (n, n).

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> H = dif.sparse_hessian(lambda x: np.sum(x[1:] * x[:-1] ** 2))
    >>> H(np.array([1.0, 2.0, 3.0])).toarray().tolist()
    [[4.0, 2.0, 0.0], [2.0, 6.0, 4.0], [0.0, 4.0, 0.0]]
    """
    return SparseJacobian(grad(f), pattern, "fwd")
