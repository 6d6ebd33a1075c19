"""One submission as profile keeps it, and the four things that can happen to it.

The row is the guard against repeats, but only in its final states: `present` (its body is here) or `erased`. A move
that arrives before its submission is kept in the same row as a `stub`, so that move and body meet in one document.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from uuid import UUID


class State(StrEnum):
    """How far a contribution has come; `present` and `erased` are final."""

    STUB = "stub"
    PRESENT = "present"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One line of an order; `amount_minor` in the currency's smallest unit, negative for a refund."""

    product_code: str
    quantity: int
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Content:
    """What came with the submission: the clear envelope, and the body as it was sealed at the door.

    Attributes:
        has_fields: the body carries values of catalogue fields.
        new_identifiers: the body carries an identifier that the customer was not known by before.
        sealed: the body's bytes; empty where a reader did not ask for them.
    """

    kind: str
    channel_id: str
    channel_kind: str
    channel_trust: int
    received_on: date
    occurred_on: date
    has_fields: bool
    new_identifiers: bool
    order_lines: tuple[OrderLine, ...]
    body_version: int
    sealed: bytes

    @property
    def tells_of_the_person(self) -> bool:
        """Whether the body can change a golden record or a look-up token; if not, it is counted without being opened."""
        return self.has_fields or self.new_identifiers


@dataclass(frozen=True, slots=True)
class Contribution:
    """A submission's row.

    Attributes:
        customer: who holds it now; None once erased.
        assignment: number of the decision that gave it to `customer`; the highest wins.
        content: set exactly in the state `present`.
    """

    submission_id: UUID
    customer: UUID | None
    assignment: int
    state: State
    content: Content | None = None

    @property
    def is_present(self) -> bool:
        """Whether the submission counts for its customer."""
        return self.state is State.PRESENT

    @property
    def is_final(self) -> bool:
        """Whether a repeat of the submission itself must change nothing."""
        return self.state is not State.STUB


def receive(row: Contribution | None, submission_id: UUID, customer: UUID, assignment: int, content: Content) -> Contribution:
    """The row after its submission arrived under a decision.

    A row in a final state keeps its content; a higher assignment still moves it, so that a replay of the present can only agree.
    """
    if row is None:
        return Contribution(submission_id, customer, assignment, State.PRESENT, content)
    if row.is_final:
        return move(row, submission_id, customer, assignment)
    return replace(move(row, submission_id, customer, assignment), state=State.PRESENT, content=content)


def move(row: Contribution | None, submission_id: UUID, customer: UUID, assignment: int) -> Contribution:
    """The row after a move; an unseen submission leaves a stub, a lower number and an erased row change nothing."""
    if row is None:
        return Contribution(submission_id, customer, assignment, State.STUB)
    if row.state is State.ERASED or assignment <= row.assignment:
        return row
    return replace(row, customer=customer, assignment=assignment)


def erase(row: Contribution | None, submission_id: UUID) -> Contribution:
    """The row after an erasure, seen before or not: nothing is left but the id that keeps it from coming back."""
    if row is not None and row.state is State.ERASED:
        return row
    return Contribution(submission_id, None, 0, State.ERASED)
