"""Topics as code: what each carries, how it is kept, and what a consumer does behind a bad record."""

from __future__ import annotations

from dataclasses import dataclass

from shared.contracts import dedup, intake, privacy, profile
from shared.contracts.event import Event

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic and the promises that consumers may rely on.

    Attributes:
        partitions: fixed for good, since a key must stay in its partition.
        retention_ms: how long records are kept; None on compacted topics.
        compacted: only the last record of a key is kept.
        park_keys: behind a dead-lettered record, later records of the same key are parked too.
    """

    name: str
    publisher: str
    events: tuple[type[Event], ...]
    meaning: str
    partitions: int = 12
    retention_ms: int | None = 7 * DAY_MS
    compacted: bool = False
    park_keys: bool = False

    @property
    def config(self) -> dict[str, str]:
        """Topic settings for the broker. Erasure needs short segments: only a closed one is compacted or expired (kept small on purpose)."""
        shared = {"max.message.bytes": str(8 * 1024 * 1024), "compression.type": "producer"}
        if self.compacted:
            return shared | {
                "cleanup.policy": "compact",
                "max.compaction.lag.ms": str(HOUR_MS),
                "min.cleanable.dirty.ratio": "0.1",
                "delete.retention.ms": str(DAY_MS),
                "segment.ms": str(HOUR_MS),
            }
        return shared | {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms), "segment.ms": str(6 * HOUR_MS)}


SUBMISSIONS = Topic("intake.submissions.v1", "intake", (intake.SubmissionAccepted,), "accepted submissions, sealed; no order is promised")
QUARANTINE = Topic("intake.quarantine.v1", "intake", (intake.SubmissionQuarantined,), "submissions set aside, reasons only")
IDENTITIES = Topic("dedup.identities.v1", "dedup", dedup.EVENTS, "who each submission belongs to, merges and erasures, by customer", park_keys=True)
CHANGES = Topic("profile.changes.v1", "profile", (profile.CustomerChanged,), "the present state of every customer", retention_ms=None, compacted=True)
CONSENTS = Topic(
    "privacy.consents.v1", "privacy", (privacy.ConsentsChanged,), "the choices in force of every customer", retention_ms=None, compacted=True
)
REQUESTS = Topic("privacy.requests.v1", "privacy", privacy.REQUEST_EVENTS, "erasure and access requests, destroyed keys", partitions=1)
RECEIPTS = Topic("privacy.receipts.v1", "all", privacy.RECEIPT_EVENTS, "what each data holder did for a request", partitions=1)
DEAD_LETTERS = Topic("kehu.dead-letters.v1", "all", (), "records set aside, with reason and coordinates", retention_ms=14 * DAY_MS)

TOPICS: tuple[Topic, ...] = (SUBMISSIONS, QUARANTINE, IDENTITIES, CHANGES, CONSENTS, REQUESTS, RECEIPTS, DEAD_LETTERS)

SUBSCRIPTIONS: dict[str, tuple[Topic, ...]] = {
    "intake": (REQUESTS,),
    "dedup": (SUBMISSIONS, REQUESTS),
    "profile": (IDENTITIES, REQUESTS),
    "analytics": (IDENTITIES, REQUESTS),
    "privacy": (IDENTITIES, RECEIPTS, REQUESTS),
}
"""Which topics each service's consumer group reads; broadcast readers have no group and are not listed."""
