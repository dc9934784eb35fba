"""dif.primitive: each kind, declared as a user would, against differences, closed forms and its composition."""

import numpy as np
import pytest

import difftensor as dif
from difftensor.testing import check_grads

gd = dif.primitive(
    "test.gd", lambda x: 2 * np.arctan(np.tanh(x / 2)), lambda xp, g, y, x: g / xp.cosh(x), kind="unary", saves="x"
)
root_of_squares = dif.primitive(
    "test.root_of_squares",
    lambda a, b: np.sqrt(a * a + b * b),
    lambda xp, g, y, a, b: g * a / y,
    lambda xp, g, y, a, b: g * b / y,
    kind="binary",
    saves="aby",
)
every_other = dif.primitive(
    "test.every_other",
    lambda x, k: x[..., ::k],
    lambda xp, g, shape, k: _spread(xp, g, shape, k),
    kind="linear",
    batch="trailing",
)
mixed_product = dif.primitive(
    "test.mixed_product",
    lambda a, b: a @ b,
    lambda xp, g, a, b: g @ b.T,
    lambda xp, g, a, b: a.T @ g,
    kind="bilinear",
)
polar = dif.primitive(
    "test.polar",
    lambda x, y: (np.hypot(x, y), np.arctan2(y, x)),
    lambda xp, g, out, x, y: _pull_polar(g, out, x, y),
    kind="general",
    operands=2,
    outputs=2,
    saves="yab",
)
signs = dif.primitive("test.signs", lambda x: np.sign(x).astype(int), kind="nondifferentiable")


def _spread(xp, g, shape, k):
    out = xp.zeros((*g.shape[:-1], shape[-1]), g.dtype)
    out[..., ::k] = g
    return out


def _pull_polar(g, out, x, y):
    r, _ = out
    gr, ga = (0 * r if c is None else c for c in g)
    return gr * x / r - ga * y / r**2, gr * y / r + ga * x / r**2


A, B = np.array([-1.0, 0.5, 2.0]), np.array([0.7, 1.5, -0.4])


def test_unary():
    np.testing.assert_allclose(gd(A), 2 * np.arctan(np.exp(A)) - np.pi / 2, rtol=1e-14)
    assert isinstance(gd(A), np.ndarray)
    check_grads(gd, A, order=3)
    np.testing.assert_allclose(dif.vmap(dif.grad(gd))(A), 1 / np.cosh(A), rtol=1e-14)


def test_binary_broadcasts_and_batches():
    check_grads(root_of_squares, (A, B), order=2)
    check_grads(root_of_squares, (A[:, None], B[None]), order=2)
    np.testing.assert_allclose(dif.vmap(root_of_squares, in_axes=(0, None))(A, B), np.hypot(A[:, None], B), rtol=1e-14)


def test_linear():
    x = np.arange(7.0)
    check_grads(lambda x: every_other(x, 3) ** 3, x, order=2)
    rows = np.arange(14.0).reshape(2, 7)
    np.testing.assert_array_equal(dif.vmap(lambda x: every_other(x, 2))(rows), rows[:, ::2])


def test_bilinear():
    a, b = np.arange(6.0).reshape(2, 3) / 5, np.ones((3, 2)) + np.eye(3, 2)
    check_grads(mixed_product, (a, b), order=2)


def test_general_with_two_outputs_and_no_push():
    check_grads(lambda x, y: polar(x, y)[0] * dif.sin(polar(x, y)[1]), (A, B), order=2)
    g = dif.grad(lambda x, y: dif.sum(polar(x, y)[0] * dif.sin(polar(x, y)[1])), (0, 1))(A, B)  # r sin(phi) = y
    np.testing.assert_allclose(g[0], 0, atol=1e-15)
    np.testing.assert_allclose(g[1], 1, rtol=1e-14)


def test_nondifferentiable():
    assert signs(dif.tensor(A, requires_grad=True)).tolist() == [-1, 1, 1]


@pytest.mark.parametrize(
    ("kind", "rules", "more", "text"),
    [
        ("unary", 2, {}, r"takes 1 rule\(s\), found 2"),
        ("bilinear", 1, {}, r"takes 2 rule"),
        ("cubic", 1, {}, "none of unary"),
        ("linear", 1, {"saves": "x"}, "does not take saves="),
        ("unary", 1, {"check": abs}, "does not take check="),
        ("linear", 1, {"outputs": 2}, "several outputs"),
    ],
)
def test_wrong_declarations(kind, rules, more, text):
    with pytest.raises(ValueError, match=text):
        dif.primitive("test.wrong", abs, *[abs] * rules, kind=kind, **more)


def test_names_are_taken_once():
    with pytest.raises(ValueError, match="taken"):
        dif.primitive("sin", np.sin, lambda xp, g, y, x: g, kind="unary")
