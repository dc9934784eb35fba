"""Agreement with PyTorch of what arranges arrays: padding, resampling, folding, bags; and of computed parameters."""

import copy

import numpy as np
import pytest

import difftensor as dif
import optim
from difftensor import nn
from difftensor.testing import check_grads

from .test_torch import compare, same_weights

pytestmark = [pytest.mark.peers("torch")]
F = nn.functional
BOTH = pytest.mark.parametrize("dtype", [np.float64, np.float32])

LAYERS = [
    ("ConstantPad1d", ((1, 2), 3.5), {}, (2, 3, 5)),
    ("ConstantPad2d", (2, -1.0), {}, (2, 3, 5, 4)),
    ("ConstantPad3d", ((1, 0, 2, 1, 0, 3), 0.5), {}, (1, 2, 3, 2, 2)),
    ("ZeroPad1d", (2,), {}, (3, 5)),
    ("ZeroPad2d", ((1, -1, 2, 0),), {}, (2, 3, 5, 4)),
    ("ZeroPad3d", (1,), {}, (1, 2, 3, 2, 2)),
    ("ReflectionPad1d", ((2, 1),), {}, (2, 3, 5)),
    ("ReflectionPad2d", ((1, 2, 3, 0),), {}, (2, 3, 5, 4)),
    ("ReflectionPad3d", (1,), {}, (1, 2, 3, 2, 2)),
    ("ReplicationPad1d", ((2, 1),), {}, (2, 3, 5)),
    ("ReplicationPad2d", ((1, 2, 3, 0),), {}, (2, 3, 5, 4)),
    ("ReplicationPad3d", (2,), {}, (1, 2, 3, 2, 2)),
    ("CircularPad1d", ((2, 1),), {}, (2, 3, 5)),
    ("CircularPad2d", ((1, 2, 3, 0),), {}, (2, 3, 5, 4)),
    ("CircularPad3d", (1,), {}, (1, 2, 3, 2, 2)),
    ("Upsample", (), {"scale_factor": 2}, (2, 3, 5)),
    ("Upsample", ((7, 3),), {}, (2, 3, 5, 4)),
    ("Upsample", (), {"scale_factor": (1.7, 0.6, 2.7)}, (1, 2, 3, 5, 2)),
    ("Upsample", ((7, 3),), {"mode": "nearest-exact"}, (2, 3, 5, 4)),
    ("Upsample", (7,), {"mode": "linear"}, (2, 3, 5)),
    ("Upsample", (), {"scale_factor": 1.7, "mode": "linear", "align_corners": True}, (2, 3, 5)),
    ("Upsample", (), {"scale_factor": 2.5, "mode": "bilinear"}, (2, 3, 5, 4)),
    ("Upsample", ((3, 9),), {"mode": "bilinear", "align_corners": True}, (2, 3, 5, 4)),
    ("Upsample", (), {"scale_factor": 0.7, "mode": "bilinear", "recompute_scale_factor": True}, (2, 3, 5, 4)),
    ("Upsample", ((9, 7),), {"mode": "bicubic"}, (2, 3, 5, 4)),
    ("Upsample", ((3, 9),), {"mode": "bicubic", "align_corners": True}, (2, 3, 5, 4)),
    ("Upsample", ((3, 5, 4),), {"mode": "trilinear"}, (1, 2, 2, 3, 5)),
    ("Upsample", ((1, 5, 4),), {"mode": "trilinear", "align_corners": True}, (1, 2, 2, 3, 5)),
    ("UpsamplingNearest2d", (), {"scale_factor": 2}, (2, 3, 5, 4)),
    ("UpsamplingBilinear2d", (), {"scale_factor": 2}, (2, 3, 5, 4)),
    ("PixelShuffle", (2,), {}, (2, 8, 3, 4)),
    ("PixelShuffle", (3,), {}, (9, 3, 4)),
    ("PixelUnshuffle", (2,), {}, (2, 3, 4, 6)),
    ("ChannelShuffle", (3,), {}, (2, 6, 3, 4)),
    ("Unfold", ((2, 3),), {"dilation": (2, 1), "padding": (1, 0), "stride": (1, 2)}, (2, 3, 6, 7)),
    ("Unfold", (2,), {}, (3, 4, 5)),
    ("Fold", ((5, 6), (2, 3)), {"padding": 1, "stride": (2, 1)}, (2, 18, 18)),
    ("LPPool3d", (2.0, 2), {}, (2, 3, 4, 4, 5)),
    ("LocalResponseNorm", (3,), {"alpha": 0.5, "k": 2.0}, (2, 5, 3, 4)),
    ("LocalResponseNorm", (2,), {}, (2, 5, 3)),
    ("Softmax2d", (), {}, (2, 3, 4, 5)),
    ("Softmax2d", (), {}, (3, 4, 5)),
]


@BOTH
@pytest.mark.parametrize("name, args, kwargs, shape", LAYERS, ids=[f"{i}-{c[0]}" for i, c in enumerate(LAYERS)])
def test_layers(name, args, kwargs, shape, dtype, rng):
    import torch

    ours, theirs = getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)
    x = rng.normal(size=shape).astype(dtype)
    compare(ours, theirs, [abs(x) if "LPPool" in name else x], dtype, rng)
    np.testing.assert_allclose(ours(x), ours(dif.asarray(x)), rtol=1e-6)
    assert isinstance(ours(x), np.ndarray)


@BOTH
def test_area_and_errors(dtype, rng):
    import torch

    x = rng.normal(size=(2, 3, 7, 5)).astype(dtype)
    compare(lambda x: F.interpolate(x, (3, 4), mode="area"),
            lambda x: torch.nn.functional.interpolate(x, (3, 4), mode="area"), [x], dtype, rng)  # fmt: skip
    for settings in ({}, {"size": 3, "scale_factor": 2}, {"size": 3, "mode": "linear"}, {"size": 3, "mode": "cubic"},
                     {"size": 3, "align_corners": True}):  # fmt: skip
        with pytest.raises(ValueError, match="interpolate"):
            F.interpolate(x, **settings)


@BOTH
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize(
    "mode, shape", [("bilinear", (2, 3, 4, 5)), ("nearest", (2, 3, 4, 5)), ("bilinear", (2, 2, 3, 4, 2))]
)
def test_grid_sample(mode, shape, padding, align, dtype, rng):
    import torch

    n = len(shape) - 2
    x, grid = rng.normal(size=shape).astype(dtype), rng.uniform(-1.6, 1.6, size=(2, *[3] * n, n)).astype(dtype)
    sample = lambda f: lambda x, g: f.grid_sample(x, g, mode, padding, align) + 0 * g.sum()
    compare(sample(F), sample(torch.nn.functional), [x, grid], dtype, rng)
    points = lambda f: lambda theta: f.affine_grid(theta, shape, align)
    theta = rng.normal(size=(2, n, n + 1)).astype(dtype)
    compare(points(F), points(torch.nn.functional), [theta], dtype, rng)


def test_rrelu(rng):
    import torch

    x = rng.normal(size=50)
    compare(nn.RReLU().eval(), torch.nn.RReLU().eval(), [x], np.float64, rng)
    y = nn.RReLU(0.2, 0.4, rng=0)(x)
    slopes = (y / x)[x < 0]
    assert np.all(y[x > 0] == x[x > 0]) and slopes.min() >= 0.2 and slopes.max() <= 0.4 and slopes.std() > 0.02


def test_gumbel_softmax(rng):
    logits = np.log(np.array([0.2, 0.5, 0.3]))
    y = F.gumbel_softmax(np.tile(logits, (20000, 1)), tau=0.5, hard=True, rng=0)
    np.testing.assert_allclose(y.mean(axis=0), [0.2, 0.5, 0.3], atol=0.015)
    assert set(np.unique(np.round(y, 12))) == {0.0, 1.0}
    x = rng.normal(size=(4, 3))
    soft, hard = (dif.grad(lambda x, h=h: (F.gumbel_softmax(x, hard=h, rng=1) * [1.0, 2.0, 3.0]).sum())(x)
                  for h in (False, True))  # fmt: skip
    np.testing.assert_allclose(soft, hard)


UNPOOL = [
    (1, (2,), {}, (2, 3, 9)),
    (2, ((3, 2), 2), {"padding": 1}, (2, 3, 7, 8)),
    (2, (2,), {"dilation": 2, "ceil_mode": True}, (3, 7, 8)),
    (3, (2,), {}, (1, 2, 4, 6, 2)),
]


@BOTH
@pytest.mark.parametrize("n, args, settings, shape", UNPOOL)
def test_places_of_maxima_and_the_way_back(n, args, settings, shape, dtype, rng):
    import torch

    x = rng.permutation(np.prod(shape)).reshape(shape).astype(dtype)
    ours = getattr(nn, f"MaxPool{n}d")(*args, **settings, return_indices=True)
    theirs = getattr(torch.nn, f"MaxPool{n}d")(*args, **settings, return_indices=True)
    y, at = ours(dif.asarray(x))
    z, where = theirs(torch.tensor(x))
    np.testing.assert_array_equal(at, where)
    compare(lambda x: ours(x)[0], lambda x: theirs(x)[0], [x], dtype, rng)
    if "dilation" not in settings:
        back, other = (getattr(m, f"MaxUnpool{n}d")(*args, padding=settings.get("padding", 0)) for m in (nn, torch.nn))
        given = at.numpy()
        values = rng.normal(size=y.shape).astype(dtype)
        if n == 2:  # overlapping windows share maxima: one value for each place
            values = values.ravel()[given % values.size].reshape(values.shape)
        sizes = {"output_size": shape} if n == 2 else {}
        np.testing.assert_array_equal(back(values, given, **sizes), other(torch.tensor(values), where, **sizes))
        if n != 2:
            compare(lambda v: back(v, given), lambda v: other(v, where), [values], dtype, rng)


@BOTH
def test_places_of_adaptive_maxima(dtype, rng):
    import torch

    x = rng.permutation(210).reshape(2, 3, 7, 5).astype(dtype)
    for size in ((3, 2), (7, 1)):
        ours, theirs = nn.AdaptiveMaxPool2d(size, True), torch.nn.AdaptiveMaxPool2d(size, True)
        np.testing.assert_array_equal(ours(x)[1], theirs(torch.tensor(x))[1])
        compare(lambda x, f=ours: f(x)[0], lambda x, f=theirs: f(x)[0], [x], dtype, rng)
    with pytest.raises(IndexError, match="do not fit"):
        F.max_unpool2d(x, np.full(x.shape, 10**6), 2)


def test_pretrained_embedding(rng):
    w = rng.normal(size=(5, 3))
    layer = nn.Embedding.from_pretrained(w)
    assert not list(layer.parameters()) and np.array_equal(layer(np.array([3, 1])), w[[3, 1]])
    assert len(list(nn.Embedding.from_pretrained(w, freeze=False).parameters())) == 1


@BOTH
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag(mode, dtype, rng):
    import torch

    made = {"mode": mode, "padding_idx": 2}
    theirs = torch.nn.EmbeddingBag(9, 3, **made, dtype=getattr(torch, np.dtype(dtype).name))
    ours = nn.EmbeddingBag(9, 3, **made, dtype=dtype)
    same_weights(ours, theirs)
    compare(ours, theirs, [rng.integers(9, size=(4, 5))], dtype, rng)
    for p in [*ours.parameters(), *theirs.parameters()]:
        p.grad = None
    compare(ours, theirs, [rng.integers(9, size=11)], dtype, rng, offsets=np.array([0, 4, 4, 7]))
    if mode == "sum":
        index, w = rng.integers(9, size=(4, 5)), rng.normal(size=(4, 5)).astype(dtype)
        compare(lambda w: F.embedding_bag(index, ours.weight.detach(), None, "sum", w),
                lambda w: torch.nn.functional.embedding_bag(torch.tensor(index), theirs.weight.detach(), mode="sum",
                                                            per_sample_weights=w), [w], dtype, rng)  # fmt: skip


@BOTH
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weights_of_elements(name, reduction, dtype, rng):
    import torch

    x, y = (rng.normal(size=(4, 5)).astype(dtype) for _ in range(2))
    w = rng.uniform(0.5, 2, size=(4, 5)).astype(dtype)
    loss = lambda f: lambda x, y: getattr(f, name)(x, y, reduction=reduction, weight=weights[f])
    weights = {F: w, torch.nn.functional: torch.tensor(w)}
    compare(loss(F), loss(torch.nn.functional), [x, y], dtype, rng)
    with pytest.raises(ValueError, match="same shape"):
        getattr(F, name)(x, y, weight=w[0])


@BOTH
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_of_labels_and_distances(reduction, dtype, rng):
    import torch

    x, y, z = (rng.normal(size=(4, 5)).astype(dtype) for _ in range(3))
    target = np.array([[3, 0, -1, 1, 2], [1, 2, 3, 4, 0], [-1, 0, 1, 2, 3], [4, -1, -1, -1, -1]])
    mine, other = nn.MultiLabelMarginLoss(reduction), torch.nn.MultiLabelMarginLoss(reduction=reduction)
    for x_, t in ((x, target), (x[0], target[0])):
        compare(lambda v, t=t: mine(v, t), lambda v, t=t: other(v, torch.tensor(t)), [x_], dtype, rng)
    made = {"distance_function": lambda a, b: abs(a - b).sum(-1), "swap": True, "reduction": reduction}
    mine, other = nn.TripletMarginWithDistanceLoss(**made), torch.nn.TripletMarginWithDistanceLoss(**made)
    compare(lambda *v: mine(*v), lambda *v: other(*v), [x, y, z], dtype, rng)
    for p in (1.0, 2.0, 3.0):
        compare(lambda *v, p=p: nn.PairwiseDistance(p, keepdim=True)(*v),
                lambda *v, p=p: torch.nn.PairwiseDistance(p, keepdim=True)(*v), [x, y], dtype, rng)  # fmt: skip


CTC = [
    ([7, 7, 7], [3, 1, 2], [[1, 1, 2], [3, 0, 0], [2, 1, 0]]),
    ([7, 4, 5], [2, 4, 0], [[1, 2, 0, 0], [3, 1, 2, 3], [0, 0, 0, 0]]),
]


@BOTH
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("lengths, sizes, targets", CTC)
def test_ctc(lengths, sizes, targets, reduction, dtype, rng):
    import torch

    x = rng.normal(size=(7, 3, 4)).astype(dtype)
    flat = np.concatenate([row[:n] for row, n in zip(targets, sizes)]).astype(np.int64)
    ours, theirs = nn.CTCLoss(0, reduction), torch.nn.CTCLoss(0, reduction)
    for given in (np.array(targets), flat):
        rest = [torch.tensor(v) for v in (given, lengths, sizes)]
        compare(lambda x, given=given: ours(F.log_softmax(x), given, lengths, sizes),
                lambda x, rest=rest: theirs(x.log_softmax(-1), *rest), [x], dtype, rng)  # fmt: skip


def test_ctc_is_the_sum_over_alignments(rng):
    """All paths of five steps over three classes, merged by hand."""
    import itertools

    log_p = np.log(rng.dirichlet(np.ones(3), size=5))
    total = -np.inf
    for path in itertools.product(range(3), repeat=5):
        merged = [c for c, _ in itertools.groupby(path) if c != 0]
        if merged == [1, 2]:
            total = np.logaddexp(total, sum(log_p[t, c] for t, c in enumerate(path)))
    np.testing.assert_allclose(F.ctc_loss(log_p, [1, 2], 5, 2, reduction="none"), -total, rtol=1e-12)
    check_grads(lambda x: F.ctc_loss(x, [1, 2], 5, 2), (log_p,), order=2)


def test_ctc_without_an_alignment(rng):
    x = dif.tensor(np.log(rng.dirichlet(np.ones(3), size=(2, 2))), requires_grad=True)
    targets, lengths, sizes = np.array([[1, 1], [2, 0]]), [2, 2], [2, 1]
    assert np.isinf(F.ctc_loss(x, targets, lengths, sizes, reduction="none").detach().numpy()).tolist() == [True, False]
    loss = F.ctc_loss(x, targets, lengths, sizes, zero_infinity=True)
    loss.backward()
    assert np.isfinite(loss.item()) and np.isfinite(x.grad.numpy()).all() and not x.grad.numpy()[:, 0].any()


# parameters that are computed -----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("name, args, shape", [("Linear", (4, 3), (5, 4)), ("Conv2d", (2, 3, 2), (2, 2, 4, 4))])
def test_weight_norm(name, args, shape, dim, dtype, rng):
    import torch

    plain = getattr(torch.nn, name)(*args, dtype=getattr(torch, np.dtype(dtype).name))
    ours = getattr(nn, name)(*args, dtype=dtype)
    same_weights(ours, plain)
    theirs = torch.nn.utils.parametrizations.weight_norm(plain, dim=dim)
    before = ours.weight.detach().numpy().copy()
    nn.weight_norm(ours, dim=dim)
    np.testing.assert_allclose(ours.weight.detach(), before, rtol=1e-6)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    same_weights(ours, theirs)
    compare(ours, theirs, [rng.normal(size=shape).astype(dtype)], dtype, rng)


@BOTH
@pytest.mark.parametrize(
    "name, args, shape",
    [("Linear", (4, 3), (5, 4)), ("Conv2d", (2, 3, 2), (2, 2, 4, 4)), ("ConvTranspose1d", (2, 3, 2), (2, 2, 4))],
)
def test_spectral_norm(name, args, shape, dtype, rng):
    import torch

    plain = getattr(torch.nn, name)(*args, dtype=getattr(torch, np.dtype(dtype).name))
    theirs = torch.nn.utils.parametrizations.spectral_norm(plain)
    ours = nn.spectral_norm(getattr(nn, name)(*args, dtype=dtype), rng=0)
    same_weights(ours, theirs)
    compare(ours, theirs, [rng.normal(size=shape).astype(dtype)], dtype, rng)
    for k, v in theirs.state_dict().items():  # the power iteration too
        np.testing.assert_allclose(ours.state_dict()[k], v.numpy(), rtol=1e-5, atol=1e-6)
    ours.eval()
    was = {k: v.numpy() for k, v in ours.state_dict().items()}
    ours(dif.ones(shape, dtype=dtype))
    assert all(np.array_equal(v, was[k]) for k, v in ours.state_dict().items())


def test_spectral_norm_is_the_largest_singular_value():
    layer = nn.spectral_norm(nn.Linear(6, 4, rng=0), n_power_iterations=200, rng=1)
    original = layer.parametrizations.weight.original.detach().numpy()
    expected = original / np.linalg.svd(original)[1][0]
    np.testing.assert_allclose(layer.weight.detach(), expected, rtol=1e-9)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_orthogonal(shape, rng):
    layer = nn.orthogonal(nn.Linear(*shape[::-1], rng=0))
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    first = layer.weight.detach().numpy().copy()
    for _ in range(3):
        loss = (layer(rng.normal(size=(7, shape[1]))) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        w = layer.weight.detach().numpy()
        gram = w @ w.T if shape[0] < shape[1] else w.T @ w
        np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-12)
    assert abs(w - first).max() > 1e-3


class Symmetric(nn.Module):
    """The upper triangle, mirrored."""

    def forward(self, x):
        return dif.triu(x) + dif.triu(x, 1).T

    def right_inverse(self, a):
        return dif.triu(a)


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x

    def right_inverse(self, a):
        return a / 2


def test_parametrizations_of_ones_own(rng):
    import torch
    from torch.nn.utils import parametrize

    class TorchSymmetric(torch.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).T

        def right_inverse(self, a):
            return a.triu()

    class TorchDoubled(torch.nn.Module):
        def forward(self, x):
            return 2 * x

        def right_inverse(self, a):
            return a / 2

    theirs, ours = torch.nn.Linear(4, 4, dtype=torch.float64), nn.Linear(4, 4)
    for f, g in ((TorchSymmetric(), Symmetric()), (TorchDoubled(), Doubled())):
        parametrize.register_parametrization(theirs, "weight", f, unsafe=True)
        nn.register_parametrization(ours, "weight", g)
    same_weights(ours, theirs)
    compare(ours, theirs, [rng.normal(size=(3, 4))], np.float64, rng)
    a = rng.normal(size=(4, 4))
    a = a + a.T
    ours.weight, theirs.weight = a, torch.tensor(a)
    np.testing.assert_allclose(ours.weight.detach(), a, rtol=1e-14)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
        np.testing.assert_allclose(p.detach(), q.detach().numpy(), rtol=1e-14, err_msg=name)
    assert nn.is_parametrized(ours, "weight") and not nn.is_parametrized(ours, "bias")
    nn.remove_parametrizations(ours, "weight")
    assert type(ours) is nn.Linear and [n for n, _ in ours.named_parameters()] == ["bias", "weight"]
    np.testing.assert_allclose(ours.weight.detach(), a, rtol=1e-14)


def test_parametrized_modules_are_trees(rng):
    layer = nn.weight_norm(nn.Linear(3, 2, rng=0))
    x = dif.asarray(rng.normal(size=(4, 3)))
    with dif.no_grad():
        g = dif.grad(lambda m: (m(x) ** 2).sum())(layer)
    (layer(x) ** 2).sum().backward()
    for (_, a), b in zip(g.named_parameters(), layer.parameters()):
        np.testing.assert_allclose(a, b.grad)
    moved = dif.tree.map(lambda p, g: p.detach() - 0.01 * g, layer, g)
    assert type(moved) is type(layer) and (moved(x) ** 2).sum().item() < (layer(x) ** 2).sum().item()
    same = copy.deepcopy(layer)
    np.testing.assert_array_equal(same(x).detach(), layer(x).detach())
    with pytest.raises(ValueError, match="no Tensor"):
        nn.register_parametrization(nn.ReLU(), "weight", Doubled())


def test_parameters_as_a_vector(rng):
    a, b = nn.Linear(3, 2, rng=0), nn.Linear(3, 2, rng=1)
    vector = nn.parameters_to_vector(a.parameters())
    assert vector.shape == (8,)
    nn.vector_to_parameters(vector, b.parameters())
    np.testing.assert_array_equal(a(np.ones(3)).detach(), b(np.ones(3)).detach())
    with pytest.raises(ValueError, match="9 values for 8"):
        nn.vector_to_parameters(np.ones(9), b.parameters())


def test_lists_and_dicts_of_parameters():
    import torch

    a = nn.ParameterList([np.ones(2), np.zeros(3)])
    b = torch.nn.ParameterList([torch.ones(2), torch.zeros(3)])
    assert list(a.state_dict()) == list(b.state_dict()) and len(a) == 2 and a[1].shape == (3,)
    d = nn.ParameterDict({"x": np.ones(2), "y": np.zeros(3)})
    assert list(d.state_dict()) == ["x", "y"] and "x" in d and d["y"].requires_grad and len(d) == 2


@pytest.mark.parametrize("make", [nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_alpha_dropouts_keep_moments(make):
    x = np.random.default_rng(0).normal(size=(400, 500, 2))
    y = make(0.3, rng=1)(x)
    assert abs(y.mean()) < 0.01 and abs(y.var() - 1) < 0.02
    if make is nn.FeatureAlphaDropout:
        values, counts = np.unique(y, return_counts=True)
        dropped = y == values[counts.argmax()]
        assert np.array_equal(dropped[..., 0], dropped[..., 1]) and abs(dropped.mean() - 0.3) < 0.01
