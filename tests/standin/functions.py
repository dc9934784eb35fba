"""Functions and methods of NumPy's, called as those of CuPy may be called."""

from __future__ import annotations

import functools
import inspect

import numpy as np

from tests.standin.array import FACTS, device, host, ndarray
from tests.standin.kernels import Variable
from tests.standin.launching import capturing, current, launch, launches, refuse_libraries, refuse_while_capturing

SEQUENCES = frozenset(  # functions whose first argument is a sequence of arrays
    "concatenate stack hstack vstack dstack column_stack row_stack concat block broadcast_arrays meshgrid ix_ select "
    "choose einsum einsum_path unravel_index ravel_multi_index broadcast_shapes result_type lu_solve".split()
)
ANYTHING = frozenset(  # functions that make arrays of whatever they are given, or look at shapes and dtypes only
    "array asarray asanyarray indices ascontiguousarray asfortranarray full zeros ones empty arange linspace logspace "
    "tri eye identity isscalar result_type can_cast promote_types common_type shape ndim size min_scalar_type "
    "iscomplexobj isrealobj full_like asnumpy from_dlpack fftfreq rfftfreq".split()
)
BY_NAME = frozenset("argmax argmin argsort max min sort all any sum prod mean std var ptp cumsum cumprod".split())
WAITS = frozenset(  # the shape of the result, or a number on the host, depends on values
    "nonzero flatnonzero argwhere unique unique_values unique_counts unique_inverse unique_all bincount histogram "
    "compress extract trim_zeros roots setdiff1d union1d intersect1d setxor1d".split()
)  # not sorts: Thrust's policy is par_nosync since CuPy 14 (cupy/cuda/cupy_thrust.cu)
JOINED = frozenset("concatenate stack hstack vstack dstack column_stack concat".split())  # of arrays, never of numbers
TAKE_LISTS = frozenset(  # as a further argument
    "percentile quantile nanpercentile nanquantile histogram histogram2d histogramdd histogram_bin_edges pad".split()
)
UNNAMED = frozenset("eig eigh svd slogdet".split())  # whose results are plain tuples
NUMBERS = frozenset("allclose array_equal array_equiv count_nonzero matrix_rank vdot".split())  # 0-d arrays in CuPy


class RefusedArgument(TypeError):
    """CuPy does not take this argument."""


def signature(rows):
    if rows is None:
        return None
    kinds = list(inspect._ParameterKind)
    return inspect.Signature([
        inspect.Parameter(n, kinds[k], default=None if d else inspect.Parameter.empty) for n, k, d in rows
    ])  # fmt: skip


def checked(name, rows):
    """``bind(args, kwargs)``, which refuses what CuPy refuses and returns the arguments by the names CuPy has."""
    known = signature(rows)

    def bind(args, kwargs):
        if known is None:
            return None
        try:
            return known.bind(*args, **kwargs)
        except TypeError as error:
            raise RefusedArgument(f"cupy: {name}(): {error}") from None

    return bind


def _named(twin):
    try:
        return inspect.signature(twin).parameters
    except (TypeError, ValueError):
        return {}


def function(name, twin, rows):
    """`twin` on the host's memory, called as CuPy's function of that name may be called."""
    bind, known = checked(name, rows), _named(twin)

    @functools.wraps(twin, assigned=("__name__", "__doc__"), updated=())
    def f(*args, **kwargs):
        if any(isinstance(a, Variable) for a in args):
            raise TypeError(f"cupy.{name} cannot be fused")
        if name in WAITS:
            refuse_while_capturing("synchronous API calls")
        bound = bind(args, kwargs)
        first = args[0] if args else None
        if name not in SEQUENCES | ANYTHING and isinstance(first, (list, tuple)):
            raise TypeError(f"cupy: {name}() takes an array, found {type(first).__name__}")
        if name in JOINED and not all(isinstance(a, ndarray) for a in first):
            raise TypeError("Only cupy arrays can be concatenated")
        if name not in SEQUENCES | ANYTHING | TAKE_LISTS:
            for a in args[1:3]:
                if a.__class__ is list and any(isinstance(v, (float, np.floating)) for v in a):
                    raise AttributeError("'list' object has no attribute 'shape'")
        refuse_libraries(name, first)
        if name in ("sort", "argsort") and bound.arguments.get("kind") not in (None, "stable"):
            raise ValueError("kind can only be None or 'stable'")
        out = kwargs.get("out")
        if (
            bound is not None
            and known
            and not any(p.kind is p.VAR_POSITIONAL for p in bound.signature.parameters.values())
        ):
            positional, keywords, theirs = [], {}, list(known.values())
            for i, (parameter, value) in enumerate(bound.arguments.items()):
                twin_at = theirs[i] if i < len(theirs) else None
                if bound.signature.parameters[parameter].kind is inspect.Parameter.VAR_KEYWORD:
                    keywords.update(value)
                elif (
                    len(positional) == i
                    and twin_at is not None
                    and twin_at.kind in (0, 1)
                    and (twin_at.name == parameter or parameter not in known)
                ):
                    positional.append(value)
                else:
                    keywords[parameter] = value
            args, kwargs = positional, keywords
            out = kwargs.get("out")
        xs, named = [host(a) for a in args], {k: host(v) for k, v in kwargs.items()}
        try:
            y = ran(lambda: twin(*xs, **named), [*args, *kwargs.values()], out)
        except np.linalg.LinAlgError:
            if getattr(current, "linalg", "ignore") == "raise":
                raise np.linalg.LinAlgError(f"Error reported by {name} in cuSOLVER. devInfo = 1.") from None
            y = np.full(host(args[0]).shape, np.nan)  # whatever is in memory
        if out is not None:
            return out
        if name in UNNAMED and isinstance(y, tuple):
            y = tuple(y)
        if name in ("eig", "eigvals"):  # always complex
            y = tuple(v + 0j for v in y) if name == "eig" else y + 0j
        if name in NUMBERS and isinstance(y, (bool, int)):
            y = np.asarray(y)
        return device(y, *args, *(kwargs.values()))

    return f


def ran(compute, sources, out=None):
    """What NumPy's function returns: a view of one of the `sources`, or the result of a kernel."""
    if out is not None:
        return launch(compute, into=host(out))
    if capturing() is None:  # a copy of a function that looks for views costs a second run
        y = compute()
        launches.count += not _is_view(y, sources) and bool(getattr(y, "size", 1))
        return y
    y = compute()
    return y if _is_view(y, sources) else launch(compute)


def _is_view(y, sources):
    if isinstance(y, (tuple, list)):
        return all(_is_view(v, sources) for v in y)
    if not isinstance(y, (np.ndarray, np.generic)):
        return True  # a number, a dtype: nothing that a kernel computes
    return any(isinstance(x, ndarray) and (y is x._a or np.may_share_memory(x._a, y)) for x in sources)


def attach_methods():
    for name, row in FACTS["cupy.ndarray"].items():
        twin = getattr(np.ndarray, name, None)
        if name in vars(ndarray) or name.startswith("_") or twin is None or "parameters" not in row:
            continue
        setattr(ndarray, name, method(name, row["parameters"]))


def method(name, rows):
    bind = checked(f"ndarray.{name}", rows)

    def f(x, *args, **kwargs):
        bind((x, *args), kwargs)
        if name == "nonzero" and not x.ndim:
            raise ValueError("Calling nonzero on 0d arrays is not allowed.")
        if name == "astype" and (kwargs.get("casting") is not None or kwargs.get("subok") is not None):
            raise RefusedArgument("casting is not supported yet")
        if name in ("sort", "argsort") and kwargs.get("kind") not in (None, "stable"):
            raise ValueError("kind can only be None or 'stable'")
        if name in BY_NAME:  # in CuPy's order
            order = [n for n, *_ in rows][1:]
            kwargs = {**dict(zip(order, args)), **kwargs}
            args = ()
            if name in ("argmax", "argmin"):
                kwargs.pop("dtype", None)
        out = kwargs.get("out")
        a, rest, named = host(x), [host(v) for v in args], {k: host(v) for k, v in kwargs.items()}
        if name in WAITS:
            refuse_while_capturing("synchronous API calls")
        into = x if name in ("fill", "sort", "partition", "put") else out
        y = ran(lambda: getattr(np.ndarray, name)(a, *rest, **named), [x, *args], into)
        if into is not None:
            return out
        return x if y is x._a else device(y, x)

    f.__name__ = name
    return f
