"""The methods of `optim.minimize`, one algorithm per file, and the table of what they can do."""

from ..constrained.sqp import SQP
from ..rules import KERNELS
from .bfgs import BFGS
from .first_order import FirstOrder
from .lbfgs import LBFGS
from .nelder_mead import NelderMead
from .newton_cg import NewtonCG
from .nonlinear_cg import NonlinearCG
from .trust_region import Dogleg, TrustExact, TrustKrylov, TrustNCG

TABLE = {
    method.name: method
    for method in (BFGS, LBFGS, NonlinearCG, NewtonCG, TrustExact, TrustNCG, TrustKrylov, Dogleg, NelderMead, SQP)
}
RULES = tuple(KERNELS)
