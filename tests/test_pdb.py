"""A debugger inside of a differentiated function shows values, not tracers."""

import subprocess
import sys
import textwrap

PROGRAM = """
import numpy as np
import difftensor as dif

def f(x):
    y = np.sin(x) * 2.0
    for k in range(3):
        y = y + k * x
    return (y * y).sum()

g = dif.grad(f)(np.array([0.5, 1.0]))
print("gradient", g.round(4))
"""


def session(tmp_path, *commands):
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM).lstrip())
    run = subprocess.run(
        [sys.executable, "-m", "pdb", str(script)],
        input="\n".join((*commands, "quit", "")),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return run.stdout


def test_values_can_be_printed_and_changed_at_a_breakpoint(tmp_path):
    out = session(
        tmp_path,
        "break 6",  # the loop
        "continue",
        "p x",
        "p y",
        "p y.shape, y.dtype, float(y[0].detach()) > 0.95",
        "p y > 1",
        "p f'{y[1].item():.3f}'",
        "p x.requires_grad",
        "!y = y * 0 + 1.0",
        "clear 1",
        "continue",
    )
    assert "tensor([0.5, 1. ], requires_grad=True)" in out
    assert "tensor([0.95885108, 1.68294197], requires_grad=True)" in out
    assert "((2,), dtype('float64'), True)" in out
    assert "tensor([False,  True])" in out
    assert "'1.683'" in out
    # with y = 1 the function is sum (1 + 3 x)^2, whose gradient is 6 (1 + 3 x)
    assert "gradient [15. 24.]" in out


def test_stepping_stays_in_the_users_program(tmp_path):
    """`next` goes from line to line; the value of the line before is there on the next one."""
    out = session(tmp_path, "break 5", "continue", "next", "p y", "next", "next", "next", "p k, y")
    assert "tensor([0.95885108, 1.68294197], requires_grad=True)" in out
    assert "program.py(6)f()" in out
    assert "program.py(7)f()" in out
    assert "(1, tensor([" in out or "(0, tensor([" in out


def test_post_mortem_shows_the_values_at_the_error(tmp_path):
    script = tmp_path / "broken.py"
    script.write_text(
        "import numpy as np, difftensor as dif\n"
        "def f(x):\n"
        "    y = x * 3.0\n"
        "    return y @ np.ones(4)\n"
        "dif.grad(f)(np.array([1.0, 2.0]))\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pdb", "-c", "continue", str(script)],
        input="where\n" + "up\np y\n" * 4 + "quit\nquit\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "ValueError: matmul: " in run.stderr
    assert "tensor([3., 6.], requires_grad=True)" in run.stdout
