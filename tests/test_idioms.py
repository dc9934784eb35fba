"""`import difftensor as np`: idioms of NumPy programs, run with NumPy and with difftensor in its place."""

import dataclasses
import functools
import math
from typing import Any

import numpy
import pytest

import difftensor as dif

X = numpy.array([0.5, 1.5, 2.5])


def appended_list(np, x):
    out = []
    for v in x:
        out.append(v**2)
    return np.array(out).sum()


def appended_array(np, x):
    a = np.array([])
    for v in x:
        a = np.append(a, v * v)
    return a.sum()


def filled_matrix(np, x):
    A = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            A[i, j] = x[i] / (x[j] + i + 1)
    return np.linalg.det(A + np.eye(3))


def slices(np, x):
    u = np.zeros(10)
    u[2:5] = x
    u[::2] *= x[0]
    u[u > 1] += x[1]
    return np.sum(u**2)


def empty_then_rows(np, x):
    A = np.empty((2, 3))
    A[0] = x
    A[1, :] = 2 * x
    return np.mean(A, axis=1, keepdims=True).std() + np.average(x, weights=[1, 2, 3])


def rotation(np, x):
    a, b, c = x
    R = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return (R @ np.array([b, c]))[0]


def grids(np, x):
    a, b = np.meshgrid(x, x, indexing="ij")
    i, j = np.mgrid[0:3, 0:4]
    return np.sum(np.exp(-((a - b) ** 2))) + np.sum(x[0] * i + x[1] * j**2)


def rows_and_columns(np, x):
    return np.sum(np.r_[x, 1.0, x[0]] ** 2) + np.sum(np.c_[x, x**2] ** 2)


def ranges(np, x):
    spaced = np.sum(np.linspace(0, x[1], 7) ** 2) + np.sum(np.logspace(0, x[0], 5)) + np.sum(np.geomspace(1, x[2], 5))
    return spaced + np.sum(np.sin(x[0] * np.arange(5)))


def pairs(np, x):
    return np.sum((x[:, None] - x[None, :])[np.triu_indices(3, 1)] ** 2)


def eigenvalues(np, x):
    return np.sum(np.linalg.eigvalsh(np.outer(x, x) + np.diag(x)) ** 3)


def roots(np, x):
    return np.sum(np.abs(np.roots(np.array([1.0, x[0], x[1], x[2]]))) ** 4)


def phases(np, x):
    z = np.exp(1j * x)
    return np.real(np.prod(z) * np.conj(z[0]))


def spectrum(np, x):
    return np.sum(np.abs(np.fft.fft(np.concatenate([x, x**2]))[:2]) ** 2)


def planck(np, x):
    h, k, c = 6.62607015e-34, 1.380649e-23, 299792458.0  # the defining constants of the SI
    nu = 1e14 * x
    return np.sum(2 * h * nu**3 / c**2 / (np.exp(h * nu / (k * 5800)) - 1)) * 1e8


def integral(np, x):
    t = np.linspace(0, 1, 50)
    return np.trapezoid(np.exp(-x[0] * t), t) + np.interp(0.3 * x[1], t, np.cos(x[0] * t))


def stencil(np, x):
    u = np.tile(x, 4)
    return np.sum((np.roll(u, 1) - 2 * u + np.roll(u, -1)) ** 2) + np.sum(np.gradient(x**2, 0.1) ** 2)


def regression(np, x):
    A = np.vander(np.arange(4.0), 2)
    slope = np.linalg.lstsq(A, np.append(x, 1.0), rcond=None)[0]
    return slope.sum() + np.polyval(np.polyfit(np.arange(3.0), x, 2), 1.5)


def cases(np, x):
    pieces = np.piecewise(x, [x < 1, x >= 1], [lambda t: t**2, lambda t: t])
    chosen = np.select([x < 1, x < 2], [x, x**2], default=0.0)
    return np.sum(np.where(x > 1, np.log(x), x**2) + pieces + chosen + np.clip(x, 0.7, 2) + np.nan_to_num(x))


def scalars(np, x):
    return max(x) * min(x) + abs(-x[0]) + sum(x) + pow(x[0], 3) + x[2] % 0.7 + x[2] // 1 * x[0] + x[1] * math.pi


def reduced(np, x):
    s = 0.0
    for i in range(len(x)):
        s += x[i] ** i
    return s + functools.reduce(lambda a, b: a * b, x) + np.sum(np.vectorize(lambda v: v * 2 if v > 1 else v)(x))


def by_position(np, x):
    i = np.argmax(x)
    return x[i] * x[int(i) - 1] + np.sum(np.sort(x)[::-1] * np.arange(3)) + x[np.argsort(x)][0] + np.percentile(x, 30)


def printed(np, x):
    text = f"{x[0]:.3f} {x} {float(np.round(1.234, 2)):g} %s" % x[0]
    return x[0] * x[1] * (len(text) > 0)


def counted(np, x):
    weights, edges = np.histogram(np.array([0.1, 0.5, 0.9]), bins=3, weights=x**2)
    return weights[1] * edges[0] + x.shape[0] * x.size * x[0] + np.shape(x)[0] * x[1]


def products(np, x):
    M = np.outer(x, x) + np.eye(3)
    cross = np.linalg.norm(np.cross(x, np.array([1.0, 2.0, 3.0])))
    return np.trace(np.linalg.matrix_power(M, 3)) + np.sum(np.kron(x, x)) + np.einsum("i,j,ij->", x, x, M) + cross


def filters(np, x):
    return np.sum(np.convolve(x, np.array([1, 2, 3]), "same") ** 2) + np.sum(np.diff(x, n=2, prepend=0.0) ** 2)


def careful(np, x):
    with np.errstate(all="raise"):
        return np.sum(np.log(x) * np.full(3, x[0]) * np.full_like(x, x[1]) * np.ones_like(x))


@dataclasses.dataclass
class Particle:
    mass: Any
    velocity: Any


def kinetic(np, x):
    p = Particle(x[0], x[1:])
    return 0.5 * p.mass * np.dot(p.velocity, p.velocity)


IDIOMS = [f for f in globals().values() if getattr(f, "__code__", None) and f.__code__.co_varnames[:2] == ("np", "x")]


@pytest.mark.parametrize("f", IDIOMS, ids=lambda f: f.__name__)
def test_difftensor_in_numpys_place(f):
    expected = float(f(numpy, X))
    assert float(f(dif, X)) == pytest.approx(expected, rel=1e-13)
    assert float(f(dif, dif.asarray(X))) == pytest.approx(expected, rel=1e-13)
    h = 1e-6
    slopes = [(f(numpy, X + h * e) - f(numpy, X - h * e)) / (2 * h) for e in numpy.eye(3)]
    gradient = dif.grad(functools.partial(f, dif))(X)
    numpy.testing.assert_allclose(gradient, slopes, rtol=1e-7, atol=1e-8 * max(1.0, abs(expected)))
    forward = [dif.jvp(functools.partial(f, dif), (X,), (e,))[1] for e in numpy.eye(3)]
    numpy.testing.assert_allclose(forward, gradient, rtol=1e-12, atol=1e-14)
