"""The benchmarks compare like with like: every library computes the same.  Nothing is timed."""
from pathlib import Path

import numpy as np
import pytest

from asv_benchmarks import memory, report
from asv_benchmarks.libraries import LIBRARIES
from asv_benchmarks.record import Record
from asv_benchmarks.workloads import WORKLOADS, Case, Workload, agree

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


def test_a_record_is_resumed(tmp_path):
    path = tmp_path / "results" / "run.json"
    Record(path, {"threads": 1}).put("memory", "chain 500", {"torch": 2})
    assert Record(path, resume=True).has("memory", "chain 500")
    assert not Record(path).has("memory", "chain 500")
    assert Record(path).data["machine"]["threads"] == 1


def test_ratios_of_the_tables(tmp_path):
    """difftensor's time and memory over the others'."""
    times = {name: {"median": ms} for name, ms in (("hand", 0.5), ("torch", 4.0), ("difftensor", 1.0))}
    data = {
        "machine": {"processor": "P", "threads": 2, "clock": "c", "versions": {"numpy": "2"}, "date": "d"},
        "gradients": {"chain 500": {"times": times, "reasons": {"jax": "not installed: jax"}}},
        "memory": {"chain 500": {"torch": 4_000_000, "difftensor": 1_000_000}},
    }
    assert "| chain 500 | 0.5 (2.00) | 4 (0.25) | 1 | 0.25 |" in report.gradients(data)
    assert "| chain 500 | 4 (0.25) | 1 |" in report.peaks(data)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- t: begin -->\nold\n<!-- t: end -->\nafter\n")
    report.replace(page, "t", "new")
    assert page.read_text() == "before\n<!-- t: begin -->\n\nnew\n\n<!-- t: end -->\nafter\n"
    with pytest.raises(SystemExit, match="no place"):
        report.replace(page, "u", "new")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="counts resident pages as Linux does")
def test_peak_memory_is_counted():
    """A sum of squares of 10^6 numbers by hand needs 8 MB for the squares and 8 MB for the gradient."""
    def hand(x):
        return (x * x).sum(), [2.0 * x]

    workload = Workload("squares", lambda n: Case((np.ones(n),), None, hand), ("1000000",), "3", False, False, 0.0)
    assert 7e6 < memory.peak(workload, 1_000_000, "hand") < 20e6
