"""One partition in the hands of its owner: the fence, the batch's transaction, and the relay of its outbox."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from shared.contracts.event import Decoder
from shared.contracts.topics import Topic
from shared.failpoints import failpoint, mutant
from shared.messaging import dead_letters
from shared.messaging.broker import Broker
from shared.messaging.dead_letters import DeadLetter
from shared.messaging.deciding import Decoded, Sorted, decide
from shared.messaging.effects import Effects
from shared.messaging.outbox import OUTBOX, Message, documents, messages_of, to_message
from shared.messaging.positions import OFFSETS
from shared.messaging.record import Handler, Idle, RawRecord, decode
from shared.messaging.share_limit import ShareLimit
from shared.storage import DeleteOne, Session, Store, Transaction, TransientError
from shared.telemetry import current_traceparent

REDRIVE_RECORDS_MAX = 500
_LEFTOVER_DOCUMENTS_MAX = 16


class PositionMoved(TransientError):
    """The stored row is not what this owner remembers: read it again, then decide."""


class Overtaken(TransientError):
    """Another process fenced this owner out."""


@dataclass(frozen=True, slots=True)
class Position:
    """What the partition's row says.

    Attributes:
        next: offset of the first record that is not consumed.
        sequence: rises with every transaction of the partition, mark passes included, so that each conflicts with a zombie's.
        epoch: rises with every fence.
    """

    next: int
    sequence: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker does with every partition it owns."""

    group: str
    topic: Topic
    store: Store
    broker: Broker
    handle: Handler
    idle: Idle | None
    share: ShareLimit
    decoder: Decoder


class PartitionOwner:
    """All methods must be called one at a time. TransientError: nothing is lost, `refresh`, then do it again."""

    def __init__(self, work: Work, partition: int) -> None:
        self._work, self.partition = work, partition
        self._id = f"{work.group}:{work.topic.name}:{partition:05d}"
        self._offsets = work.store.collection(OFFSETS)
        self._outbox = work.store.collection(OUTBOX)
        self._dead_letters = work.store.collection(dead_letters.COLLECTION)
        self._of_partition = {"group": work.group, "topic": work.topic.name, "partition": partition}
        self._session: Session | None = None
        self._pending: tuple[Sequence[str], list[Message]] | None = None
        self.position = Position(0, 0, 0)
        self.leftovers = True
        self.has_dead_letters = True
        self.last_timestamp_ms = 0
        self.last_progress = datetime.now(UTC)

    async def fence(self, log_start: Callable[[], Awaitable[int]]) -> int:
        """Ends the former owner's open transaction, raises the epoch, and returns the offset to go on from.

        A process killed inside a transaction leaves it open on the server, and everything it wrote conflicts until it is ended.
        """
        failpoint("worker.assignment_before_fence")
        session = await self._own_session()
        row = await self._offsets.find_one({"_id": self._id})
        if row is None:
            row = {"next": await log_start(), "sequence": 0, "epoch": 0}
        elif row["session"] != session.id:
            await self._work.store.kill_sessions([row["session"]])
        await self._take(row, session)
        self.leftovers, self._pending = True, None
        self.has_dead_letters = await self._dead_letters.find_one(self._of_partition, projection=["_id"]) is not None
        failpoint("worker.assignment_after_fence_before_seek")
        return self.position.next

    async def _take(self, row: dict[str, Any], session: Session) -> None:
        epoch = row["epoch"] + 1
        ours = {**self._of_partition, "epoch": epoch, "session": session.id}
        first = {"next": row["next"], "sequence": row["sequence"]}
        known = {"_id": self._id, "epoch": row["epoch"]} if row["epoch"] else {"_id": self._id, "epoch": {"$exists": False}}
        # A DuplicateKey of two first owners is transient like any other race: the loser reads the row and goes on.
        taken = await self._offsets.find_one_and_update(known, {"$set": ours, "$setOnInsert": first}, upsert=not row["epoch"])
        if taken is None:
            raise PositionMoved
        self.position = Position(taken["next"], taken["sequence"], epoch)

    async def refresh(self) -> None:
        """Reads the row again after trouble. Raises Overtaken if somebody else owns the partition now."""
        row = await self._offsets.find_one({"_id": self._id})
        if row is None or row["epoch"] != self.position.epoch:
            raise Overtaken
        if row["next"] < self.position.next:
            raise Overtaken  # set back on purpose: seek to it
        if row["sequence"] != self.position.sequence:
            self.leftovers, self._pending = True, None  # a commit of unknown result did happen
        self.position = Position(row["next"], row["sequence"], row["epoch"])

    async def apply(self, records: Sequence[RawRecord]) -> int:
        """Commits what the records not consumed yet lead to: effects, outbox and position, or nothing. Returns how many they were."""
        todo = records if mutant("no_offset_check") else [raw for raw in records if raw.offset >= self.position.next]
        if not todo:
            return 0
        decoder = self._work.decoder
        decoded: Decoded = [(raw, decode(raw, decoder)) for raw in todo]
        after = replace(self.position, next=todo[-1].offset + 1, sequence=self.position.sequence + 1)
        failpoint("worker.fetched_before_transaction")

        async def work(transaction: Transaction) -> tuple[Sorted, list[Message]]:
            # First of all, so that a zombie and its successor meet here and not after the work.
            await self._advance(after, transaction)
            failpoint("worker.after_first_write")
            return await self._carry_out(decoded, after, transaction)

        result, messages = await (await self._own_session()).run_once(work)
        self._work.share.count(len(result.good) + len(result.dead), len(result.dead))
        self._committed(after, messages)
        self.last_timestamp_ms = todo[-1].timestamp
        return len(todo)

    async def _carry_out(self, decoded: Decoded, after: Position, transaction: Transaction) -> tuple[Sorted, list[Message]]:
        work = self._work
        blocked = await self._blocked_keys(decoded, transaction)
        effects, result = await decide(work.handle, (work.topic.name, self.partition), decoded, blocked, transaction, park=work.topic.park_keys)
        work.share.check(len(result.good) + len(result.dead), len(result.dead))
        failpoint("worker.after_handler_before_writes")
        await self._write(effects, transaction)
        await self._set_aside(result, transaction)
        messages = _messages(effects)
        messages += [dead_letters.announcement(work.group, work.topic.name, self.partition, raw, reason) for raw, reason in result.dead]
        await self._store_outbox(messages, after, transaction)
        failpoint("worker.before_commit")
        return result, messages

    async def mark_pass(self) -> bool:
        """Work that no record causes, fenced like a batch. Returns whether there was any: `idle` gave effects, be they empty."""
        idle = self._work.idle
        if idle is None:
            return False
        after = replace(self.position, sequence=self.position.sequence + 1)

        async def work(transaction: Transaction) -> list[Message] | None:
            effects = await idle(self.partition, transaction)
            if effects is None:
                return None
            await self._advance(after, transaction)
            await self._write(effects, transaction)
            messages = _messages(effects)
            await self._store_outbox(messages, after, transaction)
            failpoint("worker.mark_pass_before_commit")
            return messages

        messages = await (await self._own_session()).run_once(work)
        if messages is not None:
            self._committed(after, messages)
        return messages is not None

    async def redrive(self) -> bool:
        """Sends redriven records through the handler again, in order. Returns whether there were any."""
        rows = await self._dead_letters.find({**self._of_partition, "state": "redrive"}, sort=[("_id", 1)], limit=REDRIVE_RECORDS_MAX)
        if not rows:
            self.has_dead_letters = await self._dead_letters.find_one(self._of_partition, projection=["_id"]) is not None
            return False
        letters = await self._with_parked(rows)
        decoded: Decoded = [(letter, decode(letter, self._work.decoder)) for letter in letters]
        after = replace(self.position, sequence=self.position.sequence + 1)

        async def work(transaction: Transaction) -> list[Message]:
            await self._advance(after, transaction)
            messages = await self._redrive_all(letters, decoded, after, transaction)
            failpoint("worker.redrive_before_commit")
            return messages

        self._committed(after, await (await self._own_session()).run_once(work))
        return True

    async def _with_parked(self, rows: Sequence[dict[str, Any]]) -> list[DeadLetter]:
        """With what was parked behind the same keys since the redrive was asked for, and nothing that overtakes a row left out by the limit."""
        if not self._work.topic.park_keys:
            return [DeadLetter.of(row) for row in rows]
        keys = sorted({row["key"] for row in rows})
        query = {**self._of_partition, "key": {"$in": keys}, "state": {"$in": ["redrive", "parked"]}}
        return [DeadLetter.of(row) for row in await self._dead_letters.find(query, sort=[("_id", 1)], limit=REDRIVE_RECORDS_MAX)]

    async def _redrive_all(self, letters: Sequence[DeadLetter], decoded: Decoded, after: Position, transaction: Transaction) -> list[Message]:
        work = self._work
        effects, result = await decide(work.handle, (work.topic.name, self.partition), decoded, frozenset(), transaction, park=work.topic.park_keys)
        await self._write(effects, transaction)
        bad = {raw.offset for raw, _ in result.dead} | {raw.offset for raw in result.parked}
        await self._dead_letters.bulk([DeleteOne({"_id": each.id}) for each in letters if each.offset not in bad], transaction=transaction)
        await self._set_aside(result, transaction)
        messages = _messages(effects)
        await self._store_outbox(messages, after, transaction)
        return messages

    async def relay(self) -> None:
        """Publishes what was committed, leftovers first, and forgets it once every in-sync replica has it."""
        if self.leftovers:
            await self._relay_leftovers()
        if self._pending is None:
            return
        ids, messages = self._pending
        self._pending = None
        try:
            await self._publish(ids, messages)
        except TransientError:
            self.leftovers = True
            raise

    async def end(self) -> None:
        """Gives the session back."""
        if self._session is not None:
            await self._session.end()
            self._session = None

    async def _relay_leftovers(self) -> None:
        self._pending = None  # it is among the leftovers
        while rows := await self._outbox.find(
            {"_id": {"$gte": f"{self._id}:", "$lt": f"{self._id};"}}, sort=[("_id", 1)], limit=_LEFTOVER_DOCUMENTS_MAX
        ):
            for row in rows:
                await self._publish([row["_id"]], messages_of(row))
        self.leftovers = False

    async def _publish(self, ids: Sequence[str], messages: Sequence[Message]) -> None:
        failpoint("worker.after_commit_before_relay")
        if mutant("outbox_deleted_early"):
            await self._outbox.delete_many({"_id": {"$in": list(ids)}})
            failpoint("worker.after_outbox_delete_before_publish")
        await self._work.broker.publish_messages(messages, self.position.epoch)
        failpoint("worker.after_publish_before_outbox_delete")
        await self._outbox.delete_many({"_id": {"$in": list(ids)}})
        failpoint("worker.after_outbox_delete_before_hint")

    async def _own_session(self) -> Session:
        if self._session is None:
            self._session = await self._work.store.session()
        return self._session

    async def _advance(self, after: Position, transaction: Transaction) -> None:
        """The compare-and-set that admits one transaction per sequence number and owner."""
        expected: dict[str, Any] = {"_id": self._id}
        if not mutant("no_offset_check"):
            before = self.position
            expected |= {"epoch": before.epoch, "sequence": before.sequence, "next": before.next}
        changes = {"$set": {"next": after.next, "sequence": after.sequence}}
        if not await self._offsets.update_one(expected, changes, transaction=transaction):
            raise PositionMoved

    async def _blocked_keys(self, decoded: Decoded, transaction: Transaction) -> frozenset[bytes]:
        if not (self._work.topic.park_keys and self.has_dead_letters):
            return frozenset()
        keys = sorted({raw.key or b"" for raw, _ in decoded})
        query = {**self._of_partition, "key": {"$in": keys}}
        return frozenset(row["key"] for row in await self._dead_letters.find(query, projection=["key"], transaction=transaction))

    async def _write(self, effects: Effects, transaction: Transaction) -> None:
        store = self._work.store
        for (database, collection), operations in effects.writes.items():
            home = store if database is None else store.other(database)
            await home.collection(collection).bulk(operations, transaction=transaction)

    async def _set_aside(self, result: Sorted, transaction: Transaction) -> None:
        coordinates = (self._work.group, self._work.topic.name, self.partition)
        rows = [dead_letters.set_aside(*coordinates, raw, reason, "dead") for raw, reason in result.dead]
        rows += [dead_letters.set_aside(*coordinates, raw, dead_letters.PARKED, "parked") for raw in result.parked]
        await self._dead_letters.bulk(rows, transaction=transaction)
        self.has_dead_letters = self.has_dead_letters or bool(rows)

    async def _store_outbox(self, messages: Sequence[Message], after: Position, transaction: Transaction) -> None:
        members = {**self._of_partition, "at": datetime.now(UTC)}
        await self._outbox.insert_many(documents(self._outbox_id(after), members, messages), transaction=transaction)

    def _outbox_id(self, after: Position) -> str:
        return f"{self._id}:{after.sequence:015d}"

    def _committed(self, after: Position, messages: list[Message]) -> None:
        self.position, self.last_progress = after, datetime.now(UTC)
        if messages:
            ids = [each["_id"] for each in documents(self._outbox_id(after), {}, messages)]
            self._pending = (ids, messages)


def _messages(effects: Effects) -> list[Message]:
    """Encoded once; an event without a trace context of its own gets the batch's."""
    traceparent = current_traceparent()
    return [to_message(each, traceparent) for each in effects.outgoing]


def lag_seconds(owner: PartitionOwner, lag_records: int) -> float:
    """Age of the last consumed record while there is lag, in seconds."""
    if not lag_records or not owner.last_timestamp_ms:
        return 0.0
    return max(0.0, time.time() - owner.last_timestamp_ms / 1000)
