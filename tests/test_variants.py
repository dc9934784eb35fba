"""The calls of tests/numpy_calls.py on other arrays: other dtypes, memory layouts, special values.

Values, dtypes and errors are NumPy's own; the gradient beside constants of small integers is that beside the same
numbers as floats.
"""

import ast
import warnings

import numpy as np
import pytest

import difftensor as dif
from tests.numpy_calls import PLAIN, SAMPLES, SMOOTH

LINES = [line for line in (*SMOOTH.split("\n")[1:-1], *PLAIN.split("\n")[1:-1]) if not line.startswith("empty")]
KNOWN = {  # (beginning of a line, variant): why it differs
    ("polyfit(", "float16"): "NumPy refuses what LAPACK has no routine for",
    ("vectorize(", "uint8"): "NumPy calls the function with Python numbers",
    ("pad(a, 1, 'symmetric', reflect_type='odd')", "bool"): "the sums behind an odd reflection are no booleans",
    ("pad(v, (13, 11)", "bool"): "the sums behind an odd reflection are no booleans",
    ("pad(a, 1, 'symmetric', reflect_type='odd')", "special"): "infinite edges: differences of infinities",
    ("pad(v, (13, 11)", "special"): "infinite edges: differences of infinities",
    ("partition(v, 2)", "special"): "the order inside the parts is free",
    ("interp(c3 * 0.1 + 2, x5, v)", "special"): "the nodes are not sorted",
}


def strided(a):
    wide = np.zeros((2 * a.shape[0], *a.shape[1:]), a.dtype) if a.ndim else a
    wide[::2] = a
    return wide[::2]


def special(a):
    a = a.copy()
    if a.dtype.kind in "fc" and a.size > 3:
        a.reshape(-1)[:4] = np.nan, np.inf, -np.inf, -0.0
    return a


VARIANTS = {
    "fortran": lambda a: np.asfortranarray(a) if a.ndim else a,
    "backwards": lambda a: a[::-1].copy()[::-1] if a.ndim else a,
    "strided": lambda a: strided(a) if a.ndim else a,
    "float32": lambda a: a.astype("c8" if a.dtype.kind == "c" else "f4") if a.dtype.kind in "fc" else a,
    "float16": lambda a: a.astype("f2") if a.dtype.kind == "f" else a,
    "int64": lambda a: np.round(4 * a).astype(int) if a.dtype.kind == "f" and not np.isnan(a).any() else a,
    "int16": lambda a: np.round(4 * a).astype("i2") if a.dtype.kind == "f" and not np.isnan(a).any() else a,
    "uint8": lambda a: np.round(abs(50 * a)).astype("u1") if a.dtype.kind == "f" and not np.isnan(a).any() else a,
    "bool": lambda a: a > 0.3 if a.dtype.kind == "f" and not np.isnan(a).any() else a,
    "complex": lambda a: a * (1 + 0.5j) if a.dtype.kind == "f" else a,
    "special": special,
}


class Names(dict):
    """The samples by name, then the functions of `space`."""

    def __init__(self, space, samples):
        super().__init__(samples)
        self.space = space

    def __missing__(self, name):
        if name != "np" and hasattr(self.space, name):
            return getattr(self.space, name)
        raise KeyError(name)


def called(line, space, samples):
    """What the line returns, as a flat list; or the error."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return flat(eval(line, {"np": np}, Names(space, samples)))  # noqa: S307
        except Exception as error:  # noqa: BLE001 - errors are compared, too
            return error


def flat(y):
    return [v for part in y for v in flat(part)] if isinstance(y, (tuple, list)) else [y]


def differ(found, expected):
    """In what two results differ; empty if they do not."""
    if isinstance(expected, Exception) or isinstance(found, Exception):
        kinds = (TypeError, ValueError, IndexError, ArithmeticError)
        if isinstance(expected, kinds) and isinstance(found, kinds):
            return ""
        return f"{found!r:.200} instead of {expected!r:.200}"
    if len(found) != len(expected):
        return f"{len(found)} results instead of {len(expected)}"
    for y, e in zip(found, expected, strict=True):
        if not isinstance(e, (np.ndarray, np.generic)) or e.dtype.kind not in "biufc":
            continue
        y = np.asarray(y.detach() if isinstance(y, dif.Tensor) else y)
        if (y.dtype, y.shape) != (e.dtype, e.shape):
            return f"{y.dtype} {y.shape} instead of {e.dtype} {e.shape}"
        eps = np.finfo(e.dtype).eps if e.dtype.kind in "fc" else 0
        with np.errstate(all="ignore"):
            size = np.abs(e[np.isfinite(e)]).max(initial=1) if eps else 1
        if not np.allclose(y, e, rtol=256 * eps, atol=256 * eps * size, equal_nan=True):
            return f"{y} instead of {e}"
    return ""


@pytest.mark.parametrize("variant", VARIANTS)
def test_values_dtypes_and_errors_are_numpys(variant):
    samples = {n: VARIANTS[variant](a) for n, a in SAMPLES.items()}
    wrong = {}
    for line in LINES:
        if any(line.startswith(start) for start, name in KNOWN if name == variant):
            continue
        expected = called(line, np, samples)
        for kind, made in {
            "Tensors": {n: dif.asarray(a.copy("K")) for n, a in samples.items()},
            "tracked": {n: dif.tensor(a, requires_grad=a.dtype.kind in "fc") for n, a in samples.items()},
            "ndarrays": samples,
        }.items():
            what = differ(called(line, dif, made), expected)
            if what:
                wrong[f"{line} of {kind}"] = what
    assert not wrong, "\n".join(f"{k}: {v}" for k, v in wrong.items())


def names_in(line):
    return sorted({n.id for n in ast.walk(ast.parse(line)) if isinstance(n, ast.Name)} & SAMPLES.keys())


def gradient(line, name, constants):
    """Of all results of `line` with respect to sample `name`; the error if there is one."""
    x = dif.tensor(SAMPLES[name], requires_grad=True)
    y = called(line, dif, {**constants, name: x})
    if isinstance(y, Exception):
        return y
    ys = [v for v in y if isinstance(v, dif.Tensor) and v.requires_grad]
    if not ys:
        return None
    sum(dif.sum(dif.real(v * np.arange(1.0, v.size + 1).reshape(v.shape))) for v in ys).backward()
    return x.grad


def differ_in_value(line, integers, floats):
    """Does NumPy's own value wrap around?"""
    y, z = called(line, np, integers), called(line, np, floats)
    if isinstance(y, Exception) or isinstance(z, Exception):
        return True
    return not all(np.allclose(a, b, equal_nan=True) for a, b in zip(y, z, strict=True))


@pytest.mark.parametrize("dtype", ["u1", "i1", "?"])
def test_gradients_beside_small_integers_are_those_beside_floats(dtype):
    whole = {}
    for n, a in SAMPLES.items():
        if a.dtype.kind == "f" and not np.isnan(a).any():
            whole[n] = (
                a > 0 if dtype == "?" else np.clip(np.round(90 * a), *((0, 255) if dtype == "u1" else (-127, 127)))
            )
    wrong = {}
    for line in SMOOTH.split("\n")[1:-1]:
        names = names_in(line)
        for name in names:
            others = [n for n in names if n != name and n in whole]
            if SAMPLES[name].dtype != float or not others:
                continue
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                integers = {**SAMPLES, **{n: whole[n].astype(dtype) for n in others}}
                floats = {**SAMPLES, **{n: whole[n].astype(float) for n in others}}
                small, wide = gradient(line, name, integers), gradient(line, name, floats)
                if differ_in_value(line, integers, floats):
                    continue
            if small is None or isinstance(small, Exception) or isinstance(wide, Exception):
                continue
            if not np.allclose(small.numpy(), wide.numpy(), rtol=1e-9, atol=1e-9, equal_nan=True):
                wrong[f"{line} by {name}"] = f"{small} instead of {wide}"
    assert not wrong, "\n".join(f"{k}: {v}" for k, v in wrong.items())
