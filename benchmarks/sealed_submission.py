"""A submission as intake would have sealed it, for benchmarks of the stages behind the door."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import msgspec

from shared.contracts.submission import BODY_VERSION, Behaviour, Identifier, Submission, SubmissionBody
from shared.sealing import DataKey, body_aad


def sealed_submission(submission_id: uuid.UUID, sent: dict[str, Any], key: DataKey) -> Submission:
    """Envelope and sealed body of one message of the workload."""
    moment = datetime.fromisoformat(sent["occurred_at"])
    fields = sent.get("fields", {})
    identifiers = [Identifier(each["type"], each["value"], each.get("namespace", "")) for each in sent["identifiers"]]
    identifiers += [Identifier(name, fields[name]) for name in ("phone", "email") if name in fields]
    behaviour = sent.get("behaviour")
    body = SubmissionBody(
        message_id=sent["message_id"],
        occurred_at=moment,
        identifiers=tuple(identifiers),
        fields=fields,
        behaviour=Behaviour(**behaviour) if behaviour else None,
    )
    return Submission(
        submission_id=submission_id,
        kind=sent["kind"],
        channel_id="web",
        channel_kind="web",
        channel_trust=50,
        received_on=moment.date(),
        occurred_on=moment.date(),
        has_fields=bool(fields),
        sealed=key.seal(msgspec.json.encode(body), body_aad(submission_id, BODY_VERSION)),
    )
