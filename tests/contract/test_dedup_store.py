"""One suite for the store port, on the in-memory fake and on real MongoDB."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast
from uuid import UUID

import pytest

from services.dedup.domain.model import Signature
from services.dedup.migrations import MIGRATIONS
from services.dedup.mongo import MongoIdentities, current_customers
from services.dedup.ports import Identities
from services.dedup.use_cases.read_signatures import ReadSignatures
from services.dedup.use_cases.resolve_identities import ResolveIdentities
from shared.contracts.dedup import CustomersMerged, SubmissionsMoved
from shared.storage import Store, Transaction, migrate
from tests.dedup_world import NOON, RULES, KnownSignatures, MemoryIdentities, batch_of, envelope, grouped, key, oracle, signature, submission_id

pytestmark = pytest.mark.servers


class Held:
    """A store under test, with a handler that decides on it."""

    def __init__(self, identities: Identities, store: Store | None) -> None:
        self.identities, self.store, self.known = identities, store, KnownSignatures()
        self.resolve = ResolveIdentities(identities, cast(ReadSignatures, self.known), RULES, lambda: NOON)

    async def take(self, *records: tuple[int, Signature]) -> list[Any]:
        self.known.by_submission |= {submission_id(number): each for number, each in records}

        async def once(transaction: Transaction) -> list[Any]:
            effects = await self.resolve(batch_of([envelope(number) for number, _ in records]), transaction)
            for (_, collection), operations in effects.writes.items():
                assert self.store is not None
                await self.store.collection(collection).bulk(operations, transaction=transaction)
            return [each.event for each in effects.outgoing]

        return await self.read(once)

    async def read(self, work: Any) -> Any:
        return await (self.store.transaction(work) if self.store else work(cast(Transaction, None)))

    async def partition(self) -> set[frozenset[UUID]]:
        if self.store is None:
            memory = cast(MemoryIdentities, self.identities)
            return grouped(memory.records, memory.customer_of)
        held = await current_customers(self.store)
        return grouped(held, held.__getitem__)


@pytest.fixture(params=["memory", "mongodb"])
async def held(request: pytest.FixtureRequest) -> AsyncIterator[Held]:
    if request.param == "memory":
        yield Held(MemoryIdentities(), None)
        return
    namespace = request.getfixturevalue("namespace")
    store = await Store.connect(request.getfixturevalue("mongodb_uri"), database="dedup", namespace=namespace)
    await migrate(store, MIGRATIONS)
    yield Held(MongoIdentities(store), store)
    store.close()


def story() -> Sequence[list[tuple[int, Signature]]]:
    return [
        [(1, signature("phone:a", name="anna")), (2, signature("email:a", name="anna")), (3, signature(number=3))],
        [(4, signature("phone:a", "email:a")), (5, signature("phone:a", name="anna"))],
        [(6, signature("phone:a", name="ben"))],
        [(7, signature("member_number:1", "email:a", name="anna")), (8, signature("member_number:2", "email:a", name="anna"))],
        [(9, signature("phone:a", name="carl")), (10, signature("phone:b", "phone:a"))],
    ]


async def test_a_story_of_joins_and_breaches_ends_in_the_partition_of_the_oracle(held: Held) -> None:
    done: list[tuple[int, Signature]] = []
    for batch in story():
        await held.take(*batch)
        done += batch
        assert await held.partition() == oracle(done)


async def test_settled_records_are_known_again_and_change_nothing(held: Held) -> None:
    await held.take((1, signature("phone:a")))

    async def settled(transaction: Transaction) -> set[UUID]:
        return await held.identities.settled([submission_id(1), submission_id(2)], transaction)

    assert await held.read(settled) == {submission_id(1)}
    assert await held.take((1, signature("phone:a"))) == []


async def test_a_merge_gives_summary_and_both_sides_and_one_number_to_all(held: Held) -> None:
    await held.take((1, signature("phone:a")), (2, signature("email:a")), (3, signature("email:a")))

    events = await held.take((4, signature("phone:a", "email:a")))

    [merged] = [each for each in events if isinstance(each, CustomersMerged)]
    parts = [each for each in events if isinstance(each, SubmissionsMoved)]
    assert merged.cause_submission_id == submission_id(4)
    assert merged.matched_on == ("email", "phone")
    assert {each.direction for each in parts} == {"gained", "lost"}
    assert {each.assignment for each in parts} == {merged.assignment} == {2}
    assert all(each.submission_ids == (submission_id(1),) for each in parts)
    assert [each.absorbed for each in parts if each.direction == "lost"] == [True]
    assert merged.survivor_id == next(each.customer_id for each in parts if each.direction == "gained")


async def test_entities_count_what_they_hold(held: Held) -> None:
    await held.take((1, signature("phone:a")), (2, signature("email:a")), (3, signature("email:a")))
    await held.take((4, signature("phone:a", "email:a")), (5, signature("phone:a")))

    async def entities(transaction: Transaction) -> list[tuple[int, int]]:
        bearers = await held.identities.bearers([key("phone:a").token, key("email:a").token], transaction)
        found = await held.identities.entities({each.customer for each in bearers}, transaction)
        return [(each.version, each.submissions) for each in found.values()]

    assert await held.read(entities) == [(2, 5)]


async def test_a_generic_value_is_remembered(held: Held) -> None:
    await held.take(*((number, signature("phone:a", name=f"name {number}")) for number in range(3)))

    async def generic(transaction: Transaction) -> set[bytes]:
        return await held.identities.generic([key("phone:a").token, key("phone:b").token], transaction)

    assert await held.read(generic) == {key("phone:a").token}
    await held.take((10, signature("phone:a", name="somebody else")))
    assert len(await held.partition()) == 4
