"""Random programs with views and writes in place: difftensor against a functional replay and against PyTorch.

Any failure prints the program. The long tier, 10 000 programs: ``python -m pytest -m slow tests/inplace``.
"""

import warnings

import numpy as np
import pytest

import difftensor as dif
from difftensor._core import writes
from tests.inplace.check import Difftensor, close, constants, mismatches
from tests.inplace.programs import make


def failures(seeds, second_order=True):
    """The programs that go wrong, each with what went wrong; and how many made a hard write."""
    wrong, hard = [], 0
    for seed in seeds:
        program = make(seed)
        try:
            found, watch = mismatches(program, second_order)
        except Exception as error:
            found = [repr(error)]
        else:
            hard += watch.hard_write
        if found:
            wrong.append((program, found))
    return wrong, hard


def explain(wrong):
    return "\n\n".join(f"{program}\n{found}" for program, found in wrong[:3])


@pytest.mark.parametrize("block", range(6))
def test_no_program_is_wrong(block):
    wrong, hard = failures(range(50 * block, 50 * block + 50))
    assert not wrong, explain(wrong)
    assert hard >= 15  # 30 %: a value that a derivative needs is overwritten under two live overlapping views


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_no_program_is_wrong_among_ten_thousand(block):
    wrong, hard = failures(range(1000 + 500 * block, 1500 + 500 * block))
    assert not wrong, explain(wrong)
    assert hard >= 150


def test_without_copy_on_write_the_programs_fail(monkeypatch):
    """The line is there for a reason, and the programs would notice."""
    monkeypatch.setattr(writes, "unshare", lambda x: None)
    wrong, _ = failures(range(1000), second_order=False)
    assert len(wrong) >= 100


# PyTorch ------------------------------------------------------------------------------------------------------------


def torch_namespace(torch):
    class Torch:
        sin, tanh, asarray = torch.sin, torch.tanh, staticmethod(lambda a: a)

        def zeros(shape, dtype=float):
            return torch.zeros(shape, dtype=torch.complex128 if dtype is complex else torch.float64)

        def where(mask, a, b):
            return torch.where(torch.as_tensor(mask), a, b)

        def copy(a):
            return a.clone(memory_format=torch.contiguous_format)

        def detach(a):
            return a.detach().clone()

        def copyto(a, b):
            a[...] = b

        def fill(a, s):
            a.fill_(s)

        def add(a, b, out):
            out[...] = a + b

        def multiply(a, b, out):
            out[...] = a * b

        def put(a, index, v):
            a[tuple(torch.as_tensor(i) for i in np.unravel_index(index, a.shape)) if a.ndim else ...] = v

        def fill_diagonal(a, s):
            n = torch.arange(min(a.shape))
            a[n, n] = s

    return Torch


def peer(torch, program):
    """Value, gradient and Hessian-vector product by PyTorch, or None where it refuses the program."""
    leaf = torch.tensor(program.x, requires_grad=True)
    try:
        k = [torch.from_numpy(k) for k in constants(program)]
        y = program.run(torch_namespace(torch), leaf.clone(), k)
        (g,) = torch.autograd.grad(y, leaf, create_graph=True, materialize_grads=True)
        if not g.requires_grad:
            return y.item(), g.numpy(), np.zeros(g.shape)
        (h,) = torch.autograd.grad(g.sum(), leaf, materialize_grads=True)
    except (RuntimeError, ValueError, IndexError, TypeError):
        return None
    return y.item(), g.detach().numpy(), h.numpy()


def against_torch(torch, seeds):
    accepted, wrong = 0, []
    for seed in seeds:
        program = make(seed, peers=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = peer(torch, program)
        if theirs is None:
            continue
        accepted += 1

        def f(x, program=program):
            return program.run(Difftensor, x, constants(program))

        y, g = dif.value_and_grad(f)(program.x)
        h = dif.jvp(dif.grad(f), (program.x,), (np.ones(program.x.shape),))[1]
        if not (close(y, theirs[0]) and close(g, theirs[1]) and close(h, theirs[2], 1e-8)):
            wrong.append((program, [(y, g, h), theirs]))
    return accepted, wrong


@pytest.mark.peers("torch")
def test_pytorch_agrees_where_it_accepts_the_program():
    torch = pytest.importorskip("torch")
    accepted, wrong = against_torch(torch, range(300))
    print(f"PyTorch accepts {accepted} of 300 programs")
    assert not wrong, explain(wrong)
    assert accepted >= 30


@pytest.mark.slow
@pytest.mark.peers("torch")
def test_pytorch_agrees_on_thousands():
    torch = pytest.importorskip("torch")
    accepted, wrong = against_torch(torch, range(10**4, 10**4 + 5000))
    assert not wrong, explain(wrong)
    assert accepted >= 500
