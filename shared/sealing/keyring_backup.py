"""The keyring's own backup set: the newest copy of every row, replaced with each rotation and never kept in older versions.

A copy that outlived its rotation would bring destroyed keys back; so data backups leave `keyring` out, and a restore joins any data with this set.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from shared.sealing.errors import KeyFileRefused, KeyMissing
from shared.sealing.key_draft import unwrap
from shared.sealing.private_files import private_folder, read_private, write_private
from shared.sealing.slots import BUNDLE_SLOTS, SLOTS, SlotTable, slot_range
from shared.storage import Collection, UpdateOne

_DIGEST_BYTES = 32

Row = dict[str, Any]


class KeyringBackup:
    """A folder (mode 0700) of files, one for every `BUNDLE_SLOTS` slots. The rows in it are wrapped; without the slot keys they open nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def copy(self, keys: Collection, bundle: int, table: SlotTable) -> int:
        """Replaces the bundle's file by the rows as they are now, reads it back and opens every living row with `table`'s current keys.

        Returns:
            How many rows it holds, destroyed ones included: a restore must not bring them back either.

        Raises:
            KeyMissing: a copied row would not open.
            KeyFileRefused: what was read back is not what was written.
        """
        low, high = slot_range(bundle * BUNDLE_SLOTS, (bundle + 1) * BUNDLE_SLOTS - 1)
        rows = await keys.find({"_id": {"$gte": low, "$lte": high}}, sort=[("_id", 1)])
        await asyncio.to_thread(self._write, bundle, rows)
        copied = await asyncio.to_thread(self.rows, bundle)
        if copied != rows:
            raise KeyFileRefused(f"the copy in {self._path(bundle)} is not what was written")
        _check_opens(copied, table)
        return len(copied)

    def rows(self, bundle: int) -> list[Row]:
        """The rows of a bundle; none if it was never copied. KeyFileRefused if the file is damaged."""
        try:
            content = read_private(self._path(bundle))
        except FileNotFoundError:
            return []
        body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            raise KeyFileRefused(f"{self._path(bundle)} is damaged")
        rows: list[Row] = msgspec.msgpack.decode(body)
        return rows

    async def restore(self, keys: Collection) -> int:
        """Puts back what is missing and destroys again what was destroyed; living rows stay as they are. Returns the number of rows read."""
        count = 0
        for bundle in range(SLOTS // BUNDLE_SLOTS):
            rows = await asyncio.to_thread(self.rows, bundle)
            await keys.bulk([_restored(row) for row in rows])
            count += len(rows)
        return count

    def _write(self, bundle: int, rows: list[Row]) -> None:
        private_folder(self._folder)
        body = msgspec.msgpack.encode(rows)
        write_private(self._path(bundle), body + hashlib.sha256(body).digest())

    def _path(self, bundle: int) -> Path:
        return self._folder / f"slots-{bundle * BUNDLE_SLOTS:04d}.rows"


def _restored(row: Row) -> UpdateOne:
    members = {name: value for name, value in row.items() if name != "_id"}
    if row["wrapped"] is None:
        return UpdateOne({"_id": row["_id"]}, {"$set": members, "$unset": {"epoch": ""}}, upsert=True)
    return UpdateOne({"_id": row["_id"]}, {"$setOnInsert": members}, upsert=True)


def _check_opens(rows: list[Row], table: SlotTable) -> None:
    """Only current slot keys count: the older ones are about to go."""
    current = SlotTable(table.number, table.current, {})
    closed = [row["_id"] for row in rows if row["wrapped"] is not None and unwrap(row, current) is None]
    if closed:
        raise KeyMissing(f"{len(closed)} copied keys would not open once the old slot keys are gone")
