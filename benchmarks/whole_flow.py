"""The whole flow on cdp-mix: events per second, CPU per event by process, memory, start-up and idle cost."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from benchmarks.cdp_mix import cdp_mix
from benchmarks.driver import SERVICES, bodies_of, driving, state_of
from deploy.local.lag import drained
from deploy.local.stack import Stack
from deploy.local.state import cpu_seconds
from deploy.local.throwaway_stack import running_stack


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
    bodies = list(bodies_of(cdp_mix(events, customers)))
    with running_stack(root) as stack:
        return asyncio.run(_measure(stack, bodies, events, customers, idle_seconds))


async def _measure(stack: Stack, bodies: Sequence[bytes], events: int, customers: int, idle_seconds: float) -> Figures:
    async with driving(stack) as driver:
        port = stack.port_of("intake")
        median = await _median_of_small_batches(port, driver.headers, "alone", lambda: _wait_until_drained(driver.consumers))
        followed = await _median_of_small_batches(port, driver.headers, "followed", lambda: asyncio.sleep(0.1))
        idle = await _idle_percent(stack, idle_seconds)
        run = await driver.run(bodies)
    return Figures(
        events,
        customers,
        run.statuses["accepted"],
        run.counted_by_analytics,
        run.counted_by_profile,
        run.lag_records,
        run.seconds,
        state_of(stack).seconds,
        dict(run.statuses),
        {name: spent * 1e6 / events for name, spent in run.cpu_seconds.items()},
        dict(run.peak_mib),
        idle,
        median,
        followed,
    )


async def _wait_until_drained(consumers: list[httpx.AsyncClient]) -> None:
    async for _ in drained(consumers):
        pass


async def _median_of_small_batches(port: int, key: dict[str, str], name: str, calm: Callable[[], Awaitable[None]]) -> float:
    """Milliseconds until a batch of 100 is durable, one after the other, each after `calm`.

    The standard library's client, since httpx spends 1.5 ms of its own on a request.
    """
    times = []
    door = http.client.HTTPConnection("127.0.0.1", port)
    for body in bodies_of(({**each, "message_id": f"{name}-{number}"} for number, each in enumerate(cdp_mix(3_000, 500, seed=5))), 100):
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
    before = cpu_seconds(state_of(stack))
    await asyncio.sleep(seconds)
    after = cpu_seconds(state_of(stack))
    return 100 * sum(after[name] - before[name] for name in SERVICES) / seconds


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
