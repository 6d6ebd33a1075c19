"""Count what arrives, correct what moved or was erased, and answer a person's request for a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import datetime
from functools import partial, reduce
from uuid import UUID

import msgspec

from services.analytics.domain.cells import NOTHING, SALES, Cell, Count, Tally, cells_of, cells_of_customer
from services.analytics.domain.contribution import Contribution, Facts, Line, arrived, erased, moved
from services.analytics.domain.customer import Customer
from services.analytics.ports import Arrival, Changes, Keys, Mark, Snapshot
from shared.contracts.access_parts import cut
from shared.contracts.dedup import CustomersMerged, SubmissionResolved, SubmissionsErased, SubmissionsMoved
from shared.contracts.event import Event, Outgoing
from shared.contracts.ids import event_id
from shared.contracts.privacy import RECEIPTS_TOPIC, AccessPart, AccessRequested, ErasureReceipt
from shared.contracts.submission import Submission
from shared.failpoints import failpoint, mutant
from shared.sealing import body_aad

Owner = Callable[[UUID], int]
Clock = Callable[[], datetime]

AMOUNT_MINOR_MAX = 10**15
"""More than any order; sums of it stay within the database's 64-bit numbers."""


class CountBatch:
    """Turns a batch into changes of rows, folds and counters.

    The rows are the guard: a fact is booked by whoever brings its row into the final state, in the counters of a partition of its own.
    Figures of a customer are booked by its owner alone, as the difference of two folds. Whoever takes a row from a customer, or
    changes a row of one that it does not own, leaves a mark for the owner.
    """

    def __init__(self, owner: Owner, clock: Clock) -> None:
        self._owner, self._clock = owner, clock

    async def __call__(self, arrivals: Sequence[Arrival], partitions: Set[int], snapshot: Snapshot, *, assume_new: bool = False) -> Changes:
        """Reads the snapshot, changes nothing. May be called again for the same batch.

        Args:
            partitions: those that the caller owns, whose customers and counters it may write.
            assume_new: as `shared.messaging.Batch` says, of the submissions that arrive.
        """
        known = [arrival.event for arrival in arrivals if not (assume_new and isinstance(arrival.event, SubmissionResolved))]
        rows = await snapshot.contributions({submission for event in known for submission in _submissions_of(event)})
        merges = {arrival.event.merge_id for arrival in arrivals if isinstance(arrival.event, CustomersMerged)}
        changes = Changes(min(partitions), self._clock())
        counting = _Counting(changes, dict(rows), await snapshot.known_merges(merges), self._owner, partitions)
        for arrival in arrivals:
            counting.take(arrival)
        failpoint("analytics.after_rows_before_folds")
        counting.fold(await snapshot.customers(counting.touched))
        changes.counts = counting.tally.sums()
        _gather(changes, await snapshot.counters(counting.lowered))
        return changes


class FoldMarked:
    """Folds anew the customers of one partition whose rows other workers changed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def __call__(self, partition: int, snapshot: Snapshot) -> Changes | None:
        """The changes of one mark pass; None when there is nothing to do."""
        marks = await snapshot.marks(partition)
        if not marks:
            return None
        marked = dict.fromkeys(mark.customer for mark in marks)
        forgotten = {mark.customer for mark in marks if mark.erased}
        before = await snapshot.customers(marked)
        holdings = await snapshot.holdings(marked)
        changes, tally = Changes(partition, self._clock(), marks_done=list(marks)), Tally()
        for customer_id in marked:
            old = before.get(customer_id) or Customer(customer_id)
            new = old.folded(holdings.get(customer_id, ()))
            _book(changes, tally, old, new.forgotten() if customer_id in forgotten else new)
        failpoint("analytics.mark_pass_before_writes")
        changes.counts = tally.sums()
        return changes


class AnswerAccess:
    """Gives a person the facets that analytics holds; values of fields are elsewhere."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def __call__(self, arrivals: Sequence[Arrival], snapshot: Snapshot) -> list[Outgoing]:
        """The sealed parts, at least one for each request whose key still exists."""
        requests = [(arrival, arrival.event) for arrival in arrivals if isinstance(arrival.event, AccessRequested)]
        keys = await self._keys.open({request.request_id for _, request in requests}) if requests else {}
        answers: list[Outgoing] = []
        for arrival, request in requests:
            key = keys.get(request.request_id)
            if key is None:
                continue  # The request is closed and its key destroyed: nobody could read an answer.
            chunks = list(cut(map(msgspec.json.encode, await snapshot.rows_of(request.customer_id)))) or [[]]
            for part, rows in enumerate(chunks, 1):
                sealed = key.seal(b'{"contributions":[' + b",".join(rows) + b"]}", body_aad(request.request_id, 1))
                answer = AccessPart(request_id=request.request_id, holder="analytics", part=part, parts=len(chunks), sealed=sealed)
                answers.append(_answer(arrival, request.request_id, answer, f"analytics-access-part:{part}"))
        return answers


class _Counting:
    """One batch on its way: later records see what earlier ones changed."""

    def __init__(self, changes: Changes, rows: dict[UUID, Contribution], known_merges: set[UUID], owner: Owner, partitions: Set[int]) -> None:
        self.tally = Tally()
        self.lowered: set[Cell] = set()
        """Of goods, cells that an erased row counted in."""
        self._changes, self._rows, self._known_merges = changes, rows, known_merges
        self._owner, self._partitions = owner, partitions
        self._steps: dict[UUID, list[Callable[[Customer], Customer]]] = {}

    @property
    def touched(self) -> Iterable[UUID]:
        """Customers of our own whose folds change."""
        return self._steps.keys()

    def take(self, arrival: Arrival) -> None:
        """Applies one event to the rows."""
        match arrival.event:
            case SubmissionResolved() as event:
                self._arrive(event, arrival.event_id)
            case SubmissionsMoved() as event:
                target = event.customer_id if event.direction == "gained" else event.counterpart_id
                for submission_id in event.submission_ids:
                    self._change(moved(self._rows.get(submission_id), submission_id, target, event.assignment), arrival.event_id)
            case SubmissionsErased() as event:
                self._erase(event, arrival)
            case CustomersMerged() as event if event.merge_id not in self._known_merges | self._changes.merges.keys():
                self._changes.merges[event.merge_id] = event.survivor_id
                self._step(event.survivor_id, event.merge_id, Customer.merged)

    def fold(self, customers: Mapping[UUID, Customer]) -> None:
        """Carries the changes of rows into the folds of our own customers and books the difference."""
        for customer_id, steps in self._steps.items():
            before = after = customers.get(customer_id) or Customer(customer_id)
            for step in steps:
                after = step(after)
            _book(self._changes, self.tally, before, after)

    def _arrive(self, event: SubmissionResolved, cause: UUID) -> None:
        submission_id = event.submission.submission_id
        row = self._rows.get(submission_id)
        if row is not None and mutant("existence_as_guard"):
            return
        facts = _facts_of(event.submission)
        after = arrived(row, submission_id, event.customer_id, event.assignment, facts)
        if after == row and mutant("no_id_guard"):
            self.tally.add(cells_of(facts))
        self._change(after, cause)

    def _erase(self, event: SubmissionsErased, arrival: Arrival) -> None:
        for submission_id in event.submission_ids:
            self._change(erased(submission_id), arrival.event_id)
        for customer_id in (event.customer_id, *event.alias_ids):
            self._step(customer_id, arrival.event_id, Customer.forgotten, erases=True)
        counts = {"contributions": len(event.submission_ids)} | ({"dead_letters": arrival.dead_letters} if arrival.dead_letters else {})
        receipt = ErasureReceipt(
            request_id=event.request_id,
            holder="analytics",
            stage="erased",
            counts=counts,
            part=event.part,
            parts=event.parts,
        )
        self._changes.events.append(_answer(arrival, event.request_id, receipt, "analytics-erased"))

    def _change(self, after: Contribution, cause: UUID) -> None:
        """Replaces a row: books its facts if they came or went, and tells the folds of its old and its new holder."""
        before = self._rows.get(after.submission_id)
        if after == before:
            return
        first_before, _ = self._changes.contributions.get(after.submission_id, (before, after))
        self._changes.contributions[after.submission_id] = (first_before, after)
        self._rows[after.submission_id] = after
        if before is not None and before.facts is not None and before.customer is not None:
            self.tally.add(cells_of(before.facts), -1)
            self._mark(before.customer, cause)
            if after.erased:
                self.lowered.update(cell for cell, _ in cells_of(before.facts) if cell.metric == SALES)
        if after.facts is not None and after.customer is not None:
            self.tally.add(cells_of(after.facts))
            self._step(after.customer, cause, partial(Customer.gained, facts=after.facts))

    def _step(self, customer_id: UUID, cause: UUID, step: Callable[[Customer], Customer], *, erases: bool = False) -> None:
        if self._owner(customer_id) in self._partitions:
            self._steps.setdefault(customer_id, []).append(step)
        else:
            self._mark(customer_id, cause, erases=erases)

    def _mark(self, customer_id: UUID, cause: UUID, *, erases: bool = False) -> None:
        known = self._changes.marks_made.get((customer_id, cause))
        erased = erases or (known is not None and known.erased)
        self._changes.marks_made[customer_id, cause] = Mark(customer_id, cause, self._owner(customer_id), erased)


def within_limits(event: Event) -> bool:
    """Whether the amounts of a submission can be summed exactly."""
    if not isinstance(event, SubmissionResolved):
        return True
    return all(abs(line.amount_minor) <= AMOUNT_MINOR_MAX and abs(line.quantity) <= AMOUNT_MINOR_MAX for line in event.submission.order_lines)


def _book(changes: Changes, tally: Tally, before: Customer, after: Customer) -> None:
    if after != before:
        changes.customers.append((before, after))
        tally.add(cells_of_customer(before), -1)
        tally.add(cells_of_customer(after))


def _gather(changes: Changes, counters: Mapping[Cell, Mapping[int, Count]]) -> None:
    """Two erasures in two partitions, each of which saw the other's piece still there, meet in the counters that both delete."""
    for cell, held in counters.items():
        left = reduce(Count.plus, held.values(), changes.counts.pop(cell, NOTHING))
        changes.gathered[cell] = (left, frozenset(held))


def _submissions_of(event: Event) -> Sequence[UUID]:
    match event:
        case SubmissionResolved():
            return (event.submission.submission_id,)
        case SubmissionsMoved() | SubmissionsErased():
            return event.submission_ids
    return ()


def _facts_of(submission: Submission) -> Facts:
    lines = tuple(Line(line.product_code, line.currency, line.quantity, line.amount_minor) for line in submission.order_lines)
    return Facts(submission.kind, submission.channel_id, submission.occurred_on.isoformat(), lines)


def _answer(arrival: Arrival, request_id: UUID, event: Event, step: str) -> Outgoing:
    return Outgoing(RECEIPTS_TOPIC, request_id.bytes, event_id(arrival.event_id, step), event, arrival.occurred_at, traceparent=arrival.traceparent)
