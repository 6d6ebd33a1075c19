"""The dedup stage alone: a filled submissions topic is drained, on servers of its own.

`python -m benchmarks.dedup_stage --events 20000 --customers 2000`: CPU microseconds per event of service, Kafka and mongod, first for a
stream in which customers are met for the first time, then for one in which every signature is known.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.cdp_mix import cdp_mix
from benchmarks.sealed_submission import sealed_submission
from deploy.local.throwaway import throwaway_kafka, throwaway_mongodb
from services.dedup.app import build
from shared.contracts.event import Outgoing
from shared.contracts.intake import SubmissionAccepted
from shared.contracts.topics import SUBMISSIONS
from shared.hosting import ServiceApp, Settings
from shared.hosting.garbage import spare_garbage_searches
from shared.messaging.topic_admin import apply_topics
from shared.sealing import DataKey
from shared.storage import Transaction, migrate

CHUNK = 2_000
DEADLINE_S = 600.0
Sent = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one drain cost, in CPU microseconds per event."""

    stream: str
    events: int
    seconds: float
    service_us: float
    mongod_us: float
    kafka_us: float

    def __str__(self) -> str:
        whole = self.service_us + self.mongod_us + self.kafka_us
        parts = f"service {self.service_us:.0f} + mongod {self.mongod_us:.0f} + Kafka {self.kafka_us:.0f} = {whole:.0f} us/event"
        return f"{self.stream:>18}: {self.events} events in {self.seconds:.1f} s, {self.events / self.seconds:.0f} events/s, {parts}"


def main(
    events: Annotated[int, typer.Option(help="Submissions to drain, in each stream.")] = 20_000,
    customers: Annotated[int, typer.Option(help="People they are about.")] = 2_000,
) -> None:
    """Measure the dedup stage."""
    with tempfile.TemporaryDirectory(prefix="kehu-dedup-stage-") as root:
        folder = Path(root)
        with throwaway_kafka(folder / "kafka") as kafka, throwaway_mongodb(folder / "mongodb") as mongodb:
            settings = Settings(kafka_bootstrap_servers=kafka, mongodb_uri=mongodb, data_folder=folder, key_folder=folder / "keys")
            asyncio.run(measure(settings, events, customers))


async def measure(settings: Settings, events: int, customers: int) -> None:
    """Fill the topic, drain it, and once more with what is known by then."""
    await apply_topics(settings.kafka_bootstrap_servers, settings.namespace)
    service = await build(settings)
    context = service.context
    await migrate(context.store, service.migrations)
    await context.keyring.start()
    await context.broker.start()
    stream = list(_fresh(cdp_mix(events * 2, customers)))
    for name, part in (("new and known", stream[: len(stream) // 2]), ("known signatures", _again(stream[: len(stream) // 2]))):
        await fill(service, part)
        print(await _drain(service, name, len(part)))
        for worker in service.workers:
            await worker.stop()
        await context.broker.stop()
        service = await build(settings)
        context = service.context
        await context.broker.start()
    await context.broker.stop()
    context.store.close()


async def _drain(service: ServiceApp, name: str, events: int) -> Figures:
    spare_garbage_searches()
    already = await service.context.store.collection("source_records").count({})
    before, started = _cpu_seconds(), time.monotonic()
    for worker in service.workers:
        await worker.start()
    await _drained(service, already + events)
    after, seconds = _cpu_seconds(), time.monotonic() - started
    spent = {process: (after[process] - before[process]) * 1e6 / events for process in after}
    return Figures(name, events, seconds, spent["service"], spent["mongod"], spent["java"])


async def fill(service: ServiceApp, stream: list[Sent]) -> None:
    """Publish what intake would have."""
    context = service.context
    for chunk in _chunks(stream):
        ids = {each["message_id"]: uuid.uuid5(uuid.NAMESPACE_OID, each["message_id"]) for each in chunk}
        keys = await _keys(service, list(ids.values()))
        await context.broker.publish([_outgoing(ids[each["message_id"]], each, keys[ids[each["message_id"]]]) for each in chunk])
        context.keyring.evict(ids.values())  # The drain pays for its own keys.


async def _keys(service: ServiceApp, ids: list[uuid.UUID]) -> dict[uuid.UUID, DataKey]:
    async def create(transaction: Transaction) -> dict[uuid.UUID, DataKey]:
        return await service.context.keyring.create(ids, transaction)

    return await service.context.store.transaction(create)


def _fresh(stream: Iterable[Sent]) -> Iterator[Sent]:
    """Without what intake refuses and repeats, which never reach the topic."""
    seen = set()
    for sent in stream:
        if sent["message_id"] not in seen and "not an address" not in str(sent.get("fields", "")):
            seen.add(sent["message_id"])
            yield sent


def _again(stream: list[Sent]) -> list[Sent]:
    return [each | {"message_id": f"again {each['message_id']}"} for each in stream]


def _outgoing(submission_id: uuid.UUID, sent: Sent, key: DataKey) -> Outgoing:
    submission = sealed_submission(submission_id, sent, key)
    event = SubmissionAccepted(submission=submission)
    return Outgoing(SUBMISSIONS.name, submission_id.bytes[:2], submission_id, event, datetime.now(UTC), submission_id)


def _chunks(items: Iterable[Sent]) -> Iterator[list[Sent]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


async def _drained(service: ServiceApp, events: int) -> None:
    records, outbox = service.context.store.collection("source_records"), service.context.store.collection("outbox")
    async with asyncio.timeout(DEADLINE_S):
        while await records.count({}) < events or await outbox.count({}):  # noqa: ASYNC110 - the store is the condition
            await asyncio.sleep(0.25)


def _cpu_seconds() -> dict[str, float]:
    """User + system CPU of this process, which hosts the service, and of its servers."""
    ours = psutil.Process()
    times = ours.cpu_times()
    figures = {"service": times.user + times.system, "mongod": 0.0, "java": 0.0}
    for child in ours.children(recursive=True):
        if child.name() in figures:
            spent = child.cpu_times()
            figures[child.name()] += spent.user + spent.system
    return figures


if __name__ == "__main__":
    typer.run(main)
