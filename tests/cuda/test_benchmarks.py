"""The benchmarks of the GPU run, and their gradients agree with the CPU's."""

from asv_benchmarks import gpu


def test_small_programs(device, monkeypatch):
    monkeypatch.setattr(gpu, "SAMPLES", 1)
    monkeypatch.setattr(gpu, "SECONDS", 0.0)
    found = gpu.measure(["difftensor"], device, small=True)
    assert all(isinstance(row["difftensor"], float) for row in found.values())
    assert gpu.report(found).count("difftensor") == len(gpu.PROGRAMS)
