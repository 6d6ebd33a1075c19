"""The default key provider: one file that only its owner may read, outside the database, its backups and its data folder.

Layout, little-endian: magic, table number (u64), the installation's secrets, count of slot keys (u32), the slot keys as
(slot u16, epoch u32, key 32 bytes), SHA-256 of everything before. About 156 KB.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections.abc import Callable, Collection, Iterable
from itertools import chain
from pathlib import Path
from typing import Self

from shared.sealing.errors import KeyFileRefused
from shared.sealing.held_keys import HeldKeys
from shared.sealing.installation import ENCODED_BYTES, InstallationSecrets
from shared.sealing.private_files import exclusive, private_folder, read_private, write_private
from shared.sealing.slots import SLOTS, SlotKey, SlotTable

FILE_NAME = "kehu.keys"

_MAGIC = b"KEHUKEY1"
_HEAD = struct.Struct("<8sQ")
_COUNT = struct.Struct("<I")
_ENTRY = struct.Struct("<HI32s")
_DIGEST_BYTES = 32
_READ_ATTEMPTS = 5


class LocalKeyFile(HeldKeys):
    """`KeyProvider` on a local file. Several processes may read it; writers take turns; a reader sees a rotation at its next `refresh`."""

    def __init__(self, path: Path, secrets: InstallationSecrets, table: SlotTable) -> None:
        self._path = path
        self._secrets = secrets
        self._table = table
        self._seen = _version(path)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Reads the key file of this folder; makes folder and file (modes 0700 and 0600) on first use.

        Raises:
            KeyFileRefused: folder or file belongs to somebody else, is open to others, or is damaged.
        """
        private_folder(folder)
        path = folder / FILE_NAME
        with exclusive(folder):
            if not path.exists():
                write_private(path, _encode(InstallationSecrets.generate(), SlotTable.generate()))
        return cls(path, *_read(path))

    @property
    def folder(self) -> Path:
        """Where the key file lies."""
        return self._path.parent

    async def refresh(self) -> None:
        """Reads the file again if it was replaced. KeyFileRefused if it is gone or unsafe by now."""
        if _version(self._path) != self._seen:
            await asyncio.to_thread(self._reload)

    async def begin_rotation(self, number: int, slots: Collection[int]) -> None:
        """Adds a new current key to each of these slots; durable when it returns."""
        await asyncio.to_thread(self._rewrite, lambda table: table.with_new_epoch(number, slots))

    async def end_rotation(self, number: int, slots: Collection[int]) -> None:
        """Destroys the older keys of these slots; the former file is overwritten where it lay."""
        await asyncio.to_thread(self._rewrite, lambda table: table.without_older(number, slots))

    def _reload(self) -> None:
        # The version is taken first: a replacement in between is then noticed next time.
        seen = _version(self._path)
        secrets, self._table = _read(self._path)
        if secrets.installation != self.installation:
            raise KeyFileRefused(f"{self._path} was replaced by the keys of another installation")
        self._seen = seen

    def _rewrite(self, change: Callable[[SlotTable], SlotTable]) -> None:
        with exclusive(self.folder):
            self._reload()
            changed = change(self._table)
            if changed != self._table:
                write_private(self._path, _encode(self._secrets, changed))
            self._reload()


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _encode(secrets: InstallationSecrets, table: SlotTable) -> bytes:
    older = (SlotKey(slot, epoch, key) for (slot, epoch), key in table.older.items())
    entries = b"".join(_ENTRY.pack(*entry) for entry in chain(table.current, older))
    body = _HEAD.pack(_MAGIC, table.number) + secrets.encode() + _COUNT.pack(len(entries) // _ENTRY.size) + entries
    return body + hashlib.sha256(body).digest()


def _read(path: Path) -> tuple[InstallationSecrets, SlotTable]:
    for _ in range(_READ_ATTEMPTS):
        try:
            content = read_private(path)
        except FileNotFoundError:
            raise KeyFileRefused(f"{path} is gone: restore it from the key backup; without it nothing sealed can be opened") from None
        if _is_whole(content):
            return _decode(content)
        # A writer replaced the file between our opening and reading it, and overwrote the former one: look again.
    raise KeyFileRefused(f"{path} is damaged: restore it from the key backup")


def _is_whole(content: bytes) -> bool:
    body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    return body.startswith(_MAGIC) and hashlib.sha256(body).digest() == digest


def _decode(content: bytes) -> tuple[InstallationSecrets, SlotTable]:
    _, number = _HEAD.unpack_from(content)
    entries_at = _HEAD.size + ENCODED_BYTES + _COUNT.size
    entries = map(SlotKey._make, _ENTRY.iter_unpack(content[entries_at:-_DIGEST_BYTES]))
    return InstallationSecrets.decode(content[_HEAD.size : entries_at - _COUNT.size]), _table(number, entries)


def _table(number: int, entries: Iterable[SlotKey]) -> SlotTable:
    """The first `SLOTS` entries are the current keys in order of slot; older ones follow."""
    keys = list(entries)
    return SlotTable(number, tuple(keys[:SLOTS]), {(each.slot, each.epoch): each.key for each in keys[SLOTS:]})
