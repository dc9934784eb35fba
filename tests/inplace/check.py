"""One program through difftensor, at every order and in every mode, against its functional replay."""

import warnings

import numpy as np

import difftensor as dif
from difftensor.errors import BatchedValueError
from tests.inplace.programs import Plain
from tests.inplace.replay import replay


class Difftensor:
    """difftensor as the namespace of a program."""

    zeros, asarray, sin, tanh, where, copyto = dif.zeros, dif.asarray, dif.sin, dif.tanh, dif.where, np.copyto
    put, fill_diagonal = np.put, np.fill_diagonal

    def copy(a):
        return a.copy()

    def detach(a):
        return a.detach()

    def add(a, b, out):
        np.add(a, b, out=out)

    def multiply(a, b, out):
        dif.multiply(a, b, out=out)

    def fill(a, s):
        a.fill(s)


def constants(program):
    return [k.copy(order="K") for k in program.constants]


def close(found, expected, tolerance=1e-9):
    found, expected = np.asarray(found), np.asarray(expected)
    return found.shape == expected.shape and bool(
        np.all(np.abs(found - expected) <= tolerance * (1 + np.abs(expected).max(initial=0)))
    )


def hessian_vector(program, v):
    """d/de grad(x + e v) at 0: fourth-order differences of exact gradients, in long double."""
    x = program.x.astype(np.longdouble)
    basis = np.eye(x.size, dtype=np.longdouble).reshape(x.size, *x.shape)
    e = np.longdouble(1e-4)

    def gradient(t):
        return replay(program.run, x + t * v, basis, program.constants)[1]

    h = (8 * (gradient(e) - gradient(-e)) - (gradient(2 * e) - gradient(-2 * e))) / (12 * e)
    return h.reshape(x.shape).astype(float)


def mismatches(program, second_order=True):
    """What difftensor gets wrong about `program`: a list of (what, found, expected); and what the program did."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dif.errors.LostGradientWarning)  # some programs overwrite all of x
        return _mismatches(program, second_order)


def _mismatches(program, second_order):
    x, n = program.x, program.x.size
    rng = np.random.default_rng([program.seed, 1])
    v = rng.uniform(-1, 1, x.shape)
    value, g, watch = replay(program.run, x, np.eye(n).reshape(n, *x.shape), program.constants)
    g = g.reshape(x.shape)

    def f(x):
        return program.run(Difftensor, x, constants(program))

    wrong = []

    def compare(what, found, expected, tolerance=1e-9):
        if not close(found, expected, tolerance):
            wrong.append((what, found, expected))

    compare("NumPy's value", program.run(Plain, x.copy(), constants(program)), value)
    y, found = dif.value_and_grad(f)(x)
    compare("value", y, value)
    compare("gradient", found, g)
    compare("jvp", dif.jvp(f, (x,), (v,))[1], np.sum(g * v))
    w = dif.tensor(x, requires_grad=True)
    y = f(w.copy())
    if y.requires_grad:
        y.backward()
    compare("backward()", np.zeros(x.shape) if w.grad is None else w.grad.numpy(), g)
    if second_order:
        both = np.stack([x, 0.9 * x + 0.03])
        try:
            found = dif.vmap(dif.grad(f))(both)
        except BatchedValueError:  # a batched value into a foreign buffer: an error that says so
            pass
        else:
            compare("vmap", found, [g, dif.grad(f)(both[1])])
    if second_order and not program.detached:
        h = hessian_vector(program, v)
        compare("forward over reverse", dif.jvp(dif.grad(f), (x,), (v,))[1], h, 1e-8)
        compare("reverse over reverse", dif.grad(lambda x: dif.sum(dif.grad(f)(x) * v))(x), h, 1e-8)
        compare("reverse over forward", dif.grad(lambda x: dif.jvp(f, (x,), (v,))[1])(x), h, 1e-8)
    return wrong, watch
