"""A contribution: what one submission adds to the figures, and whose it is now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Line:
    """One order line; the amount in the currency's smallest unit, negative for a refund."""

    product: str
    currency: str
    quantity: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What is counted of a submission. Its customer is not among it: a move changes no fact.

    Attributes:
        day: ISO 8601 day on which it happened.
    """

    kind: str
    channel: str
    day: str
    lines: tuple[Line, ...] = ()

    @property
    def is_order(self) -> bool:
        """Whether something was bought; a transaction whose every line is negative is a refund."""
        return any(line.amount_minor >= 0 for line in self.lines)

    @property
    def order_day(self) -> str | None:
        """The day of the order, None if it is none."""
        return self.day if self.is_order else None


@dataclass(frozen=True, slots=True)
class Contribution:
    """A row, in one of three states: a stub waits for its body, a present one counts, an erased one stays erased.

    Attributes:
        assignment: number of the move or attachment that put it with `customer`; the highest wins in any order of arrival.
        facts: None unless present.
    """

    submission_id: UUID
    customer: UUID | None
    assignment: int
    facts: Facts | None = None
    erased: bool = False

    @property
    def holder(self) -> UUID | None:
        """The customer that it counts for now; None while it counts for nobody."""
        return self.customer if self.facts is not None else None


def arrived(row: Contribution | None, submission_id: UUID, customer: UUID, assignment: int, facts: Facts) -> Contribution:
    """The row after its body came with this assignment. A body that is already there is not taken twice."""
    placed = moved(row, submission_id, customer, assignment)
    return placed if placed.erased or placed.facts is not None else replace(placed, facts=facts)


def moved(row: Contribution | None, submission_id: UUID, customer: UUID, assignment: int) -> Contribution:
    """The row after a move. Before its body has come it is a stub, which keeps the move for later."""
    if row is None:
        return Contribution(submission_id, customer, assignment)
    if row.erased or row.assignment >= assignment:
        return row
    return replace(row, customer=customer, assignment=assignment)


def erased(submission_id: UUID) -> Contribution:
    """The row of an erased submission: only the mark is left, so that nothing that comes later can bring it back."""
    return Contribution(submission_id, None, 0, erased=True)
