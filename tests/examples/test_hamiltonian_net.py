import numpy as np


def test_energy_drifts_twenty_times_less(example):
    net = example("hamiltonian_net")
    result = net.main(small=True)
    assert result["ratio"] > 20
    assert max(result["drift"]["pendulum"]) < 1e-5              # what remains is the networks' own


def test_the_learnt_field_is_hamilton_s(example):
    net = example("hamiltonian_net")
    rng = np.random.default_rng(0)
    w, x, h = net.weights(1, 8, rng), rng.normal(size=(5, 2)), 1e-6
    H = lambda x: np.asarray(net.network(w, x))[:, 0]
    dq, dp = ((H(x + h * e) - H(x - h * e)) / (2 * h) for e in np.eye(2))
    np.testing.assert_allclose(np.asarray(net.hamiltonian(w, x)), np.stack([dp, -dq], axis=-1), atol=1e-8)
