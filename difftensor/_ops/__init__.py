"""The operations, one file per chapter of NumPy's reference; each declared once.

Imported here in the order in which they stand on each other.
"""

# ruff: noqa: I001
from difftensor._ops import elementwise, counting
from difftensor._ops import reductions, shape, indexing
from difftensor._ops import joining, creation, products
from difftensor._ops import methods
