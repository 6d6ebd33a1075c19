"""The profile stage alone: a filled identities topic is drained into customers, on servers of its own.

`python -m benchmarks.profile_stage --events 20000 --customers 2000`: CPU microseconds per event of service, Kafka and mongod, and
whether the counts are exact.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.cdp_mix import cdp_mix
from benchmarks.sealed_submission import sealed_submission
from deploy.local.throwaway import throwaway_kafka, throwaway_mongodb
from services.profile.app import build
from shared.contracts.dedup import SubmissionResolved
from shared.contracts.event import Outgoing
from shared.contracts.ids import customer_id, event_id
from shared.contracts.topics import IDENTITIES
from shared.hosting import ServiceApp, Settings
from shared.hosting.garbage import spare_garbage_searches
from shared.messaging.topic_admin import apply_topics
from shared.sealing import DataKey
from shared.storage import migrate

CHUNK = 2_000
DEADLINE_S = 600.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What one drain cost."""

    events: int
    customers: int
    seconds: float
    service_us: float
    mongod_us: float
    kafka_us: float
    counted: int

    @property
    def whole_us(self) -> float:
        """CPU microseconds per event, all included."""
        return self.service_us + self.mongod_us + self.kafka_us


def main(
    events: Annotated[int, typer.Option(help="Submissions to drain.")] = 20_000,
    customers: Annotated[int, typer.Option(help="People they are about.")] = 2_000,
) -> None:
    """Measure the profile stage."""
    with tempfile.TemporaryDirectory(prefix="kehu-profile-stage-") as root:
        folder = Path(root)
        with throwaway_kafka(folder / "kafka") as kafka, throwaway_mongodb(folder / "mongodb") as mongodb:
            settings = Settings(kafka_bootstrap_servers=kafka, mongodb_uri=mongodb, data_folder=folder, key_folder=folder / "keys")
            figures = asyncio.run(measure(settings, events, customers))
    print(f"{figures.events} events of {figures.customers} customers in {figures.seconds:.1f} s: {figures.events / figures.seconds:.0f} events/s")
    print(f"CPU us/event: service {figures.service_us:.0f} + mongod {figures.mongod_us:.0f} + Kafka {figures.kafka_us:.0f} = {figures.whole_us:.0f}")
    print(f"counted {figures.counted}, {'exact' if figures.counted == figures.events else 'WRONG'}")


async def measure(settings: Settings, events: int, customers: int) -> Figures:
    """Fill the topic, then drain it."""
    await apply_topics(settings.kafka_bootstrap_servers, settings.namespace)
    service = await build(settings)
    spare_garbage_searches()
    context = service.context
    await migrate(context.store, service.migrations)
    await context.keyring.start()
    await context.broker.start()
    sent = await fill(service, events, customers)
    context.keyring.evict(sent)  # The drain pays for its own keys, as a service that did not make them does.
    before, started = _cpu_seconds(), time.monotonic()
    for worker in service.workers:
        await worker.start()
    await _drained(service, len(sent))
    after, seconds = _cpu_seconds(), time.monotonic() - started
    counted = await _counted(service)
    for worker in service.workers:
        await worker.stop()
    await context.broker.stop()
    context.store.close()
    spent = {name: (after[name] - before[name]) * 1e6 / len(sent) for name in after}
    return Figures(len(sent), customers, seconds, spent["service"], spent["mongod"], spent["java"], counted)


async def fill(service: ServiceApp, events: int, customers: int) -> set[uuid.UUID]:
    """Publish what dedup would have; returns the submissions' ids, each once."""
    seen: set[uuid.UUID] = set()
    for chunk in _chunks(_resolved(events, customers)):
        fresh = {each[0]: each for each in chunk if each[0] not in seen}
        seen |= set(fresh)
        keys = await _keys(service, list(fresh))
        outgoing = [_outgoing(sent_id, customer, new, sent, keys[sent_id]) for sent_id, customer, new, sent in fresh.values()]
        await service.context.broker.publish(outgoing)
    return seen


async def _keys(service: ServiceApp, ids: list[uuid.UUID]) -> dict[uuid.UUID, DataKey]:
    async def work(transaction: Any) -> dict[uuid.UUID, DataKey]:
        return await service.context.keyring.create(ids, transaction)

    return await service.context.store.transaction(work)


def _resolved(events: int, customers: int) -> Iterator[tuple[uuid.UUID, uuid.UUID, bool, dict[str, Any]]]:
    """Submission id, customer, whether it brings a new identifier, and what was sent."""
    known: set[tuple[uuid.UUID, str]] = set()
    for sent in cdp_mix(events, customers):
        if "not an address" in str(sent.get("fields", "")):
            continue
        customer = customer_id(uuid.uuid5(uuid.NAMESPACE_OID, sent["identifiers"][0]["value"]))
        identifiers = {(customer, each["type"]) for each in sent["identifiers"]} | {(customer, name) for name in sent.get("fields", {})}
        yield uuid.uuid5(uuid.NAMESPACE_OID, sent["message_id"]), customer, not identifiers <= known, sent
        known |= identifiers


def _outgoing(submission_id: uuid.UUID, customer: uuid.UUID, new_identifiers: bool, sent: dict[str, Any], key: DataKey) -> Outgoing:
    submission = sealed_submission(submission_id, sent, key)
    event = SubmissionResolved(customer_id=customer, assignment=1, new_identifiers=new_identifiers, submission=submission)
    return Outgoing(IDENTITIES.name, customer.bytes, event_id(submission_id, "resolved"), event, datetime.now(UTC), submission_id)


def _chunks(items: Iterator[Any]) -> Iterator[list[Any]]:
    chunk: list[Any] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def _drained(service: ServiceApp, events: int) -> None:
    contributions, outbox = service.context.store.collection("contributions"), service.context.store.collection("outbox")
    async with asyncio.timeout(DEADLINE_S):
        while await contributions.count({}) < events or await outbox.count({}):  # noqa: ASYNC110 - the store is the condition
            await asyncio.sleep(0.5)


async def _counted(service: ServiceApp) -> int:
    customers = await service.context.store.collection("customers").find({}, projection=("kinds",))
    return sum(sum(each["kinds"].values()) for each in customers)


def _cpu_seconds() -> dict[str, float]:
    """User + system CPU of this process, which hosts the service, and of its servers."""
    ours = psutil.Process()
    times = ours.cpu_times()
    figures = {"service": times.user + times.system, "mongod": 0.0, "java": 0.0}
    for child in ours.children(recursive=True):
        name = child.name()
        if name in figures:
            spent = child.cpu_times()
            figures[name] += spent.user + spent.system
    return figures


if __name__ == "__main__":
    typer.run(main)
