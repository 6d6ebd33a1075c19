"""HTTP clients of a stack under test, and waiting until it is calm."""

from __future__ import annotations

import asyncio
import time

import httpx

from deploy.local.stack import Stack
from shared.access import LocalIssuer, mint_token
from tests.chaos.stream import CHANNELS

DRAIN_SECONDS = 180.0


class NotDrained(AssertionError):
    """Consumers did not reach the end in time."""


class Clients:
    """HTTP clients of every service, as an administrator."""

    def __init__(self, stack: Stack) -> None:
        token = mint_token(LocalIssuer(stack.places.keys).signing_key(), "crash-test", ["admin", "privacy_officer"], lifetime_seconds=7_200)
        headers = {"Authorization": f"Bearer {token}"}
        self.by_service = {
            name: httpx.AsyncClient(base_url=f"http://127.0.0.1:{stack.port_of(name)}", headers=headers, timeout=30, trust_env=False)
            for name in stack.services
        }

    def __getitem__(self, service: str) -> httpx.AsyncClient:
        return self.by_service[service]

    async def close(self) -> None:
        """Closes all."""
        for client in self.by_service.values():
            await client.aclose()

    async def write_keys(self) -> dict[str, str]:
        """New channels, each with a write key."""
        keys = {}
        for channel in CHANNELS:
            response = await self["intake"].post("/v1/channels", json={"id": channel, "kind": "system", "trust": 50})
            response.raise_for_status()
            keys[channel] = response.json()["write_key"]
        return keys

    async def wait_until_drained(self, expected_submissions: int) -> None:
        """Returns when analytics has counted all and no consumer is behind, three looks running.

        Raises:
            NotDrained: it took too long; the message tells the last figures.
        """
        deadline, calm, seen = time.monotonic() + DRAIN_SECONDS, 0, ""
        while calm < 3:
            if time.monotonic() > deadline:
                raise NotDrained(seen)
            try:
                lag = sum([await self._lag(name) for name in self.by_service if name != "intake"])
                counted = (await self["analytics"].get("/v1/kpis")).json()["submissions"]
            except (httpx.TransportError, KeyError):
                calm, seen = 0, "a service is away"
            else:
                seen = f"lag {lag}, counted {counted} of {expected_submissions}"
                # Fewer or more than expected is for the oracle to say, once nothing moves any more.
                calm = calm + 1 if lag == 0 and (counted >= expected_submissions or calm > 0 or time.monotonic() > deadline - 150) else 0
            await asyncio.sleep(1.0)

    async def _lag(self, service: str) -> int:
        consumers = (await self[service].get("/livez")).json()["consumers"]
        if not consumers:
            raise KeyError(service)  # it has no partitions yet
        return sum(each["lag_records"] for each in consumers)
