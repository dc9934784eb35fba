"""The benchmarks compare like with like: every library computes the same.  Nothing is timed."""
import numpy as np
import pytest

from asv_benchmarks.libraries import LIBRARIES
from asv_benchmarks.workloads import WORKLOADS, Case, agree

PEERS = {"autograd", "torch", "jax"}
LEFT_OUT = {"hand", "torch_compile"}  # the reference; a compiler that takes half a minute for each
PAIRS = [
    pytest.param(workload, library, id=f"{workload.name}-{library}",
                 marks=[pytest.mark.peers(library)] if library in PEERS else [])
    for workload in WORKLOADS.values() for library in workload.libraries() if library not in LEFT_OUT
]


@pytest.mark.parametrize("workload, library", PAIRS)
def test_libraries_agree(workload, library):
    """With the derivative written by hand."""
    case = workload.case(workload.tiny)
    assert agree(case.runner("hand")(), case.runner(library)(), workload.tolerance) is None


@pytest.mark.parametrize("workload", [w for w in WORKLOADS.values() if w.case(w.tiny).kind == "gradient"],
                         ids=lambda w: w.name)
def test_by_hand_is_right(workload, rng):
    """Against central differences of the plain NumPy program, along a random direction."""
    case = workload.case(workload.tiny)
    f = case.program(LIBRARIES["numpy"].xp)
    direction = [rng.standard_normal(a.shape) for a in case.arguments]
    h = 1e-5
    ahead = f(*[a + h * d for a, d in zip(case.arguments, direction)])
    behind = f(*[a - h * d for a, d in zip(case.arguments, direction)])
    value, slopes = case.hand(*case.arguments)
    expected = sum(np.vdot(s, d) for s, d in zip(slopes, direction))
    # The truncation error is h^2 f'''/6, the rounding error 1e-16 |f| / h.
    scale = max(abs(expected), abs(value))
    assert abs((ahead - behind) / (2 * h) - expected) < 1e-6 * scale


def test_disagreement_is_noticed():
    case = Case((np.ones(3),), None, lambda x: (x.sum(), [x]))
    reference = case.runner("hand")()
    assert "relative error" in agree(reference, (3.0, [np.array([1.0, 1.0, 1.1])]), 1e-10)
    assert "relative error" in agree(reference, (3.0, [np.array([1.0, 1.0, np.nan])]), 1e-10)
    assert "shape" in agree(reference, (3.0, [np.ones((3, 1))]), 1e-10)
    assert "value" in agree(reference, (2.0, [np.ones(3)]), 1e-10)
