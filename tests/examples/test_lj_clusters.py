import numpy as np


def test_energies_and_modes(example):
    clusters = example("lj_clusters")
    result = clusters.main(small=True)
    for n, energy in result["energies"].items():
        assert abs(energy - clusters.PUBLISHED[n]) < 1e-6
    for spectrum in result["spectra"].values():                 # translations and rotations cost nothing
        assert spectrum[5] < 1e-2 < 1 < spectrum[6]
    assert set(result["multiplicity"]) <= {1, 3, 4, 5}          # the irreducible representations of the icosahedron
    assert sum(result["multiplicity"]) == 33


def test_both_energies_and_their_forces_agree(example):
    import difftensor as dif

    clusters = example("lj_clusters")
    x = clusters.mackay_icosahedron() * 1.05
    assert len(x) == 55 and len(clusters.truncated_octahedron()) == 38
    blocks = lambda x: clusters.large_energy(x, block=13)
    np.testing.assert_allclose(float(clusters.energy(x)), float(np.asarray(blocks(x))), rtol=1e-13)
    np.testing.assert_allclose(dif.grad(clusters.energy)(x), dif.grad(blocks)(x), rtol=1e-9, atol=1e-9)
