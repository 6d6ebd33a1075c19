"""The two hot routes as plain ASGI: raw bytes in, one typed decoder, one write shared with whoever else is waiting, bytes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qs

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from services.intake.domain.channels import Channel
from services.intake.domain.findings import Finding, Refused, finding
from services.intake.micro_batches import Overloaded
from services.intake.ports import Channels
from services.intake.use_cases import AcceptSubmissions, Outcome
from services.intake.write_keys import WriteKeys
from shared.access import Access, checks_access, hash_write_key, is_write_key
from shared.hosting import Problem
from shared.storage import TransientError
from shared.telemetry import request_span

SINGLE_PATH = "/v1/submissions"
BATCH_PATH = "/v1/submissions:batch"
IDEMPOTENCY_KEY_MAX = 400
RETRY_AFTER_SECONDS = "1"

Headers = Mapping[bytes, bytes]
Handle = Callable[[bytes, Channel, str, bytes], Awaitable[Response]]
_encoder = msgspec.json.Encoder()


class Doorkeeper:
    """Who stands at the door: a channel by its write key, or a person or service whose token allows it to speak for a channel."""

    def __init__(self, access: Access, write_keys: WriteKeys, channels: Channels) -> None:
        self._access, self._write_keys, self._channels = access, write_keys, channels

    async def channel(self, authorization: str | None, named: str | None = None) -> Channel:
        """The channel that the submission comes from.

        Args:
            named: the channel that a token's holder speaks for (`?channel=`); a write key speaks for its own only.

        Raises:
            Problem: 401 unknown, 403 not allowed, 404 no such channel.
        """
        scheme, _, credential = (authorization or "").partition(" ")
        credential = credential.strip()
        if scheme.lower() == "bearer" and is_write_key(credential):
            own = await self._write_keys.channel_of(hash_write_key(credential))
            if own is None:
                raise Problem.of_status(401, {"WWW-Authenticate": "Bearer"})
            return own
        await self._access.authorise(authorization, "submission:write")
        return await self.named(named or "")

    async def named(self, channel_id: str) -> Channel:
        """The channel of this id; Problem 404 if there is none."""
        channel = await self._channels.find(channel_id) if 0 < len(channel_id) <= 100 else None
        if channel is None:
            raise Problem(404, "unknown_channel", "Name an existing channel by `?channel=`.", "请用 `?channel=` 指定已有渠道。", "channel")
        return channel


def hot_routes(accept: AcceptSubmissions, doorkeeper: Doorkeeper) -> list[Route]:
    """`POST /v1/submissions` and `POST /v1/submissions:batch`."""

    async def single(raw: bytes, channel: Channel, key: str, _: bytes) -> Response:
        return _single_answer(await accept.single(raw, channel, key))

    async def batch(raw: bytes, channel: Channel, key: str, query: bytes) -> Response:
        return _batch_answer(await accept.batch(raw, channel, key, set_aside=_asks_for_quarantine(query)))

    return [
        Route(SINGLE_PATH, Door(doorkeeper, single, SINGLE_PATH), methods=["POST"]),
        Route(BATCH_PATH, Door(doorkeeper, batch, BATCH_PATH), methods=["POST"]),
    ]


@checks_access
class Door:
    """One hot route. Every failure is an answer in the common error shape."""

    def __init__(self, doorkeeper: Doorkeeper, handle: Handle, path: str) -> None:
        self._doorkeeper, self._handle, self._path = doorkeeper, handle, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        try:
            response = await self._answer(scope, receive)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        headers: Headers = dict(scope["headers"])
        try:
            channel = await self._doorkeeper.channel(_text(headers.get(b"authorization")), _channel_of(scope["query_string"]))
            _check_content_type(headers.get(b"content-type", b"application/json"))
            key = _idempotency_key(headers)
            raw = await read_body(receive)
            with request_span(f"POST {self._path}", _text(headers.get(b"traceparent"))):
                return await self._handle(raw, channel, key, scope["query_string"])
        except Problem as problem:
            return problem.response()
        except Refused as refused:
            return refusal(refused.findings)
        except (Overloaded, TransientError):
            return Problem.of_status(503, {"Retry-After": RETRY_AFTER_SECONDS}).response()


async def read_body(receive: Receive) -> bytes:
    """The whole body; its size is bounded by the hosting around this."""
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def refusal(findings: tuple[Finding, ...], status: int | None = None) -> Response:
    """The first finding in the common error shape, and all of them beside it."""
    first = findings[0]
    body = {**_told(first), "findings": [_told(each) for each in findings]}
    return json_answer(body, status or (413 if first.code in {"batch_too_large", "too_large"} else 422))


def result(outcome: Outcome) -> dict[str, object]:
    """One item's result."""
    told: dict[str, object] = {"status": outcome.status}
    if outcome.submission_id is not None:
        told["submission_id"] = str(outcome.submission_id)
    return told | _told(outcome.findings[0]) if outcome.findings else told


def _single_answer(outcome: Outcome) -> Response:
    if outcome.status == "refused":
        return refusal(outcome.findings)
    if outcome.status == "conflict":
        return refusal(outcome.findings, 409)
    return json_answer(result(outcome), 202)


def _batch_answer(outcomes: list[Outcome]) -> Response:
    return json_answer({"items": [result(outcome) for outcome in outcomes]}, 202)


def _told(each: Finding) -> dict[str, object]:
    told: dict[str, object] = {"code": each.code, "message": {"en": each.en, "zh": each.zh}}
    return told | {"field": each.field} if each.field else told


def json_answer(body: object, status: int) -> Response:
    """A JSON answer, encoded by the fast encoder."""
    return Response(_encoder.encode(body), status, media_type="application/json")


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("latin-1")


def _channel_of(query: bytes) -> str | None:
    return parse_qs(query.decode("latin-1")).get("channel", [None])[0] if query else None


def _asks_for_quarantine(query: bytes) -> bool:
    wanted = parse_qs(query.decode("latin-1")).get("on_error", ["refuse"])[0] if query else "refuse"
    if wanted not in {"refuse", "quarantine"}:
        raise Problem(422, "choice_invalid", "One of: refuse, quarantine.", "只能是：refuse、quarantine。", "on_error")
    return wanted == "quarantine"


def _check_content_type(header: bytes) -> None:
    if header.split(b";", 1)[0].strip().lower() != b"application/json":
        raise Problem(415, "unsupported_media_type", "Send JSON as application/json.", "请以 application/json 发送 JSON。")


def _idempotency_key(headers: Headers) -> str:
    key = headers.get(b"idempotency-key", b"").decode("latin-1").strip()
    if len(key) > IDEMPOTENCY_KEY_MAX:
        raise Refused(finding("too_large", "Idempotency-Key"))
    return key
