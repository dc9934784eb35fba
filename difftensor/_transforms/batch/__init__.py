"""vmap: a Tensor subclass with a physical array and a level, handled where operations meet unusual operands.

A `Batched` Tensor shows its logical shape; behind it stands a Tensor with the batch axis in front. Operations send it
here (``__dif_dispatch__``), the highest level goes first, and the operation's batch rule calls the same operation on
the physical Tensors. The tape sees physical operations only, so derivatives need no rule of their own.

tensor   Batched, levels, what is common to all that follows
indices  the index of the physical array
calls    operations: batch rules, example by example
writes   in-place writes
"""

# calls and writes complete the class
from difftensor._transforms.batch import calls, writes
from difftensor._transforms.batch.indices import laid_out_like
from difftensor._transforms.batch.tensor import (
    Batched,
    Physical,
    apart,
    batched,
    behind,
    example_by_example,
    expand,
    innermost,
    is_scalar,
    level_of,
    levels,
    like,
)

__all__ = [
    "Batched",
    "Physical",
    "apart",
    "batched",
    "behind",
    "calls",
    "example_by_example",
    "expand",
    "innermost",
    "is_scalar",
    "laid_out_like",
    "level_of",
    "levels",
    "like",
    "writes",
]
