"""The key ring: one wrapped data key per submission and per customer epoch, in the `keyring` database; what wraps them lies elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from shared.sealing.data_key import DataKey
from shared.sealing.errors import KeyMissing, KeyringMismatch, KeyStoreUnavailable
from shared.sealing.key_cache import KeyCache, Opened
from shared.sealing.key_draft import KeyDraft, draft_keys, unwrap
from shared.sealing.migrations import FLOOR, FLOOR_ID, KEYRING_MIGRATIONS, KEYS
from shared.sealing.provider import KeyProvider
from shared.sealing.slots import SlotTable
from shared.storage import DuplicateKey, Store, Transaction, TransientStorageError, UpdateOne, migrate
from shared.telemetry.metrics import KEYS_OPENED

CACHE_SECONDS = 60.0
CACHE_KEYS_MAX = 20_000
"""Some 4 MB of unwrapped keys at the most."""

Row = dict[str, Any]
_FROM_CACHE, _FROM_STORE = {"source": "cache"}, {"source": "store"}


class KeyRing:
    """Creates, opens and destroys data keys.

    A row is `{_id: key id, wrapped, epoch}`, of a destroyed key `{_id, wrapped: null, destroyed_at}`. Only privacy destroys.

    Args:
        store: the `keyring` database, on the same client as the caller's own, so that transactions may span both.
        provider: keeps the slot keys.
        cache_seconds: how long an opened key may stay in memory at most.
        cache_keys_max: how many opened keys stay in memory at most.
    """

    def __init__(self, store: Store, provider: KeyProvider, cache_seconds: float = CACHE_SECONDS, cache_keys_max: int = CACHE_KEYS_MAX) -> None:
        self.store = store
        self.provider = provider
        self._cache = KeyCache(cache_seconds, cache_keys_max)
        self._sweep: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Creates what is not there yet and checks that the keyring was written under this key provider. Idempotent.

        Raises:
            KeyringMismatch: it belongs to another installation's keys.
            KeyStoreUnavailable: the database cannot be reached.
        """
        try:
            await migrate(self.store, KEYRING_MIGRATIONS)
            self._check_installation(await self._floor() or await self._first_floor())
        except TransientStorageError as error:
            raise KeyStoreUnavailable from error

    def draft(self, key_ids: Iterable[UUID]) -> dict[UUID, KeyDraft]:
        """New keys, to seal with before the transaction begins; they exist once `insert` is committed. Repeated ids get one key."""
        return draft_keys(key_ids, self.provider.table)

    async def insert(self, drafts: Iterable[KeyDraft], transaction: Transaction) -> None:
        """Stores drafted keys within the caller's transaction, wrapped again if their slots were rotated meanwhile.

        Raises:
            DuplicateKey: one of the ids is taken, also by a destroyed key; the transaction is void.
            KeyStoreUnavailable: this process cannot see the newest slot keys yet.
            KeyringMismatch: `start` was not called, or the keyring is another installation's.
        """
        # Reading the floor in this transaction is what lets a rotation know which transactions may still hold an older slot table.
        floor = await self._floor(transaction)
        self._check_installation(floor)
        table = self.provider.table
        if floor is not None and floor["number"] > table.number:
            table = await self._newer_table(floor["number"])
        await self.store.collection(KEYS).insert_many([draft.row(table) for draft in drafts], transaction=transaction)

    async def create(self, key_ids: Sequence[UUID], transaction: Transaction) -> dict[UUID, DataKey]:
        """`draft` and `insert` in one, for callers that seal within their transaction. Raises as `insert` does."""
        drafts = self.draft(key_ids)
        await self.insert(drafts.values(), transaction)
        return {key_id: draft.key for key_id, draft in drafts.items()}

    async def open(self, key_ids: Iterable[UUID]) -> dict[UUID, DataKey | None]:
        """The keys of all these ids; None for a destroyed one, which its reader skips and counts as suppressed.

        Raises:
            KeyMissing: an id has no row, or a row that no slot key opens: stop, data would be lost.
            KeyStoreUnavailable: database or provider is away: wait.
        """
        if self._cache.expire():
            # Also rids this process's memory of slot keys that a rotation destroyed.
            await self.provider.refresh()
        evictions = self._cache.evictions
        wanted = {key_id.bytes: key_id for key_id in key_ids}
        known, unknown = self._cache.split(wanted)
        KEYS_OPENED.add(len(known), _FROM_CACHE)
        if unknown:
            KEYS_OPENED.add(len(unknown), _FROM_STORE)
            opened = await self._open_rows(unknown)
            self._cache.put(opened, evictions)
            known |= opened
            self._schedule_sweep()
        return {key_id: None if (raw := known[raw_id]) is None else DataKey(raw) for raw_id, key_id in wanted.items()}

    async def taken(self, key_ids: Iterable[UUID], transaction: Transaction) -> dict[UUID, bool]:
        """Which of these ids have a row, as the transaction sees it: True for a living key, False for a destroyed one."""
        rows = await self.store.collection(KEYS).find_by_ids((key_id.bytes for key_id in key_ids), transaction=transaction)
        return {UUID(bytes=raw_id): row["wrapped"] is not None for raw_id, row in rows.items()}

    async def destroy(self, key_ids: Iterable[UUID], transaction: Transaction | None = None) -> int:
        """Nulls these keys for good; ids without a row get a destroyed one, so that no late writer can create it. Returns how many were living.

        Final against a copy of the database only once their slots are rotated. Tell every process to `evict`.
        """
        keys, raw_ids = self.store.collection(KEYS), {key_id.bytes for key_id in key_ids}
        rows = await keys.find_by_ids(raw_ids, transaction=transaction)
        living = {raw_id for raw_id, row in rows.items() if row["wrapped"] is not None}
        change = {"$set": {"wrapped": None, "destroyed_at": datetime.now(UTC)}, "$unset": {"epoch": ""}}
        due = sorted(living | (raw_ids - rows.keys()))
        await keys.bulk([UpdateOne({"_id": raw_id}, change, upsert=True) for raw_id in due], transaction=transaction)
        self._cache.evict(raw_ids)
        return len(living)

    def evict(self, key_ids: Iterable[UUID]) -> None:
        """Forgets these keys in this process at once."""
        self._cache.evict(key_id.bytes for key_id in key_ids)

    def _schedule_sweep(self) -> None:
        """Lets the cache run out by itself when nobody opens keys any more."""
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._cache.half_seconds, self._sweep_cache)

    def _sweep_cache(self) -> None:
        self._sweep = None
        self._cache.expire()
        if self._cache:
            self._schedule_sweep()

    async def _open_rows(self, raw_ids: list[bytes]) -> Opened:
        opened, closed = self._unwrap_all(await self._rows(raw_ids))
        if closed:
            # A rotation may have ended between reading the row and opening it: take the newest slot keys and the newest rows, then decide.
            await self.provider.refresh()
            again, closed = self._unwrap_all(await self._rows(closed))
            opened |= again
        if closed:
            raise KeyMissing(f"{len(closed)} keys of the keyring are opened by no slot key, the first {UUID(bytes=closed[0])}")
        return opened

    async def _rows(self, raw_ids: list[bytes]) -> list[Row]:
        try:
            rows = await self.store.collection(KEYS).find_by_ids(raw_ids)
        except TransientStorageError as error:
            raise KeyStoreUnavailable from error
        missing = [raw_id for raw_id in raw_ids if raw_id not in rows]
        if missing:
            raise KeyMissing(f"{len(missing)} keys have no row in the keyring, the first {UUID(bytes=missing[0])}")
        return list(rows.values())

    def _unwrap_all(self, rows: list[Row]) -> tuple[Opened, list[bytes]]:
        """The keys that open (None: destroyed), and the ids of those that do not with the slot keys at hand."""
        opened: Opened = {}
        closed: list[bytes] = []
        table = self.provider.table
        for row in rows:
            if row["wrapped"] is None:
                opened[row["_id"]] = None
            elif (raw := unwrap(row, table)) is not None:
                opened[row["_id"]] = raw
            else:
                closed.append(row["_id"])
        return opened, closed

    async def _floor(self, transaction: Transaction | None = None) -> Row | None:
        return await self.store.collection(FLOOR).find_one({"_id": FLOOR_ID}, transaction=transaction)

    async def _first_floor(self) -> Row | None:
        floor = {"_id": FLOOR_ID, "number": 0, "installation": self.provider.installation.bytes}
        try:
            await self.store.collection(FLOOR).insert_one(floor)
        except DuplicateKey:  # another process was as fast, perhaps one with other keys
            return await self._floor()
        return floor

    def _check_installation(self, floor: Row | None) -> None:
        if floor is None:
            raise KeyringMismatch("the keyring is not prepared: call start() first")
        if floor["installation"] != self.provider.installation.bytes:
            raise KeyringMismatch("the keyring was written under other keys than those of this key provider: restore the key file that belongs to it")

    async def _newer_table(self, number: int) -> SlotTable:
        await self.provider.refresh()
        if self.provider.table.number < number:
            raise KeyStoreUnavailable(f"slot keys of rotation {number} are not visible here yet")
        return self.provider.table
