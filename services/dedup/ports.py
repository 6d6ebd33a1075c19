"""What the use cases need from a store. Every read belongs to the given transaction's snapshot and may block for the client's timeout."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.dedup.domain.model import Entity, MatchingKey, Placed
from shared.contracts.privacy import ErasureBarrierSet
from shared.contracts.submission import Submission
from shared.messaging import Effects
from shared.storage import Transaction


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A submission that was resolved, kept as received.

    Attributes:
        founder: the submission that brought its signature first.
        matched: identifier types that led to the customer; empty if it founded one.
    """

    submission: Submission
    customer: UUID
    assignment: int
    founder: UUID
    matched: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundedEntity:
    """A new customer."""

    customer: UUID
    version: int
    submissions: int
    founder: UUID


@dataclass(frozen=True, slots=True)
class DecidedEntity:
    """A customer that the decision read, and what changes: it is written in any case, so that two decisions about it conflict."""

    customer: UUID
    version: int
    gained: int
    merged_into: UUID | None = None


@dataclass(frozen=True, slots=True)
class LoggedMove:
    """Submissions of the signatures with these founders go from `source` to the log's target; `parts` events tell each side."""

    source: UUID
    absorbed: bool
    founders: tuple[UUID, ...]
    parts: int


@dataclass(frozen=True, slots=True)
class MoveLog:
    """One customer gained from others: what an undo needs to know, and how far the parts are published.

    Attributes:
        submissions: how many move.
        move, part, after: the next part to publish, and the submission behind which it starts.
        open: parts are still to be published.
    """

    id: UUID
    target: UUID
    moves: tuple[LoggedMove, ...]
    assignment: int
    cause: UUID
    matched: tuple[str, ...]
    at: datetime
    submissions: int
    open: bool = True
    move: int = 0
    part: int = 1
    after: UUID | None = None


@dataclass(slots=True)
class Decision:
    """Everything a batch changes in the store."""

    at: datetime
    records: list[SourceRecord] = field(default_factory=list)
    founded_signatures: list[Placed] = field(default_factory=list)
    moved_signatures: list[Placed] = field(default_factory=list)
    """With the new customer and assignment."""
    identifiers: list[tuple[MatchingKey, bool, bool]] = field(default_factory=list)
    """Key, whether it is generic, whether it is contested."""
    founded: list[FoundedEntity] = field(default_factory=list)
    decided: list[DecidedEntity] = field(default_factory=list)
    logs: list[MoveLog] = field(default_factory=list)


class Identities(Protocol):
    """Reads and writes of one batch's decision."""

    async def settled(self, submissions: Collection[UUID], transaction: Transaction) -> set[UUID]:
        """Which of these are resolved or erased already."""
        ...

    async def placed(self, signatures: Collection[bytes], transaction: Transaction) -> dict[bytes, Placed]:
        """Stored signatures by id; unknown ids are left out."""
        ...

    async def bearers(self, tokens: Collection[bytes], transaction: Transaction) -> list[Placed]:
        """Every stored signature that bears one of these tokens."""
        ...

    async def generic(self, tokens: Collection[bytes], transaction: Transaction) -> set[bytes]:
        """Which of these tokens are known to be generic."""
        ...

    async def entities(self, customers: Collection[UUID], transaction: Transaction) -> dict[UUID, Entity]:
        """Customers by id."""
        ...

    async def count_submissions(self, founders: Iterable[UUID], transaction: Transaction) -> int:
        """How many living submissions the signatures with these founders hold."""
        ...

    async def submissions(self, founders: Iterable[UUID], before: int, after: UUID | None, limit: int, transaction: Transaction) -> Sequence[UUID]:
        """Living submissions of these signatures attached under a number below `before`, by id, from behind `after` on."""
        ...

    def write(self, decision: Decision, effects: Effects) -> None:
        """Adds the decision's writes to the batch's effects."""
        ...


class MoveLogs(Protocol):
    """The merge log, for those who finish it."""

    async def open_log(self, transaction: Transaction, touching: Collection[UUID] | None = None) -> MoveLog | None:
        """The oldest open log, of those that touch one of these customers if they are given."""
        ...

    async def save_progress(self, log: MoveLog, transaction: Transaction) -> None:
        """Stores how far the parts are published. Two finishers of one log conflict here."""
        ...


@dataclass(frozen=True, slots=True)
class SetAsideRecord:
    """An accepted submission that became a dead letter.

    Attributes:
        letter: id of the dead letter.
        submission: None if the record does not even say which one it is.
    """

    letter: str
    submission: Submission | None


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure that waits for its barrier or is being carried out.

    Attributes:
        offsets: the barrier: end offsets of the submissions topic by partition.
        holder: the customer who was erased; equals `customer` unless that was an alias.
        founders: signatures erased, by their founders; empty until the customer is marked erased.
        part, parts: the next part and how many there are; 0 parts while waiting.
        submissions: how many submissions there are to erase.
        dead_letters, unreadable: how many of them had been set aside; and how many others were that nobody can read.
    """

    request_id: UUID
    customer: UUID
    offsets: dict[int, int]
    state: str
    holder: UUID | None = None
    aliases: tuple[UUID, ...] = ()
    founders: tuple[UUID, ...] = ()
    part: int = 1
    parts: int = 0
    submissions: int = 0
    identifiers: int = 0
    dead_letters: int = 0
    unreadable: int = 0


class Erasures(Protocol):
    """What erasure reads and writes. Every write takes the caller's transaction."""

    async def due(self, positions: dict[int, int]) -> Sequence[Erasure]:
        """Requests whose barrier these consumed positions have passed, and those begun."""
        ...

    async def holder_of(self, customer: UUID, transaction: Transaction | None = None) -> UUID:
        """The customer that this id stands for now."""
        ...

    async def aliases_of(self, customer: UUID, transaction: Transaction | None = None) -> tuple[UUID, ...]:
        """Every id whose alias chain ends at this customer."""
        ...

    async def set_aside(self, after: str, limit: int, transaction: Transaction) -> Sequence[SetAsideRecord]:
        """Accepted submissions that became dead letters: a page behind the dead letter `after`."""
        ...

    async def attach(self, records: Sequence[SetAsideRecord], holder: UUID, founder: UUID, transaction: Transaction) -> None:
        """Makes dead letters the customer's source records of the signature with this founder, to be erased with the others."""
        ...

    async def forget_customer(self, holder: UUID, aliases: Collection[UUID], transaction: Transaction) -> tuple[tuple[UUID, ...], int]:
        """Marks customer and aliases erased, deletes signatures and the identifiers that nobody else bears. Repeats find nothing.

        Returns founders of the deleted signatures, and how many identifiers were deleted.
        """
        ...

    async def count_submissions(self, founders: Collection[UUID], transaction: Transaction) -> int:
        """How many submissions of these signatures are still to be erased."""
        ...

    async def forget_submissions(self, founders: Collection[UUID], limit: int, transaction: Transaction) -> Sequence[UUID]:
        """Empties up to `limit` source records of these signatures and marks them erased. Returns which."""
        ...

    async def stored(self, request_id: UUID, transaction: Transaction) -> Erasure:
        """How far the erasure is. What was read outside the transaction may be the past by now."""
        ...

    async def save(self, erasure: Erasure, before: Erasure, transaction: Transaction) -> None:
        """Stores how far the erasure is; TransientStorageError if it is no longer where `before` was. Two who carry it out conflict here."""
        ...


class CustomerRecords(Protocol):
    """What the requests of a person need."""

    async def of_customer(self, customer: UUID, transaction: Transaction) -> Sequence[Submission]:
        """Every living source record of the customer that this id stands for, as received, by id."""
        ...

    def note_erasure(self, barrier: ErasureBarrierSet, effects: Effects) -> None:
        """Notes an erasure that waits for its barrier; a repeat changes nothing."""
        ...
