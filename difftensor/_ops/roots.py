"""Squares that undo roots: ``abs(z)**2``, ``norm(r)**2``, ``hypot(x, y)**2`` and ``sqrt(s)**2`` are smooth.

By the chain rule their derivatives would be lost where the root is 0: that of ``sqrt(s)**2`` is 0 * inf there, and the
second one of ``abs(z)**2`` that of a kink. So the square is recorded as what it is, the operation on the root's own
operands. The value is NumPy's, the square of the root.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from difftensor._core import Node, Primitive, Tensor, publish
from difftensor._core.blocks import Whole
from difftensor._core.fitting import Fits

SQUARES: dict[Primitive, Callable] = {}  # the primitive of a root -> the node of its square, from the root's node


def undoing_roots(f: Callable) -> Callable:
    """`f`, square or power, for which the square of a root has no kink."""

    def watching(call: Callable) -> Callable:
        @wraps(call)
        def g(x: Any, *exponent: Any, **keywords: Any) -> Any:
            y = call(x, *exponent, **keywords)
            if x.__class__ is Tensor and y.__class__ is Tensor and x.node is not None and y.node is not None:
                if not exponent or (exponent[0].__class__ in _REAL and exponent[0] == 2):
                    _undo(x.node, y)
            return y

        return g

    op = f.primitive  # type: ignore[attr-defined]
    g = watching(f)
    if hasattr(f, "operator"):
        g.operator = watching(f.operator)  # type: ignore[attr-defined]
    op.call = g
    publish(op.name, g, f.__wrapped_numpy__)  # type: ignore[attr-defined]
    return g


_REAL = frozenset((int, float, np.float64, np.int64))


def _undo(n: Node, y: Tensor) -> None:
    m = y.node
    if n.op in SQUARES and m.p is n:  # else y was written to
        square = SQUARES[n.op](n)
        if square is not None:
            square.seq, square.code, square.at = m.seq, m.code, m.at
            y.node = square


def squares(root: Any, square: Callable) -> None:
    """Declare that ``square(n)`` is the node of the square of `root`, whose node is n, or None."""
    SQUARES[root.primitive] = square


def parent_of(square: Callable, root: Any, params: Any = None) -> Node | None:
    """The node of `square` with the operands that the node `root` has saved."""
    f = root.params
    if params is None and f is not None:  # an elementwise root
        if f.__class__ is Whole:
            f = None
        elif f.__class__ is not Fits or f.guards:
            return None
    n = Node()
    n.op = square.primitive  # type: ignore[attr-defined]
    n.p, n.q, n.a, n.b, n.y = root.p, root.q, None, None, None
    if "x" in n.op.saves or "a" in n.op.saves:
        n.a = root.a
    if "b" in n.op.saves:
        n.b = root.b
    n.params = f if params is None else params
    return n


__all__ = ["parent_of", "squares", "undoing_roots"]
