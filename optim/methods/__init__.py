"""The methods of `optim.minimize`, one algorithm per file, and the table of what they can do."""

from .bfgs import BFGS
from .lbfgs import LBFGS

TABLE = {method.name: method for method in (BFGS, LBFGS)}
