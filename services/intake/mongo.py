"""The ledger in MongoDB: row, data key, sealed body and outbox in one transaction.

Documents:
    ledger      {_id: submission id, state, digest, channel, received_at, batch}; `batch` names the documents of `outbox` and `bodies`.
    bodies      {_id: batch, expires_at, published_at, sealed: {submission id as hex: bytes}}; one per transaction, so that seven days
                of bodies cost one document and one expiry for many submissions. Stored when the batch leaves the outbox, where the
                bodies lie until then.
    quarantine  {_id: submission id, channel, received_at, expires_at, reasons, fields, sealed}.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from services.intake.events import accepted_event, quarantined_event
from services.intake.migrations import BODIES, LEDGER, OUTBOX, QUARANTINE
from services.intake.ports import Entry, LedgerRow, Verdict
from shared.contracts.event import Outgoing
from shared.contracts.intake import SubmissionAccepted
from shared.contracts.submission import BODY_VERSION
from shared.failpoints import failpoint
from shared.messaging import enqueue, messages_of
from shared.sealing import DataKey, KeyRing, body_aad
from shared.storage import Document, DuplicateKey, Store, Transaction

BODY_KEPT = timedelta(days=7)
"""As long as the topic keeps its records; afterwards the body lives in dedup's source record."""
RETRY_SECONDS = 3.0
"""Then the sender is told to come again: whoever shares the write waits as long."""
_RACES_MAX = 20
_decode_accepted = msgspec.json.Decoder(SubmissionAccepted).decode
_ROW = {"state": 1, "digest": 1}
_ERASED: dict[str, Any] = {"state": "erased", "digest": b""}
"""What a destroyed key without a row stands for: whoever was erased stays erased."""


class MongoLedger:
    """`Ledger` on MongoDB.

    Args:
        store: intake's database; an `OutboxRelay` must have been made for it.
        body_kept: how long a sealed body stays here.
    """

    def __init__(self, store: Store, keyring: KeyRing, body_kept: timedelta = BODY_KEPT) -> None:
        self._store, self._keyring, self._body_kept = store, keyring, body_kept
        self._assume_new = True
        """Whether the last write met no repeat. Then the next looks none up: a taken id shows in the insert, which costs one more try."""

    async def write(self, entries: Sequence[Entry]) -> list[Verdict]:
        """See `Ledger.write`. Two processes may race for one id: the loser's transaction is void and is run again on fresh reads."""
        sealed, raced, assume_new = _Sealed(self._keyring, entries), False, self._assume_new

        async def work(transaction: Transaction) -> list[Verdict]:
            return await self._write(entries, sealed, transaction, raced=raced, assume_new=assume_new)

        for attempt in range(_RACES_MAX):
            try:
                verdicts = await self._store.transaction(work, retry_seconds=RETRY_SECONDS)
            except DuplicateKey:
                raced, assume_new = not assume_new, False
                await asyncio.sleep(random.uniform(0, 0.002) * attempt)  # noqa: S311 - jitter
            else:
                failpoint("intake.after_commit_before_answer")
                self._assume_new = not {"duplicate", "conflict"} & set(verdicts)
                return verdicts
        raise DuplicateKey("a submission id stays taken, whatever is read")

    async def _write(self, entries: Sequence[Entry], sealed: _Sealed, transaction: Transaction, *, raced: bool, assume_new: bool) -> list[Verdict]:
        ledger, ids = self._store.collection(LEDGER), {entry.submission_id.bytes for entry in entries}
        rows = {} if assume_new else await ledger.find_by_ids(ids, projection=_ROW, transaction=transaction)
        # Row and key are written together, so a key without a row is no race: the ledger was restored from a copy older than the key ring's.
        taken = await self._keyring.taken((UUID(bytes=each) for each in ids - rows.keys()), transaction) if raced else {}
        rows |= {key_id.bytes: _ERASED for key_id, living in taken.items() if not living}
        verdicts, fresh, corrected = _judge(entries, rows)
        if not fresh and not corrected:
            return verdicts
        keyless = [entry for entry in fresh if entry.submission_id not in taken]
        with_key = [*(entry for entry in fresh if entry.submission_id in taken), *corrected]
        inserting = asyncio.create_task(self._keyring.insert([sealed.draft(entry) for entry in keyless], transaction))
        await asyncio.sleep(0)  # it has asked the server, and what it asked for is sealed while the server works
        try:
            bodies = await sealed.bytes_of(keyless, with_key)
        finally:
            await inserting
        failpoint("intake.after_keys_before_ledger")
        await self._insert(fresh, corrected, bodies, transaction)
        failpoint("intake.before_commit")
        return verdicts

    async def _insert(self, fresh: Sequence[Entry], corrected: Sequence[Entry], sealed: dict[UUID, bytes], transaction: Transaction) -> None:
        accepted = [entry for entry in (*fresh, *corrected) if entry.checked is not None]
        set_aside = [entry for entry in fresh if entry.checked is None]
        ledger, quarantine = self._store.collection(LEDGER), self._store.collection(QUARANTINE)
        batch = (await enqueue(transaction, self._store, self._events(accepted, set_aside, sealed)))[0]
        await ledger.insert_many([_row(entry, batch) for entry in fresh], transaction=transaction)
        for entry in corrected:
            await ledger.update_one({"_id": entry.submission_id.bytes}, {"$set": _row(entry, batch)}, transaction=transaction)
            await quarantine.delete_one({"_id": entry.submission_id.bytes}, transaction=transaction)
        await quarantine.insert_many([self._set_aside(entry, sealed[entry.submission_id]) for entry in set_aside], transaction=transaction)

    def _events(self, accepted: Sequence[Entry], set_aside: Sequence[Entry], sealed: dict[UUID, bytes]) -> list[Outgoing]:
        return [accepted_event(entry, sealed[entry.submission_id]) for entry in accepted] + [quarantined_event(entry) for entry in set_aside]

    def _set_aside(self, entry: Entry, sealed: bytes) -> dict[str, Any]:
        return {
            "_id": entry.submission_id.bytes,
            "channel": entry.channel.id,
            "received_at": entry.received_at,
            "expires_at": entry.received_at + self._body_kept,
            "reasons": [finding.code for finding in entry.findings],
            "fields": [finding.place for finding in entry.findings],
            "sealed": sealed,
        }

    async def find(self, submission_id: UUID) -> LedgerRow | None:
        """See `Ledger.find`."""
        row = await self._store.collection(LEDGER).find_one({"_id": submission_id.bytes})
        if row is None:
            return None
        if row["state"] == "quarantined":
            document = await self._store.collection(QUARANTINE).find_one({"_id": submission_id.bytes})
            return _ledger_row(row, reasons=document)
        bodies = await self._store.collection(BODIES).find_one({"_id": row["batch"]}, projection={"published_at": 1})
        waiting = await self._store.collection(OUTBOX).find_one({"_id": row["batch"]}, projection={"_id": 1})
        return _ledger_row(row, bodies=bodies, published=waiting is None)

    async def quarantined(self, channel_id: str | None, limit: int) -> list[LedgerRow]:
        """See `Ledger.quarantined`."""
        wanted = {} if channel_id is None else {"channel": channel_id}
        found = await self._store.collection(QUARANTINE).find(wanted, projection={"sealed": 0}, sort=[("received_at", -1)], limit=limit)
        return [_ledger_row({**document, "state": "quarantined"}, reasons=document) for document in found]

    async def keep_bodies(self, published: Sequence[Document]) -> None:
        """Keeps the sealed bodies of outbox documents that Kafka has acknowledged and that are about to go. A repeat changes nothing.

        Until then a body lies in the outbox; to store it twice before the sender is answered would only make the sender wait.
        """
        now = datetime.now(UTC)
        rows = [{"_id": each["_id"], "published_at": now, "expires_at": now + self._body_kept, "sealed": _bodies_in(each)} for each in published]
        with contextlib.suppress(DuplicateKey):
            await self._store.collection(BODIES).insert_many(rows)


class _Sealed:
    """Seals each new entry once, however often the transaction is run again."""

    def __init__(self, keyring: KeyRing, entries: Sequence[Entry]) -> None:
        self._keyring = keyring
        self._drafts = keyring.draft(entry.submission_id for entry in entries)
        self._bytes: dict[UUID, bytes] = {}

    def draft(self, entry: Entry) -> Any:
        """The drafted key of a new submission."""
        return self._drafts[entry.submission_id]

    async def bytes_of(self, keyless: Sequence[Entry], with_key: Sequence[Entry]) -> dict[UUID, bytes]:
        """Sealed bodies, by their drafted keys; those that have a key already, such as a corrected entry, keep it."""
        for entry in keyless:
            if entry.submission_id not in self._bytes:
                self._bytes[entry.submission_id] = _seal(self._drafts[entry.submission_id].key, entry)
        keys = await self._keyring.open(entry.submission_id for entry in with_key) if with_key else {}
        again = {entry.submission_id: _seal(key, entry) for entry in with_key if (key := keys[entry.submission_id]) is not None}
        return self._bytes | again


def _bodies_in(outbox_document: Document) -> dict[str, bytes]:
    accepted = [each.value for each in messages_of(outbox_document) if each.topic == SubmissionAccepted.topic and each.value is not None]
    submissions = [_decode_accepted(value).submission for value in accepted]
    return {each.submission_id.hex: each.sealed for each in submissions}


def _seal(key: DataKey, entry: Entry) -> bytes:
    return key.seal(entry.plain, body_aad(entry.submission_id, BODY_VERSION))


def _judge(entries: Sequence[Entry], rows: dict[bytes, dict[str, Any]]) -> tuple[list[Verdict], list[Entry], list[Entry]]:
    """Verdicts in order, entries new to the ledger, and entries that correct a quarantined one. The first of equal ids wins."""
    verdicts: list[Verdict] = []
    fresh: list[Entry] = []
    corrected: list[Entry] = []
    known = {raw_id: (row["state"], row["digest"]) for raw_id, row in rows.items()}
    for entry in entries:
        raw_id, new = entry.submission_id.bytes, "quarantined" if entry.checked is None else "accepted"
        state, digest = known.get(raw_id, ("", b""))
        if not state or (state == "quarantined" and new == "accepted" and raw_id in rows):
            (corrected if state else fresh).append(entry)
            known[raw_id] = (new, entry.digest)
            verdicts.append("accepted" if new == "accepted" else "quarantined")
        else:
            verdicts.append("duplicate" if state == "erased" or digest == entry.digest else "conflict")
    return verdicts, fresh, corrected


def _row(entry: Entry, batch: str) -> dict[str, Any]:
    return {
        "_id": entry.submission_id.bytes,
        "state": "quarantined" if entry.checked is None else "accepted",
        "digest": entry.digest,
        "channel": entry.channel.id,
        "received_at": entry.received_at,
        "batch": batch,
    }


def _ledger_row(
    row: dict[str, Any], *, bodies: dict[str, Any] | None = None, published: bool = False, reasons: dict[str, Any] | None = None
) -> LedgerRow:
    return LedgerRow(
        submission_id=UUID(bytes=row["_id"]),
        state=row["state"],
        channel_id=row["channel"],
        received_at=row["received_at"],
        published_at=bodies.get("published_at") if bodies else None,
        published=published,
        erased_at=row.get("erased_at"),
        reasons=tuple(reasons["reasons"]) if reasons else (),
        fields=tuple(reasons["fields"]) if reasons else (),
    )
