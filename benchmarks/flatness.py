"""Whether an event costs the same with few customers and with many: `python -m benchmarks.flatness`.

Cdp-mix, but customers come in rounds, each of them once a round in an order drawn anew, so that no batch meets one often: the fold factor
(events per customer document written) is near 1 for few and many alike, and the size of the store is what is left to compare. Before
anything is measured every customer is there and as many events are stored in both cases.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cdp_mix import cdp_mix
from benchmarks.driver import BATCH, bodies_of, driving, state_of
from deploy.local.throwaway_stack import running_stack
from shared.contracts.topics import CHANGES
from shared.messaging.topic_admin import end_offsets


class Rounds:
    """Draws every customer once before any comes again."""

    def __init__(self, count: int, rnd: random.Random) -> None:
        self._count, self._random = count, rnd
        self._left: list[int] = []

    def draw(self) -> int:
        """One customer's number."""
        if not self._left:
            self._left = self._random.sample(range(self._count), self._count)
        return self._left.pop()


@dataclass(frozen=True, slots=True)
class Cost:
    """What an event cost with so many customers.

    Attributes:
        cpu_microseconds: per event sent, by process.
        fold: events accepted per change of a customer published.
    """

    customers: int
    cpu_microseconds: dict[str, float]
    fold: float

    @property
    def whole(self) -> float:
        """Of all processes."""
        return sum(self.cpu_microseconds.values())

    def __str__(self) -> str:
        parts = " + ".join(f"{name} {spent:.0f}" for name, spent in self.cpu_microseconds.items())
        return f"{self.customers:>9,} customers, fold {self.fold:.2f}: {parts} = {self.whole:.1f} us/event"


def main(
    few: Annotated[int, typer.Option(help="Customers of the small store.")] = 2_000,
    many: Annotated[int, typer.Option(help="Customers of the large one; as many events are stored before in both.")] = 200_000,
    events: Annotated[int, typer.Option(help="Submissions measured.")] = 60_000,
) -> None:
    """Prints the cost of an event in both, and their ratio."""
    costs = [cost_of(customers, many, events) for customers in (few, many)]
    print(*costs, f"ratio {costs[1].whole / costs[0].whole:.2f} (goal: at most 1.25)", sep="\n")


def cost_of(customers: int, before: int, events: int) -> Cost:
    """Fills a fresh stack with `before` submissions about so many customers, then measures `events` more."""
    bodies = list(bodies_of(cdp_mix(before + events, customers, people=Rounds)))
    with tempfile.TemporaryDirectory(prefix="kehu-benchmark-") as root, running_stack(Path(root)) as stack:

        async def measured() -> Cost:
            async with driving(stack) as driver:
                await driver.run(bodies[: before // BATCH])
                servers = state_of(stack).kafka_bootstrap_servers
                published = await _published(servers)
                run = await driver.run(bodies[before // BATCH :])
                changes = await _published(servers) - published
            cpu = {name: spent * 1e6 / events for name, spent in run.cpu_seconds.items()}
            return Cost(customers, cpu, run.statuses["accepted"] / changes)

        return asyncio.run(measured())


async def _published(servers: str) -> int:
    return sum((await end_offsets(servers, [CHANGES.name]))[CHANGES.name].values())


if __name__ == "__main__":
    typer.run(main)
