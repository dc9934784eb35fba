"""The benchmarks of the GPU run, and their gradients agree with the CPU's."""

import numpy as np

import difftensor as dif
from asv_benchmarks import gpu


def test_small_programs(device, monkeypatch):
    monkeypatch.setattr(gpu, "SAMPLES", 1)
    monkeypatch.setattr(gpu, "SECONDS", 0.0)
    found = gpu.measure(list(gpu.OURS), device, small=True)
    backward = found.pop("backward")
    assert backward["difftensor"] > 0 and backward["unfused"] > 0
    assert all(isinstance(row[name], float) for row in found.values() for name in gpu.OURS if name in row)
    assert gpu.report(found).count("difftensor") == len(gpu.PROGRAMS)


def test_what_the_backward_kernel_reads(request, device):
    """The bytes that `backward_alone` divides by."""
    if request.config.getoption("--device") == "cuda":
        return
    from difftensor._backend import fusing

    x = dif.asarray(np.ones(10), device=device)
    _, pull = dif.vjp(lambda x: gpu.elementwise(dif, x), x)
    read = []
    run = fusing._run

    def watched(steps, inputs, dtype):
        read.append(sum(getattr(a, "shape", ()) == (10,) and a._a.strides != (0,) for a in inputs))
        return run(steps, inputs, dtype)

    fusing._run = watched
    try:
        pull(1.0)
    finally:
        fusing._run = run
    assert [n for n in read if n] == [4]
