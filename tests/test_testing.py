"""check_grads: it passes what is right, fails what is wrong in every mode and order, and refuses kinks."""

import numpy as np
import pytest

import difftensor as dif
from difftensor.testing import check_grads


def test_right_derivatives_pass(rng):
    x = rng.standard_normal(4)
    check_grads(lambda x: np.sin(x) * x[::-1], x, order=3)
    check_grads(lambda a, b: a @ b, (rng.standard_normal((2, 3)), rng.standard_normal(3)), order=2)
    check_grads(abs, x + 1j, order=2)
    check_grads(np.exp, x.astype(np.float32), order=2)
    check_grads(lambda d: {"u": d["a"] * d["b"], "v": [d["a"].sum()]}, ({"a": x, "b": 2.0},), order=2)
    check_grads(np.exp, np.zeros((0, 3)))
    check_grads(lambda x, n, name: x**n, (x, 3, "text"), order=2)


def wrong_sine(pull=1.0, push=1.0, second=1.0):
    """sin with errors: factors of the pull, of the push, and of the second derivative."""
    from difftensor._core import Node, Primitive, wrap
    from difftensor._core.tape import tick

    op = Primitive("wrong", "elementwise", np.sin, arity=1, saves="x")
    op.rule_a = lambda xp, g, y, x: g * xp.cos(x) * pull if xp is np else g * xp.cos(x) * second * pull
    op.push = lambda xp, t, y, x: t * xp.cos(x) * push if xp is np else t * xp.cos(x) * second * push

    def f(x):
        if not isinstance(x, dif.Tensor):
            return np.sin(x)
        y = wrap(np.sin(x._data))
        if x.node is not None:
            n = y.node = Node()
            n.op, n.p, n.q, n.params, n.a, n.y, n.b, n.code, n.at = (
                op,
                x.node,
                None,
                None,
                x._data,
                None,
                None,
                None,
                None,
            )
            n.seq = tick()
        return y

    return f


def test_the_construction_is_right_without_an_error():
    check_grads(wrong_sine(), np.array([0.3, 1.0]), order=2)


@pytest.mark.parametrize(
    "factors, modes, mode",
    [
        ({"pull": 1.01}, ("rev",), "reverse-mode derivative"),
        ({"push": 1.01}, ("fwd",), "forward-mode derivative"),
        ({"pull": -1.0}, ("rev", "fwd"), "reverse-mode derivative"),
        ({"pull": 1.0001}, ("rev", "fwd"), "reverse-mode"),
    ],
)
def test_wrong_first_derivatives_fail(factors, modes, mode):
    with pytest.raises(AssertionError, match=mode):
        check_grads(wrong_sine(**factors), np.array([0.3, 1.0]), order=1, modes=modes)


@pytest.mark.parametrize("modes", [("rev",), ("fwd",), ("rev", "fwd")])
def test_wrong_second_derivatives_fail_at_order_two(modes):
    f = wrong_sine(second=1.01)
    check_grads(f, np.array([0.3, 1.0]), order=1, modes=modes)
    with pytest.raises(AssertionError, match=r"derivative of the (forward|reverse)-mode derivative"):
        check_grads(f, np.array([0.3, 1.0]), order=2, modes=modes)


def test_one_wrong_element_of_many_is_found(rng):
    """Also where it is small beside the others."""

    def f(x):
        y = x**2
        return np.where(np.arange(50) == 17, y.detach() if isinstance(y, dif.Tensor) else y, y)

    with pytest.raises(AssertionError, match=r"\(17,\)"):
        check_grads(f, rng.uniform(0.5, 1.0, 50), order=1, modes=("fwd",))
    with pytest.raises(AssertionError):
        check_grads(f, rng.uniform(0.5, 1.0, 50), order=1, modes=("rev",))


def test_a_wrong_dtype_or_shape_fails():
    @dif.custom_vjp
    def f(x):
        return x * 1.0

    f.defvjp(lambda x: (x * 1.0, None), lambda kept, g: (g,))
    check_grads(f, np.ones(3) * 0.5, order=1, modes=("rev",))


@pytest.mark.parametrize(
    "f, x",
    [
        (abs, np.array([0.0, 1.0])),
        (lambda x: np.maximum(x, 0), np.array([0.0])),
        (lambda x: np.max(x), np.array([1.0, 1.0])),
        (lambda x: np.where(x > 1, 2 * x, x + 1), np.float64(1.0)),
        (lambda x: np.linalg.norm(x), np.zeros(3)),
    ],
)
def test_kinks_are_refused(f, x):
    with pytest.raises(ValueError, match="kink"):
        check_grads(f, x, order=1)


def test_kinks_of_the_derivative_are_refused_at_order_two():
    f = lambda x: x * abs(x)
    check_grads(f, np.array([0.0, 1.0]), order=1)
    with pytest.raises(ValueError, match="derivative has a kink"):
        check_grads(f, np.array([0.0, 1.0]), order=2)


def test_what_cannot_be_checked_is_said():
    with pytest.raises(ValueError, match="not finite"):
        check_grads(np.log, np.array([-1.0, 1.0]))
    with pytest.raises(ValueError, match="do not converge"):
        check_grads(np.sqrt, np.array([0.0, 1.0]), order=1)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="twice"):
        check_grads(lambda x: x * rng.standard_normal(), 1.0)
    with pytest.raises(ValueError, match="modes"):
        check_grads(np.sin, 1.0, modes=("reverse",))
    with pytest.raises(ValueError, match="floating"):
        check_grads(lambda n: n, (3,))


def test_arguments_of_different_sizes_are_all_moved():
    """1e-8 and 1e8: the directions have the size of their argument."""
    scale = np.float64(1e-8), np.float64(1e8)
    check_grads(lambda a, b: np.sin(a * 1e8) + np.cos(b * 1e-8), scale, order=2)
    with pytest.raises(AssertionError):
        check_grads(lambda a, b: wrong_sine(pull=2.0)(a * 1e8) + np.cos(b * 1e-8), scale, order=1)


def test_functions_that_write_into_their_argument():
    """Each evaluation gets arrays of its own; the caller's stay as they are."""

    def f(x):
        x = dif.asarray(x)
        x[0] = x[0] * x[1]
        return x.sum()

    x = np.array([2.0, 3.0])
    check_grads(f, x, order=2)
    np.testing.assert_array_equal(x, [2, 3])


def test_arrays_of_no_dimension_stay_arrays():
    """A write through a view of a 0-d array reaches it; of a NumPy scalar there are no views."""

    def f(x):
        v = x.reshape(-1)
        v[0] = v[0] * 0.3
        return np.sin(x)

    def on_tensors(x):
        return f(x if isinstance(x, dif.Tensor) else dif.tensor(x))

    check_grads(on_tensors, np.array(0.7), order=2)
    assert dif.grad(f)(np.array(0.7)) == pytest.approx(0.3 * np.cos(0.21))
    assert dif.grad(f)(np.float64(0.7)) == pytest.approx(np.cos(0.7))


def test_numpys_assertions_are_here_too():
    dif.testing.assert_allclose(np.ones(3), 1.0)
