"""Profile's doors for people: look a customer up, see its life, see where a value came from. Every look is logged before it is answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from services.profile.domain.contribution import State
from services.profile.domain.customer import Customer
from services.profile.ports import CustomerReader, ReadEntry
from services.profile.use_cases.apply_identities import Clock
from services.profile.use_cases.export_access import KINDS
from services.profile.use_cases.read_customers import Cursor, ReadCustomers, cursor_behind, read_cursor, shown_cursor
from services.profile.views import CustomerView, MomentView, ProvenanceView, Shower
from shared.access import Access, Principal
from shared.hosting import Problem
from shared.policy import Catalogue, InvalidValue, canonical
from shared.telemetry.metrics import READS

PAGE_MAX = 200


class Lookup(BaseModel):
    """An identifier to look a customer up by, as it was given: any spelling of the same value finds the same customer."""

    model_config = ConfigDict(extra="forbid")
    type: str = Field(examples=["phone"], max_length=40)
    value: str = Field(examples=["138 0013 8000"], max_length=320)
    namespace: str = Field("", examples=["crm"], max_length=80)
    country: str = Field("CN", pattern="^[A-Za-z]{2}$")


class Customers(BaseModel):
    """Customers that an identifier names; more than one where people share it."""

    customers: list[CustomerView]


class Timeline(BaseModel):
    """A page, newest first; `next` is the `before` of the following one."""

    items: list[MomentView]
    next: str | None


class Provenance(BaseModel):
    """The source of every golden value."""

    customer_id: UUID
    fields: dict[str, ProvenanceView]


class Step(BaseModel):
    """Something that happened to a submission here."""

    step: str
    at: datetime | None
    detail: dict[str, Any]


class Trace(BaseModel):
    """This service's part of a submission's life."""

    service: str = "profile"
    steps: list[Step]


@dataclass(frozen=True, slots=True)
class Doors:
    """What the routes need."""

    access: Access
    catalogue: Catalogue
    read: ReadCustomers
    reader: CustomerReader
    clock: Clock

    async def log(self, principal: Principal, customers: Iterable[UUID], what: str, fields: Iterable[str], shower: Shower) -> None:
        """Write down who looked at whom, before the answer leaves."""
        entry = ReadEntry(self.clock(), principal.id, tuple(customers), what, tuple(sorted(set(fields))), shower.unmasked)
        await self.reader.log_read(entry)
        READS.add(len(entry.customers), {"what": what})

    async def customer(self, customer_id: UUID) -> Customer:
        """The living customer behind an id. Problem 404 if there is none."""
        customer = await self.read.living(customer_id)
        if customer is None:
            raise Problem(404, "customer_unknown", "No customer has this id, or it was erased.", "没有此编号的客户，或该客户已被删除。")
        return customer


def router(doors: Doors) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    # A default and not `Annotated`: postponed annotations cannot name what this function closes over.
    can_read = Depends(doors.access.require("customer:read"))

    @routes.get("/v1/customers/{customer_id}")
    async def customer(customer_id: UUID, principal: Principal = can_read) -> CustomerView:
        """One customer, also by an id that was merged away."""
        found, shower = await doors.customer(customer_id), Shower(doors.catalogue, principal)
        [portrayed] = await doors.read.portrayed([found])
        view = shower.customer(portrayed, customer_id)
        await doors.log(principal, [found.customer_id], "customer", view.fields, shower)
        return view

    @routes.post("/v1/customers:lookup")
    async def lookup(wanted: Lookup, principal: Principal = can_read) -> Customers:
        """Customers by phone, e-mail, member number or an id of another system. The value stands in the body, so no access log keeps it."""
        shower = Shower(doors.catalogue, principal)
        found = await doors.read.by_identifier(wanted.type, _canonical(doors.catalogue, wanted), wanted.namespace)
        views = [shower.customer(portrayed) for portrayed in await doors.read.portrayed(found)]
        fields = {name for view in views for name in view.fields}
        await doors.log(principal, [view.customer_id for view in views], f"lookup by {wanted.type}", fields, shower)
        return Customers(customers=views)

    @routes.get("/v1/customers", dependencies=[can_read], response_model=None)
    async def refuse_lookup() -> None:
        """Refused: a personal value in an address would stay in the logs of every proxy on the way."""
        en = "Send the value in the body of POST /v1/customers:lookup, so that it stays out of access logs."
        raise Problem(422, "personal_value_in_address", en, "请用 POST /v1/customers:lookup 的正文发送该值，以免其留在访问日志中。")

    @routes.get("/v1/customers/{customer_id}/timeline")
    async def timeline(
        customer_id: UUID,
        principal: Principal = can_read,
        before: str | None = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
        kind: Annotated[Sequence[str], Query()] = KINDS,
    ) -> Timeline:
        """What happened with the customer, newest first."""
        found, shower = await doors.customer(customer_id), Shower(doors.catalogue, principal)
        moments = await doors.read.timeline(found.customer_id, kind, _cursor(before), limit)
        await doors.log(principal, [found.customer_id], "timeline", {name for one in moments if one.body for name in one.body.fields}, shower)
        behind = cursor_behind(moments) if len(moments) == limit else None
        return Timeline(items=shower.moments(moments), next=shown_cursor(behind) if behind else None)

    @routes.get("/v1/customers/{customer_id}/provenance")
    async def provenance(customer_id: UUID, principal: Principal = can_read) -> Provenance:
        """Which source each golden value came from, when, and how far it is trusted."""
        found, shower = await doors.customer(customer_id), Shower(doors.catalogue, principal)
        [portrayed] = await doors.read.portrayed([found])
        fields = portrayed.golden.fields if portrayed.golden is not None else {}
        await doors.log(principal, [found.customer_id], "provenance", fields, shower)
        return Provenance(customer_id=found.customer_id, fields={name: shower.provenance(name, golden) for name, golden in fields.items()})

    @routes.get("/v1/trace/{submission_id}", dependencies=[Depends(doors.access.require("trace:read"))])
    async def trace(submission_id: UUID) -> Trace:
        """When a submission was applied and to which customer. Opaque ids only."""
        return Trace(steps=await _steps(doors.reader, submission_id))

    return routes


async def _steps(reader: CustomerReader, submission_id: UUID) -> list[Step]:
    found = await reader.contribution(submission_id)
    if found is None:
        return []
    row, at, version = found
    if row.state is State.ERASED:
        return [Step(step="erased", at=None, detail={})]
    step = "applied" if row.is_present else "moved_before_arrival"
    return [Step(step=step, at=at, detail={"customer_id": str(row.customer), "assignment": row.assignment, "version": version})]


def _canonical(catalogue: Catalogue, wanted: Lookup) -> str:
    declared = catalogue.identifiers.get(wanted.type)
    if declared is None:
        raise Problem(422, "identifier_unknown", "No such type of identifier.", "没有此类标识符。", "type")
    try:
        return canonical(declared.type, wanted.value, wanted.country.upper())
    except InvalidValue as error:
        raise Problem(422, error.code, error.message_en, error.message_zh, "value") from None


def _cursor(shown: str | None) -> Cursor | None:
    if shown is None:
        return None
    try:
        return read_cursor(shown)
    except ValueError:
        raise Problem(422, "cursor_invalid", "Send `before` as `next` was given.", "请按 next 给出的值填写 before。", "before") from None
