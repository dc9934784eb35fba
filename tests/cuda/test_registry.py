"""Every primitive on the device: value, vjp, jvp and second derivatives agree with the CPU's."""

from contextlib import nullcontext

import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import BatchedValueError, DeviceError
from tests.cuda.agreement import assert_agree, assert_derivatives_agree, send
from tests.primitives.declared import ELEMENTWISE, OTHERS, arity, function, operands_of, ops, program
from tests.samples import SAMPLES, sample_name

pytestmark = pytest.mark.usefixtures("device")


# What CuPy 14 lacks and no array code of ours replaces: it raises with its name.
LACKING = frozenset(
    "special.jv special.yv special.iv special.kv special.ive special.kve special.hankel1 special.hankel2 special.erfi "
    "special.dawsn special.fresnel special.airy linalg.solve_sylvester linalg.sqrtm linalg.logm".split()
)


def called(op):
    """What is compared: CuPy's `eig` makes complex numbers of all eigenvalues."""
    return (lambda *args: tuple(y + 0j for y in op.call(*args))) if op.name == "linalg._eig" else op.call


def there(op):
    return pytest.raises(DeviceError, match="not available on a GPU") if op.name in LACKING else nullcontext()


@ops(ELEMENTWISE)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_elementwise(op, dtype, device, rng):
    for shapes in [((3,),), ((),), ((2, 3),)] if arity(op) == 1 else [((3,), (3,)), ((), (3,)), ((2, 1), (3,))]:
        xs = tuple(np.asarray(x) for x in operands_of(op, rng, *shapes))
        if dtype == "float32":
            xs = tuple(x.astype(np.float32) if x.dtype == np.float64 else x for x in xs)
        f = function(op)
        with there(op):
            assert_agree(f(*(send(x, device) for x in xs)), f(*map(dif.tensor, xs)), device, op.name)
            assert_derivatives_agree(f, xs, device, order=2 if dtype == "float64" else 1)


def rows(op, rng):
    for operands, params, *around in SAMPLES[sample_name(op)](rng):
        yield tuple(np.asarray(x) for x in operands), params, around


@ops([op for op in OTHERS if op.name != "to_device"])
def test_other_kinds(op, device, rng):
    for xs, params, around in rows(op, rng):

        def f(*ys, params=params, around=around):
            static = params(*ys) if callable(params) else params
            static = tuple(_placed(p, ys) for p in static)
            return program(op, static, *around, call=called(op))(*ys)

        with there(op):
            assert_agree(f(*(send(x, device) for x in xs)), f(*map(dif.tensor, xs)), device, op.name)
            assert_derivatives_agree(f, xs, device)


def _placed(p, xs):
    """A static parameter whose arrays are where the operands are."""
    if isinstance(p, tuple):
        return tuple(_placed(v, xs) for v in p)
    if isinstance(p, np.ndarray):
        return dif.asarray(p, device=next(x.device for x in xs if isinstance(x, dif.Tensor)))._data
    return p


@ops([op for op in (*ELEMENTWISE, *OTHERS) if op.name not in LACKING | {"to_device"}])
def test_batched(op, device, rng):
    """Inside vmap, and the derivative there."""
    if op.kind == "elementwise":
        cases = [(tuple(np.asarray(x) for x in operands_of(op, rng, *[(3,)] * arity(op))), function(op))]
    else:
        cases = []
        for xs, params, around in rows(op, rng):

            def f(*ys, params=params, around=around):
                static = params(*ys) if callable(params) else params
                return program(op, tuple(_placed(p, ys) for p in static), *around, call=called(op))(*ys)

            cases.append((xs, f))
    for xs, f in cases:
        axes = tuple(0 if x.dtype.kind in "fc" else None for x in xs)
        stacks = [np.stack([x, x[::-1] if x.ndim == 1 else x]) if a == 0 else x for x, a in zip(xs, axes, strict=True)]
        g = dif.vmap(lambda *ys, f=f: [y for y in dif.tree.leaves(f(*ys)) if isinstance(y, dif.Tensor)], in_axes=axes)
        try:
            here = g(*map(dif.tensor, stacks))
        except (BatchedValueError, TypeError, ValueError):  # what cannot be batched here cannot be there
            continue
        assert_agree(g(*(send(x, device) for x in stacks)), here, device, op.name)
