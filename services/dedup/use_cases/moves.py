"""Moves between customers: their log, and the events that tell every customer what it gained and lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from math import ceil
from uuid import UUID

from services.dedup.domain.resolution import Move
from services.dedup.ports import Identities, LoggedMove, MoveLog
from services.dedup.use_cases.decide import BatchDecision
from shared.contracts import ids
from shared.contracts.dedup import TOPIC, CustomersMerged, SubmissionsMoved
from shared.contracts.event import Event, Outgoing
from shared.storage import Transaction

CHUNK_SUBMISSIONS_MAX = 2_000
"""Submissions that one transaction tells of: a transaction stays well under its second."""


async def count_moves(decision: BatchDecision, store: Identities, transaction: Transaction) -> dict[Move, int]:
    """How many stored submissions each move takes along."""
    return {move: await store.count_submissions([each.founder for each in move.signatures], transaction) for move in decision.plan.moves}


def logs_of(decision: BatchDecision, counts: Mapping[Move, int]) -> list[MoveLog]:
    """One log per customer that gains."""
    targets = sorted({move.target for move in decision.plan.moves}, key=lambda each: each.bytes)
    return [_log(decision, target, {move: count for move, count in counts.items() if move.target == target}) for target in targets]


def _log(decision: BatchDecision, target: UUID, counts: Mapping[Move, int]) -> MoveLog:
    cause, matched = decision.cause_of(target)
    moves = tuple(
        LoggedMove(move.source, move.absorbed, tuple(each.founder for each in move.signatures), max(1, ceil(count / CHUNK_SUBMISSIONS_MAX)))
        for move, count in counts.items()
    )
    number = decision.plan.assignment
    return MoveLog(ids.event_id(cause, f"moves:{target}:{number}"), target, moves, number, cause, matched, decision.at, sum(counts.values()))


def summary_of(log: MoveLog) -> list[Outgoing]:
    """The summary of a merge; nothing if nobody was absorbed."""
    absorbed = tuple(move.source for move in log.moves if move.absorbed)
    if not absorbed:
        return []
    event = CustomersMerged(
        merge_id=log.id,
        survivor_id=log.target,
        absorbed_ids=absorbed,
        assignment=log.assignment,
        matched_on=log.matched,
        cause_submission_id=log.cause,
    )
    return [_outgoing(log, log.target, "merged", event, log.at)]


async def next_part(log: MoveLog, store: Identities, transaction: Transaction) -> tuple[MoveLog, list[Outgoing]]:
    """The events of the next part, and the log after it. Runs in the transaction that stores both, so a crash repeats or skips nothing."""
    move = log.moves[log.move]
    found = await store.submissions(move.founders, log.assignment, log.after, CHUNK_SUBMISSIONS_MAX, transaction)
    outgoing = _part_events(log, move, found)
    if log.part < move.parts:
        return replace(log, part=log.part + 1, after=found[-1] if found else log.after), outgoing
    following = log.move + 1
    return replace(log, move=following, part=1, after=None, open=following < len(log.moves)), outgoing


async def all_parts(log: MoveLog, store: Identities, transaction: Transaction) -> tuple[MoveLog, list[Outgoing]]:
    """Every remaining part at once, for a log that is small enough."""
    outgoing: list[Outgoing] = []
    while log.open:
        log, events = await next_part(log, store, transaction)
        outgoing += events
    return log, outgoing


def _part_events(log: MoveLog, move: LoggedMove, submissions: Sequence[UUID]) -> list[Outgoing]:
    def event(customer: UUID, counterpart: UUID, lost: bool) -> SubmissionsMoved:
        return SubmissionsMoved(
            merge_id=log.id,
            customer_id=customer,
            counterpart_id=counterpart,
            direction="lost" if lost else "gained",
            assignment=log.assignment,
            submission_ids=tuple(submissions),
            absorbed=lost and move.absorbed,
            part=log.part,
            parts=move.parts,
        )

    step = f"{move.source}:{log.part}"
    return [
        _outgoing(log, move.source, f"lost:{step}", event(move.source, log.target, lost=True), log.at),
        _outgoing(log, log.target, f"gained:{step}", event(log.target, move.source, lost=False), log.at),
    ]


def _outgoing(log: MoveLog, key: UUID, step: str, event: Event, at: datetime) -> Outgoing:
    return Outgoing(TOPIC, key.bytes, ids.event_id(log.id, step), event, at)
