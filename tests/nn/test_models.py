import pickle

import numpy as np
import pytest

import difftensor as dif
import optim
from difftensor import nn


def count(model):
    return sum(p.size for p in model.parameters())


# torchvision's published numbers of parameters
@pytest.mark.parametrize("make, published", [(nn.models.resnet18, 11_689_512), (nn.models.resnet34, 21_797_672),
                                             (nn.models.resnet50, 25_557_032)])  # fmt: skip
def test_published_numbers_of_parameters(make, published):
    assert count(make(dtype=np.float32)) == published


def test_resnet_names_are_torchvisions():
    names = set(nn.models.resnet50(dtype=np.float32).state_dict())
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.downsample.0.weight", "layer3.5.conv3.weight",
            "layer4.2.bn3.num_batches_tracked", "fc.bias"} < names  # fmt: skip
    assert len(names) == 320  # of torchvision's resnet50


def test_resnet_maps_images_to_classes(rng):
    model = nn.models.resnet18(classes=7, dtype=np.float32, rng=0).eval()
    with dif.no_grad():
        y = model(dif.asarray(rng.normal(size=(2, 3, 64, 64)).astype(np.float32)))
    assert y.shape == (2, 7) and y.dtype == np.float32 and np.isfinite(y).all()


def test_mlp_and_lenet(rng):
    assert count(nn.models.lenet()) == 61_706  # LeCun's layers with all connections
    assert nn.models.lenet(rng=0)(dif.ones((2, 1, 28, 28))).shape == (2, 10)
    assert count(nn.models.mlp(784, 256, 128, 10)) == 235_146
    with pytest.raises(ValueError, match="two sizes"):
        nn.models.mlp(3)


def test_a_transformer_sees_only_what_came_before(rng):
    model = nn.models.transformer(11, context=8, width=16, heads=2, depth=2, rng=0)
    index = rng.integers(11, size=(2, 8))
    changed = index.copy()
    changed[:, 5] = (changed[:, 5] + 1) % 11
    a, b = model(index).detach().numpy(), model(changed).detach().numpy()
    np.testing.assert_array_equal(a[:, :5], b[:, :5])
    assert (a[:, 5:] != b[:, 5:]).any()
    assert len({id(p) for p in model.parameters()}) == len(dif.tree.leaves(model))


def test_a_transformer_learns_to_copy():
    """Sequences of period four: all places behind the first period can be known."""
    rng = np.random.default_rng(0)
    model = nn.models.transformer(6, context=12, width=32, heads=2, depth=2, rng=0)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        period = rng.integers(6, size=(32, 4))
        text = np.concatenate([period] * 3, axis=1)
        logits = model(text[:, :-1])[:, 3:].reshape(-1, 6)
        loss = nn.functional.cross_entropy(logits, text[:, 4:].ravel())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2  # log(6) = 1.79 for guessing
    start = np.array([[1, 5, 2, 2, 1]])
    assert model.generate(start, 7, temperature=0.05, rng=0)[0].tolist() == [1, 5, 2, 2] * 3


@pytest.mark.interop("safetensors")
def test_weights_go_through_a_file(tmp_path, rng):
    model, path = nn.models.lenet(rng=0), tmp_path / "lenet.safetensors"
    checksum = nn.models.save(model, path)
    other = nn.models.load(nn.models.lenet(rng=1), path, sha256=checksum[:8])
    x = dif.asarray(rng.normal(size=(2, 1, 28, 28)))
    np.testing.assert_array_equal(model(x).detach(), other(x).detach())
    pickled = tmp_path / "weights.pth"
    pickled.write_bytes(pickle.dumps({"weight": np.ones(3)}))
    with pytest.raises(ValueError, match="no safetensors file.*never read"):
        nn.models.load(other, pickled)
    with pytest.raises(ValueError, match="SHA-256"):
        nn.models.load(other, path, sha256="0" * 64)
    with pytest.raises(ValueError, match=r"11\.weight: \(10, 84\) for \(7, 84\)"):
        nn.models.load(nn.models.lenet(7), path)
    with pytest.raises(KeyError, match="missing"):
        nn.models.load(nn.models.mlp(3, 2), path)
    renamed = nn.Sequential({f"layer{k}": m for k, m in nn.models.lenet(rng=2).__dict__.items()})
    nn.models.load(renamed, path, rename=lambda name: f"layer{name}")
    np.testing.assert_array_equal(renamed(x).detach(), model(x).detach())


@pytest.mark.interop("safetensors")
@pytest.mark.peers("torch")
def test_weights_to_and_from_pytorch(tmp_path, rng):
    import safetensors.torch
    import torch

    make = lambda nn: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5))
    theirs, ours = make(torch.nn), make(nn).to(dtype=np.float32)
    x = rng.normal(size=(3, 2, 6, 6)).astype(np.float32)
    theirs(torch.tensor(x))  # moves the running moments
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "a.safetensors")
    nn.models.load(ours, tmp_path / "a.safetensors")
    np.testing.assert_allclose(ours.eval()(dif.asarray(x)).detach(), theirs.eval()(torch.tensor(x)).detach(), atol=1e-5)
    nn.models.save(make(nn).to(dtype=np.float32), tmp_path / "b.safetensors")
    theirs.load_state_dict(safetensors.torch.load_file(tmp_path / "b.safetensors"))
    again = nn.models.load(make(nn).to(dtype=np.float32), tmp_path / "b.safetensors")
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
