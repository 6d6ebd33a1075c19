"""Runs once before the services in containers: replica set, users, collections, key file, topics. Idempotent."""

from __future__ import annotations

import asyncio
import os

from deploy.local.places import Places
from deploy.local.preparation import migrate_all, open_keyring, prepare_kafka, service_grants
from deploy.local.stack import SERVICES
from shared.hosting import Settings
from shared.storage.administration import OPERATOR, grant_users, start_replica_set

REPLICA_SET = "kehu"


def main() -> None:
    """Prepare the servers that the environment names.

    Raises:
        KeyError: a password is missing: KEHU_MONGODB_<USER>_PASSWORD for the operator and each service.
    """
    settings = Settings()
    host = os.environ["KEHU_MONGODB_HOST"]
    start_replica_set(27017, REPLICA_SET, 120, host=host, login=(OPERATOR, password(OPERATOR)))
    users = {name: (password(name), service_grants(settings.namespace, name)) for name in SERVICES}
    grant_users(settings.mongodb_uri, users)
    asyncio.run(migrate_all(settings.mongodb_uri, settings.namespace))
    asyncio.run(open_keyring(settings.mongodb_uri, settings.namespace, Places.default().keys))
    asyncio.run(prepare_kafka(settings.kafka_bootstrap_servers, settings.namespace, 120))


def password(user: str) -> str:
    """From the environment."""
    return os.environ[f"KEHU_MONGODB_{user.upper()}_PASSWORD"]


if __name__ == "__main__":
    main()
