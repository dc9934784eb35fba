"""Einstein summation: any product of arrays as diagonals, sums and pairwise contractions.

Each operand is first reduced by itself (repeated indices to diagonals, indices that nobody else has summed); then
pairs are contracted along a path. A contraction is bilinear and its pulls are contractions, so that derivatives of any
order run through BLAS and share the intermediate products.
"""

from __future__ import annotations

from functools import lru_cache
from string import ascii_letters

import numpy as np

from difftensor._core import X, bilinear, composition, holds_tensor, linear
from difftensor._ops.reductions import finish

# Contraction of a pair ----------------------------------------------------------------------------------------------


@lru_cache(4096)
def _plan(la, lb, lo):
    """How operands with axis labels `la` and `lb` become one with labels `lo`: positions counted from the end."""
    shared = [k for k in la if k in lb]
    batch = [k for k in shared if k in lo]
    summed = [k for k in shared if k not in lo]
    free_a, free_b = [k for k in la if k not in lb], [k for k in lb if k not in la]

    def places(labels, order):
        return tuple(labels.index(k) - len(labels) for k in order)

    made = [*batch, *free_a, *free_b]
    return {
        "batch": len(batch),
        "free_a": len(free_a),
        "free_b": len(free_b),
        "summed": len(summed),
        "a": places(la, [*batch, *free_a, *summed]),
        "b": places(lb, [*batch, *summed, *free_b]),
        "out": tuple(made.index(k) - len(made) for k in lo),
        # the plain product: axes of a (b) in the order of lo, and where lo has an axis that a (b) lacks
        "a_in_out": (places(la, [k for k in lo if k in la]), tuple(k in la for k in lo)),
        "b_in_out": (places(lb, [k for k in lo if k in lb]), tuple(k in lb for k in lo)),
        "dots": f"...{_ascii(la, la + lb)},...{_ascii(lb, la + lb)}->...{_ascii(lo, la + lb)}",
    }


def _ascii(labels, among):
    """`labels` in the letters that NumPy knows."""
    names = dict(zip(dict.fromkeys(among), ascii_letters))
    return "".join(names[k] for k in labels)


def _turned(x, places):
    """`x` with its last axes in the order `places`; the axes in front stay."""
    k = len(places)
    if places == tuple(range(-k, 0)):
        return x
    n = x.ndim
    return x.transpose((*range(n - k), *(n + p for p in places)))


def _inserted(x, places, present):
    x = _turned(x, places)
    if False not in present:
        return x
    lead = x.ndim - len(places)
    sizes = iter(x.shape[lead:])
    return x.reshape((*x.shape[:lead], *(next(sizes) if here else 1 for here in present)))


def _size(shape):
    n = 1
    for k in shape:
        n *= k
    return n


def _contract(a, b, la, lb, lo):
    p = _plan(la, lb, lo)
    if not p["summed"]:
        return _inserted(a, *p["a_in_out"]) * _inserted(b, *p["b_in_out"])
    if not p["free_a"] and not p["free_b"]:
        return np.einsum(p["dots"], a, b)
    nb, fa, fb, ns = p["batch"], p["free_a"], p["free_b"], p["summed"]
    a, b = _turned(a, p["a"]), _turned(b, p["b"])
    lead_a, lead_b = a.shape[: a.ndim - nb - fa - ns], b.shape[: b.ndim - nb - fb - ns]
    rows, columns = a.shape[a.ndim - fa - ns : a.ndim - ns], b.shape[b.ndim - fb :]
    inner = _size(a.shape[a.ndim - ns :])
    if nb or lead_b:
        stack = a.shape[len(lead_a) : len(lead_a) + nb]
        y = np.matmul(
            a.reshape((*lead_a, *stack, _size(rows), inner)), b.reshape((*lead_b, *stack, inner, _size(columns)))
        )
        y = y.reshape((*y.shape[:-2], *rows, *columns))
    else:
        rows = (*lead_a, *rows)
        y = a.reshape((_size(rows), inner)).dot(b.reshape((inner, _size(columns)))).reshape((*rows, *columns))
    return _turned(y, p["out"])


def _towards(g, other, lo, l_other, labels, like):
    """The cotangent of the operand with `labels`: a contraction of g with the other one.

    If the operand has no axes in front, but g and the other one have the same, these are named too, and summed inside
    the product.
    """
    lead = g.ndim - len(lo)
    if lead and _rank(like) == len(labels) and other.shape[: other.ndim - len(l_other)] == g.shape[:lead]:
        used = {*lo, *l_other, *labels}
        names = "".join([k for k in map(chr, range(0x100, 0x100 + lead + len(used))) if k not in used][:lead])
        return contract(g, other, names + lo, names + l_other, labels)
    return contract(g, other, lo, l_other, labels)


def _rank(a):
    return len(a) if a.__class__ is tuple else a.ndim


def batch_contract(call, lanes, flags, size, la, lb, lo):
    """The batch axis is one more axis in front, once these are of one rank."""
    lead = [v.ndim - flag - len(labels) for v, flag, labels in zip(lanes, flags, (la, lb))]
    top = max(lead)
    lanes = [
        v.reshape((v.shape[0],) + (1,) * (top - k) + v.shape[1:]) if flag and k < top else v
        for v, flag, k in zip(lanes, flags, lead)
    ]
    return call(*lanes, la, lb, lo)


# Axes in front of the labelled ones are broadcast; the bilinear kind sums them again for an operand that lacks them.
contract = bilinear(
    "contract",
    _contract,
    lambda xp, g, a, b, la, lb, lo: _towards(g, b, lo, lb, la, a),
    lambda xp, g, a, b, la, lb, lo: _towards(g, a, lo, la, lb, b),
    public=False,
    samples="contract",
    batch=batch_contract,
)

# Repeated indices ---------------------------------------------------------------------------------------------------


def _embed(x, labels, kept, sizes):
    """The array with `x` on the diagonal that repeated `labels` describe and 0 elsewhere; the axes in front stay."""
    y = np.zeros_like(x, shape=(*x.shape[: x.ndim - len(kept)], *sizes))
    np.einsum(f"...{labels}->...{kept}", y)[...] = x
    return y


_diagonal = linear(
    "diagonal_of_labels",
    lambda x, labels, kept: np.einsum(f"...{labels}->...{kept}", x),
    lambda xp, g, shape, labels, kept: _embedded(g, labels, kept, shape[len(shape) - len(labels) :]),
    views=True,
    public=False,
    samples="labels",
    batch="trailing",
)
_embedded = linear(
    "embed_diagonal",
    _embed,
    lambda xp, g, shape, labels, kept, sizes: _diagonal(g, labels, kept),
    public=False,
    samples="embed",
    batch="trailing",
)

# einsum -------------------------------------------------------------------------------------------------------------


@lru_cache(1024)
def _program(inputs, output, shapes, optimize):
    """What to do with each operand (its labels and those of its diagonal, axes to sum, labels then left), the pairs to
    contract, and the labels of the result."""
    spec = ",".join(inputs) + "->" + output
    dummies = [np.broadcast_to(np.float64(0), s) for s in shapes]
    if optimize.__class__ is tuple:
        optimize = list(optimize)
    path = np.einsum_path(spec, *dummies, optimize=optimize or "greedy")[0][1:]
    size: dict = {}
    for labels, shape in zip(inputs, shapes):
        for k, n in zip(labels, shape, strict=True):
            size[k] = n if size.get(k, 1) == 1 else size[k]
    remaining = [  # an axis of length 1 beside longer ones is broadcast: it drops out
        {k: n for k, n in zip(labels, shape) if n != 1 or size[k] == 1} for labels, shape in zip(inputs, shapes)
    ]
    prepared = []
    for i, labels in enumerate(inputs):
        kept = "".join(dict.fromkeys(labels))
        others = set(output).union(*(r for j, r in enumerate(remaining) if j != i))
        gone = [k for k in kept if k not in remaining[i] or k not in others]
        prepared.append(
            (
                (labels, kept) if kept != labels else None,
                tuple(kept.index(k) - len(kept) for k in gone),
                "".join(k for k in kept if k not in gone),
            )
        )
    labels = [p[2] for p in prepared]
    steps = []
    for pair in path if len(inputs) > 1 else ():
        chosen = sorted(pair, reverse=True)
        while len(chosen) > 1:
            j, i = chosen[0], chosen[1]
            b, a = labels.pop(j), labels.pop(i)
            wanted = set(output).union(*labels)
            rest = chosen[2:]
            made = "".join(k for k in dict.fromkeys(a + b) if k in wanted)
            if not labels:
                made = "".join(k for k in output if k in made)
            steps.append((i, j, a, b, made))
            labels.append(made)
            chosen = sorted((len(labels) - 1, *rest), reverse=True)
    return tuple(prepared), tuple(steps), labels[0]


def _parsed(operands):
    """Subscripts and the arrays, from either form of NumPy's."""
    if operands and isinstance(operands[0], str):
        return operands[0], operands[1:]
    if len(operands) < 2:
        raise ValueError(
            "must specify the einstein sum subscripts string and at least one operand, or at least one operand and its "
            "subscripts list"
        )
    arrays, lists = operands[0::2], operands[1::2]
    if len(operands) % 2:
        return ",".join(map(_letters, lists)) + "->" + _letters(operands[-1]), arrays[:-1]
    return ",".join(map(_letters, lists)), arrays


def _letters(labels):
    return "".join("..." if k is Ellipsis else ascii_letters[k] for k in labels)


@lru_cache(4096)
def _resolved(text, shapes):
    """Explicit subscripts: a label of its own for each axis behind an ellipsis; the output spelled out."""
    left, arrow, output = text.replace(" ", "").partition("->")
    inputs = left.split(",")
    if len(inputs) != len(shapes):
        raise ValueError(
            f"einsum: {len(inputs)} subscripts were given for {len(shapes)} operands: fewer operands or more operands "
            "provided than specified in the subscripts"
        )
    used = {k for text in inputs for k in text}
    spare = [k for k in ascii_letters if k not in used]
    width = max((len(s) - len(t) + 3 for t, s in zip(inputs, shapes) if "..." in t), default=0)
    if any("..." in t and len(s) < len(t) - 3 for t, s in zip(inputs, shapes)) or width > len(spare):
        raise ValueError("einstein sum subscripts string contains too many subscripts for an operand")
    dots = "".join(spare[:width])
    explicit = []
    for t, s in zip(inputs, shapes):
        if "..." in t:
            t = t.replace("...", dots[width - (len(s) - len(t) + 3) :])
        if len(t) != len(s) or "." in t:
            raise ValueError(
                f"operand has {len(s)} dimension(s), but the einstein sum subscripts {t!r} name {len(t)}: more or "
                "fewer dimensions than subscripts"
            )
        explicit.append(t)
    if not arrow:
        joined = "".join(inputs).replace(".", "")
        output = dots + "".join(k for k in sorted(set(joined)) if joined.count(k) == 1)
    else:
        output = output.replace("...", dots)
    if len(set(output)) != len(output) or not set(output) <= set("".join(explicit)):
        raise ValueError(
            f"einstein sum subscripts string: the output {output!r} repeats a label or has one that no input has"
        )
    return tuple(explicit), output


@composition(np.einsum)
def einsum(*operands, out=None, optimize=False, dtype=None, order="K", casting="safe"):
    text, arrays = _parsed(operands)
    xs = [X.asarray(a) for a in arrays]
    if dtype is not None:
        xs = [X.astype(x, dtype, casting=casting, copy=False) for x in xs]
    dtype = np.result_type(*(x.dtype for x in xs))
    # sums of booleans and small integers are not made in their own dtype if others have a larger one
    xs = [X.astype(x, dtype, copy=False) if x.dtype.kind in "iub" else x for x in xs]
    shapes = tuple(x.shape for x in xs)
    inputs, output = _resolved(text, shapes)
    optimize = optimize if isinstance(optimize, (bool, str)) else _hashable(optimize)
    prepared, steps, made = _program(inputs, output, shapes, optimize)
    for i, (repeated, gone, _) in enumerate(prepared):
        if repeated is not None:
            xs[i] = _diagonal(xs[i], *repeated)
        if gone:
            xs[i] = X.astype(X.sum(xs[i], axis=gone), xs[i].dtype, copy=False)
    for i, j, a, b, c in steps:
        right, left = xs.pop(j), xs.pop(i)
        xs.append(contract(left, right, a, b, c))
    y = xs[0]
    if made != output:
        y = X.transpose(y, tuple(made.index(k) for k in output))
    return finish(y, out, "einsum")


def _hashable(path):
    return tuple(p if isinstance(p, str) else p if isinstance(p, int) else tuple(p) for p in path)


@composition(np.einsum_path)
def einsum_path(*operands, optimize="greedy", einsum_call=False):
    """The order in which to contract; see ``np.einsum_path``."""
    return np.einsum_path(*(_shape_only(v) for v in operands), optimize=optimize)


def _shape_only(v):
    return np.broadcast_to(np.float64(0), v.shape) if holds_tensor(v) else v
