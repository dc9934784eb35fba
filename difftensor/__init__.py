"""difftensor: scientific computing in Python where every array can be differentiated.

This file is the table of contents: everything public, chapter by chapter, under NumPy's names where NumPy has them. The
packages named in `_CHAPTERS` are imported when they are first used. NumPy's names that are left out on purpose are
listed, with what to use instead, in `_ops/left_out.py`.

>>> import difftensor as dif
>>> float(dif.grad(dif.sin)(0.0))
1.0
"""

# ruff: noqa: I001, F401, A004
# fmt: off

from importlib import import_module as _import_module

import numpy as _numpy

from difftensor._advice import attach as _attach, missing as _missing
from difftensor._ops.left_out import reason as _reason

# What is not about arrays is NumPy's own ------------------------------------------------------------------------------

from numpy import (
    False_, ScalarType, True_, base_repr, binary_repr, bool, bool_, broadcast_shapes, byte, cdouble, character,
    clongdouble, complex128, complex64, complexfloating, csingle, double, dtype, dtypes, e, errstate, euler_gamma,
    exceptions, flexible, float16, float32, float64, floating, format_float_positional, format_float_scientific,
    generic, get_include, get_printoptions, getbufsize, geterr, geterrcall, half, index_exp, inexact, inf, info,
    int16, int32, int64, int8, int_, intc, integer, intp, isdtype, issubdtype, iterable, little_endian, long,
    longdouble, longlong, mintypecode, nan, ndindex, newaxis, number, pi, printoptions, promote_types, s_, sctypeDict,
    set_printoptions, setbufsize, seterr, seterrcall, short, show_config, show_runtime, signedinteger, single,
    typecodes, typename, ubyte, ufunc, uint, uint16, uint32, uint64, uint8, uintc, uintp, ulong, ulonglong,
    unsignedinteger, ushort,
)

# Tensors, and differentiating -----------------------------------------------------------------------------------------

from difftensor import errors, tree
from difftensor._backend import Device, heap as _heap
from difftensor._backend.device import default_device, device
from difftensor._core import Tensor, enable_grad, no_grad
from difftensor._transforms.derived import ggn_vp, hessian, hvp, jacobian
from difftensor._transforms.forward import jvp, linearize
from difftensor._transforms.reverse import grad, value_and_grad, vjp
from difftensor._transforms.vmap import vmap

# NumPy's functions, by the chapters of its reference ------------------------------------------------------------------

from difftensor._ops.elementwise import (
    absolute as abs, absolute, add, angle, round as around, clip, conjugate as conj, conjugate, copysign, divide,
    divmod, fabs, fix, float_power, fmax, fmin, fmod, frexp, imag, ldexp, maximum, minimum, remainder as mod, modf,
    multiply, nan_to_num, negative, positive, power as pow, power, real, real_if_close, reciprocal, remainder, round,
    sign, square, subtract, divide as true_divide,
)
from difftensor._ops.transcendental import (
    arccos as acos, arccosh as acosh, arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, arcsin as asin,
    arcsinh as asinh, arctan as atan, arctan2 as atan2, arctanh as atanh, cbrt, cos, cosh, deg2rad, degrees, exp,
    exp2, expm1, hypot, i0, log, log10, log1p, log2, logaddexp, logaddexp2, rad2deg, radians, sin, sinc, sinh, sqrt,
    tan, tanh,
)
from difftensor._ops.counting import (
    bitwise_and, bitwise_count, invert as bitwise_invert, left_shift as bitwise_left_shift, invert as bitwise_not,
    bitwise_or, right_shift as bitwise_right_shift, bitwise_xor, ceil, equal, floor, floor_divide, gcd, greater,
    greater_equal, heaviside, invert, isfinite, isinf, isnan, lcm, left_shift, less, less_equal, logical_and,
    logical_not, logical_or, logical_xor, nextafter, not_equal, right_shift, rint, signbit, spacing, trunc,
)
from difftensor._ops.reductions import (
    all, any, count_nonzero, prod, sum,
)
from difftensor._ops.moments import (
    mean, std, var,
)
from difftensor._ops.extrema import (
    max as amax, min as amin, argmax, argmin, max, min, nanargmax, nanargmin, ptp,
)
from difftensor._ops.cumulative import (
    cumprod, cumsum, cumulative_prod, cumulative_sum, diff, ediff1d,
)
from difftensor._ops.nan_reductions import (
    nancumprod, nancumsum, nanmax, nanmean, nanmin, nanprod, nanstd, nansum, nanvar,
)
from difftensor._ops.products import (
    cross, dot, inner, kron, matmul_with_keywords as matmul, matvec, outer, tensordot, trace, vdot, vecdot, vecmat,
)
from difftensor._ops.einsum import (
    einsum, einsum_path,
)
from difftensor._ops.sorting import (
    argpartition, argsort, digitize, lexsort, partition, searchsorted, sort, sort_complex,
)
from difftensor._ops.sets import (
    intersect1d, setdiff1d, setxor1d, union1d, unique, unique_all, unique_counts, unique_inverse, unique_values,
)
from difftensor._ops.statistics import (
    average, bincount, corrcoef, cov, histogram, histogram2d, histogram_bin_edges, histogramdd,
)
from difftensor._ops.axes import (
    flip, fliplr, flipud, matrix_transpose, moveaxis, permute_dims, roll, rollaxis, rot90, swapaxes, transpose,
)
from difftensor._ops.broadcasting import (
    broadcast_arrays, broadcast_to,
)
from difftensor._ops.copies import (
    astype, copy,
)
from difftensor._ops.shape import (
    atleast_1d, atleast_2d, atleast_3d, expand_dims, ravel, reshape, resize, squeeze, trim_zeros,
)
from difftensor._ops.joining import (
    append, block, column_stack, concatenate as concat, concatenate, delete, dstack, hstack, insert, repeat,
    row_stack, stack, tile, vstack,
)
from difftensor._ops.splitting import (
    array_split, dsplit, hsplit, split, unstack, vsplit,
)
from difftensor._ops.padding import (
    pad,
)
from difftensor._ops.indexing import (
    choose, compress, extract, piecewise, select, take, take_along_axis, where,
)
from difftensor._ops.putting import (
    copyto, fill_diagonal, place, put, put_along_axis, putmask,
)
from difftensor._ops.diagonals import (
    diag, diagflat, diagonal, tril, triu, vander,
)
from difftensor._ops.creation import (
    array, asanyarray, asarray, asarray_chkfinite, ascontiguousarray, asfortranarray, bartlett, blackman, empty,
    empty_like, eye, from_dlpack, frombuffer, fromfile, fromiter, fromstring, full, full_like, genfromtxt, hamming,
    hanning, identity, kaiser, loadtxt, ones, ones_like, require, tensor, tri, zeros, zeros_like,
)
from difftensor._ops.grids import (
    arange, fromfunction, geomspace, indices, ix_, linspace, logspace, meshgrid,
)
from difftensor._ops.plain import (
    allclose, argwhere, array2string, array_equal, array_equiv, array_repr, array_str, can_cast, common_type,
    diag_indices, diag_indices_from, flatnonzero, isclose, iscomplex, iscomplexobj, isfortran, isin, isneginf,
    isposinf, isreal, isrealobj, isscalar, mask_indices, may_share_memory, min_scalar_type, ndenumerate, ndim,
    nonzero, packbits, ravel_multi_index, result_type, shape, shares_memory, size, tril_indices, tril_indices_from,
    triu_indices, triu_indices_from, unpackbits, unravel_index,
)
from difftensor._ops.dtypes import (
    finfo, iinfo,
)
from difftensor._ops.files import (
    load, save, savetxt, savez, savez_compressed,
)
from difftensor._ops.vectorizing import (
    apply_along_axis, apply_over_axes, vectorize,
)
from difftensor._ops.calculus import (
    gradient, interp, trapezoid, unwrap,
)
from difftensor._ops.convolution import (
    convolve, correlate,
)
from difftensor._ops.polynomials import (
    poly, polyadd, polyder, polydiv, polyfit, polyint, polymul, polysub, polyval, roots,
)
from difftensor._ops.quantiles import (
    median, nanmedian, nanpercentile, nanquantile, percentile, quantile,
)
from difftensor._ops.grids import c_, mgrid, ogrid, r_
from difftensor._ops.vectorizing import emath
from difftensor._ops.diagonals import lib
from difftensor._ops.dtypes import Info as __array_namespace_info__

_attach(Tensor)
ndarray = Tensor  # so that isinstance(x, np.ndarray) goes on working under `import difftensor as np`
__version__ = "0.1.0"
__array_api_version__ = "2025.12"

# Imported when first used ---------------------------------------------------------------------------------------------

_CHAPTERS = (
    "linalg", "fft", "special", "random", "implicit", "batching", "testing", "debug", "viz", "io", "nn", "cuda",
)

# name -> the module that defines it
_ON_DEMAND = {
    "checkpoint": "_transforms.checkpoint", "checkpoint_loop": "_transforms.revolve",
    "checkpointed": "_transforms.replay", "primitive": "_transforms.declare",
    "custom_jvp": "_transforms.custom", "custom_vjp": "_transforms.custom", "from_function": "_transforms.black_box",
    "sparse_hessian": "_transforms.sparse", "sparse_jacobian": "_transforms.sparse", "taylor": "_transforms.taylor",
    "profile": "debug", "tune_memory": "_backend.memory",
}

__all__ = [
    *(_name for _name in dir() if not _name.startswith("_")),
    "__array_api_version__", "__array_namespace_info__", "fft", "linalg", "random", *_ON_DEMAND,
]


def __getattr__(name):
    if name in _ON_DEMAND:
        found = globals()[name] = getattr(_import_module(f"{__name__}.{_ON_DEMAND[name]}"), name)
        return found
    if name in _CHAPTERS:
        return _import_module(f"{__name__}.{name}")
    if name in ("complex256", "float128", "typing"):  # not on every platform; large
        return getattr(_numpy, name)
    text = _reason(name) or f"module {__name__!r} has no attribute {name!r}"
    if name[0] != "_":
        text += _missing(name, tensor=False)
    raise AttributeError(text)


def __dir__():
    return sorted({*__all__, *_CHAPTERS})
