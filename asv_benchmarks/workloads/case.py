"""What a workload is, and what it means that libraries agree."""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..libraries import LIBRARIES, numpy_of


@dataclass
class Case:
    """A program at one size: `program(xp)` is the function, `hand(*arguments)` its (value, derivatives)."""

    arguments: tuple
    program: Callable
    hand: Callable
    kind: str = "gradient"  # or "hessian", "hvp"
    direction: np.ndarray | None = None  # of the Hessian-vector product
    scanned: Callable | None = None  # the program with its loop as `xp.scan`, for compilers

    @property
    def scans(self):
        return self.scanned is not None

    def compiled(self, xp):
        return (self.scanned or self.program)(xp)

    def runner(self, library):
        """A function () -> (value, derivatives) in the library of this name."""
        return getattr(LIBRARIES[library], self.kind)(self)


@dataclass
class Workload:
    name: str
    make: Callable[[int], Case]
    sizes: tuple[str, ...]
    tiny: str
    loop: bool  # a long Python loop, and no scan: compilers would unroll it
    writes: bool  # assigns to parts of arrays
    tolerance: float  # of the agreement, relative to the largest entry

    def case(self, size):
        return self.make(*map(int, str(size).split("x")))

    def libraries(self):
        """Those that can run this program at all, by name."""
        kind = self.case(self.tiny).kind
        for name, library in LIBRARIES.items():
            unrolled, value_only = library.compiles and self.loop, name == "numpy" and kind != "gradient"
            if (library.writes or not self.writes) and not unrolled and not value_only:
                yield name


WORKLOADS: dict[str, Workload] = {}


def workload(*sizes, tiny, loop=False, writes=False, tolerance=1e-10):
    """Enter a function of the size into the table.  Sizes are written `500` or `500x250`."""
    def enter(make):
        name = make.__name__
        WORKLOADS[name] = Workload(name, make, tuple(map(str, sizes)), str(tiny), loop, writes, tolerance)
        return make

    return enter


def agree(reference, found, tolerance):
    """None if value and derivatives are the same up to rounding, else a sentence."""
    (value, slopes), (other_value, other_slopes) = reference, found
    pairs = [(value, other_value, "value")] if value is not None and other_value is not None else []
    if len(other_slopes):  # NumPy gives the value only
        both = zip(slopes, other_slopes, strict=True)
        pairs += [(a, b, f"derivative {i}") for i, (a, b) in enumerate(both)]
    for expected, got, what in pairs:
        expected, got = numpy_of(expected), numpy_of(got)
        if expected.shape != got.shape:
            return f"{what}: shape {got.shape} instead of {expected.shape}"
        error = np.max(np.abs(expected - got)) / max(np.max(np.abs(expected)), 1e-300)
        if not error <= tolerance:
            return f"{what}: relative error {error:.1e}, allowed {tolerance:.0e}"
    return None
