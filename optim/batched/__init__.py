"""Methods for many problems of one kind at once: rows of arrays, each with steps and an end of its own.

A method is a function ``method(problem, gtol, most, **settings) -> Ends``. The problem has ``x0`` of shape (B, n) and
gives ``values``, ``gradients`` and ``hessians`` of some rows, as arrays on the host, wherever its data are; its
``watch`` is told after every step.
"""

from .anderson import anderson
from .ends import Ends, words
from .first_order import first_order
from .levenberg_marquardt import levenberg_marquardt
from .newton import newton
from .quasi_newton import bfgs
from .rows import packed, tied
from .trust_exact import trust_exact
from .watch import Watch

SMALL = 100  # variables up to which Hessians are affordable

__all__ = [
    "SMALL", "Ends", "Watch", "anderson", "bfgs", "first_order", "levenberg_marquardt", "newton", "packed", "tied",
    "trust_exact", "words",
]  # fmt: skip
