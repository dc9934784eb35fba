import itertools

import numpy as np
import pytest

import difftensor as dif
from difftensor.nn import data
from difftensor.nn.data import Loader


def values(loader):
    return [np.asarray(b[0] if isinstance(b, tuple) else b).tolist() for b in loader]


def test_batches_of_arrays():
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    batches = list(Loader(x, y, batch_size=4))
    assert [len(b) for _, b in batches] == [4, 4, 2]
    assert isinstance(batches[0][0], dif.Tensor) and isinstance(batches[0][1], np.ndarray)
    np.testing.assert_array_equal(np.concatenate([a.numpy() for a, _ in batches]), x)
    assert [len(b) for b in Loader(x, batch_size=4, drop_last=True)] == [4, 4]
    assert len(Loader(x, batch_size=4)) == 3 and len(Loader(x, batch_size=4, drop_last=True)) == 2


def test_shuffling_is_a_permutation_and_follows_the_seed():
    n = np.arange(50)
    first, second = Loader(n, batch_size=7, shuffle=True, rng=3), Loader(n, batch_size=7, shuffle=True, rng=3)
    epochs = [sum(values(first), []) for _ in range(3)]
    assert epochs == [sum(values(second), []) for _ in range(3)]
    assert all(sorted(e) == n.tolist() for e in epochs) and epochs[0] != epochs[1]


@pytest.mark.parametrize("stop", [0, 1, 3, 4])
@pytest.mark.parametrize("epochs", [0, 2])
def test_a_loader_resumes_anywhere(stop, epochs):
    make = lambda rng: Loader(np.arange(25), batch_size=6, shuffle=True, rng=rng)
    loader = make(0)
    for _ in range(epochs):
        list(loader)
    it = iter(loader)
    taken = list(itertools.islice(it, stop))
    state = loader.state_dict()
    rest = values(it) + values(loader)
    other = make(99)
    other.load_state_dict(state)
    assert values(other) + values(other) == rest
    assert len(taken) == stop


def test_each_iteration_is_an_epoch_of_its_own():
    """Also after a look at the first batch, and inside or beside another iteration."""
    loader = Loader(np.arange(10), batch_size=4)
    whole = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    next(iter(loader))
    assert values(loader) == whole
    assert [(a.tolist(), b.tolist()) for a in loader for b in loader] == list(itertools.product(whole, whole))
    assert [(a.tolist(), b.tolist()) for a, b in zip(loader, loader)] == list(zip(whole, whole))
    stream = Loader(iter(range(10)), batch_size=4)
    next(iter(stream))
    assert values(stream) == whole[1:]  # an iterator goes on where it is, and nothing is left out


def test_a_generator_that_others_use_is_never_wound_back():
    rng = np.random.default_rng(0)
    loader, drawn = Loader(np.arange(12), batch_size=4, shuffle=True, rng=rng), [rng.random(3)]
    for _ in range(2):
        for _batch in loader:
            drawn.append(rng.random(3))
        drawn.append(rng.random(3))
    assert len({row.tobytes() for row in drawn}) == len(drawn)
    alone = np.random.default_rng(0)
    np.testing.assert_array_equal(drawn[0], alone.random(3))
    alone.permutation(12)
    np.testing.assert_array_equal(drawn[1], alone.random(3))


def test_shards_are_disjoint_and_equally_long():
    parts = [sum(values(Loader(np.arange(23), batch_size=3, shuffle=True, rng=1, shard=(i, 4))), []) for i in range(4)]
    assert [len(p) for p in parts] == [5] * 4
    assert len(set(sum(parts, []))) == 20
    streams = [sum(values(Loader(iter(range(10)), batch_size=2, shard=(i, 2))), []) for i in range(2)]
    assert streams == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]


class Squares:
    """Examples by index."""

    def __len__(self):
        return 10

    def __getitem__(self, i):
        return {"x": float(i), "y": np.full(2, i**2), "name": f"square {i}"}


@pytest.mark.parametrize("workers", [0, 2])
def test_examples_and_worker_processes(workers):
    batches = list(Loader(Squares(), batch_size=4, shuffle=True, rng=0, workers=workers))
    assert [b["name"] for b in batches] == [[f"square {int(x)}" for x in b["x"].tolist()] for b in batches]
    np.testing.assert_array_equal(np.concatenate([b["y"] for b in batches])[:, 0],
                                  np.concatenate([b["x"].numpy() for b in batches]) ** 2)  # fmt: skip
    assert sum(len(b["x"]) for b in batches) == 10


def test_memory_mapped_files(tmp_path):
    a = np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=np.float32, shape=(100, 3))
    a[:] = np.arange(300).reshape(100, 3)
    a.flush()
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    found = np.concatenate([b.numpy() for b in Loader(mapped, batch_size=16)])
    np.testing.assert_array_equal(found, mapped)
    assert found.dtype == np.float32


@pytest.mark.interop("pandas")
def test_tables():
    import pandas as pd

    table = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0], "label": [0, 1, 0]})
    batches = list(Loader(table[["a", "b"]], table["label"], batch_size=2))
    assert batches[0][0].tolist() == [[1.0, 4.0], [2.0, 5.0]] and batches[1][1].tolist() == [0]


@pytest.mark.peers("torch")
def test_batches_of_pytorch():
    import torch

    x = torch.arange(12.0).reshape(6, 2)
    theirs = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.arange(6)), batch_size=4)
    for a, b in theirs:
        ours = dif.from_dlpack(a)
        np.testing.assert_array_equal(ours.numpy(), a.numpy())
        assert len(b) == len(ours)
    assert values(Loader(x, batch_size=3)) == [x[:3].tolist(), x[3:].tolist()]


def test_samplers():
    order = lambda sampler, n=6: sampler.indices(n, np.random.default_rng(0))
    assert order(data.SequentialSampler()).tolist() == list(range(6))
    assert sorted(order(data.RandomSampler())) == list(range(6))
    assert len(order(data.RandomSampler(replacement=True, count=20))) == 20
    drawn = order(data.WeightedSampler([0, 0, 1, 0, 3, 0], count=4000))
    assert set(drawn) == {2, 4} and abs((drawn == 4).mean() - 0.75) < 0.03
    n = sum(values(Loader(np.arange(3), batch_size=2, rng=0, sampler=data.WeightedSampler([1, 0, 0]))), [])
    assert n == [0, 0, 0]


def test_split():
    a, b = data.split(100, 0.7, 30, rng=0)
    assert len(a) == 70 and sorted([*a, *b]) == list(range(100))
    with pytest.raises(ValueError, match="more than"):
        data.split(10, 8, 3)


def test_collate():
    from collections import namedtuple

    Pair = namedtuple("Pair", "a b")
    batch = data.collate([Pair(1, (2.0, "x")), Pair(3, (4.0, "y"))])
    assert batch.a.tolist() == [1, 3] and batch.b[0].tolist() == [2.0, 4.0] and batch.b[1] == ["x", "y"]
    assert Loader([(1.0, 2.0), (3.0, 4.0)], batch_size=2, collate=len).__iter__().__next__() == 2


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: Loader(), "give it"),
        (lambda: Loader(np.zeros(3), np.zeros(4)), "belong together"),
        (lambda: Loader(np.zeros(3), batch_size=0), "batch_size"),
        (lambda: Loader(iter([1]), shuffle=True), "iterable"),
        (lambda: Loader(np.zeros(3), shard=(2, 2)), "shard"),
        (lambda: Loader(np.zeros(3), Squares()), "must all be arrays"),
        (lambda: data.WeightedSampler([-1, 2]), "not negative"),
        (lambda: len(Loader(iter([1]))), "not known"),
    ],
)
def test_mistakes_are_named(call, match):
    with pytest.raises((ValueError, TypeError), match=match):
        call()
