"""fit: the training loop, for when there is nothing special about it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

import difftensor as dif

from ._checkpoint import History, restore, store
from ._module import Module
from ._progress import progress_bar


def evaluate(model: Module, loss: Callable, data: Any, metrics: dict[str, Callable] | None = None) -> dict[str, float]:
    """The mean of the loss and of the metrics over `data`, weighted by batch size, in the mode `eval`."""
    was, count = model.training, 0
    totals: dict[str, float] = {}
    model.eval()
    with dif.no_grad():
        for x, y in data:
            out, n = model(x), len(y)
            for name, f in {"loss": loss, **(metrics or {})}.items():
                totals[name] = totals.get(name, 0.0) + float(f(out, y)) * n
            count += n
    model.train(was)
    return {name: total / count for name, total in totals.items()}


def fit(
    model: Module,
    loss: Callable,
    data: Any,
    optimizer: Any,
    *,
    epochs: int = 1,
    validation: Any = None,
    metrics: dict[str, Callable] | None = None,
    patience: int | None = None,
    scheduler: Any = None,
    checkpoint: str | os.PathLike | None = None,
    every: int | None = None,
    progress: bool = True,
) -> History:
    """Train `model` and return the curve.

    Parameters
    ----------
    model : Module
    loss : callable
        ``loss(model(x), y)``, a mean over the batch.
    data : iterable of (x, y)
        A `nn.data.Loader`, PyTorch's loader, a list of batches.
    optimizer : optim.Optimizer
        Over ``model.parameters()``.
    epochs : int
        In total: a resumed run does the rest.
    validation : iterable of (x, y), optional
        Looked at after each epoch; the best weights are kept and put back at the end.
    metrics : dict of callables, optional
        ``{"accuracy": f}`` with ``f(out, y)``, computed on `validation`.
    patience : int, optional
        Stop after so many epochs without a better validation loss.
    scheduler : optional
        ``scheduler.step()`` is called after each epoch, that of ReduceLROnPlateau with the loss on `validation`, or in
        training where there is none.
    checkpoint : path, optional
        Written after each epoch, and after `every` batches; if it exists, the run goes on from there with the same
        numbers, bit for bit (with a `Loader`, whose position is saved).
    every : int, optional
    progress : bool

    Returns
    -------
    History
        ``.train``, ``.validation``, ``.best_epoch``, ``.plot()``.
    """
    history, run = History(), (model, optimizer, scheduler, data)
    if checkpoint is not None and os.path.exists(checkpoint):
        history = restore(checkpoint, *run)
    model.train()
    while history.epoch < epochs and not history.stopped:
        with progress_bar(data, history, epochs, progress) as batches:
            for x, y in batches:
                value = loss(model(dif.asarray(x) if hasattr(x, "__dlpack__") else x), y)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                history.add(value.item(), len(y))
                if checkpoint is not None and every and history.step % every == 0:
                    store(checkpoint, history, *run)
        if not history.count:
            raise ValueError(
                f"nn.fit: data gave no batch in epoch {history.epoch + 1}; is it an iterator that is used up?"
            )
        found = None if validation is None else evaluate(model, loss, validation, metrics)
        history.close_epoch(found, model, patience)
        if scheduler is not None:
            watched = "metrics" in inspect.signature(scheduler.step).parameters  # ReduceLROnPlateau
            scheduler.step(*[history.train[-1] if found is None else found["loss"]] * watched)
        if checkpoint is not None:
            store(checkpoint, history, *run)
    if history.best is not None:
        model.load_state_dict(history.best)
    return history
