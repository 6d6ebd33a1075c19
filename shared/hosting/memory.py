"""How the C library keeps memory: a service has a dozen threads and now and then a batch of megabytes, and shall stay small all the same."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_ARENAS = 2
_LARGE_BYTES = 256 * 1024
_FREE_BYTES_KEPT = 4 * 1024 * 1024


def keep_memory_small() -> None:
    """Gives large blocks back at once and shares two arenas among all threads. Does nothing on a C library other than glibc.

    By itself glibc gives each thread an arena of its own, and after the first large block takes all later ones from the heap, where
    a small neighbour keeps them from being given back.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for parameter, value in ((_M_ARENA_MAX, _ARENAS), (_M_MMAP_THRESHOLD, _LARGE_BYTES), (_M_TRIM_THRESHOLD, _FREE_BYTES_KEPT)):
        mallopt(parameter, value)
