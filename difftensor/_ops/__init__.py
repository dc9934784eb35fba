"""The operations, one file per chapter of NumPy's reference; each declared once.

Imported here in the order in which they stand on each other.
"""

# ruff: noqa: I001
from difftensor._ops import counting, elementwise, transcendental
from difftensor._ops import reductions, moments, extrema, axes, broadcasting, copies, shape, indexing
from difftensor._ops import joining, splitting, padding, diagonals, creation, grids, plain, dtypes, files, vectorizing
from difftensor._ops import products, einsum, cumulative, nan_reductions, sorting, sets
from difftensor._ops import quantiles, statistics, convolution, calculus, polynomials
from difftensor._ops import ufunc_methods, methods
