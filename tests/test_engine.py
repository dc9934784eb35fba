"""The engine: long tapes without recursion, each rule once, memory freed as it goes, no cycles, threads, hooks."""

import gc
import subprocess
import sys
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import difftensor as dif
from difftensor._core import PRIMITIVES
from difftensor.errors import FreedTapeError


@pytest.fixture
def count(monkeypatch):
    """`count(name, rule)` counts the calls of a rule of a primitive."""

    def of(name, rule="rule_a"):
        calls = []
        op = PRIMITIVES[name]
        original = getattr(op, rule)
        monkeypatch.setattr(op, rule, lambda *args: calls.append(name) or original(*args))
        return calls

    return of


# Length -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [200_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_long_chain_differentiates_without_recursion(n):
    """y = x (1 + 1e-6)^n by n multiplications, in both modes; the tape is freed without recursion too."""

    def f(x):
        for _ in range(n):
            x = x * 1.000001
        return x

    exact = 1.000001**n
    assert dif.grad(f)(2.0) == pytest.approx(exact, rel=1e-9)
    assert dif.jvp(f, (2.0,), (1.0,))[1] == pytest.approx(exact, rel=1e-9)
    w = dif.tensor(2.0, requires_grad=True)
    y = f(w)
    y.backward()
    assert w.grad.item() == pytest.approx(exact, rel=1e-9)
    y = f(w)
    del y  # a tape that is dropped unused


def test_second_derivative_of_a_long_chain():
    n = 20_000

    def f(x):
        for _ in range(n):
            x = x + 1e-5 * x * x
        return x

    h = 1e-4
    slope = dif.grad(f)
    numeric = (slope(0.5 + h) - slope(0.5 - h)) / (2 * h)
    assert dif.grad(slope)(0.5) == pytest.approx(numeric, rel=1e-6)


def test_deep_recursion_of_the_python_stack_is_not_needed():
    limit = sys.getrecursionlimit()
    x = dif.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(20 * limit):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0


# Memory -------------------------------------------------------------------------------------------------------------


def peak(f):
    gc.collect()
    tracemalloc.start()
    try:
        f()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def chain(n):
    def run():
        x = dif.tensor(np.ones(3), requires_grad=True)
        y = x
        for _ in range(n):
            y = dif.sin(y) * 1.1
        y.sum().backward()

    return run


def test_memory_is_linear_in_the_length():
    one, four = peak(chain(5_000)), peak(chain(20_000))
    assert 3.3 < four / one < 4.7


def test_bytes_of_tape_per_operation():
    """At most 380 bytes per recorded operation of a chain on a 3-vector, its arrays included."""
    n = 20_000
    x = dif.tensor(np.ones(3), requires_grad=True)
    y = x * 1.0
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(n // 2):
        y = dif.sin(y) * 1.1
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert used / n <= 380


def test_cotangents_are_freed_as_the_sweep_goes():
    """100 operations on 8 MB each: additions save nothing, and the sweep holds a few cotangents at a time."""
    x = dif.tensor(np.ones(1_000_000), requires_grad=True)

    def run():
        y = x
        for _ in range(100):
            y = -(y + 1.0)
        y.sum().backward()

    assert peak(run) < 6 * 8_000_000


def test_backward_frees_what_the_tape_saved():
    x = dif.tensor(np.ones(1000), requires_grad=True)
    y = dif.exp(x)
    saved = weakref.ref(y._data)
    z = y.sum()
    del y
    assert saved() is not None
    z.backward()
    assert saved() is None


def test_a_functional_derivative_frees_its_tape():
    seen = []

    def f(x):
        y = dif.exp(x)
        seen.append(weakref.ref(y._data))
        return y.sum()

    dif.grad(f)(np.ones(10))
    assert seen[0]() is None


def test_filling_an_array_costs_its_region():
    """n writes of one element: the cotangent is one buffer that is worked in, not n copies of it."""
    n = 2000

    def run():
        x = dif.tensor(1.0, requires_grad=True)
        u = dif.zeros(n)
        for i in range(n):
            u[i] = x * 1.0
        u.sum().backward()

    assert peak(run) < 5_000_000  # n copies would be 32 MB


def test_reading_an_array_element_by_element_costs_its_region():
    n = 2000

    def run():
        x = dif.tensor(np.ones(n), requires_grad=True)
        total = 0.0
        for i in range(n):
            total = total + x[i]
        total.backward()

    assert peak(run) < 5_000_000


# Reference cycles ---------------------------------------------------------------------------------------------------


def nothing():
    pass


def programs():
    x = np.ones(3)
    w = dif.tensor(x, requires_grad=True)

    def write(x):
        u = dif.zeros(3)
        u[0] = x[0] ** 2
        v = u[1:]
        v[0] = x[1]
        return (u * v[0]).sum()

    yield "grad", lambda: dif.grad(lambda x: np.sin(x).sum())(x)
    yield "hessian", lambda: dif.hessian(lambda x: np.sin(x).sum())(x)
    yield "jvp", lambda: dif.jvp(np.sin, (x,), (x,))
    yield "vjp", lambda: dif.vjp(np.sin, x)[1](x)
    yield "backward", lambda: (w * w).sum().backward()
    yield "retained", lambda: (w * w).sum().backward(retain_graph=True)
    yield "writes and views", lambda: dif.grad(write)(x)
    yield "matmul", lambda: dif.grad(lambda a: (a @ a).sum())(np.eye(3))
    yield "broadcasting", lambda: dif.grad(lambda x: (x[:, None] * x).sum())(x)
    yield "svd", lambda: dif.grad(lambda a: np.linalg.svd(a)[1].sum())(np.diag([1.0, 2, 3]))


@pytest.mark.parametrize("run", [pytest.param(f, id=name) for name, f in programs()])
def test_no_reference_cycles(run):
    """With the garbage collector off nothing is left behind: reference counting frees every tape."""
    run()  # caches, lazy imports
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            run()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_an_error_in_the_function_leaves_no_tape_behind():
    seen = []

    def f(x):
        y = x * 2
        seen.append(weakref.ref(y._data))
        raise KeyError("mine")

    for _ in range(2):
        try:
            dif.grad(f)(np.ones(4))
        except KeyError:
            pass
    assert all(r() is None for r in seen)


# Each rule once -----------------------------------------------------------------------------------------------------


def test_each_node_is_pulled_once_in_a_diamond(count):
    """30 diamonds in a row have 2^30 paths and 30 nodes."""
    calls = count("sin")

    def f(x):
        for _ in range(30):
            y = dif.sin(x)
            x = 0.5 * y + 0.5 * y
        return x

    slope = dif.grad(f)(1.0)
    assert len(calls) == 30
    h = 1e-6
    assert slope == pytest.approx((f(1 + h) - f(1 - h)) / (2 * h), rel=1e-8)


def test_unused_branches_are_not_pulled(count):
    calls = count("cos")
    w = dif.tensor(1.0, requires_grad=True)
    unused = dif.cos(w)
    (w * 2.0).backward()
    assert not calls
    assert unused.requires_grad


def test_branches_that_do_not_lead_to_the_argument_are_not_pulled(count):
    """grad with respect to x only: the rule of the operand that depends on w alone is not called."""
    w = dif.tensor(1.0, requires_grad=True)
    calls = count("exp")
    b = count("multiply", "rule_b")
    dif.grad(lambda x: x * dif.exp(w))(2.0)
    assert not calls
    assert not b


def test_constants_are_not_pulled(count):
    calls = count("multiply", "rule_b")
    dif.grad(lambda x: (x * np.ones(3)).sum())(np.ones(3))
    assert not calls


def test_forward_mode_pushes_each_node_once(count):
    calls = count("sin")

    def f(x):
        y = dif.sin(x)
        unused = dif.sin(y)  # noqa: F841
        return y * y

    assert dif.jvp(f, (1.0,), (1.0,))[1] == pytest.approx(np.sin(2.0))
    assert len(calls) == 1


# backward() twice ---------------------------------------------------------------------------------------------------


def test_second_backward_through_a_freed_tape():
    w = dif.tensor(2.0, requires_grad=True)
    y = dif.exp(w)
    z, u = y * y, y * 3.0
    z.backward()
    once = w.grad.item()
    with pytest.raises(FreedTapeError, match=r"exp.*retain_graph=True"):
        u.backward()
    assert w.grad.item() == once, "the failed sweep has left something behind"
    with pytest.raises(FreedTapeError, match="multiply"):
        z.backward()


def test_retain_graph():
    w = dif.tensor(2.0, requires_grad=True)
    z = w * w
    z.backward(retain_graph=True)
    z.backward(retain_graph=True)
    z.backward()
    assert w.grad.item() == 12.0
    with pytest.raises(FreedTapeError):
        z.backward()


def test_gradients_accumulate_until_they_are_zeroed():
    w = dif.tensor([1.0, 2.0], requires_grad=True)
    for k in (1, 2, 3):
        (w**2).sum().backward()
        np.testing.assert_array_equal(w.grad.numpy(), k * np.array([2.0, 4.0]))
    w.zero_grad()
    assert w.grad is None
    w.grad = np.array([1.0, 1.0])
    (w * 1.0).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), [2, 2])


def test_accumulation_does_not_write_into_a_gradient_that_was_taken():
    w = dif.tensor([1.0, 2.0], requires_grad=True)
    w.sum().backward()
    first = w.grad
    w.sum().backward()
    np.testing.assert_array_equal(first.numpy(), [1, 1])


def test_gradients_do_not_alias_each_other():
    """Two arguments whose cotangents are one array inside get arrays of their own."""
    a, b = np.ones(3), np.ones(3)
    ga, gb = dif.grad(lambda a, b: (a + b).sum(), (0, 1))(a, b)
    ga += 5
    np.testing.assert_array_equal(gb, 1)
    ga, gb = (dif.tensor(x, requires_grad=True) for x in (a, b))
    (ga + gb).sum().backward()
    with dif.no_grad():
        ga.grad[0] = 7.0
    np.testing.assert_array_equal(gb.grad.numpy(), 1)


# Hooks --------------------------------------------------------------------------------------------------------------


def test_a_hook_sees_and_replaces_the_cotangent():
    w = dif.tensor([1.0, 2.0], requires_grad=True)
    y = w * 3.0
    seen = []
    y.register_hook(lambda g: seen.append(g.numpy().copy()))
    y.register_hook(lambda g: 10 * g)
    (y * y).sum().backward()
    np.testing.assert_array_equal(seen, [[6, 12]])
    np.testing.assert_array_equal(w.grad.numpy(), 3 * 10 * np.array([6.0, 12.0]))


def test_a_removed_hook_is_silent():
    w = dif.tensor(1.0, requires_grad=True)
    y = w * 3.0
    seen = []
    handle = y.register_hook(seen.append)
    handle.remove()
    handle.remove()
    (y * 1.0).backward()
    assert not seen


def test_hooks_of_other_tensors_are_untouched(count):
    w = dif.tensor(1.0, requires_grad=True)
    y, z = w * 3.0, w * 4.0
    seen = []
    y.register_hook(seen.append)
    (z * 1.0).backward()
    assert not seen


def test_hooks_of_complex_tensors_see_gradients():
    """As .grad: the direction of steepest ascent. L = |z|^2 has gradient 2 z."""
    w = dif.tensor(3 + 4j, requires_grad=True)
    z = w * 1.0
    seen = []
    z.register_hook(lambda g: seen.append(g.item()))
    (abs(z) ** 2).backward()
    assert seen[0] == pytest.approx(6 + 8j)
    assert w.grad.item() == pytest.approx(6 + 8j)


def test_a_hook_of_the_wrong_shape_raises():
    w = dif.tensor([1.0, 2.0], requires_grad=True)
    y = w * 3.0
    y.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match=r"shape \(\).*\(2,\)"):
        y.sum().backward()
    assert w.grad is None


# Threads ------------------------------------------------------------------------------------------------------------


def test_threads_give_the_serial_results():
    """8 threads: their own functions, and gradients through one Tensor that all of them read."""
    shared = dif.tensor(np.linspace(0, 1, 50), requires_grad=True)
    shared_y = dif.sin(shared)

    def work(k):
        x = np.linspace(0, 1, 50) + k
        first = dif.grad(lambda x: (np.sin(x) * np.exp(-x)).sum())(x)
        second = dif.jacobian(dif.grad(lambda x: (x**3).sum()))(x)
        u = dif.zeros(50)
        for i in range(50):
            u[i] = np.sqrt(float(i + k + 1))
        third = dif.grad(lambda x: (shared_y.detach() * x).sum())(x)
        return first, second, u.numpy(), third

    expected = [work(k) for k in range(8)]
    for _ in range(3):
        found = [None] * 8
        start = threading.Barrier(8)

        def run(k, found=found, start=start):
            start.wait()
            found[k] = work(k)

        threads = [threading.Thread(target=run, args=(k,)) for k in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for ours, theirs in zip(found, expected, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(a, b)


def test_concurrent_sweeps_of_one_tape():
    x = np.linspace(0, 1, 200)
    y, pull = dif.vjp(lambda x: np.sin(np.exp(x)), x)
    cotangents = [np.full(200, float(k)) for k in range(8)]
    expected = [pull(c)[0] for c in cotangents]
    found = [None] * 8

    def run(k):
        for _ in range(20):
            found[k] = pull(cotangents[k])[0]

    threads = [threading.Thread(target=run, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    np.testing.assert_array_equal(found, expected)


def test_no_grad_belongs_to_its_thread():
    inside, done = threading.Event(), threading.Event()
    seen = []

    def other():
        inside.wait()
        seen.append((dif.tensor(1.0, requires_grad=True) * 2.0).requires_grad)
        done.set()

    t = threading.Thread(target=other)
    t.start()
    with dif.no_grad():
        inside.set()
        done.wait()
        seen.append((dif.tensor(1.0, requires_grad=True) * 2.0).requires_grad)
    t.join()
    assert seen == [True, False]


# Order and lines ----------------------------------------------------------------------------------------------------


def test_the_sweep_does_not_depend_on_the_order_of_operands():
    """Old nodes reached late: the walk goes by the order of creation, not by the order of discovery."""

    def f(x):
        a = dif.sin(x)
        b = dif.exp(a)
        c = a * b
        return c + a * x + b

    x = 0.7
    s, c = np.sin(x), np.cos(x)
    exact = c * np.exp(s) * (1 + s) + (c * x + s) + c * np.exp(s)
    assert dif.grad(f)(x) == pytest.approx(exact, rel=1e-14)


def test_an_error_in_a_sweep_names_the_users_line():
    w = dif.tensor([[4.0, 2.0], [2.0, 3.0]], requires_grad=True)
    v = np.linalg.eigh(w * 0 + np.eye(2))[1]  # this line
    with pytest.raises(dif.errors.DegenerateError, match=r"test_engine\.py") as caught:
        (v * np.arange(4.0).reshape(2, 2)).sum().backward()
    with open(__file__) as source:
        line = next(i for i, text in enumerate(source, 1) if text.rstrip().endswith("# this line"))
    assert f"line {line}" in str(caught.value)


def test_floating_point_warnings_of_a_sweep_are_silent():
    """Rules divide by zero on the way to a strong zero; the user hears nothing of it."""
    assert dif.grad(lambda x: np.where(x > 0, np.sqrt(x), 0.0))(0.0) == 0.0


@pytest.mark.slow
def test_a_million_operations_in_a_fresh_process():
    """10^6 operations on a 3-vector: at most 380 bytes of tape each, the arrays included."""
    code = """
import numpy as np, difftensor as dif, tracemalloc
x = dif.tensor(np.ones(3), requires_grad=True)
y = x * 1.0
tracemalloc.start()
for _ in range(500_000):
    y = dif.sin(y) * 1.1
tape = tracemalloc.get_traced_memory()[0]
y.sum().backward()
print(tape / 1e6, x.grad.numpy())
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(out.split()[0]) <= 380


def test_no_grad_decorates_generators():
    @dif.no_grad()
    def steps(w):
        got = yield w * 2
        yield w * got

    w = dif.tensor([1.0], requires_grad=True)
    running = steps(w)
    assert not next(running).requires_grad
    assert (w * 1).requires_grad  # outside, between two steps
    assert not running.send(3.0).requires_grad


def test_debug_watches_inside_vmap():
    with dif.debug(nan=True):
        assert dif.vmap(dif.grad(lambda x: np.sum(x**3)))(np.ones((2, 3))).tolist() == [[3.0] * 3] * 2
        with pytest.raises(dif.errors.NonFiniteError, match="log"), np.errstate(divide="ignore"):
            dif.vmap(lambda x: np.log(x))(np.array([1.0, 0.0]))


def test_backward_without_a_leaf_of_the_users_raises():
    def f(x):
        with pytest.raises(ValueError, match="no leaf"):
            np.sum(x**2).backward()
        return np.sum(x**2)

    assert dif.grad(f)(np.ones(2)).tolist() == [2.0, 2.0]
