"""Batches of several partitions in one transaction, so that its fixed cost is paid once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.failpoints import failpoint
from shared.messaging.carrying_out import written
from shared.messaging.outbox import OUTBOX, Message
from shared.messaging.partition import PartitionOwner, PositionMoved
from shared.messaging.partition_outbox import publish
from shared.messaging.partitioner import partition_of
from shared.messaging.positions import OFFSETS, Position
from shared.messaging.record import Batch, RawRecord, Record, decode
from shared.messaging.work import Work
from shared.storage import Document, Session, Transaction, TransientError, UpdateOne


class Unjoined(TransientError):
    """Something in these batches wants the care that only one partition at a time gets. Nothing was changed."""


@dataclass(slots=True)
class _Part:
    """One partition's share."""

    owner: PartitionOwner
    raw: Sequence[RawRecord]
    after: Position
    messages: list[Message] = field(default_factory=list)


class JoinedBatches:
    """The fair-weather path of a worker: everything decodes, nothing is rejected, nothing comes twice, nobody else interferes.

    In any other weather it raises a TransientError or DuplicateKey, and the caller takes the partitions one by one: whether the transaction was
    committed or not, `PartitionOwner` finds its way from the stored position.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._offsets, self._outbox = work.store.collection(OFFSETS), work.store.collection(OUTBOX)
        self._session: Session | None = None
        self._making = asyncio.Lock()

    async def session(self) -> Session:
        """The session of these transactions; each partition's row names it, so that a successor can end what a killed process left open."""
        async with self._making:  # partitions are fenced at once, and their rows must all name the one that is used
            if self._session is None:
                self._session = await self._work.store.session()
            return self._session

    async def apply(self, batches: Sequence[tuple[PartitionOwner, Sequence[RawRecord]]]) -> int:
        """Commits and publishes what the records not consumed yet lead to. Returns how many they were."""
        todo = [(owner, rest) for owner, records in batches if (rest := owner.not_consumed(records))]
        if not todo:
            return 0
        parts = [_Part(owner, raw, owner.position.after(raw[-1].offset + 1)) for owner, raw in todo]
        try:
            await self._commit(parts)
            await self._relay(parts)
        except BaseException:
            for part in parts:
                part.owner.outbox.forget()  # what it remembers was not committed or not published, or nobody knows
            raise
        return sum(len(part.raw) for part in parts)

    async def _commit(self, parts: Sequence[_Part]) -> None:
        records = [_decoded(raw, self._work) for part in parts for raw in part.raw]
        batch = Batch(self._work.topic.name, frozenset(part.owner.partition for part in parts), records, assume_new=True)
        failpoint("worker.fetched_before_transaction")

        async def work(transaction: Transaction) -> None:
            await self._advance(parts, transaction)
            failpoint("worker.after_first_write")
            effects = await self._work.handle(batch, transaction)
            if effects.rejections:
                raise Unjoined
            failpoint("worker.after_handler_before_writes")
            self._share_out(await written(self._work.store, effects, transaction), parts)
            rows: list[Document] = [row for part in parts for row in part.owner.outbox.documents(part.messages, part.after.sequence)]
            await self._outbox.insert_many(rows, transaction=transaction)
            failpoint("worker.before_commit")

        await (await self.session()).run_once(work)
        for part in parts:
            part.owner.took(part.after, part.raw)

    async def _advance(self, parts: Sequence[_Part], transaction: Transaction) -> None:
        """First of all, so that a zombie and its successor meet here and not after the work."""
        steps = [UpdateOne(*part.owner.step_to(part.after, len(part.raw))) for part in parts]
        if await self._offsets.bulk(steps, transaction=transaction) != len(parts):
            raise PositionMoved

    def _share_out(self, messages: Sequence[Message], parts: Sequence[_Part]) -> None:
        """Each key's messages go through the outbox of the key's own partition, so that they stay behind what that one published before."""
        by_partition = {part.owner.partition: part for part in parts}
        for part in parts:
            part.messages = []
        for message in messages:
            own = partition_of(message.key, self._work.topic.partitions) if message.key else parts[0].owner.partition
            by_partition.get(own, parts[0]).messages.append(message)

    async def _relay(self, parts: Sequence[_Part]) -> None:
        taken = [await part.owner.take_outgoing() for part in parts]
        ids = [one for ids, _ in taken for one in ids]
        if ids:
            await publish(self._outbox, self._work.broker, ids, [one for _, messages in taken for one in messages])

    async def end(self) -> None:
        """Gives the session back."""
        if self._session is not None:
            await self._session.end()
            self._session = None


def _decoded(raw: RawRecord, work: Work) -> Record:
    record = decode(raw, work.decoder)
    if isinstance(record, str):
        raise Unjoined
    return record
