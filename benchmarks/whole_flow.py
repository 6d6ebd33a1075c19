"""The whole flow on cdp-mix: events per second, CPU per event by process, memory, start-up and idle cost."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import msgspec

from benchmarks.cdp_mix import Submission, cdp_mix
from benchmarks.processes import resident_mib
from deploy.local.arrival import NOTHING, arrival
from deploy.local.connection import Connection
from deploy.local.lag import drained
from deploy.local.stack import Stack
from deploy.local.state import StackState, cpu_seconds, read_state
from deploy.local.throwaway_stack import running_stack
from shared.access import LocalIssuer, mint_token

BATCH = 500
REQUESTS_AT_ONCE = 4
SERVICES = ("intake", "dedup", "profile", "analytics", "privacy")


@dataclass(frozen=True, slots=True)
class Figures:
    """One run.

    Attributes:
        accepted: at the door.
        counted_by_analytics, counted_by_profile: those of them that arrived there; the run fails where these differ.
        lag_records: read from Kafka and MongoDB at the end.
        seconds: from the first request until the last one is counted.
        cpu_microseconds: per event sent, by process.
        peak_mib: highest resident memory seen, by process.
        idle_percent: share of one core that the five services take when nothing comes in.
        batch_of_100_median_ms: until a batch of 100 is durable on an idle machine: every consumer is through with the one before.
        batch_of_100_followed_ms: the same with a batch every 100 ms, so that the consumers are at work on those before.
    """

    events: int
    customers: int
    accepted: int
    counted_by_analytics: int
    counted_by_profile: int
    lag_records: int
    seconds: float
    start_seconds: float
    statuses: dict[str, int]
    cpu_microseconds: dict[str, float]
    peak_mib: dict[str, float]
    idle_percent: float
    batch_of_100_median_ms: float
    batch_of_100_followed_ms: float

    @property
    def whole_microseconds(self) -> float:
        """CPU of all processes per event."""
        return sum(self.cpu_microseconds.values())


def measure(events: int, customers: int, root: Path, idle_seconds: float = 20.0) -> Figures:
    """Starts a fresh stack under `root`, runs the workload, and stops it.

    Raises:
        NotAllCounted: something that was accepted did not arrive, so there are no figures.
    """
    bodies = list(_bodies(cdp_mix(events, customers), BATCH))
    with running_stack(root) as stack:
        return asyncio.run(_measure(stack, bodies, events, customers, idle_seconds))


def _bodies(submissions: Iterator[Submission], size: int) -> Iterator[bytes]:
    batch: list[Submission] = []
    for submission in submissions:
        batch.append(submission)
        if len(batch) == size:
            yield msgspec.json.encode({"submissions": batch})
            batch = []
    if batch:
        yield msgspec.json.encode({"submissions": batch})


def _state(stack: Stack) -> StackState:
    state = read_state(stack.places.state)
    if state is None:
        raise RuntimeError("the stack is gone")
    return state


async def _measure(stack: Stack, bodies: Sequence[bytes], events: int, customers: int, idle_seconds: float) -> Figures:
    token = mint_token(LocalIssuer(stack.places.keys).signing_key(), "benchmark", ["admin"], lifetime_seconds=7_200)
    admin = {"Authorization": f"Bearer {token}"}
    async with (
        httpx.AsyncClient(timeout=60, trust_env=False) as client,
        _consumers(stack) as consumers,
        arrival(Connection.of(stack), consumers) as arriving,
    ):
        intake = f"http://127.0.0.1:{stack.port_of('intake')}"
        answer = await client.post(f"{intake}/v1/channels", json={"id": "benchmark", "kind": "system", "trust": 50}, headers=admin)
        key = {"Authorization": f"Bearer {answer.json()['write_key']}", "Content-Type": "application/json"}
        median = await _median_of_small_batches(stack.port_of("intake"), key, "alone", lambda: _wait_until_drained(consumers))
        followed = await _median_of_small_batches(stack.port_of("intake"), key, "followed", lambda: asyncio.sleep(0.1))
        idle = await _idle_percent(stack, idle_seconds)
        await arriving.begin()
        before, began = cpu_seconds(_state(stack)), time.monotonic()
        peak: dict[str, float] = {}
        statuses = await _send_all(client, f"{intake}/v1/submissions:batch", key, bodies, stack, peak)
        standing = NOTHING
        async for standing in arriving.followed(statuses["accepted"]):  # noqa: B007 - the last one is the result
            _note_peak(stack, peak)
        seconds, after = time.monotonic() - began, cpu_seconds(_state(stack))
        arrived = (statuses["accepted"], standing.analytics, standing.profile, await arriving.lag())
    cpu = {name: (after[name] - before[name]) * 1e6 / events for name in after}
    return Figures(events, customers, *arrived, seconds, _state(stack).seconds, dict(statuses), cpu, dict(peak), idle, median, followed)


@asynccontextmanager
async def _consumers(stack: Stack) -> AsyncIterator[list[httpx.AsyncClient]]:
    async with AsyncExitStack() as opened:
        bases = [f"http://127.0.0.1:{stack.port_of(name)}" for name in SERVICES[1:]]
        yield [await opened.enter_async_context(httpx.AsyncClient(base_url=base, timeout=60, trust_env=False)) for base in bases]


async def _wait_until_drained(consumers: list[httpx.AsyncClient]) -> None:
    async for _ in drained(consumers):
        pass


async def _median_of_small_batches(port: int, key: dict[str, str], name: str, calm: Callable[[], Awaitable[None]]) -> float:
    """Milliseconds until a batch of 100 is durable, one after the other, each after `calm`.

    The standard library's client, since httpx spends 1.5 ms of its own on a request.
    """
    times = []
    door = http.client.HTTPConnection("127.0.0.1", port)
    for body in _bodies(({**each, "message_id": f"{name}-{number}"} for number, each in enumerate(cdp_mix(3_000, 500, seed=5))), 100):
        await calm()
        began = time.perf_counter()
        door.request("POST", "/v1/submissions:batch", body, key)
        answer = door.getresponse()
        answer.read()
        times.append((time.perf_counter() - began) * 1_000)
        if answer.status != 202:
            raise RuntimeError(f"intake answered {answer.status}")
    door.close()
    return sorted(times)[len(times) // 2]


async def _idle_percent(stack: Stack, seconds: float) -> float:
    await asyncio.sleep(3)
    before = cpu_seconds(_state(stack))
    await asyncio.sleep(seconds)
    after = cpu_seconds(_state(stack))
    return 100 * sum(after[name] - before[name] for name in SERVICES) / seconds


async def _send_all(
    client: httpx.AsyncClient, url: str, key: dict[str, str], bodies: Sequence[bytes], stack: Stack, peak: dict[str, float]
) -> Counter[str]:
    statuses: Counter[str] = Counter()
    work = iter(bodies)

    async def answer_to(body: bytes) -> httpx.Response:
        response = await client.post(url, content=body, headers=key)
        if response.status_code not in (429, 503):
            return response.raise_for_status()
        await asyncio.sleep(float(response.headers.get("Retry-After", "1")))
        return await answer_to(body)

    async def send() -> None:
        for body in work:
            response = await answer_to(body)
            statuses.update(item["status"] for item in response.json()["items"])
            _note_peak(stack, peak)

    async with asyncio.TaskGroup() as group:
        for _ in range(REQUESTS_AT_ONCE):
            group.create_task(send())
    return statuses


def _note_peak(stack: Stack, peak: dict[str, float]) -> None:
    for name, mib in resident_mib(_state(stack)).items():
        peak[name] = max(peak.get(name, 0.0), mib)


def table(figures: Figures) -> str:
    """The figures as text."""
    lines = [f"{'process':12} {'CPU us/event':>14} {'peak MiB':>10}"]
    lines += [f"{name:12} {cpu:14.1f} {figures.peak_mib[name]:10.0f}" for name, cpu in figures.cpu_microseconds.items()]
    services = sum(figures.peak_mib[name] for name in SERVICES)
    return "\n".join(
        [
            f"cdp-mix: {figures.events:,} events, {figures.customers:,} customers; {figures.statuses}",
            f"{figures.accepted:,} accepted = {figures.counted_by_analytics:,} counted by analytics = {figures.counted_by_profile:,} by profile; "
            f"lag {figures.lag_records:,}",
            *lines,
            f"{'whole':12} {figures.whole_microseconds:14.1f}",
            f"{figures.events / figures.seconds:,.0f} events/s over {figures.seconds:.1f} s (first request to last one counted)",
            f"five services together {services:.0f} MiB at their peaks; idle {figures.idle_percent:.2f} % of one core",
            f"start {figures.start_seconds:.1f} s; a batch of 100 accepted in {figures.batch_of_100_median_ms:.1f} ms (median, idle machine), "
            f"{figures.batch_of_100_followed_ms:.1f} ms with one every 100 ms",
        ]
    )


def as_json(figures: Figures) -> str:
    """The figures for machines."""
    return json.dumps(asdict(figures) | {"whole_microseconds": figures.whole_microseconds}, indent=2)
