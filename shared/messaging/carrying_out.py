"""Inside the batch's transaction: ask the handler, write its effects, set records aside."""

from __future__ import annotations

from collections.abc import Sequence, Set

from shared.failpoints import failpoint
from shared.messaging import dead_letters
from shared.messaging.dead_letters import DeadLetter
from shared.messaging.deciding import Decoded, Sorted, decide
from shared.messaging.effects import Effects
from shared.messaging.outbox import Message, to_message
from shared.messaging.work import Work
from shared.storage import DeleteOne, Store, Transaction
from shared.telemetry import current_traceparent

REDRIVE_RECORDS_MAX = 500


class CarryingOut:
    """The effects of one partition's batches. Every method but `due_for_redrive` writes only through the transaction it is given."""

    def __init__(self, work: Work, partition: int) -> None:
        self._work, self._partition = work, partition
        self._letters = work.store.collection(dead_letters.COLLECTION)
        self._coordinates = (work.group, work.topic.name, partition)
        self._of_partition = {"group": work.group, "topic": work.topic.name, "partition": partition}
        self.has_dead_letters = True
        """Whether some may be there; without any, nothing is asked of the database for them."""

    async def batch(self, decoded: Decoded, transaction: Transaction) -> tuple[Sorted, list[Message]]:
        """Carries out what records lead to. Returns what became of them and what is to be published."""
        effects, result = await self._decide(decoded, await self._blocked_keys(decoded, transaction), transaction)
        self._work.share.check(len(result.good) + len(result.dead), len(result.dead))
        failpoint("worker.after_handler_before_writes")
        messages = await self.effects(effects, transaction)
        await self._set_aside(result, transaction)
        messages += [dead_letters.announcement(*self._coordinates, raw, reason) for raw, reason in result.dead]
        return result, messages

    async def redriven(self, letters: Sequence[DeadLetter], decoded: Decoded, transaction: Transaction) -> list[Message]:
        """As `batch`, for records that were set aside; those that are good now leave the dead letters. They are not announced again."""
        effects, result = await self._decide(decoded, frozenset(), transaction)
        messages = await self.effects(effects, transaction)
        still = {raw.offset for raw, _ in result.dead} | {raw.offset for raw in result.parked}
        await self._letters.bulk([DeleteOne({"_id": each.id}) for each in letters if each.offset not in still], transaction=transaction)
        await self._set_aside(result, transaction)
        if self._work.topic.park_keys:
            # More may have been parked behind these keys than one pass takes, and since somebody asked for it.
            await dead_letters.DeadLetters(self._work.store).release_unblocked({each.key for each in letters}, transaction)
        return messages

    async def effects(self, effects: Effects, transaction: Transaction) -> list[Message]:
        """See `written`."""
        return await written(self._work.store, effects, transaction)

    async def due_for_redrive(self) -> list[DeadLetter]:
        """Records somebody asked to redrive, and what was parked behind their keys since, in order."""
        query = {**self._of_partition, "state": "redrive"}
        rows = await self._letters.find(query, sort=[("_id", 1)], limit=REDRIVE_RECORDS_MAX)
        if rows and self._work.topic.park_keys:
            keys = sorted({row["key"] for row in rows})
            behind = {**self._of_partition, "key": {"$in": keys}, "state": {"$in": ["redrive", "parked"]}}
            rows = await self._letters.find(behind, sort=[("_id", 1)], limit=REDRIVE_RECORDS_MAX)
        if not rows:
            await self.look_for_dead_letters()
        return [DeadLetter.of(row) for row in rows]

    async def look_for_dead_letters(self) -> None:
        """Brings `has_dead_letters` up to date."""
        self.has_dead_letters = await self._letters.find_one(self._of_partition, projection=["_id"]) is not None

    async def count_dead_letters(self) -> int:
        """Records of this partition that stand set aside, without those that somebody asked to redrive."""
        return await self._letters.count({**self._of_partition, "state": "dead"})

    async def _decide(self, decoded: Decoded, blocked: Set[bytes], transaction: Transaction) -> tuple[Effects, Sorted]:
        work = self._work
        return await decide(work.handle, (work.topic.name, self._partition), decoded, blocked, transaction, park=work.topic.park_keys)

    async def _blocked_keys(self, decoded: Decoded, transaction: Transaction) -> frozenset[bytes]:
        if not (self._work.topic.park_keys and self.has_dead_letters):
            return frozenset()
        keys = sorted({raw.key or b"" for raw, _ in decoded})
        query = {**self._of_partition, "key": {"$in": keys}}
        return frozenset(row["key"] for row in await self._letters.find(query, projection=["key"], transaction=transaction))

    async def _set_aside(self, result: Sorted, transaction: Transaction) -> None:
        rows = [dead_letters.set_aside(*self._coordinates, raw, reason, "dead") for raw, reason in result.dead]
        rows += [dead_letters.set_aside(*self._coordinates, raw, dead_letters.PARKED, "parked") for raw in result.parked]
        await self._letters.bulk(rows, transaction=transaction)
        self.has_dead_letters = self.has_dead_letters or bool(rows)


async def written(store: Store, effects: Effects, transaction: Transaction) -> list[Message]:
    """Writes the documents; returns what is to be published, encoded once. An event without a trace context gets the batch's."""
    for (database, collection), operations in effects.writes.items():
        home = store if database is None else store.other(database)
        await home.collection(collection).bulk(operations, transaction=transaction)
    traceparent = current_traceparent()
    return [to_message(each, traceparent) for each in effects.outgoing]
