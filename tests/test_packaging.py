"""The built wheel, used from another folder as a user would: what is in it, and what an import loads."""
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"scipy", "optree", "cupy", "cupyx", "matplotlib", "torch", "jax", "tqdm", "h5py", "safetensors"}


def python(*arguments, cwd, path=""):
    """What a new interpreter prints, with `path` first on its import path."""
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(path)}
    done = subprocess.run(command, cwd=cwd, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling", reason="not installed: hatchling, which builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
    python("-m", "pip", "wheel", *options, ROOT, cwd=folder)
    [built] = folder.glob("difftensor-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A function that runs code against the installed wheel, from an empty folder."""
    site, elsewhere = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("elsewhere")
    python("-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel, cwd=elsewhere)
    for package in ("difftensor", "optim"):
        found = python("-c", f"import {package}; print({package}.__file__)", cwd=elsewhere, path=site)
        assert Path(found) == site / package / "__init__.py"
    return lambda code: python("-c", code, cwd=elsewhere, path=site)


def test_the_wheel_holds_two_packages_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"difftensor", "optim"}
    assert {"difftensor/py.typed", "optim/py.typed"} <= names
    sources = [*(ROOT / "difftensor").rglob("*.py"), *(ROOT / "optim").rglob("*.py")]
    assert {path.relative_to(ROOT).as_posix() for path in sources} <= names


def test_the_installed_wheel_differentiates(installed):
    assert installed("import difftensor as dif; print(dif.grad(lambda x: x ** 3)(2.0))") == "12.0"


def test_the_installed_wheel_minimizes(installed):
    code = "import optim; print(optim.minimize(lambda x: ((x - 3.0) ** 2).sum(), [0.0, 1.0]).success)"
    assert installed(code) == "True"


def test_the_version_is_that_of_the_package(installed):
    assert installed("import difftensor; print(difftensor.__version__)") == installed(
        "from importlib.metadata import version; print(version('difftensor'))"
    )


@pytest.mark.parametrize("package", ["difftensor", "optim"])
def test_import_is_light(package, tmp_path):
    """SciPy and optree come when first needed; nothing optional comes at all."""
    loaded = python("-c", f"import {package}, sys; print(*sys.modules)", cwd=tmp_path, path=ROOT).split()
    assert not {name.split(".")[0] for name in loaded} & HEAVY
    assert not [name for name in loaded if name.startswith("difftensor.nn")]
