"""The curve of a training run, and files from which it goes on bit for bit."""

from __future__ import annotations

import copy
import math
import os
from typing import Any

import numpy as np

import difftensor as dif

from ._module import Module
from .init import is_generator


class History:
    """What happened during `nn.fit`.

    Attributes
    ----------
    train : list of float
        The mean loss of each epoch, of the weights as they were.
    validation : list of dict
        The validation loss and metrics after each epoch.
    epoch, step : int
        Done so far.
    best_epoch : int or None
        Counted from 1.
    """

    def __init__(self) -> None:
        self.train: list[float] = []
        self.validation: list[dict] = []
        self.epoch = self.step = 0
        self.best: dict | None = None
        self.best_epoch: int | None = None
        self.stopped = False
        self.total, self.count = 0.0, 0

    def __repr__(self) -> str:
        lines = [f"History: {self.epoch} epochs, {self.step} steps"]
        if self.train:
            lines.append(f"training loss {self.train[0]:.6g} -> {self.train[-1]:.6g}")
        if self.best_epoch is not None:
            best = self.validation[self.best_epoch - 1]
            lines.append(f"best after epoch {self.best_epoch}: validation "
                         + ", ".join(f"{k} {v:.6g}" for k, v in best.items()))  # fmt: skip
        return "; ".join(lines)

    def add(self, loss: float, n: int) -> None:
        """Note one batch."""
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"nn.fit: the loss is {loss} at step {self.step + 1}; lower the learning rate, or look with "
                "dif.debug(nan=True)"
            )
        self.total, self.count, self.step = self.total + loss * n, self.count + n, self.step + 1

    @property
    def running(self) -> float:
        """The mean loss of the epoch so far."""
        return self.total / self.count if self.count else math.nan

    def close_epoch(self, validation: dict | None, model: Module, patience: int | None) -> None:
        """Note the end of an epoch, and the weights if they are the best."""
        self.train.append(self.running)
        self.epoch, self.total, self.count = self.epoch + 1, 0.0, 0
        if validation is None:
            return
        self.validation.append(validation)
        if self.best_epoch is None or validation["loss"] < self.validation[self.best_epoch - 1]["loss"]:
            self.best_epoch, self.best = self.epoch, {k: t.copy() for k, t in model.state_dict().items()}
        self.stopped = patience is not None and self.epoch - self.best_epoch >= patience

    def plot(self, axes: Any = None) -> Any:
        """Draw the losses by epoch on matplotlib's `axes`."""
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(layout="constrained").subplots()
        epochs = range(1, len(self.train) + 1)
        axes.plot(epochs, self.train, label="training")
        if self.validation:
            axes.plot(epochs, [v["loss"] for v in self.validation], label="validation")
            axes.axvline(self.best_epoch, color="0.8", zorder=0)
        axes.set(xlabel="epoch", ylabel="loss")
        axes.legend()
        return axes


def _generators(model: Module) -> list[Any]:
    """The generators of dropout and the like, each once, in the order of the modules."""
    found = [v for m in model.modules() for v in m.__dict__.values() if is_generator(v)]
    return list({id(g): g for g in found}.values())


def _rewound(state: Any) -> Any:
    """The state of a generator with arrays as lists, which files keep as they are."""
    if isinstance(state, dict):
        return {k: _rewound(v) for k, v in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state


def store(path: str | os.PathLike, history: History, model: Module, optimizer: Any, scheduler: Any, data: Any) -> None:
    """Everything that the rest of the run depends on, written so that a kill leaves the old file or the new one."""
    dif.io.save(
        path,
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": None if scheduler is None else scheduler.state_dict(),
            "data": _rewound(data.state_dict()) if hasattr(data, "state_dict") else None,
            "rng": [_rewound(g.bit_generator.state) for g in _generators(model)],
            "history": dict(history.__dict__),
        },
    )


def restore(path: str | os.PathLike, model: Module, optimizer: Any, scheduler: Any, data: Any) -> History:
    """Put everything back as `store` found it."""
    saved = dif.io.load(path)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    if scheduler is not None:
        scheduler.load_state_dict(saved["scheduler"])
    if saved["data"] is not None:
        data.load_state_dict(saved["data"])
    for generator, state in zip(_generators(model), saved["rng"], strict=True):
        generator.bit_generator.state = copy.deepcopy(state)
    history = History()
    history.__dict__.update(saved["history"])
    return history
