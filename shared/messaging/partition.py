"""One partition in the hands of its owner: the fence, and transactions that admit one owner and one sequence number."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from shared.failpoints import failpoint, mutant
from shared.messaging.carrying_out import CarryingOut
from shared.messaging.deciding import Decoded, Sorted
from shared.messaging.partition_outbox import PartitionOutbox
from shared.messaging.positions import OFFSETS
from shared.messaging.record import RawRecord, decode
from shared.messaging.work import Work
from shared.storage import Session, Transaction, TransientError
from shared.telemetry import metrics

T = TypeVar("T")


class PositionMoved(TransientError):
    """The stored row is not what this owner remembers: read it again, then decide."""


class Overtaken(TransientError):
    """Another process fenced this owner out, or somebody set the position back: fence again."""


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

    def after(self, next_offset: int | None = None) -> Position:
        """The position one transaction later; `next` stays if not given."""
        return replace(self, next=self.next if next_offset is None else next_offset, sequence=self.sequence + 1)


class PartitionOwner:
    """All methods must be called one at a time. After a TransientError nothing is lost: `refresh`, then do it again."""

    def __init__(self, work: Work, partition: int) -> None:
        self._work, self.partition = work, partition
        self._id = f"{work.group}:{work.topic.name}:{partition:05d}"
        self._of_partition = {"group": work.group, "topic": work.topic.name, "partition": partition}
        self._offsets = work.store.collection(OFFSETS)
        self._outbox = PartitionOutbox(work.store, work.broker, self._id, self._of_partition)
        self._carrying_out = CarryingOut(work, partition)
        self._session: Session | None = None
        self.position = Position(0, 0, 0)
        self.last_timestamp_ms = 0
        self.last_progress = datetime.now(UTC)

    async def fence(self, log_start: Callable[[], Awaitable[int]]) -> None:
        """Ends the former owner's open transaction, raises the epoch, and takes the stored position; `log_start` counts at first.

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
        self._outbox.forget()
        await self._carrying_out.look_for_dead_letters()
        failpoint("worker.assignment_after_fence_before_seek")

    async def refresh(self) -> None:
        """Reads the row again after trouble. Raises Overtaken if the partition has to be fenced again."""
        row = await self._offsets.find_one({"_id": self._id})
        if row is None or row["epoch"] != self.position.epoch or row["next"] < self.position.next:
            raise Overtaken
        if row["sequence"] != self.position.sequence:
            self._outbox.forget()  # a commit of unknown result did happen
        self.position = Position(row["next"], row["sequence"], row["epoch"])

    async def apply(self, records: Sequence[RawRecord]) -> int:
        """Commits what the records not consumed yet lead to: effects, outbox and position, or nothing. Returns how many they were."""
        todo = records if mutant("no_offset_check") else [raw for raw in records if raw.offset >= self.position.next]
        if not todo:
            return 0
        decoded: Decoded = [(raw, decode(raw, self._work.decoder)) for raw in todo]
        after = self.position.after(todo[-1].offset + 1)
        failpoint("worker.fetched_before_transaction")

        async def work(transaction: Transaction) -> Sorted:
            # First of all, so that a zombie and its successor meet here and not after the work.
            await self._advance(after, transaction)
            failpoint("worker.after_first_write")
            result, messages = await self._carrying_out.batch(decoded, transaction)
            await self._outbox.store(messages, after.sequence, transaction)
            failpoint("worker.before_commit")
            return result

        result = await self._committed(work, after)
        self.last_timestamp_ms = todo[-1].timestamp
        self._count(result)
        return len(todo)

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
            await self._outbox.store(messages, after.sequence, transaction)
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
            await self._outbox.store(messages, after.sequence, transaction)
            failpoint("worker.redrive_before_commit")
            return True

        return await self._committed(work, after)

    @property
    def has_leftovers(self) -> bool:
        """Whether outbox documents may wait that no batch will publish."""
        return self._outbox.leftovers

    async def relay(self) -> None:
        """Publishes what was committed; see `PartitionOutbox.relay`."""
        await self._outbox.relay(self.position.epoch)

    async def end(self) -> None:
        """Gives the session back."""
        if self._session is not None:
            await self._session.end()
            self._session = None

    async def _committed(self, work: Callable[[Transaction], Awaitable[T]], after: Position) -> T:
        """Runs `work` in one transaction and steps to `after`, unless it answers False: then nothing was written."""
        try:
            result = await (await self._own_session()).run_once(work)
        except BaseException:
            self._outbox.forget()  # what it remembers was not committed, or nobody knows
            raise
        if result is not False:
            self.position, self.last_progress = after, datetime.now(UTC)
        return result

    async def _take(self, row: dict[str, Any], session: Session) -> None:
        epoch = row["epoch"] + 1
        ours = {**self._of_partition, "epoch": epoch, "session": session.id}
        first = {"next": row["next"], "sequence": row["sequence"]}
        known = {"_id": self._id, "epoch": row["epoch"]} if row["epoch"] else {"_id": self._id, "epoch": {"$exists": False}}
        # Of two first owners the slower meets DuplicateKey, which its caller treats as any other race.
        taken = await self._offsets.find_one_and_update(known, {"$set": ours, "$setOnInsert": first}, upsert=not row["epoch"])
        if taken is None:
            raise PositionMoved
        self.position = Position(taken["next"], taken["sequence"], epoch)

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

    def _count(self, result: Sorted) -> None:
        self._work.share.count(len(result.good) + len(result.dead), len(result.dead))
        labels = {"topic": self._work.topic.name, "group": self._work.group}
        outcomes = {"applied": len(result.good), "rejected": len(result.dead), "parked": len(result.parked)}
        for outcome, count in outcomes.items():
            if count:
                metrics.RECORDS.add(count, {**labels, "outcome": outcome})


def lag_seconds(owner: PartitionOwner, lag_records: int) -> float:
    """Age of the last consumed record while there is lag, in seconds."""
    if not lag_records or not owner.last_timestamp_ms:
        return 0.0
    return max(0.0, time.time() - owner.last_timestamp_ms / 1000)
