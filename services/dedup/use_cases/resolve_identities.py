"""Decides, for a batch of submissions, who each is from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from services.dedup.domain.model import Rules, Signature
from services.dedup.ports import Decision, Identities, MoveLog, SourceRecord
from services.dedup.use_cases.component import load_component
from services.dedup.use_cases.decide import BatchDecision, Known
from services.dedup.use_cases.moves import CHUNK_SUBMISSIONS_MAX, all_parts, count_moves, logs_of, summary_of
from services.dedup.use_cases.read_signatures import Opened, ReadSignatures
from shared.contracts import ids
from shared.contracts.dedup import TOPIC, SubmissionResolved
from shared.contracts.event import Outgoing
from shared.contracts.intake import SubmissionAccepted
from shared.contracts.submission import Submission
from shared.failpoints import failpoint, mutant
from shared.messaging import Batch, Effects, Record
from shared.storage import Transaction
from shared.telemetry import get_logger, metrics

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


class ResolveIdentities:
    """Handler of accepted submissions.

    Reads inside the batch's transaction and keeps nothing between calls. Every customer and every identifier it decided on is among the
    writes, so of two workers that decide about the same one at once, one reads again.
    """

    def __init__(self, store: Identities, read_signatures: ReadSignatures, rules: Rules, clock: Clock = _now) -> None:
        self._store, self._read, self._rules, self._clock = store, read_signatures, rules, clock

    async def __call__(self, batch: Batch, transaction: Transaction) -> Effects:
        """The effects of the batch."""
        effects = Effects()
        opened = await self._read(await self._fresh(batch, transaction))
        for record, reason_code in opened.broken:
            effects.reject(record, reason_code)
        if opened.suppressed:
            metrics.SUPPRESSED.add(opened.suppressed, {"service": "dedup"})
        if opened.signatures:
            await self._resolve(opened, effects, transaction)
        failpoint("dedup.decided_before_effects")
        return effects

    async def _fresh(self, batch: Batch, transaction: Transaction) -> list[Record]:
        """Without repeats: the guard is the source record in a final state, which is never removed."""
        by_id = {each.event.submission.submission_id: each for each in reversed(batch.records) if isinstance(each.event, SubmissionAccepted)}
        if batch.assume_new or mutant("no_id_guard"):
            return [*reversed(by_id.values())]
        settled = await self._store.settled(by_id, transaction)
        return [by_id[each] for each in reversed(by_id) if each not in settled]

    async def _resolve(self, opened: Opened, effects: Effects, transaction: Transaction) -> None:
        records = [(submission, signature) for _, submission, signature in opened.signatures]
        known = await self._known([signature for _, signature in records], transaction)
        batch = BatchDecision(records, known, self._rules, self._clock())
        counts = await count_moves(batch, self._store, transaction)
        decision = batch.store(counts)
        traceparents = {submission.submission_id: record.traceparent for record, submission, _ in opened.signatures}
        effects.publish_all(_resolved(record, first, batch.at, traceparents) for record, first in batch.resolved)
        for log in logs_of(batch, counts):
            decision.logs.append(await self._announce(log, effects, transaction))
        self._store.write(decision, effects)
        _count(decision)
        _tell_of_placeholders(decision, self._rules)

    async def _known(self, signatures: Sequence[Signature], transaction: Transaction) -> Known:
        placed = await self._store.placed({each.id for each in signatures}, transaction)
        component = await load_component([each for each in signatures if each.id not in placed], self._store, transaction)
        customers = {each.customer for each in (*placed.values(), *component.placed.values())}
        return Known(placed, component, await self._store.entities(customers, transaction))

    async def _announce(self, log: MoveLog, effects: Effects, transaction: Transaction) -> MoveLog:
        """Publishes the summary, and the parts as well unless they are many: then the log stays open and `FinishMoves` goes on."""
        effects.publish_all(summary_of(log))
        if log.submissions > CHUNK_SUBMISSIONS_MAX:
            return log
        closed, parts = await all_parts(log, self._store, transaction)
        effects.publish_all(parts)
        return replace(closed, open=False)


def _resolved(record: SourceRecord, first: bool, at: datetime, traceparents: dict[UUID, str | None]) -> Outgoing:
    submission: Submission = record.submission
    event = SubmissionResolved(
        customer_id=record.customer,
        assignment=record.assignment,
        matched_on=record.matched,
        new_identifiers=first,
        submission=submission,
    )
    return Outgoing(
        TOPIC,
        record.customer.bytes,
        ids.event_id(submission.submission_id, "resolved"),
        event,
        at,
        key_id=submission.submission_id,
        traceparent=traceparents[submission.submission_id],
    )


def _count(decision: Decision) -> None:
    figures: Iterable[tuple[str, int]] = (
        ("founded", len(decision.founded)),
        ("attached", len(decision.records) - len(decision.founded)),
        ("merged", sum(1 for each in decision.decided if each.merged_into)),
        ("kept_apart", sum(1 for _, generic, contested in decision.identifiers if generic or contested)),
    )
    for kind, number in figures:
        if number > 0:
            metrics.MATCH_DECISIONS.add(number, {"kind": kind})


def _tell_of_placeholders(decision: Decision, rules: Rules) -> None:
    """A personal identifier that names a crowd is a fault of the system that sends it; somebody should ask there, and add it to the catalogue."""
    kinds = [key.kind for key, generic, _ in decision.identifiers if generic and rules[key.type].personal]
    if kinds:
        metrics.MATCH_DECISIONS.add(len(kinds), {"kind": "given_up"})
        get_logger().warning("identifier_of_too_many", kinds=sorted(set(kinds)))
