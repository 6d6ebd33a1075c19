"""Publishes the parts of large moves, a chunk per transaction."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from uuid import UUID

from services.dedup.ports import Identities, MoveLogs
from services.dedup.use_cases.moves import next_part
from shared.failpoints import failpoint
from shared.messaging import OutboxRelay, enqueue
from shared.storage import Store, Transaction, TransientError

PAUSE_SECONDS = 2.0


class FinishMoves:
    """Goes on with open logs, whoever opened them, from the part at which they stand.

    Readers are right meanwhile: where a submission belongs is decided at once; only the events that tell the others come in parts.
    """

    def __init__(self, store: Store, identities: Identities, logs: MoveLogs, relay: OutboxRelay) -> None:
        self._store, self._identities, self._logs, self._relay = store, identities, logs, relay

    async def run(self) -> None:
        """Works until cancelled; waits out what may heal."""
        while True:
            with contextlib.suppress(TransientError):
                await self.finish()
            await asyncio.sleep(PAUSE_SECONDS)

    async def finish(self, touching: Collection[UUID] | None = None) -> int:
        """Publishes all parts that are due, of logs that touch one of these customers if they are given. Returns how many parts."""

        async def one_part(transaction: Transaction) -> bool:
            return await self._publish_part(transaction, touching)

        parts = 0
        while await self._store.transaction(one_part):
            failpoint("dedup.after_move_part")
            self._relay.wake()
            parts += 1
        return parts

    async def _publish_part(self, transaction: Transaction, touching: Collection[UUID] | None) -> bool:
        log = await self._logs.open_log(transaction, touching)
        if log is None:
            return False
        log, outgoing = await next_part(log, self._identities, transaction)
        await self._logs.save_progress(log, transaction)
        failpoint("dedup.before_move_part")
        await enqueue(transaction, self._store, outgoing)
        return True
