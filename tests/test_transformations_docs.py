"""docs/transformations.md: its examples run, and what it says of vmap is so."""

import re
from pathlib import Path

import numpy as np
import pytest

import difftensor as dif

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "transformations.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_examples_run():
    space: dict = {"__name__": "example"}
    for code in FENCE.findall(PAGE):
        exec(compile(code, "<docs/transformations.md>", "exec"), space)


def test_every_transformation_is_named():
    names = [
        "grad", "value_and_grad", "vjp", "jvp", "linearize", "jacobian", "hessian", "hvp", "ggn_vp", "sparse_jacobian",
        "sparse_hessian", "taylor", "vmap", "checkpoint", "checkpoint_loop", "checkpointed", "custom_vjp", "custom_jvp",
        "primitive", "from_function",
    ]  # fmt: skip
    for name in names:
        assert callable(getattr(dif, name))
        assert f"`dif.{name}" in PAGE, name


@pytest.mark.parametrize(
    "name", ["sort", "argsort", "cumsum", "matmul", "einsum", "concatenate", "where", "take_along_axis", "pad", "diff"]
)
def test_what_is_not_listed_does_not_loop(name, monkeypatch):
    from difftensor._transforms import batch

    def refuse(*args):
        raise AssertionError("example by example")

    monkeypatch.setattr(batch.calls, "_loop", refuse)
    monkeypatch.setattr(batch.Batched, "__dif_loop__", staticmethod(refuse))
    f = getattr(dif, name)
    order = np.array([[2, 0, 1]])
    calls = {
        "matmul": lambda x: f(x, x.T),
        "einsum": lambda x: f("ij,kj->ik", x, x),
        "concatenate": lambda x: f([x, x]),
        "where": lambda x: f(x > 0, x, 1.0),
        "take_along_axis": lambda x: f(x, order, 1),
        "pad": lambda x: f(x, 1),
    }
    g = calls.get(name, f)
    x = np.random.default_rng(0).normal(size=(4, 2, 3))
    np.testing.assert_allclose(dif.vmap(g)(x), np.stack([np.asarray(g(row)) for row in x]), rtol=1e-14)


@pytest.mark.parametrize(
    "library",
    ["difftensor", *(pytest.param(p, marks=pytest.mark.peers(p.split()[0].split(".")[0])) for p in
                     ("torch functional", "torch.func", "autograd"))],
)  # fmt: skip
def test_the_benchmarked_hessians_are_right(library):
    """Against the Hessian written by hand; setup raises where they differ."""
    from asv_benchmarks.transforms import Hessian

    Hessian().setup(library)


def test_the_benchmarked_batch_is_right():
    from asv_benchmarks.transforms import Batch

    Batch().setup("vmap")
