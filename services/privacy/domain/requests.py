"""Requests of data subjects and what holders answered, as values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from services.privacy.domain.erasure import Drained, Erasure, Received, Stage

Kind = Literal["access", "erasure"]
ASKED_AGAIN = "asked-again"
COLLECTING, READY, EXPIRED = "collecting", "ready", "expired"


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a data subject.

    Attributes:
        customer_id: as it was asked; perhaps unknown or an alias, which only the holders find out.
        opened_by: id of the principal who opened it.
        stage: of an erasure `draining`, `erasing`, `destroying`, `closed`; of an access `collecting`, `ready`, `expired`.
        asked_at, attempt: when and how often the holders were asked.
        steps: what happened, with times, oldest first.
    """

    request_id: UUID
    kind: Kind
    customer_id: UUID
    opened_at: datetime
    opened_by: str
    stage: str
    asked_at: datetime
    attempt: int = 1
    steps: tuple[tuple[str, datetime], ...] = ()

    @property
    def erasure(self) -> Erasure:
        """The erasure's place in its state machine."""
        return Erasure(Stage(self.stage), self.asked_at, self.attempt, self.waiting_since)

    @property
    def waiting_since(self) -> datetime:
        """When the last step was done; asking again is not getting on."""
        return next((at for step, at in reversed(self.steps) if step != ASKED_AGAIN), self.opened_at)

    def with_step(self, step: str, at: datetime) -> Request:
        """The request with one more step; of many that only asked again the last is kept, so that a long outage fills no document."""
        steps = self.steps[:-1] if step == ASKED_AGAIN and self.steps and self.steps[-1][0] == ASKED_AGAIN else self.steps
        return replace(self, steps=(*steps, (step, at)))


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one holder answered; `place` (process or part) tells it from its siblings, so that a repeat is the same receipt.

    Attributes:
        key_ids: perhaps only some of them, where all are not asked for; `key_count` is their true number.
        keys_in_all: how many key ids the holder names in all its parts, if it says so.
        spent: its keys are destroyed.
    """

    request_id: UUID
    holder: str
    stage: Literal["drained", "erased", "keys", "evicted"]
    place: str
    part: int = 1
    parts: int = 1
    live: tuple[str, ...] = ()
    attempt: int = 1
    offsets: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    key_ids: tuple[UUID, ...] = ()
    spent: bool = False
    key_count: int = 0
    keys_in_all: int | None = None

    @property
    def id(self) -> str:
        """Identity of the receipt, whatever way and however often it comes."""
        return f"{self.request_id.hex}:{self.stage}:{self.holder}:{self.place}"


def received(receipts: Iterable[Receipt]) -> Received:
    """The set of receipts as the state machine sees it."""
    drained: dict[str, Drained] = {}
    erased: dict[str, frozenset[int]] = {}
    parts: dict[str, int] = {}
    announced: Counter[str] = Counter()
    named: Counter[str] = Counter()
    evicted: dict[str, dict[str, frozenset[str]]] = {}
    unspent = spent = 0
    for receipt in receipts:
        if receipt.stage == "drained":
            drained[receipt.place] = Drained(frozenset(receipt.live) or frozenset({receipt.place}), receipt.offsets, receipt.attempt)
        elif receipt.stage == "erased":
            erased[receipt.holder] = erased.get(receipt.holder, frozenset()) | {receipt.part}
            parts[receipt.holder] = max(receipt.parts, parts.get(receipt.holder, 1))
            announced[receipt.holder] = max(receipt.keys_in_all or 0, announced[receipt.holder])
            named[receipt.holder] += receipt.key_count
        elif receipt.stage == "evicted":
            evicted.setdefault(receipt.holder, {})[receipt.place] = frozenset(receipt.live)
        unspent += bool(receipt.key_ids) and not receipt.spent
        spent += receipt.spent
    return Received(drained, erased, parts, announced - named, unspent, spent, evicted)


def counts_by_holder(receipts: Iterable[Receipt]) -> dict[str, dict[str, int]]:
    """What every holder erased, added up over its parts."""
    totals: dict[str, dict[str, int]] = {}
    for receipt in receipts:
        holder = totals.setdefault(receipt.holder, {})
        for name, count in receipt.counts.items():
            holder[name] = holder.get(name, 0) + count
    return totals
