"""The rows of one batch while its events are walked through: what they were, what they are now, and who must hear of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from services.profile.domain.contribution import Content, Contribution, OrderLine, State, erase, move, receive
from services.profile.ports import Arrival
from shared.contracts.dedup import SubmissionResolved, SubmissionsErased, SubmissionsMoved
from shared.contracts.submission import Submission
from shared.failpoints import mutant


@dataclass(slots=True)
class Ledger:
    """Rows by submission id.

    Attributes:
        before: as stored; an id without a row is left out.
        after: the rows that changed.
        causes: the last event that changed each of them.
        counted_again: submissions that a broken guard counts twice; empty but for the mutant of the crash test.
    """

    before: Mapping[UUID, Contribution]
    after: dict[UUID, Contribution] = field(default_factory=dict)
    causes: dict[UUID, Arrival] = field(default_factory=dict)
    counted_again: set[UUID] = field(default_factory=set)

    def row(self, submission_id: UUID) -> Contribution | None:
        """The row as it is now."""
        return self.after.get(submission_id) or self.before.get(submission_id)

    def enter(self, arrival: Arrival) -> None:
        """Apply one event to the rows it names."""
        match arrival.event:
            case SubmissionResolved() as event:
                self._enter_resolved(event, arrival)
            case SubmissionsMoved(direction="gained") as event:
                for submission_id in event.submission_ids:
                    self._set(move(self.row(submission_id), submission_id, event.customer_id, event.assignment), arrival)
            case SubmissionsErased() as event:
                for submission_id in event.submission_ids:
                    self._set(erase(self.row(submission_id), submission_id), arrival)
            case _:
                # A losing part changes no row: the gaining one does, and marks the loser. So each move is made once, by the worker that adds it.
                pass

    def _enter_resolved(self, event: SubmissionResolved, arrival: Arrival) -> None:
        submission, row = event.submission, self.row(event.submission.submission_id)
        if row is not None and mutant("existence_as_guard"):
            return
        if row is not None and row.state is State.PRESENT and mutant("no_id_guard"):
            self.counted_again.add(row.submission_id)
        self._set(receive(row, submission.submission_id, event.customer_id, event.assignment, content_of(submission, event.new_identifiers)), arrival)

    def _set(self, row: Contribution, arrival: Arrival) -> None:
        if row is self.row(row.submission_id):
            return
        self.after[row.submission_id] = row
        self.causes[row.submission_id] = arrival

    def holder_before(self, submission_id: UUID) -> UUID | None:
        """Who counted the submission when the batch began."""
        row = self.before.get(submission_id)
        return row.customer if row is not None and row.is_present else None

    def holder_after(self, submission_id: UUID) -> UUID | None:
        """Who has to count it now."""
        row = self.row(submission_id)
        return row.customer if row is not None and row.is_present else None


def mentioned(arrivals: Sequence[Arrival], *, assume_new: bool = False) -> set[UUID]:
    """Ids of all submissions whose rows may be there and change; with `assume_new` one that arrives has none."""
    return {submission_id for arrival in arrivals for submission_id in _ids(arrival, assume_new)}


def _ids(arrival: Arrival, assume_new: bool) -> Iterable[UUID]:
    match arrival.event:
        case SubmissionResolved() as event:
            return () if assume_new else (event.submission.submission_id,)
        case SubmissionsMoved(direction="gained") as event:
            return event.submission_ids
        case SubmissionsErased() as event:
            return event.submission_ids
        case _:
            return ()


def content_of(submission: Submission, new_identifiers: bool) -> Content:
    """The submission as a row keeps it; its sealed bytes stay as they are."""
    return Content(
        submission.kind,
        submission.channel_id,
        submission.channel_kind,
        submission.channel_trust,
        submission.received_on,
        submission.occurred_on,
        submission.has_fields,
        new_identifiers,
        tuple(OrderLine(line.product_code, line.quantity, line.amount_minor, line.currency) for line in submission.order_lines),
        submission.body_version,
        submission.sealed,
    )
