"""What has to stand before the services work: users, the key ring, topics."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from deploy.local.stack import SERVICES, Stack, passwords
from shared.storage.administration import INSTALLER, OPERATOR, READ_WRITE, Grant, create_installer, grant_users, start_replica_set

if TYPE_CHECKING:
    from pathlib import Path

    from shared.messaging.topic_admin import Durability, TopicState
    from shared.storage import Migration

KEYRING = "keyring"
KEY_ACTIONS = {
    "intake": ("find", "insert"),
    "dedup": ("find",),
    "profile": ("find", "insert"),
    "analytics": ("find",),
    "privacy": ("find", "insert", "update"),
}
"""Who makes keys, and who may null them. Dedup only opens what intake sealed; analytics only the keys of requests for a copy."""
OPERATOR_CLUSTER_ACTIONS = ("killAnySession", "getParameter", "listDatabases", "fsync")


def prepare_mongodb(stack: Stack) -> None:
    """Make the embedded mongod a replica set with least-privilege users: one per service, one for commands. Idempotent."""
    from deploy.local.mongodb_server import REPLICA_SET

    secrets = passwords(stack.places)
    start_replica_set(stack.mongodb_port, REPLICA_SET)
    create_installer(stack.mongodb_port, secrets[INSTALLER], secrets[OPERATOR])
    installer = stack.mongodb_uri(INSTALLER)
    grant_users(installer, {name: (secrets[name], service_grants(stack.namespace, name)) for name in SERVICES})
    grant_users(installer, {OPERATOR: (secrets[OPERATOR], operator_grants(stack.namespace))}, OPERATOR_CLUSTER_ACTIONS)


def service_grants(namespace: str, service: str) -> list[Grant]:
    """Everything in the service's own database; of the key ring only what its part needs: only privacy may destroy a key."""
    keyring = namespace + KEYRING
    grants = [Grant(namespace + service, READ_WRITE), Grant(keyring, ("listCollections", "listIndexes"))]
    grants.append(Grant(keyring, KEY_ACTIONS[service], "keys"))
    grants += [Grant(keyring, ("find",), name) for name in ("floor", "rotations", "migrations")]
    return grants


def operator_grants(namespace: str) -> list[Grant]:
    """What commands do: read and mend the services' data, rotate keys, and search the operation log for what was erased. No users, no roles."""
    ours = [Grant(namespace + database, READ_WRITE) for database in (KEYRING, *SERVICES)]
    return [*ours, Grant("local", ("find",), "oplog.rs")]


async def migrate_all(mongodb_uri: str, namespace: str, services: Sequence[str] = SERVICES) -> dict[str, tuple[str, ...]]:
    """Bring every database to the shape that the code expects. Returns the steps applied, by database."""
    from shared.sealing import KEYRING_MIGRATIONS
    from shared.storage import Store, migrate

    store = await Store.connect(mongodb_uri, database=KEYRING, namespace=namespace)
    try:
        await store.wait_until_ready()
        applied = {KEYRING: await migrate(store, KEYRING_MIGRATIONS)}
        for service in services:
            for migrations in _series(service):
                applied[service] = applied.get(service, ()) + await migrate(store.other(service), migrations)
        return applied
    finally:
        store.close()


def _series(service: str) -> list[Sequence[Migration]]:
    messaging = import_module("shared.messaging").MESSAGING_MIGRATIONS
    return [messaging, import_module(f"services.{service}.migrations").MIGRATIONS]


async def open_keyring(mongodb_uri: str, namespace: str, key_folder: Path) -> None:
    """Make key file and key ring on the first start, and refuse two that do not belong together."""
    from shared.sealing import KeyRing, LocalKeyFile
    from shared.storage import Store

    store = await Store.connect(mongodb_uri, database=KEYRING, namespace=namespace)
    try:
        await KeyRing(store, LocalKeyFile.open(key_folder)).start()
    finally:
        store.close()


async def prepare_kafka(bootstrap_servers: str, namespace: str, timeout_s: float = 60.0) -> list[TopicState]:
    """Wait for Kafka and create what is missing."""
    from shared.messaging.topic_admin import apply_topics, wait_for_kafka

    await wait_for_kafka(bootstrap_servers, timeout_s)
    return await apply_topics(bootstrap_servers, namespace, durability=durability())


def durability() -> Durability:
    """How many brokers keep each record, from `KEHU_KAFKA_REPLICATION` and `KEHU_KAFKA_MIN_INSYNC_REPLICAS`; by default as the cluster has it."""
    from shared.messaging.topic_admin import BROKERS_DEFAULT, Durability

    least = os.environ.get("KEHU_KAFKA_MIN_INSYNC_REPLICAS")
    return Durability(int(os.environ.get("KEHU_KAFKA_REPLICATION") or BROKERS_DEFAULT), int(least) if least else None)
