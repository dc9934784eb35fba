"""docs/random.md: its example runs, and its table says how many words a draw takes and what it is differentiable in."""

import inspect
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import MissingDerivativeError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "random.md").read_text(encoding="utf-8")
ROWS = {
    m[1]: (Fraction(m[2]), re.findall(r"\w+", m[3]))
    for m in re.finditer(r"^\| `(\w+)` \| ([\d/]+) \|([\w, ]*)\|", PAGE, re.MULTILINE)
}
# Arguments, and how many numbers are drawn where that is not the size.
ARGUMENTS = {
    "uniform": (0.5, 2.0), "normal": (0.5, 2.0), "laplace": (0.5, 2.0), "logistic": (0.5, 2.0), "gumbel": (0.5, 2.0),
    "exponential": (2.0,), "lognormal": (0.5, 2.0), "rayleigh": (2.0,), "weibull": (2.0,), "pareto": (2.0,),
    "power": (2.0,), "triangular": (0.0, 1.0, 3.0), "standard_gamma": (2.0,), "gamma": (2.0, 3.0), "chisquare": (2.0,),
    "f": (2.0, 3.0), "standard_t": (2.0,), "beta": (2.0, 3.0), "dirichlet": (np.array([1.0, 2.0, 3.0]),),
    "noncentral_chisquare": (2.0, 3.0), "noncentral_f": (2.0, 3.0, 1.0), "wald": (1.0, 2.0), "vonmises": (0.5, 2.0),
    "multivariate_normal": (np.ones(2), 2 * np.eye(2)), "integers": (0, 10), "poisson": (2.0,), "binomial": (10, 0.5),
    "negative_binomial": (3.0, 0.5), "geometric": (0.5,), "logseries": (0.5,), "zipf": (2.0,),
    "hypergeometric": (5, 6, 7), "multinomial": (10, np.array([0.2, 0.3, 0.5])),
    "multivariate_hypergeometric": (np.array([5, 6, 7]), 8), "choice": (np.arange(5.0),),
}  # fmt: skip
SIZE = 40
COUNT = {"dirichlet": 3 * SIZE} | dict.fromkeys(
    ["multivariate_normal", "multinomial", "multivariate_hypergeometric"], 2 * SIZE
)
WHOLE = {"bytes": (SIZE,), "permutation": (np.arange(float(SIZE)),), "permuted": (np.arange(float(SIZE)),),
         "shuffle": (np.arange(float(SIZE)),)}  # fmt: skip


def draw(name, args, rng):
    return getattr(rng, name)(*args, **({} if name in WHOLE else {"size": SIZE}))


def test_the_example_runs(capsys):
    for code in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(compile(code, "<docs/random.md>", "exec"), {})
    found = [float(v) for v in re.findall(r"[\d.]{4,}", capsys.readouterr().out)]
    assert found == pytest.approx([2.0, 1.0], abs=0.03)


def test_every_draw_has_a_row():
    draws = {n for n, f in inspect.getmembers(dif.random.Generator, inspect.isfunction) if not n.startswith("_")}
    assert set(ROWS) == draws - {"spawn"}


@pytest.mark.parametrize("name", ROWS)
def test_words(name):
    rng = dif.random.default_rng(0)
    draw(name, WHOLE.get(name, ARGUMENTS.get(name, ())), rng)
    assert rng.state["position"] == ROWS[name][0] * COUNT.get(name, SIZE)


@pytest.mark.parametrize("name", ROWS)
def test_derivatives(name):
    args = WHOLE.get(name, ARGUMENTS.get(name, ()))
    parameters = list(inspect.signature(getattr(dif.random.Generator, name)).parameters)[1 : 1 + len(args)]
    for i, what in enumerate(parameters):
        if not isinstance(args[i], (float, np.ndarray)) or np.asarray(args[i]).dtype.kind != "f":
            assert what not in ROWS[name][1]
            continue

        def f(v, i=i):
            return (1.0 * draw(name, (*args[:i], v, *args[i + 1 :]), dif.random.default_rng(0))).sum()

        if what in ROWS[name][1]:
            assert np.any(dif.grad(lambda v: f(v) ** 2)(args[i]))  # noqa: B023
        elif name != "shuffle":
            with pytest.raises(MissingDerivativeError, match=what):
                dif.grad(f)(args[i])
