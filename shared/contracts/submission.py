"""A submission: the clear envelope that travels with it and the body that is sealed at the door."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal
from uuid import UUID

import msgspec

BODY_VERSION = 1

Kind = Literal["profile", "transaction", "contact", "feedback", "behaviour"]
ConsentState = Literal["granted", "denied", "withdrawn"]


class OrderLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of an order. Not personal by itself, so it stays clear in the envelope.

    Attributes:
        quantity: pieces, at least 1.
        amount_minor: what the line cost in all, in the currency's smallest unit (cents, fen); negative for a refund.
        currency: ISO 4217 code.
    """

    product_code: str
    quantity: int
    amount_minor: int
    currency: str


class Submission(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What intake accepted, as every later service passes it on: clear envelope plus sealed body, stored unchanged.

    Attributes:
        submission_id: also the id of the data key that opens `sealed`.
        channel_trust: 0 (hearsay) to 100 (checked against a document).
        received_on, occurred_on: days in UTC; the exact time is inside the body.
        has_fields: the body carries values of catalogue fields; without any it cannot change a golden record and need not be opened.
        order_lines: the order's lines, empty unless `kind` is `transaction`.
        sealed: nonce + AES-256-GCM of the JSON of `SubmissionBody`; associated data = submission id | body version.
    """

    submission_id: UUID
    kind: Kind
    channel_id: str
    channel_kind: str
    channel_trust: int
    received_on: date
    occurred_on: date
    has_consent: bool = False
    has_fields: bool = False
    order_lines: tuple[OrderLine, ...] = ()
    body_version: int = BODY_VERSION
    sealed: bytes


class Identifier(msgspec.Struct, frozen=True, omit_defaults=True):
    """Names a person within a namespace; `value` is in canonical form (E.164, match form of an e-mail, ...)."""

    type: str
    value: str
    namespace: str = ""


class Consent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A choice of the person for one purpose, under the wording that was shown."""

    purpose: str
    state: ConsentState
    notice_version: str


class Contact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call, mail, chat, visit or note."""

    medium: str
    direction: Literal["inbound", "outbound"] = "inbound"
    subject: str = ""
    agent: str = ""
    text: str = ""


class Feedback(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A review, a survey answer or a complaint; `rating` is 0 to 10."""

    text: str = ""
    rating: int | None = None
    product_code: str = ""


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something done on a site or in an app."""

    name: str
    properties: dict[str, str | int | float | bool | None] = {}


class SubmissionBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a source said about one person, validated and in canonical form. Sealed; never stored or sent in clear.

    Attributes:
        message_id: the sender's own id or idempotency key; empty if none was given.
        occurred_at: when it happened, aware, UTC.
        identifiers: canonical and without repeats; phone and e-mail stand here as well as in `fields`.
        fields: values by catalogue field name, canonical.
        raw_fields: the values as sent, of those that normalisation changed, by field name or path (`identifiers[0].value`). A value that
            stands here not was sent just as it is kept, so raw and clean are both whole without being stored twice.
        order_id: of a transaction; the lines stand in the envelope.
    """

    message_id: str = ""
    occurred_at: datetime
    identifiers: tuple[Identifier, ...] = ()
    fields: dict[str, str | int | float | bool] = {}
    raw_fields: dict[str, str] = {}
    consents: tuple[Consent, ...] = ()
    order_id: str = ""
    contact: Contact | None = None
    feedback: Feedback | None = None
    behaviour: Behaviour | None = None
