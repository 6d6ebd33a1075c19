"""Composition root: everything of the analytics service, top to bottom."""

from __future__ import annotations

from datetime import UTC, datetime

from services.analytics.api import router
from services.analytics.broker import build_workers, owner_of
from services.analytics.figures import Figures
from services.analytics.migrations import MIGRATIONS
from services.analytics.use_cases import AnswerAccess, CountBatch, FoldMarked
from shared.hosting import ServiceApp, ServiceContext, Settings


def now() -> datetime:
    """Aware, UTC."""
    return datetime.now(UTC)


async def build(settings: Settings) -> ServiceApp:
    """The analytics service."""
    context = await ServiceContext.open("analytics", settings)
    workers = build_workers(context.store, context.broker, CountBatch(owner_of, now), FoldMarked(now), AnswerAccess(context.keyring))
    return ServiceApp(
        context=context,
        migrations=MIGRATIONS,
        routers=[router(context.access, Figures(context.store), context.store)],
        workers=workers,
    )
