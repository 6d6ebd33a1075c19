"""Whether all that was accepted has arrived: counted by analytics and by profile, with nothing left on its way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.local.lag import LOOK_SECONDS, consumer_lag, seen_lag

if TYPE_CHECKING:
    import httpx

    from deploy.local.connection import Connection
    from shared.storage import Document, Store

PATIENCE_SECONDS = 60.0
"""How long nothing may change before it is certain that the rest will not come."""

_LOOKS_RUNNING = 2
_MARKING = ("profile", "analytics", "privacy")
_COUNTED: dict[str, tuple[str, list[Document]]] = {
    "analytics": ("counters", [{"$match": {"metric": "submissions"}}, {"$group": {"_id": None, "count": {"$sum": "$n"}}}]),
    "profile": (
        "customers",
        [
            {"$match": {"state": "active"}},
            {"$project": {"kinds": {"$objectToArray": "$kinds"}}},
            {"$group": {"_id": None, "count": {"$sum": {"$sum": "$kinds.v"}}}},
        ],
    ),
}


class NotAllCounted(RuntimeError):
    """What was accepted and what was counted differ, and nothing moves any more. The message names the numbers."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far submissions have come.

    Attributes:
        behind: records not consumed.
        outbox_documents: with events that Kafka does not have yet.
        marks: customers that somebody still has to fold again.
        analytics, profile: submissions counted there, in all.
    """

    behind: int
    outbox_documents: int
    marks: int
    analytics: int
    profile: int

    @property
    def is_calm(self) -> bool:
        """Whether nothing is seen on its way."""
        return not (self.behind or self.outbox_documents or self.marks)

    def counted(self, submissions: int) -> bool:
        """Whether so many are counted by both, and nothing is on its way."""
        return self.is_calm and self.analytics == self.profile == submissions


NOTHING = Standing(0, 0, 0, 0, 0)
Look = Callable[[], Awaitable[Standing]]


async def until_counted(look: Look, accepted: int, patience_seconds: float = PATIENCE_SECONDS) -> AsyncIterator[Standing]:
    """Looks again and again until two looks running find all `accepted` submissions counted and nothing on its way.

    Raises:
        NotAllCounted: nothing changed for `patience_seconds`.
    """
    last, changed, settled = None, time.monotonic(), 0
    while True:
        standing = await look()
        if standing != last:
            last, changed = standing, time.monotonic()
        yield standing
        settled = settled + 1 if standing.counted(accepted) else 0
        if settled == _LOOKS_RUNNING:
            return
        if time.monotonic() - changed >= patience_seconds:
            raise NotAllCounted(
                f"{accepted:,} accepted, but {standing.analytics:,} counted by analytics and {standing.profile:,} by profile; "
                f"{standing.behind:,} records behind, {standing.outbox_documents:,} outbox documents, {standing.marks:,} marks"
            )
        await asyncio.sleep(LOOK_SECONDS)


class Arrival:
    """Follows the submissions of one run on an installation; counts what came since `begin`."""

    def __init__(self, connection: Connection, store: Store, consumers: Iterable[httpx.AsyncClient]) -> None:
        self._connection, self._store, self._consumers = connection, store, list(consumers)
        self._before = NOTHING

    async def begin(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Waits for what is on its way from before, so that it is not taken for this run's.

        Raises:
            NotAllCounted: it does not come to rest.
        """
        deadline = time.monotonic() + patience_seconds
        while await self.lag() or not (standing := await self._stands(NOTHING)).is_calm:
            if time.monotonic() > deadline:
                raise NotAllCounted("submissions of before are still on their way; see `kehu status`")
            await asyncio.sleep(LOOK_SECONDS)
        self._before = standing

    async def followed(self, accepted: int, patience_seconds: float = PATIENCE_SECONDS) -> AsyncIterator[Standing]:
        """How this run's submissions stand, until all that were accepted are counted; see `until_counted`."""
        last = NOTHING

        async def look() -> Standing:
            nonlocal last
            last = await self._stands(last)
            return last

        async for standing in until_counted(look, accepted, patience_seconds):
            yield standing

    async def lag(self) -> int:
        """Records not consumed, of all services, by Kafka's ends and MongoDB's positions."""
        return sum(each.records for each in await consumer_lag(self._connection))

    async def _stands(self, last: Standing) -> Standing:
        """Counting reads every customer, so while anything is on its way the counts stay as they were."""
        behind, outbox = sum([await seen_lag(client) for client in self._consumers]), 0
        if not behind:
            # In the order in which events travel, so that what moves on meanwhile is met again.
            outbox = await self._documents("outbox")
            behind = 0 if outbox else await self.lag()
        marks = await self._documents("dirty_marks")
        if behind or outbox or marks:
            return Standing(behind, outbox, marks, last.analytics, last.profile)
        counts = {service: await self._count(service) - getattr(self._before, service) for service in _COUNTED}
        return Standing(0, 0, 0, **counts)

    async def _documents(self, collection: str) -> int:
        services = self._connection.ports if collection == "outbox" else _MARKING
        return sum([await self._store.other(service).collection(collection).count({}) for service in services])

    async def _count(self, service: str) -> int:
        collection, pipeline = _COUNTED[service]
        found = await self._store.other(service).collection(collection).aggregate(pipeline)
        return int(found[0]["count"]) if found else 0


@asynccontextmanager
async def arrival(connection: Connection, consumers: Iterable[httpx.AsyncClient]) -> AsyncIterator[Arrival]:
    """Opens the installation's databases, as operator.

    Args:
        consumers: one client for each service that consumes, with the service's address as base.

    Raises:
        CommandFailed: MongoDB does not answer.
    """
    store = await connection.store("keyring")
    try:
        yield Arrival(connection, store, consumers)
    finally:
        store.close()
