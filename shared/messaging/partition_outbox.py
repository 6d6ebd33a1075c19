"""The outbox of one partition: stored by its transactions, published by its owner in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.failpoints import failpoint, mutant
from shared.messaging.broker import Broker
from shared.messaging.outbox import OUTBOX, Message, documents, messages_of
from shared.storage import Collection, Document, Store, Transaction, TransientError

_LEFTOVER_DOCUMENTS_MAX = 16


class PartitionOutbox:
    """Leftovers of a crash or a failed send go first; what was just committed is published from memory, without reading it back.

    Attributes:
        leftovers: documents may be there that this process does not hold in memory.
    """

    def __init__(self, store: Store, broker: Broker, partition_id: str, members: Mapping[str, Any]) -> None:
        self._rows, self._broker = store.collection(OUTBOX), broker
        self._id, self._members = partition_id, members
        self._stored: tuple[list[str], Sequence[Message]] = ([], ())
        self.leftovers = True

    async def store(self, messages: Sequence[Message], sequence: int, transaction: Transaction) -> None:
        """Stores what the transaction with this sequence number leads to; a later try of it replaces what is remembered."""
        await self._rows.insert_many(self.documents(messages, sequence), transaction=transaction)

    def documents(self, messages: Sequence[Message], sequence: int) -> list[Document]:
        """As `store`, for a caller that inserts the documents in the same transaction itself."""
        rows = documents(f"{self._id}:{sequence:015d}", {**self._members, "at": datetime.now(UTC)}, messages)
        self._stored = ([row["_id"] for row in rows], messages)
        return rows

    def forget(self) -> None:
        """What is remembered may not be what was committed: read it from the database."""
        self._stored, self.leftovers = ([], ()), True

    async def relay(self, epoch: int) -> None:
        """Publishes what was committed and deletes it once every in-sync replica has it. Call it only after the commit.

        Raises:
            TransientError: not all was published; call again.
        """
        ids, messages = await self.take(epoch)
        if not ids:
            return
        try:
            await publish(self._rows, self._broker, ids, messages)
        except TransientError:
            self.leftovers = True
            raise

    async def take(self, epoch: int) -> tuple[list[str], list[Message]]:
        """Publishes leftovers, then hands over what was just committed: the caller publishes it, and calls `forget` if that fails."""
        if self.leftovers:
            await self._relay_leftovers(epoch)
        (ids, messages), self._stored = self._stored, ([], ())
        return ids, _stamped(messages, epoch)

    async def _relay_leftovers(self, epoch: int) -> None:
        self._stored = ([], ())  # it is among the leftovers
        mine = {"_id": {"$gte": f"{self._id}:", "$lt": f"{self._id};"}}
        while rows := await self._rows.find(mine, sort=[("_id", 1)], limit=_LEFTOVER_DOCUMENTS_MAX):
            for row in rows:
                await publish(self._rows, self._broker, [row["_id"]], _stamped(messages_of(row), epoch))
        self.leftovers = False


async def publish(rows: Collection, broker: Broker, ids: Sequence[str], messages: Sequence[Message]) -> None:
    """Publishes the messages of these outbox documents, then deletes the documents."""
    failpoint("worker.after_commit_before_relay")
    if mutant("outbox_deleted_early"):
        await rows.delete_many({"_id": {"$in": list(ids)}})
        failpoint("worker.after_outbox_delete_before_publish")
    await broker.publish_messages(messages)
    failpoint("worker.after_publish_before_outbox_delete")
    await rows.delete_many({"_id": {"$in": list(ids)}})
    failpoint("worker.after_outbox_delete_before_hint")


def _stamped(messages: Sequence[Message], epoch: int) -> list[Message]:
    """With the owner's epoch under which the outbox was read, as a header: a lower one after a higher one is a zombie's."""
    stamp = ("kehu_epoch", b"%d" % epoch)
    return [Message(each.topic, each.key, each.value, [*each.headers, stamp]) for each in messages]
