"""Solvers inside `difftensor.vmap`: the problems of all examples, solved together."""

from .examples import Examples, of_examples
from .fixed_point import fixed_point
from .least_squares import least_squares
from .minimize import default, minimize
from .residuals import Residuals
from .root import Equations, root
from .root_scalar import root_scalar

__all__ = [
    "Equations", "Examples", "Residuals", "default", "fixed_point", "least_squares", "minimize", "of_examples", "root",
    "root_scalar",
]  # fmt: skip
