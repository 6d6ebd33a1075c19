"""One partition in the hands of its owner: the fence, and transactions that admit one owner and one sequence number."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from shared.failpoints import failpoint, mutant
from shared.messaging.carrying_out import CarryingOut
from shared.messaging.deciding import Decoded, Sorted
from shared.messaging.outbox import Message
from shared.messaging.partition_outbox import PartitionOutbox
from shared.messaging.positions import OFFSETS, Position
from shared.messaging.record import RawRecord, decode
from shared.messaging.share_limit import Share
from shared.messaging.work import Work
from shared.storage import Session, Transaction, TransientError
from shared.telemetry import metrics

T = TypeVar("T")


class PositionMoved(TransientError):
    """The stored row is not what this owner remembers: read it again, then decide."""


class Overtaken(TransientError):
    """Another process fenced this owner out, or somebody set the position back: fence again."""


class PartitionOwner:
    """All methods must be called one at a time. After a TransientError nothing is lost: `refresh`, then do it again."""

    def __init__(self, work: Work, partition: int) -> None:
        self._work, self.partition = work, partition
        self._id = f"{work.group}:{work.topic.name}:{partition:05d}"
        self._of_partition = {"group": work.group, "topic": work.topic.name, "partition": partition}
        self._offsets = work.store.collection(OFFSETS)
        self.outbox = PartitionOutbox(work.store, work.broker, self._id, self._of_partition)
        self._carrying_out = CarryingOut(work, partition)
        self._session: Session | None = None
        self.position = Position(0, 0, 0)
        self.last_timestamp_ms = 0
        self.last_progress = datetime.now(UTC)

    async def fence(self, joined: Session, log_start: Callable[[], Awaitable[int]]) -> None:
        """Ends the former owner's open transactions, raises the epoch, and takes the stored position.

        A process killed inside a transaction leaves it open on the server, and everything it wrote conflicts until it is ended.

        Args:
            joined: the session in which this process writes several partitions at once.
            log_start: asked for the first position when there is none yet.
        """
        failpoint("worker.assignment_before_fence")
        sessions = [(await self._own_session()).id, joined.id]
        row = await self._offsets.find_one({"_id": self._id})
        if row is None:
            row = {"next": await log_start(), "sequence": 0, "epoch": 0}
        await self._work.store.kill_sessions([each for each in row.get("sessions", ()) if each not in sessions])
        share = Share.of(await self._take(row, sessions))
        if share.bad:
            share = share.forgiving(await self._carrying_out.count_dead_letters())
        self._work.share.put(self.partition, share)
        self.outbox.forget()
        await self._carrying_out.look_for_dead_letters()
        failpoint("worker.assignment_after_fence_before_seek")

    async def refresh(self) -> None:
        """Reads the row again after trouble. Raises Overtaken if the partition has to be fenced again."""
        row = await self._offsets.find_one({"_id": self._id})
        if row is None or row["epoch"] != self.position.epoch or row["next"] < self.position.next:
            raise Overtaken
        if row["sequence"] != self.position.sequence:
            self.outbox.forget()  # a commit of unknown result did happen
            self._work.share.put(self.partition, Share.of(row))
        self.position = Position(row["next"], row["sequence"], row["epoch"])

    async def apply(self, records: Sequence[RawRecord]) -> int:
        """Commits what the records not consumed yet lead to: effects, outbox and position, or nothing. Returns how many they were."""
        todo = self.not_consumed(records)
        if not todo:
            return 0
        decoded: Decoded = [(raw, decode(raw, self._work.decoder)) for raw in todo]
        after = self.position.after(todo[-1].offset + 1)
        failpoint("worker.fetched_before_transaction")

        async def work(transaction: Transaction) -> Sorted:
            # First of all, so that a zombie and its successor meet here and not after the work.
            await self._advance(after, transaction, len(todo))
            failpoint("worker.after_first_write")
            result, messages = await self._carrying_out.batch(decoded, transaction)
            await self._correct_share(result, transaction)
            await self.outbox.store(messages, after.sequence, transaction)
            failpoint("worker.before_commit")
            return result

        result = await self._committed(work, after)
        self.last_timestamp_ms = todo[-1].timestamp
        self._count(result)
        return len(todo)

    def not_consumed(self, records: Sequence[RawRecord]) -> Sequence[RawRecord]:
        """Those at or behind the stored position."""
        return records if mutant("no_offset_check") else [raw for raw in records if raw.offset >= self.position.next]

    @property
    def wants_care(self) -> bool:
        """Whether records of this partition may have to be parked, so that it cannot join others in a transaction."""
        return self._work.topic.park_keys and self._carrying_out.has_dead_letters

    def step_to(self, after: Position, good: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
        """The compare-and-set that admits one transaction per sequence number and owner, as filter and update; with it go `good` records."""
        expected: dict[str, Any] = {"_id": self._id}
        if not mutant("no_offset_check"):
            before = self.position
            expected |= {"epoch": before.epoch, "sequence": before.sequence, "next": before.next}
        return expected, {"$set": {"next": after.next, "sequence": after.sequence, "share": self._share_after(good, 0)}}

    def took(self, after: Position, records: Sequence[RawRecord]) -> None:
        """A transaction with others committed these records, all of them good, and the step."""
        self.position, self.last_progress = after, datetime.now(UTC)
        self.last_timestamp_ms = records[-1].timestamp
        self._work.share.put(self.partition, self._share_after(len(records), 0))
        self._count_outcome("applied", len(records))

    async def mark_pass(self) -> bool:
        """Work that no record causes, fenced like a batch. Returns whether there was any: `idle` gave effects, be they empty."""
        idle, after = self._work.idle, self.position.after()
        if idle is None:
            return False

        async def work(transaction: Transaction) -> bool:
            effects = await idle(self.partition, transaction)
            if effects is None:
                return False
            await self._advance(after, transaction)
            messages = await self._carrying_out.effects(effects, transaction)
            await self.outbox.store(messages, after.sequence, transaction)
            failpoint("worker.mark_pass_before_commit")
            return True

        return await self._committed(work, after)

    async def redrive(self) -> bool:
        """Sends redriven records through the handler again, in order. Returns whether there were any."""
        letters = await self._carrying_out.due_for_redrive() if self._carrying_out.has_dead_letters else []
        if not letters:
            return False
        decoded: Decoded = [(letter, decode(letter, self._work.decoder)) for letter in letters]
        after = self.position.after()

        async def work(transaction: Transaction) -> bool:
            await self._advance(after, transaction)
            messages = await self._carrying_out.redriven(letters, decoded, transaction)
            await self.outbox.store(messages, after.sequence, transaction)
            failpoint("worker.redrive_before_commit")
            return True

        return await self._committed(work, after)

    @property
    def has_leftovers(self) -> bool:
        """Whether outbox documents may wait that no batch will publish."""
        return self.outbox.leftovers

    async def relay(self) -> None:
        """Publishes what was committed; see `PartitionOutbox.relay`."""
        await self.outbox.relay(self.position.epoch)

    async def end(self) -> None:
        """Gives the session back."""
        self._work.share.forget(self.partition)
        if self._session is not None:
            await self._session.end()
            self._session = None

    async def _committed(self, work: Callable[[Transaction], Awaitable[T]], after: Position) -> T:
        """Runs `work` in one transaction and steps to `after`, unless it answers False: then nothing was written."""
        try:
            result = await (await self._own_session()).run_once(work)
        except BaseException:
            self.outbox.forget()  # what it remembers was not committed, or nobody knows
            raise
        if result is not False:
            self.position, self.last_progress = after, datetime.now(UTC)
        return result

    async def take_outgoing(self) -> tuple[list[str], list[Message]]:
        """What the last transaction wants published; see `PartitionOutbox.take`."""
        return await self.outbox.take(self.position.epoch)

    async def _take(self, row: dict[str, Any], sessions: Sequence[Any]) -> dict[str, Any]:
        epoch = row["epoch"] + 1
        ours = {**self._of_partition, "epoch": epoch, "sessions": list(sessions)}
        first = {"next": row["next"], "sequence": row["sequence"]}
        known = {"_id": self._id, "epoch": row["epoch"]} if row["epoch"] else {"_id": self._id, "epoch": {"$exists": False}}
        # Of two first owners the slower meets DuplicateKey, which its caller treats as any other race.
        taken = await self._offsets.find_one_and_update(known, {"$set": ours, "$setOnInsert": first}, upsert=not row["epoch"])
        if taken is None:
            raise PositionMoved
        self.position = Position(taken["next"], taken["sequence"], epoch)
        return taken

    async def _own_session(self) -> Session:
        if self._session is None:
            self._session = await self._work.store.session()
        return self._session

    async def _advance(self, after: Position, transaction: Transaction, good: int = 0) -> None:
        if not await self._offsets.update_one(*self.step_to(after, good), transaction=transaction):
            raise PositionMoved

    async def _correct_share(self, result: Sorted, transaction: Transaction) -> None:
        """The step was taken before anybody knew which records are bad."""
        if result.dead or result.parked:
            share = self._share_after(len(result.good) + len(result.dead), len(result.dead))
            await self._offsets.update_one({"_id": self._id}, {"$set": {"share": share}}, transaction=transaction)

    def _share_after(self, records: int, bad: int) -> Share:
        return self._work.share.of(self.partition).after(records, bad)

    def _count(self, result: Sorted) -> None:
        self._work.share.put(self.partition, self._share_after(len(result.good) + len(result.dead), len(result.dead)))
        outcomes = {"applied": len(result.good), "rejected": len(result.dead), "parked": len(result.parked)}
        for outcome, count in outcomes.items():
            self._count_outcome(outcome, count)

    def _count_outcome(self, outcome: str, count: int) -> None:
        if count:
            metrics.RECORDS.add(count, {"topic": self._work.topic.name, "group": self._work.group, "outcome": outcome})


def lag_seconds(owner: PartitionOwner, lag_records: int) -> float:
    """Age of the last consumed record while there is lag, in seconds."""
    if not lag_records or not owner.last_timestamp_ms:
        return 0.0
    return max(0.0, time.time() - owner.last_timestamp_ms / 1000)
