"""Weights in safetensors files: arrays and names, nothing that could be executed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np

import difftensor as dif

from .._module import Module


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as missing:
        raise ImportError("weights are stored as safetensors: pip install 'difftensor[nn]'") from missing
    return safetensors.numpy


def save(model: Module, path: str | os.PathLike) -> str:
    """Write the state of `model` under PyTorch's names; returns the SHA-256 of the file.

    PyTorch reads it: ``torch_model.load_state_dict(safetensors.torch.load_file(path))``.
    """
    arrays = {k: np.asarray(t.to_device("cpu").numpy(), order="C") for k, t in model.state_dict().items()}
    data = _safetensors().save(arrays)
    beside = f"{os.fspath(path)}.{os.getpid()}.part"
    try:
        with open(beside, "wb") as file:
            file.write(data)
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)
    return hashlib.sha256(data).hexdigest()


def load(model: Module, path: str | os.PathLike, *, sha256: str | None = None, strict: bool = True,
         rename: Callable[[str], str] | None = None) -> Module:  # fmt: skip
    """Read weights into `model`.

    Parameters
    ----------
    model : Module
        For example ``nn.models.resnet50()``, whose names are torchvision's.
    path : path of a safetensors file
    sha256 : str, optional
        What the file's checksum, or its beginning (eight characters are enough), must be.
    strict : bool
        Raise if names are missing or unknown.
    rename : callable, optional
        From names in the file to names in `model`.

    Returns
    -------
    Module
        `model`.

    Raises
    ------
    ValueError
        The checksum or a shape differs, or the file is of another kind.
    KeyError
        Names are missing or unknown.
    """
    with open(path, "rb") as file:
        data = file.read()
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and (len(sha256) < 8 or not found.startswith(sha256.lower())):
        raise ValueError(
            f"load: {os.fspath(path)} has the SHA-256 {found}, expected {sha256}; it is another file, or damaged"
        )
    library = _safetensors()
    try:
        loaded = library.load(data)
    except Exception as error:
        raise ValueError(
            f"load: {os.fspath(path)} is no safetensors file ({error}). Pickled files (.pt, .pth) can run code and are "
            "never read; convert them where they come from: safetensors.torch.save_file(model.state_dict(), path)"
        ) from error
    state = {rename(k) if rename else k: v for k, v in loaded.items()}
    mine = model.state_dict()
    for name in mine.keys() - state.keys():
        if name.endswith("num_batches_tracked"):  # older files do not have it
            state[name] = np.zeros((), np.int64)
    model.load_state_dict({k: dif.asarray(v) for k, v in state.items()}, strict)
    return model
