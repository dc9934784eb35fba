"""dif.tune_memory: large arrays stop faulting their pages in again."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
import difftensor as dif
tuned = dif.tune_memory() if sys.argv[1] == "tuned" else False
a = np.ones(500_000)
for _ in range(3):
    b = a * 2.0
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    b = a * 2.0
print(int(tuned), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(mode):
    out = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True).stdout
    took_effect, faults = map(int, out.split())
    return took_effect, faults


def test_page_faults_of_large_arrays():
    took_effect, faults = run("tuned")
    if not took_effect:
        pytest.skip("this C library has no mallopt")
    assert faults < 100  # 50 arrays of 4 MB are 48 828 pages of 4 KiB
