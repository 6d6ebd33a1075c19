"""The door alone: batches of cdp-mix through HTTP into a process of its own, until everything is published, on servers of its own.

`python -m benchmarks.intake_door --events 20000`: milliseconds per batch (one at a time, then several at once) and CPU microseconds
per event of intake, Kafka and mongod; the driver's own CPU is left out.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import psutil
import typer

from benchmarks.cdp_mix import cdp_mix
from deploy.local.throwaway import throwaway_kafka, throwaway_mongodb
from shared.access import LocalIssuer, mint_token
from shared.contracts.topics import SUBMISSIONS
from shared.hosting import Settings
from shared.messaging.topic_admin import apply_topics, end_offsets

PORT = 18_101
DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What one load cost."""

    load: str
    events: int
    seconds: float
    batch_ms: list[float]
    cpu_us: dict[str, float]

    def __str__(self) -> str:
        cuts = statistics.quantiles(self.batch_ms, n=100)
        parts = " + ".join(f"{name} {spent:.0f}" for name, spent in self.cpu_us.items())
        return (
            f"{self.load:>22}: {self.events} events, {self.events / self.seconds:.0f}/s, a batch takes p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms; "
            f"CPU {parts} = {sum(self.cpu_us.values()):.0f} us/event"
        )


def main(
    events: Annotated[int, typer.Option(help="Submissions to send under each load.")] = 20_000,
    batch: Annotated[int, typer.Option(help="Submissions in a request.", min=1, max=1_000)] = 100,
    senders: Annotated[int, typer.Option(help="Senders at once, under the second load.")] = 8,
) -> None:
    """Prints both figures."""
    with (
        tempfile.TemporaryDirectory() as folder,
        throwaway_kafka(Path(folder) / "kafka") as kafka,
        throwaway_mongodb(Path(folder) / "mongodb") as mongodb,
    ):
        settings = Settings(kafka_bootstrap_servers=kafka, mongodb_uri=mongodb, data_folder=Path(folder), key_folder=Path(folder) / "keys", port=PORT)
        asyncio.run(measure(settings, events, batch, senders))


async def measure(settings: Settings, events: int, batch: int, senders: int) -> None:
    """Sends the stream twice, under other message ids, and prints what it cost."""
    await apply_topics(settings.kafka_bootstrap_servers, settings.namespace)
    async with _intake(settings) as (process, client):
        for seed, load, at_once in ((11, "one batch at a time", 1), (12, f"{senders} at once", senders)):
            bodies = list(_bodies(events, batch, seed))
            print(await _send(process, client, settings, bodies, load, at_once, events))


async def _send(
    process: psutil.Process, client: httpx.AsyncClient, settings: Settings, bodies: list[bytes], load: str, at_once: int, events: int
) -> Figures:
    due, batch_ms, accepted = iter(bodies), list[float](), 0
    before, published, started = _cpu_seconds(process), await _published(settings), time.perf_counter()

    async def sender() -> None:
        nonlocal accepted
        for body in due:
            sent = time.perf_counter()
            answer = await client.post("/v1/submissions:batch", content=body, headers={"Content-Type": "application/json"})
            batch_ms.append((time.perf_counter() - sent) * 1000)
            accepted += answer.text.count('"accepted"')

    await asyncio.gather(*(sender() for _ in range(at_once)))
    async with asyncio.timeout(DEADLINE_S):
        while await _published(settings) < published + accepted:  # noqa: ASYNC110 - the topic is the condition
            await asyncio.sleep(0.1)
    after, seconds = _cpu_seconds(process), time.perf_counter() - started
    return Figures(load, events, seconds, batch_ms, {name: (after[name] - before[name]) * 1e6 / events for name in after})


def _bodies(events: int, batch: int, seed: int) -> Iterator[bytes]:
    stream = ({**each, "message_id": f"{seed}-{each.get('message_id', '')}"} for each in cdp_mix(events, events // 10, seed))
    while some := list(islice(stream, batch)):
        yield msgspec.json.encode({"submissions": some})


async def _published(settings: Settings) -> int:
    ends = await end_offsets(settings.kafka_bootstrap_servers, [settings.namespace + SUBMISSIONS.name])
    return sum(sum(each.values()) for each in ends.values())


def _cpu_seconds(process: psutil.Process) -> dict[str, float]:
    """User + system CPU of intake and of the servers, which are this process's children."""
    figures = {"intake": 0.0, "mongod": 0.0, "java": 0.0}
    for child in psutil.Process().children(recursive=True):
        name = "intake" if child.pid == process.pid else child.name()
        if name in figures:
            spent = child.cpu_times()
            figures[name] += spent.user + spent.system
    return figures


@asynccontextmanager
async def _intake(settings: Settings) -> AsyncIterator[tuple[psutil.Process, httpx.AsyncClient]]:
    given = {
        "KEHU_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "KEHU_MONGODB_URI": settings.mongodb_uri,
        "KEHU_KEY_FOLDER": str(settings.keys),
        "KEHU_DATA_FOLDER": str(settings.data_folder),
        "KEHU_PORT": str(PORT),
    }
    token = mint_token(LocalIssuer(settings.keys).signing_key(), "benchmark", ["admin"])
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.intake", env=os.environ | given, stdout=asyncio.subprocess.DEVNULL)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as client:
            client.headers["Authorization"] = f"Bearer {await _write_key(client, token)}"
            yield psutil.Process(process.pid), client
    finally:
        process.terminate()
        await process.wait()


async def _write_key(client: httpx.AsyncClient, token: str) -> str:
    async with asyncio.timeout(DEADLINE_S):
        while not await _is_ready(client):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
    answer = await client.post("/v1/channels", json={"id": "benchmark", "kind": "web"}, headers={"Authorization": f"Bearer {token}"})
    return str(answer.raise_for_status().json()["write_key"])


async def _is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    typer.run(main)
