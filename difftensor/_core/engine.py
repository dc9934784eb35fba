"""The engine: one pass finds the tape, a sweep walks it newest first (reverse) or oldest first (forward).

Iterative, re-entrant and thread-safe: all state of a sweep lives in its own dictionaries. A sweep is itself recorded iff somebody
outside is watching: the walk met another live leaf, or the seed is tracked.

Strong zero: rules run plainly; if what reaches a target is not finite, the sweep is repeated with every elementwise
contribution r of cotangent g repaired by ``where((g == 0) & ~isfinite(r), 0, r)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import numpy as np

from difftensor._backend import namespace, several_devices
from difftensor._core.fitting import fit
from difftensor._core.primitive import Primitive, X
from difftensor._core.structural import PICK, Like, Part, pick
from difftensor._core.tape import Leaf, Node, _recording, _site, line_of
from difftensor._core.tensor import Tensor, lift
from difftensor._core.writes import ViewScatter
from difftensor.errors import DifftensorError, FreedTapeError, MissingDerivativeError

_seq = attrgetter("seq")


def trace(roots: Iterable[Node], targets: Iterable[Node] = ()) -> tuple[list[Node], list[Leaf]]:
    """The nodes reachable from `roots`, oldest first, and the leaves met; the walk stops at `targets`."""
    seen = {None, *targets}
    leaves: list[Leaf] = []
    found: list[Node] = []
    for root in roots:
        if root not in seen:
            seen.add(root)
            (leaves if root.__class__ is Leaf else found).append(root)
    for n in found:  # the list grows while it is read: no stack, no recursion
        p = n.p
        if p not in seen:
            seen.add(p)
            if p.__class__ is Leaf:
                leaves.append(p)
            else:
                found.append(p)
        p = n.q
        if p not in seen:
            for p in p if p.__class__ is tuple else (p,):
                if p not in seen:
                    seen.add(p)
                    if p.__class__ is Leaf:
                        leaves.append(p)
                    else:
                        found.append(p)
    found.sort(key=_seq)
    return found, leaves


def dependents(order: list[Node], targets: set[Node]) -> set[Node]:
    """Of `order`, the nodes whose value depends on `targets` (and the targets)."""
    needed = set(targets)
    for n in order:
        q = n.q
        if n.p in needed or q in needed or (q.__class__ is tuple and not needed.isdisjoint(q)):
            needed.add(n)
    return needed


class Lifted:
    """A node whose saved arrays are Tensors again, at their places on the tape. Lifted by position, never by class."""

    __slots__ = ("a", "b", "p", "params", "q", "y")

    def __init__(self, n: Node):
        op = n.op
        self.p, self.q, self.params = n.p, n.q, n.params
        if op.kind == "linear":
            self.y, self.a, self.b = n.y, n.a, n.b
            return
        if op.outputs > 1 and n.y is not None:
            self.y = tuple(y if y.dtype.kind not in "fc" else lift(y, pick(n, i)) for i, y in enumerate(n.y))
        else:
            self.y = _lift(n.y, n)
        if n.q.__class__ is tuple:
            self.a = None if n.a is None else tuple(map(_lift, n.a, n.q))
            self.b = None
        else:
            self.a, self.b = _lift(n.a, n.p), _lift(n.b, n.q)


def _lift(a: Any, node: Node | None) -> Any:
    return a if a is None or node is None or a.__class__ is Like else lift(a, node)


def repaired(xp: Any, g: Any, r: Any) -> Any:
    """Contribution `r` of cotangent `g`, with zero where an exact zero met an infinite or undefined derivative."""
    return xp.where((g == 0) & ~xp.isfinite(r), 0, r)


def reverse(order: list[Node], cts: dict, targets: set[Node] | None, create: bool, repair: bool = False) -> dict:
    """Pull the cotangents `cts` (node -> cotangent) back through `order`; returns them, now at the leaves and targets.

    `targets`: contributions to other nodes that do not lead to them are not computed; None computes all.
    """
    owned: set[Node] = set()  # nodes whose cotangent buffer belongs to the engine alone
    xp: Any = X if create else np
    lookup = several_devices() and not create
    for n in reversed(order):
        g = cts.pop(n, None)
        if g is None:
            continue
        if lookup:
            xp = namespace(g[0] if g.__class__ is list else g)
        op = n.op
        arity = op.arity
        if create:
            _site.set((n.code, n.at))
        try:
            if arity:
                y, a, f = n.y, n.a, n.params
                p = n.p
                if f is not None:
                    f.check()
                if create:
                    y, a = _lift(y, n), _lift(a, p)
                if arity == 1:
                    r = op.rule_a(xp, g, y, a)
                    if repair:
                        r = repaired(xp, g, r)
                    if p in cts:
                        _add(cts, owned, p, r, create)
                    else:
                        cts[p] = r
                    continue
                q, b = n.q, n.b
                if create:
                    b = _lift(b, q)
                if p is not None and (targets is None or p in targets):
                    r = op.rule_a(xp, g, y, a, b)
                    if repair:
                        r = repaired(xp, g, r)
                    if f is not None and f.a is not None:
                        r = fit(r, *f.a)
                    if p in cts:
                        _add(cts, owned, p, r, create)
                    else:
                        cts[p] = r
                if q is not None and (targets is None or q in targets):
                    r = op.rule_b(xp, g, y, a, b)
                    if repair:
                        r = repaired(xp, g, r)
                    if f is not None and f.b is not None:
                        r = fit(r, *f.b)
                    if q in cts:
                        _add(cts, owned, q, r, create)
                    else:
                        cts[q] = r
                continue
            m = Lifted(n) if create else n
            if op.check is not None:
                op.check(_concrete(g), n)
            if op.outputs > 1:
                g = tuple(g)
            if op.write:
                gs = op.pull(xp, g, m, n in owned and not create)
            elif op.pull is None:
                raise MissingDerivativeError(f"{op.name} has no derivative rule")
            else:
                gs = op.pull(xp, g, m)
            q = n.q
            for p, r in zip(q if q.__class__ is tuple else (n.p, q), gs, strict=False):
                if p is None or r is None or (targets is not None and p not in targets):
                    continue
                if r.__class__ in _LAZY:
                    _add_lazily(xp, cts, owned, p, r, create)
                elif p in cts:
                    _add(cts, owned, p, r, create)
                else:
                    cts[p] = r
                    if op.write and not create and p is n.p:
                        owned.add(p)
        except Exception as error:
            raise _at_line(error, n, "backward") from None if isinstance(error, DifftensorError) else error
    return cts


def _add(cts: dict, owned: set, p: Node, r: Any, create: bool) -> None:
    """A second contribution makes a buffer of the engine's own; later ones are added into it."""
    if p in owned:
        s = cts[p]
        s += r
        cts[p] = s
    else:
        cts[p] = cts[p] + r
        if not create:
            owned.add(p)


class Scatter:
    """The cotangent of an array through one index of it: added into a buffer, O(region) instead of O(array)."""

    __slots__ = ("add", "g", "index", "like")

    def __init__(self, g: Any, index: Any, shape: tuple, add: bool):
        self.g, self.index, self.like, self.add = g, index, (shape, g.dtype), add

    def into(self, buffer: Any) -> Any:
        if self.add:
            np.add.at(buffer, self.index, self.g)
        else:
            buffer[self.index] += self.g
        return buffer


_LAZY = frozenset((Scatter, ViewScatter, Part))


def _add_lazily(xp: Any, cts: dict, owned: set, p: Node, r: Any, create: bool) -> None:
    old = cts.get(p)
    if r.__class__ is Part:
        parts = cts[p] = [None] * p.op.outputs if old is None else old
        parts[r.i] = r.g if parts[r.i] is None else parts[r.i] + r.g
    elif old is None:
        cts[p] = r.into(xp.zeros(*r.like))
        owned.add(p)
    else:
        # A recorded buffer may be owned too: Tensors are copy-on-write.
        cts[p] = r.into(old if p in owned else old.copy())
        owned.add(p)


def forward(order: list[Node], ts: dict, create: bool, repair: bool = False) -> dict:
    """Push the tangents `ts` (node -> tangent) through `order`, oldest first; returns all of them."""
    xp: Any = X if create else np
    lookup = several_devices() and not create
    for n in order:
        p, q = n.p, n.q
        tp = ts.get(p)
        many = q.__class__ is tuple
        tq = None if many else ts.get(q)
        tangents = tuple(map(ts.get, q)) if many else (tp, tq)
        if all(t is None for t in tangents):
            continue
        if lookup:
            first = next(t for t in tangents if t is not None)
            xp = namespace(first[0] if first.__class__ is tuple else first)
        op = n.op
        if create:
            _site.set((n.code, n.at))
        try:
            m = Lifted(n) if create else n
            if op.arity and op.push is None:
                f = n.params
                if f is not None:
                    f.check()
                ts[n] = _push_elementwise(xp, op, m, tp, tq, f, repair)
            elif op.arity:
                ts[n] = op.push(xp, tp, m.y, m.a)
            else:
                if op.check is not None and op.push is not None:
                    op.check(None, n)
                ts[n] = _push(op, xp, tangents, n, m, create)
        except Exception as error:
            raise _at_line(error, n, "forward-mode") from None if isinstance(error, DifftensorError) else error
    return ts


def _push_elementwise(xp: Any, op: Primitive, m: Any, tp: Any, tq: Any, f: Any, repair: bool) -> Any:
    if op.arity == 1:
        t = op.rule_a(xp, tp, m.y, m.a)
        return repaired(xp, tp, t) if repair else t
    total = None
    for t, rule in ((tp, op.rule_a), (tq, op.rule_b)):
        if t is None:
            continue
        if f is not None:
            t = f.extend(t, xp)
        r = rule(xp, t, m.y, m.a, m.b)
        if repair:
            r = repaired(xp, t, r)
        if f is not None:
            r = f.extend(r, xp)
        total = r if total is None else total + r
    return total


def _push(op: Primitive, xp: Any, tangents: tuple, n: Node, m: Any, create: bool) -> Any:
    if op.push is not None:
        return op.push(xp, tangents, m)
    if op.pull is None:
        raise MissingDerivativeError(f"{op.name} has no derivative rule")
    return _transposed(op, tangents, n, create)


def _transposed(op: Primitive, tangents: tuple, n: Node, create: bool) -> Any:
    """The push of a primitive that declares only its pull: the pull is linear in g, so its own pull is the push.

    Pull a zero cotangent of its own leaf; pull the tangents back through what that recorded.
    """
    shapes = n.y if n.y is not None else None
    if shapes is None:
        raise MissingDerivativeError(
            f"{op.name} has no push rule, and its result was not saved, so that the pull cannot be transposed; declare push= or saves='y'"
        )
    outputs = shapes if op.outputs > 1 else (shapes,)
    leaves = [Leaf(user=False) for _ in outputs]
    seeds = [lift(y * 0, leaf) for y, leaf in zip(outputs, leaves, strict=True)]
    token = _recording.set(True)
    try:
        gs = op.pull(X, tuple(seeds) if op.outputs > 1 else seeds[0], Lifted(n))
    finally:
        _recording.reset(token)
    for leaf in leaves:
        leaf.live = False
    cts: dict = {}
    for t, r in zip(tangents, gs, strict=False):
        if t is None or r is None or not isinstance(r, Tensor) or r.node is None:
            continue
        cts[r.node] = t if r.node not in cts else cts[r.node] + t
    order, _ = trace(cts, leaves)
    needed = dependents(order, set(leaves))
    reverse(order, cts, needed, create)
    found = [cts.get(leaf) for leaf in leaves]
    found = [y * 0 if t is None else t for t, y in zip(found, outputs, strict=True)]
    return tuple(found) if op.outputs > 1 else found[0]


def _concrete(g: Any) -> Any:
    if g.__class__ in (list, tuple):
        return tuple(map(_concrete, g))
    return g._data if isinstance(g, Tensor) else g


def free(order: list[Node]) -> None:
    """Let go of what the tape saved; a second backward says so."""
    for n in order:
        n.op = n.op.freed
        n.p = n.q = n.y = n.a = n.b = n.params = None


def _freed(op: Primitive) -> Primitive:
    freed = Primitive(op.name, "freed", op.forward)
    freed.outputs = op.outputs

    def pull(xp: Any, g: Any, n: Any) -> tuple:
        raise FreedTapeError(
            f"the values that {op.name} saved were freed by an earlier backward(). Use backward(retain_graph=True) there, "
            "or compute the result again"
        )

    freed.pull = freed.push = pull
    freed.__dict__["freed"] = freed
    return freed


class _FreedTwin:
    """``op.freed``, made when it is first asked for."""

    def __get__(self, op: Primitive, cls: type) -> Primitive:
        twin = op.__dict__["freed"] = _freed(op)
        return twin


Primitive.freed = _FreedTwin()  # type: ignore[attr-defined]


def _at_line(error: Exception, n: Node, mode: str) -> Exception:
    """`error` of a sweep with the user's line of the forward call."""
    note = f"in the {mode} pass of {n.op.name}, recorded at {line_of(n)}"
    if isinstance(error, DifftensorError) and error.args and isinstance(error.args[0], str) and "recorded at" not in error.args[0]:
        error.args = (f"{error.args[0]} ({note})", *error.args[1:])
    elif note not in getattr(error, "__notes__", ()):
        error.add_note(note)
    return error


__all__ = ["PICK", "Scatter", "dependents", "forward", "free", "reverse", "trace"]
