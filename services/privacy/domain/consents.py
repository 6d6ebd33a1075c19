"""Consents: what the choices in force follow from.

A ledger row holds the choices of one submission and is written once; only the customer it belongs to may
change, under its assignment number. The state in force is a fold over the rows of a customer, so it does not
depend on the order, the repetition or the batching of what arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

State = Literal["granted", "denied", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Choice:
    """One purpose, decided by the person under one version of its notice."""

    purpose: str
    state: State
    notice_version: str


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """What the ledger knows of one submission.

    Attributes:
        assignment: number of the last move that was seen; the highest wins.
        occurred_at: when the person chose (aware, UTC); None while only a move is known (a stub).
        choices: empty while a stub, and for good once erased.
        recorded_at: when the choices were stored.
    """

    submission_id: UUID
    customer_id: UUID | None = None
    assignment: int = -1
    occurred_at: datetime | None = None
    recorded_at: datetime | None = None
    channel_id: str = ""
    choices: tuple[Choice, ...] = ()
    erased: bool = False

    @property
    def final(self) -> bool:
        """Whether a repeat of the submission changes nothing; a stub is no guard."""
        return self.erased or self.occurred_at is not None


@dataclass(frozen=True, slots=True)
class InForce:
    """The latest choice for a purpose and whether it still counts."""

    choice: Choice
    since: datetime
    ask_again: bool


def record(
    row: LedgerRow, *, customer: UUID, assignment: int, occurred_at: datetime, recorded_at: datetime, channel_id: str, choices: tuple[Choice, ...]
) -> LedgerRow:
    """The row after its submission arrived: choices are written once, the customer follows the higher assignment."""
    if row.erased:
        return row
    if not row.final:
        row = replace(row, occurred_at=occurred_at, recorded_at=recorded_at, channel_id=channel_id, choices=choices)
    return move(row, customer=customer, assignment=assignment)


def move(row: LedgerRow, *, customer: UUID, assignment: int) -> LedgerRow:
    """The row after a move, which may come before the submission itself; a lower number changes nothing."""
    if row.erased or assignment <= row.assignment:
        return row
    return replace(row, customer_id=customer, assignment=assignment)


def erase(row: LedgerRow) -> LedgerRow:
    """The mark that stays: id and nothing else, never to be filled again."""
    return LedgerRow(row.submission_id, erased=True)


_CARE = {"granted": 0, "denied": 1, "withdrawn": 2}
"""Of two choices made at once the one that asks for less stands: chance must not decide that somebody agreed."""


def in_force(rows: Iterable[LedgerRow], notices: Mapping[str, str] | None = None) -> dict[str, InForce]:
    """The choice in force for each purpose: the latest by time. Of choices at one instant the most careful stands, then ties go by submission id.

    Args:
        rows: ledger rows of one customer, in any order, with or without repeats.
        notices: notice version in use by purpose. A grant under another version does not cover it: ask again.
    """
    latest: dict[str, tuple[tuple[datetime, int, bytes], Choice]] = {}
    for row in rows:
        if row.erased or row.occurred_at is None:
            continue
        for choice in row.choices:
            stood, rank = latest.get(choice.purpose), (row.occurred_at, _CARE[choice.state], row.submission_id.bytes)
            if stood is None or rank >= stood[0]:
                latest[choice.purpose] = (rank, choice)
    return {purpose: InForce(choice, rank[0], _outdated(choice, notices or {})) for purpose, (rank, choice) in sorted(latest.items())}


def _outdated(choice: Choice, notices: Mapping[str, str]) -> bool:
    return choice.state == "granted" and notices.get(choice.purpose, choice.notice_version) != choice.notice_version
