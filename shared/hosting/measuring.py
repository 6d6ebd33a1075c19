"""How long requests take, by route and status."""

from __future__ import annotations

import time
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.telemetry.metrics import REQUEST_SECONDS

UNKNOWN = "unknown"
"""Stands for addresses that are no route's: what strangers try is no label."""


class Measured:
    """ASGI middleware around everything else.

    Args:
        app: what to measure.
        raw_paths: of routes that the framework does not name in the scope.
    """

    def __init__(self, app: ASGIApp, raw_paths: Iterable[str]) -> None:
        self._app, self._raw_paths = app, frozenset(raw_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            labels = {"route": self._route(scope), "method": scope["method"] if scope["method"] in _METHODS else UNKNOWN, "status": str(status)}
            REQUEST_SECONDS.record(time.perf_counter() - started, labels)

    def _route(self, scope: Scope) -> str:
        path = scope["path"]
        if path in self._raw_paths:
            return str(path)
        return str(getattr(scope.get("route"), "path", UNKNOWN))


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
