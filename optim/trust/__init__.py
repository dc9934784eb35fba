"""Trust-region subproblems: ``solve(model, radius) -> step, boundary``, plain functions."""

from .dogleg import dogleg
from .exact import exact
from .lanczos import lanczos
from .model import Quadratic
from .secular import boundary_multiplier
from .steihaug import steihaug

__all__ = ["Quadratic", "boundary_multiplier", "dogleg", "exact", "lanczos", "steihaug"]
