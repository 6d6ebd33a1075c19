"""Health of a process: alive means that work goes on, not only that a port answers."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from shared.hosting.context import ServiceApp
from shared.messaging import Waiting
from shared.storage import TransientError
from shared.telemetry.metrics import exposition

SILENT_SECONDS_MAX = 30.0
"""A consumer that is behind and has done nothing for this long counts as stuck."""
_READY_SECONDS = 2.0


def _consumers(service: ServiceApp) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    return [
        {
            "topic": worker.topic.name,
            "partition": each.partition,
            "lag_records": each.lag_records,
            "lag_seconds": round(each.lag_seconds, 3),
            "silent_seconds": round((now - each.last_progress).total_seconds(), 3),
        }
        for worker in service.workers
        for each in worker.progress()
    ]


def health_router(service: ServiceApp) -> APIRouter:
    """`/livez`, `/readyz` and `/metrics`, open to all: they name topics, counts and seconds only."""
    router, waiting = APIRouter(tags=["health"]), Waiting(service.context.store)

    @router.get("/livez", summary="Is work going on?")
    async def livez() -> JSONResponse:
        consumers = _consumers(service)
        stuck = any(each["lag_records"] > 0 and each["silent_seconds"] > SILENT_SECONDS_MAX for each in consumers)
        body = {"status": "stuck" if stuck else "alive", "service": service.context.name, "consumers": consumers}
        return JSONResponse(body, status_code=503 if stuck else 200)

    @router.get("/readyz", summary="Can it take work?")
    async def readyz() -> JSONResponse:
        reasons = []
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await service.context.store.ping()
        except (TransientError, TimeoutError):
            reasons.append("mongodb_unreachable")
        reasons += service.wants()
        return JSONResponse({"status": "not_ready" if reasons else "ready", "reasons": reasons}, status_code=503 if reasons else 200)

    @router.get("/metrics", summary="Figures in Prometheus text form", response_class=Response)
    async def metrics() -> Response:
        with contextlib.suppress(TransientError, TimeoutError):  # The other figures are wanted most when the database is away.
            async with asyncio.timeout(_READY_SECONDS):
                await waiting.measure()
        body, content_type = exposition()
        return Response(body, media_type=content_type)

    return router
