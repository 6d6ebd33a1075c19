"""HTTP doors: why a customer is one person, a submission's trace, and the merge log. Ids and types only, no values."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from services.dedup.mongo.views import MongoViews
from shared.access import Access
from shared.hosting import Problem

PAGE_MAX = 200
LOOKUP_MAX = 1_000


class Wanted(BaseModel):
    """Submissions to be looked up."""

    model_config = ConfigDict(extra="forbid")

    submission_ids: Annotated[list[UUID], Field(max_length=LOOKUP_MAX)]


def router(views: MongoViews, access: Access) -> APIRouter:
    """The routes of dedup."""
    routes = APIRouter(prefix="/v1", tags=["dedup"])

    @routes.get("/customers/{customer_id}/resolution", dependencies=[Depends(access.require("customer:read"))])
    async def resolution(customer_id: UUID) -> dict[str, Any]:
        """Which source records are this customer, what each matched on, its aliases and merges. Any id it ever had will do."""
        found = await views.resolution(customer_id)
        if found is None:
            raise Problem.of_status(404)
        return found

    @routes.get("/trace/{submission_id}", dependencies=[Depends(access.require("trace:read"))])
    async def trace(submission_id: UUID) -> dict[str, Any]:
        """This service's part of a submission's life: resolved to whom, why and when, and every move since."""
        return {"service": "dedup", "steps": await views.trace(submission_id)}

    @routes.post("/resolutions:lookup", dependencies=[Depends(access.require("trace:read"))])
    async def resolutions(wanted: Wanted) -> dict[str, dict[UUID, UUID | None]]:
        """The living customer of up to 1,000 submissions; null for one that is unknown, not resolved yet, or erased."""
        return {"customers": await views.customers_of(wanted.submission_ids)}

    @routes.get("/merges", dependencies=[Depends(access.require("customer:read"))])
    async def merges(limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50, before: datetime | None = None) -> dict[str, Any]:
        """The newest merges and moves; `before` pages on."""
        return {"merges": await views.merges(limit, before)}

    return routes
