"""The owner's pass over what others left it to do: add, fold again, forget an alias, report keys that closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from uuid import UUID

from services.profile.domain.contribution import Contribution
from services.profile.domain.customer import Customer, CustomerState, forget
from services.profile.ports import Changes, Keys, Mark, Snapshot
from services.profile.use_cases.apply_identities import Clock
from services.profile.use_cases.fold_customers import FoldCustomers, Work, tombstone
from services.profile.use_cases.receipts import erasure_receipt, keys_closed
from shared.failpoints import failpoint


class MarkPass:
    """Works off the marks of one partition.

    Marks are made in the transaction that changed the row and deleted in the one that folds, both seen in one snapshot: so a gained
    row is added once, and folding again, which counts all rows, takes all marks of its customer with it.

    Args:
        fold: folds customers.
        clock: aware, UTC.
    """

    def __init__(self, fold: FoldCustomers, clock: Clock) -> None:
        self._fold = fold
        self._clock = clock

    async def __call__(self, partition: int, snapshot: Snapshot, keys: Keys) -> Changes | None:
        """The changes of one pass; None if there was nothing to do."""
        now = self._clock()
        marks, reportable, fillers = (
            await snapshot.marks(partition),
            await snapshot.reportable_keys(partition),
            await snapshot.fillers(partition, now),
        )
        if not marks and not reportable and not fillers:
            return None
        changes = Changes(now, marks_done=list(marks), keys_reported=list(reportable), fillers_done=list(fillers))
        changes.events += [tombstone(Customer(filler.customer), now) for filler in fillers]
        for customer, closed in groupby(sorted(reportable, key=lambda key: key.customer), key=lambda key: key.customer):
            changes.events.append(keys_closed(customer, list(closed), changes.applied_at))
        works = await self._works(marks, snapshot, changes)
        failpoint("profile.mark_pass_before_fold")
        await self._fold(works, keys, changes)
        return changes

    async def _works(self, marks: Sequence[Mark], snapshot: Snapshot, changes: Changes) -> list[Work]:
        by_customer: dict[UUID, list[Mark]] = {}
        for mark in marks:
            by_customer.setdefault(mark.customer, []).append(mark)
        stored = await snapshot.customers(by_customer)
        anew = {customer for customer, theirs in by_customer.items() if any(mark.gained is None for mark in theirs)}
        gained = [mark.gained for mark in marks if mark.gained is not None and mark.customer not in anew]
        rows = await snapshot.present(anew, gained)
        works = [_work(stored.get(customer, Customer(customer)), customer in anew, rows) for customer in by_customer]
        for work in works:
            await self._forget(work, by_customer[work.before.customer_id], snapshot, changes)
        return works

    async def _forget(self, work: Work, marks: Sequence[Mark], snapshot: Snapshot, changes: Changes) -> None:
        for mark in marks:
            if mark.erasure is None:
                continue
            work.after, work.rows, work.anew, work.joined = forget(work.before), [], False, False
            closed = [key.key_id for key in await snapshot.closed_keys_of(mark.customer)]
            counts = {"customers": int(not work.before.is_new and not work.before.is_erased)}
            changes.events.append(erasure_receipt(mark.erasure, work.before, closed, counts, changes.applied_at))


def _work(stored: Customer, anew: bool, rows: Sequence[Contribution]) -> Work:
    """An alias or an erased customer counts nothing; a row that has moved on has left a mark of its own."""
    if stored.state is not CustomerState.ACTIVE:
        return Work(stored, replace(stored))
    theirs = [row for row in rows if row.customer == stored.customer_id]
    return Work(stored, stored, theirs, anew=anew and not (stored.is_new and not theirs), joined=bool(theirs))
