"""The process's allocator, on request."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h


def tune_memory() -> bool:
    """Tell glibc to keep freed memory instead of returning it to the system, for the rest of the process.

    Arrays from 32 MB on (smaller ones too in programs without difftensor) are mapped afresh each time they are made,
    and every page of them is faulted in again: NumPy loses up to a factor of three. This is a setting of the whole
    process, so nothing in difftensor does it unasked.

    Returns
    -------
    bool
        Whether it took effect: glibc (Linux) only.

    Notes
    -----
    The process keeps the memory of its largest moment until it ends.

    References
    ----------
    mallopt(3): M_MMAP_MAX = 0, M_TRIM_THRESHOLD = 2^31 - 1.

    Examples
    --------
    >>> import difftensor as dif
    >>> dif.tune_memory() in (True, False)
    True
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
