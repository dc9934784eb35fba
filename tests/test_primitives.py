"""One family of tests over the table of primitives: value, vjp, jvp, orders 2 and 3, shapes, dtypes, kinks.

What is special about an operation stands in its declaration: `samples` (intervals of the operands, a number for one
that is held fixed; or a row of samples.py), `real` (real operands only), `complex_only`, `complex_order` (the order to
which derivatives of complex operands are known), `promotes` (float32 does not stay float32), `kinks` (a sentence known
to KINKS below).
"""

import numpy as np
import pytest

import difftensor as dif
from difftensor.testing import check_grads
from tests.samples import PRIMITIVES, SAMPLES, sample_name

ELEMENTWISE = [op for op in PRIMITIVES.values() if op.kind == "elementwise"]
OTHERS = [op for op in PRIMITIVES.values() if sample_name(op) in SAMPLES and op.kind != "elementwise"]


def ops(some):
    return pytest.mark.parametrize("op", some, ids=lambda op: op.name)


def intervals(op):
    given = op.facts.get("samples")
    return given if isinstance(given, list) else [(-2.0, 2.0)] * op.arity


def arity(op):
    """The number of operands that are not held fixed."""
    return sum(isinstance(i, tuple) for i in intervals(op))


TWO = [op for op in ELEMENTWISE if arity(op) == 2]


def all_operands(op, xs):
    free = iter(xs)
    return [next(free) if isinstance(i, tuple) else i for i in intervals(op)]


def function(op, call=None):
    """The operation, or `call`, as a function of the operands that are not held fixed."""
    call = call or op.call
    return call if arity(op) == op.arity else lambda *xs: call(*all_operands(op, xs))


def draw(op, rng, *shapes):
    """Operands inside the intervals of the declaration. Pairs are kept apart, so that extrema do not tie."""
    bounds = [i for i in intervals(op) if isinstance(i, tuple)]
    xs = []
    for i, ((low, high), shape) in enumerate(zip(bounds, shapes, strict=True)):
        u = rng.uniform(0.05, 0.95, shape)
        if len(bounds) == 2 and bounds[0] == bounds[1]:  # a in the even cells of a grid, b in the odd ones
            u = (2 * np.floor(u * 10) + i + 0.25 + 0.5 * u) / 21
        xs.append(np.asarray(low + (high - low) * u)[()])
    return tuple(xs)


def only_complex(op):
    return op.facts.get("samples") == "complex" or op.facts.get("complex_only", False)


def complex_order(op):
    return 0 if op.facts.get("real") else op.facts.get("complex_order", 2)


def takes_complex(op):
    return complex_order(op) > 0


def with_imaginary_part(rng, x, size=0.3):
    return x + 1j * size * rng.standard_normal(np.shape(x)) if getattr(x, "dtype", np.dtype(bool)).kind == "f" else x


def operands_of(op, rng, *shapes):
    xs = draw(op, rng, *shapes)
    return tuple(with_imaginary_part(rng, x) for x in xs) if only_complex(op) else xs


# Elementwise --------------------------------------------------------------------------------------------------------

SHAPES = [(), (3,), (2, 3), (0,), (2, 0)]
PAIRS = [
    ((), ()),
    ((3,), (3,)),
    ((3,), ()),
    ((), (3,)),
    ((1,), (3,)),
    ((2, 1), (3,)),
    ((2, 3), (3,)),
    ((3,), (2, 3)),
    ((0,), (1,)),
    ((0, 1), (3,)),
]


@ops(ELEMENTWISE)
def test_value_is_numpys(op, rng):
    """Also for 0-d arrays, plain arrays, Python numbers; and by way of NumPy's own function."""
    for shapes in [(s,) for s in SHAPES] if arity(op) == 1 else PAIRS:
        xs = operands_of(op, rng, *shapes)
        expected = function(op, op.forward)(*xs)
        ufunc = getattr(op.call, "__wrapped_numpy__", None)
        ts = [dif.tensor(x) for x in xs]
        found = {"Tensors": function(op)(*ts), "plain": function(op)(*xs)}
        if ufunc is not None:
            ufunc = function(op, ufunc)
            expected = ufunc(*xs)
            found["np."] = ufunc(*ts)
            for i in range(len(xs) if len(xs) > 1 else 0):
                found[f"Tensor {i}"] = ufunc(*(ts[:i] + [xs[i]] + ts[i + 1 :]))
        for how, y in found.items():
            assert isinstance(y, dif.Tensor) == (how != "plain")
            raw = y.numpy() if how != "plain" else y
            assert raw.dtype == expected.dtype, how
            np.testing.assert_array_equal(raw, expected, err_msg=how)


@ops(ELEMENTWISE)
def test_derivatives_to_order_two_of_all_shapes(op, rng):
    for shapes in [(s,) for s in SHAPES] if arity(op) == 1 else PAIRS:
        check_grads(function(op), operands_of(op, rng, *shapes), order=2)


@ops(ELEMENTWISE)
@pytest.mark.parametrize("shape", [(), (2,)], ids=["0-d", "1-d"])
def test_third_derivatives(op, shape, rng):
    check_grads(function(op), operands_of(op, rng, *[shape] * arity(op)), order=3)


@ops([op for op in ELEMENTWISE if takes_complex(op)])
@pytest.mark.parametrize("shape", [(), (3,)], ids=["0-d", "1-d"])
def test_complex_operands(op, shape, rng):
    xs = tuple(with_imaginary_part(rng, x) for x in draw(op, rng, *[shape] * arity(op)))
    y = function(op)(*map(dif.tensor, xs))
    np.testing.assert_allclose(
        y.numpy(), function(op, op.forward)(*xs), rtol=1e-15
    )  # scalars and arrays differ in the last digit
    check_grads(function(op), xs, order=complex_order(op))
    if arity(op) == 2:  # a real operand beside a complex one: its cotangent is real
        check_grads(function(op), (xs[0].real, xs[1]), order=2)
        check_grads(function(op), (xs[0], xs[1].real), order=2)


@ops([op for op in ELEMENTWISE if op.facts.get("real")])
def test_real_only_means_that_numpy_refuses_complex_operands(op, rng):
    xs = tuple(with_imaginary_part(rng, x) for x in draw(op, rng, *[(3,)] * arity(op)))
    if op.name in ("maximum", "minimum", "fmax", "fmin"):  # NumPy orders complex numbers lexicographically
        pytest.skip("lexicographic order of complex numbers: no derivative worth the name")
    with pytest.raises(TypeError):
        function(op)(*map(dif.tensor, xs))


def is_analytic(op, xs):
    """Is the derivative along 1j times that along 1? (Cauchy and Riemann)"""
    zs = [with_imaginary_part(np.random.default_rng(0), x) for x in xs]
    h = 1e-6

    def along(step):
        return (
            function(op, op.forward)(*(z + step for z in zs)) - function(op, op.forward)(*(z - step for z in zs))
        ) / (2 * h)

    return np.allclose(along(1j * h), 1j * along(h), rtol=1e-5, atol=1e-7)


ANALYTIC = [  # of NumPy's: SciPy's functions of complex numbers have algorithms of their own, with errors of their own
    op
    for op in ELEMENTWISE
    if hasattr(np, op.name)
    and takes_complex(op)
    and is_analytic(op, draw(op, np.random.default_rng(1), *[(5,)] * arity(op)))
]


@ops(ANALYTIC)
def test_complex_step_to_machine_precision(op, rng):
    """Im f(x + i h v) / h with h = 1e-30 has no cancellation, so the first derivative is checked to the last digits."""
    xs = draw(op, rng, *[(50,)] * arity(op))
    vs = tuple(rng.standard_normal(50) for _ in xs)
    h = 1e-30
    expected = np.imag(function(op, op.forward)(*(x + 1j * h * v for x, v in zip(xs, vs, strict=True)))) / h
    _, tangent = dif.jvp(function(op), xs, vs)
    w = rng.standard_normal(50)
    cotangents = dif.vjp(function(op), *xs)[1](w)
    scale = sum(
        abs(dif.jvp(function(op), xs, tuple(v if i == j else 0 * v for j, v in enumerate(vs)))[1])
        for i in range(len(xs))
    )
    assert (abs(tangent - expected) <= 1e-13 * (scale + 1e-300)).all()
    pulled = sum(c * v for c, v in zip(cotangents, vs, strict=True))
    assert (abs(pulled - w * expected) <= 1e-13 * (abs(w) * scale + 1e-300)).all()


def test_most_ufuncs_are_checked_by_complex_step():
    assert {op.name for op in ANALYTIC} >= {
        "sin",
        "exp",
        "log",
        "sqrt",
        "power",
        "divide",
        "tanh",
        "arctanh",
        "multiply",
        "arccosh",
    }


@ops(ELEMENTWISE)
@pytest.mark.parametrize("shape", [(), (4,)], ids=["0-d", "1-d"])
def test_float32_is_kept(op, shape, rng):
    """In the result, in gradients and tangents, and in derivatives of them; Python scalars are weak."""
    xs = tuple(
        x.astype(np.complex64 if only_complex(op) else np.float32) for x in operands_of(op, rng, *[shape] * arity(op))
    )
    check_grads(function(op), xs, order=2)
    for x in xs:
        assert x.dtype.itemsize == (8 if only_complex(op) else 4)
    if arity(op) == 2:
        a, b = float(xs[0].ravel()[0]), float(xs[1].ravel()[0])
        for f, x in ((lambda a: op.call(a, b), xs[0]), (lambda b: op.call(a, b), xs[1])):
            y, pull = dif.vjp(f, x)
            assert y.dtype == f(x).dtype
            assert y.dtype == np.float32 or not hasattr(np, op.name)  # some of SciPy's loops prefer double precision
            assert pull(y)[0].dtype == np.float32


@ops(TWO)
def test_mixed_precisions_keep_their_own_gradients(op, rng):
    a, b = draw(op, rng, (3,), (3,))
    y, pull = dif.vjp(function(op), a.astype(np.float32), b)
    assert y.dtype == np.float64
    assert [g.dtype for g in pull(y)] == [np.float32, np.float64]


VIEWS = [lambda x: x[::2, ::-2], lambda x: x.T, lambda x: np.broadcast_to(x[0, 0], (2, 3)), lambda x: x[1:, 2]]


@ops(ELEMENTWISE)
def test_non_contiguous_operands(op, rng):
    """Plain arrays with any strides, and views of tracked Tensors."""
    big = operands_of(op, rng, *[(4, 6)] * arity(op))
    for view in (*VIEWS, np.asfortranarray):
        xs = tuple(map(view, big))
        np.testing.assert_allclose(
            function(op)(*map(dif.tensor, xs)).numpy(), function(op, op.forward)(*xs), rtol=1e-15
        )
        check_grads(function(op), xs, order=1)
    for view in VIEWS:
        check_grads(lambda *ys, view=view: function(op)(*map(view, ys)), big, order=1)


@ops(TWO)
def test_scalars_and_plain_arrays_on_either_side(op, rng):
    """Python numbers, NumPy scalars, plain arrays and lists beside a tracked Tensor: the gradient of two Tensors."""
    a, b = draw(op, rng, (3,), ())
    full = dif.vjp(function(op), a, np.full(3, b))[1](np.ones(3))
    for other in (float(b), b, np.asarray(b), np.full(3, b), [float(b)] * 3):
        np.testing.assert_allclose(
            dif.vjp(lambda x, other=other: function(op)(x, other), a)[1](np.ones(3))[0], full[0], rtol=1e-14
        )
    a, b = draw(op, rng, (), (3,))
    full = dif.vjp(function(op), np.full(3, a), b)[1](np.ones(3))
    for other in (float(a), a, np.asarray(a), np.full(3, a), [float(a)] * 3):
        np.testing.assert_allclose(
            dif.vjp(lambda x, other=other: function(op)(other, x), b)[1](np.ones(3))[0], full[1], rtol=1e-14
        )


@ops(TWO)
def test_the_same_operand_twice(op, rng):
    """f(x, x) and f(x, x + 1): contributions add."""
    x, shift = draw(op, rng, (3,), (3,))
    shift = shift - x
    check_grads(lambda x: function(op)(x, x + shift), x, order=2)


# Kinks --------------------------------------------------------------------------------------------------------------


def zero_at_zero(op):
    """Every derivative of the first operand at 0, along any second operand."""
    rest = [np.array([1.5, -0.5, 2.0])[: op.arity] for _ in range(op.arity - 1)]
    x = np.zeros(3)[: op.arity] if op.arity == 2 else np.zeros(3)
    g = dif.vjp(lambda x: op.call(x, *(r[: len(x)] for r in rest)), x)[1](np.ones(len(x)))[0]
    np.testing.assert_array_equal(g, 0)
    t = dif.jvp(lambda x: op.call(x, *(r[: len(x)] for r in rest)), (x,), (np.ones(len(x)),))[1]
    np.testing.assert_array_equal(t, 0)


def zero_at_the_origin(op):
    ga, gb = dif.vjp(op.call, np.zeros(2), np.zeros(2))[1](np.ones(2))
    np.testing.assert_array_equal([ga, gb], 0)
    np.testing.assert_array_equal(dif.jvp(op.call, (np.zeros(2), np.zeros(2)), (np.ones(2), np.ones(2)))[1], 0)


def ties_share(op):
    if op.arity == 2:
        x = np.array([-1.0, 0.0, 3.0])
        ga, gb = dif.vjp(op.call, x, x)[1](np.array([2.0, 4.0, 6.0]))
        np.testing.assert_array_equal(ga, [1, 2, 3])
        np.testing.assert_array_equal(gb, [1, 2, 3])
        np.testing.assert_array_equal(dif.jvp(op.call, (x, x), (np.ones(3), np.zeros(3)))[1], 0.5)
        return
    x = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    y, pull = dif.vjp(lambda x: op.call(x, (-1,), False), x)
    np.testing.assert_allclose(pull(np.array([3.0, 6.0]))[0], [[1, 1, 1], [2, 2, 2]], rtol=1e-15)
    t = np.array([[3.0, 0, 0], [0, 3.0, 3.0]])
    np.testing.assert_allclose(dif.jvp(lambda x: op.call(x, (-1,), False), (x,), (t,))[1], [1, 2], rtol=1e-15)


def jumps_at_multiples(op):
    """The derivative away from the jumps is checked by the samples; at a jump it is that of the branch NumPy took."""
    a, b = np.array([4.0]), np.array([2.0])
    ga, gb = dif.vjp(op.call, a, b)[1](np.ones(1))
    np.testing.assert_array_equal(ga, 1)
    np.testing.assert_array_equal(gb, -np.round((a - op.forward(a, b)) / b))


KINKS = {
    "0 at 0": zero_at_zero,
    "0 at the origin": zero_at_the_origin,
    "ties share evenly": ties_share,
    "multiples of b": jumps_at_multiples,
}


@ops([op for op in PRIMITIVES.values() if "kinks" in op.facts and op.facts["kinks"] in KINKS])
def test_kinks_have_the_promised_value(op):
    KINKS[op.facts["kinks"]](op)


@ops([op for op in ELEMENTWISE if "kinks" in op.facts])
def test_kinks_of_elementwise_operations_are_known(op):
    assert op.facts["kinks"] in KINKS, f"say in KINKS what {op.facts['kinks']!r} promises"


# The other kinds ----------------------------------------------------------------------------------------------------


def rows(op, rng, call=None):
    """(function, operands) of each row of samples; the function calls `call`, by default the operation itself."""
    for operands, params, *around in SAMPLES[sample_name(op)](rng):
        yield program(op, params, *around, call=call or op.call), tuple(np.asarray(x)[()] for x in operands)


def program(op, params, around=None, *, call):
    def f(*xs):
        static = params(*xs) if callable(params) else params
        return call(xs, *static) if op.operands is None else call(*xs, *static)

    return f if around is None else lambda *xs: around(f, *xs)


def of_the_floating(f, xs):
    """`f` as a function of the operands that have derivatives, and those operands."""
    moving = [i for i, x in enumerate(xs) if x.dtype.kind in "fc"]

    def g(*ys):
        filled = list(xs)
        for i, y in zip(moving, ys, strict=True):
            filled[i] = y
        return dif.tree.leaves(f(*filled))

    return g, tuple(xs[i] for i in moving)


def raw(y):
    return [v.detach().numpy() if isinstance(v, dif.Tensor) else v for v in dif.tree.leaves(y)]


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


# Saved values -------------------------------------------------------------------------------------------------------


class Poison:
    """Stands where a saved value was: whoever looks at it fails."""

    def __getattr__(self, attribute):
        raise Poisoned(attribute)

    def _touched(self, *args):
        raise Poisoned

    __add__ = __radd__ = __mul__ = __rmul__ = __sub__ = __rsub__ = __truediv__ = __rtruediv__ = __neg__ = __pow__ = (
        __rpow__
    ) = _touched
    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __abs__ = __getitem__ = __iter__ = __len__ = __matmul__ = (
        __rmatmul__
    ) = _touched
    __invert__ = __array__ = __array_ufunc__ = __array_function__ = __and__ = __or__ = __rand__ = __ror__ = _touched
    __hash__ = object.__hash__


class Poisoned(Exception):
    pass


@ops(ELEMENTWISE)
def test_elementwise_rules_need_all_that_is_saved(op, rng):
    """What is not declared reaches the rule as None and fails at once; what is declared in vain is found here."""
    xs = all_operands(op, operands_of(op, rng, *[(2,)] * arity(op)))
    y = op.forward(*xs)
    g = np.ones_like(y)
    for_a, _, for_b = op.saves.partition("|")
    for letters, rule in ((for_a, op.rule_a), (for_b if "|" in op.saves else for_a, op.rule_b), (for_a, op.push)):
        if rule is None or hasattr(rule, "missing"):
            continue
        place = dict(zip("xy" if op.arity == 1 else "aby", (xs[0], y) if op.arity == 1 else (*xs, y), strict=True))
        for poisoned in letters:
            values = {k: None if k not in letters else Poison() if k == poisoned else v for k, v in place.items()}
            args = (values["y"], values["x"]) if op.arity == 1 else (values["y"], values["a"], values["b"])
            try:
                rule(np, g, *args)
            except Poisoned:
                continue
            pytest.fail(
                f"{op.name} saves {poisoned!r}, which this rule does not read: say so in `saves` and save the memory"
            )


@ops([op for op in OTHERS if op.kind == "general" and op.saves])
def test_general_rules_need_all_that_is_saved(op, rng):
    unread = set(op.saves)
    for operands, params, *around in SAMPLES[sample_name(op)](rng):
        for make in (lambda x: x, lambda x: with_imaginary_part(rng, x)) if takes_complex(op) else (lambda x: x,):
            xs = [make(np.asarray(x)) for x in operands]
            unread -= {
                letter
                for letter in unread
                if reads(
                    op, letter, xs, program(op, params, *around, call=lambda *a: calls.append(op.call(*a)) or calls[-1])
                )
            }
    assert not unread, f"{op.name} saves {unread}, which neither its pull nor its push nor its check reads"


calls = []


def reads(op, letter, xs, f):
    """Does any rule of `op` look at the saved value `letter`?"""
    f(*[dif.tensor(x, requires_grad=x.dtype.kind in "fc") for x in xs])
    y = calls.pop()
    outs = y if op.outputs > 1 else (y,)
    n = next(v.node for v in outs if v.node is not None)
    n = n.p if op.outputs > 1 else n
    g = tuple(np.ones_like(v) for v in raw(outs))
    g = g if op.outputs > 1 else g[0]
    if letter == "y":
        n.y = Poison()
    elif op.operands is None:
        n.a = Poison()
    elif op.operands > 2:
        n.a = tuple(Poison() if k == letter else v for v, k in zip(n.a, "abcdefgh", strict=False))
    else:
        setattr(n, "b" if letter == "b" else "a", Poison())
    ts = tuple(np.ones_like(x) if x.dtype.kind in "fc" else None for x in xs)
    for rule in (
        lambda: op.pull(np, g, n),
        lambda: op.push and op.push(np, ts, n),
        lambda: op.check and op.check(g, n),
    ):
        try:
            rule()
        except Poisoned:
            return True
    return False


def test_only_what_is_declared_stays_alive():
    """exp saves its result, sin its operand, add nothing: the buffers of the others are gone while the tape lives."""
    import weakref

    def alive(f):
        x = dif.tensor(np.ones(3), requires_grad=True)
        middle = f(x)
        operand, result = weakref.ref(middle._data), None
        y = f(middle)
        result = weakref.ref(y._data)
        z = y + 1.0
        del middle, y
        return operand() is not None, result() is not None, z

    class Own(np.ndarray):  # weak references to arrays
        pass

    assert alive(dif.exp)[:2] == (True, True)  # the result of each exp
    assert alive(dif.sin)[:2] == (True, False)  # the operand of the second sin
    assert alive(lambda v: v + 2.0)[:2] == (False, False)
    assert alive(dif.negative)[:2] == (False, False)
    assert alive(lambda v: v * 2.0)[:2] == (False, False)  # the factor is a number: nothing to save


@pytest.mark.parametrize("op", [op for op in ELEMENTWISE if op.rule_twice is not None], ids=str)
@pytest.mark.parametrize("kind", [float, complex])
def test_of_one_tensor_twice(op, kind, rng):
    """x * x has a rule of its own: to order 3, among other uses of x, and where a zero meets an infinity."""
    (x,) = operands_of(op, rng, (3,), (3,))[:1]
    if kind is complex:
        x = x + 1j * rng.standard_normal(3)
    check_grads(lambda v: op.call(v, v), (x,), order=3)
    check_grads(lambda v: v + op.call(v, v) * 3.0 + op.call(v[:2], v[:2]).sum(), (x,), order=2)
    g = dif.grad(lambda v: np.sum(np.where(np.isfinite(v), op.call(v, v), 0.0)))(np.array([np.inf, 2.0]))
    assert g[0] == 0.0
    assert np.isfinite(g[1])
