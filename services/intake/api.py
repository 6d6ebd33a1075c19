"""Every route of intake but the two hot ones, which stand here only for the document: `door.py` answers them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NoReturn
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from services.intake.channel_desk import ChannelDesk, NewKey
from services.intake.domain.findings import Refused
from services.intake.door import Doorkeeper, json_answer, refusal, result
from services.intake.models import (
    AcceptedOut,
    BatchIn,
    BatchOut,
    ChannelIn,
    ChannelOut,
    NewKeyOut,
    RefusalOut,
    StepOut,
    SubmissionIn,
    SubmissionOut,
    TraceOut,
)
from services.intake.ports import Ledger, LedgerRow
from services.intake.use_cases import AcceptSubmissions
from shared.access import Access, Principal
from shared.hosting import Problem

Responses = dict[int | str, dict[str, Any]]
_REFUSALS: Responses = {422: {"model": RefusalOut, "description": "What is wrong, by field, in English and Chinese"}}
_CONFLICT: Responses = {409: {"model": RefusalOut, "description": "This id was used before with another content"}}
_EXISTS: Responses = {409: {"model": RefusalOut, "description": "There is a channel with this id"}}
_UNSUPPORTED: Responses = {415: {"model": RefusalOut, "description": "Not JSON"}}
IdempotencyKey = Annotated[str, Header(alias="Idempotency-Key", max_length=400, description="Stands for a message id that the body lacks")]
NamedChannel = Annotated[str | None, Query(max_length=100, description="For holders of a token: the channel they speak for")]
OnError = Annotated[Literal["refuse", "quarantine"], Query(description="quarantine: for senders that cannot resend a part")]


def door_router(access: Access) -> APIRouter:
    """The hot routes as documented; requests never get here, since the raw routes of the same paths come first."""
    router = APIRouter(tags=["submissions"])
    writes = Depends(access.require("submission:write"))

    @router.post(
        "/v1/submissions",
        status_code=202,
        response_model=AcceptedOut,
        responses=_REFUSALS | _CONFLICT | _UNSUPPORTED,
        dependencies=[writes],
        summary="Submit one: 202 means durable",
    )
    async def submit(body: SubmissionIn, key: IdempotencyKey = "", channel: NamedChannel = None) -> NoReturn:
        raise _never_reached()

    @router.post(
        "/v1/submissions:batch",
        status_code=202,
        response_model=BatchOut,
        responses=_REFUSALS | _UNSUPPORTED,
        dependencies=[writes],
        summary="Submit up to 1,000: one result each",
    )
    async def submit_batch(
        body: BatchIn,
        key: IdempotencyKey = "",
        channel: NamedChannel = None,
        on_error: OnError = "refuse",
    ) -> NoReturn:
        raise _never_reached()

    return router


def submissions_router(access: Access, ledger: Ledger) -> APIRouter:
    """What became of a submission."""
    router = APIRouter(tags=["submissions"])
    reads = Depends(access.require("submission:read"))

    @router.get("/v1/submissions/{submission_id}", summary="State, times and reasons; nothing personal")
    async def submission(submission_id: UUID, principal: Principal = reads) -> SubmissionOut:
        return _submission_out(_visible(await ledger.find(submission_id), principal))

    @router.get("/v1/trace/{submission_id}", dependencies=[Depends(access.require("trace:read"))], summary="Intake's part of a submission's life")
    async def trace(submission_id: UUID) -> TraceOut:
        row = await ledger.find(submission_id)
        return TraceOut(steps=[] if row is None else list(_steps(row)))

    return router


def quarantine_router(access: Access, ledger: Ledger, accept: AcceptSubmissions, doorkeeper: Doorkeeper) -> APIRouter:
    """What was set aside, and how it is put right."""
    router = APIRouter(tags=["quarantine"])
    manages = Depends(access.require("quarantine:manage"))

    @router.get("/v1/quarantine", dependencies=[manages], summary="Reasons and fields, newest first; never the content")
    async def quarantined(channel: NamedChannel = None, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> list[SubmissionOut]:
        return [_submission_out(row) for row in await ledger.quarantined(channel, limit)]

    @router.put(
        "/v1/quarantine/{submission_id}",
        status_code=202,
        response_model=AcceptedOut,
        responses=_REFUSALS | _CONFLICT,
        dependencies=[manages],
        summary="Send the corrected submission; it keeps its id",
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SubmissionIn"}}}}},
    )
    async def correct(submission_id: UUID, request: Request) -> Response:
        row = await ledger.find(submission_id)
        if row is None or row.state != "quarantined":
            raise Problem.of_status(404)
        try:
            outcome = await accept.correct(submission_id, await request.body(), await doorkeeper.named(row.channel_id))
        except Refused as refused:
            return refusal(refused.findings)
        if outcome.status == "conflict":
            return refusal(outcome.findings, 409)
        return json_answer(result(outcome), 202)

    return router


def channels_router(access: Access, desk: ChannelDesk) -> APIRouter:
    """Channels and their write keys."""
    router = APIRouter(tags=["channels"], dependencies=[Depends(access.require("channel:manage"))])

    @router.post(
        "/v1/channels", status_code=201, responses={409: {"model": RefusalOut}}, summary="Open a channel; its first write key is shown this once"
    )
    async def open_channel(body: ChannelIn) -> NewKeyOut:
        return _key_out(await desk.open(body.id, body.name, body.kind, body.trust, body.notice_version))

    @router.get("/v1/channels", summary="All channels with the ids of their keys")
    async def channels() -> list[ChannelOut]:
        return [ChannelOut.of(channel, keys) for channel, keys in await desk.all()]

    @router.post("/v1/channels/{channel_id}/keys", status_code=201, summary="Another write key, shown this once")
    async def new_key(channel_id: str) -> NewKeyOut:
        return _key_out(await desk.new_key(channel_id))

    @router.delete("/v1/channels/{channel_id}/keys/{key_id}", status_code=204, summary="Revoke a key, at once")
    async def revoke(channel_id: str, key_id: str) -> None:
        await desk.revoke(channel_id, key_id)

    @router.delete("/v1/channels/{channel_id}", status_code=204, summary="Close a channel: revoke all its keys")
    async def close(channel_id: str) -> None:
        await desk.close(channel_id)

    return router


def _never_reached() -> Problem:
    return Problem.of_status(404)


def _visible(row: LedgerRow | None, principal: Principal) -> LedgerRow:
    """A channel sees its own submissions only, and is not told that others exist."""
    if row is None or (principal.kind == "channel" and row.channel_id != principal.id):
        raise Problem.of_status(404)
    return row


def _submission_out(row: LedgerRow) -> SubmissionOut:
    return SubmissionOut(
        submission_id=row.submission_id,
        state=row.state,
        channel_id=row.channel_id,
        received_at=row.received_at,
        published=row.published,
        published_at=row.published_at,
        reasons=list(row.reasons),
        fields=list(row.fields),
    )


def _steps(row: LedgerRow) -> list[StepOut]:
    if row.state == "quarantined":
        return [StepOut(step="quarantined", at=row.received_at, detail={"channel": row.channel_id, "reasons": ",".join(row.reasons)})]
    steps = [StepOut(step="accepted", at=row.received_at, detail={"channel": row.channel_id})]
    if row.published:
        steps.append(StepOut(step="published", at=row.published_at))
    if row.state == "erased":
        steps.append(StepOut(step="erased", at=row.erased_at))
    return steps


def _key_out(new: NewKey) -> NewKeyOut:
    return NewKeyOut(id=new.channel_id, key_id=new.key_id, write_key=new.write_key)
