"""Erases a customer once everything accepted before the request has been resolved.

First the customer, its aliases, signatures and identifiers go at once, so that whoever comes later with the same identifiers is somebody new;
then its source records, a chunk per transaction, each with the event that tells the other holders and the receipt with the keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from math import ceil
from uuid import UUID

from services.dedup.ports import Erasure, Erasures, MoveLogs
from services.dedup.use_cases.find_set_aside import FindSetAside
from services.dedup.use_cases.finish_moves import FinishMoves
from shared.contracts import ids
from shared.contracts.dedup import TOPIC, SubmissionsErased
from shared.contracts.event import Outgoing
from shared.contracts.privacy import RECEIPTS_TOPIC, UNREADABLE_DEAD_LETTERS, ErasureReceipt
from shared.contracts.topics import SUBMISSIONS
from shared.failpoints import failpoint
from shared.messaging import OutboxRelay, consumed_positions, enqueue
from shared.storage import Store, Transaction, TransientError
from shared.telemetry import metrics

CHUNK_SUBMISSIONS_MAX = 2_000
PAUSE_SECONDS = 1.0


class EraseCustomer:
    """Carries out noted erasures; every step is stored with what it did, so any process may go on after any crash.

    Several processes may carry out the same one, and a transaction runs again when its answer was lost. So each step
    reads in its own transaction how far the erasure is, and does nothing if it was done already: a step done twice
    would tell others of submissions under a part that they know, and their keys would never be destroyed.
    """

    def __init__(
        self,
        store: Store,
        erasures: Erasures,
        logs: MoveLogs,
        finish_moves: FinishMoves,
        find_set_aside: FindSetAside,
        relay: OutboxRelay,
        clock: Callable[[], datetime],
    ) -> None:
        self._store, self._erasures, self._logs = store, erasures, logs
        self._finish_moves, self._find_set_aside = finish_moves, find_set_aside
        self._relay, self._clock = relay, clock

    async def run(self) -> None:
        """Works until cancelled; waits out what may heal."""
        while True:
            try:
                await self.carry_out()
            except TransientError:
                metrics.RETRIES.add(1, {"what": "dedup.erasure"})
            await asyncio.sleep(PAUSE_SECONDS)

    async def carry_out(self) -> int:
        """Carries out every erasure that is due. Returns how many were completed."""
        due = await self._erasures.due(await consumed_positions(self._store, "dedup", SUBMISSIONS))
        for erasure in due:
            await self._carry_out(erasure)
        return len(due)

    async def _carry_out(self, erasure: Erasure) -> None:
        while erasure.state == "waiting":
            # Parts still due would tell others of submissions that are no more.
            holder = await self._erasures.holder_of(erasure.customer)
            await self._finish_moves.finish([holder, *await self._erasures.aliases_of(holder)])
            erasure = await self._begin(erasure)
        failpoint("dedup.erasure_begun")
        while erasure.state == "erasing":
            erasure = await self._erase_part(erasure)
            failpoint("dedup.after_erasure_part")
            self._relay.wake()
        metrics.ERASURES.add(1, {"step": "dedup.erased"})

    async def _begin(self, erasure: Erasure) -> Erasure:
        async def begin(transaction: Transaction) -> Erasure:
            stored = await self._erasures.stored(erasure.request_id, transaction)
            if stored.state != "waiting":
                return stored
            holder = await self._erasures.holder_of(erasure.customer, transaction)
            aliases = await self._erasures.aliases_of(holder, transaction)
            if await self._logs.open_log(transaction, [holder, *aliases]):
                return stored
            found = await self._find_set_aside(holder, transaction)
            founders, identifiers = await self._erasures.forget_customer(holder, aliases, transaction)
            if found.theirs:
                await self._erasures.attach(found.theirs, holder, founders[0], transaction)
            # Counted, not added up: a dead letter may have been resolved after all, and privacy waits until this many keys are named.
            submissions = await self._erasures.count_submissions(founders, transaction)
            parts = max(1, ceil(submissions / CHUNK_SUBMISSIONS_MAX))
            begun = replace(
                stored,
                state="erasing",
                holder=holder,
                aliases=aliases,
                founders=founders,
                parts=parts,
                submissions=submissions,
                identifiers=identifiers,
                dead_letters=len(found.theirs),
                unreadable=found.unreadable,
            )
            await self._erasures.save(begun, stored, transaction)
            failpoint("dedup.before_erasure_begun")
            return begun

        return await self._store.transaction(begin)

    async def _erase_part(self, erasure: Erasure) -> Erasure:
        async def erase(transaction: Transaction) -> Erasure:
            stored = await self._erasures.stored(erasure.request_id, transaction)
            if (stored.state, stored.part) != (erasure.state, erasure.part):
                return stored
            gone = await self._erasures.forget_submissions(stored.founders, CHUNK_SUBMISSIONS_MAX, transaction)
            last = stored.part >= stored.parts
            after = replace(stored, part=stored.part + 1, state="done" if last else "erasing", founders=() if last else stored.founders)
            await self._erasures.save(after, stored, transaction)
            await enqueue(transaction, self._store, self._events(stored, gone))
            failpoint("dedup.before_erasure_part")
            return after

        return await self._store.transaction(erase)

    def _events(self, erasure: Erasure, gone: Sequence[UUID]) -> list[Outgoing]:
        holder = erasure.holder or erasure.customer
        request, part, parts, at = erasure.request_id, erasure.part, erasure.parts, self._clock()
        erased = SubmissionsErased(
            request_id=request, customer_id=holder, alias_ids=erasure.aliases, submission_ids=tuple(gone), part=part, parts=parts
        )
        counts = {"source_records": len(gone)}
        if part == 1:
            counts |= {"identifiers": erasure.identifiers, "entities": 1 + len(erasure.aliases)}
            counts |= {name: count for name, count in _set_aside(erasure).items() if count}
        receipt = ErasureReceipt(
            request_id=request,
            holder="dedup",
            stage="erased",
            counts=counts,
            key_ids=tuple(gone),
            key_ids_in_all=erasure.submissions,
            part=part,
            parts=parts,
        )
        return [
            Outgoing(TOPIC, holder.bytes, ids.event_id(request, f"dedup-submissions-erased:{part}"), erased, at),
            Outgoing(RECEIPTS_TOPIC, request.bytes, ids.event_id(request, f"dedup-receipt:{part}"), receipt, at),
        ]


def _set_aside(erasure: Erasure) -> dict[str, int]:
    """Of the source records, how many had been dead letters; and those that may be anybody's, since nobody can read them."""
    return {"dead_letters": erasure.dead_letters, UNREADABLE_DEAD_LETTERS: erasure.unreadable}
