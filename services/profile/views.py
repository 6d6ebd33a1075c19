"""What a person at the door may see of a customer, by role."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from pydantic import BaseModel

from services.profile.domain.portrait import Tally
from services.profile.use_cases.read_customers import Moment, Portrayed
from shared.access import Principal
from shared.contracts.profile import GoldenField
from shared.policy import Catalogue
from shared.policy.masking import HIDDEN, masked

Shown = str | int | float | bool | None
_DIGITS = re.compile(r"\d[\d -]{4,}\d")
_MAILBOX = re.compile(r"\S+@\S+")


class FieldView(BaseModel):
    """One field; `value` null where the role may not see it."""

    value: Shown
    masked: bool


class CustomerView(BaseModel):
    """A customer as this principal may see it.

    Attributes:
        merged_from: the id that was asked for, when it was merged into this customer.
        erased: the golden record's key was destroyed, so no field can be shown.
    """

    customer_id: UUID
    merged_from: UUID | None = None
    version: int
    first_on: date | None
    last_on: date | None
    counts: dict[str, int]
    order_count: int
    revenue_minor: dict[str, int]
    fields: dict[str, FieldView]
    erased: bool = False


class ProvenanceView(BaseModel):
    """Where a field's value came from and how far it is trusted (0 to 100)."""

    value: Shown
    masked: bool
    submission_id: UUID
    channel_id: str
    trust: int
    occurred_at: datetime
    alternatives: int
    rule: str


class MomentView(BaseModel):
    """One item of the timeline; `erased` when its body's key was destroyed."""

    submission_id: UUID
    kind: str
    channel_id: str
    occurred_on: date
    occurred_at: datetime | None = None
    order_lines: list[dict[str, Any]]
    detail: dict[str, Any]
    erased: bool = False


class Shower:
    """Shows values to one principal."""

    def __init__(self, catalogue: Catalogue, principal: Principal) -> None:
        self._catalogue = catalogue
        self._roles = principal.roles
        self.unmasked = principal.may("customer:unmask")

    def value(self, field: str, value: str | int | float | bool) -> FieldView:
        """A field's value, whole, in part or not at all. A field that the catalogue no longer declares is treated as the most delicate."""
        declared = self._catalogue.fields.get(field)
        visibility = self._catalogue.visibility(declared.masking if declared else "sensitive", self._roles)
        if visibility == "clear":
            return FieldView(value=value, masked=False)
        return FieldView(value=masked(str(value), visibility), masked=True)

    def text(self, text: str) -> str:
        """Free text; who may not see contact data sees no long numbers and mailboxes in it either."""
        if self.unmasked:
            return text
        return _MAILBOX.sub(HIDDEN, _DIGITS.sub(HIDDEN, text))

    def customer(self, portrayed: Portrayed, asked: UUID | None = None) -> CustomerView:
        """A customer."""
        customer, tally = portrayed.customer, portrayed.customer.tally
        fields = portrayed.golden.fields if portrayed.golden is not None else {}
        return CustomerView(
            customer_id=customer.customer_id,
            merged_from=asked if asked != customer.customer_id else None,
            version=customer.version,
            **_figures(tally),
            fields={name: self.value(name, found.value) for name, found in fields.items()},
            erased=portrayed.golden is None,
        )

    def provenance(self, name: str, found: GoldenField) -> ProvenanceView:
        """Where one value came from."""
        view = self.value(name, found.value)
        declared = self._catalogue.fields.get(name)
        return ProvenanceView(
            value=view.value,
            masked=view.masked,
            submission_id=found.submission_id,
            channel_id=found.channel_id,
            trust=found.trust,
            occurred_at=found.occurred_at,
            alternatives=found.alternatives,
            rule=declared.survivorship if declared else "most_recent",
        )

    def moment(self, moment: Moment) -> MomentView | None:
        """One item of the timeline."""
        content, body = moment.row.content, moment.body
        if content is None:
            return None
        return MomentView(
            submission_id=moment.row.submission_id,
            kind=content.kind,
            channel_id=content.channel_id,
            occurred_on=content.occurred_on,
            occurred_at=body.occurred_at if body is not None else None,
            order_lines=[msgspec.to_builtins(line) for line in content.order_lines],
            detail=self._detail(moment),
            erased=body is None,
        )

    def _detail(self, moment: Moment) -> dict[str, Any]:
        body = moment.body
        if body is None:
            return {}
        detail: dict[str, Any] = {"order_id": body.order_id} if body.order_id else {}
        if body.fields:
            detail["fields"] = {name: self.value(name, value).model_dump() for name, value in body.fields.items()}
        for name, part in (("contact", body.contact), ("feedback", body.feedback), ("behaviour", body.behaviour)):
            if part is not None:
                detail[name] = self._texts(msgspec.to_builtins(part))
        return detail

    def _texts(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {name: self._texts(each) for name, each in value.items()}
        return value

    def moments(self, moments: Sequence[Moment]) -> list[MomentView]:
        """A page of the timeline."""
        return [view for moment in moments if (view := self.moment(moment)) is not None]


def _figures(tally: Tally) -> dict[str, Any]:
    return {
        "first_on": tally.first_on,
        "last_on": tally.last_on,
        "counts": dict(tally.kinds),
        "order_count": tally.order_count,
        "revenue_minor": dict(tally.revenue_minor),
    }
