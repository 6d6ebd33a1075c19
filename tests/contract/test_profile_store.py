"""The store port, on the memory that the laws are proven with and on real MongoDB: both must behave alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.profile import mongo
from services.profile.domain.contribution import Contribution, State, erase, move
from services.profile.domain.customer import Customer, CustomerState
from services.profile.domain.portrait import tally_of
from services.profile.migrations import MIGRATIONS
from services.profile.mongo import MongoSnapshot, partitions_due, writes
from services.profile.ports import Changes, ClosedKey, Erasure, Filler, Mark
from shared.storage import Store, migrate
from tests.profile_world import START, MemoryStore, World, uid

A, B = uid("a"), uid("b")


class MongoStore(MongoSnapshot):
    """The real store with `apply` as the worker does it: all operations in one transaction."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, None)
        self.store = store

    async def apply(self, changes: Changes) -> None:
        async def work(transaction: Any) -> None:
            for collection, operations in writes(changes):
                await self.store.collection(collection).bulk(operations, transaction=transaction)

        await self.store.transaction(work)


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    if request.param == "memory":
        yield MemoryStore()
        return
    settings = request.getfixturevalue("settings")
    real = await Store.connect(settings.mongodb_uri, database="profile", namespace=settings.namespace)
    await migrate(real, MIGRATIONS)
    yield MongoStore(real)
    real.close()


def row(name: str, customer: Any = A, **changes: Any) -> Contribution:
    from services.profile.use_cases.ledger import content_of

    content = content_of(World().submission(name, **changes), new_identifiers=True)
    return Contribution(uid(name), customer, 1, State.PRESENT, content)


def changes(*rows: tuple[Contribution | None, Contribution], **members: Any) -> Changes:
    return Changes(START, contributions={after.submission_id: (before, after) for before, after in rows}, **members)


async def test_a_row_is_read_without_its_content_and_found_whole_by_holder_and_by_name(store: Any) -> None:
    one, other = row("one", amount=500), row("other", B)
    await store.apply(changes((None, one), (None, other)))
    assert await store.contributions([one.submission_id, uid("unknown")]) == {one.submission_id: replace(one, content=None)}
    assert list(await store.present([A], [])) == [one]
    assert {each.submission_id for each in await store.present([A], [other.submission_id])} == {one.submission_id, other.submission_id}


async def test_a_moved_row_keeps_its_content(store: Any) -> None:
    one = row("one", fields={"name": "Li"})
    await store.apply(changes((None, one)))
    bare = (await store.contributions([one.submission_id]))[one.submission_id]
    await store.apply(changes((bare, move(bare, bare.submission_id, B, 5))))
    assert list(await store.present([B], [])) == [replace(one, customer=B, assignment=5)]
    assert list(await store.present([A], [])) == []


async def test_an_erased_row_keeps_nothing_and_a_stub_is_not_present(store: Any) -> None:
    one = row("one")
    await store.apply(changes((None, one), (None, move(None, uid("stub"), A, 4))))
    await store.apply(changes((one, erase(one, one.submission_id)), (None, erase(None, uid("never seen")))))
    rows = await store.contributions([one.submission_id, uid("never seen"), uid("stub")])
    assert [rows[each].state for each in (one.submission_id, uid("never seen"), uid("stub"))] == [State.ERASED, State.ERASED, State.STUB]
    assert rows[one.submission_id].customer is None
    assert list(await store.present([A], [one.submission_id, uid("stub")])) == []


async def test_a_customer_comes_back_as_it_was_stored(store: Any) -> None:
    content = row("one", amount=500).content
    assert content is not None
    full = Customer(
        A,
        3,
        epoch=2,
        key_id=uid("key"),
        tally=tally_of([content]),
        standings_sealed=b"s",
        golden_sealed=b"g",
        fields=("name",),
        tokens=frozenset({b"t" * 16}),
    )
    alias = Customer(B, 1, CustomerState.ALIAS, A, 7)
    await store.apply(Changes(START, customers=[(Customer(A), replace(full, version=1)), (Customer(B), alias)]))
    await store.apply(Changes(START, customers=[(replace(full, version=1), full)]))
    assert await store.customers([A, B, uid("unknown")]) == {A: full, B: alias}


async def test_marks_and_closed_keys_are_made_once_and_taken_once(store: Any) -> None:
    gained = Mark(A, uid("cause"), 1, gained=uid("one"))
    erasing = Mark(B, uid("cause"), 1, erasure=Erasure(uid("request"), 2, 3))
    key = ClosedKey(uid("key"), A, 1)
    made = {(mark.customer, mark.cause): mark for mark in (gained, erasing)}
    await store.apply(Changes(START, marks_made=made, keys_closed=[key]))
    await store.apply(Changes(START, marks_made=made))
    assert {mark.customer: mark for mark in await store.marks(1)} == {A: gained, B: erasing}
    assert list(await store.marks(2)) == []
    assert list(await store.closed_keys_of(A)) == [key]
    await store.apply(Changes(START, marks_done=[gained, erasing], keys_reported=[key]))
    assert (list(await store.marks(1)), list(await store.reportable_keys(1))) == ([], [])


async def test_a_filler_waits_until_it_is_due_and_is_taken_once(store: Any) -> None:
    filler = Filler(A, 1, START)
    await store.apply(Changes(START, fillers_made=[filler]))
    assert list(await store.fillers(1, START - timedelta(seconds=1))) == []
    assert [each.customer for each in await store.fillers(1, START)] == [A]
    await store.apply(Changes(START, fillers_done=[filler]))
    assert list(await store.fillers(1, START)) == []


@pytest.mark.servers
async def test_a_pass_takes_whole_customers_only(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = await Store.connect(settings.mongodb_uri, database="profile", namespace=settings.namespace)
    await migrate(real, MIGRATIONS)
    store = MongoStore(real)
    marks = [Mark(min(A, B), uid(f"cause-{n}"), 1) for n in range(2)] + [Mark(max(A, B), uid(f"cause-{n}"), 1) for n in range(5)]
    await store.apply(Changes(START, marks_made={(mark.customer, mark.cause): mark for mark in marks}))
    monkeypatch.setattr(mongo, "MARKS_MAX", 4)
    first = await store.marks(1)
    assert {mark.customer for mark in first} == {min(A, B)}
    await store.apply(Changes(START, marks_done=first))
    assert len(await store.marks(1)) == 5
    assert await partitions_due(real, START) == {1}
    real.close()


@pytest.mark.servers
async def test_a_closed_key_is_reported_only_after_its_partitions_outbox_is_empty(settings: Any) -> None:
    real = await Store.connect(settings.mongodb_uri, database="profile", namespace=settings.namespace)
    await migrate(real, MIGRATIONS)
    store = MongoStore(real)
    await store.apply(Changes(START, keys_closed=[ClosedKey(uid("key"), A, 1)]))
    await real.collection("outbox").insert_one({"_id": "waiting", "group": "profile", "topic": "dedup.identities.v1", "partition": 1})
    assert await store.reportable_keys(1) == []
    await real.collection("outbox").delete_one({"_id": "waiting"})
    assert [key.key_id for key in await store.reportable_keys(1)] == [uid("key")]
    real.close()
