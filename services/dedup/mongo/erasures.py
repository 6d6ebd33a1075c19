"""What erasure reads and writes on MongoDB. Rows of erased submissions and customers stay, empty, so that nothing recreates them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from services.dedup.mongo.documents import ENTITIES, ERASURES, IDENTIFIERS, SIGNATURES, SOURCE_RECORDS, Document, record_attached
from services.dedup.ports import Erasure, SetAsideRecord
from shared.contracts.intake import SubmissionAccepted
from shared.contracts.submission import Submission
from shared.contracts.topics import SUBMISSIONS
from shared.messaging import DeadLetters
from shared.storage import Store, Transaction, TransientStorageError, UpdateOne

_accepted = msgspec.json.Decoder(SubmissionAccepted)
_FORGOTTEN = dict.fromkeys(("customer", "assignment", "signature", "matched", "at", "envelope", "sealed"), "")


class MongoErasures:
    """`ports.Erasures` on MongoDB."""

    def __init__(self, store: Store) -> None:
        self._erasures, self._entities = store.collection(ERASURES), store.collection(ENTITIES)
        self._signatures, self._identifiers = store.collection(SIGNATURES), store.collection(IDENTIFIERS)
        self._records, self._letters = store.collection(SOURCE_RECORDS), DeadLetters(store)

    async def due(self, positions: dict[int, int]) -> Sequence[Erasure]:
        """See the port."""
        noted = [_erasure_of(row) for row in await self._erasures.find({"state": {"$in": ["waiting", "erasing"]}})]
        return [
            each
            for each in noted
            if each.state == "erasing" or all(positions.get(partition, 0) >= offset for partition, offset in each.offsets.items())
        ]

    async def stored(self, request_id: UUID, transaction: Transaction) -> Erasure:
        """See the port."""
        row = await self._erasures.find_one({"_id": request_id.bytes}, transaction=transaction)
        if row is None:
            raise LookupError("an erasure was begun that nobody noted")
        return _erasure_of(row)

    async def holder_of(self, customer: UUID, transaction: Transaction | None = None) -> UUID:
        """See the port. An id that nobody ever had stands for itself."""
        row = await self._entities.find_one({"_id": customer.bytes}, projection=["merged_into"], transaction=transaction)
        if row is None or row.get("merged_into") is None:
            return customer
        return await self.holder_of(UUID(bytes=row["merged_into"]), transaction)

    async def aliases_of(self, customer: UUID, transaction: Transaction | None = None) -> tuple[UUID, ...]:
        """See the port."""
        found: list[bytes] = []
        frontier = [customer.bytes]
        while frontier:
            wanted = {"state": "alias", "merged_into": {"$in": frontier}}
            frontier = [row["_id"] for row in await self._entities.find(wanted, projection=["_id"], transaction=transaction)]
            found += frontier
        return tuple(UUID(bytes=each) for each in sorted(found))

    async def set_aside(self, after: str, limit: int, transaction: Transaction) -> Sequence[SetAsideRecord]:
        """See the port."""
        letters = await self._letters.of_topic(SUBMISSIONS, after, limit, transaction)
        return [SetAsideRecord(each.id, _submission_in(each.value)) for each in letters]

    async def attach(self, records: Sequence[SetAsideRecord], holder: UUID, founder: UUID, transaction: Transaction) -> None:
        """See the port."""
        rows = [record_attached(each.submission.submission_id, holder, founder) for each in records if each.submission is not None]
        await self._records.bulk(rows, transaction=transaction)
        await self._letters.delete((each.letter for each in records), transaction)

    async def forget_customer(self, holder: UUID, aliases: Collection[UUID], transaction: Transaction) -> tuple[tuple[UUID, ...], int]:
        """See the port."""
        signatures = await self._signatures.find({"customer": holder.bytes}, projection=["tokens", "founder"], transaction=transaction)
        await self._signatures.delete_many({"customer": holder.bytes}, transaction=transaction)
        identifiers = await self._forget_identifiers({token for row in signatures for token in row["tokens"]}, transaction)
        gone = {"$set": {"state": "erased", "submissions": 0}, "$unset": {"founded_by": ""}, "$inc": {"decisions": 1}}
        # An alias keeps where it leads, so that a later request for it still finds the customer erased.
        everybody = [each.bytes for each in (holder, *aliases)]
        await self._entities.update_many({"_id": {"$in": everybody}}, gone, transaction=transaction)
        return tuple(UUID(bytes=each) for each in sorted(row["founder"] for row in signatures)), identifiers

    async def count_submissions(self, founders: Collection[UUID], transaction: Transaction) -> int:
        """See the port."""
        return await self._records.count(_left_of(founders), transaction=transaction)

    async def _forget_identifiers(self, tokens: Collection[bytes], transaction: Transaction) -> int:
        borne = await self._signatures.find({"tokens": {"$in": list(tokens)}}, projection=["tokens"], transaction=transaction)
        orphans = set(tokens) - {token for row in borne for token in row["tokens"]}
        return await self._identifiers.delete_many({"_id": {"$in": list(orphans)}}, transaction=transaction)

    async def forget_submissions(self, founders: Collection[UUID], limit: int, transaction: Transaction) -> Sequence[UUID]:
        """See the port."""
        rows = await self._records.find(_left_of(founders), projection=["_id"], sort=[("_id", 1)], limit=limit, transaction=transaction)
        gone = [row["_id"] for row in rows]
        await self._records.update_many(
            {"_id": {"$in": gone}}, {"$set": {"state": "erased", "erased": True}, "$unset": _FORGOTTEN}, transaction=transaction
        )
        return [UUID(bytes=each) for each in gone]

    async def save(self, erasure: Erasure, before: Erasure, transaction: Transaction) -> None:
        """See the port."""
        change: Document = {
            "state": erasure.state,
            "holder": erasure.holder.bytes if erasure.holder else None,
            "aliases": [each.bytes for each in erasure.aliases],
            "founders": [each.bytes for each in erasure.founders],
            "part": erasure.part,
            "parts": erasure.parts,
            "submissions": erasure.submissions,
            "identifiers": erasure.identifiers,
            "dead_letters": erasure.dead_letters,
            "unreadable": erasure.unreadable,
        }
        expected = {"_id": erasure.request_id.bytes, "state": before.state, "part": before.part}
        if not await self._erasures.update_one(expected, {"$set": change}, transaction=transaction):
            raise TransientStorageError("the erasure went on meanwhile")


def erasure_noted(request_id: UUID, customer: UUID, offsets: Mapping[str, int]) -> UpdateOne:
    """A request waits for its barrier; a repeat changes nothing."""
    first = {"customer": customer.bytes, "offsets": dict(offsets), "state": "waiting", "part": 1}
    return UpdateOne({"_id": request_id.bytes}, {"$setOnInsert": first}, upsert=True)


def _left_of(founders: Collection[UUID]) -> Document:
    return {"signature": {"$in": [each.bytes for each in founders]}, "state": "resolved"}


def _erasure_of(row: Mapping[str, Any]) -> Erasure:
    return Erasure(
        UUID(bytes=row["_id"]),
        UUID(bytes=row["customer"]),
        {int(partition): offset for partition, offset in row["offsets"].items()},
        row["state"],
        UUID(bytes=row["holder"]) if row.get("holder") else None,
        tuple(UUID(bytes=each) for each in row.get("aliases", ())),
        tuple(UUID(bytes=each) for each in row.get("founders", ())),
        row["part"],
        row.get("parts", 0),
        row.get("submissions", 0),
        row.get("identifiers", 0),
        row.get("dead_letters", 0),
        row.get("unreadable", 0),
    )


def _submission_in(value: bytes | None) -> Submission | None:
    try:
        return _accepted.decode(value or b"").submission
    except msgspec.DecodeError:
        return None
