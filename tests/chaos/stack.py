"""One embedded stack of its own for a crash test: real servers, all services, ports and data apart from any other."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from deploy.local.places import Places
from deploy.local.stack import Stack
from deploy.local.state import FAILED, READY, read_state
from shared.access import LocalIssuer, mint_token
from tests.chaos.stream import CHANNELS

START_SECONDS = 120.0
DRAIN_SECONDS = 180.0


class NotDrained(AssertionError):
    """Consumers did not reach the end in time."""


def _free_ports(count: int) -> int:
    """The first of `count` neighbouring free ports."""
    for first in range(23_000 + os.getpid() % 5_000, 60_000, count):
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@contextmanager
def running_stack(root: Path, environment: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """A stack that is ready; stopped and left on disk afterwards.

    Args:
        environment: extra variables for the supervisor and so for every service, e.g. `KEHU_MUTANT`.
    """
    first = _free_ports(8)
    variables = {
        "KEHU_DATA_FOLDER": str(root),
        "KEHU_EMBEDDED_KAFKA_PORT": str(first),
        "KEHU_EMBEDDED_MONGODB_PORT": str(first + 2),
        "KEHU_SERVICE_PORT": str(first + 3),
    }
    stack = Stack(Places(root), kafka_port=first, mongodb_port=first + 2, service_port=first + 3)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KEHU_") or name == "KEHU_CACHE_FOLDER"}
    stack.places.create()
    with (root / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.supervisor"],
            env=inherited | variables | dict(environment or {}),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        try:
            _wait_until_ready(stack, process)
            yield stack
        finally:
            process.terminate()
            process.wait(60)


def _wait_until_ready(stack: Stack, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        state = read_state(stack.places.state)
        if state and state.pid == process.pid and state.phase == READY:
            return
        if process.poll() is not None or (state and state.phase == FAILED):
            raise AssertionError(f"the stack did not start: {state.error if state else process.returncode}")
        time.sleep(0.2)
    raise AssertionError("the stack was not ready in time")


class Clients:
    """HTTP clients of every service, as an administrator."""

    def __init__(self, stack: Stack) -> None:
        token = mint_token(LocalIssuer(stack.places.keys).signing_key(), "crash-test", ["admin"], lifetime_seconds=7_200)
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
