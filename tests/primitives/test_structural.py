"""Primitives of the other kinds: values, derivatives to order 3, dtypes, layouts; over the rows of samples.py."""

import numpy as np
import pytest

import difftensor as dif
from difftensor.testing import check_grads
from tests.primitives.declared import (
    OTHERS,
    of_the_floating,
    ops,
    program,
    raw,
    rows,
    takes_complex,
    with_imaginary_part,
)
from tests.samples import PRIMITIVES, SAMPLES, sample_name


@ops(OTHERS)
def test_value_is_that_of_the_forward_function(op, rng):
    """And NumPy's, where the primitive is itself the implementation of a NumPy function."""
    twin = getattr(op.call, "__wrapped_numpy__", None)
    samples = SAMPLES[sample_name(op)](rng)
    for sample, (f, xs) in zip(samples, rows(op, rng), strict=True):
        xs = tuple(np.asarray(x)[()] for x in sample[0])
        reference = program(op, *sample[1:], call=op.forward if twin is None or sample[1] != () else twin)
        for found, expected in zip(raw(f(*map(dif.tensor, xs))), raw(reference(*xs)), strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@ops(OTHERS)
def test_derivatives_to_order_two(op, rng):
    for f, xs in rows(op, rng):
        check_grads(f, xs, order=2)


@ops(OTHERS)
def test_third_derivatives_of_the_first_sample(op, rng):
    f, xs = next(rows(op, rng))
    check_grads(f, xs, order=3)


@ops([op for op in OTHERS if takes_complex(op)])
def test_complex_operands_of_the_other_kinds(op, rng):
    for f, xs in rows(op, rng):
        zs = tuple(with_imaginary_part(rng, x) for x in xs)
        check_grads(f, zs, order=2)


@ops(OTHERS)
def test_float32_is_kept_by_the_other_kinds(op, rng):
    for f, xs in rows(op, rng):
        xs = tuple(x.astype(np.float32) if x.dtype == np.float64 else x for x in xs)
        g, xs = of_the_floating(f, xs)
        y, pull = dif.vjp(g, *xs)
        for v, expected in zip(raw(y), raw(g(*xs)), strict=True):
            assert v.dtype == expected.dtype
            assert v.dtype in (np.float32, np.complex64) or op.facts.get("promotes")
        for c, x in zip(pull(y), xs, strict=True):
            assert c.dtype == np.float32
            assert c.shape == x.shape


@ops(OTHERS)
def test_memory_layout_of_the_other_kinds_does_not_matter(op, rng):
    """Strided, reversed and Fortran-ordered operands: the values and cotangents of contiguous ones."""

    def strided(x):
        return np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x

    def backward(x):
        return x[::-1].copy()[::-1] if x.ndim else x

    for f, xs in rows(op, rng):
        g, xs = of_the_floating(f, xs)
        expected, pull = dif.vjp(g, *xs)
        w = [rng.standard_normal(np.shape(y)).astype(y.dtype) if y.dtype.kind in "fc" else y for y in expected]
        cotangents = pull(w)
        for layout in (strided, backward, lambda x: np.asarray(x, order="F")):
            y, pull = dif.vjp(g, *map(layout, xs))
            for ours, theirs in zip((*y, *pull(w)), (*expected, *cotangents), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)


@ops([op for op in OTHERS if op.kind == "linear"])
def test_linear_operations_are_linear(op, rng):
    for f, (x,) in rows(op, rng):
        z = rng.standard_normal(x.shape).astype(x.dtype)
        np.testing.assert_allclose(f(2 * x - 3 * z), 2 * f(x) - 3 * f(z), rtol=1e-12, atol=1e-12)


@ops(
    [op for op in PRIMITIVES.values() if op.kind == "nondifferentiable" and isinstance(op.facts.get("plain"), np.ufunc)]
)
def test_counting_operations_leave_no_tape(op, rng):
    ufunc = op.facts["plain"]
    loops = [loop.partition("->")[0] for loop in ufunc.types]
    loop = next((v for v in loops if set(v) <= {"d"}), None) or next(v for v in loops if set(v) <= {"d", "l"})
    xs = [np.array([3, 5, 7]) if letter == "l" else np.array([0.5, -1.5, 2.5]) for letter in loop]
    y = op.call(*(dif.tensor(x, requires_grad=x.dtype.kind == "f") for x in xs))
    assert not y.requires_grad
    np.testing.assert_array_equal(y.numpy(), ufunc(*xs))


# Operations behind a result, which hand its cotangent on in another memory layout.
BEHIND = {
    "Fortran order": lambda y: y.T,
    "strides": lambda y: dif.stack([y, 2.0 * y], axis=-1),
    "broadcast": lambda y: y.sum(axis=0) if y.ndim else y,
}


@ops(OTHERS)
@pytest.mark.parametrize("behind", BEHIND)
def test_memory_layout_of_cotangents_does_not_matter(op, behind, rng):
    for f, xs in rows(op, rng):
        check_grads(lambda *xs, f=f: [BEHIND[behind](y) for y in dif.tree.leaves(f(*xs))], xs, order=2)
