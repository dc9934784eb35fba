"""Threads, processes, memory: recording state belongs to each context, and nothing is left behind."""

import asyncio
import gc
import multiprocessing
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import difftensor as dif


def simulation(x, steps=30):
    """Writes, views, composition: a bit of everything."""
    u = dif.zeros((steps + 1, x.shape[0]))
    u[0] = x
    for i in range(steps):
        u[i + 1] = u[i] + 0.1 * np.sin(u[i][::-1])
    v = u.T[1:]
    v *= 0.5
    return (u * u).sum() + dif.linalg.norm(u[-1])


def everything(seed):
    x = np.random.default_rng(seed).uniform(0.2, 1.0, 4)
    v, g = dif.value_and_grad(simulation)(x)
    t = dif.jvp(simulation, (x,), (x,))[1]
    h = dif.hvp(simulation)(x, x)
    w = dif.tensor(x, requires_grad=True)
    simulation(w * 1.0).backward()
    batch = dif.vmap(dif.grad(lambda x: (np.tanh(x) ** 2).sum()))(np.stack([x, 2 * x]))
    return [v, g, t, h, w.grad.numpy(), batch]


def equal(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


@pytest.fixture
def hasty():
    """Threads change places after each few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_eight_threads_give_the_serial_results(hasty):
    serial = [everything(seed) for seed in range(16)]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(everything, range(16)))
    assert all(map(equal, serial, threaded))


def test_eight_threads_share_one_tape(hasty):
    """Sweeps have their own state: many at once over the same nodes."""
    y, pull = dif.vjp(lambda x: np.sin(x) * np.cumsum(x), np.linspace(0.1, 1.0, 50))
    seeds = [np.random.default_rng(i).normal(size=50) for i in range(64)]
    serial = [pull(s)[0] for s in seeds]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(lambda s: pull(s)[0], seeds))
    assert equal(serial, threaded)


def test_eight_threads_read_one_tensor(hasty):
    """Views of a shared constant are taken by many threads; a write afterwards reaches them all."""
    for _ in range(20):
        shared = dif.zeros((64, 8))
        start = threading.Barrier(8)

        def views(k, shared=shared, start=start):
            start.wait()
            return [shared[i] for i in range(k, 64, 8)]

        with ThreadPoolExecutor(8) as pool:
            rows = [row for part in pool.map(views, range(8)) for row in part]
        shared[...] = 3.0
        assert all(row.alias is shared.alias for row in rows)
        assert all(row.tolist() == [3.0] * 8 for row in rows)


def test_no_grad_belongs_to_its_thread():
    seen = {}
    inside, outside = threading.Event(), threading.Event()
    w = dif.tensor([1.0], requires_grad=True)

    def other():
        inside.wait(10)
        seen["other"] = (w * 2).requires_grad
        outside.set()

    t = threading.Thread(target=other)
    t.start()
    with dif.no_grad():
        inside.set()
        outside.wait(10)
        seen["here"] = (w * 2).requires_grad
    t.join()
    assert seen == {"other": True, "here": False}


def test_no_grad_belongs_to_its_task():
    w = dif.tensor([1.0], requires_grad=True)

    async def without(ready, go):
        with dif.no_grad():
            ready.set()
            await go.wait()
            return (w * 2).requires_grad

    async def main():
        ready, go = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(without(ready, go))
        await ready.wait()
        here = (w * 2).requires_grad
        go.set()
        return here, await task

    assert asyncio.run(main()) == (True, False)


def test_a_tape_may_be_swept_in_another_thread():
    w = dif.tensor([1.0, 2.0], requires_grad=True)
    y = (w**3).sum()
    t = threading.Thread(target=y.backward)
    t.start()
    t.join()
    assert w.grad.tolist() == [3.0, 12.0]


# Processes ----------------------------------------------------------------------------------------------------------


def work(seed):
    return [np.asarray(v) for v in everything(seed)]


def pooled(method):
    everything(0)  # the parent has computed, and started its threads
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(work, range(3))


@pytest.mark.parametrize("method", [m for m in ("spawn", "fork") if m in multiprocessing.get_all_start_methods()])
def test_processes_give_the_serial_results(method):
    """From a process of its own: this one may have loaded JAX, whose threads do not survive a fork (it warns)."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        found = alone.submit(pooled, method).result()
    assert all(map(equal, map(everything, range(3)), found))


def double(t):
    assert isinstance(t, dif.Tensor)
    return t * 2.0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_constants_and_leaves_travel_between_processes():
    t = dif.tensor([1.0, 2.0])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(double, (t,)).tolist() == [2.0, 4.0]


# Memory -------------------------------------------------------------------------------------------------------------


def test_memory_returns_after_each_step_without_the_collector():
    """No reference cycles: with the garbage collector off, ten thousand steps need no more memory than a hundred."""
    w = dif.tensor(np.linspace(0.1, 1.0, 20), requires_grad=True)
    a = np.ones(2000)

    def step():
        u = w * 1.0
        v = u[1:]
        v *= np.sin(w[:-1])
        u[0] = v.sum()
        loss = (u * u).sum() + dif.exp(-v[::2]).mean() + (w.sum() * a).mean()
        loss.backward()
        with dif.no_grad():
            w.__isub__(1e-6 * w.grad)
        w.grad = None

    gc.collect()
    gc.disable()
    try:
        for _ in range(1_000):  # fills caches and free lists
            step()
        before = sys.getallocatedblocks()
        for _ in range(9_000):
            step()
        blocks = sys.getallocatedblocks() - before
        tracemalloc.start()  # slow, but knows NumPy's buffers
        for _ in range(20):
            step()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(200):
            step()
        size = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        gc.enable()
    assert blocks < 900  # a tenth of an object for each step would be more
    assert size < 200 * 160  # one leaked row of 20 numbers for each step would be that


TRANSFORMATIONS = {
    "grad": lambda x: dif.grad(simulation)(x),
    "jvp": lambda x: dif.jvp(simulation, (x,), (x,)),
    "hvp": lambda x: dif.hvp(simulation)(x, x),
    "vmap": lambda x: dif.vmap(dif.grad(lambda x: (x * np.sin(x)).sum()))(np.stack([x, x])),
    "jacobian": lambda x: dif.jacobian(lambda x: np.cumsum(x) * x)(x),
    "vjp": lambda x: dif.vjp(np.sin, x)[1](x),
    "linearize": lambda x: dif.linearize(np.sin, x)[1](x),
    "views": lambda x: [dif.tensor(x)[i:] for i in range(4)],
    "an error": lambda x: pytest.raises(ValueError, dif.grad(lambda y: (y + np.ones(7)).sum()), x) and None,
    "an error in a sweep": lambda x: pytest.raises(dif.errors.InPlaceError, dif.grad(refused), x) and None,
}


def refused(x):
    n = dif.zeros(2, dtype=int)
    n[0] = x[0]
    return n.sum()


@pytest.mark.parametrize("name", [n for n in TRANSFORMATIONS if "error" not in n])
def test_no_cycles_are_left(name):
    run = TRANSFORMATIONS[name]
    x = np.linspace(0.1, 1.0, 4)
    run(x)
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            run(x)
        unreachable = gc.collect()
    finally:
        gc.enable()
    assert unreachable == 0


def test_views_of_one_tensor_do_not_pile_up():
    x = dif.zeros(100)
    for _ in range(10_000):
        x[1:]
    assert len(x.alias.members) < 100


def test_a_deep_tape_is_freed_without_recursion():
    w = dif.tensor(1.0, requires_grad=True)
    y = w
    for _ in range(200_000):
        y = y + 1e-9
    y.backward()
    assert w.grad.item() == 1.0
    del y


def test_threads_that_meet_a_chapter_at_once():
    """Chapters are imported when first used: a second thread waits for the first, instead of missing functions."""
    program = """
import sys, threading
import numpy as np, difftensor as dif

sys.setswitchinterval(1e-5)
start, failures = threading.Barrier(8), []

def job():
    start.wait()
    try:
        g = dif.grad(lambda x: np.linalg.det(np.outer(x, x) + np.eye(3)) + abs(np.fft.fft(x)).sum())(np.ones(3))
        assert g.shape == (3,)
    except Exception as error:
        failures.append(error)

threads = [threading.Thread(target=job) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()
assert not failures, failures
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
