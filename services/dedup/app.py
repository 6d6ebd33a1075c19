"""Composition root: everything of the dedup service, top to bottom."""

from __future__ import annotations

from datetime import UTC, datetime

from services.dedup.api import router
from services.dedup.broker import build_workers
from services.dedup.migrations import MIGRATIONS
from services.dedup.mongo import MongoCustomerRecords, MongoErasures, MongoIdentities, MongoMoveLogs, MongoViews
from services.dedup.use_cases.answer_requests import AnswerRequests
from services.dedup.use_cases.erase_customer import EraseCustomer
from services.dedup.use_cases.find_set_aside import FindSetAside
from services.dedup.use_cases.finish_moves import FinishMoves
from services.dedup.use_cases.read_signatures import ReadSignatures, rules_of
from services.dedup.use_cases.resolve_identities import ResolveIdentities
from shared.hosting import ServiceApp, ServiceContext, Settings


def now() -> datetime:
    """Aware, UTC, in whole milliseconds as MongoDB keeps it."""
    at = datetime.now(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


async def build(settings: Settings) -> ServiceApp:
    """The dedup service."""
    context = await ServiceContext.open("dedup", settings)
    store, relay = context.store, context.relay
    identities, logs, erasures = MongoIdentities(store), MongoMoveLogs(store), MongoErasures(store)
    read_signatures = ReadSignatures(context.keyring, context.index, context.catalogue)
    rules = rules_of(context.catalogue)
    resolve = ResolveIdentities(identities, read_signatures, rules, now)
    finish_moves = FinishMoves(store, identities, logs, relay)
    find_set_aside = FindSetAside(erasures, identities, read_signatures, context.keyring, rules)
    erase_customer = EraseCustomer(store, erasures, logs, finish_moves, find_set_aside, relay, now)
    answer = AnswerRequests(MongoCustomerRecords(store), context.keyring, now)
    return ServiceApp(
        context=context,
        migrations=MIGRATIONS,
        routers=[router(MongoViews(store), context.access)],
        workers=build_workers(resolve, answer, store, context.broker),
        tasks=[finish_moves.run, erase_customer.run],
    )
