"""What intake publishes about an entry."""

from __future__ import annotations

from services.intake.ports import Entry
from shared.contracts.event import Outgoing
from shared.contracts.ids import event_id
from shared.contracts.intake import SubmissionAccepted, SubmissionQuarantined
from shared.contracts.submission import Submission


def accepted_event(entry: Entry, sealed: bytes) -> Outgoing:
    """The accepted submission. Its key is the first 16 bits of its id, which is a keyed hash or random: spread, and nothing else."""
    checked = entry.checked
    if checked is None:
        raise ValueError("a quarantined entry is not accepted")
    submission = Submission(
        submission_id=entry.submission_id,
        kind=checked.kind,
        channel_id=entry.channel.id,
        channel_kind=entry.channel.kind,
        channel_trust=entry.channel.trust,
        received_on=entry.received_at.date(),
        occurred_on=checked.body.occurred_at.date(),
        has_consent=bool(checked.body.consents),
        has_fields=bool(checked.body.fields),
        order_lines=checked.order_lines,
        sealed=sealed,
    )
    return Outgoing(
        topic=SubmissionAccepted.topic,
        key=entry.submission_id.bytes[:2],
        event_id=event_id(entry.submission_id, "accepted"),
        event=SubmissionAccepted(submission=submission),
        occurred_at=entry.received_at,
        key_id=entry.submission_id,
        traceparent=entry.traceparent,
    )


def quarantined_event(entry: Entry) -> Outgoing:
    """The fact that an entry was set aside: reasons and field names only."""
    return Outgoing(
        topic=SubmissionQuarantined.topic,
        key=entry.submission_id.bytes[:2],
        event_id=event_id(entry.submission_id, "quarantined"),
        event=SubmissionQuarantined(
            submission_id=entry.submission_id,
            channel_id=entry.channel.id,
            received_on=entry.received_at.date(),
            reasons=tuple(finding.code for finding in entry.findings),
            fields=tuple(finding.place for finding in entry.findings),
        ),
        occurred_at=entry.received_at,
        traceparent=entry.traceparent,
    )
