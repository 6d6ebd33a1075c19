"""Keep the consent ledger from what dedup resolved, moved and erased, and publish the choices in force."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from services.privacy.domain.consents import Choice, LedgerRow, erase, in_force, move, record
from services.privacy.ports import CustomerConsents, DirtyMark, Keys, Ledger, SetAside
from shared.contracts import ids
from shared.contracts.dedup import SubmissionResolved, SubmissionsErased, SubmissionsMoved
from shared.contracts.event import Outgoing
from shared.contracts.privacy import ConsentsChanged, ErasureReceipt, PurposeConsent
from shared.contracts.submission import SubmissionBody
from shared.contracts.topics import CONSENTS, IDENTITIES, RECEIPTS
from shared.failpoints import failpoint
from shared.messaging import Batch, Effects, Record, partition_of
from shared.sealing import DataKey, SealBroken, body_aad
from shared.storage import Transaction

MARKS_MAX = 500
FILLER_AFTER = timedelta(minutes=65)
"""The broker closes a segment at the first write after an hour, and only closed segments are compacted."""

_decode_body = msgspec.json.Decoder(SubmissionBody).decode


@dataclass(slots=True)
class _Changes:
    """What one batch changes, put together in memory and written once."""

    rows: dict[UUID, LedgerRow]
    letters: Mapping[UUID, int]
    """Dead letters forgotten, by the id of the erasing event."""
    changed: set[UUID] = field(default_factory=set)
    touched: dict[UUID, UUID] = field(default_factory=dict)
    """Customer to fold again -> id of the event that asks for it."""
    absorbed: dict[UUID, UUID] = field(default_factory=dict)
    erased: list[tuple[SubmissionsErased, dict[str, int]]] = field(default_factory=list)
    """Each with what it erased, by name."""

    def put(self, row: LedgerRow, cause: UUID) -> None:
        """Takes over a row; the customers it left and joined are to be folded again."""
        before = self.rows[row.submission_id]
        if row == before:
            return
        self.rows[row.submission_id] = row
        self.changed.add(row.submission_id)
        for customer in (before.customer_id, row.customer_id):
            if customer is not None:
                self.touched[customer] = cause


class RecordConsents:
    """Decide, for a batch of identity events, what the ledger says and which customers' choices changed.

    Right under repeats, delays and any order: a row is filled once, follows the highest assignment, and once erased is never filled again.
    """

    def __init__(self, ledger: Ledger, letters: SetAside, keys: Keys, clock: Callable[[], datetime]) -> None:
        self._ledger, self._letters, self._keys, self._clock = ledger, letters, keys, clock

    async def __call__(self, batch: Batch, transaction: Transaction) -> Effects:
        """The batch's effects, all within its transaction."""
        effects = Effects()
        rows = await self._ledger.rows(_submissions_of(batch.records), transaction)
        changes = _Changes(rows, await self._letters.forget_erased(batch.records, transaction))
        keys = await self._keys.open(_to_unseal(batch.records, changes.rows))
        for each in batch.records:
            self._apply(each, changes, keys, effects)
        await self._ledger.save_rows([changes.rows[each] for each in changes.changed], transaction)
        await self._finish(changes, batch.partitions, effects, transaction)
        failpoint("privacy.consents_before_commit")
        return effects

    def _apply(self, each: Record, changes: _Changes, keys: Mapping[UUID, DataKey | None], effects: Effects) -> None:
        match each.event:
            case SubmissionResolved() as event if event.submission.has_consent:
                self._resolve(each, event, changes, keys, effects)
            case SubmissionsMoved() as event:
                _move(each, event, changes)
            case SubmissionsErased() as event:
                filled = sum(bool(changes.rows[submission].choices) for submission in event.submission_ids)
                for submission in event.submission_ids:
                    changes.put(erase(changes.rows[submission]), each.event_id)
                letters = changes.letters[each.event_id]
                changes.erased.append((event, {"consent_rows": filled} | ({"dead_letters": letters} if letters else {})))

    def _resolve(self, each: Record, event: SubmissionResolved, changes: _Changes, keys: Mapping[UUID, DataKey | None], effects: Effects) -> None:
        submission = event.submission
        key = keys.get(submission.submission_id)
        row = changes.rows[submission.submission_id]
        if row.final:  # A repeat, or a second assignment of what we hold: only the customer may follow.
            changes.put(move(row, customer=event.customer_id, assignment=event.assignment), each.event_id)
            return
        if key is None:  # Its key is destroyed, so it was erased.
            return
        try:
            body = _decode_body(key.unseal(submission.sealed, body_aad(submission.submission_id, submission.body_version)))
        except (SealBroken, msgspec.DecodeError):
            effects.reject(each, "body_unreadable")
            return
        choices = tuple(Choice(consent.purpose, consent.state, consent.notice_version) for consent in body.consents)
        changes.put(
            record(
                row,
                customer=event.customer_id,
                assignment=event.assignment,
                occurred_at=body.occurred_at,
                recorded_at=self._clock(),
                channel_id=submission.channel_id,
                choices=choices,
            ),
            each.event_id,
        )

    async def _finish(self, changes: _Changes, partitions: Set[int], effects: Effects, transaction: Transaction) -> None:
        gone = {event.customer_id: event.request_id for event, _ in changes.erased}
        await self._erase_customers(gone, effects, transaction)
        marks = [*_marks_of_aliases(event for event, _ in changes.erased)]
        own: set[UUID] = set()
        for customer, cause in changes.touched.items():
            if (at := _partition(customer)) in partitions:
                own.add(customer)
            else:
                marks.append(DirtyMark(customer, cause, at))
        await self._ledger.add_marks(marks, transaction)
        await self._fold(own - gone.keys(), changes.absorbed, effects, transaction)
        for event, counts in changes.erased:
            effects.publish(self._receipt(event.request_id, event.part, event.parts + len(event.alias_ids), counts))

    async def partitions_due(self) -> list[int]:
        """Where `fold_marked` has something to do."""
        return await self._ledger.partitions_due(self._clock())

    async def fold_marked(self, partition: int, transaction: Transaction) -> Effects | None:
        """The owner's pass over the marks that others left for it, and over tombstones that are due again; None when there is nothing."""
        marks = await self._ledger.marks(partition, MARKS_MAX, transaction)
        fillers = await self._ledger.take_fillers(partition, self._clock(), transaction)
        if not marks and not fillers:
            return None
        effects = Effects()
        effects.note_written()
        gone = {mark.customer_id: mark.erased_by for mark in marks if mark.erased_by is not None}
        await self._erase_customers(gone, effects, transaction)
        await self._fold({mark.customer_id for mark in marks} - gone.keys(), {}, effects, transaction)
        await self._ledger.delete_marks(marks, transaction)
        for mark in marks:
            if mark.erased_by is not None:
                effects.publish(self._receipt(mark.erased_by, mark.part, mark.parts, {"consent_rows": 0}))
        for customer in fillers:
            effects.publish(self._tombstone(customer, "filler"))
        failpoint("privacy.marks_before_commit")
        return effects

    async def _erase_customers(self, gone: Mapping[UUID, UUID], effects: Effects, transaction: Transaction) -> None:
        states = await self._ledger.customers(gone, transaction)
        fresh = [state for state in states.values() if state.erased_by is None]
        await self._ledger.save_customers(
            [CustomerConsents(each.customer_id, each.version + 1, erased_by=gone[each.customer_id]) for each in fresh], transaction
        )
        published = [each.customer_id for each in fresh if each.version]
        await self._ledger.add_fillers({each: _partition(each) for each in published}, self._clock() + FILLER_AFTER, transaction)
        for customer in published:
            effects.publish(self._tombstone(customer, "erased"))

    async def _fold(self, customers: set[UUID], absorbed: Mapping[UUID, UUID], effects: Effects, transaction: Transaction) -> None:
        states = await self._ledger.customers(customers, transaction)
        rows: dict[UUID, list[LedgerRow]] = {customer: [] for customer in customers}
        for row in await self._ledger.rows_of(customers, transaction):
            if row.customer_id is not None:
                rows[row.customer_id].append(row)
        folded = [
            (state, _folded(state, rows[customer], absorbed.get(customer, state.alias_of)))
            for customer, state in states.items()
            if state.erased_by is None
        ]
        await self._ledger.save_customers([after for before, after in folded if after != before], transaction)
        for before, after in folded:
            if after.version != before.version:
                effects.publish(self._changed(after))

    def _changed(self, state: CustomerConsents) -> Outgoing:
        purposes = {purpose: msgspec.convert(dict(choice), PurposeConsent) for purpose, choice in (state.purposes or {}).items()}
        return Outgoing(
            topic=CONSENTS.name,
            key=state.customer_id.bytes,
            event_id=ids.event_id(state.customer_id, f"consents:{state.version}"),
            event=ConsentsChanged(customer_id=state.customer_id, version=state.version, purposes=purposes),
            occurred_at=self._clock(),
        )

    def _tombstone(self, customer: UUID, step: str) -> Outgoing:
        return Outgoing(
            topic=CONSENTS.name, key=customer.bytes, event_id=ids.event_id(customer, f"consents:{step}"), event=None, occurred_at=self._clock()
        )

    def _receipt(self, request_id: UUID, part: int, parts: int, counts: dict[str, int]) -> Outgoing:
        receipt = ErasureReceipt(request_id=request_id, holder="privacy", stage="erased", counts=counts, part=part, parts=parts)
        return Outgoing(
            topic=RECEIPTS.name,
            key=request_id.bytes,
            event_id=ids.event_id(request_id, f"privacy-erased:{part}"),
            event=receipt,
            occurred_at=self._clock(),
        )


def _move(each: Record, event: SubmissionsMoved, changes: _Changes) -> None:
    """The rows follow; the part's own customer is folded again even if its counterpart's worker moved the rows first."""
    holder = event.customer_id if event.direction == "gained" else event.counterpart_id
    for submission in event.submission_ids:
        changes.put(move(changes.rows[submission], customer=holder, assignment=event.assignment), each.event_id)
    changes.touched[event.customer_id] = each.event_id
    if event.absorbed:
        changes.absorbed[event.customer_id] = event.counterpart_id


def _folded(state: CustomerConsents, rows: Iterable[LedgerRow], alias_of: UUID | None) -> CustomerConsents:
    purposes: dict[str, dict[str, Any]] = {
        purpose: {"state": now.choice.state, "notice_version": now.choice.notice_version, "since": now.since.date().isoformat()}
        for purpose, now in in_force(rows).items()
    }
    if purposes == (state.purposes or {}):
        return replace(state, alias_of=alias_of)
    return replace(state, version=state.version + 1, purposes=purposes, alias_of=alias_of)


def _marks_of_aliases(erased: Iterable[SubmissionsErased]) -> Iterable[DirtyMark]:
    """The owner of each alias erases it and answers with a part of its own, numbered behind the ordinary ones."""
    for event in erased:
        for place, alias in enumerate(sorted(event.alias_ids), start=1):
            parts = event.parts + len(event.alias_ids)
            yield DirtyMark(alias, event.request_id, _partition(alias), event.request_id, event.parts + place, parts)


def _submissions_of(records: Iterable[Record]) -> set[UUID]:
    wanted: set[UUID] = set()
    for each in records:
        match each.event:
            case SubmissionResolved() as event if event.submission.has_consent:
                wanted.add(event.submission.submission_id)
            case SubmissionsMoved() | SubmissionsErased() as event:
                wanted.update(event.submission_ids)
    return wanted


def _to_unseal(records: Iterable[Record], rows: Mapping[UUID, LedgerRow]) -> set[UUID]:
    resolved = [each.event.submission for each in records if isinstance(each.event, SubmissionResolved)]
    return {each.submission_id for each in resolved if each.has_consent and not rows[each.submission_id].final}


def _partition(customer: UUID) -> int:
    return partition_of(customer.bytes, IDENTITIES.partitions)
