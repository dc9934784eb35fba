"""Sample arguments of the primitives that are not elementwise: one row each, read by the generic tests.

``SAMPLES[name](rng)`` returns a list of ``(operands, params)`` or ``(operands, params, around)``:

operands  the arrays; for a primitive of any number of operands, as many as one likes
params    the static parameters, or a function of the operands that gives them (where they depend on shape or dtype)
around    ``around(f, *operands)``, for primitives that read a part of their operands (a triangle) or whose results
          have an arbitrary sign or phase: it calls f as it may be called, and returns what has a derivative

The name is the primitive's, or what its declaration says: ``samples="axes"``. Elementwise primitives need no row: their
declaration may give the intervals of their operands, ``samples=[(0.2, 4.0)]``.
"""

import importlib
import pkgutil

import numpy as np

import difftensor
from difftensor._core import PRIMITIVES

for _module in pkgutil.walk_packages(difftensor.__path__, "difftensor."):
    importlib.import_module(_module.name)  # so that the table of primitives is complete


def _normal(rng, *shape):
    return rng.standard_normal(shape)


def _regular(rng, *shape):
    """Well-conditioned square matrices."""
    return rng.standard_normal(shape) + 3 * np.eye(shape[-1])


def _spread(rng, *shape):
    """Square matrices with separated real eigenvalues, and singular values."""
    return 0.2 * rng.standard_normal(shape) + np.diag(1.0 + np.arange(shape[-1]))


def _mH(a):
    return np.conj(np.swapaxes(a, -1, -2))


def _hermitian(f, a, *rest):
    return f(a + _mH(a), *rest)


def _beside(c, x):
    """Constant `c` on the device of `x`."""
    away = isinstance(x, difftensor.Tensor) and x.device != "cpu"
    return difftensor.asarray(c, device=x.device) if away else c


def _positive(f, a):
    return f(a @ _mH(a) + _beside(np.eye(a.shape[-1], dtype=a.dtype), a))


def _vectors(f, a):
    """Eigenvalues, and the projectors' diagonals, which do not depend on the phases of the vectors."""
    w, v = f(a)
    return w, abs(v) ** 2


def _singular(f, a):
    u, s, vh = f(a)
    k = s.shape[-1]
    return s, abs(u[..., :k]) ** 2, abs(vh[..., :k, :]) ** 2, u[..., k:] @ _mH(u[..., k:])


def _with_pseudo_inverse(f, a, b):
    """The pseudo-inverse comes as a known constant."""
    return f(a, b, _beside(np.linalg.pinv(_plain(a)), a))


def _dtypes_of(c, a, b):
    return (a.shape, a.dtype), (b.shape, b.dtype)


def _likes(*xs):
    return tuple((x.shape, x.dtype) for x in xs)


def _is_real(x):
    return x.dtype.kind != "c"


def _plain(x):
    """The array in `x`, for operands that bring known values along."""
    return x.detach().to_device("cpu").numpy() if isinstance(x, difftensor.Tensor) else x


def _keeps():
    """With no place for LU factors, and with one."""
    from difftensor.linalg._factor import Factors

    return (None,), (Factors(),)


_INDICES = (
    1,
    -2,
    slice(None, None, -2),
    (slice(1, 3), 2),
    (Ellipsis, None, slice(None, 3)),
    np.array([2, 0, 2]),
    (np.array([0, 1, 0]), np.array([1, 1, 1])),
    (slice(None), np.array([[0, 3], [3, 3]])),
    np.eye(3, 4) > 0,
)

SAMPLES = {
    # shape and memory
    "getitem": lambda rng: [((_normal(rng, 3, 4),), (i,)) for i in _INDICES],
    "reshape_to": lambda rng: [
        ((_normal(rng, 2, 6),), ((3, -1),)),
        ((_normal(rng, 2, 3),), ((6,), "F")),
        ((_normal(rng, 1),), ((),)),
    ],
    "transpose_to": lambda rng: [((_normal(rng, 2, 3, 4),), ((-2, -1, -3),))],
    "broadcast_to_shape": lambda rng: [((_normal(rng, 2, 1),), ((3, 2, 4),)), ((_normal(rng),), ((2, 3),))],
    "cast": lambda rng: [((_normal(rng, 3),), lambda x: (np.dtype(complex), x.dtype))],
    "copy_kept": lambda rng: [((_normal(rng, 2, 3).T,), ())],
    "copy_of": lambda rng: [((_normal(rng, 2, 3),), ())],
    "to_device": lambda rng: [((_normal(rng, 3),), (difftensor.tensor(0.0).device,) * 2)],
    "sequence": lambda rng: [
        ((_normal(rng, 2, 3), _normal(rng, 1, 3), _normal(rng, 2, 3)), (-2,)),
        ((_normal(rng, 2), _normal(rng, 3)), (-1,)),
    ],
    "scattered": lambda rng: [
        ((_normal(rng, 3), _normal(rng, 3), _normal(rng)), ((slice(1, 4), np.array([0, 2, 2]), 3), (4,))),
        ((_normal(rng, 2, 3), _normal(rng, 3)), ((Ellipsis, 1), (2, 3))),
    ],
    "parts": lambda rng: [((_normal(rng), _normal(rng)), ((2,),)), (tuple(_normal(rng, 4, 3)), ((2, 2),))],
    "where": lambda rng: [
        ((_normal(rng, 3) > 0, _normal(rng, 2, 3), _normal(rng, 3)), _dtypes_of),
        ((np.array([[True], [False]]), _normal(rng), _normal(rng, 4)), _dtypes_of),
    ],
    "pad_zeros": lambda rng: [((_normal(rng, 2, 3),), (((1, 0), (0, 2)),)), ((_normal(rng, 4),), (((2, 1),),))],
    "roll_along": lambda rng: [((_normal(rng, 2, 3, 4),), ((1, -2), (-1, -3)))],
    "repeat_along": lambda rng: [((_normal(rng, 2, 3, 4),), (3, -2)), ((_normal(rng, 3),), (2, -1))],
    "triangle": lambda rng: [((_normal(rng, 2, 3, 4),), (1,)), ((_normal(rng, 3, 3),), (-1,))],
    "diagonal_of": lambda rng: [((_normal(rng, 3, 4),), (1, -2, -1)), ((_normal(rng, 2, 3, 3),), (0, -3, -1))],
    "diagonal_in": lambda rng: [
        ((_normal(rng, 3),), ((4, 4), 1, -2, -1)),
        ((_normal(rng, 2, 3),), ((2, 3, 3), 0, -2, -1)),
    ],
    "windows_of": lambda rng: [((_normal(rng, 6),), ((3,), (-1,))), ((_normal(rng, 3, 4),), ((2, 2), (-2, -1)))],
    "windows_in": lambda rng: [
        ((_normal(rng, 4, 3),), ((6,), (3,), (-1,))),
        ((_normal(rng, 2, 3, 2, 2),), ((3, 4), (2, 2), (-2, -1))),
    ],
    "add.at": lambda rng: [
        ((_normal(rng, 4, 3), _normal(rng, 3, 3)), lambda x, v: (np.array([0, 2, 0]), _likes(x, v))),
        ((_normal(rng, 4), _normal(rng)), lambda x, v: (np.array([1, 1]), _likes(x, v))),
    ],
    # ranges
    "range": lambda rng: [
        ((rng.uniform(1, 2, 3), rng.uniform(3, 4, 3)), (5, True)),
        ((rng.uniform(1, 2, ()), rng.uniform(3, 4, (2, 1))), (4, False)),
    ],
    # reductions
    "axes": lambda rng: [
        ((_normal(rng, 2, 3, 4),), ((-1,), False)),
        ((_normal(rng, 2, 3, 4),), ((-3, -1), True)),
        ((_normal(rng, 3, 2),), ((-2, -1), False)),
        ((_normal(rng, 2, 3),), ((), False)),
    ],
    "mean": lambda rng: [
        ((_normal(rng, 2, 3, 4),), ((-3, -1), True, 8)),
        ((_normal(rng, 3, 2),), ((-1,), False, 2)),
    ],
    "var": lambda rng: [
        ((_normal(rng, 2, 3, 4),), ((-3, -1), True, 0)),
        ((_normal(rng, 3, 2),), ((-2,), False, 1)),
    ],
    # running
    "axis": lambda rng: [
        ((_normal(rng, 6),), (-1,)),
        ((_normal(rng, 2, 5, 3),), (-2,)),
        ((_normal(rng, 1, 2),), (-2,)),
    ],
    "recurrence": lambda rng: [
        ((_normal(rng, 6), _normal(rng, 6)), ()),
        ((_normal(rng, 3, 4), _normal(rng, 3, 4)), ()),
        ((_normal(rng, 20, 3), _normal(rng, 20, 3)), ()),
    ],
    # sorting, counting, convolution
    "pick_along": lambda rng: [
        ((_normal(rng, 5), np.array([3, 0, 4])), (-1, 5)),
        ((_normal(rng, 2, 4, 3), rng.permuted(np.tile(np.arange(4)[None, :, None], (2, 1, 3)), axis=1)), (-2, 4)),
        ((_normal(rng, 3, 4), rng.permuted(np.tile(np.arange(4), (3, 1)), axis=1)), (-1, 4)),
    ],
    "put_along": lambda rng: [
        ((_normal(rng, 3), np.array([3, 0, 4])), (-1, 5)),
        ((_normal(rng, 2, 2, 3), np.tile(np.array([3, 1])[None, :, None], (2, 1, 3))), (-2, 4)),
        ((_normal(rng, 3, 2), np.array([[3, 1], [0, 3], [2, 1]])), (-1, 4)),
    ],
    "bincount": lambda rng: [((_normal(rng, 6), np.array([0, 2, 2, 1, 0, 4])), (7,))],
    "convolve": lambda rng: [
        ((_normal(rng, 5), _normal(rng, 3)), ("full",)),
        ((_normal(rng, 5), _normal(rng, 3)), ("valid",)),
        ((_normal(rng, 4), _normal(rng, 4)), ("valid",)),
        ((_normal(rng, 3), _normal(rng, 1)), ("full",)),
    ],
    # products
    "contract": lambda rng: [
        ((_normal(rng, *a), _normal(rng, *b)), labels)
        for a, b, labels in [
            ((2, 3), (3, 4), ("ij", "jk", "ki")),
            ((2, 3), (2,), ("ij", "k", "kij")),
            ((2, 3, 4), (3, 2, 5), ("bij", "ibk", "kbj")),
            ((2, 3, 4), (4, 2, 3), ("bij", "jbi", "b")),
            ((5, 2, 3), (3,), ("k", "k", "")),
            ((5, 2, 3), (3, 4), ("ik", "kj", "ij")),
            ((2, 3), (5, 1, 3, 4), ("ik", "kj", "ij")),
            ((5, 2, 3), (2, 3), ("\u0100k", "\u0100k", "\u0100")),
        ]
    ],
    "labels": lambda rng: [((_normal(rng, 3, 2, 3),), ("iji", "ij")), ((_normal(rng, 2, 3, 3),), ("ii", "i"))],
    "embed": lambda rng: [
        ((_normal(rng, 3, 2),), ("iji", "ij", (3, 2, 3))),
        ((_normal(rng, 2, 3),), ("ii", "i", (3, 3))),
    ],
    "outer": lambda rng: [((_normal(rng, 3), _normal(rng, 2)), ()), ((_normal(rng, 1), _normal(rng, 1)), ())],
    "cross": lambda rng: [((_normal(rng, 3), _normal(rng, 3)), ()), ((_normal(rng, 2, 3), _normal(rng, 4, 1, 3)), ())],
    "trace": lambda rng: [((_normal(rng, 3, 4),), (0, -2, -1)), ((_normal(rng, 3, 2, 4),), (1, -1, -3))],
    "matmul": lambda rng: [
        ((_normal(rng, *a), _normal(rng, *b)), ())
        for a, b in [
            ((3,), (3,)),
            ((2, 3), (3,)),
            ((3,), (3, 2)),
            ((2, 3), (3, 4)),
            ((5, 2, 3), (3, 4)),
            ((2, 3), (5, 3, 4)),
            ((4, 1, 2, 3), (5, 3, 2)),
            ((4, 2, 3), (3,)),
            ((3,), (4, 3, 2)),
            ((1, 1), (1, 1)),
        ]
    ],
    # linear algebra
    "linalg._solve": lambda rng: [
        ((_regular(rng, *a), _normal(rng, *b)), keep)
        for a, b in [
            ((4, 4), (4, 2)),
            ((2, 3, 3), (3, 1)),
            ((5, 5), (2, 5, 3)),
            ((4, 4), (4, 1)),
            ((4, 3, 3), (4, 3, 2)),
        ]
        for keep in _keeps()
    ],
    "linalg._solve_vector": lambda rng: [
        ((_regular(rng, n, n), _normal(rng, n)), keep) for n in (1, 4) for keep in _keeps()
    ],
    "linalg._solve_triangular": lambda rng: [
        ((_regular(rng, 4, 4), _normal(rng, 4, 2)), (True,)),
        ((_regular(rng, 2, 3, 3), _normal(rng, 3, 2)), (False,)),
    ],
    "linalg.inv": lambda rng: [((_regular(rng, *shape),), ()) for shape in [(1, 1), (2, 2), (2, 3, 3), (5, 5)]],
    "linalg._det": lambda rng: [
        ((_regular(rng, *shape),), keep) for shape in [(2, 2), (2, 3, 3), (4, 4)] for keep in _keeps()
    ],
    "linalg._cofactor": lambda rng: [
        ((_regular(rng, *shape),), keep) for shape in [(2, 2), (3, 3), (4, 4)] for keep in _keeps()
    ],
    "linalg._inverse_transposed": lambda rng: [
        ((_regular(rng, *shape),), keep) for shape in [(3, 3), (2, 4, 4)] for keep in _keeps()
    ],
    "linalg._cofactor_along": lambda rng: [
        ((_regular(rng, *shape), _normal(rng, *shape)), ()) for shape in [(2, 2), (3, 3), (4, 4)]
    ],
    "linalg._slogdet": lambda rng: [
        ((_regular(rng, *shape),), keep) for shape in [(3, 3), (2, 4, 4)] for keep in _keeps()
    ],
    "linalg._cholesky": lambda rng: [((_normal(rng, *shape),), (), _positive) for shape in [(3, 3), (2, 4, 4)]],
    "linalg._eigh": lambda rng: [
        ((_spread(rng, *shape),), ("L", True), lambda f, a: _vectors(f, a + _mH(a))) for shape in [(3, 3), (2, 4, 4)]
    ],
    "linalg._eig": lambda rng: [((_spread(rng, *shape),), (True,), _vectors) for shape in [(3, 3), (2, 3, 3)]],
    "linalg._svd": lambda rng: [
        ((_spread(rng, 4, 4)[:, :3],), (False, True), _singular),
        ((_spread(rng, 4, 4)[:, :2],), (True, True), _singular),
        ((_spread(rng, 3, 3),), (True, True), _singular),
    ],
    "linalg._qr": lambda rng: [((_regular(rng, 4, 4)[:, :3],), (False,)), ((_regular(rng, 2, 3, 3),), (False,))],
    "linalg._pinv": lambda rng: [
        ((_normal(rng, 4, 3),), (1e-15, False)),
        ((_normal(rng, 2, 3),), (1e-15, False)),
        ((_regular(rng, 3, 3),), (1e-15, True), _hermitian),
    ],
    "linalg._lstsq": lambda rng: [
        (
            (_normal(rng, *shape), _normal(rng, shape[0], 2)),
            (1e-14,),
            lambda f, a, b: f(a, b, _beside(np.linalg.pinv(_plain(a)), a)),
        )
        for shape in [(4, 3), (2, 3)]
    ],
    "linalg._pinv_known": lambda rng: [
        ((_normal(rng, *shape),), (1e-14,), lambda f, a: f(a, _beside(np.linalg.pinv(_plain(a)), a)))
        for shape in [(4, 3), (2, 3)]
    ],
    "linalg._square_norm": lambda rng: [
        ((_normal(rng, 3, 4),), (axes, keep)) for axes, keep in [((-1,), False), ((-2, -1), True)]
    ],
    "linalg._power_norm": lambda rng: [
        ((_normal(rng, 3, 4),), (p, axes, keepdims))
        for p, axes, keepdims in [
            (2, (-2, -1), False),
            (2, (-1,), True),
            (1, (-1,), False),
            (3, (-2,), False),
            (4.0, (-1,), True),
        ]
    ],
    "linalg._polar": lambda rng: [((_regular(rng, 4, 4)[:, :3],), ()), ((_regular(rng, 2, 3, 3),), ())],
    "linalg._once": lambda rng: [((rng.normal(size=(2, 3, 3)), np.eye(3, dtype=bool)), ())],
    "linalg._spectral_projector": lambda rng: [
        ((_spread(rng, 4, 4), np.array([False, True, True, False])), (), _hermitian)
    ],
    "linalg.solve_sylvester": lambda rng: [((_regular(rng, 3, 3), _regular(rng, 2, 2), _normal(rng, 3, 2)), ())],
    "linalg.expm": lambda rng: [((0.7 * _normal(rng, *shape),), ()) for shape in [(3, 3), (2, 2, 2)]],
    "linalg.logm": lambda rng: [((_spread(rng, 3, 3),), ())],
    "linalg.sqrtm": lambda rng: [((_spread(rng, 3, 3),), ())],
    "linalg._funm": lambda rng: [
        ((_spread(rng, 3, 3),), (np.sin,)),
        ((_spread(rng, 3, 3), _normal(rng, 3, 3)), (np.exp,)),
    ],
    # Fourier transforms: (s, axes, norm, the operand is real)
    "fft._fftn": lambda rng: [
        ((_normal(rng, *shape),), lambda x, s=s, axes=axes, norm=norm: (s, axes, norm, _is_real(x)))
        for shape, s, axes, norm in _TRANSFORMS
    ],
    "fft._rfftn": lambda rng: [
        ((_normal(rng, *shape),), (s, axes, norm, True)) for shape, s, axes, norm in _TRANSFORMS
    ],
    "fft._irfftn": lambda rng: [
        ((_normal(rng, 4),), lambda x: ((6,), (-1,), None, _is_real(x))),
        ((_normal(rng, 4),), lambda x: ((7,), (-1,), "ortho", _is_real(x))),
        ((_normal(rng, 3, 3),), lambda x: ((3, 4), (-2, -1), "forward", _is_real(x))),
    ],
}
SAMPLES["special._betainc"] = SAMPLES["special._betaincc"] = lambda rng: [
    (
        (_normal(rng, 3),),
        ((True, True),),
        lambda f, x: f(1.5 + 0.5 * np.sin(x), 0.9 + 0.4 * np.cos(x), 0.5 + 0.3 * np.sin(x)),
    )
]
SAMPLES["points"] = lambda rng: [((1.0 + 0.5 * rng.random(shape),), ()) for shape in [(), (3,)]]
SAMPLES["fft._ifftn"] = SAMPLES["fft._fftn"]
_TRANSFORMS = [
    ((5,), (5,), (-1,), None),
    ((2, 5), (4,), (-1,), "ortho"),
    ((5,), (8,), (-1,), "forward"),
    ((3, 4), (3, 6), (-2, -1), None),
]


def sample_name(op):
    """The key of primitive `op` in SAMPLES."""
    name = op.facts.get("samples")
    return name if isinstance(name, str) else op.name


__all__ = ["PRIMITIVES", "SAMPLES", "sample_name"]
