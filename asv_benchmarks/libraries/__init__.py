"""The libraries that are compared.

Each offers a namespace in which the workloads are written (NumPy's names where it has them), and a function
without arguments that computes value and gradient: that is what is timed.  Every library is used as its own
documentation does it: `backward()` in PyTorch and difftensor, `value_and_grad` in autograd,
`jit(value_and_grad)` in JAX, where loops are scans; torch.compile compiles the whole program, or a loop's step.
"""
import numpy as np

from .compiled import Jax, TorchCompile
from .eager import Autograd, ByHand, Difftensor, NumPy, PyTorch

ALL = [NumPy(), ByHand(), Difftensor(), Autograd(), PyTorch(), TorchCompile(), Jax()]
LIBRARIES = {library.name: library for library in ALL}


def numpy_of(value):
    """Any library's array as NumPy's, to compare results."""
    if hasattr(value, "detach"):
        value = value.detach()
    return np.asarray(value.numpy() if hasattr(value, "numpy") else value)
