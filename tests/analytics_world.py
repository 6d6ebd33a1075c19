"""A history that dedup may have decided, and worlds to play it in: one in memory, one on MongoDB."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Protocol
from uuid import UUID, uuid5

from services.analytics.domain.cells import SALES, Cell, Count, Tally
from services.analytics.domain.contribution import Contribution, Facts, Line
from services.analytics.domain.customer import Customer
from services.analytics.ports import Arrival, Changes, Mark
from services.analytics.recompute import figures_of
from services.analytics.use_cases import CountBatch, FoldMarked
from shared.contracts.dedup import CustomersMerged, SubmissionResolved, SubmissionsErased, SubmissionsMoved
from shared.contracts.event import Event
from shared.contracts.submission import OrderLine, Submission
from shared.storage import DuplicateKey, TransientError

NOW = datetime(2026, 11, 25, tzinfo=UTC)
SPACE = UUID(int=7)


@dataclass(frozen=True)
class Sent:
    """An event with its key."""

    key: UUID
    arrival: Arrival


@dataclass
class History:
    """Decides as dedup does, and knows what is true at the end."""

    events: list[Sent] = field(default_factory=list)
    versions: dict[UUID, int] = field(default_factory=dict)
    holders: dict[UUID, UUID] = field(default_factory=dict)
    held: dict[UUID, dict[UUID, Facts]] = field(default_factory=dict)
    survivors: list[UUID] = field(default_factory=list)
    generation: dict[int, int] = field(default_factory=dict)

    def submit(self, person: int, month: int, amount_minor: int | None = None, product: str = "tea") -> None:
        customer = self._customer(person)
        submission_id = self._id("submission")
        self.versions[customer] = self.versions.get(customer, 0) + 1
        day = date(2026, month, 1 + len(self.events) % 3)
        lines = () if amount_minor is None else (OrderLine(product_code=product, quantity=1, amount_minor=amount_minor, currency="CNY"),)
        submission = Submission(
            submission_id=submission_id,
            kind="profile" if amount_minor is None else "transaction",
            channel_id="web",
            channel_kind="web",
            channel_trust=50,
            received_on=day,
            occurred_on=day,
            order_lines=lines,
            sealed=b"-",
        )
        self._send(customer, SubmissionResolved(customer_id=customer, assignment=self.versions[customer], submission=submission))
        facts = Facts(submission.kind, "web", day.isoformat(), tuple(Line(x.product_code, x.currency, x.quantity, x.amount_minor) for x in lines))
        self.held.setdefault(customer, {})[submission_id] = facts

    def merge(self, one: int, other: int) -> None:
        survivor, absorbed = self._customer(one), self._customer(other)
        if survivor == absorbed or not self.held.get(survivor) or not self.held.get(absorbed):
            return
        merge_id, ids = self._id("merge"), tuple(self.held[absorbed])
        number = 1 + max(self.versions[survivor], self.versions[absorbed])
        self.versions[survivor] = self.versions[absorbed] = number
        self._send(
            survivor,
            CustomersMerged(
                merge_id=merge_id,
                survivor_id=survivor,
                absorbed_ids=(absorbed,),
                assignment=number,
                matched_on=("phone",),
                cause_submission_id=ids[0],
            ),
        )
        for customer, counterpart, direction in ((survivor, absorbed, "gained"), (absorbed, survivor, "lost")):
            moved = SubmissionsMoved(
                merge_id=merge_id,
                customer_id=customer,
                counterpart_id=counterpart,
                direction="gained" if direction == "gained" else "lost",
                assignment=number,
                submission_ids=ids,
                absorbed=direction == "lost",
                part=1,
                parts=1,
            )
            self._send(customer, moved)
        self.held[survivor] |= self.held.pop(absorbed)
        self.holders[absorbed] = survivor
        self.survivors.append(survivor)

    def erase(self, person: int) -> None:
        customer = self._customer(person)
        if not self.held.get(customer):
            return
        aliases = tuple(alias for alias in self.holders if self._holder(alias) == customer)
        ids = tuple(self.held.pop(customer))
        request = self._id("request")
        for part, submission_id in enumerate(ids, 1):
            erased = SubmissionsErased(
                request_id=request, customer_id=customer, alias_ids=aliases, submission_ids=(submission_id,), part=part, parts=len(ids)
            )
            self._send(customer, erased)
        self.survivors = [survivor for survivor in self.survivors if survivor not in {customer, *aliases}]
        self.generation[person] = self.generation.get(person, 0) + 1
        for other in range(5):
            if self._holder(self._founded(other)) == customer and other != person:
                self.generation[other] = self.generation.get(other, 0) + 1

    def truth(self) -> dict[Cell, Count]:
        tally = Tally()
        rows = [Contribution(s, customer, 1, facts) for customer, held in self.held.items() for s, facts in held.items()]
        for cell, count in figures_of(rows, self.survivors).items():
            tally.add(iter([(cell, count)]))
        return tally.sums()

    def _customer(self, person: int) -> UUID:
        return self._holder(self._founded(person))

    def _founded(self, person: int) -> UUID:
        return uuid5(SPACE, f"customer {person} {self.generation.get(person, 0)}")

    def _holder(self, customer: UUID) -> UUID:
        while customer in self.holders:
            customer = self.holders[customer]
        return customer

    def _id(self, what: str) -> UUID:
        return uuid5(SPACE, f"{what} {len(self.events)}")

    def _send(self, key: UUID, event: Event) -> None:
        self.events.append(Sent(key, Arrival(event, uuid5(SPACE, f"event {len(self.events)}"), NOW)))


class World(Protocol):
    partitions: int

    def owner(self, customer: UUID) -> int: ...
    async def deliver(self, partition: int, arrivals: Sequence[Arrival]) -> None: ...
    async def deliver_joined(self, partitions: frozenset[int], arrivals: Sequence[Arrival], *, assume_new: bool = False) -> None: ...
    async def pass_marks(self) -> bool: ...
    async def counted(self) -> dict[Cell, Count]: ...
    async def recomputed(self) -> dict[Cell, Count]: ...
    async def products_named(self) -> set[str]: ...


class MemoryWorld:
    """The ports in memory. It passed the suite that runs on MongoDB too."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.rows: dict[UUID, Contribution] = {}
        self.folds: dict[UUID, Customer] = {}
        self.counters_held: dict[tuple[Cell, int], Count] = {}
        self.merges: dict[UUID, UUID] = {}
        self.pending: dict[tuple[UUID, UUID], Mark] = {}
        self.published: list[Event] = []
        self._count = CountBatch(self.owner, lambda: NOW)
        self._fold = FoldMarked(lambda: NOW)

    def owner(self, customer: UUID) -> int:
        return customer.int % self.partitions

    async def deliver(self, partition: int, arrivals: Sequence[Arrival]) -> None:
        await self.deliver_joined(frozenset({partition}), arrivals)

    async def deliver_joined(self, partitions: frozenset[int], arrivals: Sequence[Arrival], *, assume_new: bool = False) -> None:
        self._apply(await self._count(arrivals, partitions, self, assume_new=assume_new), partitions)

    async def pass_marks(self) -> bool:
        done = False
        for partition in range(self.partitions):
            changes = await self._fold(partition, self)
            if changes is not None:
                self._apply(changes, {partition})
                done = True
        return done

    async def counted(self) -> dict[Cell, Count]:
        sums: dict[Cell, Count] = {}
        for (cell, _), count in self.counters_held.items():
            sums[cell] = sums.get(cell, Count()).plus(count)
        return {cell: count for cell, count in sums.items() if count != Count()}

    async def recomputed(self) -> dict[Cell, Count]:
        erased = {customer_id for customer_id, fold in self.folds.items() if fold.erased}
        return figures_of(list(self.rows.values()), [survivor for survivor in self.merges.values() if survivor not in erased])

    async def products_named(self) -> set[str]:
        return {cell.first for cell, _ in self.counters_held if cell.metric == SALES}

    # -- the snapshot port

    async def contributions(self, submission_ids: Iterable[UUID]) -> dict[UUID, Contribution]:
        return {each: self.rows[each] for each in submission_ids if each in self.rows}

    async def customers(self, customer_ids: Iterable[UUID]) -> dict[UUID, Customer]:
        return {each: self.folds[each] for each in customer_ids if each in self.folds}

    async def holdings(self, customer_ids: Iterable[UUID]) -> dict[UUID, list[tuple[str | None, int]]]:
        wanted = set(customer_ids)
        counts = Counter((row.holder, row.facts.order_day) for row in self.rows.values() if row.facts is not None and row.holder in wanted)
        held: dict[UUID, list[tuple[str | None, int]]] = {}
        for (customer, day), count in counts.items():
            assert customer is not None
            held.setdefault(customer, []).append((day, count))
        return held

    async def known_merges(self, merge_ids: Iterable[UUID]) -> set[UUID]:
        return self.merges.keys() & set(merge_ids)

    async def counters(self, cells: Iterable[Cell]) -> dict[Cell, dict[int, Count]]:
        held: dict[Cell, dict[int, Count]] = {}
        for (cell, partition), count in self.counters_held.items():
            if cell in set(cells):
                held.setdefault(cell, {})[partition] = count
        return held

    async def marks(self, partition: int) -> list[Mark]:
        return [mark for mark in self.pending.values() if mark.partition == partition]

    async def rows_of(self, customer: UUID) -> list[Contribution]:
        return [row for row in self.rows.values() if row.holder == customer]

    def _apply(self, changes: Changes, partitions: Set[int]) -> None:
        assert changes.partition in partitions
        if any(before is None and submission_id in self.rows for submission_id, (before, _) in changes.contributions.items()):
            raise DuplicateKey
        for submission_id, (before, after) in changes.contributions.items():
            assert self.rows.get(submission_id) == before
            self.rows[submission_id] = after
        for before_fold, after_fold in changes.customers:
            assert self.owner(after_fold.customer_id) in partitions
            assert self.folds.get(after_fold.customer_id, Customer(after_fold.customer_id)) == before_fold
            self.folds[after_fold.customer_id] = after_fold
        for cell, count in changes.counts.items():
            key = (cell, changes.partition)
            self.counters_held[key] = self.counters_held.get(key, Count()).plus(count)
        for cell, (left, gone) in changes.gathered.items():
            for each in gone:
                del self.counters_held[cell, each]
            if left.n:
                self.counters_held[cell, changes.partition] = left
        self.merges |= changes.merges
        self.pending |= changes.marks_made
        for mark in changes.marks_done:
            del self.pending[mark.customer, mark.cause]
        self.published += [outgoing.event for outgoing in changes.events if outgoing.event is not None]


async def play(world: World, events: Sequence[Sent], sizes: Sequence[int], *, mark_passes_between: bool = False, joined: bool = False) -> None:
    """Delivers the events in this order, cut into batches per partition or `joined`, then passes marks until none is left."""
    start, turn = 0, 0
    while start < len(events):
        size = sizes[turn % len(sizes)]
        by_partition: dict[int, list[Arrival]] = {}
        for sent in events[start : start + size]:
            by_partition.setdefault(world.owner(sent.key), []).append(sent.arrival)
        await (_deliver_joined if joined else _deliver)(world, by_partition)
        if mark_passes_between:
            await world.pass_marks()
        start, turn = start + size, turn + 1
    while await world.pass_marks():
        pass


async def _deliver(world: World, by_partition: Mapping[int, Sequence[Arrival]]) -> None:
    for partition, arrivals in by_partition.items():
        await world.deliver(partition, arrivals)


async def _deliver_joined(world: World, by_partition: Mapping[int, Sequence[Arrival]]) -> None:
    """As the worker does it: all in one, and one by one if an id turns out to be taken."""
    try:
        await world.deliver_joined(frozenset(by_partition), [each for arrivals in by_partition.values() for each in arrivals], assume_new=True)
    except (DuplicateKey, TransientError):  # a server that goes on with an unordered bulk hides the first under the second
        await _deliver(world, by_partition)
