"""Which writing processes of a service are alive, by the database's own clock."""

from __future__ import annotations

from shared.storage import Store

LEASE_SECONDS = 10.0
RENEW_SECONDS = 2.5
_ALIVE = {"$expr": {"$gt": ["$until", "$$NOW"]}}


class Lease:
    """This process's sign of life. One that is frozen longer than `LEASE_SECONDS` counts as dead, and its outbox is taken over."""

    def __init__(self, store: Store, instance: str) -> None:
        self._rows = store.collection("leases")
        self._instance = instance

    async def renew(self) -> None:
        """Extends the lease by `LEASE_SECONDS` from now, in server time, so that skewed clocks do no harm."""
        until = {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]}
        await self._rows.update_one({"_id": self._instance}, [{"$set": {"until": until}}], upsert=True)

    async def release(self) -> None:
        """Gives the lease back on a clean stop."""
        await self._rows.delete_one({"_id": self._instance})

    async def live(self) -> tuple[str, ...]:
        """Instances whose lease has not lapsed, this one included once it was renewed; sorted."""
        return tuple(sorted(row["_id"] for row in await self._rows.find(_ALIVE, projection=["_id"])))
