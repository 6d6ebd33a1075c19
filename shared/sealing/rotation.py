"""Slot rotation: what makes an erasure final.

A destroyed key's row is null, but its wrapped bytes live on in the database's journal, oplog, free pages and backups. Once the slot keys
that wrapped them are destroyed as well, those bytes are noise. The steps, each repeated if a crash left it open:

1. New slot keys are durable at the provider; old ones still open.
2. The number in the one row `floor` is raised. Every transaction that inserts keys reads it and wraps again under a newer slot table.
3. Two transaction lifetimes pass, so that none that read the former floor can still commit.
4. The rows are wrapped again, by compare-and-set on their epoch, until none of an older epoch is left.
5. They are copied to the keyring's own backup set, which is read back and checked.
6. The old slot keys are destroyed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from shared.failpoints import failpoint
from shared.sealing.errors import KeyMissing
from shared.sealing.key_draft import rewrap
from shared.sealing.key_ring import KeyRing
from shared.sealing.keyring_backup import KeyringBackup
from shared.sealing.local_key_file import LocalKeyFile
from shared.sealing.migrations import FLOOR, FLOOR_ID, KEYS, ROTATIONS
from shared.sealing.slots import SLOTS, bundle_of, bundles_of, contiguous, slot_range
from shared.storage import DuplicateKey, Transaction, UpdateOne

PAGE_KEYS = 2_000
BACKUP_FOLDER = "keyring-backup"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RotationProgress:
    """How far a rotation is.

    Attributes:
        step: name of the step that is running.
        done: keys wrapped again so far.
        total: keys to wrap again, counted when that step began; 0 before.
    """

    step: str
    done: int
    total: int


OnProgress = Callable[[RotationProgress], None]


@dataclass(frozen=True, slots=True)
class Rotation:
    """A finished rotation.

    Attributes:
        number: also the epoch of its slot keys.
        keys: keys wrapped again, counted over all attempts.
        finished_at: when the old slot keys were destroyed.
    """

    number: int
    slots: tuple[int, ...]
    keys: int
    started_at: datetime
    finished_at: datetime


async def rotate_slots(
    ring: KeyRing,
    slots: Collection[int] | None = None,
    *,
    backup_folder: Path | None = None,
    transaction_lifetime_seconds: float | None = None,
    on_progress: OnProgress | None = None,
) -> Rotation:
    """Rotates these slots, all by default, after finishing a rotation that was left open. Safe to repeat and to run twice at once.

    Args:
        backup_folder: the keyring's own backup set; by default `keyring-backup` beside the folder of the local key file.
        transaction_lifetime_seconds: by default what the server says. Longer than any transaction that inserts keys may live.

    Raises:
        KeyMissing: a row is opened by no slot key; nothing was destroyed.
        ValueError: no backup folder is given and the provider is no local key file.
    """
    backup = KeyringBackup(backup_folder or _default_backup_folder(ring))
    lifetime = await ring.store.transaction_lifetime_seconds() if transaction_lifetime_seconds is None else transaction_lifetime_seconds
    for row in await ring.store.collection(ROTATIONS).find({"finished_at": None}, sort=[("_id", 1)]):
        await _Run(ring, row, backup, lifetime, on_progress).finish()
    row = await _plan(ring, sorted(set(range(SLOTS) if slots is None else slots)))
    return await _Run(ring, row, backup, lifetime, on_progress).finish()


async def _plan(ring: KeyRing, slots: list[int]) -> Row:
    floor = await ring.store.collection(FLOOR).find_one({"_id": FLOOR_ID})
    await ring.provider.refresh()
    number = max(floor["number"] if floor else 0, ring.provider.table.number) + 1
    row = {"_id": number, "slots": slots, "step": 0, "keys": 0, "started_at": datetime.now(UTC), "finished_at": None}
    try:
        await ring.store.collection(ROTATIONS).insert_one(row)
    except DuplicateKey:
        raise RuntimeError("another rotation began at the same moment: run it again when that one has ended") from None
    failpoint("rotation.after_plan")
    return row


def _default_backup_folder(ring: KeyRing) -> Path:
    if not isinstance(ring.provider, LocalKeyFile):
        raise ValueError("say where the keyring's backup set lies: backup_folder")  # noqa: TRY004 - the argument is missing, not of a wrong type
    return ring.provider.folder.parent / BACKUP_FOLDER


class _Run:
    """One rotation, from its open step to its end."""

    def __init__(self, ring: KeyRing, row: Row, backup: KeyringBackup, lifetime_seconds: float, on_progress: OnProgress | None) -> None:
        self._ring = ring
        self._row = row
        self._backup = backup
        self._lifetime_seconds = lifetime_seconds
        self._on_progress = on_progress
        self._number: int = row["_id"]
        self._slots: list[int] = row["slots"]
        self._keys = ring.store.collection(KEYS)
        self._rotations = ring.store.collection(ROTATIONS)
        self._done: int = row["keys"]
        self._total = 0

    async def finish(self) -> Rotation:
        """Runs the open step and all after it."""
        steps: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = (
            ("slot_keys", self._make_slot_keys),
            ("floor", self._raise_floor),
            ("wait", self._outlast_transactions),
            ("rewrap", self._rewrap_all),
            ("backup", self._back_up),
            ("destroy", self._destroy_old_slot_keys),
        )
        await self._ring.provider.refresh()
        for at, (name, step) in enumerate(steps):
            if at >= self._row["step"]:
                self._report(name)
                await step()
                failpoint(f"rotation.after_{name}")
                await self._record({"step": at + 1})
        finished_at = datetime.now(UTC)
        await self._record({"finished_at": finished_at})
        return Rotation(self._number, tuple(self._slots), self._done, self._row["started_at"], finished_at)

    async def _record(self, members: Mapping[str, Any]) -> None:
        await self._rotations.update_one({"_id": self._number}, {"$set": {**members, "keys": self._done}})

    def _report(self, step: str) -> None:
        if self._on_progress is not None:
            self._on_progress(RotationProgress(step, self._done, self._total))

    async def _make_slot_keys(self) -> None:
        await self._ring.provider.begin_rotation(self._number, self._slots)

    async def _raise_floor(self) -> None:
        await self._ring.store.collection(FLOOR).update_one({"_id": FLOOR_ID}, {"$max": {"number": self._number}})

    async def _outlast_transactions(self) -> None:
        # The server looks for overdue transactions at intervals, hence twice.
        await asyncio.sleep(2 * self._lifetime_seconds)

    async def _rewrap_all(self) -> None:
        older = await self._count_older()
        self._total = self._done + older
        while older:
            for bundle in bundles_of(self._slots):
                await self._rewrap_bundle(bundle)
            older = await self._count_older()

    async def _count_older(self) -> int:
        """Keys of an older epoch that a majority of the servers knows, which is what a transaction's snapshot reads."""
        return sum([await self._ring.store.transaction(partial(self._count_in, self._older_rows(bundle))) for bundle in bundles_of(self._slots)])

    async def _count_in(self, older: Row, transaction: Transaction) -> int:
        return await self._keys.count(older, transaction=transaction)

    def _older_rows(self, bundle: int, after: bytes = b"") -> Row:
        """Filter of the bundle's rows beyond `after` to wrap again. A destroyed key has no epoch, so it is never among them."""
        ranges = [slot_range(first, last) for first, last in contiguous(slot for slot in self._slots if bundle_of(slot) == bundle)]
        within = {"$or": [{"_id": {"$gte": low, "$lte": high}} for low, high in ranges]}
        return {"$and": [within, {"_id": {"$gt": after}}, {"epoch": {"$lt": self._number}}]}

    async def _rewrap_bundle(self, bundle: int) -> None:
        after = b""
        while True:
            rows = await self._keys.find(self._older_rows(bundle, after), sort=[("_id", 1)], limit=PAGE_KEYS)
            if not rows:
                return
            self._done += await self._keys.bulk([self._rewrapped(row) for row in rows])
            after = rows[-1]["_id"]
            failpoint("rotation.after_rewrap_page")
            self._report("rewrap")

    def _rewrapped(self, row: Row) -> UpdateOne:
        again = rewrap(row, self._ring.provider.table)
        if again is None:
            raise KeyMissing(f"no slot key opens {UUID(bytes=row['_id'])}: the rotation stops before anything is destroyed")
        wrapped, epoch = again
        return UpdateOne({"_id": row["_id"], "epoch": row["epoch"]}, {"$set": {"wrapped": wrapped, "epoch": epoch}})

    async def _back_up(self) -> None:
        for bundle in bundles_of(self._slots):
            await self._backup.copy(self._keys, bundle, self._ring.provider.table)

    async def _destroy_old_slot_keys(self) -> None:
        await self._ring.provider.end_rotation(self._number, self._slots)
