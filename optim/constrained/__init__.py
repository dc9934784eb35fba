"""General equality and inequality constraints."""

from .problem import ConstrainedProblem
from .sqp import SQP

__all__ = ["SQP", "ConstrainedProblem"]
