"""HTTP doors: requests of data subjects, certificates, exports, consents, and a submission's trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from services.privacy.domain import access as access_rules
from services.privacy.domain import erasure
from services.privacy.domain.requests import COLLECTING, EXPIRED, Request, received
from services.privacy.mongo import MongoLedger, MongoRequestBook
from services.privacy.use_cases.requests import ConflictingRequest, NoteExportRead, OpenRequest, ReadConsents, ReadExport
from shared.access import Access, Principal
from shared.hosting.problem import Problem, ProblemBody

PAGE_MAX = 200
KEY_USED: dict[str, Any] = {"model": ProblemBody, "description": "The idempotency key stands for another request"}
NOT_YET: dict[str, Any] = {"model": ProblemBody, "description": "Not every holder has answered yet"}
EXPIRED_ANSWER: dict[str, Any] = {"model": ProblemBody, "description": "No longer fresh, and destroyed"}


class RequestWish(BaseModel):
    """A data subject's wish, keyed in by who answers for it."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["access", "erasure"]
    customer_id: UUID


@dataclass(frozen=True, slots=True)
class Doors:
    """What the routes need."""

    access: Access
    ledger: MongoLedger
    book: MongoRequestBook
    open_request: OpenRequest
    read_consents: ReadConsents
    read_export: ReadExport
    note_export_read: NoteExportRead
    wake_relay: Callable[[], object]


def router(doors: Doors) -> APIRouter:
    """All routes of privacy."""
    routes = APIRouter(prefix="/v1")
    _add_requests(routes, doors)
    _add_answers(routes, doors)
    _add_consents(routes, doors)
    return routes


def _add_requests(routes: APIRouter, doors: Doors) -> None:
    # As a default and not inside Annotated: annotations are texts here, and a text cannot name a local.
    manager = Depends(doors.access.require("request:manage"))

    @routes.post("/requests", status_code=202, responses={409: KEY_USED})
    async def open_request(
        wish: RequestWish,
        principal: Principal = manager,
        idempotency_key: Annotated[str, Header(max_length=200)] = "",
    ) -> dict[str, Any]:
        """Opens a request. The answer is the same whether or not the customer is known."""
        try:
            request = await doors.open_request(wish.kind, wish.customer_id, principal.id, idempotency_key)
        except ConflictingRequest:
            raise Problem(409, "key_used", "The idempotency key stands for another request.", "该幂等键已用于另一请求。") from None
        doors.wake_relay()
        return _summary(request)

    @routes.get("/requests", dependencies=[Depends(doors.access.require("request:read"))])
    async def list_requests(kind: Literal["access", "erasure"] | None = None, limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50) -> dict[str, Any]:
        """The newest requests."""
        return {"requests": [_summary(request) for request in await doors.book.requests(kind=kind, limit=limit)]}

    @routes.get("/requests/{request_id}", dependencies=[Depends(doors.access.require("request:read"))])
    async def read_request(request_id: UUID) -> dict[str, Any]:
        """State, steps with times, and what is still awaited from whom."""
        request = await _known(doors, request_id)
        return await _detail(doors, request)


def _add_answers(routes: APIRouter, doors: Doors) -> None:
    manager = Depends(doors.access.require("request:manage"))

    @routes.get("/requests/{request_id}/certificate", responses={409: NOT_YET}, dependencies=[Depends(doors.access.require("certificate:read"))])
    async def read_certificate(request_id: UUID) -> dict[str, Any]:
        """The newest revision of the signed certificate; verifiable offline."""
        await _known(doors, request_id, kind="erasure")
        certificate = await doors.book.certificate(request_id)
        if certificate is None:
            raise Problem(409, "not_yet", "The erasure is not closed yet; see its pending items.", "删除尚未完成，请查看待处理事项。")
        newest: dict[str, Any] = certificate["revisions"][-1]
        return newest

    @routes.get("/requests/{request_id}/export", responses={409: NOT_YET, 410: EXPIRED_ANSWER})
    async def read_export(request_id: UUID, principal: Principal = manager) -> StreamingResponse:
        """Everything that is held about the person, while it is fresh; sent part by part. Cut off if the person is erased meanwhile."""
        request = await _known(doors, request_id, kind="access")
        if request.stage == COLLECTING:
            raise Problem(409, "not_yet", "Not every holder has answered yet; see the pending items.", "部分数据持有方尚未答复，请查看待处理事项。")
        export = await doors.read_export(request)
        if request.stage == EXPIRED or export is None:
            raise Problem(
                410, "expired", "The export is no longer fresh and was destroyed; open a new request.", "导出已过期并销毁，请重新提交请求。"
            )
        await doors.note_export_read(request, principal.id)
        return StreamingResponse(export, media_type="application/json")


def _add_consents(routes: APIRouter, doors: Doors) -> None:
    @routes.get("/customers/{customer_id}/consents", dependencies=[Depends(doors.access.require("consent:read"))])
    async def read_consents(customer_id: UUID) -> dict[str, Any]:
        """Choices in force and their history; empty for somebody unknown or erased."""
        return await doors.read_consents(customer_id)

    @routes.get("/trace/{submission_id}", dependencies=[Depends(doors.access.require("trace:read"))])
    async def trace(submission_id: UUID) -> dict[str, Any]:
        """This service's part of a submission's life."""
        row = (await doors.ledger.rows([submission_id]))[submission_id]
        steps: list[dict[str, Any]] = []
        if row.erased:
            steps.append({"step": "consents_erased", "at": None, "detail": {}})
        elif row.recorded_at is not None:
            detail = {"customer_id": str(row.customer_id), "purposes": len(row.choices)}
            steps.append({"step": "consents_recorded", "at": row.recorded_at.isoformat(), "detail": detail})
        return {"service": "privacy", "steps": steps}


async def _known(doors: Doors, request_id: UUID, kind: str | None = None) -> Request:
    request = await doors.book.request(request_id)
    if request is None or (kind is not None and request.kind != kind):
        raise Problem.of_status(404)
    return request


async def _detail(doors: Doors, request: Request) -> dict[str, Any]:
    if request.kind == "access":
        pending = await _pending_of_access(doors, request)
    else:
        pending = erasure.pending(request.erasure, received(await doors.book.receipts(request.request_id)))
    late = bool(pending) and datetime.now(UTC) - request.waiting_since > erasure.LATE_AFTER
    certificate = await doors.book.certificate(request.request_id)
    if certificate is not None:
        # Closed in the live stores, yet some items end only with time or a rotation.
        pending = certificate["revisions"][-1]["certificate"]["pending"]
    return {**_summary(request), "pending": pending, "late": late}


async def _pending_of_access(doors: Doors, request: Request) -> list[str]:
    if request.stage != COLLECTING:
        return []
    parts: dict[str, dict[int, int]] = {}
    for holder, part, total in await doors.book.access_parts(request.request_id):
        parts.setdefault(holder, {})[part] = total
    return access_rules.pending(parts)


def _summary(request: Request) -> dict[str, Any]:
    return {
        "request_id": str(request.request_id),
        "kind": request.kind,
        "customer_id": str(request.customer_id),
        "state": str(request.stage),
        "opened_at": request.opened_at.isoformat(),
        "due_on": access_rules.due_on(request.opened_at).isoformat(),
        "steps": [{"step": step, "at": at.isoformat()} for step, at in request.steps],
    }
