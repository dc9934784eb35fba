"""vmap against a Python loop: every primitive, nestings, writes, indices, fallbacks; and it really runs batched."""

import numpy as np
import pytest

import difftensor as dif
from difftensor._core import PRIMITIVES
from difftensor.errors import BatchedValueError
from tests.primitives.declared import ELEMENTWISE, all_operands, arity, draw, only_complex
from tests.samples import SAMPLES, sample_name

OTHERS = [op for op in PRIMITIVES.values() if op.kind not in ("elementwise", "freed") and sample_name(op) in SAMPLES]
BATCH = 3


def close(a, b):
    a, b = dif.tree.leaves(a), dif.tree.leaves(b)
    assert len(a) == len(b)
    for u, v in zip(a, b, strict=True):
        u, v = np.asarray(u), np.asarray(v)
        assert u.shape == v.shape
        assert u.dtype == v.dtype
        np.testing.assert_allclose(u, v, rtol=1e-10, atol=1e-10)


def looped(f, in_axes, *args):
    """What vmap must give."""
    rows = [f(*(a if k is None else np.take(a, i, axis=k) for a, k in zip(args, in_axes))) for i in range(BATCH)]
    flat = [dif.tree.flatten(r) for r in rows]
    return dif.tree.unflatten(flat[0][1], [np.stack([np.asarray(v) for v in c]) for c in zip(*(r[0] for r in flat))])


@pytest.mark.parametrize("op", [op for op in ELEMENTWISE if arity(op) and not only_complex(op)], ids=lambda op: op.name)
def test_elementwise(op, rng):
    xs = draw(op, rng, *[(BATCH, 2)] * arity(op))
    f = lambda *args: op.call(*all_operands(op, args))  # noqa: E731
    close(dif.vmap(f)(*xs), looped(f, (0,) * len(xs), *xs))
    if len(xs) == 2:  # an operand that is the same for all, of higher rank
        more = draw(op, rng, (BATCH, 2), (4, 2))
        close(dif.vmap(f, in_axes=(0, None))(*more), looped(f, (0, None), *more))


def _batches(operands, rng):
    """Each operand BATCH times, a little different."""
    out = []
    for x in operands:
        x = np.asarray(x)
        rows = [x * (1 + 0.01 * i) if x.dtype.kind in "fc" else x for i in range(BATCH)]
        out.append(np.stack(rows))
    return out


@pytest.mark.parametrize("op", OTHERS, ids=lambda op: op.name)
def test_other_primitives(op, rng):
    for row in SAMPLES[sample_name(op)](rng)[:2]:
        operands, params = row[0], row[1]
        params = params(*operands) if callable(params) else params
        if any(np.asarray(x).dtype == object for x in operands):
            continue
        around = row[2] if len(row) > 2 else lambda f, *xs: f(*xs)

        def f(*xs, params=params, around=around):
            return around(lambda *ys: op.call(list(ys), *params) if op.operands is None else op.call(*ys, *params), *xs)

        xs = _batches(operands, rng)
        try:
            ours = dif.vmap(f)(*xs)
        except BatchedValueError as error:
            assert "numpy()" in str(error)  # the sample, not the primitive, reads values: a factorization known before
            continue
        close(ours, looped(f, (0,) * len(xs), *xs))
        if len(xs) > 1:
            axes = (0, *(None for _ in xs[1:]))
            rest = tuple(map(np.asarray, operands[1:]))
            close(dif.vmap(f, in_axes=axes)(xs[0], *rest), looped(f, axes, xs[0], *rest))


def pendulum(x):
    """In-place writes, a loop, indexing, a reduction."""
    u = dif.zeros(4)
    u[0] = x[0]
    for i in range(3):
        u[i + 1] = u[i] * x[1] + np.sin(u[i])
    u[1:-1] += 0.5 * u[:2]
    return dif.sum(u * u)


TRANSFORMED = {
    "value": lambda f: f,
    "grad": dif.grad,
    "hessian": dif.hessian,
    "jvp": lambda f: lambda x: dif.jvp(f, (x,), (np.array([0.3, -1.0]),))[1],
    "streaming jvp": lambda f: lambda x: dif.jvp(f, (x,), (np.array([0.3, -1.0]),), stream=True)[1],
    "hvp": lambda f: lambda x: dif.hvp(f)(x, np.array([0.3, -1.0])),
    "grad of grad": lambda f: dif.grad(lambda x: dif.sum(dif.grad(f)(x) ** 2)),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_over_transformations(name, rng):
    f = TRANSFORMED[name](pendulum)
    X = rng.normal(size=(BATCH, 2))
    close(dif.vmap(f)(X), looped(f, (0,), X))


def test_under_grad(rng):
    A, X = rng.normal(size=(3, 3)), rng.normal(size=(BATCH, 3))
    quadratic = lambda A, x: x @ A @ x  # noqa: E731
    g = dif.grad(lambda A: dif.sum(dif.vmap(quadratic, in_axes=(None, 0))(A, X)))(A)
    np.testing.assert_allclose(g, np.einsum("bi,bj->ij", X, X), rtol=1e-12)


def test_gradients_of_what_is_not_batched_are_per_example(rng):
    A, X = rng.normal(size=(3, 3)), rng.normal(size=(BATCH, 3))
    g = dif.vmap(dif.grad(lambda A, x: x @ A @ x), in_axes=(None, 0))(A, X)
    np.testing.assert_allclose(g, X[:, :, None] * X[:, None, :], rtol=1e-12)


def test_nested(rng):
    a, b = rng.normal(size=3), rng.normal(size=4)
    f = lambda x, y: x * y + dif.sin(x)  # noqa: E731
    both = dif.vmap(dif.vmap(f, in_axes=(None, 0)), in_axes=(0, None))(a, b)
    np.testing.assert_allclose(both, a[:, None] * b + np.sin(a)[:, None], rtol=1e-14)
    inner = dif.vmap(lambda x: dif.grad(lambda s: dif.sum(dif.vmap(lambda y: f(s, y))(b)))(x))(a)
    np.testing.assert_allclose(inner, b.sum() + 4 * np.cos(a), rtol=1e-13)


def test_axes_and_pytrees(rng):
    X = rng.normal(size=(2, BATCH))
    f = lambda d, s: {"a": d["x"] * s, "b": (d["x"].sum(), d["y"])}  # noqa: E731
    mapped = dif.vmap(f, in_axes=({"x": 1, "y": None}, None), out_axes={"a": 1, "b": (0, 0)})
    out = mapped({"x": X, "y": np.ones(2)}, 2.0)
    np.testing.assert_allclose(out["a"], 2 * X)
    np.testing.assert_allclose(out["b"][0], X.sum(0))
    np.testing.assert_allclose(out["b"][1], np.ones((BATCH, 2)))


def test_indices_that_differ_between_examples(rng):
    X, i = rng.normal(size=(BATCH, 4)), np.array([2, 0, 3])
    close(dif.vmap(lambda x, i: x[i])(X, i), X[np.arange(BATCH), i])
    close(dif.vmap(lambda x, i: x[i], in_axes=(None, 0))(X[0], i), X[0][i])
    close(dif.vmap(dif.grad(lambda x, i: x[i] ** 2))(X, i), np.eye(4)[i] * 2 * X)

    def written(x, i):
        u = dif.zeros(4)
        u[i] = x[0]
        return u

    close(dif.vmap(written)(X, i), np.eye(4)[i] * X[:, :1])


def test_views_become_batched_together(rng):
    x = rng.normal(size=BATCH)

    def f(v):
        u = dif.zeros((2, 3))
        row = u[1]
        row[1:] += v
        return u, row

    whole, row = dif.vmap(f)(x)
    expected = np.zeros((BATCH, 2, 3))
    expected[:, 1, 1:] = x[:, None]
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(row, expected[:, 1])


def test_control_flow_raises_and_falls_back():
    f = lambda x: x * x if x > 0 else -x  # noqa: E731
    with pytest.raises(BatchedValueError, match="dif.where"):
        dif.vmap(f)(np.array([1.0, -2.0]))
    with pytest.warns(UserWarning, match=r"one by one.*test_vmap\.py"):
        assert dif.vmap(f, fallback="loop")(np.array([3.0, -2.0])).tolist() == [9.0, 2.0]
    with pytest.warns(UserWarning):
        assert dif.vmap(dif.grad(f), fallback="loop")(np.array([3.0, -2.0])).tolist() == [6.0, -1.0]


def test_results_that_do_not_depend_on_the_batch():
    assert dif.vmap(lambda x: 2.0)(np.zeros(3)).tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("axes", "args", "text"),
    [
        ((0, 0), (np.zeros(2), np.zeros(3)), "lengths"),
        ((None,), (np.zeros(2),), "no argument"),
        (1, (np.zeros(2),), "axis 1"),
    ],
)
def test_bad_axes(axes, args, text):
    with pytest.raises(ValueError, match=text):
        dif.vmap(lambda *xs: xs[0], in_axes=axes)(*args)


PROGRAMS = {
    "arithmetic": lambda x: dif.sum(dif.sin(x) * x / (1 + x**2)),
    "products": lambda x: dif.matmul(dif.matmul(np.ones((3, 3)), x), x),
    "writes": lambda x: pendulum(x),
    "shapes": lambda x: dif.concatenate([x.reshape(3, 1), dif.flip(x)[:, None]], axis=1).T.sum(axis=0) ** 2,
    "linalg": lambda x: dif.linalg.solve(np.eye(3) * 2 + dif.outer(x, x), x),
    "where": lambda x: dif.where(x > 0, dif.exp(-x), x).max(),
    "cumulative": lambda x: dif.cumsum(dif.sort(x) ** 2).mean(),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: dif.grad(lambda x: dif.sum(f(x)))], ids=["value", "grad"])
def test_array_calls_do_not_grow_with_the_batch(name, wrap, rng, monkeypatch):
    """The tape is as long for a batch of 64 as for one of 2, and nothing runs example by example."""
    from difftensor._core.tape import tick
    from difftensor._transforms import batch

    def refuse(*args):
        raise AssertionError("example by example")

    monkeypatch.setattr(batch.calls, "_loop", refuse)
    monkeypatch.setattr(batch.Batched, "__dif_loop__", staticmethod(refuse))
    f = wrap(PROGRAMS[name])
    lengths = []
    for size in (2, 64):
        X = rng.normal(size=(size, 3))
        start = tick()
        dif.grad(lambda X: dif.sum(dif.vmap(f)(X)))(X)
        lengths.append(tick() - start)
    assert lengths[0] == lengths[1]


def test_functions_that_read_values_run_example_by_example(rng):
    X = rng.normal(size=(BATCH, 6))
    f = lambda x: dif.median(x) + dif.quantile(x, 0.3)  # noqa: E731
    close(dif.vmap(f)(X), looped(f, (0,), X))
    close(dif.vmap(dif.grad(f))(X), looped(dif.grad(f), (0,), X))


@pytest.mark.parametrize("np_", [np, dif])
def test_questions_about_shape_and_dtype_have_one_answer(np_):
    a = np.ones((3, 2, 4))
    answers = []

    def f(x):
        answers.append((np_.shape(x), np_.ndim(x), np_.size(x), np_.iscomplexobj(x), np_.isrealobj(x)))
        answers.append((np_.result_type(x, np.float32), np_.common_type(x)))
        return x

    dif.vmap(f)(a)
    assert answers == [((2, 4), 2, 8, False, True), (np.float64, np.float64)]


def derivatives_of_examples():
    """(name, transformed) where the directions are swept in batches of their own, inside the batch of examples."""
    f = lambda x: dif.sum(dif.sin(x[::-1] * x) * x**2) + x[0] * dif.linalg.norm(x)  # noqa: E731
    g = dif.grad(f)
    eye = np.eye(12)
    return {
        "hessian": dif.hessian(f),
        "fwd": dif.jacobian(g, mode="fwd"),
        "rev": dif.jacobian(g, mode="rev"),
        "pull": lambda x: dif.vmap(dif.vjp(g, x)[1])(eye)[0],
        "push": lambda x: dif.vmap(lambda e: dif.jvp(g, (x,), (e,))[1])(eye),
        "stream": lambda x: dif.vmap(lambda e: dif.jvp(f, (x,), (e,), stream=True)[1])(eye),
        "twice": dif.jacobian(dif.hessian(lambda x: dif.sum(x**3 * x[0]))),
    }


@pytest.mark.parametrize("name", derivatives_of_examples())
@pytest.mark.parametrize("size", [12, 5, 1])  # as many examples as directions: shapes alone tell no mistake
def test_many_directions_of_many_examples(name, size, rng):
    f = derivatives_of_examples()[name]
    X = rng.normal(size=(size, 12))
    expected = np.stack([f(x) for x in X])
    np.testing.assert_allclose(dif.vmap(f)(X), expected, atol=1e-10)
    nested = dif.vmap(dif.vmap(f))(np.stack([X, 0.5 * X]))
    np.testing.assert_allclose(nested, [expected, [f(0.5 * x) for x in X]], atol=1e-10)
    total = lambda x: dif.sum(f(x) ** 2)  # noqa: E731
    if name in ("hessian", "pull", "rev"):  # and the derivative of that
        np.testing.assert_allclose(dif.vmap(dif.grad(total))(X), [dif.grad(total)(x) for x in X], atol=1e-8)


def test_what_runs_one_by_one_refuses_batched_values_around_it():
    """It would see the whole batch in every example."""

    def ruled(x):
        f = dif.custom_vjp(lambda u: u * x)
        f.defvjp(lambda u: (u * x, None), lambda r, g: (g * x,))
        return f(x)

    X = np.array([[1.0, -2.0], [2.0, 3.0]])
    looped_ = lambda x: dif.checkpoint_loop(lambda u, i: u * x, x, 3)  # noqa: E731
    pieces = lambda x: dif.piecewise(x, [x > 0], [lambda u: u, lambda u: u * x[0]])  # noqa: E731
    for f in (ruled, looped_, pieces):
        with pytest.raises(dif.errors.BatchedValueError, match="surroundings"):
            dif.vmap(f)(X)


def test_a_plain_array_is_indexed_as_a_tensor():
    """The bootstrap: rows of indices into plain data."""
    data, rows = np.array([3.0, 1.0, 2.0]), np.array([[0, 0, 1], [2, 1, 2]])
    with pytest.raises(BatchedValueError, match=r"dif\.asarray\(a\)\[i\]"):
        dif.vmap(lambda i: data[i].mean())(rows)
    with pytest.raises(BatchedValueError, match=r"dif\.asarray\(a\)\[i\]"):
        dif.vmap(lambda i: [3.0, 1.0, 2.0][i])(rows[:, 0])
    np.testing.assert_allclose(dif.vmap(lambda i: dif.asarray(data)[i].mean())(rows), data[rows].mean(axis=1))


def test_the_warning_of_a_loop_names_the_users_line():
    """Also where NumPy's own code stands between."""

    def f(x):
        return np.vectorize(abs)(x)

    with pytest.warns(UserWarning, match=rf'one by one: .*{__file__}", line {f.__code__.co_firstlineno + 1}'):
        dif.vmap(f, fallback="loop")(np.array([[-1.0], [2.0]]))


def test_the_imaginary_part_of_real_numbers():
    x = np.ones((2, 3))
    assert dif.vmap(lambda x: x.imag + x.imag.shape[0])(x).tolist() == [[3.0] * 3] * 2
    for transformed in (lambda f: dif.jvp(f, (x,), (x,), stream=True)[0], lambda f: dif.taylor(f, x, 2)[0]):
        assert transformed(np.imag).tolist() == np.zeros((2, 3)).tolist()


ARRAYS = {
    "atleast_1d": np.atleast_1d,
    "index": lambda s: s[None],
    "reshape": lambda s: s.reshape(1, 1),
    "dots": lambda s: s[...],
    "ravel": np.ravel,
    "pad": lambda s: np.pad(s, 0),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_made_of_numbers_have_memory_of_their_own(name):
    """As arrays made of NumPy scalars have: a write does not reach the sum it was made of."""

    def f(x):
        s = x.sum()
        y = ARRAYS[name](s)
        y[...] = y * s
        y += 1.0
        return s + y.sum()

    xs = np.array([[1.0, 2.0, 3.0], [0.5, 0.0, -1.0]])
    total = xs.sum(axis=1)
    np.testing.assert_allclose(dif.vmap(f)(xs), total + total**2 + 1)
    slopes = np.repeat(1 + 2 * total[:, None], 3, axis=1)
    np.testing.assert_allclose(dif.vmap(dif.grad(f))(xs), slopes)
    np.testing.assert_allclose(dif.grad(lambda xs: dif.vmap(f)(xs).sum())(xs), slopes)
    np.testing.assert_allclose(dif.vmap(lambda x: dif.jvp(f, (x,), (x,), stream=True)[1])(xs), (slopes * xs).sum(1))


def swapped(x):
    t = x[0]
    x[0] = x[-1]
    x[-1] = t
    return x


def iterated(x):
    first, second, third = x
    x *= x
    x[1] += first * third
    return x * second


def rotated(x):
    a = x.reshape(1, 3)
    corner = a[0, 2]
    a[:, 1:] = a[:, :-1]
    a[0, 0] = corner
    return x


@pytest.mark.parametrize("f", [swapped, iterated, rotated])
def test_elements_keep_their_values_when_the_array_is_written_to(f):
    """NumPy's elements are numbers, not views."""
    xs, v = np.array([[1.0, 2.0, 3.0], [0.5, 0.25, -1.0]]), np.array([[0.3, -1.0, 2.0], [1.0, 0.7, -0.2]])
    own = lambda x: f(x * 1.0)  # noqa: E731
    loss = lambda x: (own(x) ** 2 * [1, 2, 3]).sum()  # noqa: E731
    slopes = [dif.grad(loss)(x) for x in xs]
    np.testing.assert_allclose(dif.vmap(own)(xs), [own(x) for x in xs])
    np.testing.assert_allclose(dif.vmap(dif.grad(loss))(xs), slopes)
    np.testing.assert_allclose(dif.grad(lambda xs: dif.vmap(loss)(xs).sum())(xs), slopes)
    np.testing.assert_allclose(dif.vmap(dif.vmap(own))(xs[None])[0], [own(x) for x in xs])
    for stream in (False, True):
        t = dif.jvp(dif.vmap(loss), (xs,), (v,), stream=stream)[1]
        np.testing.assert_allclose(t, (slopes * v).sum(axis=1))
        t = dif.vmap(lambda x, v, s=stream: dif.jvp(loss, (x,), (v,), stream=s)[1])(xs, v)
        np.testing.assert_allclose(t, (slopes * v).sum(axis=1))
    np.testing.assert_allclose(dif.taylor(dif.vmap(loss), xs, 1, v)[1], (slopes * v).sum(axis=1))
