"""Write docs/functions.md: every function of NumPy's namespaces, what it is differentiable in, kinks, differences.

    python scripts/function_table.py            writes the page
    python scripts/function_table.py --check    exit status 1 if the page is not what would be written

Nothing is claimed by hand but the differences: the calls of tests/numpy_calls.py are run, an argument counts as
differentiable if its gradient is not zero, and the kinks are those that the primitives on the tape declare. The devices
are those on which the calls and their derivatives run; the GPU is the stand-in for CuPy of tests/standin, which has
the names and arguments of the real one and refuses what it refuses.
"""

import argparse
import ast
import inspect
import sys
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import difftensor as dif  # noqa: E402
from difftensor._ops.left_out import LEFT_OUT  # noqa: E402
from tests import standin  # noqa: E402
from tests.numpy_calls import PLAIN, SAMPLES, SMOOTH  # noqa: E402

PAGE = ROOT / "docs" / "functions.md"
DIFFERENCES = {
    "argsort": "stable unless `kind` says otherwise; `descending=`",
    "asarray": "a Tensor over an ndarray shares its memory",
    "diagonal": "the view can be written to",
    "finfo": "limits are Python floats",
    "frombuffer": "a copy",
    "linalg.eig": "always complex, as NumPy from 2.5 on and the array API standard",
    "linalg.eigvals": "always complex, as NumPy from 2.5 on and the array API standard",
    "lib.stride_tricks.sliding_window_view": "read-only; later writes to the array do not reach it",
    "ndarray": "is `dif.Tensor`",
    "sort": "`descending=`",
}
HEAD = """# Functions

Every function of NumPy's main namespace, `np.linalg` and `np.fft` that takes arrays. All of them are called as
`dif.NAME(...)`; with a Tensor among the arguments `np.NAME(...)` is the same wherever NumPy asks its arguments
([the exceptions](left_out.md#what-numpy-does-not-dispatch)). They run on the device of their arguments, and are
differentiable to any order, in reverse and forward mode, in the arguments that are named here. "Kinks" says which
subgradient is taken where there is no derivative. Where nothing is said about differences from NumPy there are none.

"GPU" says that the function and its derivatives run on CuPy arrays, with the names and arguments that CuPy 14 has;
"in part" that some ways to call it do. The others raise there: `x.to_device("cpu")` is the way. **Unverified on
hardware**: this column is written with a stand-in for CuPy (`tests/standin`), not on a GPU.

This page is written by `python scripts/function_table.py`.
"""


class Namespace(dict):
    def __missing__(self, name):
        if name != "np" and hasattr(dif, name):
            return getattr(dif, name)
        raise KeyError(name)


def flat(y):
    return [a for part in y for a in flat(part)] if isinstance(y, (tuple, list)) else [y]


def outer_call(tree):
    """The call of a line, inside what is done with its result."""
    node = tree.body
    while not isinstance(node, ast.Call):
        node = node.value if isinstance(node, (ast.Subscript, ast.Attribute)) else node.left
        if isinstance(node, ast.Name):
            return None
    return node


def parameters(call):
    """(text of the argument, its name) for each argument of a call."""
    if isinstance(call.func, ast.Call):  # vectorize(f)(x)
        return ast.unparse(call.func.func), [(arg, "the elements") for arg in call.args]
    name = ast.unparse(call.func)
    f = np
    for part in name.split("."):
        f = getattr(f, part)
    if isinstance(f, np.ufunc):
        names = ["x"] if f.nin == 1 else [f"x{i + 1}" for i in range(f.nin)]
    else:
        signature = inspect.signature(f).parameters.values()
        names = [f"*{p.name}" if p.kind is p.VAR_POSITIONAL else p.name for p in signature]
    if names[0].startswith("*"):
        names = names[:1] * len(call.args)
    return name, [*zip(call.args, names), *((k.value, k.arg) for k in call.keywords)]


def examine(line):
    """Name of the function, the arguments with a gradient, and the kinks on the tape."""
    tree = ast.parse(line, mode="eval")
    call = outer_call(tree)
    if call is None:
        return line.split("[")[0], {"the parts"}, set()
    name, arguments = parameters(call)
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} & SAMPLES.keys()
    leaves = {n: dif.tensor(SAMPLES[n], requires_grad=SAMPLES[n].dtype.kind in "fc") for n in used}
    y = eval(line, {"np": np}, Namespace(leaves))  # noqa: S307
    ys = [v for v in flat(y) if isinstance(v, dif.Tensor) and v.requires_grad]
    loss = sum(dif.sum(dif.real(v * np.arange(1.0, v.size + 1).reshape(v.shape)) + 0.3 * dif.imag(v)) for v in ys)
    kinks = kinks_of(loss)
    loss.backward()
    moved = {n for n, x in leaves.items() if x.grad is not None and np.any(x.grad.numpy() != 0)}
    named = {p for arg, p in arguments if moved & {n.id for n in ast.walk(arg) if isinstance(n, ast.Name)}}
    return name, named, kinks


def kinks_of(y):
    """What the primitives between `y` and its leaves declare."""
    seen, todo, found = set(), [y.grad_fn], set()
    while todo:
        n = todo.pop()
        if n is None or n.op is None or id(n) in seen:
            continue
        seen.add(id(n))
        kink = n.op.facts.get("kinks")
        if kink:
            found.add(kink)
        todo += [m for m in (n.p, *(n.q if isinstance(n.q, tuple) else (n.q,))) if m is not None]
    return found


def runs_on(device, line, differentiable):
    """Does the call of `line`, and its derivative, run on `device`, and stay there?"""
    leaves = {
        n: dif.tensor(a, device=device, requires_grad=differentiable and a.dtype.kind in "fc")
        for n, a in SAMPLES.items()
    }
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"), dif.default_device(device):
            warnings.simplefilter("ignore")
            ys = [v for v in flat(eval(line, {"np": np}, Namespace(leaves))) if isinstance(v, dif.Tensor)]  # noqa: S307
            for y in ys:
                if y.requires_grad:
                    dif.sum(dif.real(y) if y.dtype.kind == "c" else y).backward(retain_graph=True)
        return all(y.device == device for y in ys)
    except Exception:  # noqa: BLE001 - whatever it raises there, the answer is no
        return False


def devices(smooth, plain):
    """For each function, where it runs."""
    before = standin.install()
    try:
        found = {}
        for name, line, differentiable in [(n, v, True) for n, v in smooth] + [(n, v, False) for n, v in plain]:
            found.setdefault(name, []).append(runs_on("cuda:0", line, differentiable))
    finally:
        standin.remove(before)
    return {n: "CPU, GPU" if all(runs) else "CPU, GPU in part" if any(runs) else "CPU" for n, runs in found.items()}


def page():
    smooth, kinks, calls = {}, {}, []
    for line in SMOOTH.split("\n")[1:-1]:
        name, named, found = examine(line)
        calls.append((name, line))
        smooth.setdefault(name, set()).update(named)
        kinks.setdefault(name, set()).update(found)
    constant = [(line.split("(")[0].split("[")[0], line) for line in PLAIN.split("\n")[1:-1]]
    constant = [(name, line) for name, line in constant if name not in smooth]
    plain, where = {name for name, _ in constant}, devices(calls, constant)
    lines = [HEAD, "## Differentiable\n"]
    lines += ["| function | in | devices | kinks | differs from NumPy |", "|---|---|---|---|---|"]
    for name in sorted(smooth, key=str.lower):
        arguments = ", ".join(p if " " in p else f"`{p}`" for p in sorted(smooth[name]))
        rest = f"{'; '.join(sorted(kinks[name]))} | {DIFFERENCES.get(name, '')}"
        lines.append(f"| `{name}` | {arguments} | {where[name]} | {rest} |")
    lines += [
        "\n## Without derivative\n",
        "They count, compare, locate, describe, or make constants: plain results without a tape.\n",
    ]
    lines += ["| function | devices | differs from NumPy |", "|---|---|---|"]
    lines += [f"| `{name}` | {where[name]} | {DIFFERENCES.get(name, '')} |" for name in sorted(plain, key=str.lower)]
    lines.append(f"\n[Left out on purpose](left_out.md): {len(LEFT_OUT)} names.")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    text = page()
    if parser.parse_args().check:
        return int(PAGE.read_text() != text)
    PAGE.write_text(text)
    print(f"wrote {PAGE.relative_to(ROOT)}: {text.count(chr(10))} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
