"""Events published by dedup, all on one topic keyed by customer id. Consumers: profile, analytics, privacy.

Nothing may rely on the order of events of different customers: the highest `assignment` of a submission wins.
"""

from __future__ import annotations

from typing import ClassVar, Literal
from uuid import UUID

from shared.contracts.event import Event
from shared.contracts.submission import Submission

TOPIC = "dedup.identities.v1"
PART_SUBMISSIONS_MAX = 5_000


class SubmissionResolved(Event, frozen=True, kw_only=True):
    """A submission belongs to this customer.

    Attributes:
        assignment: the entity's version when the submission was attached.
        matched_on: identifier types that led to the customer; empty when the submission founded it.
        new_identifiers: false when every identifier of the submission was already linked to this customer, so that it adds nothing to look up by.
    """

    topic: ClassVar[str] = TOPIC
    type: ClassVar[str] = "dedup.submission-resolved.v1"
    customer_id: UUID
    assignment: int
    matched_on: tuple[str, ...] = ()
    new_identifiers: bool = True
    submission: Submission


class CustomersMerged(Event, frozen=True, kw_only=True):
    """Several customers proved to be one person; the survivor keeps its id, the absorbed become aliases. Ids only. Keyed by the survivor."""

    topic: ClassVar[str] = TOPIC
    type: ClassVar[str] = "dedup.customers-merged.v1"
    merge_id: UUID
    survivor_id: UUID
    absorbed_ids: tuple[UUID, ...]
    assignment: int
    matched_on: tuple[str, ...]
    cause_submission_id: UUID


class SubmissionsMoved(Event, frozen=True, kw_only=True):
    """What one customer gained or lost in a merge (later: split), in parts of at most `PART_SUBMISSIONS_MAX`. Keyed by `customer_id`.

    Attributes:
        customer_id: the customer this part is for; its worker folds it again.
        direction: `gained`: the submissions now belong to `customer_id`; `lost`: they now belong to `counterpart_id`.
        assignment: the move's number; a row that already has a higher one is left alone.
        part: 1 to `parts`.
        absorbed: on a `lost` part of a merge, true: `customer_id` is now an alias of `counterpart_id`.
    """

    topic: ClassVar[str] = TOPIC
    type: ClassVar[str] = "dedup.submissions-moved.v1"
    merge_id: UUID
    customer_id: UUID
    counterpart_id: UUID
    direction: Literal["gained", "lost"]
    assignment: int
    submission_ids: tuple[UUID, ...]
    absorbed: bool = False
    part: int
    parts: int


class SubmissionsErased(Event, frozen=True, kw_only=True):
    """Submissions of an erased customer, in parts; every holder marks the rows erased for good, dead letters included. Keyed by `customer_id`.

    Attributes:
        alias_ids: customers absorbed into this one, whose documents go as well; the same in every part.
    """

    topic: ClassVar[str] = TOPIC
    type: ClassVar[str] = "dedup.submissions-erased.v1"
    overtakes: ClassVar[bool] = True
    request_id: UUID
    customer_id: UUID
    alias_ids: tuple[UUID, ...] = ()
    submission_ids: tuple[UUID, ...]
    part: int
    parts: int


EVENTS: tuple[type[Event], ...] = (SubmissionResolved, CustomersMerged, SubmissionsMoved, SubmissionsErased)
