"""Records set aside: kept whole, with a reason code and no preview, until somebody redrives or discards them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self
from uuid import UUID

from shared.contracts.dedup import SubmissionsErased
from shared.contracts.event import KEY_ID
from shared.contracts.topics import DEAD_LETTERS, TOPICS, Topic
from shared.messaging.outbox import Message
from shared.messaging.record import RawRecord, Record
from shared.storage import Document, Store, Transaction, UpdateOne

COLLECTION = "dead_letters"
ACTS = "dead_letter_acts"
PARKED = "parked_behind_dead_letter"

State = Literal["dead", "parked", "redrive"]
_PARKING_TOPICS = frozenset(topic.name for topic in TOPICS if topic.park_keys)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was set aside, sealed as it came. Usable wherever a raw record is.

    Attributes:
        id: `group:topic:partition:offset`, offset padded so that ids sort in order.
        reason: stable code; `parked_behind_dead_letter` for a good record that waits behind a bad one of its key.
        state: `dead` (bad), `parked` (waits), `redrive` (goes through the handler again within a second).
        attempts: how often it was rejected.
    """

    id: str
    group: str
    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp: int
    reason: str
    state: State
    attempts: int
    at: datetime

    @classmethod
    def of(cls, document: Document) -> Self:
        """From its stored form."""
        members = {name: value for name, value in document.items() if name not in {"_id", "headers"}}
        return cls(id=document["_id"], headers=[(name, value) for name, value in document["headers"]], **members)


def dead_letter_id(group: str, topic: str, partition: int, offset: int) -> str:
    """Identity of a set-aside record; a repeat meets the same row."""
    return f"{group}:{topic}:{partition:05d}:{offset:020d}"


def set_aside(group: str, topic: str, partition: int, raw: RawRecord, reason: str, state: State) -> UpdateOne:
    """Stores the record, or notes another rejection of one that is stored already."""
    kept = {
        "group": group,
        "topic": topic,
        "partition": partition,
        "offset": raw.offset,
        "key": raw.key or b"",
        "value": raw.value,
        "headers": [[name, value] for name, value in raw.headers],
        "timestamp": raw.timestamp,
        "at": datetime.now(UTC),
    }
    changes: dict[str, Any] = {"$setOnInsert": kept, "$set": {"reason": reason, "state": state}, "$inc": {"attempts": int(state == "dead")}}
    return UpdateOne({"_id": dead_letter_id(group, topic, partition, raw.offset)}, changes, upsert=True)


def announcement(group: str, topic: str, partition: int, raw: RawRecord, reason: str) -> Message:
    """The record as it appears on the dead-letter topic: original bytes and headers, with reason and coordinates beside them."""
    coordinates = [
        ("dead_letter_id", dead_letter_id(group, topic, partition, raw.offset).encode()),
        ("dead_letter_reason", reason.encode()),
        ("dead_letter_group", group.encode()),
        ("dead_letter_topic", topic.encode()),
        ("dead_letter_partition", b"%d" % partition),
        ("dead_letter_offset", b"%d" % raw.offset),
    ]
    return Message(DEAD_LETTERS.name, raw.key, raw.value, [*coordinates, *raw.headers])


class DeadLetters:
    """What an operator does with set-aside records, each act written down with who did it. The caller checks rights."""

    def __init__(self, store: Store) -> None:
        self._rows, self._acts = store.collection(COLLECTION), store.collection(ACTS)

    async def count(self) -> dict[str, int]:
        """How many records are in each state."""
        return {each["_id"]: each["n"] for each in await self._rows.aggregate([{"$group": {"_id": "$state", "n": {"$sum": 1}}}])}

    async def list(self, *, state: State | None = None, limit: int = 100) -> Sequence[DeadLetter]:
        """The oldest records first."""
        found = await self._rows.find({} if state is None else {"state": state}, sort=[("_id", 1)], limit=limit)
        return [DeadLetter.of(each) for each in found]

    async def show(self, dead_letter: str) -> DeadLetter | None:
        """One record, its value as sealed as it came."""
        found = await self._rows.find_one({"_id": dead_letter})
        return None if found is None else DeadLetter.of(found)

    async def redrive(self, dead_letter: str, by: str = "operator") -> int:
        """Sends the record, and what is parked behind its key, through the handler again, in order. Returns how many.

        Idempotent. The owner of the partition takes them within a second; what is rejected again is dead again.
        """
        found = await self.show(dead_letter)
        if found is None:
            return 0
        await self._note("redrive", found, by)
        return await self._rows.update_many(_with_followers(found), {"$set": {"state": "redrive"}})

    async def discard(self, dead_letter: str, by: str = "operator") -> bool:
        """Deletes the record for good; what was parked behind it is redriven. Returns whether it was there."""
        found = await self.show(dead_letter)
        if found is None:
            return False
        await self._note("discard", found, by)
        await self._rows.delete_one({"_id": dead_letter})
        if found.topic in _PARKING_TOPICS:
            await self._release(found)
        return True

    async def _note(self, act: str, found: DeadLetter, by: str) -> None:
        """Before the act, so that none is done unseen. Coordinates only."""
        await self._acts.insert_one({"at": datetime.now(UTC), "by": by, "act": act, "dead_letter": found.id, "reason": found.reason})

    async def of_topic(self, topic: Topic, after: str, limit: int, transaction: Transaction) -> Sequence[DeadLetter]:
        """What was set aside from one topic, as the transaction sees it: a page behind the dead letter `after`, in order of ids."""
        wanted = {"_id": {"$gt": after}, "topic": topic.name}
        return [DeadLetter.of(each) for each in await self._rows.find(wanted, sort=[("_id", 1)], limit=limit, transaction=transaction)]

    async def delete(self, dead_letters: Iterable[str], transaction: Transaction) -> None:
        """Deletes these records for good. Nothing that is parked behind one goes on."""
        await self._rows.delete_many({"_id": {"$in": list(dead_letters)}}, transaction=transaction)

    async def forget_erased(self, records: Iterable[Record], transaction: Transaction) -> dict[UUID, int]:
        """Deletes what the erasures among these records reach. Returns how many went, by the id of the erasing event.

        Reached is what the erased submissions' keys seal, and what only names the erased customers. A record that lies behind a
        customer's key but holds another's submission stays. Nothing is redriven.
        """
        erasures = [(each.event_id, each.event) for each in records if isinstance(each.event, SubmissionsErased)]
        gone = {event_id: await self._rows.delete_many(_reached_by(event), transaction=transaction) for event_id, event in erasures}
        await self.release_unblocked([each.key for each in records if isinstance(each.event, SubmissionsErased)], transaction)
        return gone

    async def release_unblocked(self, keys: Iterable[bytes], transaction: Transaction) -> None:
        """Redrives what is parked behind these keys and no longer waits for anything: a key without a dead letter must not stay blocked."""
        wanted = {"key": {"$in": list(keys)}}
        if not wanted["key"]["$in"]:
            return
        held = await self._rows.find(wanted, projection=["group", "topic", "partition", "key", "state"], transaction=transaction)
        waiting = {_lane(each) for each in held if each["state"] != "parked"}
        free = [each["_id"] for each in held if each["state"] == "parked" and _lane(each) not in waiting]
        await self._rows.update_many({"_id": {"$in": free}}, {"$set": {"state": "redrive"}}, transaction=transaction)

    async def _release(self, discarded: DeadLetter) -> None:
        """What waited only for the discarded record goes on."""
        rows = await self._rows.find(_with_followers(discarded), sort=[("offset", 1)], limit=1)
        if rows and rows[0]["state"] == "parked":
            await self._rows.update_many(_with_followers(discarded), {"$set": {"state": "redrive"}})


def _with_followers(found: DeadLetter) -> dict[str, Any]:
    if found.topic not in _PARKING_TOPICS:
        return {"_id": found.id}
    return {"group": found.group, "topic": found.topic, "partition": found.partition, "key": found.key}


def _lane(row: Document) -> tuple[Any, ...]:
    """What a record waits in: its key within its partition."""
    return row["group"], row["topic"], row["partition"], row["key"]


def _reached_by(event: SubmissionsErased) -> dict[str, Any]:
    sealed = [[KEY_ID, str(each).encode()] for each in event.submission_ids]
    customers = [each.bytes for each in (event.customer_id, *event.alias_ids)]
    without_body = {"$not": {"$elemMatch": {"$elemMatch": {"$eq": KEY_ID}}}}
    return {"$or": [{"headers": {"$in": sealed}}, {"key": {"$in": customers}, "headers": without_body}]}
