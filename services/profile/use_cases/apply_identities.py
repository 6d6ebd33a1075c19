"""Apply a batch of what dedup decided: who each submission belongs to, what moved, who was erased."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.profile.domain.contribution import Contribution
from services.profile.domain.customer import Customer, CustomerState, absorb, emptied, forget, revive
from services.profile.ports import Arrival, Changes, Erasure, Keys, Mark, Snapshot
from services.profile.use_cases.fold_customers import FoldCustomers, PartitionOf, Work
from services.profile.use_cases.ledger import Ledger, mentioned
from services.profile.use_cases.receipts import erasure_receipt
from shared.contracts.dedup import SubmissionsErased, SubmissionsMoved
from shared.contracts.ids import event_id
from shared.failpoints import failpoint

Clock = Callable[[], datetime]
Decision = Callable[[Customer], Customer]


class ApplyIdentities:
    """Decides what a batch changes; reads the snapshot, writes nothing.

    Customers of the batch's own partitions are folded at once. A row of another partition's customer leaves a mark for its owner:
    a customer's document has one writer. Marks also stand for every loss, because taking away means folding all rows again.

    Args:
        fold: folds customers.
        partition_of: the partition of a customer's key.
        clock: aware, UTC.
    """

    def __init__(self, fold: FoldCustomers, partition_of: PartitionOf, clock: Clock) -> None:
        self._fold = fold
        self._partition_of = partition_of
        self._clock = clock

    async def __call__(
        self, arrivals: Sequence[Arrival], partitions: Set[int], snapshot: Snapshot, keys: Keys, *, assume_new: bool = False
    ) -> Changes:
        """The changes of one batch. A batch of one event at a time ends in the same state as one batch of all.

        Args:
            partitions: those that the caller owns, whose customers it may write.
            assume_new: as `shared.messaging.Batch` says, of the submissions that arrive.
        """
        changes = Changes(self._clock())
        ledger = Ledger(await snapshot.contributions(mentioned(arrivals, assume_new=assume_new)))
        for arrival in arrivals:
            ledger.enter(arrival)
        changes.contributions = {submission_id: (ledger.before.get(submission_id), row) for submission_id, row in ledger.after.items()}
        gains = self._note_moves(ledger, partitions, changes)
        works = await self._works(arrivals, ledger, gains, snapshot, changes)
        failpoint("profile.before_fold")
        await self._fold(works.values(), keys, changes)
        return changes

    def _note_moves(self, ledger: Ledger, partitions: Set[int], changes: Changes) -> list[UUID]:
        """Marks for losses and for gains of others; returns the submissions that customers of these partitions gain."""
        gains = list(ledger.counted_again)
        for submission_id, cause in ledger.causes.items():
            before, after = ledger.holder_before(submission_id), ledger.holder_after(submission_id)
            if before == after:
                continue
            if before is not None:
                self._mark(changes, before, cause.event_id)
            if after is None:
                continue
            if self._partition_of(after.bytes) in partitions:
                gains.append(submission_id)
            else:
                self._mark(changes, after, event_id(cause.event_id, submission_id.hex), gained=submission_id)
        return gains

    def _mark(self, changes: Changes, customer: UUID, cause: UUID, gained: UUID | None = None, erasure: Erasure | None = None) -> None:
        mark = Mark(customer, cause, self._partition_of(customer.bytes), gained, erasure)
        changes.marks_made[mark.customer, mark.cause] = mark

    async def _works(
        self, arrivals: Sequence[Arrival], ledger: Ledger, gains: Sequence[UUID], snapshot: Snapshot, changes: Changes
    ) -> dict[UUID, Work]:
        """What each customer of the batch's partitions needs."""
        rows = await self._with_content(ledger, gains, snapshot)
        decisions = self._decisions(arrivals, changes)
        touched = {row.customer for row in rows if row.customer is not None} | {customer for customer, _, _ in decisions}
        stored = await snapshot.customers(touched)
        works = {customer: _work(stored.get(customer, Customer(customer))) for customer in touched}
        for customer, decide, cause in decisions:
            self._decide(works[customer], decide, cause, changes)
        for row in rows:
            if row.customer is not None:
                _add(works[row.customer], row, ledger)
        await self._answer_erasures(arrivals, ledger, works, snapshot, changes)
        return works

    async def _with_content(self, ledger: Ledger, gains: Sequence[UUID], snapshot: Snapshot) -> list[Contribution]:
        """The gained rows as they are now; the content of those that were there before is read."""
        rows = [row for submission_id in gains if (row := ledger.row(submission_id)) is not None]
        bare = [row.submission_id for row in rows if row.content is None]
        read = {row.submission_id: row.content for row in await snapshot.present((), bare)} if bare else {}
        return [row if row.content is not None else replace(row, content=read[row.submission_id]) for row in rows]

    def _decisions(self, arrivals: Sequence[Arrival], changes: Changes) -> list[tuple[UUID, Decision, Arrival]]:
        """What the events decide about customers themselves, in their order."""
        decisions: list[tuple[UUID, Decision, Arrival]] = []
        for arrival in arrivals:
            match arrival.event:
                case SubmissionsMoved(direction="lost", absorbed=True) as event:
                    decisions.append((event.customer_id, _absorbed(event), arrival))
                case SubmissionsMoved(direction="gained") as event:
                    decisions.append((event.customer_id, _revived(event), arrival))
                case SubmissionsErased() as event:
                    decisions.append((event.customer_id, forget, arrival))
                    self._mark_aliases(event, arrival, changes)
        return decisions

    def _mark_aliases(self, event: SubmissionsErased, arrival: Arrival, changes: Changes) -> None:
        """Each alias is forgotten by its owner, which then sends a receipt part of its own."""
        if event.part != 1:
            return
        parts = event.parts + len(event.alias_ids)
        for number, alias in enumerate(sorted(event.alias_ids), start=event.parts + 1):
            self._mark(changes, alias, arrival.event_id, erasure=Erasure(event.request_id, number, parts))

    def _decide(self, work: Work, decide: Decision, cause: Arrival, changes: Changes) -> None:
        was = work.after
        work.after = decide(was)
        work.traceparent = cause.traceparent
        if was.state is CustomerState.ALIAS and work.after.state is CustomerState.ACTIVE:
            # An alias counts nothing, so whatever it holds besides this gain is missing from its fold.
            self._mark(changes, was.customer_id, cause.event_id)

    async def _answer_erasures(
        self, arrivals: Sequence[Arrival], ledger: Ledger, works: Mapping[UUID, Work], snapshot: Snapshot, changes: Changes
    ) -> None:
        for arrival in arrivals:
            if isinstance(arrival.event, SubmissionsErased):
                event = arrival.event
                work = works[event.customer_id]
                closed = [key.key_id for key in await snapshot.closed_keys_of(event.customer_id)]
                erased = sum(submission_id in ledger.causes for submission_id in event.submission_ids)
                counts = {"contributions": erased, "customers": int(event.part == 1 and not work.before.is_new)}
                counts |= {"dead_letters": arrival.dead_letters} if arrival.dead_letters else {}
                erasure = Erasure(event.request_id, event.part, event.parts + len(event.alias_ids))
                failpoint("profile.before_receipt")
                changes.events.append(erasure_receipt(erasure, work.before, closed, counts, changes.applied_at, arrival.traceparent))


def _work(stored: Customer) -> Work:
    return Work(stored, stored)


def _add(work: Work, row: Contribution, ledger: Ledger) -> None:
    if work.after.state is not CustomerState.ACTIVE:
        return
    work.rows.append(row)
    earlier = ledger.before.get(row.submission_id)
    # A stub or another holder's row comes by a move: a new membership epoch.
    work.joined = work.joined or earlier is not None
    cause = ledger.causes.get(row.submission_id)
    work.traceparent = cause.traceparent if cause is not None else work.traceparent


def _absorbed(event: SubmissionsMoved) -> Decision:
    def decide(customer: Customer) -> Customer:
        absorbed = absorb(customer, event.counterpart_id, event.assignment)
        return customer if absorbed is customer else emptied(absorbed)

    return decide


def _revived(event: SubmissionsMoved) -> Decision:
    return lambda customer: revive(customer, event.assignment)
