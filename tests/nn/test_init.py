"""Initial weights against their formulas, dropout against its expectation, and the examples in docstrings."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import difftensor as dif
from difftensor import nn
from difftensor.nn import init


def filled(f, shape=(200, 300), **settings):
    t = dif.zeros(shape)
    assert f(t, **settings) is t
    return t.numpy()


# name, settings, standard deviation, bound; fan in 300, fan out 200
FORMULAS = [
    (init.uniform_, {"a": -2.0, "b": 3.0}, 5 / 12**0.5, 3.0),
    (init.normal_, {"mean": 0.0, "std": 0.5}, 0.5, None),
    (init.trunc_normal_, {}, 0.8796256610342398, 2.0),  # of a normal variable cut at two deviations, in closed form
    (init.xavier_uniform_, {"gain": 2.0}, 2 * (2 / 500) ** 0.5, 2 * (6 / 500) ** 0.5),
    (init.xavier_normal_, {}, (2 / 500) ** 0.5, None),
    (init.kaiming_uniform_, {}, (2 / 300) ** 0.5, (6 / 300) ** 0.5),
    (init.kaiming_normal_, {"mode": "fan_out", "nonlinearity": "relu"}, (2 / 200) ** 0.5, None),
]


@pytest.mark.parametrize("f, settings, std, bound", FORMULAS, ids=[c[0].__name__ for c in FORMULAS])
def test_spread(f, settings, std, bound):
    a = filled(f, rng=0, **settings)
    assert abs(a.std() - std) < 0.01 * std
    assert bound is None or 0.99 * bound < abs(a).max() <= bound
    np.testing.assert_array_equal(a, filled(f, rng=0, **settings))
    assert (a != filled(f, rng=1, **settings)).any()


def test_special_matrices():
    for shape in [(5, 3), (3, 5), (4, 2, 3)]:
        a = filled(init.orthogonal_, shape, gain=2.0, rng=0).reshape(shape[0], -1)
        small = a @ a.T if a.shape[0] <= a.shape[1] else a.T @ a
        np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)
    np.testing.assert_array_equal(filled(init.eye_, (2, 3)), np.eye(2, 3))
    x = dif.asarray(np.random.default_rng(0).normal(size=(1, 3, 5, 5)))
    passed = nn.functional.conv2d(x, dif.asarray(filled(init.dirac_, (3, 3, 3, 3))), padding=1)
    np.testing.assert_array_equal(passed.numpy(), x.numpy())
    assert (filled(init.ones_) == 1).all() and (filled(init.constant_, val=2.5) == 2.5).all()


def test_filling_leaves_a_leaf():
    w = dif.tensor(np.zeros((2, 2), np.float32), requires_grad=True)
    init.normal_(w, rng=0)
    assert w.requires_grad and w.is_leaf and w.dtype == np.float32 and (w.detach() != 0).all()


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout_keeps_the_mean(p):
    x = dif.tensor(np.ones(100_000), requires_grad=True)
    y = nn.functional.dropout(x, p, rng=0)
    kept = y.detach().numpy()
    assert abs((kept == 0).mean() - p) < 0.01
    assert abs(kept.mean() - (p < 1)) < 0.01 and set(np.unique(kept.round(12))) <= {
        0.0,
        round(1 / (1 - p), 12) if p < 1 else 0.0,
    }
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, kept)
    assert nn.functional.dropout(x, p, training=False) is x


def test_channels_are_dropped_whole():
    y = nn.Dropout2d(0.5, rng=0)(dif.ones((20, 30, 4, 4))).numpy()
    assert set(np.unique(y.sum(axis=(2, 3)))) == {0.0, 32.0}


def test_alpha_dropout_keeps_both_moments():
    x = np.random.default_rng(0).normal(size=200_000)
    y = nn.AlphaDropout(0.3, rng=1)(dif.asarray(x)).numpy()
    assert abs(y.mean()) < 0.01 and abs(y.std() - 1) < 0.01


def test_a_checkpoint_around_dropout_is_noticed():
    from difftensor.errors import MutatedConstantError

    layer = nn.Dropout(0.5, rng=0)
    with pytest.raises(MutatedConstantError, match="random"):
        dif.grad(lambda x: dif.checkpoint(lambda x: layer(x) ** 2)(x).sum())(np.ones(100))


MODULES = sorted(m.name for m in pkgutil.walk_packages(nn.__path__, "difftensor.nn."))


@pytest.mark.parametrize("name", ["difftensor.nn", *MODULES])
def test_docstrings(name):
    assert not doctest.testmod(importlib.import_module(name)).failed


def test_everything_public_has_a_docstring():
    spaces = [nn, nn.functional, nn.init, nn.data, nn.models]
    lacking = {f"{s.__name__}.{n}" for s in spaces for n in dir(s) if n[0] != "_" and not getattr(s, n).__doc__}
    lacking -= {"difftensor.nn.init.annotations"}
    assert not lacking


def test_nothing_below_imports_it():
    import subprocess
    import sys

    program = "import sys, difftensor, optim; print([m for m in sys.modules if m.startswith('difftensor.nn')])"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert found.stdout.strip() == "[]", found.stderr
