"""What the door's requests and answers look like, for OpenAPI and for the routes off the hot path."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.intake.domain.channels import Channel, ChannelKind, WriteKey
from services.intake.domain.draft import BATCH_MAX
from shared.contracts.submission import ConsentState, Kind
from shared.hosting import ProblemBody
from shared.hosting.problem import Message

Word = Annotated[str, Field(min_length=1, max_length=200)]
ShortText = Annotated[str, Field(max_length=1_000)]
LongText = Annotated[str, Field(max_length=20_000)]
Scalar = str | int | float | bool | None


class Strict(BaseModel):
    """Unknown members are refused."""

    model_config = ConfigDict(extra="forbid")


class IdentifierIn(Strict):
    """Names the person within a namespace."""

    type: Word = Field(description="A type of the catalogue", examples=["member_number"])
    value: ShortText = Field(examples=["M-100234"])
    namespace: str = Field("", max_length=100, description="Needed by types that mean something only within one system", examples=["shop"])


class ConsentIn(Strict):
    """A choice for one purpose."""

    purpose: Word = Field(examples=["marketing"])
    state: ConsentState
    notice_version: str = Field("", max_length=50, description="The wording that was shown; empty: the channel's default", examples=["2026-01"])


class LineIn(Strict):
    """One order line."""

    product_code: Word = Field(examples=["tea-100"])
    quantity: int = Field(1, ge=1, le=1_000_000)
    amount: float | str = Field(description="What the line cost in all, decimal; negative for a refund", examples=["59.90"])


class OrderIn(Strict):
    """An order as a fact for the history."""

    order_id: Word
    currency: str = Field(min_length=1, max_length=10, description="ISO 4217", examples=["CNY"])
    lines: list[LineIn] = Field(min_length=1, max_length=500)


class ContactIn(Strict):
    """A call, mail, chat, visit or note."""

    medium: Word = Field(examples=["call"])
    direction: Literal["inbound", "outbound"] = "inbound"
    subject: ShortText = ""
    agent: ShortText = ""
    text: LongText = ""


class FeedbackIn(Strict):
    """A review, a survey answer or a complaint."""

    text: LongText = ""
    rating: int | None = Field(None, ge=0, le=10)
    product_code: str = Field("", max_length=200)


class BehaviourIn(Strict):
    """Something done on a site or in an app."""

    name: Word = Field(examples=["page_viewed"])
    properties: dict[str, Scalar] = Field({}, max_length=200)


class SubmissionIn(Strict):
    """What a source says about one person. `order`, `contact`, `feedback` or `behaviour` stands there exactly if `kind` asks for it."""

    kind: Kind
    message_id: str = Field("", max_length=500, description="The sender's own id: a repeat with the same id has no second effect")
    occurred_at: datetime | None = Field(None, description="With time zone; at most 24 hours in the future; empty: now")
    identifiers: list[IdentifierIn] = Field([], max_length=50)
    fields: dict[str, Scalar] = Field(
        {}, max_length=200, description="Values by catalogue field name", examples=[{"name": "王芳", "phone": "13800138000"}]
    )
    consents: list[ConsentIn] = Field([], max_length=50)
    order: OrderIn | None = None
    contact: ContactIn | None = None
    feedback: FeedbackIn | None = None
    behaviour: BehaviourIn | None = None


class BatchIn(Strict):
    """Several submissions; the good ones go on whatever becomes of the others."""

    submissions: list[dict[str, Any]] = Field(min_length=1, max_length=BATCH_MAX, description="Each as for `POST /v1/submissions`")


class FindingOut(BaseModel):
    """One thing that is wrong."""

    code: str
    field: str = ""
    message: Message


class RefusalOut(ProblemBody):
    """The first finding in the common error shape, and all of them."""

    findings: list[FindingOut] = Field(default=[])


class AcceptedOut(BaseModel):
    """Durable: it will have exactly one effect."""

    submission_id: UUID
    status: Literal["accepted", "duplicate", "quarantined"]


class ResultOut(BaseModel):
    """What became of one item of a batch."""

    status: Literal["accepted", "duplicate", "conflict", "quarantined", "refused"]
    submission_id: UUID | None = None
    code: str | None = None
    field: str | None = None
    message: Message | None = None


class BatchOut(BaseModel):
    """One result per item, in the order sent."""

    items: list[ResultOut]


class SubmissionOut(BaseModel):
    """The life of a submission at the door; nothing personal."""

    submission_id: UUID
    state: Literal["accepted", "quarantined", "erased"]
    channel_id: str
    received_at: datetime
    published: bool
    published_at: datetime | None = None
    reasons: list[str] = []
    fields: list[str] = []


class StepOut(BaseModel):
    """One step in a submission's life."""

    step: str
    at: datetime | None
    detail: dict[str, str] = {}


class TraceOut(BaseModel):
    """Intake's part of a submission's life."""

    service: Literal["intake"] = "intake"
    steps: list[StepOut]


class ChannelIn(Strict):
    """A channel to be opened."""

    id: str = Field("", pattern=r"^([a-z0-9][a-z0-9_-]{0,62})?$", description="Empty: one is drawn", examples=["shop-web"])
    name: str = Field("", max_length=200)
    kind: ChannelKind
    trust: int | None = Field(None, ge=0, le=100, description="0 (hearsay) to 100 (checked against a document); empty: by kind")
    notice_version: str = Field("", max_length=50, description="The wording this channel shows; empty: the one in force")


class ChannelOut(BaseModel):
    """A channel."""

    id: str
    name: str
    kind: ChannelKind
    trust: int
    notice_version: str
    created_at: datetime
    keys: list[KeyOut] = []

    @classmethod
    def of(cls, channel: Channel, keys: list[WriteKey]) -> ChannelOut:
        """From the channel and its keys, of which only ids and times are shown."""
        return cls(
            id=channel.id,
            name=channel.name,
            kind=channel.kind,
            trust=channel.trust,
            notice_version=channel.notice_version,
            created_at=channel.created_at,
            keys=[KeyOut(key_id=key.id, created_at=key.created_at, revoked_at=key.revoked_at) for key in keys],
        )


class KeyOut(BaseModel):
    """A write key without the key."""

    key_id: str
    created_at: datetime
    revoked_at: datetime | None = None


class NewKeyOut(BaseModel):
    """A new write key; it is shown this once."""

    id: str = Field(description="The channel's id")
    key_id: str
    write_key: str


class RejectOut(BaseModel):
    """A row that was not let in."""

    row: int = Field(description="Row number in the file; the header is row 1")
    code: str
    field: str = ""
    message: Message


class ImportOut(BaseModel):
    """What became of a file."""

    import_id: str
    state: Literal["running", "done", "stopped"]
    rows: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    stripped: dict[str, int] = Field({}, description="Cells of private-life columns that were dropped, by column target")
    unmapped_columns: list[str] = []
    rejects: list[RejectOut] = []
    rejects_left_out: int = Field(0, description="Rejected rows beyond those listed")


ChannelOut.model_rebuild()
