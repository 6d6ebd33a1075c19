"""Composition root: everything of the profile service, top to bottom."""

from __future__ import annotations

from datetime import UTC, datetime

from services.profile.api import Doors, router
from services.profile.broker import Handlers, build_workers
from services.profile.migrations import MIGRATIONS
from services.profile.mongo import MongoReader
from services.profile.use_cases.apply_identities import ApplyIdentities
from services.profile.use_cases.export_access import ExportAccess
from services.profile.use_cases.fold_customers import FoldCustomers
from services.profile.use_cases.likeness import LikenessReader, LikenessSealer
from services.profile.use_cases.mark_pass import MarkPass
from services.profile.use_cases.read_customers import ReadCustomers
from shared.contracts.topics import IDENTITIES
from shared.hosting import ServiceApp, ServiceContext, Settings
from shared.messaging import MESSAGING_MIGRATIONS, partition_of


def now() -> datetime:
    """Aware, UTC."""
    return datetime.now(UTC)


def partition_of_customer(key: bytes) -> int:
    """The partition that owns a customer; the snapshots' topic has as many."""
    return partition_of(key, IDENTITIES.partitions)


async def build(settings: Settings) -> ServiceApp:
    """The profile service."""
    context = await ServiceContext.open("profile", settings)
    store, ring = context.store, context.keyring
    rules = {name: declared.survivorship for name, declared in context.catalogue.fields.items()}
    fold = FoldCustomers(LikenessReader(context.index), LikenessSealer(rules), partition_of_customer)
    reader = MongoReader(store)
    read = ReadCustomers(reader, ring, context.index)
    handlers = Handlers(store, ring, ApplyIdentities(fold, partition_of_customer, now), MarkPass(fold, now), ExportAccess(read, ring, now))
    return ServiceApp(
        context=context,
        migrations=(*MESSAGING_MIGRATIONS, *MIGRATIONS),
        routers=[router(Doors(context.access, context.catalogue, read, reader, now))],
        workers=build_workers(handlers, store, context.broker, now),
    )
