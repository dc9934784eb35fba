"""Pictures of the recorded graph, drawn by Graphviz."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from difftensor import tree
from difftensor._backend import device_of
from difftensor._core import Leaf, Node, Tensor, engine, sweeping
from difftensor._core.tape import place_of
from difftensor._transforms.sweep import one_like
from difftensor.errors import public_name


def graph(y: Any, path: str | os.PathLike | None = None, *, fold: int = 80) -> Graph:
    """The graph that was recorded for `y`: operations with shape, dtype, device and the line that called them.

    Parameters
    ----------
    y : Tensor or pytree of Tensors
        Results on the tape, before ``backward()`` has freed it.
    path : path, optional
        Write it there: ``.svg``, ``.png`` or ``.pdf`` (needs the program ``dot``), ``.dot`` or ``.gv`` (text).
    fold : int
        A graph of more operations than this is folded: one box for each line of the program, with what it called.

    Returns
    -------
    Graph
        Shows itself in notebooks; ``.source`` is its text in the DOT language, ``.save(path)`` writes it.

    Raises
    ------
    ImportError
        The package graphviz is not installed: ``pip install 'difftensor[viz]'``.
    ValueError
        `y` is not tracked.

    Notes
    -----
    Arrows point the way the values flow. Shapes are found by a backward sweep (without calling hooks), so drawing costs
    about as much as the derivative.

    Examples
    --------
    >>> import difftensor as dif
    >>> w = dif.tensor([1.0, 2.0], requires_grad=True)
    >>> "multiply" in dif.viz.graph((w * w).sum()).source
    True
    """
    results = [v for v in tree.leaves(y) if isinstance(v, Tensor)]
    nodes = list(dict.fromkeys(v.node for v in results if v.node is not None))
    if not nodes:
        raise ValueError(
            "viz.graph: nothing is tracked here; make the inputs with requires_grad=True, or draw inside dif.grad"
        )
    order, leaves = sweeping.trace(nodes)
    drawn = _folded(order, leaves, fold) if len(order) > fold else _drawn(order, leaves, results)
    picture = Graph(drawn)
    if path is not None:
        picture.save(path)
    return picture


class Graph:
    """A drawing: `source` is its text in the DOT language."""

    def __init__(self, drawing: Any):
        self._drawing = drawing

    @property
    def source(self) -> str:
        return self._drawing.source

    def save(self, path: str | os.PathLike) -> None:
        """Write it to `path`, in the format of its suffix."""
        path = Path(path)
        kind = path.suffix[1:]
        if kind in ("dot", "gv", "txt"):
            path.write_text(self.source)
        else:
            path.write_bytes(self._rendered(kind or "svg"))

    def _rendered(self, kind: str) -> bytes:
        from graphviz import ExecutableNotFound

        try:
            return self._drawing.pipe(format=kind)
        except ExecutableNotFound as error:
            raise RuntimeError(
                f"viz.graph: the program `dot` is needed for {kind}; install Graphviz (graphviz.org), or write text "
                "with a path that ends in .dot"
            ) from error

    def _repr_svg_(self) -> str | None:
        try:
            return self._rendered("svg").decode()
        except RuntimeError:
            return None  # the notebook shows the text instead

    def __repr__(self) -> str:
        return self.source


def _digraph() -> Any:
    try:
        import graphviz
    except ImportError as error:
        raise ImportError("viz.graph needs the package graphviz: pip install 'difftensor[viz]'") from error
    style = {
        "shape": "box",
        "style": "rounded,filled",
        "fillcolor": "white",
        "fontname": "Helvetica",
        "fontsize": "10",
    }
    return graphviz.Digraph(graph_attr={"rankdir": "TB"}, node_attr=style, edge_attr={"arrowsize": "0.7"})


def _parents(n: Node) -> list[Node]:
    many = n.q if n.q.__class__ is tuple else (n.p, n.q)
    return [p for p in many if p is not None]


def _drawn(order: list[Node], leaves: list[Leaf], results: list[Tensor]) -> Any:
    """One box for each operation."""
    like = _likes(order, leaves, results)
    names = {n: f"n{i}" for i, n in enumerate([*leaves, *order])}
    out = {v.node for v in results}
    dot = _digraph()
    for leaf in leaves:
        kind = "requires_grad" if leaf.user else "argument"
        dot.node(names[leaf], _label(kind, like.get(leaf)), fillcolor="lightyellow")
    for n in order:
        place = place_of(n)
        where = "" if place is None else f"{os.path.basename(place[0])}:{place[1]}"
        color = "lightblue" if n in out else "white"
        tip = "" if place is None else f"{place[0]}:{place[1]}"
        dot.node(names[n], _label(public_name(n.op.name), like.get(n), where), fillcolor=color, tooltip=tip)
        for p in _parents(n):
            dot.edge(names[p], names[n])
    return dot


def _label(*lines: str | None) -> str:
    import graphviz

    return graphviz.escape("\n".join(line for line in lines if line))


def _folded(order: list[Node], leaves: list[Leaf], limit: int) -> Any:
    """One box for each line of the program; of very many lines the last `limit`."""
    group: dict[Node, Any] = {n: ("leaf", i) for i, n in enumerate(leaves)}
    calls: dict[Any, Counter] = {}
    for n in order:
        place = place_of(n)
        key = group[n] = ("?", 0) if place is None else place[:2]
        calls.setdefault(key, Counter())[public_name(n.op.name)] += 1
    lines = list(calls)
    hidden = set(lines[:-limit])
    dot = _digraph()
    names: dict[Any, str] = {}
    if hidden:
        operations = sum(sum(calls[k].values()) for k in hidden)
        dot.node("hidden", f"{len(hidden)} earlier lines,\n{operations} operations", style="dashed")
    for i, key in enumerate([*(group[n] for n in leaves), *lines]):
        names[key] = "hidden" if key in hidden else f"n{i}"
        if key in hidden:
            continue
        if key in calls:
            count = ", ".join(f"{name} x{k}" if k > 1 else name for name, k in calls[key].most_common(6))
            more = ", ..." if len(calls[key]) > 6 else ""
            dot.node(names[key], _label(f"{os.path.basename(key[0])}:{key[1]}", count + more))
        else:
            dot.node(names[key], "leaf", fillcolor="lightyellow")
    edges = {(names[group[p]], names[group[n]]) for n in order for p in _parents(n) if p in group}
    for a, b in sorted(edges):
        if a != b:
            dot.edge(a, b)
    return dot


class _Seen(dict):
    """The cotangents of a sweep; remembers what each node's looked like: like the node's value."""

    def __init__(self, seeds: dict):
        super().__init__(seeds)
        self.like = {n: _describe(g) for n, g in seeds.items()}

    def __setitem__(self, n: Node, g: Any) -> None:
        self.like[n] = _describe(g)
        super().__setitem__(n, g)


def _describe(g: Any) -> str:
    if g.__class__ is list:
        return ", ".join(_describe(part) for part in g if part is not None)
    return f"{tuple(g.shape)} {g.dtype} on {device_of(g)}"


def _likes(order: list[Node], leaves: list[Leaf], results: list[Tensor]) -> dict[Node, str]:
    """Shape, dtype and device of the value of each node, as far as a sweep finds them."""
    seen = _Seen({v.node: one_like(v) for v in results if v.node is not None})
    hooks = [(n.params, list(n.params)) for n in order if n.op.name == "hook"]
    for active, _ in hooks:
        active.clear()
    try:
        with np.errstate(all="ignore"):
            engine.reverse(order, seen, None, False)
    except (ArithmeticError, np.linalg.LinAlgError):
        pass  # a derivative that does not exist here: the picture shows what was found
    finally:
        for active, saved in hooks:
            active.extend(saved)
    return seen.like


__all__ = ["Graph", "graph"]
