"""Composition root of intake: everything is built here, top to bottom."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from services.intake.api import channels_router, door_router, quarantine_router, submissions_router
from services.intake.broker import build_reader, build_workers
from services.intake.channel_desk import ChannelDesk
from services.intake.channels_mongo import MongoChannels, MongoImports
from services.intake.door import Doorkeeper, hot_routes
from services.intake.erasure import AnswerErasure
from services.intake.imports import ImportFile
from services.intake.imports_api import LARGER_BODIES, imports_router
from services.intake.micro_batches import MicroBatches
from services.intake.migrations import MIGRATIONS
from services.intake.mongo import MongoLedger
from services.intake.policy import rules_of
from services.intake.settings import IntakeSettings
from services.intake.use_cases import AcceptSubmissions
from services.intake.write_keys import WriteKeys
from shared.hosting import ServiceApp, ServiceContext, Settings
from shared.messaging import BroadcastReader
from shared.storage import Document


async def build(settings: Settings) -> ServiceApp:
    """The service, ready to be hosted."""

    async def keep_bodies(published: Sequence[Document]) -> None:
        await ledger.keep_bodies(published)

    context = await ServiceContext.open("intake", settings, on_published=keep_bodies)
    store, access = context.store, context.access
    ledger = MongoLedger(store, context.keyring, timedelta(days=IntakeSettings().body_kept_days))
    channels, imports, rules = MongoChannels(store), MongoImports(store), rules_of(context.catalogue)

    writer = MicroBatches(ledger, context.relay.wake)
    accept = AcceptSubmissions(rules, context.provider, context.index, writer)
    write_keys = WriteKeys(channels)
    access.resolve_write_key = write_keys.principal_of
    doorkeeper = Doorkeeper(access, write_keys, channels)
    desk = ChannelDesk(channels, write_keys, context.catalogue.purposes["customer_care"].current_notice)
    answer = AnswerErasure(writer, store, context.relay, context.broker, settings.instance)

    return ServiceApp(
        context,
        migrations=MIGRATIONS,
        raw_routes=hot_routes(accept, doorkeeper),
        routers=[
            door_router(access),
            submissions_router(access, ledger),
            quarantine_router(access, ledger, accept, doorkeeper),
            channels_router(access, desk),
            imports_router(access, doorkeeper, ImportFile(accept, imports), imports, rules),
        ],
        workers=build_workers(store, context.broker),
        tasks=[writer.run, _reading(build_reader(context.broker, answer))],
        larger_bodies=LARGER_BODIES,
        needs={"writer_not_running": lambda: writer.running},  # not Kafka: what is accepted waits in the outbox
    )


def _reading(reader: BroadcastReader) -> Callable[[], Awaitable[None]]:
    async def read() -> None:
        await reader.start()
        try:
            await asyncio.Event().wait()
        finally:
            await reader.stop()

    return read
