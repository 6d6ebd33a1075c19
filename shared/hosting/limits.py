"""Limits on what a request may carry, enforced before anything parses it."""

from __future__ import annotations

import re
from itertools import accumulate

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.hosting.problem import Problem

BODY_BYTES_MAX = 1024 * 1024
NESTING_MAX = 32

# Possessive: a hostile run of quotes and backslashes costs linear time.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))

_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]


def nesting_exceeds(body: bytes, limit: int = NESTING_MAX) -> bool:
    """Whether JSON text nests arrays and objects deeper than `limit`. Looks at brackets outside of strings only; the text need not be valid."""
    if body.count(b"{") + body.count(b"[") <= limit:
        return False
    brackets = _STRING.sub(b"", body).translate(None, delete=_NO_BRACKETS)
    return max(accumulate(1 if bracket in b"{[" else -1 for bracket in brackets), default=0) > limit


class BodyTooLarge(Exception):
    """The body passed the limit while it was being read."""


class Limits:
    """ASGI middleware: bounds the body while it streams in, whatever Content-Length claims, and sets the security headers.

    Args:
        app: what to protect.
        larger: path prefixes with a limit of their own, in bytes (file imports).
    """

    def __init__(self, app: ASGIApp, larger: dict[str, int] | None = None) -> None:
        self._app = app
        self._larger = larger or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = next((size for prefix, size in self._larger.items() if scope["path"].startswith(prefix)), BODY_BYTES_MAX)
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > limit:
            await _too_large()(scope, receive, send)
            return
        await self._bounded(scope, receive, send, limit)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        seen, started = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise BodyTooLarge
            return message

        async def hardened(message: Message) -> None:
            nonlocal started
            if seen > limit and not started:
                return  # a framework that took the error for its own may answer what it likes
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), *_SECURITY_HEADERS]
            await send(message)

        try:
            await self._app(scope, counted, hardened)
        except BodyTooLarge:
            if started:
                raise
        if seen > limit and not started:
            await _too_large()(scope, receive, send)


def _too_large() -> ASGIApp:
    return Problem.of_status(413, {"Connection": "close"}).response()
