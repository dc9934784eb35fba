"""Numbers of every class beside Tensors: NumPy's value and dtype, and derivatives by differences."""

import operator

import numpy as np
import pytest

import difftensor as dif

NUMBERS = [
    2, 2.5, True, 1 + 2j, 2j, np.float64(1.5), np.float64(2), np.float32(1.5), np.int64(2), np.int64(3), np.int32(2),
    np.bool_(True), np.complex128(0.5 - 1j), np.complex64(1j), np.array(1.5),
]  # fmt: skip
ARRAYS = [
    np.array([0.7, 1.2, 0.9]), np.array([0.7 + 0.2j, 1.2 - 1j]), np.array([0.7, 1.2], np.float32),
    np.array([0.7 + 0.2j], np.complex64), np.float64(0.7), np.complex128(0.3 + 0.8j), np.zeros((2, 0)),
]  # fmt: skip
OPERATIONS = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv,
    "power": np.power, "**": operator.pow, "np.multiply": np.multiply, "arctan2": np.arctan2, "maximum": np.maximum,
}  # fmt: skip


def both_ways(f):
    return [f, lambda x, s: f(s, x)]


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("number", NUMBERS, ids=lambda v: f"{type(v).__name__} {v}")
def test_values_and_dtypes(name, number):
    for f in both_ways(OPERATIONS[name]):
        for a in ARRAYS:
            try:
                expected = f(a, number)
            except TypeError:  # arctan2 of complex numbers
                with pytest.raises(TypeError):
                    f(dif.tensor(a, requires_grad=True), number)
                continue
            found = f(dif.tensor(a, requires_grad=True), number).detach().numpy()
            assert found.dtype == np.asarray(expected).dtype
            np.testing.assert_allclose(found, expected, rtol=3e-16 if found.dtype.char in "dD" else 3e-7)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("number", NUMBERS, ids=lambda v: f"{type(v).__name__} {v}")
def test_derivatives(name, number):
    rng = np.random.default_rng(0)
    for f in both_ways(OPERATIONS[name]):
        for a in ARRAYS:
            if a.dtype.char not in "dD" or not a.size:
                continue
            try:
                f(a, number)
            except TypeError:
                continue
            h, d = 1e-6, rng.normal(size=a.shape) + (1j * rng.normal(size=a.shape) if a.dtype.kind == "c" else 0)
            slope = (f(a + h * d, number) - f(a - h * d, number)) / (2 * h)
            y, pull = dif.vjp(lambda x, f=f: f(x, number), a)
            g = rng.normal(size=y.shape) + (1j * rng.normal(size=y.shape) if y.dtype.kind == "c" else 0)
            (c,) = pull(g.astype(y.dtype) if y.shape else y.dtype.type(g))
            assert c.dtype == a.dtype
            assert np.real(np.vdot(c, d)) == pytest.approx(np.real(np.vdot(g, slope)), rel=1e-7, abs=1e-8)
            t = dif.jvp(lambda x, f=f: f(x, number), (a,), (np.asarray(d, a.dtype)[()],))[1]
            np.testing.assert_allclose(t, slope, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", ["<", "<=", "==", "!=", ">", ">="])
def test_comparisons(name):
    compare = {"<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt}.get(
        name, operator.ge
    )
    for a in ARRAYS:
        for number in (0.7, np.float64(0.7), np.int64(1), np.float32(0.7), np.array([0.7]), np.array([[1], [0]])):
            for f in both_ways(compare):
                found = f(dif.tensor(a), number)
                assert found.dtype == bool
                np.testing.assert_array_equal(found.numpy(), f(a, number))


def test_arrays_of_numbers_and_tensors():
    s = dif.tensor(0.3, requires_grad=True)
    y = dif.array([s, 1, s * s, 2.5, np.float64(3)])
    assert y.dtype == np.float64
    assert y.tolist() == [0.3, 1.0, 0.3 * 0.3, 2.5, 3.0]
    (y * np.arange(1.0, 6.0)).sum().backward()
    assert s.grad == pytest.approx(1 + 3 * 2 * 0.3)
    with pytest.raises(TypeError, match="object"):
        dif.array([s, 2**70])


def test_matrices_of_numbers_and_tensors():
    def rotated(angle, array):
        c, s = np.cos(angle), np.sin(angle)
        return array([[c, -s, 0.0], (s, c, 0), [0.0, np.float64(0), 1]]) @ np.array([1.0, 2.0, 3.0])

    np.testing.assert_array_equal(rotated(dif.tensor(0.3), dif.array), rotated(0.3, np.array))
    J = dif.jacobian(lambda angle: rotated(angle, dif.array))(0.3)
    np.testing.assert_allclose(J, np.imag(rotated(0.3 + 1e-30j, np.array)) / 1e-30, rtol=1e-15)
    rows = dif.array([dif.tensor([1.0, 2.0]), dif.tensor([3, 4])])
    np.testing.assert_array_equal(rows, [[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ValueError, match=r"lengths|shape"):
        dif.array([[dif.tensor(1.0), 2.0], [1.0]])


def test_lists_and_arrays_beside_tensors_end_to_end():
    x = np.array([1.0, 2.0])
    for parts in (([0.0], 0, [3]), (0, x[::-1]), (np.zeros(2, int), 0, np.ones(1, bool)), ([], 0), ([1j], 0)):
        of = lambda x, parts=parts: [x if p.__class__ is int else p for p in parts]
        expected = np.concatenate(of(x))
        found = np.concatenate(of(dif.tensor(x)))
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
        weights = np.arange(1.0, 1 + expected.size)
        _, pull = dif.vjp(lambda x, of=of: dif.real(dif.concatenate(of(x))), x)
        (gradient,) = pull(weights)
        at = [p.__class__ is int for p in parts].index(True)
        start = sum(len(p) for p in parts[:at] if p.__class__ is not int)
        np.testing.assert_array_equal(gradient, weights[start : start + 2])
    with pytest.raises(ValueError, match="dimension"):
        np.concatenate([dif.tensor(x), [[1.0]]])
    with pytest.raises(TypeError):
        np.concatenate([dif.tensor(x), ["a"]])
