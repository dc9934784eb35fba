"""The libraries that play CUDA's, compiled once, with a stub for every name that CuPy's modules look for."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE / ".built"
FLAGS = ["-std=c++17", "-O1", "-fPIC", "-w", "-ffp-contract=off"]
# Library: its source here, and the modules of CuPy that are linked to it.
LIBRARIES = {
    "libcublas.so.12": ("cublas.cpp", "cupy_backends/cuda/libs/cublas"),
    "libcusolver.so.11": (None, "cupy_backends/cuda/libs/cusolver", "cupyx/_cusolver"),
    "libcusparse.so.12": (None, "cupy_backends/cuda/libs/cusparse"),
    "libcurand.so.10": (None, "cupy_backends/cuda/libs/curand"),
    "libcufft.so.11": ("cufft.cpp", "cupy/cuda/cufft"),
    "libcublasLt.so.12": (None,),
    "libnvJitLink.so.12": (None,),
}
LONGS = ", ".join(f"long a{k}" for k in range(20))
GIVEN = ", ".join(f"a{k}" for k in range(20))
# A function that Python may fill in: all arguments are integers and addresses.
STUB = (
    'extern "C" {{ int (*emu_{name})({longs}) = 0;\n'
    "__attribute__((weak)) int {name}({longs}) {{ return emu_{name} ? emu_{name}({given}) : {otherwise}; }} }}\n"
)


@cache
def packages() -> Path:
    """The folder of CuPy's package and its companions."""
    spec = find_spec("cupy")
    if spec is None or spec.origin is None:
        raise SystemExit("tests.emulator needs CuPy: pip install cupy-cuda12x")
    return Path(spec.origin).parent.parent


@cache
def nvidia(folder: str) -> Path:
    """A folder of the wheels of CUDA."""
    spec = find_spec("nvidia")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    found = [Path(r) / folder for r in roots if (Path(r) / folder).is_dir()]
    if not found:
        raise SystemExit("tests.emulator needs the wheels nvidia-cuda-nvrtc-cu12 and nvidia-cuda-runtime-cu12")
    return found[0]


def includes() -> list[str]:
    own = packages() / "cupy" / "_core" / "include"
    folders = HERE, BUILT / "include", own, own / "cupy" / "_cccl" / "libcudacxx", nvidia("cuda_runtime/include")
    return [f"-I{folder}" for folder in folders]


def run(*command: object) -> str:
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout


def build() -> None:
    """All libraries and the precompiled headers, unless they are there and newer than their sources."""
    lib, headers = BUILT / "lib", BUILT / "headers.h.gch"
    newest = max(p.stat().st_mtime for p in HERE.glob("*.[ch]*"))
    if headers.exists() and headers.stat().st_mtime > newest:
        return
    for folder in (lib, BUILT / "kernels", BUILT / "include" / "thrust" / "detail" / "config"):
        folder.mkdir(parents=True, exist_ok=True)
    (BUILT / "include" / "thrust" / "detail" / "config" / "namespace.h").write_text(
        "#define THRUST_NAMESPACE_BEGIN namespace thrust {\n#define THRUST_NAMESPACE_END }\n"
    )
    (BUILT / ".gitignore").write_text("*\n")
    run("g++", *FLAGS, "-shared", "-Wl,-soname,libcuda.so.1", HERE / "cuda.cpp", "-o", lib / "libcuda.so.1", "-ldl")
    for name, (source, *modules) in LIBRARIES.items():
        asked = "".join(run("nm", "-D", next(packages().glob(f"{m}.*.so"))) for m in modules)
        symbols = sorted(set(re.findall(r" U (cu[a-z]+[A-Z]\w*)", asked)))
        stubs = BUILT / f"{name}.cpp"
        stubs.write_text("".join(STUB.format(name=s, longs=LONGS, given=GIVEN, otherwise=0) for s in symbols))
        version = BUILT / f"{name}.version"  # CuPy's modules ask for names of this version
        version.write_text(f"{name} {{ global: *; }};\n")
        link = f"-Wl,-soname,{name}", f"-Wl,--version-script={version}"
        sources = [stubs, *([HERE / source] if source else [])]
        run("g++", *FLAGS, "-shared", *link, *sources, "-o", lib / name, f"-L{lib}", "-l:libcuda.so.1")
    for path in nvidia("cuda_nvrtc/lib").glob("libnvrtc*.so*"):
        (lib / path.name).unlink(missing_ok=True)
        (lib / path.name).symlink_to(path)
    for old in (BUILT / "kernels").glob("*"):  # compiled with other headers
        old.unlink()
    run("g++", "-x", "c++-header", *FLAGS, *includes(), HERE / "headers.h", "-o", headers)
