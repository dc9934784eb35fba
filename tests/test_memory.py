"""Large arrays do not fault their pages in again: below 32 MB by themselves, above with dif.tune_memory."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
import difftensor as dif
tuned = dif.tune_memory() if sys.argv[1] == "tuned" else False
a = np.ones(int(sys.argv[2]))
for _ in range(3):
    b = a * 2.0
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    b = a * 2.0
print(int(tuned), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(mode, size):
    command = [sys.executable, "-c", PROGRAM, mode, str(size)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    took_effect, faults = map(int, out.split())
    return took_effect, faults


def test_page_faults_of_large_arrays():
    took_effect, faults = run("tuned", 5_000_000)
    if not took_effect:
        pytest.skip("this C library has no mallopt")
    assert faults < 100  # 50 arrays of 40 MB are 488 281 pages of 4 KiB


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_page_faults_of_arrays_of_some_megabytes():
    _, faults = run("as it is", 500_000)
    assert faults < 100  # 50 arrays of 4 MB are 48 828 pages of 4 KiB
