"""Which elements of a result depend on which elements of an argument: a walk over the tape with sets instead of
numbers.

Each node gets a boolean CSR matrix, rows for its elements, columns for those of the argument. Elementwise operations
unite rows, selections (indexing, reshape, transpose, concatenate ...) pick them, reductions unite along axes; what is
not known to be sparse depends on everything. Too large a pattern costs time, never correctness.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._backend import move, on_gpu
from difftensor._backend.device import CPU
from difftensor._core import Node
from difftensor._core.fitting import Guard
from difftensor._core.recording import PICK, Like
from difftensor._core.writes import VIEW, WRITE, walk
from difftensor.errors import MissingDerivativeError, public_name


def _sparse() -> Any:
    import scipy.sparse

    return scipy.sparse


def _union(matrices: list) -> Any:
    total = matrices[0]
    for m in matrices[1:]:
        total = total + m
    total.data[:] = True
    return total


def _numbers(shape: tuple, start: int = 1, dtype: Any = None) -> np.ndarray:
    """The elements of an array, numbered; of a complex one both parts."""
    size = int(np.prod(shape, dtype=np.int64))
    found = np.arange(start, start + size, dtype=np.float64).reshape(shape)
    return found if getattr(dtype, "kind", "f") != "c" else np.asarray(found + 1j * found)


class Pattern:
    """The dependence of one node: its shape and a boolean matrix (elements, columns)."""

    __slots__ = ("rows", "shape")

    def __init__(self, shape: tuple, rows: Any):
        self.shape, self.rows = tuple(shape), rows

    def pick(self, where: np.ndarray) -> Any:
        """The rows of elements `where`, numbered from 1; 0 depends on nothing."""
        index = where.ravel().astype(np.int64)
        if index.size and index.min() > 0:
            return self.rows[index - 1]
        sp = _sparse()
        padded = sp.vstack([sp.csr_array((1, self.rows.shape[1]), dtype=bool), self.rows], format="csr")
        return padded[index]

    def everything(self, count: int) -> Any:
        """`count` rows that depend on all that any element depends on."""
        sp = _sparse()
        columns = np.flatnonzero(np.asarray(self.rows.sum(axis=0)).ravel())
        indices = np.tile(columns, count)
        indptr = np.arange(count + 1, dtype=np.int64) * columns.size
        return sp.csr_array((np.ones(indices.size, bool), indices, indptr), shape=(count, self.rows.shape[1]))


def dependence(order: list[Node], start: Node, shape: tuple) -> dict[Node, Pattern]:
    """The pattern of every node of `order` (oldest first) that depends on `start`, an argument of `shape`."""
    n = int(np.prod(shape, dtype=np.int64))
    found = {start: Pattern(shape, _sparse().csr_array(_sparse().eye_array(n, dtype=bool)))}
    for node in order:
        parents = node.q if node.q.__class__ is tuple else (node.p, node.q)
        known = [found.get(p) if p is not None else None for p in parents]
        if any(p is not None for p in known):
            found[node] = Pattern(*_step(node, known))
    return found


def _step(n: Node, known: list) -> tuple[tuple, Any]:
    """Shape and dependence of the result of node `n`, whose tracked operands have the patterns `known`."""
    op = n.op
    if op.arity:
        out = n.params.shape if n.params is not None else next(p.shape for p in known if p is not None)
        return out, _union([p.pick(np.broadcast_to(_numbers(p.shape), out)) for p in known if p is not None])
    if op is WRITE:
        return n.params[2][0], _written(n, known)
    if op is VIEW:
        path, (shape, dtype, _) = n.params
        where = walk(path, _numbers(shape, 1, dtype))
        return where.shape, known[0].pick(where.real)
    if op.name in ("alias", "hook", "to_device"):
        return known[0].shape, known[0].rows
    if op.name.endswith(".reduce") and len(n.params) == 2:
        return _reduced(known[0], *n.params)
    if op.name == "where_else":  # both branches: another point may take the other one
        out = np.broadcast_shapes(_raw(n.a[0]).shape, *(p.shape for p in known if p is not None))
        return out, _union([p.pick(np.broadcast_to(_numbers(p.shape), out)) for p in known if p is not None])
    if op.name == "scattered":
        return n.params[1], _union(
            [_placed(p, _home(i), n.params[1]) for p, i in zip(known, n.params[0]) if p is not None]
        )
    if op.name == "matmul":
        found = _product(n, known)
        if found is not None:
            return found
    several = op.outputs > 1
    found = None if several or op is PICK else _selected(n, known)
    if found is not None:
        return found
    out = _shape(n, known)
    found = None if several else _by_blocks(n, known, out)
    if found is not None:
        return out, found
    count = 1 if several else int(np.prod(out, dtype=np.int64))  # of several results one line says it all
    return out, _union([p.everything(count) for p in known if p is not None])


def _shape(n: Node, known: list) -> tuple:
    """The shape of the result of a node of any kind but elementwise; of several results a tuple of shapes."""
    op = n.op
    if op is PICK:
        return known[0].shape[n.params]
    if n.y is not None:
        return tuple(map(np.shape, n.y)) if op.outputs > 1 else n.y.shape
    if op.kind == "bilinear":
        return op.forward(np.zeros(_raw(n.a).shape), np.zeros(_raw(n.b).shape), *n.params).shape
    if op.kind == "linear":
        operands = [np.zeros(n.a)]
    else:
        saved = n.a if n.q.__class__ is tuple else (n.a, n.b)[: op.operands]
        operands = [_stand_in(n, x, p) for x, p in zip(saved or known, known)]
    with np.errstate(all="ignore"):
        y = _run(n, operands)
    return tuple(map(np.shape, y)) if op.outputs > 1 else np.shape(y)


def _stand_in(n: Node, x: Any, p: Pattern | None) -> Any:
    """An operand: as it was saved, else zeros of its shape."""
    if x is not None and not isinstance(x, (Like, Pattern)):
        return _home(_raw(x))
    if x is None and p is None:
        raise MissingDerivativeError(
            f"the shape of the result of {public_name(n.op.name)} is not on the tape, so the pattern is not known: "
            "give it (pattern=), or use dif.jacobian"
        )
    known: Any = x if p is None else p
    return np.zeros(known.shape)


def _written(n: Node, known: list) -> Any:
    path, index, (shape, dtype, _), (vshape, _), _ = n.params
    old, value = known
    source = _numbers(shape, 1, dtype)
    if old is None:
        source[...] = 0
    offset = source.size
    part = walk(path, source)
    part[_home(index)] = _numbers(vshape, offset + 1, part.dtype) if value is not None else 0
    sp = _sparse()
    columns = (old or value).rows.shape[1]
    first = old.rows if old is not None else sp.csr_array((offset, columns), dtype=bool)
    rows = first if value is None else sp.vstack([first, value.rows], format="csr")
    every = Pattern((rows.shape[0],), rows)
    parts = (source.real, source.imag) if source.dtype.kind == "c" else (source,)
    return _union([every.pick(part) for part in parts])


def _placed(p: Pattern, index: Any, shape: tuple) -> Any:
    """The elements of an operand at their places in an array of `shape`, which several of them may share."""
    target = _numbers(shape, 0)[index].astype(np.int64).ravel()
    return _added(p, target, int(np.prod(shape, dtype=np.int64)))


def _added(p: Pattern, target: np.ndarray, count: int) -> Any:
    """`count` rows: row i unites the elements whose `target` it is."""
    ones = np.ones(target.size, np.int32)
    unite = _sparse().csr_array((ones, (target, np.arange(target.size))), shape=(count, target.size))
    return (unite @ p.rows.astype(np.int32)).astype(bool)


def _reduced(p: Pattern, axes: tuple, keepdims: bool) -> tuple[tuple, Any]:
    """Unite along the axes of a reduction."""
    gone = {a % len(p.shape) for a in axes} if p.shape else set()
    kept = tuple(1 if i in gone else k for i, k in enumerate(p.shape))
    target = np.broadcast_to(_numbers(kept, 0).astype(np.int64), p.shape).ravel()
    count = int(np.prod(kept, dtype=np.int64))
    out = kept if keepdims else tuple(k for i, k in enumerate(p.shape) if i not in gone)
    return out, _added(p, target, count)


def _product(n: Node, known: list) -> tuple[tuple, Any] | None:
    """Element (i, j) of a product depends on row i and column j of its operands."""
    sa, sb = _raw(n.a).shape, _raw(n.b).shape
    k = sa[-1]
    if k > 64:
        return None
    a, b = _numbers(sa), _numbers(sb)
    a2 = a if len(sa) > 1 else a[None, :]
    b2 = b if len(sb) > 1 else b[:, None]
    full = (*np.broadcast_shapes(a2.shape[:-2], b2.shape[:-2]), a2.shape[-2], b2.shape[-1])
    rows = []
    for i in range(k):
        if known[0] is not None:
            rows.append(known[0].pick(np.broadcast_to(a2[..., :, i : i + 1], full)))
        if known[1] is not None:
            rows.append(known[1].pick(np.broadcast_to(b2[..., i : i + 1, :], full)))
    return np.matmul(np.zeros(sa), np.zeros(sb)).shape, _union(rows)


def _by_blocks(n: Node, known: list, out: tuple) -> Any:
    """The dependence of an operation that works on the trailing axes of stacks: each block on the same block of
    operands.

    How many leading axes it leaves alone is tried: a block must come out alike with and without the others.
    """
    op = n.op
    if op.outputs > 1 or op is PICK:
        return None
    shapes = _operand_shapes(n, known)
    if shapes is None:
        return None
    rng = np.random.default_rng(0)
    operands = [rng.uniform(0.5, 1.5, shape) for shape in shapes]
    whole = _tried(n, operands)
    for k in range(len(out), 0, -1):
        lead = out[:k]
        stacked = [shape[:k] == lead for shape in shapes]
        if whole is None or 0 in lead or not all(s for s, p in zip(stacked, known) if p is not None):
            continue
        at = tuple(int(i) for i in rng.integers(0, lead))
        part = _tried(n, [x[at] if s else x for x, s in zip(operands, stacked)])
        if part is not None and part.shape == out[k:] and np.allclose(whole[at], part, rtol=1e-12, atol=1e-12):
            return _union([_block_rows(p, k, out) for p in known if p is not None])
    return None


def _tried(n: Node, xs: list) -> Any:
    """The result of the operation on `xs`, None if it refuses them."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(_run(n, xs))
    except Exception:  # noqa: BLE001 - whatever it raises, it refuses
        return None


def _operand_shapes(n: Node, known: list) -> list | None:
    op = n.op
    if op.kind == "linear":
        return [n.a]
    if op.kind == "bilinear":
        return [_raw(n.a).shape, _raw(n.b).shape]
    if op.kind != "general" or op.operands is None or op.operands > 2:
        return None
    saved = [n.a, n.b][: op.operands]
    shapes = [p.shape if p is not None else getattr(x, "shape", None) for p, x in zip(known, saved)]
    return None if any(s is None for s in shapes) else shapes


def _block_rows(p: Pattern, k: int, out: tuple) -> Any:
    """Each element of a block of the result depends on the whole block of the operand."""
    sp = _sparse()
    blocks = int(np.prod(out[:k], dtype=np.int64))
    inner = p.rows.shape[0] // max(blocks, 1)
    source = np.repeat(np.arange(blocks), inner)
    unite = sp.csr_array(
        (np.ones(source.size, np.int32), (source, np.arange(source.size))), shape=(blocks, source.size)
    )
    rows = (unite @ p.rows.astype(np.int32)).astype(bool).tocsr()
    return rows[np.repeat(np.arange(blocks), int(np.prod(out[k:], dtype=np.int64)))]


def _selected(n: Node, known: list) -> tuple[tuple, Any] | None:
    """The rows that an operation selects, if it is one that only selects; else None.

    Run it on the numbers of the elements, and on other codes for them: a selection maps codes as it maps numbers.
    """
    operands = _operands(n, known)
    if operands is None:
        return None
    sizes = [int(np.prod(p.shape, dtype=np.int64)) if p is not None else 0 for p in known]
    starts = np.cumsum([0, *sizes])
    codes = np.random.default_rng(0).permutation(int(starts[-1])) * 1.5 + 7.25
    plain, coded = [], []
    for p, x, a, b in zip(known, operands, starts[:-1], starts[1:]):
        if p is None:
            plain.append(x)
            coded.append(x)
        else:
            plain.append(_numbers(p.shape, int(a) + 1))
            coded.append(codes[a:b].reshape(p.shape))
    try:
        with np.errstate(all="ignore"):
            y, z = (np.asarray(_run(n, xs)) for xs in (plain, coded))
    except Exception:  # noqa: BLE001 - an operation that refuses numbers is no selection
        return None
    where = y.ravel()
    if y.dtype.kind not in "fiu" or not np.all((where == np.floor(where)) & (where >= 0) & (where <= starts[-1])):
        return None
    index = where.astype(np.int64)
    if not np.array_equal(np.concatenate([[0.0], codes])[index], z.ravel()):
        return None
    sp = _sparse()
    blocks = [p.rows for p in known if p is not None]
    return y.shape, Pattern((), sp.vstack(blocks, format="csr")).pick(index)


def _operands(n: Node, known: list) -> list | None:
    """What stands in the place of operands that do not depend on the argument: zeros."""
    op = n.op
    if op.kind == "linear":
        return [None]
    if op.operands is None and op.kind == "general" and isinstance(n.a, tuple):
        return [None if x is None else np.zeros(_raw(x).shape) for x in n.a]
    return None


def _raw(x: Any) -> Any:
    return x.check() if x.__class__ is Guard else x


def _home(x: Any) -> Any:
    """An index, or parameters, with the arrays of a device on the host, where patterns are found."""
    if x.__class__ is tuple:
        return tuple(map(_home, x))
    return move(x, CPU) if on_gpu(x) else x


def _run(n: Node, xs: list) -> Any:
    op, params = n.op, _home(n.params)
    if op.operands is None:
        return op.forward(xs, *params)
    return op.forward(*xs, *params)
