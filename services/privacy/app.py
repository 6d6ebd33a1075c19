"""Composition root: everything of the privacy service, top to bottom."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from services.privacy.api import Doors, router
from services.privacy.broker import build_workers
from services.privacy.migrations import MIGRATIONS
from services.privacy.mongo import MongoLedger, MongoRequestBook
from services.privacy.use_cases.consents import RecordConsents
from services.privacy.use_cases.requests import AnswerAccess, NoteExportRead, OpenRequest, ReadConsents, ReadExport
from services.privacy.use_cases.saga import Saga
from shared.contracts.event import Outgoing
from shared.hosting import ServiceApp, ServiceContext, Settings
from shared.messaging import MESSAGING_MIGRATIONS, DeadLetters, enqueue
from shared.storage import Store, Transaction


def now() -> datetime:
    """Aware, UTC, in whole milliseconds as MongoDB keeps it, so that a time reads the same before and after storing."""
    at = datetime.now(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _enqueue(store: Store) -> Callable[[Transaction, Sequence[Outgoing]], Awaitable[None]]:
    async def into_outbox(transaction: Transaction, outgoing: Sequence[Outgoing]) -> None:
        await enqueue(transaction, store, list(outgoing))

    return into_outbox


async def build(settings: Settings) -> ServiceApp:
    """The privacy service."""
    context = await ServiceContext.open("privacy", settings)
    store, keys = context.store, context.keyring
    ledger, book = MongoLedger(store), MongoRequestBook(store)
    notices = {name: purpose.current_notice for name, purpose in context.catalogue.purposes.items()}
    read_consents = ReadConsents(ledger, notices)
    doors = Doors(
        access=context.access,
        ledger=ledger,
        book=book,
        open_request=OpenRequest(book, keys, _enqueue(store), store.transaction, now),
        read_consents=read_consents,
        read_export=ReadExport(book, keys),
        note_export_read=NoteExportRead(book, store.transaction, now),
        wake_relay=context.relay.wake,
    )
    workers = build_workers(
        store,
        context.broker,
        RecordConsents(ledger, DeadLetters(store), keys, now),
        Saga(book, ledger, keys, context.provider, now),
        AnswerAccess(read_consents, keys, now),
    )
    return ServiceApp(
        context=context,
        migrations=(*MESSAGING_MIGRATIONS, *MIGRATIONS),
        routers=[router(doors)],
        workers=workers,
    )
