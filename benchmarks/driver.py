"""Sends a workload through a running stack and waits until all of it is counted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx
import msgspec

from benchmarks.cdp_mix import Submission
from benchmarks.processes import resident_mib
from deploy.local.arrival import NOTHING, Arrival, arrival
from deploy.local.connection import Connection
from deploy.local.stack import Stack
from deploy.local.state import StackState, cpu_seconds, read_state
from shared.access import LocalIssuer, mint_token

BATCH = 500
REQUESTS_AT_ONCE = 4
SERVICES = ("intake", "dedup", "profile", "analytics", "privacy")


@dataclass(frozen=True, slots=True)
class Run:
    """What a workload cost.

    Attributes:
        statuses: the door's answers.
        seconds: from the first request until the last one is counted.
        cpu_seconds: by process.
        peak_mib: highest resident memory seen, by process.
        counted_by_analytics, counted_by_profile: of those accepted; the run fails where they differ.
        lag_records: read from Kafka and MongoDB at the end.
    """

    statuses: Mapping[str, int]
    seconds: float
    cpu_seconds: Mapping[str, float]
    peak_mib: Mapping[str, float]
    counted_by_analytics: int
    counted_by_profile: int
    lag_records: int


def bodies_of(submissions: Iterator[Submission], size: int = BATCH) -> Iterator[bytes]:
    """Request bodies of `size` submissions each, encoded once."""
    batch: list[Submission] = []
    for submission in submissions:
        batch.append(submission)
        if len(batch) == size:
            yield msgspec.json.encode({"submissions": batch})
            batch = []
    if batch:
        yield msgspec.json.encode({"submissions": batch})


def state_of(stack: Stack) -> StackState:
    """The supervisor's view of its processes."""
    state = read_state(stack.places.state)
    if state is None:
        raise RuntimeError("the stack is gone")
    return state


class Driver:
    """One channel of a running stack.

    Attributes:
        headers: the channel's, for requests to intake.
        consumers: one client for each service that consumes.
    """

    def __init__(
        self, stack: Stack, client: httpx.AsyncClient, headers: dict[str, str], consumers: list[httpx.AsyncClient], arriving: Arrival
    ) -> None:
        self._stack, self._client, self.headers, self.consumers, self._arriving = stack, client, headers, consumers, arriving
        self._peak: dict[str, float] = {}

    async def run(self, bodies: Sequence[bytes]) -> Run:
        """Sends these bodies, a few at a time.

        Raises:
            NotAllCounted: something that was accepted did not arrive, so there are no figures.
        """
        self._peak = {}
        await self._arriving.begin()
        before, began, standing = cpu_seconds(state_of(self._stack)), time.monotonic(), NOTHING
        statuses = await self._send_all(bodies)
        async for standing in self._arriving.followed(statuses["accepted"]):  # noqa: B007 - the last one is the result
            self._note_peak()
        seconds, after = time.monotonic() - began, cpu_seconds(state_of(self._stack))
        spent = {name: after[name] - before[name] for name in after}
        return Run(dict(statuses), seconds, spent, dict(self._peak), standing.analytics, standing.profile, await self._arriving.lag())

    async def _send_all(self, bodies: Sequence[bytes]) -> Counter[str]:
        statuses: Counter[str] = Counter()
        work = iter(bodies)

        async def send() -> None:
            for body in work:
                response = await self._answer_to(body)
                statuses.update(item["status"] for item in response.json()["items"])
                self._note_peak()

        async with asyncio.TaskGroup() as group:
            for _ in range(REQUESTS_AT_ONCE):
                group.create_task(send())
        return statuses

    async def _answer_to(self, body: bytes) -> httpx.Response:
        while True:
            response = await self._client.post("/v1/submissions:batch", content=body, headers=self.headers)
            if response.status_code not in (429, 503):
                return response.raise_for_status()
            await asyncio.sleep(float(response.headers.get("Retry-After", "1")))

    def _note_peak(self) -> None:
        for name, mib in resident_mib(state_of(self._stack)).items():
            self._peak[name] = max(self._peak.get(name, 0.0), mib)


@asynccontextmanager
async def driving(stack: Stack) -> AsyncIterator[Driver]:
    """A driver with a channel of its own."""
    async with AsyncExitStack() as opened:

        async def client_of(name: str) -> httpx.AsyncClient:
            base = f"http://127.0.0.1:{stack.port_of(name)}"
            return await opened.enter_async_context(httpx.AsyncClient(base_url=base, timeout=60, trust_env=False))

        intake, consumers = await client_of("intake"), [await client_of(name) for name in SERVICES[1:]]
        arriving = await opened.enter_async_context(arrival(Connection.of(stack), consumers))
        token = mint_token(LocalIssuer(stack.places.keys).signing_key(), "benchmark", ["admin"], lifetime_seconds=7_200)
        answer = await intake.post(
            "/v1/channels", json={"id": "benchmark", "kind": "system", "trust": 50}, headers={"Authorization": f"Bearer {token}"}
        )
        headers = {"Authorization": f"Bearer {answer.raise_for_status().json()['write_key']}", "Content-Type": "application/json"}
        yield Driver(stack, intake, headers, consumers, arriving)
