"""Freed memory stays with the process: the next training step puts its arrays where the last step's were.

A training step makes and frees the same arrays again and again.  Arrays of a few hundred kilobytes and more
the C library returns to the system when they are freed, and asks for them anew: then every 4096 bytes cost
a page fault at their first touch, about as much as the arithmetic on them.  Here glibc is told to keep them.
"""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["KEEP", "LARGEST", "keep_freed_memory"]

LARGEST = 32 << 20
"""Arrays from this size on (in bytes) still come from the system one by one, and are returned when freed."""

KEEP = 256 << 20
"""So much free memory (in bytes) may lie unused at the end of the heap."""

# The numbers of the parameters in <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

_ASKED = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")


def keep_freed_memory() -> bool:
    """Tell the C library to keep freed memory for the next arrays; whether it did.

    Nothing happens with another C library than glibc, where the user has set one of glibc's own variables
    for this (``MALLOC_TRIM_THRESHOLD_`` and its kin, or ``GLIBC_TUNABLES``), or with
    ``ACCELGRAD_KEEP_MEMORY=0``.  See ``mallopt`` in the manual of the GNU C library.

    >>> keep_freed_memory() in (True, False)
    True
    """
    if not sys.platform.startswith("linux") or os.environ.get("ACCELGRAD_KEEP_MEMORY") == "0":
        return False
    if any(name in os.environ for name in _ASKED) or "malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no such function
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(_M_TRIM_THRESHOLD, KEEP))
