"""Where generators are handed to: neural networks, their data and checkpoints, optimization from many starts."""

import numpy as np
import pytest

import difftensor as dif
import optim

nn = pytest.importorskip("difftensor.nn", reason="difftensor.nn is optional")


def test_initial_weights_take_a_generator():
    for name in ("uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_",
                 "kaiming_normal_", "orthogonal_"):  # fmt: skip
        a, b = (getattr(nn.init, name)(dif.zeros((6, 4)), rng=dif.random.default_rng(3)) for _ in range(2))
        assert (a == b).all() and (a != 0).any()
    w = nn.init.orthogonal_(dif.zeros((4, 4)), rng=dif.random.default_rng(3))
    np.testing.assert_allclose((w @ w.T).numpy(), np.eye(4), atol=1e-12)


def test_the_weights_of_a_seed_are_those_they_were():
    """A seed still stands for NumPy's generator."""
    bound = 3**-0.5
    expected = np.random.default_rng(5).uniform(-bound, bound, (2, 3))
    np.testing.assert_allclose(nn.Linear(3, 2, rng=5).weight.detach().numpy(), expected, rtol=1e-14)


def parts():
    rng = dif.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 8, rng=rng), nn.Tanh(), nn.Dropout(0.3, rng=rng), nn.Linear(8, 2, rng=rng))
    x = np.random.default_rng(1).normal(size=(60, 3))
    data = nn.data.Loader(x, (x.sum(1) > 0).astype(int), batch_size=8, shuffle=True, rng=dif.random.default_rng(2))
    return model, data, optim.SGD(model.parameters(), lr=0.1)


def run(path, stop=None):
    model, data, optimizer = parts()
    calls = iter(range(1, 10**6))

    def loss(out, y):
        if next(calls) == stop:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(out, y)

    return nn.fit(model, loss, data, optimizer, epochs=3, checkpoint=path, every=2, progress=False), model


def test_training_goes_on_bit_for_bit(tmp_path):
    """Order of the data and masks of dropout, from a file."""
    whole, model = run(None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run.npz", stop=13)
    resumed, other = run(tmp_path / "run.npz")
    assert resumed.train == whole.train
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, other.state_dict()[name])


def test_dropout_inside_vmap_has_a_mask_for_each_example():
    rng = dif.random.default_rng(4)
    y = dif.vmap(lambda x: nn.functional.dropout(x, rng=rng))(np.ones((5, 64)))
    assert set(np.unique(y)) == {0.0, 2.0} and len({tuple(r) for r in y.tolist()}) == 5


def test_dropout_inside_a_checkpoint():
    layer = nn.Dropout(0.5, rng=dif.random.default_rng(6))
    x = np.linspace(1.0, 2.0, 40)
    found = dif.grad(lambda x: (dif.checkpoint(layer)(x) ** 2).sum())(x)
    mask = dif.random.default_rng(6).random(40).numpy() >= 0.5
    np.testing.assert_allclose(found, 2 * x * 4 * mask)


def test_shares_of_data_and_weighted_samples():
    a, b = nn.data.split(10, 0.7, 0.3, rng=dif.random.default_rng(0))
    assert isinstance(a, np.ndarray) and sorted([*a, *b]) == list(range(10))
    sampler = nn.data.WeightedSampler([1.0, 0.0, 3.0], count=40)
    (batch,) = nn.data.Loader(np.arange(3.0), batch_size=40, sampler=sampler, rng=dif.random.default_rng(1))
    assert set(batch.tolist()) == {0.0, 2.0}


def test_starts_of_an_optimization():
    f = lambda x: np.sum((x * x - 1) ** 2 + 0.3 * x)
    a, b = (optim.multistart(f, bounds=[(-2, 2)] * 2, starts=6, rng=dif.random.default_rng(0)) for _ in range(2))
    assert a.success and a.fun == b.fun and len(a.runs) == 6
