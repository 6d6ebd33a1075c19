"""Events published by intake. Consumers: dedup (submissions), operators (quarantine)."""

from __future__ import annotations

from datetime import date
from typing import ClassVar
from uuid import UUID

from shared.contracts.event import Event
from shared.contracts.submission import Submission


class SubmissionAccepted(Event, frozen=True, kw_only=True):
    """A well-formed, allowed submission is durable. Key: 16-bit bucket of a keyed hash, for spread only; no order is promised."""

    topic: ClassVar[str] = "intake.submissions.v1"
    type: ClassVar[str] = "intake.submission-accepted.v1"
    submission: Submission


class SubmissionQuarantined(Event, frozen=True, kw_only=True):
    """A submission of a door that cannot resend was set aside. Holds no personal data: the sealed body stays with intake."""

    topic: ClassVar[str] = "intake.quarantine.v1"
    type: ClassVar[str] = "intake.submission-quarantined.v1"
    submission_id: UUID
    channel_id: str
    received_on: date
    reasons: tuple[str, ...]
    fields: tuple[str, ...] = ()
