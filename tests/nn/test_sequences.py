"""Sequences of different lengths and projected states, against PyTorch's packed sequences."""

import numpy as np
import pytest

import difftensor as dif
from difftensor import nn

# an announcement of PyTorch's about its own speed
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

LENGTHS = [3, 6, 1, 4]


def both(kind, dtype, **settings):
    import torch

    theirs = getattr(torch.nn, kind)(3, 4, **settings, dtype=getattr(torch, np.dtype(dtype).name))
    ours = getattr(nn, kind)(3, 4, **settings, dtype=dtype)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return ours, theirs


def agree(ours, theirs, mine, other, dtype, rng):
    """Values, and gradients by input, states and weights of a random combination of the results."""
    import torch

    tolerance = 1e-11 if dtype == np.float64 else 2e-4
    loss, loss_other = 0, 0
    for a, b in zip(mine, other, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a.detach(), b.detach().numpy(), rtol=tolerance, atol=tolerance)
        r = rng.standard_normal(a.shape).astype(dtype)
        loss, loss_other = loss + (a * r).sum(), loss_other + (b * torch.tensor(r)).sum()
    loss.backward()
    loss_other.backward()
    found = dict(ours.named_parameters())
    assert set(found) == {n for n, _ in theirs.named_parameters()}
    for name, p in theirs.named_parameters():
        np.testing.assert_allclose(found[name].grad, p.grad.numpy(), rtol=tolerance, atol=10 * tolerance, err_msg=name)


@pytest.mark.peers("torch")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "kind, settings",
    [
        ("RNN", {}),
        ("GRU", {"num_layers": 2, "bidirectional": True}),
        ("LSTM", {"bidirectional": True}),
        ("LSTM", {"num_layers": 2, "batch_first": True}),
        ("LSTM", {"num_layers": 2, "bidirectional": True, "proj_size": 2}),
    ],
)
def test_packed(kind, settings, dtype, rng):
    import torch.nn.utils.rnn as packing

    ours, theirs = both(kind, dtype, **settings)
    first = settings.get("batch_first", False)
    x = rng.normal(size=(4, 6, 3) if first else (6, 4, 3)).astype(dtype)
    mine, other = dif.tensor(x, requires_grad=True), theirs.weight_hh_l0.new_tensor(x).requires_grad_()
    packed = packing.pack_padded_sequence(other, LENGTHS, first, enforce_sorted=False)
    y_other, last_other = theirs(packed)
    z, lengths = packing.pad_packed_sequence(y_other, first)
    assert lengths.tolist() == LENGTHS
    flat = lambda y, last: [y, *(last if isinstance(last, tuple) else (last,))]
    agree(ours, theirs, flat(*ours(mine, lengths=LENGTHS)), flat(z, last_other), dtype, rng)
    np.testing.assert_allclose(mine.grad, other.grad.numpy(), rtol=1e-3, atol=1e-4 if dtype == np.float32 else 1e-11)

    for p in ours.parameters():  # and in packed form
        p.grad = None
    row = nn.pack_padded_sequence(dif.asarray(x), LENGTHS, first, enforce_sorted=False)
    for a, b in zip(row[1:], (packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices), strict=True):
        np.testing.assert_array_equal(a, b.numpy())
    y, last = ours(row)
    np.testing.assert_allclose(y.data.detach(), y_other.data.detach().numpy(), rtol=1e-3, atol=1e-5)
    again, found = nn.pad_packed_sequence(y, first)
    assert found.tolist() == LENGTHS
    np.testing.assert_array_equal(again.detach(), ours(dif.asarray(x), lengths=LENGTHS)[0].detach())


@pytest.mark.peers("torch")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("settings", [{}, {"num_layers": 2, "bidirectional": True, "bias": False}])
def test_projected(settings, dtype, rng):
    import torch

    ours, theirs = both("LSTM", dtype, proj_size=2, **settings)
    n = 4 if settings else 1
    arrays = [rng.normal(size=s).astype(dtype) for s in ((5, 2, 3), (n, 2, 2), (n, 2, 4))]
    y, state = ours(dif.asarray(arrays[0]), tuple(map(dif.asarray, arrays[1:])))
    z, other = theirs(torch.tensor(arrays[0]), tuple(map(torch.tensor, arrays[1:])))
    agree(ours, theirs, [y, *state], [z, *other], dtype, rng)


@pytest.mark.peers("torch")
def test_padding(rng):
    import torch
    import torch.nn.utils.rnn as packing

    rows = [rng.normal(size=(n, 2)) for n in LENGTHS]
    for first in (False, True):
        want = packing.pad_sequence([torch.tensor(r) for r in rows], first, -1.0)
        np.testing.assert_array_equal(nn.pad_sequence(rows, first, -1.0), want)
    x = nn.pad_sequence([dif.asarray(r) for r in rows])
    packed = nn.pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    padded, _ = nn.pad_packed_sequence(packed, padding_value=7.0, total_length=8)
    want = packing.pack_padded_sequence(torch.tensor(x.numpy()), LENGTHS, enforce_sorted=False)
    np.testing.assert_array_equal(padded, packing.pad_packed_sequence(want, padding_value=7.0, total_length=8)[0])


@pytest.mark.parametrize("make", [nn.RNN, nn.GRU, nn.LSTM])
def test_padding_does_not_matter(make, rng):
    layer = make(3, 4, 2, bidirectional=True, rng=0)
    rows = [dif.asarray(rng.normal(size=(n, 3))) for n in LENGTHS]
    y, last = layer(nn.pad_sequence(rows, padding_value=99.0), lengths=LENGTHS)
    for i, row in enumerate(rows):
        one, end = layer(row)
        np.testing.assert_allclose(y[: LENGTHS[i], i].detach(), one.detach(), rtol=1e-12, atol=1e-14)
        assert not y[LENGTHS[i] :, i].detach().numpy().any()
        for a, b in zip(*((s if isinstance(s, tuple) else (s,)) for s in (last, end)), strict=True):
            np.testing.assert_allclose(a[:, i].detach(), b.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("make", [nn.RNN, nn.GRU, nn.LSTM])
def test_empty(make):
    layer = make(3, 4, rng=0)
    y, _ = layer(dif.ones((5, 0, 3)))
    y.sum().backward()
    assert y.shape == (5, 0, 4) and not layer.weight_hh_l0.grad.numpy().any()
    with pytest.raises(ValueError, match="at least one step"):
        layer(dif.ones((0, 2, 3)))


def test_wrong_lengths(rng):
    x = dif.ones((5, 2, 3))
    for lengths in ([5], [0, 5], [6, 5], [2.0, 3.0]):
        with pytest.raises(ValueError, match="lengths must be 2 integers from 1 to 5"):
            nn.GRU(3, 4)(x, lengths=lengths)
    with pytest.raises(ValueError, match="must decrease"):
        nn.pack_padded_sequence(x, [2, 5])
    with pytest.raises(ValueError, match="proj_size"):
        nn.LSTM(3, 4, proj_size=4)
