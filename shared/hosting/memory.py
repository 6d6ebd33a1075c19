"""How the C library keeps memory: a service has a dozen threads and now and then a batch of megabytes, and shall stay small all the same."""

from __future__ import annotations

import asyncio
import ctypes

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_ARENAS = 2
_LARGE_BYTES = 256 * 1024
_FREE_BYTES_KEPT = 4 * 1024 * 1024
_LOOK_SECONDS = 1.0


class _Usage(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    )


def keep_memory_small() -> None:
    """Gives large blocks back at once and shares two arenas among all threads. Does nothing on a C library other than glibc.

    By itself glibc gives each thread an arena of its own, and after the first large block takes all later ones from the heap, where
    a small neighbour keeps them from being given back.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_M_ARENA_MAX, _ARENAS)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


async def give_memory_back() -> None:
    """Once a second returns to the system what batches left free between blocks still in use (3 ms when it is much). Ends by cancellation only."""
    library = _glibc()
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if library is not None and library.mallinfo2().fordblks > _FREE_BYTES_KEPT:
            library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
        library.mallinfo2.restype = _Usage
    except (OSError, AttributeError):
        return None
    return library
