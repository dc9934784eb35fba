"""The code that CuPy writes for fused rules, compiled for the CPU: it computes what the rules compute.

Needs an installed CuPy and a C++ compiler, but no GPU: `cupy.fuse` runs on arrays over no memory.
"""

import contextlib
import ctypes
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from difftensor._backend import fusing
from tests.cuda.test_fusing import CHAINS, pulled
from tests.cuda.test_registry import LACKING
from tests.primitives.declared import ELEMENTWISE, arity, function, operands_of

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="not installed: cupy"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler"),
]

# What CUDA has and C++ spells otherwise.
HEAD = r"""
#include <cmath>
#include <complex>
#include <algorithm>
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __constant__ static const
#define CUDART_INF INFINITY
#define CUDART_NAN NAN
using namespace std;
namespace thrust { using std::complex; }
inline bool isfinite(complex<double> z) { return std::isfinite(z.real()) && std::isfinite(z.imag()); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline double sinpi(double x) { return std::sin(M_PI * x); }
inline double cospi(double x) { return std::cos(M_PI * x); }
inline double exp10(double x) { return std::pow(10.0, x); }
"""


def name_of(f):
    name = getattr(f, "name", None) or f.__name__
    return ("astype", str(f.__closure__[0].cell_contents)) if name == "astype" else name


@pytest.fixture
def programs(request, monkeypatch, rng):
    """(names of the functions and places, inputs, result) of every fused kernel of the rules, from the stand-in."""
    if request.config.getoption("--device") == "cuda":
        pytest.skip("with a GPU the kernels themselves run")
    found = {}
    run = fusing._run

    def watched(steps, inputs, dtype):
        y = run(steps, inputs, dtype)
        arrays = [np.asarray(getattr(v, "_a", v)).copy() for v in inputs]
        key = tuple((name_of(f), *places) for f, *places in steps)
        if len(steps) > 1 and y._a.dtype in (np.float64, np.complex128):
            found[(key, tuple(a.dtype.char for a in arrays))] = arrays, y._a.copy(), inputs
        return y

    monkeypatch.setattr(fusing, "_run", watched)
    device = request.getfixturevalue("device")
    for op in ELEMENTWISE:
        if op.name not in LACKING | {"special.gammainc", "special.gammaincc"}:  # whose series are many kernels
            xs = tuple(np.asarray(x) for x in operands_of(op, rng, *[(3,)] * arity(op)))
            pulled(function(op), xs, device, True)
    for f, count, _ in CHAINS:
        pulled(f, [np.linspace(0.1 + k, 1 + k, 6) for k in range(count)], device, True)
    return list(found.items())


@contextlib.contextmanager
def cupys():
    """CuPy itself in the place of the stand-in."""
    path = Path(__file__).parent.parent / "standin" / "survey.py"
    spec = importlib.util.spec_from_file_location("survey", path)
    survey = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(survey)
    before = {n: sys.modules.pop(n) for n in list(sys.modules) if n.split(".")[0] in ("cupy", "cupyx")}
    sys.modules.update(REAL)
    try:
        cupy, special = survey.load("cupy"), survey.load("cupyx.scipy.special")
        from cupy._core import _fusion_thread_local, fusion

        yield cupy, special, fusion, _fusion_thread_local.thread_local
    finally:
        for n in [n for n in sys.modules if n.split(".")[0] in ("cupy", "cupyx")]:
            REAL[n] = sys.modules.pop(n)  # it cannot be imported twice
        sys.modules.update(before)


REAL = {}


def traced(steps, inputs, cupy, special, fusion, state):
    """What CuPy makes of the steps: an ElementwiseKernel that is not compiled yet."""
    memory = cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(4096, 1 << 20, None, 0), 0)

    def function_of(name):
        if name[0] == "astype":
            return lambda x: x.astype(np.dtype(name[1]))
        return getattr(cupy, name, None) or getattr(special, name)

    functions = [(function_of(name), *places) for name, *places in steps]
    args = [a if isinstance(a, fusing.NUMBERS) else cupy.ndarray(a.shape, a.dtype, memory) for a in inputs]
    state.history, state.is_old_fusing = fusion._FusionHistory(), True
    try:
        kernel, _ = state.history.get_fusion(fusing._program(functions), tuple(args), "difftensor_fused")
    finally:
        state.history, state.is_old_fusing = None, False
    return kernel


def cpp(k, kernel):
    """The kernel as a C++ function of pointers and a number of elements; scalars are arrays of stride 0."""
    from_cupy = [(p.name, p.ctype, p.is_const) for p in kernel.params if p.name != "_ind"]
    arguments = ", ".join(f"{'const ' if const else ''}{t}* p_{n}, long s_{n}" for n, t, const in from_cupy)
    reads = "".join(f"{t} {n} = p_{n}[i * s_{n}];\n" for n, t, const in from_cupy if const)
    outs = "".join(f"{t} {n};\n" for n, t, const in from_cupy if not const)
    writes = "".join(f"p_{n}[i * s_{n}] = {n};\n" for n, t, const in from_cupy if not const)
    preamble = kernel.preamble.replace('#include "cupy/float16.cuh"', "")
    return (
        f'namespace k{k} {{ {preamble}\n}}\nextern "C" void f{k}({arguments}, long size) {{ using namespace k{k};\n'
        f"for (long i = 0; i < size; i++) {{\n{reads}{outs}{kernel.operation}\n{writes}}} }}\n"
    )


def test_the_code_computes_the_rules(programs, tmp_path):
    with cupys() as real:
        # special functions are given to CUDA's compiler only: CuPy writes them for CUDA
        programs = [p for p in programs if all(hasattr(real[0], f) for f, *_ in p[0][0] if isinstance(f, str))]
        code = [cpp(k, traced(key[0], inputs, *real)) for k, (key, (_, _, inputs)) in enumerate(programs)]
    assert len(code) > 50
    (tmp_path / "fused.cpp").write_text(HEAD + "".join(code))
    build = ["g++", "-O1", "-shared", "-fPIC", "-w", "-ffp-contract=off", "fused.cpp", "-o", "fused.so"]
    built = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[:3000]
    library = ctypes.CDLL(tmp_path / "fused.so")
    for k, (key, (arrays, expected, _)) in enumerate(programs):
        y = np.empty(expected.shape, expected.dtype)
        flat = [np.ascontiguousarray(np.broadcast_to(a, y.shape)) if a.ndim else a for a in arrays]
        arguments = []
        for a in (*flat, y):
            arguments += [ctypes.c_void_p(a.ctypes.data), ctypes.c_long(1 if a.ndim else 0)]
        getattr(library, f"f{k}")(*arguments, ctypes.c_long(y.size))
        np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12, err_msg=str(key))


def test_cupy_hands_its_operations_over(monkeypatch):
    """Every operation of an array and a deferred one comes to the deferred one, from CuPy itself."""
    monkeypatch.setattr(fusing, "_dtype", lambda f, kinds: np.dtype(float))  # that would ask for memory
    with cupys() as (cupy, *_):
        memory = cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(4096, 1 << 20, None, 0), 0)
        a, mask = cupy.ndarray((5,), np.float64, memory), cupy.ndarray((5,), np.bool_, memory)
        d = fusing.Deferred(a)
        for f, name in (
            (lambda: a * d, "multiply"), (lambda: d * a, "multiply"), (lambda: a - d, "subtract"),
            (lambda: 2 * d, "multiply"), (lambda: np.float64(2) * d, "multiply"), (lambda: 1 / d, "true_divide"),
            (lambda: cupy.cos(d), "cos"), (lambda: np.cos(d), "cos"), (lambda: d**2, "power"), (lambda: -d, "negative"),
            (lambda: a > d, "greater"), (lambda: a == d, "equal"), (lambda: ~(d > 0), "invert"),
            (lambda: cupy.where(d > 0, d, 0), "where"), (lambda: cupy.where(mask, d, 0), "where"),
            (lambda: cupy.isfinite(d), "isfinite"), (lambda: abs(d), "absolute"),
            (lambda: cupy.copysign(1, d), "copysign"),
        ):  # fmt: skip
            y = f()
            assert y.__class__ is fusing.Deferred and y.value is None and y.f.name == f"cupy_{name}", name
        with pytest.raises(TypeError, match="not converted"):
            np.asarray(d)


def cuda(k, kernel):
    """The kernel as CUDA's compiler is given it, without the strides."""
    rows = [(p.name, p.ctype, p.is_const) for p in kernel.params if p.name != "_ind"]
    arguments = ", ".join(f"{'const ' if const else ''}{t}* p_{n}" for n, t, const in rows)
    reads = "".join(f"{t} {n} = p_{n}[i];\n" for n, t, const in rows if const)
    outs = "".join(f"{t} {n};\n" for n, t, const in rows if not const)
    writes = "".join(f"p_{n}[i] = {n};\n" for n, t, const in rows if not const)
    return (
        f'{kernel.preamble}\nextern "C" __global__ void f{k}({arguments}, long long size) {{\n'
        "long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; if (i >= size) return;\n"
        f"{reads}{outs}{kernel.operation}\n{writes} }}\n"
    )


@pytest.mark.slow
def test_cudas_compiler_takes_the_code(programs):
    """Needs NVRTC and the headers of CUDA's runtime (from their wheels), but no GPU."""
    found = importlib.util.find_spec("nvidia")
    wheels = Path(next(iter(found.submodule_search_locations))) if found else Path()
    library = next(wheels.glob("cuda_nvrtc/lib/libnvrtc.so.*"), None)
    if library is None or not (wheels / "cuda_runtime").is_dir():
        pytest.skip("not installed: NVRTC and the headers of CUDA's runtime")
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    with cupys() as (cupy, *rest):
        own = Path(cupy.__file__).parent / "_core" / "include"
        parts = own, *(own / "cupy" / "_cccl" / part for part in ("libcudacxx", "thrust", "cub"))
        options = "-std=c++17", "-arch=sm_80", *(f"-I{p}" for p in (*parts, wheels / "cuda_runtime" / "include"))
        head = "".join(f"#include <cupy/{name}>\n" for name in ("complex.cuh", "carray.cuh", "math_constants.h"))
        assert len(programs) > 60
        for k, (key, (_, _, inputs)) in enumerate(programs):
            source = head + cuda(k, traced(key[0], inputs, cupy, *rest))
            cupy.cuda.compiler._NVRTCProgram(source, f"k{k}.cu", (), ()).compile(options)
