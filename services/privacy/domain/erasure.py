"""Erasure as a small state machine.

    draining -> erasing -> destroying -> closed

What has been reported is a *set* of receipts, and the next step is a function of stage and set. So receipts may
repeat, come early, late or in any order, and a crash at any line only means that the same step is decided again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

ERASING_HOLDERS = ("dedup", "profile", "analytics", "privacy")
"""Who must report `erased`; intake holds nothing that opens without the keys and reports only that it drained."""

REPEAT_AFTER = timedelta(seconds=15)
"""A process that died after it was named as live never answers; asking again brings a fresh list of the living."""

CACHING = ("intake", "dedup", "profile", "analytics", "privacy")
"""Services whose processes keep opened keys in memory for a while."""

CACHES_EMPTY_AFTER = timedelta(seconds=75)
"""Whoever was not heard of has no destroyed key left by then: a cache period, and what the transaction that nulled it may last (15 s)."""

LATE_AFTER = timedelta(seconds=60)
"""A step that waits longer than this is shown as late: everything in the live stores should be over by then."""


class Stage(StrEnum):
    """How far an erasure has come."""

    DRAINING = "draining"
    ERASING = "erasing"
    DESTROYING = "destroying"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Drained:
    """One intake process has published all it had accepted before it saw the request.

    Attributes:
        live: intake processes alive at that moment, by the ledger of leases.
        offsets: end offset of the submissions topic by partition.
        attempt: which asking it answered.
    """

    live: frozenset[str]
    offsets: Mapping[str, int]
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Received:
    """All receipts so far, each once.

    Attributes:
        drained: the latest answer of every intake process.
        erased: parts that came, by holder.
        parts: how many parts the holder announced.
        owed_keys: how many key ids holders announced and have not named yet, by holder. Parts that are all there and name
            too few would end in a certificate over living keys; so this is a wait for somebody to look at, not a step.
        unspent, spent: receipts with keys that are not destroyed yet, and with such that are.
        evicted: by service, processes that dropped the destroyed keys from memory, each with those of the service that were alive then.
    """

    drained: Mapping[str, Drained] = field(default_factory=dict)
    erased: Mapping[str, frozenset[int]] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)
    owed_keys: Mapping[str, int] = field(default_factory=dict)
    unspent: int = 0
    spent: int = 0
    evicted: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict)

    @property
    def undrained(self) -> list[str]:
        """Intake processes named as live that have not answered.

        Only answers to the last asking that has any count: who has died since goes on naming others that have died as well.
        """
        last = max((answer.attempt for answer in self.drained.values()), default=1)
        answers = {name: answer for name, answer in self.drained.items() if answer.attempt == last}
        return sorted({name for answer in answers.values() for name in answer.live} - answers.keys())

    @property
    def unevicted(self) -> list[str]:
        """Who may still hold a destroyed key in memory: services that said nothing, and processes that only others named as live."""
        if not self.spent:
            return []
        silent = {service for service in CACHING if service not in self.evicted}
        named = {f"{service} {name}" for service, answers in self.evicted.items() for live in answers.values() for name in live - answers.keys()}
        return sorted(silent | named)

    def missing(self, holder: str) -> list[int]:
        """Parts the holder still owes; [1] while it has said nothing at all."""
        return sorted(set(range(1, self.parts.get(holder, 1) + 1)) - self.erased.get(holder, frozenset()))


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Publish the request once more under attempt number `attempt`."""

    attempt: int


@dataclass(frozen=True, slots=True)
class SetBarrier:
    """Everything accepted before the request lies below these offsets."""

    offsets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DestroyKeys:
    """Null the next part of the reported keys."""


@dataclass(frozen=True, slots=True)
class Certify:
    """Nothing is left to do, in stores or in memory: sign the certificate."""


@dataclass(frozen=True, slots=True)
class SeeAllErased:
    """Every holder has reported, so the set of keys is final."""


Step = AskAgain | SetBarrier | SeeAllErased | DestroyKeys | Certify


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erasure under way.

    Attributes:
        asked_at: when intake was asked last (aware, UTC).
        attempt: how often intake was asked, from 1.
        waiting_since: when the last step was done (aware, UTC); None if none was.
    """

    stage: Stage
    asked_at: datetime
    attempt: int = 1
    waiting_since: datetime | None = None

    def caches_ran_out(self, now: datetime) -> bool:
        """Whether keys destroyed by the last step have left every memory by themselves."""
        return self.waiting_since is not None and now - self.waiting_since >= CACHES_EMPTY_AFTER


def next_step(erasure: Erasure, received: Received, now: datetime) -> Step | None:
    """What can be done now, or None when somebody else has to answer first."""
    match erasure.stage:
        case Stage.DRAINING if received.drained and not received.undrained:
            return SetBarrier(highest(received.drained.values()))
        case Stage.DRAINING if now - erasure.asked_at >= REPEAT_AFTER:
            return AskAgain(erasure.attempt + 1)
        case Stage.ERASING if not received.owed_keys and not any(received.missing(holder) for holder in ERASING_HOLDERS):
            return SeeAllErased()
        case Stage.DESTROYING if received.unspent:
            return DestroyKeys()
        case Stage.DESTROYING if not received.unevicted or erasure.caches_ran_out(now):
            return Certify()
        case _:
            return None


def stage_after(step: Step, stage: Stage) -> Stage:
    """The stage once the step's effects are durable."""
    match step:
        case SetBarrier():
            return Stage.ERASING
        case SeeAllErased():
            return Stage.DESTROYING
        case Certify():
            return Stage.CLOSED
        case _:
            return stage


def highest(answers: Iterable[Drained]) -> dict[str, int]:
    """The barrier: the highest end offset of each partition over all answers."""
    offsets: dict[str, int] = {}
    for answer in answers:
        for partition, offset in answer.offsets.items():
            offsets[partition] = max(offset, offsets.get(partition, 0))
    return offsets


def pending(erasure: Erasure, received: Received) -> list[str]:
    """What the erasure waits for, in words of the glossary; empty once it is closed."""
    match erasure.stage:
        case Stage.DRAINING:
            return [f"intake {name}: drain" for name in received.undrained] or ["intake: drain"]
        case Stage.ERASING:
            parts = [f"{holder}: part {part} of {received.parts.get(holder, 1)}" for holder in ERASING_HOLDERS for part in received.missing(holder)]
            return parts + [f"{holder}: {keys} key ids" for holder, keys in sorted(received.owed_keys.items())]
        case Stage.DESTROYING:
            if received.unspent:
                return [f"keys: {received.unspent} parts to destroy"]
            return [f"{name}: drop destroyed keys from memory" for name in received.unevicted] or ["certificate"]
        case Stage.CLOSED:
            return []
