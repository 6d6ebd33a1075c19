"""Files that only their owner may read: checked before they are believed, replaced atomically, overwritten when their secret ends."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.sealing.errors import KeyFileRefused

_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
_OTHERS = 0o077


def private_folder(folder: Path) -> None:
    """Creates the folder with mode 0700, or checks that it is one's own and closed to everybody else.

    Raises:
        KeyFileRefused: it belongs to somebody else, others may enter it, or it is no folder.
    """
    if not folder.exists():
        folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise KeyFileRefused(f"{folder} is not a folder")
    _check(folder, status, wanted=_PRIVATE_FOLDER)


def read_private(path: Path) -> bytes:
    """The file's content.

    Raises:
        FileNotFoundError: there is none.
        KeyFileRefused: it is a link, belongs to somebody else, or its group or everybody may read or write it.
    """
    with _opened(path, os.O_RDONLY) as descriptor:
        _check(path, os.fstat(descriptor), wanted=_PRIVATE_FILE)
        return _read_all(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Replaces the file in one step, mode 0600, durable when this returns; what stood there before is then overwritten where it lay.

    The overwriting is a best effort: a copy-on-write file system, a snapshot or a worn flash cell may keep the old bytes.
    """
    former = _descriptor_of_former(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    with _opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
        _write_all(descriptor, content)
    temporary.replace(path)
    _sync_folder(path.parent)
    if former is not None:
        _overwrite(former)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Holds the folder for one writer at a time, across processes."""
    with _opened(folder / ".lock", os.O_RDWR | os.O_CREAT) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, _PRIVATE_FILE)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyFileRefused(f"{path} cannot be opened: {error.strerror}; it must be a plain file of the user that runs Kehu") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check(path: Path, status: os.stat_result, wanted: int) -> None:
    if status.st_uid != os.geteuid():
        raise KeyFileRefused(f"{path} belongs to user {status.st_uid}, not to the user that runs Kehu ({os.geteuid()}): chown it or run as its owner")
    if status.st_mode & _OTHERS:
        raise KeyFileRefused(f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):04o}): chmod {wanted:04o} {path}")


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read()


def _write_all(descriptor: int, content: bytes) -> None:
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _descriptor_of_former(path: Path) -> int | None:
    try:
        path.chmod(_PRIVATE_FILE)  # It may be read-only; its owner replaces it all the same.
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _overwrite(descriptor: int) -> None:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        _write_all(descriptor, bytes(os.fstat(descriptor).st_size))
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
