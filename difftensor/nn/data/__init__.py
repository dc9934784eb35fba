"""Batches: a loader over arrays, tables, iterables and files mapped into memory; samplers; collating; shards.

>>> import numpy as np
>>> from difftensor import nn
>>> x, y = np.arange(10.0), np.arange(10) % 2
>>> for a, b in nn.data.Loader(x, y, batch_size=4, shuffle=True, rng=0):
...     print(a.shape, b.shape)
(4,) (4,)
(4,) (4,)
(2,) (2,)
"""

from ._collate import collate
from ._loader import Loader
from ._samplers import RandomSampler, Sampler, SequentialSampler, WeightedSampler
from ._sources import Arrays, Source, source, split

__all__ = ["Arrays", "Loader", "RandomSampler", "Sampler", "SequentialSampler", "Source", "WeightedSampler", "collate",
           "source", "split"]  # fmt: skip
