"""HTTP clients of a stack under test, and waiting until it is calm."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
from aiokafka.errors import KafkaError

from deploy.local.connection import CommandFailed, Connection
from deploy.local.lag import consumer_lag
from deploy.local.stack import Stack
from shared.access import LocalIssuer, mint_token
from shared.storage import StorageError, Store
from tests.chaos.stream import CHANNELS

DRAIN_SECONDS = 240.0
CALM_LOOKS = 3
_ASK_AGAIN_SECONDS = 0.3


class NotDrained(AssertionError):
    """Consumers did not reach the end in time."""


class Clients:
    """HTTP clients of every service, as an administrator, that ask again while a service is away."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
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

    async def ask(self, service: str, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The JSON answer; asked for again while the service is away or not able to give one."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while True:
            try:
                response = await self[service].request(method, path, **options)
            except httpx.TransportError as error:
                failure = repr(error)
            else:
                if response.is_success:
                    answer: dict[str, Any] = response.json()
                    return answer
                failure = f"{response.status_code} {response.text}"
                assert response.status_code >= 500, f"{service} {path}: {failure}"
            assert time.monotonic() < deadline, f"{service} {path}: {failure}"
            await asyncio.sleep(_ASK_AGAIN_SECONDS)

    async def write_keys(self) -> dict[str, str]:
        """New channels, each with a write key."""
        keys = {}
        for channel in CHANNELS:
            answer = await self.ask("intake", "POST", "/v1/channels", json={"id": channel, "kind": "system", "trust": 50})
            keys[channel] = answer["write_key"]
        return keys

    async def wait_until_drained(self) -> None:
        """Returns when nothing is under way any more, several looks running, by Kafka's ends and MongoDB's positions.

        Whether that is all that was sent is for the oracle to say.

        Raises:
            NotDrained: it took too long; the message tells what was still under way.
        """
        connection = Connection.of(self._stack)
        deadline, calm, under_way = time.monotonic() + DRAIN_SECONDS, 0, "nothing was seen"
        while calm < CALM_LOOKS:
            if time.monotonic() > deadline:
                raise NotDrained(under_way)
            try:
                under_way = await _under_way(connection)
            except (KafkaError, StorageError, CommandFailed, TimeoutError, OSError) as error:
                under_way = f"a server is away: {error!r}"
            calm = 0 if under_way else calm + 1
            await asyncio.sleep(0.5)


async def _under_way(connection: Connection) -> str:
    lag = {f"{each.service} {each.topic}": each.records for each in await consumer_lag(connection) if each.records}
    store = await connection.store("keyring")
    try:
        waiting = {service: await _waiting(store.other(service)) for service in connection.ports}
    finally:
        store.close()
    documents = {service: count for service, count in waiting.items() if count}
    return f"lag {lag}, waiting documents {documents}" if lag or documents else ""


async def _waiting(store: Store) -> int:
    """Events that Kafka does not have yet, and marks that no owner has folded."""
    return await store.collection("outbox").count({}) + await store.collection("dirty_marks").count({})
