"""Edges of layers beside PyTorch: empty batches, one example alone, certainty, queries that see nothing."""

import numpy as np
import pytest

import difftensor as dif
from difftensor import nn

from .test_torch import compare

pytestmark = [pytest.mark.peers("torch")]
F = nn.functional


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_certain_predictions_cost_at_most_100(dtype):
    import torch

    p = np.array([0.0, 1.0, 0.0, 1.0, 1e-30, 0.5], dtype)
    t = np.array([1.0, 0.0, 0.0, 1.0, 1.0, 0.25], dtype)
    ours = F.binary_cross_entropy(dif.asarray(p), dif.asarray(t), reduction="none")
    theirs = torch.nn.functional.binary_cross_entropy(torch.tensor(p), torch.tensor(t), reduction="none")
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)
    # the derivative of what is bounded, for the probabilities and for the targets
    gradient = dif.grad(lambda p: F.binary_cross_entropy(p, t, reduction="sum"))(p)
    np.testing.assert_allclose(gradient[[0, 1, 5]], [0.0, 0.0, 1.0], rtol=1e-6)
    gradient = dif.grad(lambda t: F.binary_cross_entropy(p, t, reduction="sum"))(t)
    np.testing.assert_allclose(gradient[:4], [100.0, -100.0, 100.0, -100.0])


@pytest.mark.parametrize("ignore_index", [0, 1, 2, -1, -100])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 2), (3,)])
def test_a_class_that_does_not_count(shape, reduction, ignore_index, rng):
    """Padding is often class 0."""
    import torch

    x = rng.normal(size=shape)
    y = rng.integers(3, size=(shape[0], *shape[2:])) if shape[1:] else np.asarray((ignore_index + 1) % 3)
    if ignore_index < 0 and shape[1:]:
        y[0] = ignore_index
    settings = {"ignore_index": ignore_index, "reduction": reduction}
    theirs = torch.nn.functional.cross_entropy
    compare(
        lambda v: F.cross_entropy(v, y, **settings),
        lambda v: theirs(v, torch.tensor(y), **settings), [x], np.float64, rng,
    )  # fmt: skip


def test_margin_loss_of_one_example(rng):
    import torch

    x, w = rng.normal(size=5), rng.uniform(0.5, 2, size=5)
    for reduction in ("mean", "sum", "none"):
        compare(lambda v, r=reduction: F.multi_margin_loss(v, np.array(3), 2, 0.7, w, r),
                lambda v, r=reduction: torch.nn.functional.multi_margin_loss(
                    v, torch.tensor(3), 2, 0.7, torch.tensor(w), reduction=r), [x], np.float64, rng)  # fmt: skip


def test_cosines_of_broadcast_vectors(rng):
    """A vector of one number stands for one of equal numbers, as long as the other."""
    import torch

    for shapes in (((3, 4), (1, 4)), ((2, 1, 4), (2, 3, 1))):
        arrays = [rng.normal(size=s) for s in shapes]
        for dim in (-2, -1):
            ours, theirs = (lambda a, b, f=f, d=dim: f.cosine_similarity(a, b, d) for f in (F, torch.nn.functional))
            compare(ours, theirs, arrays, np.float64, rng)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_pooling_of_no_example(n):
    import torch

    space = (7, 6, 5)[:n]
    x = dif.zeros((0, 3, *space)).requires_grad_()
    there = torch.zeros((0, 3, *space), dtype=torch.float64)
    for name in (f"max_pool{n}d", f"adaptive_max_pool{n}d"):
        y, at = getattr(F, name)(x, 2, return_indices=True)
        assert y.shape == at.shape == tuple(getattr(torch.nn.functional, name)(there, 2, return_indices=True)[0].shape)
    y, at = getattr(F, f"adaptive_max_pool{n}d")(x, 4, return_indices=True)  # cells that overlap
    assert y.shape == at.shape == (0, 3, *(4,) * n)
    y, at = getattr(F, f"max_pool{n}d")(x, 2, return_indices=True)
    back = getattr(F, f"max_unpool{n}d")(y, at, 2, output_size=space)
    assert back.shape == x.shape
    back.sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("floats", [False, True])
def test_a_query_that_sees_nothing_gets_zeros(floats, rng):
    import torch

    q, k, v = (rng.normal(size=(2, n, 4)) for n in (3, 5, 5))
    seen = rng.random((3, 5)) > 0.4
    seen[:, 0], seen[1] = True, False
    mask = np.where(seen, 0.0, -np.inf) if floats else seen
    compare(lambda *x: F.scaled_dot_product_attention(*x, mask),
            lambda *x: torch.nn.functional.scaled_dot_product_attention(*x, torch.tensor(mask)),
            [q, k, v], np.float64, rng)  # fmt: skip
    assert not F.scaled_dot_product_attention(*map(dif.asarray, (q, k, v)), mask)[:, 1].any()
    masks = np.stack([mask, mask[::-1]])
    both = dif.vmap(lambda m: F.scaled_dot_product_attention(*map(dif.asarray, (q, k, v)), m))(masks)
    for m, found in zip(masks, both):
        np.testing.assert_allclose(found, F.scaled_dot_product_attention(*map(dif.asarray, (q, k, v)), m))


def test_instance_norm_without_momentum_averages_all_batches(rng):
    batches = rng.normal(size=(3, 4, 2, 5))
    layer = nn.InstanceNorm1d(2, momentum=None, track_running_stats=True)
    for x in batches:
        layer(dif.asarray(x))
    np.testing.assert_allclose(layer.running_mean.numpy(), batches.mean(axis=(0, 1, 3)))
    np.testing.assert_allclose(layer.running_var.numpy(), batches.var(axis=3, ddof=1).mean(axis=(0, 1)))


def test_channel_dropout_of_one_example():
    """Whole channels, whether or not there is a batch axis."""
    for layer, shape in ((nn.Dropout1d, (40, 6)), (nn.Dropout2d, (8, 40, 6)), (nn.Dropout3d, (40, 3, 3, 3))):
        y = layer(0.5, rng=0)(dif.ones(shape)).numpy()
        rows = y.reshape(-1, *y.shape[-1:]) if layer is not nn.Dropout3d else y.reshape(40, -1)
        assert set(rows[:, 0]) == {0.0, 2.0}
        assert (rows == rows[:, :1]).all()


def test_the_maximum_of_nan_is_nan(rng):
    x = rng.normal(size=(1, 2, 6))
    x[0, 0, 1] = x[0, 1, 4] = np.nan
    plain = F.max_pool1d(dif.asarray(x), 3).numpy()
    assert np.isnan(plain).tolist() == [[[True, False], [False, True]]]
    y, at = F.max_pool1d(dif.asarray(x), 3, return_indices=True)
    np.testing.assert_array_equal(y.numpy(), plain)
    assert at[0, 0, 0] == 1 and at[0, 1, 1] == 4
    np.testing.assert_array_equal(dif.vmap(lambda x: F.max_pool1d(x, 3))(x), plain)


def test_cells_of_different_sizes_inside_vmap(rng):
    x = rng.normal(size=(3, 2, 7))
    for function in (F.adaptive_max_pool1d, F.adaptive_avg_pool1d):
        each = dif.vmap(dif.grad(lambda x, f=function: (f(x, 4) ** 2).sum()))(x)
        whole = dif.grad(lambda x, f=function: (f(x, 4) ** 2).sum())(x)
        np.testing.assert_allclose(each, whole)


def test_normalization_of_integers_keeps_eps():
    x = np.full((2, 3, 4), 7)
    assert not nn.BatchNorm1d(3)(dif.asarray(x)).detach().numpy().any()
    assert not F.layer_norm(dif.asarray(x), 4).numpy().any()


def test_what_was_frozen_learns_again_and_running_means_do_not(rng):
    net = nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm1d(4), nn.spectral_norm(nn.Linear(4, 2, rng=1), rng=2))
    names = [n for n, _ in net.named_parameters()]
    net.requires_grad_(False)
    assert not list(net.parameters())
    net.requires_grad_(True)
    assert [n for n, _ in net.named_parameters()] == names
    frozen = nn.GRU(3, 2, rng=0).requires_grad_(False)
    assert frozen(dif.asarray(rng.normal(size=(4, 1, 3))))[0].shape == (4, 1, 2)


def test_wrong_arguments_say_so(rng):
    x = dif.asarray(rng.normal(size=(4, 3)))
    images = dif.ones((2, 3, 8, 8))
    wrong = [
        (lambda: F.cross_entropy(x, [0, 1, 2, 1], weight=np.ones(7)), ValueError, "there are 3 classes"),
        (lambda: F.cross_entropy(x, np.full((4, 3), 1 / 3), weight=np.ones(1)), ValueError, "there are 3 classes"),
        (lambda: F.cross_entropy(x, [0, 1, 2, 1], label_smoothing=2.0), ValueError, "between 0 and 1"),
        (lambda: nn.Embedding(3, 4)(np.array([-1])), IndexError, "there are 3 rows"),
        (lambda: nn.EmbeddingBag(3, 4)(np.array([[-1]])), IndexError, "there are 3 rows"),
        (lambda: nn.EmbeddingBag(3, 4)(np.array([1, 2])), ValueError, "offsets"),
        (lambda: nn.EmbeddingBag(3, 4)(np.array([1, 2, 0]), [1, 2]), ValueError, "offsets"),
        (lambda: nn.EmbeddingBag(3, 4)(np.array([1, 2, 0]), [0, 2, 1]), ValueError, "offsets"),
        (lambda: nn.EmbeddingBag(3, 4)(np.array([1, 2, 0]), [0, 5]), ValueError, "offsets"),
        (lambda: nn.GRU(3, 4)(dif.ones((2, 2, 3)), dif.ones((3, 2, 4))), ValueError, "state needs shapes"),
        (lambda: nn.LSTM(3, 4)(dif.ones((2, 2, 3)), dif.ones((1, 2, 4))), ValueError, "state needs shapes"),
        (lambda: nn.Conv2d(3, 4, 3, stride=0)(images), ValueError, "stride must be at least 1"),
        (lambda: nn.Conv2d(3, 4, 3, padding=-1)(images), ValueError, "padding must be at least 0"),
        (lambda: nn.MaxPool2d(0)(images), ValueError, "kernel_size must be at least 1"),
        (lambda: F.feature_dropout(images, 1.5), ValueError, "probability"),
        (lambda: F.alpha_dropout(images, -0.1, True), ValueError, "probability"),
        (lambda: nn.Sequential(nn.Linear(2, 2), 3), TypeError, "module or a function"),
        (lambda: nn.ModuleList([np.tanh]), TypeError, "must be modules"),
    ]
    for call, error, words in wrong:
        with pytest.raises(error, match=words):
            call()


def test_weights_and_variances_inside_vmap(rng):
    """Losses that look at labels or values do so for each example, or make NaN of what is wrong."""
    x, labels, w = rng.normal(size=(6, 5)), rng.integers(5, size=6), rng.uniform(0.5, 2, size=5)
    var = rng.uniform(0.1, 1, size=(6, 5))
    losses = {
        "cross_entropy": lambda x, y, v: F.cross_entropy(x, y, weight=w, reduction="sum"),
        "multi_margin_loss": lambda x, y, v: F.multi_margin_loss(x, y, weight=w),
        "gaussian_nll_loss": lambda x, y, v: F.gaussian_nll_loss(x, 0 * x, v),
    }
    for loss in losses.values():
        each = dif.vmap(dif.grad(loss))(x, labels, var)
        for row, *example in zip(each, x, labels, var):
            np.testing.assert_allclose(row, dif.grad(loss)(*example), rtol=1e-12)
    var[3, 2] = -1.0
    values = dif.vmap(losses["gaussian_nll_loss"])(x, labels, var)
    assert np.isnan(values).tolist() == [False, False, False, True, False, False]
    with pytest.raises(ValueError, match="must not be negative"):
        losses["gaussian_nll_loss"](x[3], 0, var[3])
    np.testing.assert_allclose(losses["gaussian_nll_loss"](x[0], 0, 0.5), (np.log(0.5) / 2 + x[0] ** 2).mean())
