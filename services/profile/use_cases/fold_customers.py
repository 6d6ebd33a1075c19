"""Fold what a batch brought into its customers, once per customer, and say what is published about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from services.profile.domain.contribution import Contribution
from services.profile.domain.customer import Customer, CustomerState, emptied
from services.profile.domain.golden import Standings
from services.profile.domain.portrait import Likeness, Tally, likeness_together, merge_likenesses, merge_tallies, tally_of
from services.profile.ports import Changes, ClosedKey, Filler, Keys, Mark
from services.profile.use_cases.likeness import NOTHING, LikenessReader, LikenessSealer, open_standings
from shared.contracts.event import Outgoing
from shared.contracts.ids import entity_key_id, event_id
from shared.contracts.profile import CustomerChanged
from shared.contracts.topics import CHANGES
from shared.sealing import DataKey

PartitionOf = Callable[[bytes], int]

FILLER_AFTER = timedelta(minutes=65)
"""Segments of the snapshots' topic roll after an hour, but only when something is appended: by then the tombstone's own can be closed."""


@dataclass(slots=True)
class Work:
    """What one customer needs in this batch.

    Attributes:
        before: the document as stored.
        after: the document with what was decided about its state, not folded yet.
        rows: contributions to add; with `anew`, all that the customer holds.
        anew: forget the stored fold, take `rows` for everything.
        joined: somebody joined or left by a move or an erasure, so a new membership epoch begins.
        traceparent: of the event that came last; its trace goes on with what is published.
    """

    before: Customer
    after: Customer
    rows: list[Contribution] = field(default_factory=list)
    anew: bool = False
    joined: bool = False
    traceparent: str | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be done."""
        return not self.rows and not self.anew and self.after == self.before

    @property
    def telling_rows(self) -> list[Contribution]:
        """The rows to open. After a move that is all of them: who first named an identifier may have stayed or left."""
        everything = self.anew or self.joined
        return [row for row in self.rows if everything or (row.content is not None and row.content.tells_of_the_person)]

    @property
    def adds_to_stored(self) -> bool:
        """Whether the stored fold state must be opened."""
        return not self.anew and self.after.key_id is not None and (self.joined or bool(self.telling_rows))


@dataclass(frozen=True, slots=True)
class _Stored:
    """A stored fold state, opened, and the key of its epoch."""

    standings: Mapping[str, Standings] = field(default_factory=dict)
    key: DataKey | None = None


@dataclass(frozen=True, slots=True)
class _Folded:
    """A folded customer; `standings` None: the sealed parts stay as they are; `key` None: a new epoch begins."""

    customer: Customer
    standings: Mapping[str, Standings] | None
    key: DataKey | None

    @property
    def next_key_id(self) -> UUID:
        return entity_key_id(self.customer.customer_id, self.customer.epoch + 1)


NOT_STORED = _Stored()


class FoldCustomers:
    """Folds works into changes.

    Args:
        read: opens bodies.
        seal: seals the folded state.
        partition_of: the partition of a customer's key.
    """

    def __init__(self, read: LikenessReader, seal: LikenessSealer, partition_of: PartitionOf) -> None:
        self._read = read
        self._seal = seal
        self._partition_of = partition_of

    async def __call__(self, works: Iterable[Work], keys: Keys, changes: Changes) -> None:
        """Add the folded customers, their snapshots, the keys that closed and marks for those that could not be opened to `changes`."""
        due = [work for work in works if not work.is_idle]
        active = [work for work in due if work.after.state is CustomerState.ACTIVE]
        stored = await self._stored(active, keys, changes)
        said = await self._said(active, keys)
        folded = [self._folded(work, stored.get(work.after.customer_id, NOT_STORED), said.get(work.after.customer_id, NOTHING)) for work in active]
        for work, customer in zip(active, await self._sealed(folded, keys), strict=True):
            self._conclude(work, customer, changes)
        for work in due:
            if work.after.state is not CustomerState.ACTIVE:
                self._conclude(work, work.after, changes)

    async def _stored(self, works: Sequence[Work], keys: Keys, changes: Changes) -> dict[UUID, _Stored]:
        """The opened fold state of those that need it; where the key is gone, the next mark pass folds from the rows."""
        needing = {work.after.key_id: work for work in works if work.adds_to_stored and work.after.key_id is not None}
        opened = await keys.open(needing)
        stored: dict[UUID, _Stored] = {}
        for key_id, work in needing.items():
            key = opened[key_id]
            if key is None:
                self._ask_for_fold(work.after, key_id, changes)
                work.joined = True
            else:
                stored[work.after.customer_id] = _Stored(open_standings(work.after, key), key)
        return stored

    def _ask_for_fold(self, customer: Customer, cause: UUID, changes: Changes) -> None:
        mark = Mark(customer.customer_id, cause, self._partition_of(customer.customer_id.bytes))
        changes.marks_made[mark.customer, mark.cause] = mark

    async def _said(self, works: Sequence[Work], keys: Keys) -> dict[UUID, Likeness]:
        """What the bodies say, by customer."""
        telling = {work.after.customer_id: rows for work in works if (rows := work.telling_rows)}
        opened = await keys.open(row.submission_id for rows in telling.values() for row in rows)
        return {customer: likeness_together(self._read(row, opened[row.submission_id]) for row in rows) for customer, rows in telling.items()}

    def _folded(self, work: Work, stored: _Stored, said: Likeness) -> _Folded:
        customer, fresh_epoch = work.after, work.joined or work.anew
        whole = merge_likenesses(Likeness(stored.standings, frozenset() if work.anew else customer.tokens), said)
        tally = merge_tallies(Tally() if work.anew else customer.tally, tally_of(row.content for row in work.rows if row.content))
        changed = fresh_epoch or bool(said.standings)
        return _Folded(replace(customer, tally=tally, tokens=whole.tokens), whole.standings if changed else None, None if fresh_epoch else stored.key)

    async def _sealed(self, folded: Sequence[_Folded], keys: Keys) -> list[Customer]:
        """Each customer with its standings sealed in, under a new key where an epoch begins."""
        fresh = [one.next_key_id for one in folded if one.standings and one.key is None]
        created = await keys.create(fresh) if fresh else {}
        return [self._sealed_one(one, created) for one in folded]

    def _sealed_one(self, one: _Folded, created: Mapping[UUID, DataKey]) -> Customer:
        customer = one.customer
        if one.standings is None:
            return customer
        if not one.standings:
            return replace(customer, key_id=None, standings_sealed=b"", golden_sealed=b"", fields=())
        if one.key is not None and customer.key_id is not None:
            return self._seal(customer, one.standings, customer.key_id, one.key)
        return self._seal(replace(customer, epoch=customer.epoch + 1), one.standings, one.next_key_id, created[one.next_key_id])

    def _conclude(self, work: Work, folded: Customer, changes: Changes) -> None:
        """Number the new state, publish it and set aside the key that it no longer uses."""
        version = work.before.version + 1
        customer = replace(folded, version=version)
        changes.customers.append((work.before, customer))
        closed = work.before.key_id
        if closed is not None and closed != customer.key_id:
            partition = self._partition_of(customer.customer_id.bytes)
            changes.keys_closed.append(ClosedKey(closed, customer.customer_id, partition))
        if customer.is_erased:
            changes.events.append(tombstone(customer, changes.applied_at, work.traceparent))
            changes.fillers_made.append(
                Filler(customer.customer_id, self._partition_of(customer.customer_id.bytes), changes.applied_at + FILLER_AFTER)
            )
        else:
            changes.events.append(snapshot_of(customer, changes.applied_at, work.traceparent))


def snapshot_of(customer: Customer, occurred_at: datetime, traceparent: str | None = None) -> Outgoing:
    """The event that says what the customer is now; an alias says only whose."""
    if customer.state is CustomerState.ALIAS:
        customer = emptied(customer)
    tally = customer.tally
    event = CustomerChanged(
        customer_id=customer.customer_id,
        version=customer.version,
        state="alias" if customer.state is CustomerState.ALIAS else "active",
        alias_of=customer.alias_of,
        first_on=tally.first_on,
        last_on=tally.last_on,
        counts=dict(tally.kinds),
        order_count=tally.order_count,
        revenue_minor=dict(tally.revenue_minor),
        fields=customer.fields,
        key_id=customer.key_id,
        sealed=customer.golden_sealed,
    )
    identity = event_id(customer.customer_id, f"changed:{customer.version}")
    return Outgoing(CHANGES.name, customer.customer_id.bytes, identity, event, occurred_at, customer.key_id, traceparent)


def tombstone(customer: Customer, occurred_at: datetime, traceparent: str | None = None) -> Outgoing:
    """The record that deletes the customer's snapshot; as a filler it is repeated later, so that it needs no key of its own."""
    identity = event_id(customer.customer_id, f"tombstone:{customer.version}")
    return Outgoing(CHANGES.name, customer.customer_id.bytes, identity, None, occurred_at, None, traceparent)
