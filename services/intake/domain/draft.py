"""A submission as a sender writes it, and the one decoder that reads it from raw bytes."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.contracts.submission import ConsentState, Kind

BATCH_MAX = 1_000

Scalar = str | int | float | bool | None
Word = Annotated[str, Meta(min_length=1, max_length=200)]
ShortText = Annotated[str, Meta(max_length=1_000)]
LongText = Annotated[str, Meta(max_length=20_000)]


class _Strict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Unknown members are refused, so that a misspelt name is noticed instead of lost."""


class DraftIdentifier(_Strict, kw_only=True):
    """Names the person: type, namespace where the type has one, value."""

    type: Word
    value: ShortText
    namespace: Annotated[str, Meta(max_length=100)] = ""


class DraftConsent(_Strict, kw_only=True):
    """A choice for one purpose; without a notice version the channel's default wording was shown."""

    purpose: Word
    state: ConsentState
    notice_version: Annotated[str, Meta(max_length=50)] = ""


class DraftLine(_Strict, kw_only=True):
    """One order line; the amount is what the line cost in all, as a decimal string or number."""

    product_code: Word
    quantity: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    amount: Decimal


class DraftOrder(_Strict, kw_only=True):
    """An order as a fact for the history; nothing is shipped or charged."""

    order_id: Word
    currency: Annotated[str, Meta(min_length=1, max_length=10)]
    lines: Annotated[list[DraftLine], Meta(min_length=1, max_length=500)]


class DraftContact(_Strict, kw_only=True):
    """A call, mail, chat, visit or note."""

    medium: Word
    direction: Literal["inbound", "outbound"] = "inbound"
    subject: ShortText = ""
    agent: ShortText = ""
    text: LongText = ""


class DraftFeedback(_Strict, kw_only=True):
    """A review, a survey answer or a complaint."""

    text: LongText = ""
    rating: Annotated[int, Meta(ge=0, le=10)] | None = None
    product_code: Annotated[str, Meta(max_length=200)] = ""


class DraftBehaviour(_Strict, kw_only=True):
    """Something done on a site or in an app."""

    name: Word
    properties: Annotated[dict[str, Scalar], Meta(max_length=200)] = {}


class Draft(_Strict, kw_only=True):
    """One submission as sent. See the OpenAPI description for what each member means."""

    kind: Kind
    message_id: Annotated[str, Meta(max_length=500)] = ""
    occurred_at: Annotated[datetime, Meta(tz=True)] | None = None
    identifiers: Annotated[list[DraftIdentifier], Meta(max_length=50)] = []
    fields: Annotated[dict[str, Scalar], Meta(max_length=200)] = {}
    consents: Annotated[list[DraftConsent], Meta(max_length=50)] = []
    order: DraftOrder | None = None
    contact: DraftContact | None = None
    feedback: DraftFeedback | None = None
    behaviour: DraftBehaviour | None = None


class DraftBatch(_Strict, kw_only=True):
    """Up to `BATCH_MAX` submissions."""

    submissions: list[Draft]


class RawBatch(_Strict, kw_only=True):
    """The same, each item still as bytes: read only when one of them does not fit."""

    submissions: list[msgspec.Raw]


draft_decoder = msgspec.json.Decoder(Draft)
batch_decoder = msgspec.json.Decoder(DraftBatch)
raw_batch_decoder = msgspec.json.Decoder(RawBatch)
