"""The figures over HTTP. For roles of the house: counts are exact, however small."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from services.analytics.figures import SPLITS, Figures, Grain, Metric, Split
from services.analytics.mongo import CONTRIBUTIONS
from shared.access import Access
from shared.hosting import Problem
from shared.storage import Store

SMALL_CELL_NOTE = "Counts below 10 are exact and for internal roles only; external editions leave them out."

_PERIOD = r"^(\d{4}-\d{2}(-\d{2})?)?$"
From = Annotated[str, Query(alias="from", pattern=_PERIOD, description="First day or month, ISO 8601; empty for no limit.")]
To = Annotated[str, Query(pattern=_PERIOD, description="Last day or month, included; empty for no limit.")]
Currency = Annotated[str | None, Query(pattern=r"^[A-Z]{3}$", description="ISO 4217 code.")]


class Kpis(BaseModel):
    """Counts in all. `customers` are living ones; `repeat_buyers` ordered more than once; money is in the currency's smallest unit."""

    customers: int
    buyers: int
    repeat_buyers: int
    submissions: int
    orders: int
    refunds: int
    merges: int
    revenue_minor: dict[str, int]
    note: str = SMALL_CELL_NOTE


class Point(BaseModel):
    """One value; `split` is the channel, kind, product or currency that it is about, if the series is split."""

    at: str
    value: int
    split: str | None = None


class Series(BaseModel):
    """Points in order of time."""

    metric: Metric
    by: Grain
    points: list[Point]
    note: str = SMALL_CELL_NOTE


class Item(BaseModel):
    """A product by its code, and what it sold in one currency: money in its smallest unit, or pieces."""

    key: str
    currency: str
    value: int


class Top(BaseModel):
    """Products with the highest value, highest first."""

    metric: Metric
    items: list[Item]


class Step(BaseModel):
    """One thing that happened to a submission here."""

    step: str
    at: datetime | None
    detail: dict[str, Any] = {}


class Trace(BaseModel):
    """This service's part of a submission's life."""

    service: str = "analytics"
    steps: list[Step]


def router(access: Access, figures: Figures, store: Store) -> APIRouter:
    """All routes of analytics."""
    routes = APIRouter(prefix="/v1", tags=["figures"])
    reads_figures = [Depends(access.require("figures:read"))]

    @routes.get("/kpis", dependencies=reads_figures)
    async def kpis() -> Kpis:
        """Counts in all."""
        return Kpis(**await figures.totals())

    @routes.get("/series", dependencies=reads_figures)
    async def series(
        metric: Metric,
        by: Grain = "day",
        from_: From = "",
        to: To = "",
        split: Split | None = None,
        currency: Currency = None,
    ) -> Series:
        """A metric over time. Revenue is never added up over currencies: without `currency` it is split by it."""
        if split is not None and split not in SPLITS.get(metric, {}):
            allowed = ", ".join(SPLITS.get(metric, {})) or "-"
            raise Problem(422, "split_not_available", f"This metric can be split by: {allowed}.", f"该指标可按以下维度拆分：{allowed}。", "split")
        if metric == "revenue" and currency is None and split not in {None, "currency"}:
            raise Problem(422, "currency_needed", "Name a currency to split revenue by product.", "按产品拆分收入时请指定货币。", "currency")
        if metric == "revenue" and currency is None:
            split = "currency"
        grain: Grain = "month" if metric in {"new_buyers", "returning_buyers"} else by
        points = await figures.series(metric, grain, from_, to, split, currency)
        return Series(metric=metric, by=grain, points=[Point(**point) for point in points])

    @routes.get("/top", dependencies=reads_figures)
    async def top(
        metric: Metric = "revenue",
        by: Annotated[str, Query(pattern="^product$")] = "product",
        currency: Currency = None,
        from_: From = "",
        to: To = "",
        limit: Annotated[int, Query(ge=1, le=1_000)] = 10,
    ) -> Top:
        """The products that sell best."""
        if metric not in {"revenue", "quantity"}:
            raise Problem(422, "metric_not_available", "Products are ranked by revenue or quantity.", "产品只能按收入或数量排名。", "metric")
        return Top(metric=metric, items=[Item(**item) for item in await figures.top_products(metric, currency, from_, to, limit)])

    @routes.get("/trace/{submission_id}", dependencies=[Depends(access.require("trace:read"))], tags=["trace"])
    async def trace(submission_id: UUID) -> Trace:
        """What was counted of a submission, and for which customer."""
        return Trace(steps=_steps(await store.collection(CONTRIBUTIONS).find_one({"_id": submission_id.bytes})))

    return routes


def _steps(row: dict[str, Any] | None) -> list[Step]:
    if row is None:
        return []
    if row.get("erased"):
        return [Step(step="erased", at=None)]
    customer = {"customer_id": str(UUID(bytes=row["customer"])), "assignment": row["assignment"]}
    if "kind" not in row:
        return [Step(step="moved_before_arrival", at=row["at"], detail=customer)]
    return [Step(step="counted", at=row["at"], detail={**customer, "kind": row["kind"], "day": row["day"], "order_lines": len(row["lines"])})]
