"""A plugin of pytest that puts CuPy on the emulated GPU; tests/emulator/__main__.py starts pytest with it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

from tests.emulator.build import BUILT, FLAGS, LIBRARIES, includes, run

driver = ctypes.CDLL(str(BUILT / "lib" / "libcuda.so.1"), mode=ctypes.RTLD_GLOBAL)
for _name in LIBRARIES:
    ctypes.CDLL(str(BUILT / "lib" / _name), mode=ctypes.RTLD_GLOBAL)

import cupy_backends.cuda.api.runtime as runtime  # noqa: E402 - not before the libraries

CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int)
kept: list = []  # callbacks live as long as the process


def take_over_the_runtime() -> None:
    """A jump at each function of CUDA's runtime in CuPy's module."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    base = next(int(line.split("-")[0], 16) for line in maps if line.endswith(os.path.basename(runtime.__file__)))
    for line in run("nm", runtime.__file__).splitlines():
        address, _, name = line.rpartition(" ")
        if not re.fullmatch(r"cuda[A-Z]\w+", name) or name.endswith(("_ptsz", "_ptds")) or address[-1] not in "tT":
            continue
        f = getattr(driver, "emu_" + name.removeprefix("cuda").removesuffix("_v2"), None)
        if f is None:
            f = CALLBACK(lambda name=name: driver.emu_other(name.encode()))
            kept.append(f)
        driver.emu_patch(ctypes.c_void_p(base + int(address.split()[0], 16)), ctypes.cast(f, ctypes.c_void_p))


def array_at(address: int, shape: Any, dtype: Any) -> np.ndarray:
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not count:
        return np.empty(shape, dtype)
    return np.frombuffer((ctypes.c_char * count).from_address(address), dtype).reshape(shape)


def thrust() -> types.ModuleType:
    """Its sorts, which are compiled for GPUs."""
    module = types.ModuleType("cupy.cuda.thrust")

    def sort(dtype, data, keys, shape):
        array_at(data, shape, dtype).sort(axis=-1, kind="stable")

    def argsort(dtype, index, data, keys, shape):
        a = array_at(data, shape, dtype)
        order = np.argsort(a, axis=-1, kind="stable")
        a[...] = np.take_along_axis(a, order, -1)
        array_at(index, shape, np.intp)[...] = order

    def lexsort(dtype, index, keys, count, n):
        array_at(index, n, np.intp)[...] = np.lexsort(array_at(keys, (count, n), dtype))

    module.available, module.sort, module.argsort, module.lexsort = True, sort, argsort, lexsort
    module.get_build_version = lambda: 0
    return module


EXTERN = re.compile(r"extern\s+__shared__\s+(?:__align__\(\d+\)\s*)?([\w:<> ]+?)\s+(\w+)\[\];")
KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(')
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


def compiled(source, options=(), arch=None, filename="kern.cu", name_expressions=None, *rest, **keywords):
    """What CuPy takes for a cubin is the path of a library for the host."""
    from cupy.cuda import compiler

    flags = [o for o in options if o.startswith(("-D", "-I"))]
    meet = "true" if re.search(r"__syncthreads|__syncwarp|__shfl", source) else "false"
    text = EXTERN.sub(r"\1* \2 = (\1*)emu_shared;", source)
    named = {name: name for name in KERNEL.findall(COMMENT.sub("", source))}
    lowered = {e: f"emu_e{k}" for k, e in enumerate(name_expressions or ())}
    for name, alias in {**named, **lowered}.items():
        text += f"\nEMU_KERNEL({alias}, ({name}), {meet})"
    key = hashlib.sha1((text + repr(flags)).encode()).hexdigest()
    library, code = BUILT / "kernels" / f"{key}.so", BUILT / "kernels" / f"{key}.cu"
    if not library.exists():
        code.write_text(text)
        made = library.with_suffix(f".{os.getpid()}")
        command = ["g++", "-x", "c++", *FLAGS, "-shared", "-include", str(BUILT / "headers.h"), *includes(), *flags]
        done = subprocess.run([*command, str(code), "-o", str(made)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise compiler.CompileException(f"g++ {code}: {done.stderr[:1500]}", source, filename, options)
        made.replace(library)
    if os.environ.get("EMU_NVRTC"):
        cudas(source, options, "90", filename, name_expressions, *rest, **keywords)
    return str(library).encode() + b"\0", lowered


take_over_the_runtime()
sys.modules["cupy.cuda.thrust"] = thrust()
import cupy  # noqa: E402
from cupy.cuda import compiler as _compiler  # noqa: E402

cupy.cuda.thrust = sys.modules["cupy.cuda.thrust"]
cudas = _compiler._compile_using_nvrtc_no_warning
_compiler._compile_using_nvrtc_no_warning = compiled
_compiler._preprocess = lambda *_: "emulated"
from tests.emulator import libraries  # noqa: E402

libraries.install(cupy)
