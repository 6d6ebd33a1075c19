"""Canary values as patterns: each in the forms in which a store may write it down."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

CHUNK_BYTES = 4 * 1024 * 1024
SHORTEST = 4
"""A shorter value is found everywhere by chance."""


class Canaries:
    """Finds any of several values in bytes, upper or lower case, as UTF-8, UTF-16 or with JSON escapes.

    Raises:
        ValueError: a value is too short to prove anything.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._values = list(values)
        if not self._values or any(len(value) < SHORTEST and value.isascii() for value in self._values):
            raise ValueError(f"canaries must have at least {SHORTEST} characters")
        self._forms = {form.lower(): number for number, value in enumerate(self._values) for form in _forms(value)}
        self._overlap = max(map(len, self._forms))

    def in_bytes(self, content: bytes) -> set[int]:
        """Numbers of the canaries that stand in these bytes."""
        # One plain search per form runs at gigabytes a second; a pattern of many alternatives tries each of them at every byte.
        lowered = content.lower()
        return {number for form, number in self._forms.items() if form in lowered}

    def in_file(self, path: Path) -> tuple[set[int], int]:
        """Numbers of the canaries in a file of any size, and the bytes read."""
        found: set[int] = set()
        size, tail = 0, b""
        for chunk in _chunks(path):
            # Journals and indexes are laid out ahead, so most of their bytes are zero; a UTF-16 form may end in one of them.
            found |= self.in_bytes((tail + chunk).rstrip(b"\0") + b"\0")
            size, tail = size + len(chunk), (tail + chunk)[-self._overlap :]
        return found, size


def _forms(value: str) -> set[bytes]:
    return {value.encode(), value.encode("utf-16-le"), json.dumps(value)[1:-1].encode()}


def _chunks(path: Path) -> Iterator[bytes]:
    """The file's bytes without its holes: Kafka lays out index files of 10 MB that hold a few."""
    with path.open("rb", buffering=0) as file:
        for start, end in _extents(file.fileno()):
            file.seek(start)
            while start < end and (chunk := file.read(min(CHUNK_BYTES, end - start))):
                start += len(chunk)
                yield chunk


def _extents(descriptor: int) -> Iterator[tuple[int, int]]:
    """Where there are data; a file system that knows no holes says the whole file."""
    end = 0
    try:
        while True:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
            yield start, end
    except OSError as error:
        if error.errno != errno.ENXIO:  # Behind the last data.
            raise
