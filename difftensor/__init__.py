"""difftensor: scientific computing in Python where every array can be differentiated.

>>> import difftensor as dif
>>> float(dif.grad(dif.sin)(0.0))
1.0
"""

from difftensor import errors, tree
from difftensor._core import X as _X
from difftensor._core import Tensor, enable_grad, no_grad
from difftensor._ops import counting, creation, elementwise, indexing, joining, methods, products, reductions, shape
from difftensor._ops import cumulative, einsum
from difftensor._transforms.derived import hessian, hvp, jacobian
from difftensor._transforms.forward import jvp, linearize
from difftensor._transforms.reverse import grad, value_and_grad, vjp
from difftensor._transforms import reverse as _reverse

Tensor.backward, Tensor.register_hook = _reverse.backward, _reverse.register_hook
globals().update({k: v for k, v in vars(_X).items()})
