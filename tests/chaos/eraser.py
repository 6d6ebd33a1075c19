"""Has people erased while the stack is disturbed, and looks after it until every certificate is there."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from tests.chaos.oracle import Name, clusters
from tests.chaos.stack import Clients
from tests.chaos.stream import Sent

ERASED_SECONDS = 1_200.0
_LOOK_AGAIN_SECONDS = 0.5


class NotErased(AssertionError):
    """An erasure did not come to its certificate."""


class Eraser:
    """Asks for the erasure of everybody whom `leaving` speaks of.

    Attributes:
        certified: source records that the certificates name, in all; filled by `erase`.
    """

    def __init__(self, clients: Clients, leaving: Collection[Sent], submission_ids: Mapping[Name, str]) -> None:
        self._clients, self._leaving, self._submission_ids = clients, leaving, submission_ids
        self.certified = 0

    async def erase(self, begin: asyncio.Event) -> None:
        """Returns when every erasure is closed; none is asked for before `begin` is set.

        Raises:
            NotErased: not all are within `ERASED_SECONDS`.
        """
        await begin.wait()
        try:
            async with asyncio.timeout(ERASED_SECONDS):
                await self._erase()
        except TimeoutError:
            raise NotErased from None

    async def _erase(self) -> None:
        people = sorted(clusters(self._leaving), key=min)
        customers = await self._customers(people)
        requests = await asyncio.gather(*(self._open(customer) for customer in customers))
        for request in requests:
            self.certified += await self._certified(request)

    async def _customers(self, people: Collection[frozenset[Name]]) -> list[str]:
        """The customer of each person, once all that was sent about it has arrived there."""
        while not all(each.name in self._submission_ids for each in self._leaving):  # noqa: ASYNC110 - the sender fills it
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        while True:
            wanted = {"submission_ids": [self._submission_ids[each.name] for each in self._leaving]}
            found = (await self._clients.ask("dedup", "POST", "/v1/resolutions:lookup", json=wanted))["customers"]
            holders = [{found[self._submission_ids[name]] for name in names} for names in people]
            if all(len(each) == 1 and None not in each for each in holders):
                return [holder for each in holders for holder in each]
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _open(self, customer: str) -> str:
        wish = {"kind": "erasure", "customer_id": customer}
        answer = await self._clients.ask("privacy", "POST", "/v1/requests", json=wish, headers={"Idempotency-Key": f"erase {customer}"})
        return str(answer["request_id"])

    async def _certified(self, request: str) -> int:
        while (await self._clients.ask("privacy", "GET", f"/v1/requests/{request}"))["state"] != "closed":  # noqa: ASYNC110 - another process closes it
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        certificate = (await self._clients.ask("privacy", "GET", f"/v1/requests/{request}/certificate"))["certificate"]
        return int(certificate["holders"]["dedup"]["source_records"])
