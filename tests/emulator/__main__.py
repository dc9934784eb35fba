"""``python -m tests.emulator [arguments of pytest]``: the tests of the device, with CuPy on the emulated GPU."""

import os
import sys

from tests.emulator.build import BUILT, build

build()
os.environ["LD_LIBRARY_PATH"] = f"{BUILT / 'lib'}:{os.environ.get('LD_LIBRARY_PATH', '')}"
os.environ.setdefault("CUPY_ACCELERATORS", "")  # CUB's reductions are compiled for GPUs
os.environ.setdefault("CUPY_CACHE_DIR", str(BUILT / "cupy"))
os.execv(
    sys.executable, [sys.executable, "-m", "pytest", "-p", "tests.emulator.plugin", "--device=cuda", *sys.argv[1:]]
)
