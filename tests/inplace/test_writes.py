"""Writes in place, one rule at a time. The programs in test_programs.py find what nobody thought of."""

import gc

import numpy as np
import pytest

import difftensor as dif
from difftensor._core.tape import Leaf
from difftensor.errors import InPlaceError, MutatedConstantError


def numeric(f, x, h=1e-6):
    """Central differences of a real function."""
    g = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        e = np.zeros(x.shape)
        e[i] = h
        g[i] = (f(x + e) - f(x - e)) / (2 * h)
    return g


def nodes(t):
    """Names of the operations on the tape of `t`, oldest first."""
    from difftensor._core.sweeping import trace

    return [n.op.name for n in trace([t.node])[0]]


X = np.arange(1.0, 7.0).reshape(2, 3)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_flat_view_of_either_memory_order(order):
    """Whether x.ravel() is a view depends on the memory order, which copies and cotangents must keep."""

    def f(x):
        b = (x if order == "C" else x.T.copy().T) * 1.0
        v = b.ravel() if order == "C" else b.T.ravel()
        s = (b * b).sum()  # saves b: the write copies
        v[1] = 3 * x[0, 0]
        A = np.arange(6.0).reshape(3, 2)
        return s + (b.T * A).sum() + (b.T * A * 2).sum()

    assert np.allclose(dif.grad(f)(X), numeric(f, X), atol=1e-6)


def test_augmented_operators_keep_the_memory_order():
    def f(x):
        b = x.T * 1.0  # Fortran order
        b += x.T.copy()  # C order
        v = b.T.ravel()  # a view, in NumPy and here
        v *= 2
        return (b * b).sum()

    assert np.allclose(dif.grad(f)(X), numeric(f, X), rtol=1e-7)


def test_ravel_of_a_strided_view_is_a_copy_as_in_numpy():
    x, y = dif.zeros(6), np.zeros(6)
    for a in (x, y):
        a[::2].ravel()[...] = 1
        a[::2].reshape(-1)[...] += 2
    assert x.tolist() == y.tolist() == [2, 0, 2, 0, 2, 0]


def test_zero_dimensional_arrays_mutate_and_scalars_are_rebound():
    def f(x):
        c = dif.zeros(())
        d = c[...]
        c[...] = x[0] * x[1]
        c *= 2
        s = x.sum()
        t = s
        s += c  # a NumPy scalar: a new object
        return s * d + t

    def g(x):
        c = np.zeros(())
        d = c[...]
        c[...] = x[0] * x[1]
        c *= 2
        s = x.sum()
        t = s
        s += c
        return s * d + t

    x = np.array([0.3, 0.7])
    assert dif.value_and_grad(f)(x)[0] == g(x)
    assert np.allclose(dif.grad(f)(x), numeric(g, x), rtol=1e-8)
    with pytest.raises(TypeError, match="scalar"):
        dif.tensor([1.0, 2.0]).sum()[...] = 3


def test_the_last_of_repeated_values_gets_the_gradient():
    def f(v):
        x = dif.zeros(3)
        x[[1, 1, 2, 1]] = v
        return (x * np.array([5.0, 7.0, 11.0])).sum()

    assert dif.grad(f)(np.ones(4)).tolist() == [0, 0, 11, 7]
    assert dif.jvp(f, (np.ones(4),), (np.array([100.0, 10.0, 1.0, 0.1]),))[1] == pytest.approx(11.7)


def test_a_value_that_overlaps_its_target():
    """The value is read before anything is written, through masks and index arrays too (NumPy leaves that open)."""

    def f(x):
        u = x * 1.0
        u[np.array([True, True, True, False, False])] = u[::-2]
        u[1:] = u[:-1]
        u[[0, 1, 2]] = u[2::-1]
        return (u * np.array([1.0, 10.0, 100.0, 1000.0, 10000.0])).sum()

    x = np.arange(1.0, 6.0)
    assert dif.value_and_grad(f)(x)[0] == 3 + 50 + 500 + 1000 + 40000
    assert dif.grad(f)(x).tolist() == [1000, 0, 1, 10000, 110]


def test_casts_into_the_target():
    def f(x):
        y = dif.zeros(2, dtype=np.float32)
        y[...] = x
        z = dif.zeros(2, dtype=complex)
        z.imag[...] = y
        z[0] += x[1]
        return (z.real * z.imag).sum() * 3

    g = dif.grad(f)(np.array([0.5, 0.25]))
    assert g.dtype == np.float64
    assert g.tolist() == [0.75, 1.5]


def test_integers_cannot_hold_a_tracked_value():
    def f(x):
        n = dif.zeros(3, dtype=int)
        n[0] = x
        return n.sum()

    with pytest.raises(InPlaceError, match="floating"):
        dif.grad(f)(1.0)
    with pytest.raises(TypeError, match="same_kind"):
        dif.arange(3).__iadd__(0.5)


def test_read_only_views_say_so():
    x = dif.zeros(3)
    for v in (np.broadcast_to(x, (2, 3)), np.lib.stride_tricks.sliding_window_view(x, 2)):
        with pytest.raises(ValueError, match="read-only"):
            v[0] = 1
    with pytest.raises((ValueError, TypeError)):
        x.imag[...] = 1


def test_repeating_views_see_later_writes():
    def f(x):
        b = x * 1.0
        wide, windows = np.broadcast_to(b, (2, 3)), np.lib.stride_tricks.sliding_window_view(b, 2)
        b[1] = x[0] ** 2
        return (wide * np.arange(6.0).reshape(2, 3)).sum() + (windows**2 * np.array([[2.0, 3.0], [5.0, 7.0]])).sum()

    x = np.array([0.5, 0.7, 0.9])
    assert np.allclose(dif.grad(f)(x), numeric(f, x), rtol=1e-7)
    assert np.allclose(dif.jvp(f, (x,), (x,))[1], numeric(f, x) @ x, rtol=1e-7)


def test_an_augmented_item_is_written_once():
    x = dif.tensor(np.ones((4, 3)), requires_grad=True)
    u = x * 1.0
    u[1:-1] += 2.0 * x[:2]
    assert nodes(u).count("write") == 1


def test_rows_from_rows():
    """u[i+1] = u[i] + h f(u[i]), the loop that PyTorch refuses."""

    def f(u0):
        u = dif.zeros((20, 2))
        u[0] = u0
        for i in range(19):
            u[i + 1] = u[i] + 0.1 * np.sin(u[i][::-1])
        return (u[-1] * np.array([1.0, 2.0])).sum()

    def g(u0):
        u = np.zeros((20, 2), complex)
        u[0] = u0
        for i in range(19):
            u[i + 1] = u[i] + 0.1 * np.sin(u[i][::-1])
        return (u[-1] * np.array([1.0, 2.0])).sum()

    x, v = np.array([0.3, 1.1]), np.array([0.7, -0.2])
    exact = [g(x + 1e-30j * e).imag / 1e-30 for e in np.eye(2)]
    assert np.allclose(dif.grad(f)(x), exact, rtol=1e-13)
    assert np.allclose(dif.jvp(f, (x,), (v,))[1], np.dot(exact, v), rtol=1e-13)
    assert np.allclose(dif.hessian(f)(x), dif.hessian(f)(x).T, rtol=1e-12)


def test_forward_mode_writes_into_its_own_tangent():
    """The tangent of an array filled in a loop is one buffer, not one for each step."""
    from difftensor._core.writes import WRITE

    buffers = set()
    push = WRITE.push

    def watched(xp, ts, n, owned=False):
        t = push(xp, ts, n, owned)
        buffers.add(id(t) if isinstance(t, np.ndarray) else None)
        kept.append(t)
        return t

    kept = []

    def f(x):
        u = dif.zeros(50)
        u[0] = x
        for i in range(49):
            u[i + 1] = np.sin(u[i]) + u[i] * u[i // 2]
        return u.sum()

    WRITE.push = watched
    try:
        dy = dif.jvp(f, (0.4,), (1.0,))[1]
    finally:
        WRITE.push = push
    assert len(kept) == 50 and len(buffers) == 1
    assert np.isclose(dy, dif.grad(f)(0.4), rtol=1e-13)


def test_old_readers_of_a_tangent_keep_it():
    """A value read before the write and used after it must not see the write's tangent."""

    def f(x):
        u = dif.zeros(3)
        u[...] = x
        old = u[:2]
        kept = u + 0.0
        square = old.copy()
        u[:2] = x[1:] ** 2
        u[0] *= 3
        return (u * kept).sum() + (square * u[1:]).sum() + (old**2).sum()

    x, v = np.array([0.2, 0.5, 0.8]), np.array([1.0, -2.0, 0.5])
    assert np.isclose(dif.jvp(f, (x,), (v,))[1], dif.grad(f)(x) @ v, rtol=1e-13)
    assert np.isclose(dif.jvp(f, (x,), (v,))[1], numeric(lambda x: f(dif.array(x)).item(), x) @ v, rtol=1e-7)


# Leaves and no_grad -------------------------------------------------------------------------------------------------


def test_a_leaf_is_written_only_under_no_grad():
    w = dif.tensor([1.0, 2.0, 3.0], requires_grad=True)
    v = w[1:]
    for write in (
        lambda: w.__setitem__(0, 5.0),
        lambda: v.__setitem__(0, 5.0),
        lambda: w.__iadd__(1),
        lambda: w.fill(0),
    ):
        with pytest.raises(InPlaceError, match="no_grad"):
            write()
    y = (w * w).sum()
    with dif.no_grad():
        w -= 0.5
        w[0] = 7.0
        v[1] = 9.0
    assert w.tolist() == [7.0, 1.5, 9.0] and v.tolist() == [1.5, 9.0]
    assert w.is_leaf and w.requires_grad
    y.backward()
    assert w.grad.tolist() == [2.0, 4.0, 6.0]  # of the values that y was computed from


def test_no_grad_refuses_to_write_into_the_middle_of_a_tape():
    w = dif.tensor([1.0, 2.0], requires_grad=True)
    y = w * 2
    with dif.no_grad(), pytest.raises(InPlaceError, match="under no_grad"):
        y[0] = 1


def test_a_view_made_under_no_grad_is_a_window_on_the_values():
    def f(x):
        u = x * 1.0
        with dif.no_grad():
            v = u[1:]
        u[1] = 3 * x[0]
        assert not v.requires_grad and v[0].item() == u[1].item()
        with pytest.raises(InPlaceError, match="no_grad"):
            v[0] = 1
        with pytest.raises(InPlaceError, match="no_grad"):
            v *= 2
        return (u * u).sum() + v.sum()

    assert dif.grad(f)(np.array([1.0, 2.0])).tolist() == [2 + 18, 0]


def test_requires_grad_on_a_tensor_with_views():
    x = dif.zeros(3)
    v = x[1:]
    x.requires_grad_()
    assert not v.requires_grad
    with dif.no_grad():
        x[1] = 5.0
    assert v.tolist() == [5.0, 0.0]
    u = x[:2]
    with pytest.raises(ValueError, match="views"):
        x.requires_grad_(False)
    del u
    gc.collect()
    assert not x.requires_grad_(False).requires_grad
    v[0] = 1.0
    assert x.tolist() == [0.0, 1.0, 0.0]


def test_transformations_never_change_their_arguments():
    def f(x):
        x[0] = 5 * x[1]
        x *= 2
        return (x * x).sum()

    a, t = np.array([1.0, 2.0]), dif.tensor([1.0, 2.0])
    for x in (a, t):
        assert np.allclose(dif.grad(f)(x), [0.0, 416.0])
        assert x.tolist() == [1.0, 2.0]


def test_an_argument_that_the_function_changes_elsewhere():
    """A simulation object whose state is also the argument."""
    state = np.ones(3)

    def f(x):
        y = x * x
        state[:] = 5.0
        return y.sum()

    assert dif.grad(f)(state).tolist() == [2.0, 2.0, 2.0]
    t = dif.asarray(np.ones(3))

    def g(x):
        y = x * x
        t[...] = 5.0
        return y.sum()

    assert dif.grad(g)(t).tolist() == [2.0, 2.0, 2.0]


# Foreign buffers and plain arrays -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 1000])
def test_a_foreign_buffer_is_shared(n):
    a = np.ones(n)
    t = dif.asarray(a)
    v = t[1:]
    a[1] = 5.0
    assert t[1] == 5.0 and v[0] == 5.0
    v[0] = 7.0
    assert a[1] == 7.0
    snapshot, constant = t.numpy(), t.detach()
    t[2] = 9.0
    assert a[2] == 9.0 and snapshot[2] == 1.0 and constant[2] == 1.0


@pytest.mark.parametrize("n", [3, 1000])
def test_writes_through_a_foreign_tensor_do_not_hurt_what_was_saved(n):
    """However large: the write knows what was saved by reference."""

    def f(x):
        t = dif.asarray(np.full(n, 2.0))
        y = (x * t).sum() + dif.linalg.norm(np.stack([x * t, t]))
        t[...] = x**2
        return y + (t * x).sum()

    def g(x):
        return 2 * x * n + np.sqrt(4 * n * x * x + 4 * n) + n * x**3

    assert np.isclose(dif.grad(f)(0.7), (g(0.7 + 1e-30j) / 1e-30).imag, rtol=1e-12)
    assert np.isclose(dif.jvp(f, (0.7,), (1.0,))[1], (g(0.7 + 1e-30j) / 1e-30).imag, rtol=1e-12)


def test_a_small_plain_array_may_be_reused():
    """autograd returns 10 here, because it keeps the array and not its values."""
    a = np.ones(3)

    def f(x):
        y = x * a
        a[:] = 10.0
        return y.sum()

    assert dif.grad(f)(np.zeros(3)).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.peers("autograd")
def test_the_peer_is_wrong_there():
    autograd = pytest.importorskip("autograd")
    a = np.ones(3)

    def f(x):
        y = x * a
        a[:] = 10.0
        return autograd.numpy.sum(y)

    assert autograd.grad(f)(np.zeros(3)).tolist() == [10.0, 10.0, 10.0]


OPERATIONS = {
    "multiply": lambda x, a: x * a,
    "left": lambda x, a: a * x,
    "divide": lambda x, a: a / x,
    "power": lambda x, a: x**a,
    "np.multiply": lambda x, a: np.multiply(a, x),
    "maximum": lambda x, a: np.maximum(x, a),
    "where": lambda x, a: np.where(a > 1, x * a, x),
    "where mask": lambda x, a: np.where(a, x, 2 * x),
    "index": lambda x, a: x[a.astype(int)],
    "matmul": lambda x, a: a @ x,
    "dot": lambda x, a: np.dot(x, a),
    "einsum": lambda x, a: np.einsum("i,i->i", x, a),
    "outer": lambda x, a: np.outer(x, a),
    "asarray": lambda x, a: dif.asarray(a) * x,
    "stack": lambda x, a: np.prod(np.stack([x, a]), axis=0),
    "hypot": lambda x, a: np.hypot(a, x),
    "arctan2": lambda x, a: np.arctan2(a, x),
    "view": lambda x, a: dif.asarray(a)[::-1] * x,
    "norm": lambda x, a: dif.linalg.norm(np.stack([x, a])),
    "clip": lambda x, a: np.clip(x, 0.1 * a, 0.5 * a),
}


@pytest.mark.parametrize("n", [5, 2000])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_plain_array_changed_before_the_backward_pass(name, n, rng):
    """The gradient of the values that were used, or an error; never of the new values."""
    operation = OPERATIONS[name]
    x, a = rng.uniform(0.5, 1.0, n), rng.uniform(0.2, 2.0, n)
    changed = a.copy()

    def f(x, a):
        y = operation(x, a)
        return (y * y).sum()

    expected = dif.grad(lambda x: f(x, a))(x)
    y, pull = dif.vjp(lambda x: f(x, changed), x)
    changed[...] = 0.25
    changed[0] = np.nan
    if n == 5:
        assert np.array_equal(pull(np.float64(1))[0], expected)
        return
    try:
        found = pull(np.float64(1))[0]
    except MutatedConstantError as error:
        assert "test_writes.py" in str(error) and "copy" in str(error)
    else:
        assert np.array_equal(found, expected)


def test_where_a_sample_is_no_proof_debug_compares_all():
    x, a = np.ones(10**5), np.ones(10**5)

    def f(x):
        y = x * a
        a[54321] += 1.0
        return y.sum()

    with dif.debug(constants=True), pytest.raises(MutatedConstantError):
        dif.grad(f)(x)


def test_a_tracked_tensor_cannot_go_into_an_ndarray():
    """NumPy's message comes first, ours is its cause; the traceback shows the remedy."""
    import traceback

    def f(x):
        a = np.zeros(2)
        a[0] = x * 2
        return a.sum()

    with pytest.raises((TypeError, ValueError)) as caught:
        dif.grad(f)(1.0)
    text = "".join(traceback.format_exception(caught.value))
    assert "derivative" in text and ("dif.array" in text or "dif.zeros" in text)


# Views and the rest -------------------------------------------------------------------------------------------------


def test_hooks_on_a_written_tensor_are_called():
    seen = []
    w = dif.tensor([1.0, 2.0], requires_grad=True)
    y = w * 3
    first = y[:1]
    y.register_hook(lambda g: seen.append(g.tolist()))
    y[1] = 0.0
    (y.sum() + first.sum()).backward()
    assert seen == [[2.0, 0.0]]
    assert w.grad.tolist() == [6.0, 0.0]


def test_batched_writes_reach_views_of_every_layout():
    def f(x, order):
        b = dif.zeros((3, 2)).T if order == "F" else dif.zeros((2, 3))
        v = b.T.ravel() if order == "F" else b.ravel()
        v[1] = x
        b[0] += x**2
        return (v * np.arange(6.0)).sum() + (b * b).sum()

    x = np.array([0.5, 0.7])
    for order in "CF":
        together = dif.vmap(dif.grad(lambda x, order=order: f(x, order)))(x)
        assert np.allclose(together, [dif.grad(lambda x, order=order: f(x, order))(v) for v in x], rtol=1e-13)


def test_every_view_is_known():
    """No operation hands out the memory of its operand without saying that it is a view."""
    x = dif.tensor(np.arange(24.0).reshape(2, 3, 4))
    functions = [
        np.squeeze,
        np.atleast_1d,
        np.atleast_2d,
        np.atleast_3d,
        np.ravel,
        np.real,
        np.transpose,
        np.flip,
        np.fliplr,
        np.flipud,
        np.rot90,
        np.positive,
        np.diagonal,
        np.matrix_transpose,
        np.copy,
        np.nan_to_num,
        np.around,
        lambda a: np.moveaxis(a, 0, 1),
        lambda a: np.swapaxes(a, 0, 1),
        lambda a: np.expand_dims(a, 0),
        lambda a: np.reshape(a, (6, 4)),
        lambda a: np.broadcast_to(a, (2, 2, 3, 4)),
        lambda a: np.split(a, 2)[0],
        lambda a: np.array_split(a, 2)[1],
        lambda a: np.vsplit(a, 2)[0],
        lambda a: np.unstack(a)[0],
        lambda a: np.broadcast_arrays(a, np.zeros((2, 2, 3, 4)))[0],
        lambda a: np.astype(a, float, copy=False),
        lambda a: np.astype(a, float),
        lambda a: np.take(a, [0, 1], 0),
        lambda a: np.roll(a, 0),
        lambda a: np.repeat(a, 1),
        lambda a: np.tile(a, 1),
        lambda a: np.pad(a, 0),
        lambda a: np.clip(a, None, 100.0),
        lambda a: np.einsum("iij->ij", a[:, :2]),
        lambda a: np.einsum("ijk->kji", a),
        lambda a: np.concatenate([a]),
        lambda a: np.stack([a]),
        lambda a: np.sum(a, axis=()),
        lambda a: np.linalg.diagonal(a),
        lambda a: np.rollaxis(a, 2),
        lambda a: a.flatten(),
        lambda a: a.mT,
        lambda a: a.astype(float),
        lambda a: a.real,
        lambda a: a.conj(),
        lambda a: a[...],
        lambda a: np.triu(a),
        lambda a: np.delete(a, []),
        lambda a: np.trim_zeros(a[1, 1]),
        lambda a: np.resize(a, (2, 3, 4)),
        lambda a: np.linalg.matrix_power(a[0, :3, :3], 1),
        lambda a: np.extract(np.ones(24, bool), a),
        lambda a: np.ascontiguousarray(a),
        lambda a: np.squeeze(a[None]),
    ]
    for f in functions:
        try:
            y = f(x)
        except (TypeError, AttributeError):
            continue
        if not isinstance(y, dif.Tensor):  # made by NumPy without dispatch, from the values
            continue
        if y is not x and np.shares_memory(y._data, x._data):
            assert y.alias is not None and y.alias is x.alias, f
        elif y is not x:
            assert y.alias is None or y.alias is not x.alias, f


def test_a_tape_has_no_cycles():
    gc.collect()
    gc.disable()
    try:
        before = sum(type(o) is Leaf for o in gc.get_objects())

        def f(x):
            u = x * 1.0
            v = u[1:]
            v *= 2
            u[0] = v.sum()
            return (u * u).sum()

        for _ in range(20):
            dif.grad(f)(np.ones(3))
            dif.jvp(f, (np.ones(3),), (np.ones(3),))
            dif.hessian(f)(np.ones(3))
        leaves = sum(type(o) is Leaf for o in gc.get_objects())
    finally:
        gc.enable()
    assert leaves == before


@pytest.mark.parametrize(
    "write",
    [
        lambda t, x: np.put(t, [0, 1], x),
        lambda t, x: np.copyto(t, x),
        lambda t, x: np.fill_diagonal(t, x),
        lambda t, x: np.place(t, t == 0, x),
        lambda t, x: np.put_along_axis(t, np.zeros((1, 2), int), x, 0),
        lambda t, x: t.__setitem__(0, x),
        lambda t, x: np.add(t, x, out=t),
    ],
)
def test_a_batched_value_never_goes_into_a_foreign_buffer(write):
    """It would hold the values of the last example."""
    a = np.zeros((2, 2))

    def f(x):
        t = dif.asarray(a)
        write(t, x)
        return t.sum()

    with pytest.raises(dif.errors.BatchedValueError, match="dif.zeros"):
        dif.vmap(f)(np.array([1.0, 2.0]))
    assert not a.any()
