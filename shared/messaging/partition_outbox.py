"""The outbox of one partition: stored by its transactions, published by its owner in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.failpoints import failpoint, mutant
from shared.messaging.broker import Broker
from shared.messaging.outbox import OUTBOX, Message, documents, messages_of
from shared.storage import Store, Transaction, TransientError

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
        rows = documents(f"{self._id}:{sequence:015d}", {**self._members, "at": datetime.now(UTC)}, messages)
        await self._rows.insert_many(rows, transaction=transaction)
        self._stored = ([row["_id"] for row in rows], messages)

    def forget(self) -> None:
        """What is remembered may not be what was committed: read it from the database."""
        self._stored, self.leftovers = ([], ()), True

    async def relay(self, epoch: int) -> None:
        """Publishes what was committed and deletes it once every in-sync replica has it. Call it only after the commit.

        Raises:
            TransientError: not all was published; call again.
        """
        if self.leftovers:
            await self._relay_leftovers(epoch)
        (ids, messages), self._stored = self._stored, ([], ())
        if not ids:
            return
        try:
            await self._publish(ids, messages, epoch)
        except TransientError:
            self.leftovers = True
            raise

    async def _relay_leftovers(self, epoch: int) -> None:
        self._stored = ([], ())  # it is among the leftovers
        mine = {"_id": {"$gte": f"{self._id}:", "$lt": f"{self._id};"}}
        while rows := await self._rows.find(mine, sort=[("_id", 1)], limit=_LEFTOVER_DOCUMENTS_MAX):
            for row in rows:
                await self._publish([row["_id"]], messages_of(row), epoch)
        self.leftovers = False

    async def _publish(self, ids: list[str], messages: Sequence[Message], epoch: int) -> None:
        failpoint("worker.after_commit_before_relay")
        if mutant("outbox_deleted_early"):
            await self._rows.delete_many({"_id": {"$in": ids}})
            failpoint("worker.after_outbox_delete_before_publish")
        await self._broker.publish_messages(messages, epoch)
        failpoint("worker.after_publish_before_outbox_delete")
        await self._rows.delete_many({"_id": {"$in": ids}})
        failpoint("worker.after_outbox_delete_before_hint")
