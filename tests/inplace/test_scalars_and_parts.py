"""``op=`` on scalars, 0-d arrays and parts of complex arrays, under every transformation.

An element ``y[0]`` is a NumPy scalar: ``s = y[0]; s += 1`` leaves y as it is. A 0-d array is written to. NumPy runs the
same programs: values are its own, derivatives are central differences of it.
"""

import numpy as np
import pytest

import difftensor as dif

X = np.array([0.3, 0.5, 0.7, 0.2])
T = np.array([1.0, -2.0, 3.0, 0.5])


def element(x, np):
    y = x.copy()
    s = y[0]
    s += x[1]
    return y * s


def items(x, np):
    y = np.zeros(4)
    y[1] += x[1]
    y[2] *= x[0]
    y[1] -= 2.0
    y[-1] += np.sin(y[1])
    return y * x


def sums(x, np):
    s = np.sum(x)
    r = s
    s += x[0]
    s *= x[1]
    return r * x + s


def running(x, np):
    total = 0 * x[0]
    for i in range(4):
        xi = x[i]
        xi *= xi
        total += xi
    return total * x


def array_without_axes(x, np):
    a = np.zeros(())
    b = a
    a += x[0]
    a += 2 * x[1]
    return b * x


def view_without_axes(x, np):
    y = x.copy()
    z = y[0, ...]
    z += x[1]
    w = y[1:2].reshape(())
    w *= x[3]
    return y * x


def real_part(x, np):
    y = x * (1 + 2j)
    y.real = x**2
    z = y.real
    z *= x[::-1]
    return np.abs(y) ** 2


def imaginary_part(x, np):
    y = x * (1 + 2j)
    y.imag[1:] *= x[:-1]
    s = y[1].real
    s *= 2
    w = y.real[1:2].reshape(())
    w *= x[0]
    return np.abs(y) ** 2


PROGRAMS = [
    element, items, sums, running, array_without_axes, view_without_axes, real_part, imaginary_part
]
TRANSFORMATIONS = {
    "jvp": lambda f: dif.jvp(f, (X,), (T,)),
    "stream": lambda f: dif.jvp(f, (X,), (T,), stream=True),
    "taylor": lambda f: dif.taylor(f, X, 1, T),
    "vmap of jvp": lambda f: [y[1] for y in dif.vmap(lambda x: dif.jvp(f, (x,), (T,)))(np.stack([2 * X, X]))],
    "vmap of stream": lambda f: [
        y[1] for y in dif.vmap(lambda x: dif.jvp(f, (x,), (T,), stream=True))(np.stack([2 * X, X]))
    ],
    "jvp of vmap": lambda f: [
        y[1] for y in dif.jvp(dif.vmap(f), (np.stack([2 * X, X]),), (np.stack([0 * T, T]),))
    ],
    "jacobian": lambda f: (dif.vmap(f)(X[None])[0], dif.jacobian(f, mode="rev")(X) @ T),
}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_do_what_numpy_does(program, name):
    y, dy = TRANSFORMATIONS[name](lambda x: program(x, dif))
    h = 1e-6
    slope = (program(X + h * T, np) - program(X - h * T, np)) / (2 * h)
    assert np.allclose(y, program(X, np), rtol=1e-14)
    assert np.allclose(dy, slope, rtol=1e-8, atol=1e-8)
