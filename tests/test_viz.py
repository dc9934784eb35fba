"""Pictures of the graph, and the profile."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import difftensor as dif

pytest.importorskip("graphviz", reason="not installed: graphviz")
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="not installed: the program dot")


def boxes(picture):
    return dict(re.findall(r'(n\d+) \[label="(.*?)"', picture.source, re.DOTALL))


def arrows(picture):
    return re.findall(r"(n\d+) -> (n\d+)", picture.source)


def test_each_operation_has_shape_dtype_device_and_line():
    w = dif.tensor(np.ones((2, 3), dtype=np.float32), requires_grad=True)
    y = np.sin(w).T  # LINE
    picture = dif.viz.graph(y)
    text = {label.split("\n")[0]: label.split("\n") for label in boxes(picture).values()}
    here = next(i + 1 for i, line in enumerate(Path(__file__).read_text().splitlines()) if "# LINE" in line)
    assert text["requires_grad"][1] == "(2, 3) float32 on cpu"
    assert text["sin"][1:] == ["(2, 3) float32 on cpu", f"test_viz.py:{here}"]
    assert text["transpose"][1:] == ["(3, 2) float32 on cpu", f"test_viz.py:{here}"]


def test_the_arrows_are_those_of_the_tape():
    a, b = (dif.tensor(1.0, requires_grad=True) for _ in range(2))
    c = a * b
    picture = dif.viz.graph(c + a)
    name = {label.split("\n")[0]: n for n, label in boxes(picture).items()}
    assert (name["multiply"], name["add"]) in arrows(picture)
    assert len(arrows(picture)) == 4 and len(boxes(picture)) == 4


def test_shapes_of_writes_views_several_results_and_reductions():
    def f(x):
        u = dif.zeros((3, 3))
        u[1:, 1:] = x
        v, vectors = np.linalg.eigh(u + u.T)
        seen.append(dif.viz.graph(v.sum() + (vectors**2).mean()))
        return v.sum()

    seen = []
    dif.grad(f)(np.array([[1.0, 0.3], [0.2, 5.0]]))
    labels = "\n".join(boxes(seen[0]).values())
    assert "write\n(3, 3) float64 on cpu" in labels and "argument\n(2, 2) float64 on cpu" in labels
    assert "add.reduce\n() float64 on cpu" in labels


def test_drawing_leaves_no_trace():
    """Hooks are not called, gradients not accumulated, the tape is not freed."""
    called = []
    w = dif.tensor([1.0, 2.0], requires_grad=True)
    y = w * w
    y.register_hook(called.append)
    z = y.sum()
    dif.viz.graph(z)
    assert not called and w.grad is None
    z.backward()
    assert len(called) == 1 and w.grad.tolist() == [2.0, 4.0]


def test_large_graphs_fold_by_line():
    w = dif.tensor([0.1, 0.2], requires_grad=True)
    y = w
    for _ in range(500):
        y = np.sin(y) * w  # LOOP
    picture = dif.viz.graph(y.sum())
    assert len(boxes(picture)) <= 5
    assert "sin x500" in picture.source and "multiply x500" in picture.source
    assert len(dif.viz.graph(y.sum(), fold=2000).source) > 20 * len(picture.source)


def test_very_many_lines_fold_too():
    lines = "".join(f"    y = y + {i}.0 * x\n" for i in range(300))
    space = {}
    exec(f"def f(x):\n    y = x\n{lines}    return y", space)
    w = dif.tensor(1.0, requires_grad=True)
    picture = dif.viz.graph(space["f"](w), fold=50)
    assert "250 earlier lines" in picture.source and len(boxes(picture)) == 50


def test_text_needs_no_program(tmp_path, monkeypatch):
    w = dif.tensor(1.0, requires_grad=True)
    dif.viz.graph(w * 2, tmp_path / "g.dot")
    assert (tmp_path / "g.dot").read_text().startswith("digraph")
    monkeypatch.setenv("PATH", "")
    picture = dif.viz.graph(w * 2)
    assert picture._repr_svg_() is None
    with pytest.raises(RuntimeError, match="Graphviz"):
        picture.save(tmp_path / "g.svg")


@needs_dot
def test_svg(tmp_path):
    w = dif.tensor(1.0, requires_grad=True)
    picture = dif.viz.graph(np.exp(w), tmp_path / "g.svg")
    assert "<svg" in picture._repr_svg_() and "exp" in (tmp_path / "g.svg").read_text()


def test_what_is_not_tracked_has_no_graph():
    with pytest.raises(ValueError, match="requires_grad"):
        dif.viz.graph(dif.ones(3) * 2)
    w = dif.tensor([1.0], requires_grad=True)
    y = (w * w).sum()
    y.backward()
    with pytest.raises(dif.errors.FreedTapeError):
        dif.viz.graph(y)


def test_labels_are_text():
    """A file name with quotes and backslashes does not break the drawing."""
    space = {"np": np}
    exec(compile("def f(x):\n    return np.sin(x)", 'a"b\\N{new}.py', "exec"), space)
    picture = dif.viz.graph(space["f"](dif.tensor(1.0, requires_grad=True)))
    assert len(boxes(picture)) == 2
    if shutil.which("dot"):
        assert "sin" in picture._repr_svg_()


# The profile --------------------------------------------------------------------------------------------------------


def test_profile_counts_calls_time_and_memory():
    n = 100_000
    with dif.profile() as p:
        for _ in range(3):
            dif.grad(lambda x: (np.sin(x) * np.exp(x[::2].sum() * 1e-9)).sum())(np.ones(n))
    forward, backward = p.table["sin", "forward"], p.table["sin", "backward"]
    assert forward[0] == backward[0] == 3
    assert forward[2] == 3 * 8 * n
    assert forward[1] > 0 and backward[1] > 0
    assert p.table["getitem", "forward"][2] == 0  # views take no memory
    assert p.saved >= 3 * 8 * n
    assert sum(seconds for _, seconds, _ in p.table.values()) < p.seconds
    text = str(p)
    assert (
        "sin" in text
        and "the tape kept" in text
        and text.splitlines()[0].split() == ["operation", "forward", "backward"]
    )


def test_profile_tells_the_modes_apart():
    with dif.profile() as p:
        dif.jvp(lambda x: dif.exp(x) * 2.0, (1.0,), (1.0,))
    assert p.table["exp", "tangent"][0] == 1 and ("exp", "backward") not in p.table


def test_profile_ends():
    import sys

    before = sys.getprofile()
    with dif.profile():
        pass
    assert sys.getprofile() is before
