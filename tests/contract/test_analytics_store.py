"""The store port of analytics: one suite, played in memory and on real MongoDB."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from uuid import uuid5

import pytest

from services.analytics import mongo
from services.analytics.domain.cells import Cell, Count
from services.analytics.figures import Figures
from services.analytics.migrations import MIGRATIONS
from services.analytics.mongo import CONTRIBUTIONS, COUNTERS, MongoSnapshot, writes
from services.analytics.ports import Arrival, Changes
from services.analytics.recompute import counted, recompute
from services.analytics.use_cases import CountBatch, FoldMarked
from shared.storage import Store, Transaction, TransientError, migrate
from tests.analytics_world import NOW, SPACE, History, MemoryWorld, Sent, World, play

PARTITIONS = 3


class MongoWorld:
    """The ports on MongoDB, each batch in a transaction as the worker runs it."""

    def __init__(self, store: Store, partitions: int) -> None:
        self.store, self.partitions = store, partitions
        self._count, self._fold = CountBatch(self.owner, lambda: NOW), FoldMarked(lambda: NOW)

    def owner(self, customer: object) -> int:
        return customer.int % self.partitions  # type: ignore[attr-defined, no-any-return]

    async def deliver(self, partition: int, arrivals: Sequence[Arrival]) -> None:
        await self.deliver_joined(frozenset({partition}), arrivals)

    async def deliver_joined(self, partitions: frozenset[int], arrivals: Sequence[Arrival], *, assume_new: bool = False) -> None:
        async def work(transaction: Transaction) -> None:
            snapshot = MongoSnapshot(self.store, transaction)
            await self._apply(await self._count(arrivals, partitions, snapshot, assume_new=assume_new), transaction)

        session = await self.store.session()
        try:
            await session.run_once(work)
        finally:
            await session.end()

    async def pass_marks(self) -> bool:
        return any([await self._pass(partition) for partition in range(self.partitions)])

    async def counted(self) -> dict[Cell, Count]:
        return await counted(self.store)

    async def recomputed(self) -> dict[Cell, Count]:
        return await recompute(self.store)

    async def products_named(self) -> set[str]:
        return set(await self.store.collection(COUNTERS).distinct("first", {"metric": "sales"}))

    async def _pass(self, partition: int) -> bool:
        async def work(transaction: Transaction) -> bool:
            changes = await self._fold(partition, MongoSnapshot(self.store, transaction))
            if changes is not None:
                await self._apply(changes, transaction)
            return changes is not None

        return await self.store.transaction(work)

    async def _apply(self, changes: Changes, transaction: Transaction) -> None:
        for collection, operations in writes(changes):
            await self.store.collection(collection).bulk(operations, transaction=transaction)


@pytest.fixture
async def store(mongodb_uri: str, namespace: str) -> AsyncIterator[Store]:
    store = await Store.connect(mongodb_uri, database="analytics", namespace=namespace)
    await store.wait_until_ready()
    await migrate(store, MIGRATIONS)
    yield store
    await store.drop()
    store.close()


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        return MemoryWorld(PARTITIONS)
    return MongoWorld(request.getfixturevalue("store"), PARTITIONS)


def eventful(seed: int) -> History:
    dice, history = random.Random(seed), History()
    for _ in range(40):
        deed = dice.choices(["submit", "order", "merge", "erase"], [4, 4, 2, 1])[0]
        one, other = dice.randrange(5), dice.randrange(5)
        if deed == "submit":
            history.submit(one, dice.randint(1, 3))
        elif deed == "order":
            history.submit(one, dice.randint(1, 3), amount_minor=dice.randint(-300, 900))
        elif deed == "merge":
            history.merge(one, other)
        else:
            history.erase(one)
    return history


@pytest.mark.parametrize("seed", range(4))
async def test_counters_equal_a_recomputation_and_the_truth_in_any_order(world: World, seed: int) -> None:
    history, dice = eventful(seed), random.Random(seed)
    events = history.events + dice.sample(history.events, 5)
    dice.shuffle(events)
    await play(world, events, [dice.randint(1, 8) for _ in range(4)], mark_passes_between=seed % 2 == 0, joined=seed % 3 == 0)
    assert await world.counted() == history.truth()
    assert await world.recomputed() == history.truth()


async def test_one_batch_gives_what_batches_of_one_give(world: World) -> None:
    history = eventful(9)
    await play(world, history.events, [1_000])
    assert await world.counted() == history.truth()


@pytest.mark.parametrize("seed", range(4))
async def test_no_counter_names_what_only_erased_people_bought(world: World, seed: int) -> None:
    """Two people buy the same thing, booked wherever their partitions' batches were; one stays, and what both bought stays."""
    history = History()
    for person, product in ((0, "one of a kind"), (1, "tea"), (2, "shared"), (3, "shared"), (0, "tea"), (0, "one of a kind")):
        history.submit(person, 1, amount_minor=500, product=product)
    for person in (0, 2, 3):
        history.erase(person)
    events = list(history.events)
    random.Random(seed).shuffle(events)
    await play(world, events, [1 + seed], joined=seed % 2 == 0)
    assert await world.products_named() == {"tea"}
    assert await world.counted() == await world.recomputed() == history.truth()


@pytest.mark.servers
async def test_counters_of_many_cells_are_read_in_pieces(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongo, "CELLS_AT_ONCE", 2)
    history = History()
    for number in range(5):
        history.submit(0, 1, amount_minor=100, product=f"cup {number}")
    history.erase(0)
    await play(MongoWorld(store, PARTITIONS), history.events, [5])
    assert await store.collection(COUNTERS).distinct("first", {"metric": "sales"}) == []


@pytest.mark.servers
async def test_two_erasures_at_once_leave_no_counter_between_them(store: Store) -> None:
    """Each takes away one of two pieces and could not see the other do so."""
    history, world = History(), MongoWorld(store, PARTITIONS)
    history.submit(0, 1, amount_minor=500, product="shared")
    history.submit(next(each for each in range(1, 5) if differs(world, each)), 1, amount_minor=500, product="shared")
    await play(world, history.events, [1])
    bought = len(history.events)
    for person in range(5):
        history.erase(person)

    await asyncio.gather(*(deliver_again(world, sent) for sent in history.events[bought:]))

    assert await world.products_named() == set()


def differs(world: MongoWorld, person: int) -> bool:
    """Whether another partition counts for this person than for the first."""
    owners = [world.owner(uuid5(SPACE, f"customer {each} 0")) for each in (0, person)]
    return owners[0] != owners[1]


async def deliver_again(world: MongoWorld, sent: Sent) -> None:
    """As the worker does, until nobody was faster."""
    while True:
        try:
            return await world.deliver(world.owner(sent.key), [sent.arrival])
        except TransientError:
            continue


@pytest.mark.servers
async def test_an_erased_row_keeps_nothing_but_its_mark(store: Store) -> None:
    history = History()
    history.submit(0, 1, amount_minor=500)
    history.erase(0)
    await play(MongoWorld(store, PARTITIONS), history.events, [1])
    (row,) = await store.collection(CONTRIBUTIONS).find({})
    assert row.keys() == {"_id", "erased"}


@pytest.mark.servers
async def test_figures_are_summed_over_partitions(store: Store) -> None:
    history = History()
    history.submit(0, 1, amount_minor=500)
    history.submit(1, 1, amount_minor=700)
    history.submit(1, 2, amount_minor=900)
    history.submit(2, 2)
    await play(MongoWorld(store, PARTITIONS), history.events, [2])
    figures = Figures(store)
    totals = await figures.totals()
    assert totals["revenue_minor"] == {"CNY": 2_100}
    assert {name: totals[name] for name in ("customers", "buyers", "repeat_buyers", "submissions", "orders")} == {
        "customers": 3,
        "buyers": 2,
        "repeat_buyers": 1,
        "submissions": 4,
        "orders": 3,
    }
    assert await figures.series("revenue", "month", "", "", currency="CNY") == [{"at": "2026-01", "value": 1_200}, {"at": "2026-02", "value": 900}]
    assert await figures.series("returning_buyers", "month", "2026-01-15", "2026-02") == [{"at": "2026-02", "value": 1}]
    assert await figures.series("submissions", "month", "", "2026-01", split="kind") == [{"at": "2026-01", "split": "transaction", "value": 2}]
    assert await figures.top_products("quantity", "CNY", "", "", 10) == [{"key": "tea", "currency": "CNY", "value": 3}]
