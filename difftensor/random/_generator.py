"""Generator, and how one is made."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor.random._base import placed
from difftensor.random._continuous import Continuous
from difftensor.random._discrete import Discrete
from difftensor.random._ordering import Ordering
from difftensor.random._philox import Philox
from difftensor.random._vectors import Vectors


class Generator(Vectors, Discrete, Ordering):
    """Random numbers by NumPy's names, on the CPU or a GPU, from one counter-based generator.

    Made by `default_rng`. Draws are Tensors on the generator's device.

    Parameters
    ----------
    bit_generator : Philox
    device : str or Device, optional

    Attributes
    ----------
    bit_generator : Philox
    device : Device
    state : dict
        Plain numbers; setting it goes on from there. Generators can be pickled and copied, too.

    Notes
    -----
    Words, integers and uniform numbers are the same bits on every device; the others are computed from them by the same
    formulas and differ by rounding. How many words a draw uses depends on its shape and kind only, not on their values.

    Parameters may be Tensors: where the draw is a differentiable function of them at fixed words, derivatives flow
    through it (docs/random.md has the table); elsewhere a tracked parameter raises a `MissingDerivativeError`.
    Inside `dif.vmap` every example gets draws of its own. `dif.checkpoint` and `dif.checkpoint_loop` rewind generators
    when they run a function again.

    Examples
    --------
    >>> import difftensor as dif
    >>> rng = dif.random.default_rng(12)
    >>> state = rng.state
    >>> x = rng.normal(size=3)
    >>> rng.state = state
    >>> bool((rng.normal(size=3) == x).all())
    True
    """

    def spawn(self, n_children: int) -> list[Generator]:
        """`n_children` independent generators on the same device, by NumPy's SeedSequence."""
        return [Generator(source, self._device) for source in self._source.spawn(n_children)]

    def __getstate__(self) -> dict:
        return {"source": self._source, "device": str(self._device)}

    def __setstate__(self, saved: dict) -> None:
        self.__init__(saved["source"], saved["device"])  # type: ignore[misc]


for _chapter in (Vectors, Continuous, Discrete, Ordering):
    for _name, _draw in list(vars(_chapter).items()):
        if not _name.startswith("_"):
            setattr(_chapter, _name, placed(_draw))


def default_rng(seed: Any = None, *, device: Any = None) -> Generator:
    """A `Generator` for `seed`.

    Parameters
    ----------
    seed : None, int, sequence of ints, SeedSequence, Philox or Generator, optional
        As of ``numpy.random.default_rng``. None: fresh entropy from the operating system. A Generator is returned as it
        is (for another `device`: one that shares its source of words).
    device : str or Device, optional
        Where draws are made.

    Returns
    -------
    Generator

    Raises
    ------
    TypeError
        `seed` is a generator of NumPy's: it has another algorithm, whose words a GPU could not have.

    Examples
    --------
    >>> import difftensor as np
    >>> rng = np.random.default_rng(0)
    >>> rng.normal(size=(3,)).shape
    (3,)
    """
    if isinstance(seed, Generator):
        return seed if device is None else Generator(seed.bit_generator, device)
    if isinstance(seed, Philox):
        return Generator(seed, device)
    if isinstance(seed, np.random.Philox):
        source = Philox(key=0)
        source.state, source.seed_seq = dict(seed.state), seed.seed_seq
        return Generator(source, device)
    if isinstance(seed, (np.random.Generator, np.random.BitGenerator, np.random.RandomState)):
        raise TypeError(
            f"dif.random.default_rng: {type(seed).__name__} of NumPy draws by an algorithm of its own. Pass a seed: an "
            "int, or a SeedSequence such as rng.bit_generator.seed_seq.spawn(1)[0]"
        )
    return Generator(Philox(seed), device)
