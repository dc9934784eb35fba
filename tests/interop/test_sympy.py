"""SymPy: what lambdify makes of an expression is differentiated as SymPy itself does."""

import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import TrackedValueError

pytestmark = pytest.mark.interop("sympy")
POINT = (0.4, 0.9, 1.7)

EXPRESSIONS = [
    "exp(-x**2)*sin(y) + sqrt(x*y + 1)",
    "log(z) + atan2(y, x) + pi*x",
    "Abs(x - y)**3 + sign(x)*z",
    "Max(x, y*z) + Min(x, z)",
    "Piecewise((x**2, x < y), (y, True))",
    "sinc(x*y)",
    "tanh(x)*cosh(y)/z",
    "asin(x) + acosh(z)",
    "x**y + z**x",
    "(x + I*y)*(x - I*y)*z",
    "cot(x) + sec(y)",
    "erf(x) + gamma(y) + besselj(0, z)",
    "x.diff(x)*y",
]
MODULES = {
    "by default": lambda: None,
    "numpy": lambda: "numpy",
    "scipy": lambda: ["scipy", "numpy"],
    "difftensor": lambda: [dif, "numpy"],
}


@pytest.mark.parametrize("modules", MODULES)
@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expressions(text, modules):
    import sympy

    if "erf" in text and "scipy" not in modules and "default" not in modules:
        pytest.skip("SymPy's NumPy printer knows no special functions")
    symbols = x, y, z = sympy.symbols("x y z", real=True)
    expression = eval(text, vars(sympy) | {"x": x, "y": y, "z": z})
    f = sympy.lambdify(symbols, expression, MODULES[modules]())
    at = dict(zip(symbols, POINT))
    assert complex(f(*map(dif.asarray, POINT)).item()) == pytest.approx(complex(expression.subs(at).evalf()), rel=1e-12)
    gradient = dif.grad(lambda *p: np.real(f(*p)), argnums=(0, 1, 2))(*POINT)
    expected = [complex(expression.diff(s).subs(at).evalf()).real for s in symbols]
    np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-12)


def test_arrays_and_second_derivatives():
    import sympy

    x, y = sympy.symbols("x y")
    expression = sympy.exp(x * y) * sympy.cos(x)
    f = sympy.lambdify([[x, y]], expression)
    points = np.array([[0.1, 0.5, 1.5], [0.7, -0.2, 0.4]])
    expected = sympy.lambdify((x, y), sympy.hessian(expression, (x, y)), "numpy")
    for p in points.T:
        np.testing.assert_allclose(dif.hessian(f)(p), expected(*p), rtol=1e-12)
    np.testing.assert_allclose(f(dif.asarray(points)).numpy(), f(points))


def test_matrices():
    """SymPy's code calls NumPy's array(); difftensor first in `modules` puts its own there."""
    import sympy

    t = sympy.symbols("t")
    rotation = sympy.Matrix([[sympy.cos(t), -sympy.sin(t)], [sympy.sin(t), sympy.cos(t)]])
    f = sympy.lambdify(t, rotation, [dif, "numpy"])
    np.testing.assert_allclose(dif.jacobian(f)(0.3), f(0.3 + np.pi / 2), rtol=1e-14)
    with pytest.raises(TrackedValueError, match="dif.array"):
        dif.jacobian(sympy.lambdify(t, rotation, "numpy"))(0.3)


def test_symbols_do_not_swallow_derivatives():
    import sympy

    x = sympy.Symbol("x")
    two = dif.asarray(2.0)
    assert x * two == two * x == 2.0 * x and sympy.sin(two) == sympy.sin(2.0) and (x**2).subs(x, two) == 4.0
    assert sympy.sympify(dif.asarray([1.0, 2.0])) == sympy.sympify(np.array([1.0, 2.0]))
    for f in (lambda t: x * t, lambda t: t + x, sympy.sin, sympy.sympify, lambda t: (x**2).subs(x, t)):
        with pytest.raises(TrackedValueError, match=r"detach\(\)"):
            dif.grad(f)(0.3)
    with pytest.raises(TypeError, match="holds object"):
        dif.ones(2) * sympy.Matrix([1, x])
