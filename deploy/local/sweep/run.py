"""Looks through MongoDB, Kafka, logs and traces: raw bytes, decoded content, and content opened with every key that is left."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from motor.motor_asyncio import AsyncIOMotorClient

from deploy.local.sweep.canaries import Canaries
from deploy.local.sweep.opening import Opener, leaves
from deploy.local.sweep.report import Hit, Report
from shared.hosting import Settings
from shared.sealing import DataKey, KeyRing, LocalKeyFile
from shared.storage import Store

KEYS_AT_ONCE = 5_000
BETWEEN = b"\n\0\n"
"""Stands between a document's values, and in none of the forms that are looked for."""
Progress = Callable[[Report], None]


@dataclass(frozen=True, slots=True)
class Places:
    """Where the bytes lie: a folder by the name of its store, as far as this machine can read it (`mongodb`, `kafka`, `logs`, `traces`)."""

    folders: Mapping[str, Path] = field(default_factory=dict)


async def sweep(values: Iterable[str], settings: Settings, places: Places, on_progress: Progress = lambda _: None) -> Report:
    """Searches every store of the installation for these values.

    MongoDB compresses its files, so their raw bytes alone prove little: every document of every collection is read as well, and the same holds for
    compressed record batches in Kafka.

    Args:
        values: canaries, each at least 4 characters.
        settings: of the installation; its key file and servers are opened.
        on_progress: called now and then with the report as far as it is.
    """
    canaries, report = Canaries(values), Report()
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(settings.mongodb_uri)
    try:
        # Writes a checkpoint, so that the files hold what the server knows.
        await client.admin.command("fsync", 1)
        opener = Opener(await _keys_left(settings))
        for store, contents in (("mongodb", _documents(client, settings.namespace)), ("kafka", _records(settings))):
            report.count(store, "keys_left", opener.keys_left)
            async for place, content in contents:
                report.count(store, "read")
                _look_into(content, store, place, canaries, opener, report)
                on_progress(report)
    finally:
        client.close()
    for store, folder in places.folders.items():
        await asyncio.to_thread(_look_at_files, store, folder, canaries, report)
        on_progress(report)
    return report


def _look_into(content: Any, store: str, place: str, canaries: Canaries, opener: Opener, report: Report) -> None:
    inside = list(leaves(content))
    # One search in all of it: a search in each of a document's many small values would take most of the time.
    report.hits |= {Hit(store, "clear", place, number) for number in canaries.in_bytes(BETWEEN.join(inside))}
    for plain, key_id in opener.opened(inside):
        report.count(store, "sealed")
        if key_id is not None:
            report.count(store, "opened")
            report.hits |= {Hit(store, "unsealed", place, number, key_id) for number in canaries.in_bytes(plain)}


def _look_at_files(store: str, folder: Path, canaries: Canaries, report: Report) -> None:
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        try:
            found, size = canaries.in_file(path)
            if path.suffix == ".gz":
                found |= canaries.in_bytes(gzip.decompress(path.read_bytes()))
        except FileNotFoundError:  # The server drops files while we look.
            continue
        report.count(store, "file_bytes", size)
        report.hits |= {Hit(store, "raw", str(path.relative_to(folder)), number) for number in found}


async def _keys_left(settings: Settings) -> dict[UUID, DataKey]:
    store = await Store.connect(settings.mongodb_uri, database="keyring", namespace=settings.namespace)
    try:
        ring = KeyRing(store, LocalKeyFile.open(settings.keys), cache_seconds=0)
        rows = await store.collection("keys").find({"wrapped": {"$ne": None}}, projection=["_id"])
        ids = [UUID(bytes=row["_id"]) for row in rows]
        keys: dict[UUID, DataKey] = {}
        for start in range(0, len(ids), KEYS_AT_ONCE):
            opened = await ring.open(ids[start : start + KEYS_AT_ONCE])
            keys |= {key_id: key for key_id, key in opened.items() if key is not None}
        return keys
    finally:
        store.close()


async def _documents(client: AsyncIOMotorClient[dict[str, Any]], namespace: str) -> AsyncIterator[tuple[str, Any]]:
    """Every document of the installation, and the server's operation log, which keeps older states of it."""
    for database in await client.list_database_names():
        if database in ("admin", "config", "local") or not database.startswith(namespace):
            continue
        for collection in await client[database].list_collection_names():
            async for document in client[database][collection].find({}):
                yield f"{database}.{collection}", document
    ours = {"$regex": f"^{re.escape(namespace)}"}
    # Transactions stand under the name of `admin`, with their operations inside.
    async for entry in client.local["oplog.rs"].find({"$or": [{"ns": ours}, {"o.applyOps.ns": ours}]}):
        yield "local.oplog.rs", entry


async def _records(settings: Settings) -> AsyncIterator[tuple[str, Any]]:
    """Every record of every topic of the installation, from its first offset."""
    partitions = await _partitions(settings)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        left = {each for each in partitions if ends[each] > begins[each]}
        consumer.assign(list(left))
        for each in left:
            consumer.seek(each, begins[each])
        while left:
            for place, batch in (await consumer.getmany(timeout_ms=500)).items():
                for record in batch:
                    yield f"{place.topic}:{place.partition}:{record.offset}", [record.key, record.value, *map(list, record.headers)]
            left = {each for each in left if await consumer.position(each) < ends[each]}
    finally:
        await consumer.stop()


async def _partitions(settings: Settings) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        names = [each for each in await admin.list_topics() if each.startswith(settings.namespace) and not each.startswith("__")]
        described = await admin.describe_topics(names) if names else []
        return [TopicPartition(topic["topic"], partition["partition"]) for topic in described for partition in topic["partitions"]]
    finally:
        await admin.close()
