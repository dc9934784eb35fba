"""Line searches: ``search(ray, first) -> (alpha, point)``, plain functions."""

from .armijo import armijo
from .projected import projected
from .ray import Ray, SearchFailed
from .weak_wolfe import weak_wolfe
from .wolfe import strong_wolfe

__all__ = ["Ray", "SearchFailed", "armijo", "projected", "strong_wolfe", "weak_wolfe"]
