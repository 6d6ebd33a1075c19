"""How a copy of a person is cut: by size, since one body may be a megabyte and a person may have thousands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

PART_BYTES = 512 * 1024
"""Of plain JSON in one part. Sealed and in base64 a part of small items stays below 1 MiB, and one with the largest body far below the limit."""


def cut(items: Iterable[bytes], bytes_max: int = PART_BYTES) -> Iterator[list[bytes]]:
    """Encoded items in lists of at most `bytes_max` bytes; a larger item gets a list of its own. Nothing gives nothing."""
    chunk: list[bytes] = []
    size = 0
    for item in items:
        if chunk and size + len(item) > bytes_max:
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += len(item) + 1
    if chunk:
        yield chunk
