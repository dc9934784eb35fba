"""A line about the epoch on a terminal: by tqdm if it is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_bar(data: Iterable, history: Any, epochs: int, show: bool) -> Iterator[Iterable]:
    """The batches of `data`; while they are taken, the mean loss stands behind the bar."""
    if not (show and sys.stderr.isatty()):
        yield data
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield data
        print(f"epoch {history.epoch + 1}/{epochs}: loss {history.running:.4g}", file=sys.stderr)  # noqa: T201
        return
    length = len(data) if isinstance(data, Sized) else None
    with tqdm(total=length, desc=f"epoch {history.epoch + 1}/{epochs}", leave=False) as bar:

        def counted() -> Iterator[Any]:
            for batch in data:
                yield batch
                bar.update()
                bar.set_postfix(loss=f"{history.running:.4g}")

        yield counted()
