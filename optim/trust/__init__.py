"""Trust-region subproblems: ``solve(model, radius) -> step``, plain functions."""

from .secular import boundary_multiplier

__all__ = ["boundary_multiplier"]
